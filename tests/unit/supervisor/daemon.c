/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "http/client.h"
#include "manifest/cluster-file.h"
#include "manifest/trust-file.h"

enum { START_MS = 20000 };

static char *directory, *config, *state, *run, *target;
static DnSecretKey *deploy;
static pid_t daemon_pid;

/* ---- a cluster directory ---- */

static void put_file(const char *name, GBytes *bytes)
{
	g_autofree char *path = g_build_filename(config, name, NULL);
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_replace(path, bytes, 0600, &error), "%s", name);
}

static void make_cluster(void)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnSecretKey) identity = dn_secret_key_generate();
	g_autofree char *key_path = g_build_filename(config, "supervisor.key", NULL);
	DnTrustedKey trusted = {.name = (char *)"ann", .role = DN_KEY_DEPLOY};
	g_autoptr(GError) error = NULL;

	g_free(cluster->listen);
	g_free(cluster->repo_listen);
	cluster->id = g_strdup("0123456789abcdef");
	/*
	 * A cluster file names its ports, so nothing free can be asked for. All of 127/8 is this
	 * machine's (RFC 1122, 3.2.1.3): take an address which this process has to itself, and
	 * ports below those that the kernel gives to clients.
	 */
	unsigned own = (unsigned)getpid();
	g_autofree char *address =
		g_strdup_printf("127.%u.%u.%u", own >> 16 & 0xff, own >> 8 & 0xff, own & 0xff);
	cluster->listen = g_strdup_printf("%s:20443", address);
	cluster->repo_listen = g_strdup_printf("%s:20444", address);
	cluster->advertise = g_strdup(cluster->listen);
	g_autoptr(GBytes) text = dn_cluster_file_render(cluster);
	put_file("cluster.yaml", text);
	dn_secret_key_public(deploy, trusted.key);
	g_autoptr(GBytes) nobody = dn_trust_file_new(cluster->id);
	g_autoptr(GBytes) trust =
		dn_trust_file_add_key(nobody, "trust.yaml", &trusted, NULL, &error);
	cr_assert(trust != NULL, "%s", error == NULL ? "" : error->message);
	put_file("trust.yaml", trust);
	cr_assert(dn_secret_key_save(identity, key_path, &error));
}

void daemon_new(void)
{
	directory = g_dir_make_tmp("dnt-daemon-XXXXXX", NULL);
	config = g_build_filename(directory, "etc", NULL);
	state = g_build_filename(directory, "state", NULL);
	run = g_build_filename(directory, "run", NULL);
	target = g_strdup_printf("unix:%s/supervisor.sock", run);
	deploy = dn_secret_key_generate();
	cr_assert(dn_file_make_directory(config, 0700, NULL));
	make_cluster();
	daemon_pid = -1;
}

/* ---- the daemon ---- */

pid_t daemon_spawn(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		/* A test that fails ends at once. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(g_getenv("DNODE_SUPERVISOR_EXE"), "dnode-supervisor", "--config", config,
		      "--state", state, "--run", run, NULL);
		_exit(127);
	}
	return pid;
}

JsonObject *daemon_get(const char *path)
{
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);

	return dn_http_get(http, path, NULL);
}

void daemon_start(void)
{
	gint64 end = g_get_monotonic_time() + START_MS * 1000;
	JsonObject *answer = NULL;

	daemon_pid = daemon_spawn();
	while ((answer = daemon_get("/v1/cluster")) == NULL && g_get_monotonic_time() < end)
		g_usleep(5000);
	cr_assert(answer != NULL, "the daemon does not answer");
	json_object_unref(answer);
}

int daemon_stop(int signal_number)
{
	int status = 0;

	kill(daemon_pid, signal_number);
	waitpid(daemon_pid, &status, 0);
	daemon_pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void daemon_free(void)
{
	if (daemon_pid > 0)
		daemon_stop(SIGKILL);
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_clear_pointer(&directory, g_free);
	g_clear_pointer(&config, g_free);
	g_clear_pointer(&state, g_free);
	g_clear_pointer(&run, g_free);
	g_clear_pointer(&target, g_free);
	g_clear_pointer(&deploy, dn_secret_key_free);
}

const char *daemon_target(void)
{
	return target;
}

const char *daemon_state(void)
{
	return state;
}

const DnSecretKey *daemon_deploy_key(void)
{
	return deploy;
}
