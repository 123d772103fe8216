/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/layout.h"

#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define NAME_LIMIT 24
#define FIRST_HOST_ADDRESS 10
#define UID_FIRST 100000000u
#define UIDS_PER_HOST 20000000u

_Static_assert(DN_LAB_HOSTS_LIMIT + FIRST_HOST_ADDRESS < 255, "hosts fit into their /24");
_Static_assert(UID_FIRST + (DN_LAB_HOSTS_LIMIT + 1ull) * UIDS_PER_HOST < UINT32_MAX,
	       "every host's uid range is below 2^32");

static void host_free(DnLabHost *host)
{
	g_free(host->name);
	g_free(host->netns);
	g_free(host->address);
	g_free(host->config);
	g_free(host->state_dir);
	g_free(host->run_dir);
	g_free(host->cgroup_parent);
	g_free(host->bpf_dir);
	g_free(host->runtime_root);
	g_free(host);
}

static DnLabHost *host_new(const DnLab *lab, unsigned index)
{
	DnLabHost *host = g_new0(DnLabHost, 1);

	host->index = index;
	host->name = g_strdup_printf("h%u", index);
	host->netns = g_strdup_printf("%s-%s", lab->name, host->name);
	host->address = g_strdup_printf("10.88.0.%u", FIRST_HOST_ADDRESS + index);
	host->state_dir = g_build_filename(lab->state_dir, host->name, NULL);
	host->run_dir = g_build_filename(lab->run_dir, host->name, NULL);
	host->config = g_strdup_printf("%s/%s.yaml", lab->state_dir, host->name);
	host->cgroup_parent = g_strdup_printf("%s/%s", lab->name, host->name);
	host->bpf_dir = g_strdup_printf("/sys/fs/bpf/%s-%s", lab->name, host->name);
	host->runtime_root = g_build_filename(host->run_dir, "runtime", NULL);
	host->uid_base = UID_FIRST + index * UIDS_PER_HOST;
	return host;
}

static void fill_paths(DnLab *self)
{
	self->state_dir = g_build_filename("/var/lib", self->name, NULL);
	self->run_dir = g_build_filename("/run", self->name, NULL);
	self->home = g_build_filename(self->state_dir, "home", NULL);
	self->socket = g_build_filename(self->run_dir, "supervisor", "supervisor.sock", NULL);
	self->libexec_dir = g_build_filename(self->state_dir, "libexec", NULL);
	self->log_dir = g_build_filename(self->state_dir, "logs", NULL);
	self->lock = g_strdup_printf("/run/%s.lock", self->name);
	self->record = g_build_filename(self->state_dir, "lab.json", NULL);
	self->daemons = g_build_filename(self->run_dir, "daemons.json", NULL);
	self->pids = g_build_filename(self->run_dir, "pids.json", NULL);
	self->monitor_pid = g_build_filename(self->run_dir, "monitor.pid", NULL);
	self->switch_netns = g_strconcat(self->name, "-sw", NULL);
	self->supervisor_netns = g_strconcat(self->name, "-sup", NULL);
	self->client_netns = g_strconcat(self->name, "-client", NULL);
}

DnLab *dn_lab_new(const char *name, unsigned n_hosts, GError **error)
{
	if (name == NULL)
		name = DN_LAB_NAME;
	if (!dn_text_is_name(name) || strlen(name) > NAME_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "'%s' cannot name a lab: 1 to %d of a-z, 0-9 and '-'", name,
			    NAME_LIMIT);
		return NULL;
	}
	if (n_hosts > DN_LAB_HOSTS_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "a lab has at most %d hosts",
			    DN_LAB_HOSTS_LIMIT);
		return NULL;
	}

	DnLab *self = g_new0(DnLab, 1);
	self->name = g_strdup(name);
	fill_paths(self);
	self->hosts = g_ptr_array_new_with_free_func((GDestroyNotify)host_free);
	for (unsigned i = 1; i <= n_hosts; i++)
		g_ptr_array_add(self->hosts, host_new(self, i));
	return self;
}

void dn_lab_free(DnLab *self)
{
	if (self == NULL)
		return;
	char **owned[] = {&self->name,         &self->state_dir,
			  &self->run_dir,      &self->home,
			  &self->socket,       &self->libexec_dir,
			  &self->log_dir,      &self->lock,
			  &self->record,       &self->daemons,
			  &self->pids,         &self->monitor_pid,
			  &self->switch_netns, &self->supervisor_netns,
			  &self->client_netns};
	for (unsigned i = 0; i < G_N_ELEMENTS(owned); i++)
		g_free(*owned[i]);
	g_ptr_array_unref(self->hosts);
	g_free(self);
}

void dn_lab_programs_free(DnLabPrograms *self)
{
	if (self == NULL)
		return;
	g_free(self->dnode);
	g_free(self->supervisor);
	g_free(self->agent);
	g_free(self->log_helper);
	g_free(self->drill_helper);
	g_free(self);
}

/* The first of @candidates below @root that can be executed. */
static char *find(const char *root, const char *const *candidates, GError **error)
{
	for (unsigned i = 0; candidates[i] != NULL; i++) {
		g_autofree char *path = g_build_filename(root, candidates[i], NULL);
		if (access(path, X_OK) == 0)
			return g_steal_pointer(&path);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "%s/%s is missing: build or install the whole of dnode", root, candidates[0]);
	return NULL;
}

DnLabPrograms *dn_lab_programs_find(GError **error)
{
	/* dnode is ROOT/cli/main/dnode in a build tree and PREFIX/bin/dnode where installed. */
	static const char *const supervisor[] = {"supervisor/main/dnode-supervisor",
						 "sbin/dnode-supervisor", "bin/dnode-supervisor",
						 NULL};
	static const char *const agent[] = {"agent/main/dnode-agent", "sbin/dnode-agent",
					    "bin/dnode-agent", NULL};
	static const char *const log[] = {"agent/runtime/dnode-log", "libexec/dnode/dnode-log",
					  NULL};
	static const char *const drill[] = {"agent/drill/dnode-drill", "libexec/dnode/dnode-drill",
					    NULL};
	g_autoptr(DnLabPrograms) self = g_new0(DnLabPrograms, 1);
	g_autoptr(GError) cause = NULL;

	self->dnode = g_file_read_link("/proc/self/exe", &cause);
	if (self->dnode == NULL) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return NULL;
	}
	g_autofree char *here = g_path_get_dirname(self->dnode);
	g_autofree char *above = g_path_get_dirname(here);
	g_autofree char *top = g_path_get_dirname(above);
	const char *root = g_str_has_suffix(here, "/cli/main") ? top : above;
	self->supervisor = find(root, supervisor, error);
	if (self->supervisor == NULL)
		return NULL;
	self->agent = find(root, agent, error);
	if (self->agent == NULL)
		return NULL;
	self->log_helper = find(root, log, error);
	if (self->log_helper == NULL)
		return NULL;
	self->drill_helper = find(root, drill, error);
	if (self->drill_helper == NULL)
		return NULL;
	return g_steal_pointer(&self);
}
