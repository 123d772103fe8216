/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/cgroup.h"

#include <string.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/mounts.h"

enum { CONTROL_FILE_LIMIT = 65536 };

/* What a node's limits need; crun asks for the same ones. */
static const char *const controllers[] = {"cpu", "memory", "pids", NULL};

char *dn_cgroup_find_root(GError **error)
{
	g_auto(GStrv) mounts = dn_mounts_of_type("cgroup2", error);

	if (mounts == NULL)
		return NULL;
	if (mounts[0] == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "cgroup v2 is not mounted: nodes cannot be frozen; try: "
			    "mount -t cgroup2 none /sys/fs/cgroup/unified");
		return NULL;
	}
	return g_strdup(mounts[0]);
}

const char *dn_cgroup_usual_parent(void)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", NULL);

	/* The directory is systemd's own sign that it is the init of this machine: sd_booted(3). */
	if (v1 != NULL && v1[0] == NULL && g_file_test("/run/systemd/system", G_FILE_TEST_IS_DIR))
		return "dnode.slice/nodes";
	return "dnode";
}

static char **read_words(const char *directory, const char *file, GError **error)
{
	g_autofree char *path = g_build_filename(directory, file, NULL);
	g_autofree char *text = dn_file_read_kernel(path, CONTROL_FILE_LIMIT, error);

	return text != NULL ? g_strsplit(g_strstrip(text), " ", -1) : NULL;
}

/*
 * crun 1.8 refuses to work when some controllers are mounted as v1 while v2 still holds others.
 * A controller leaves v2 by being mounted as v1.
 */
static bool check_hybrid(const DnInstance *instance, char *const *v1, GError **error)
{
	g_auto(GStrv) held = read_words(instance->cgroup_root, "cgroup.controllers", error);

	if (held == NULL)
		return false;
	if (held[0] == NULL || held[0][0] == '\0')
		return true;
	g_autofree char *base = g_path_get_dirname(v1[0]);
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "cgroups are mixed: %s is v1, but the controller '%s' is still in v2, which "
		    "the OCI runtime refuses; run: mkdir -p %s/%s && mount -t cgroup -o %s none "
		    "%s/%s",
		    v1[0], held[0], base, held[0], held[0], base, held[0]);
	return false;
}

/*
 * Let the children of @directory have what a node's limits need. What they have already is not
 * asked for again: above the instance's parent another one, systemd, may be the only writer.
 */
static bool delegate(const char *directory, GError **error)
{
	g_auto(GStrv) held = read_words(directory, "cgroup.controllers", error);
	g_auto(GStrv) given =
		held != NULL ? read_words(directory, "cgroup.subtree_control", error) : NULL;
	g_autofree char *path = g_build_filename(directory, "cgroup.subtree_control", NULL);

	if (given == NULL)
		return false;
	for (size_t i = 0; controllers[i] != NULL; i++) {
		g_autofree char *wish = g_strconcat("+", controllers[i], NULL);

		if (g_strv_contains((const char *const *)given, controllers[i]))
			continue;
		if (!g_strv_contains((const char *const *)held, controllers[i])) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
				    "%s has no controller '%s': enable it in the "
				    "cgroup.subtree_control of every cgroup above",
				    directory, controllers[i]);
			return false;
		}
		if (!dn_file_write_kernel(path, wish, error))
			return false;
	}
	return true;
}

bool dn_cgroup_prepare(const DnInstance *instance, unsigned *level, GError **error)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", error);
	g_auto(GStrv) parts = g_strsplit(instance->cgroup_parent, "/", -1);
	g_autofree char *path = g_strdup(instance->cgroup_root);
	/* A named v1 hierarchy without controllers (systemd's) does not count as hybrid for
	 * delegation, but it does for the runtime: any v1 mount makes the layout mixed. */
	bool unified = v1 != NULL && v1[0] == NULL;

	if (v1 == NULL || (!unified && !check_hybrid(instance, v1, error)))
		return false;
	if (unified && !delegate(path, error))
		return false;
	if (!dn_failpoint("agent.cgroup.parent.before", error))
		return false;
	for (unsigned i = 0; parts[i] != NULL; i++) {
		g_autofree char *below = g_build_filename(path, parts[i], NULL);

		if (!dn_file_make_directory(below, 0755, error) ||
		    (unified && !delegate(below, error)))
			return false;
		g_free(g_steal_pointer(&path));
		path = g_steal_pointer(&below);
	}
	*level = g_strv_length(parts);
	return true;
}

bool dn_cgroup_remove_parent(const DnInstance *instance, GError **error)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", error);
	g_autofree char *v2 =
		g_build_filename(instance->cgroup_root, instance->cgroup_parent, NULL);

	if (v1 == NULL)
		return false;
	for (size_t i = 0; v1[i] != NULL; i++) {
		g_autofree char *path = g_build_filename(v1[i], instance->cgroup_parent, NULL);

		if (!dn_file_remove_directories(path, error))
			return false;
	}
	return dn_file_remove_directories(v2, error);
}
