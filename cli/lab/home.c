/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/home.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "lab/command.h"

#define HELPER_LIMIT (64u << 20)
#define UPLINK "eth0"

/* Others may pass through but not look: mapped uids reach what is theirs below. */
#define PASS_MODE 0711

static bool make_directories(const DnLab *lab, GError **error)
{
	g_autofree char *socket_dir = g_path_get_dirname(lab->socket);
	const char *pass[] = {lab->state_dir, lab->run_dir, lab->libexec_dir, socket_dir};

	for (unsigned i = 0; i < G_N_ELEMENTS(pass); i++) {
		if (!dn_file_make_directory(pass[i], PASS_MODE, error))
			return false;
		/* Whatever the umask was. */
		if (chmod(pass[i], PASS_MODE) != 0)
			return dn_throw_errno(error, errno, "chmod %s", pass[i]);
	}
	return dn_file_make_directory(lab->log_dir, 0700, error);
}

static bool has_file(const DnLab *lab, const char *name)
{
	g_autofree char *path = g_build_filename(lab->home, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

static bool init_cluster(const DnLab *lab, const DnLabPrograms *programs, GError **error)
{
	g_autofree char *listen =
		g_strdup_printf("%s:%d", DN_LAB_SUPERVISOR_ADDRESS, DN_LAB_LINK_PORT);
	g_autofree char *repo =
		g_strdup_printf("%s:%d", DN_LAB_SUPERVISOR_ADDRESS, DN_LAB_REPO_PORT);
	const char *argv[] = {programs->dnode, "cluster", "init",          "--dir", lab->home,
			      "--listen",      listen,    "--repo-listen", repo,    NULL};

	if (has_file(lab, "cluster.yaml"))
		return true;
	return dn_command_run(NULL, argv, NULL, NULL, error);
}

static bool generate_key(const DnLab *lab, const DnLabPrograms *programs, const char *role,
			 GError **error)
{
	g_autofree char *file = g_strdup_printf("keys/%s.key", role);
	g_autofree char *begun = g_strdup_printf("keys/%s.begun", role);
	const char *argv[] = {programs->dnode, "key",     "gen", role, "--role", role,
			      "--home",        lab->home, NULL};

	if (has_file(lab, file) && !has_file(lab, begun))
		return true;
	return dn_command_run(NULL, argv, NULL, NULL, error);
}

bool dn_lab_home_make(const DnLab *lab, const DnLabPrograms *programs, GError **error)
{
	static const char *const roles[] = {"release", "deploy", "responder"};

	if (!make_directories(lab, error) || !init_cluster(lab, programs, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(roles); i++)
		if (!generate_key(lab, programs, roles[i], error))
			return false;
	return true;
}

/* A copy: a build tree may lie where only root may look, and may be rebuilt meanwhile. */
static bool copy_helper(const DnLab *lab, const char *source, const char *name, GError **error)
{
	g_autofree char *target = g_build_filename(lab->libexec_dir, name, NULL);
	g_autoptr(GBytes) bytes = dn_file_read(source, HELPER_LIMIT, error);

	return bytes != NULL && dn_file_replace(target, bytes, 0755, error);
}

static bool configure_host(const DnLab *lab, const DnLabHost *host, const char *runtime,
			   GError **error)
{
	char *text = g_strdup_printf("# Host %s of the lab %s, written by `dnode lab up`.\n"
				     "name: %s\n"
				     "state_dir: %s\n"
				     "run_dir: %s\n"
				     "cgroup_parent: %s\n"
				     "bpf_dir: %s\n"
				     "runtime: %s\n"
				     "runtime_root: %s\n"
				     "uid_base: %u\n"
				     "uplink: " UPLINK "\n"
				     "libexec_dir: %s\n"
				     "supervisor: %s:%d\n",
				     host->name, lab->name, host->name, host->state_dir,
				     host->run_dir, host->cgroup_parent, host->bpf_dir, runtime,
				     host->runtime_root, host->uid_base, lab->libexec_dir,
				     DN_LAB_SUPERVISOR_ADDRESS, DN_LAB_LINK_PORT);
	g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));

	/* A key and evidence are in it; what a node sees of it is mounted elsewhere. */
	return dn_file_make_directory(host->state_dir, 0700, error) &&
	       dn_file_make_directory(host->run_dir, PASS_MODE, error) &&
	       dn_file_replace(host->config, bytes, 0644, error);
}

bool dn_lab_home_configure(const DnLab *lab, const DnLabPrograms *programs, GError **error)
{
	g_autofree char *runtime = g_find_program_in_path("crun");

	if (runtime == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
				    "no crun on this machine: install it (apt-get install crun)");
		return false;
	}
	if (!copy_helper(lab, programs->log_helper, "dnode-log", error) ||
	    !copy_helper(lab, programs->drill_helper, "dnode-drill", error))
		return false;
	for (unsigned i = 0; i < lab->hosts->len; i++)
		if (!configure_host(lab, lab->hosts->pdata[i], runtime, error))
			return false;
	return true;
}
