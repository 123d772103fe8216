/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/text.h"
#include "runtime/bundle.h"
#include "runtime/logs.h"
#include "runtime/program.h"
#include "runtime/root.h"

enum {
	VERSION_TIMEOUT_MS = 10000,
	ANSWER_TIMEOUT_MS = 3000,
	ANSWER_NAP_US = 2000,
	PROGRAM_BYTES = 16 * 1024 * 1024,
};

/* What dnode-log prints, and what is looked for in the throw-away node's log. */
static char answer[] = "dnode-log: is started by dnode-agent only";

static bool ask_version(const DnInstance *instance, char **version, GError **error)
{
	/* Without --root crun leaves a /run/crun behind, which is no instance's. */
	const char *argv[] = {instance->runtime, "--root", instance->runtime_root, "--version",
			      NULL};
	DnProgram program = DN_PROGRAM(argv, VERSION_TIMEOUT_MS);
	g_autofree char *text = NULL;

	if (!dn_program_run_now(&program, &text, error))
		return false;
	*version = dn_text_printable(text, strcspn(text, "\n"));
	return true;
}

/* A root with nothing in it but one static program of ours: dnode-log, which refuses and ends. */
static bool make_root(const DnInstance *instance, const char *root, GError **error)
{
	static const char *const directories[] = {"proc", "dev", NULL};
	g_autofree char *program = g_build_filename(instance->libexec_dir, "dnode-log", NULL);
	g_autofree char *copy = g_build_filename(root, "probe", NULL);

	for (size_t i = 0; directories[i] != NULL; i++) {
		g_autofree char *path = g_build_filename(root, directories[i], NULL);

		if (!dn_file_make_directory(path, 0755, error))
			return false;
	}
	g_autoptr(GBytes) bytes = dn_file_read(program, PROGRAM_BYTES, error);
	return bytes != NULL && dn_file_replace(copy, bytes, 0755, error);
}

static DnManifest *make_manifest(void)
{
	DnManifest *manifest = dn_manifest_new();

	manifest->service = g_strdup("probe");
	manifest->image_ref = g_strdup("none");
	manifest->image_commit = g_strdup("none");
	manifest->memory_bytes = 32 * 1024 * 1024;
	manifest->cpu_milli = 1000;
	manifest->pids = 8;
	manifest->files = 64;
	return manifest;
}

/* True when the program has said its word within the time. */
static bool has_run(const char *log_dir)
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + ANSWER_TIMEOUT_MS * DN_NS_PER_MS;

	do {
		g_autofree char *said = dn_logs_read_now(log_dir, 10, NULL, NULL);

		if (said != NULL && strstr(said, answer) != NULL)
			return true;
		(void)usleep(ANSWER_NAP_US);
	} while (dn_clock_monotonic_ns() < deadline_ns);
	return false;
}

static bool try_fifo(const DnInstance *instance, const DnContainerSpec *spec, bool *works,
		     GError **error)
{
	DnContainer made;
	g_autoptr(GError) refused = NULL;
	DnRuntimeAbility wish = {.fast_start = true};

	if (!dn_container_create_now(instance, spec, &made, error))
		return false;
	*works = dn_container_start_now(instance, &wish, spec->node, &refused) &&
		 has_run(spec->log_dir);
	return dn_container_delete_now(instance, spec->node, error);
}

static bool try_on(const DnInstance *instance, const char *root, const char *node, bool *works,
		   GError **error)
{
	g_autofree char *folder = g_path_get_dirname(root);
	g_autofree char *log_dir = g_build_filename(folder, "log", NULL);
	g_autoptr(DnManifest) manifest = make_manifest();
	char *args[] = {(char *)"/probe", NULL};
	DnRun run = {.args = args, .uid = 1000};
	DnContainerSpec spec = {
		.node = node,
		/* Behind the ranges of the slots: slot 0 may be taken by a node that lives. */
		.uid_base = instance->uid_base + DN_SLOTS * DN_UIDS_PER_NODE,
		.root = root,
		.manifest = manifest,
		.run = &run,
		.log_dir = log_dir,
	};

	return try_fifo(instance, &spec, works, error);
}

/*
 * Its root is mounted as that of any node: from the state directory, because /run, where the mount
 * is, is noexec on many a system.
 */
static bool try_in(const DnInstance *instance, const char *source, const char *root,
		   const char *node, bool *works, GError **error)
{
	g_autoptr(GError) second = NULL;

	if (!make_root(instance, source, error))
		return false;
	dn_autofd int owner_fd =
		dn_root_owner_now(instance->uid_base + DN_SLOTS * DN_UIDS_PER_NODE, error);
	if (owner_fd < 0)
		return false;
	bool tried = dn_root_mount_now(source, root, owner_fd, error) &&
		     try_on(instance, root, node, works, error);
	if (!dn_root_unmount_now(root, &second))
		g_warning("clean up after the runtime's probe: %s", second->message);
	return tried;
}

static bool has_no_room(const GError *error)
{
	return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE) ||
	       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY);
}

bool dn_runtime_probe_now(const DnInstance *instance, DnRuntimeAbility *ability, GError **error)
{
	g_autofree char *id = dn_id_new(4);
	g_autofree char *node = g_strdup_printf("probe-%s", id);
	g_autofree char *directory = g_build_filename(instance->run_dir, node, NULL);
	g_autofree char *source = g_build_filename(instance->state_dir, node, NULL);
	g_autofree char *root = g_build_filename(directory, "root", NULL);
	g_autofree char *version = NULL;
	bool works = false;

	if (!ask_version(instance, &version, error) ||
	    !dn_file_make_directory(directory, 0711, error))
		return false;
	GError *failed = NULL;
	bool tried = dn_file_make_directory(source, 0755, &failed) &&
		     try_in(instance, source, root, node, &works, &failed);
	g_autoptr(GError) second = NULL;
	if (!dn_file_remove_tree(directory, &second) || !dn_file_remove_tree(source, &second))
		g_warning("clean up after the runtime's probe: %s", second->message);
	/* A full disk says nothing about the runtime, and drift does not wait for room. */
	if (!tried && !has_no_room(failed)) {
		g_propagate_error(error, failed);
		return false;
	}
	if (!tried) {
		g_message("the runtime's fast start is not tried, nor used: %s", failed->message);
		g_error_free(failed);
	}
	ability->version = g_steal_pointer(&version);
	ability->fast_start = works;
	return true;
}

void dn_runtime_ability_clear(DnRuntimeAbility *self)
{
	g_clear_pointer(&self->version, g_free);
	self->fast_start = false;
}
