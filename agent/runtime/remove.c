/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/container.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/members.h"
#include "base/mounts.h"
#include "runtime/bundle.h"
#include "runtime/program.h"
#include "runtime/state.h"

enum {
	EMPTY_TIMEOUT_MS = 5000,
	DELETE_TIMEOUT_MS = 10000,
	FIRST_NAP_US = 200,
	LONGEST_NAP_US = 5000,
	EVENTS_BYTES = 4096,
};

static bool cgroup_is_empty(const char *events)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = dn_file_read_kernel(events, EVENTS_BYTES, &error);

	/* Gone, or going while it was read, is as empty as can be. */
	return text == NULL || strstr(text, "populated 0") != NULL;
}

/*
 * Everything in the cgroup dies, frozen or not. Polling for the end is slower than looking,
 * and a dead node is seldom waited for longer than a millisecond.
 *
 * cgroup.kill signals the first thread of every process, and where that one has left
 * (pthread_exit(3) in main()) the others never hear of it. A signal to the process reaches them.
 */
static bool kill_all(const DnInstance *instance, const char *node, GError **error)
{
	g_autofree char *directory = dn_state_cgroup(instance, node, NULL);
	g_autofree char *trigger = dn_state_cgroup(instance, node, "cgroup.kill");
	g_autofree char *events = dn_state_cgroup(instance, node, "cgroup.events");
	g_autofree char *procs = dn_state_cgroup(instance, node, "cgroup.procs");
	g_autofree char *group = g_strdup_printf("/%s/%s", instance->cgroup_parent, node);
	uint64_t deadline_ns = dn_clock_monotonic_ns() + EMPTY_TIMEOUT_MS * DN_NS_PER_MS;
	useconds_t nap_us = FIRST_NAP_US;

	if (access(directory, F_OK) < 0)
		return true;
	if (!dn_file_write_kernel(trigger, "1", error)) {
		g_prefix_error(error, "kill node %s: ", node);
		return false;
	}
	while (!cgroup_is_empty(events)) {
		if (dn_clock_monotonic_ns() >= deadline_ns) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "node %s: processes are left %d ms after SIGKILL: %s", node,
				    EMPTY_TIMEOUT_MS, directory);
			return false;
		}
		if (nap_us > FIRST_NAP_US)
			dn_members_kill(procs, group);
		(void)usleep(nap_us);
		nap_us = MIN(nap_us * 2, LONGEST_NAP_US);
	}
	return true;
}

/*
 * The runtime's own removal first. A container that was never finished has a directory that
 * the runtime itself can neither read nor remove: then the directory alone is what is left.
 */
static bool forget(const DnInstance *instance, const char *node, GError **error)
{
	g_autofree char *directory = dn_state_path(instance, node, NULL);
	const char *argv[] = {instance->runtime,
			      "--root",
			      instance->runtime_root,
			      "delete",
			      "--force",
			      node,
			      NULL};
	DnProgram program = DN_PROGRAM(argv, DELETE_TIMEOUT_MS);
	g_autoptr(GError) refused = NULL;
	DnContainer found;
	bool created;

	if (access(directory, F_OK) < 0)
		return true;
	bool done = dn_program_run_now(&program, NULL, &refused);
	if (access(directory, F_OK) < 0)
		return true;
	if (dn_container_find_now(instance, node, &found, &created, NULL)) {
		if (done)
			g_set_error(&refused, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "%s deleted node %s, but it is still there", instance->runtime,
				    node);
		g_propagate_error(error, g_steal_pointer(&refused));
		return false;
	}
	return dn_file_remove_tree(directory, error);
}

static bool remove_cgroups(const DnInstance *instance, const char *node, GError **error)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", error);
	g_autofree char *v2 = dn_state_cgroup(instance, node, NULL);

	if (v1 == NULL)
		return false;
	for (size_t i = 0; v1[i] != NULL; i++) {
		g_autofree char *path =
			g_build_filename(v1[i], instance->cgroup_parent, node, NULL);

		if (!dn_file_remove_directories(path, error))
			return false;
	}
	return dn_file_remove_directories(v2, error);
}

bool dn_container_delete_now(const DnInstance *instance, const char *node, GError **error)
{
	g_autofree char *bundle = dn_bundle_path(instance, node, NULL);

	return dn_bundle_check_name(node, error) &&
	       dn_failpoint("agent.container.kill.before", error) &&
	       kill_all(instance, node, error) &&
	       dn_failpoint("agent.container.delete.before", error) &&
	       forget(instance, node, error) && dn_failpoint("agent.cgroup.remove.before", error) &&
	       remove_cgroups(instance, node, error) &&
	       dn_failpoint("agent.bundle.remove.before", error) &&
	       dn_file_remove_tree(bundle, error);
}
