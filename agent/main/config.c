/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include "base/error.h"
#include "base/file.h"
#include "manifest/fields.h"

/* Highest uid base for which the last slot still lies below 2^32. */
#define UID_BASE_LIMIT (UINT32_MAX - (uint32_t)DN_SLOTS * DN_UIDS_PER_NODE)

/* Classes of isolation, each with the OCI runtime that gives it. A manifest may name no other. */
static const DnField isolation_fields[] = {
	{"container", DN_FIELD_TEXT, 0, DN_MEMBER(DnInstance, runtime), .max = 4096},
	{0},
};

static const DnField fields[] = {
	{"name", DN_FIELD_NAME, DN_FIELD_REQUIRED, DN_MEMBER(DnInstance, name)},
	{"state_dir", DN_FIELD_PATH, 0, DN_MEMBER(DnInstance, state_dir)},
	{"run_dir", DN_FIELD_PATH, 0, DN_MEMBER(DnInstance, run_dir)},
	{"cgroup_parent", DN_FIELD_RELATIVE, 0, DN_MEMBER(DnInstance, cgroup_parent)},
	{"bpf_dir", DN_FIELD_PATH, 0, DN_MEMBER(DnInstance, bpf_dir)},
	{"runtime", DN_FIELD_TEXT, 0, DN_MEMBER(DnInstance, runtime), .max = 4096},
	{"isolation", DN_FIELD_MAP, .fields = isolation_fields},
	{"runtime_root", DN_FIELD_PATH, 0, DN_MEMBER(DnInstance, runtime_root)},
	{"uid_base", DN_FIELD_UINT, 0, DN_MEMBER(DnInstance, uid_base), .min = 65536,
	 .max = UID_BASE_LIMIT},
	{"uplink", DN_FIELD_TEXT, DN_FIELD_REQUIRED, DN_MEMBER(DnInstance, uplink), .max = 15},
	{"libexec_dir", DN_FIELD_PATH, 0, DN_MEMBER(DnInstance, libexec_dir)},
	{"supervisor", DN_FIELD_ENDPOINT, 0, DN_MEMBER(DnInstance, supervisor_address)},
	{0},
};

/* What a host uses that says nothing: one agent on a machine of its own. */
static DnInstance *defaults(void)
{
	DnInstance *self = g_new0(DnInstance, 1);

	self->state_dir = g_strdup("/var/lib/dnode/agent");
	self->run_dir = g_strdup("/run/dnode/agent");
	self->bpf_dir = g_strdup("/sys/fs/bpf/dnode");
	self->runtime = g_strdup("crun");
	self->runtime_root = g_strdup("/run/dnode/agent/runtime");
	self->uid_base = 100000 * 1000;
	self->libexec_dir = g_strdup(DN_LIBEXEC_DIR);
	return self;
}

void dn_config_free(DnInstance *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->state_dir);
	g_free(self->run_dir);
	g_free(self->cgroup_parent);
	g_free(self->cgroup_root);
	g_free(self->bpf_dir);
	g_free(self->runtime);
	g_free(self->runtime_root);
	g_free(self->uplink);
	g_free(self->libexec_dir);
	g_free(self->supervisor_address);
	g_free(self);
}

/* Asked only when nothing was said, so that what was said is right on every machine. */
static void choose_cgroup(DnInstance *self)
{
	if (self->cgroup_parent == NULL)
		self->cgroup_parent = g_strdup(dn_cgroup_usual_parent());
}

static bool complete(DnInstance *self, const char *path, GError **error)
{
	g_autofree char *runtime = g_find_program_in_path(self->runtime);

	if (runtime == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "%s: runtime \"%s\" is not installed; install crun or name another "
			    "OCI runtime",
			    path, self->runtime);
		return false;
	}
	g_free(self->runtime);
	self->runtime = g_steal_pointer(&runtime);
	choose_cgroup(self);
	self->cgroup_root = dn_cgroup_find_root(error);
	return self->cgroup_root != NULL;
}

DnInstance *dn_config_load(const char *path, GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(path, 64 * 1024, error);

	if (bytes == NULL)
		return NULL;
	DnInstance *self = defaults();
	if (!dn_fields_parse(bytes, path, fields, self, error) || !complete(self, path, error)) {
		dn_config_free(self);
		return NULL;
	}
	return self;
}

DnInstance *dn_config_look(const char *path, GError **error)
{
	g_autoptr(GBytes) bytes = path != NULL ? dn_file_read(path, 64 * 1024, error) : NULL;

	if (path != NULL && bytes == NULL)
		return NULL;
	DnInstance *self = defaults();
	if (bytes != NULL && !dn_fields_parse(bytes, path, fields, self, error)) {
		dn_config_free(self);
		return NULL;
	}
	/* What is not there is what the caller wants to tell. */
	choose_cgroup(self);
	self->cgroup_root = dn_cgroup_find_root(NULL);
	return self;
}
