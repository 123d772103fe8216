/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mounts.h"
#include "lab/command.h"
#include "lab/lab.h"
#include "lab/lock.h"
#include "lab/monitor.h"
#include "lab/mounts.h"
#include "lab/record.h"
#include "lab/sweep.h"
#include "lab/wires.h"

#include <sys/stat.h>

/*
 * Each step is tried whatever became of the others, so that one that fails leaves as little as
 * possible; the first failure is the one that is told, the rest are notes.
 */
static void keep_first(GError **first, GError *error, DnOutput *output)
{
	if (error == NULL)
		return;
	if (*first == NULL) {
		*first = error;
		return;
	}
	dn_output_note(output, "%s", error->message);
	g_error_free(error);
}

static bool cleanup_host(const DnLabPrograms *programs, const DnLabHost *host, GError **error)
{
	const char *argv[] = {programs->agent, "--config", host->config,
			      "cleanup",       "--force",  NULL};

	if (!g_file_test(host->config, G_FILE_TEST_EXISTS) || !dn_lab_wires_has(host->netns))
		return true;
	if (dn_command_run(host->netns, argv, NULL, NULL, error))
		return true;
	g_prefix_error(error, "clean up %s: ", host->name);
	return false;
}

/* NAME and NAME/hI in every hierarchy; empty by now, and the agents' own parents are theirs. */
static bool remove_cgroups(const DnLab *lab, GError **error)
{
	static const char *const types[] = {"cgroup", "cgroup2"};

	for (unsigned t = 0; t < G_N_ELEMENTS(types); t++) {
		g_auto(GStrv) points = dn_mounts_of_type(types[t], error);
		if (points == NULL)
			return false;
		for (unsigned i = 0; points[i] != NULL; i++) {
			g_autofree char *path = g_build_filename(points[i], lab->name, NULL);
			if (!dn_file_remove_directories(path, error))
				return false;
		}
	}
	return true;
}

static bool remove_pins(const DnLab *lab, GError **error)
{
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		if (g_file_test(host->bpf_dir, G_FILE_TEST_IS_DIR) &&
		    !dn_file_remove_tree(host->bpf_dir, error))
			return false;
	}
	return true;
}

/* All but the record, without which nobody would know whose the rest is. */
static bool empty_state(const DnLab *lab, GError **error)
{
	g_autoptr(GDir) directory = g_dir_open(lab->state_dir, 0, NULL);
	g_autofree char *record = g_path_get_basename(lab->record);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(lab->state_dir, name, NULL);

		if (g_str_equal(name, record))
			continue;
		if (g_file_test(path, G_FILE_TEST_IS_DIR) &&
				    !g_file_test(path, G_FILE_TEST_IS_SYMLINK)
			    ? !dn_file_remove_tree(path, error)
			    : !dn_file_remove(path, error))
			return false;
	}
	return true;
}

static bool remove_directories(const DnLab *lab, GError **error)
{
	const char *paths[] = {lab->run_dir, lab->state_dir};

	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		if (!g_file_test(paths[i], G_FILE_TEST_IS_DIR))
			continue;
		if (!dn_lab_mounts_detach_below(paths[i], error) ||
		    (paths[i] == lab->state_dir && !empty_state(lab, error)) ||
		    !dn_file_remove_tree(paths[i], error))
			return false;
	}
	return true;
}

static void undo_mounts(const DnLabRecord *record, DnOutput *output, GError **first)
{
	g_autoptr(GPtrArray) kept = g_ptr_array_new_with_free_func(g_free);
	GError *cause = NULL;

	if (!dn_lab_mounts_undo(record->mounts, kept, &cause))
		keep_first(first, cause, output);
	for (unsigned i = 0; i < kept->len; i++)
		dn_output_note(output, "%s stays mounted: somebody else uses it by now",
			       (const char *)kept->pdata[i]);
}

static bool down(const DnLab *lab, DnOutput *output, GError **error)
{
	static bool (*const steps[])(const DnLab *lab, GError **error) = {
		dn_lab_sweep, dn_lab_wires_remove, remove_cgroups, remove_pins};
	GError *first = NULL, *cause = NULL;

	g_autoptr(DnLabPrograms) programs = dn_lab_programs_find(error);
	g_autoptr(DnLabRecord) record = programs != NULL ? dn_lab_record_load(lab, error) : NULL;

	if (record == NULL)
		return false;
	dn_output_progress(output, "lab: ending the daemons");
	/* With daemons alive the rest would be a race. */
	if (!dn_lab_monitor_stop(lab, error))
		return false;
	dn_output_progress(output, "lab: removing nodes");
	for (unsigned i = 0; i < lab->hosts->len; i++)
		if (!cleanup_host(programs, lab->hosts->pdata[i], &cause))
			keep_first(&first, g_steal_pointer(&cause), output);
	dn_output_progress(output, "lab: removing namespaces, groups and files");
	for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
		if (!steps[i](lab, &cause))
			keep_first(&first, g_steal_pointer(&cause), output);
	undo_mounts(record, output, &first);
	/* Last, since the record is in them: what is interrupted before can be done again. */
	if (!remove_directories(lab, &cause))
		keep_first(&first, g_steal_pointer(&cause), output);
	if (first == NULL)
		return true;
	g_propagate_error(error, first);
	return false;
}

bool dn_lab_down(const DnLab *lab, DnOutput *output, GError **error)
{
	if (!dn_command_need_root(error))
		return false;
	int lock_fd = dn_lab_lock_take(lab, output, error);
	if (lock_fd < 0)
		return false;
	bool done = down(lab, output, error);
	dn_lab_lock_give(lab, lock_fd);
	return done;
}
