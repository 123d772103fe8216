/* SPDX-License-Identifier: Apache-2.0 */

/* What outlives the agent, what the next one takes over, and what is refused. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "fixture.h"
#include "support/suite.h"

static Host host;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(pins, .init = setup, .fini = teardown, .timeout = 120);

static bool kills_foreign(void)
{
	Result result = host_run_in(&host, "n0", exec_foreign, NULL);

	return WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL && !result.ran;
}

static void close_sensor(void)
{
	g_clear_pointer(&host.sensor, dn_sensor_close);
}

static char *pin(const char *name)
{
	return g_build_filename(host.instance.bpf_dir, name, NULL);
}

Test(pins, a_mark_is_made_while_no_agent_runs_and_the_next_agent_finds_it)
{
	host_add_node(&host, "n0", 4, DN_ANSWER_QUARANTINE);
	close_sensor();
	cr_assert(kills_foreign());
	host.sensor = host_open(&host);
	cr_assert(ne(u64, dn_sensor_marks(host.sensor)[4].event_ns, 0));
	cr_assert_str_eq((char *)dn_sensor_marks(host.sensor)[4].path, host.foreign);
}

Test(pins, adoption_keeps_a_mark_and_a_new_node_does_not_inherit_it)
{
	g_autoptr(GError) error = NULL;
	DnSensorNode node = host_add_node(&host, "n0", 4, DN_ANSWER_QUARANTINE);

	cr_assert(kills_foreign());
	close_sensor();
	host.sensor = host_open(&host);
	node.keep_mark = true;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
	cr_assert(ne(u64, dn_sensor_marks(host.sensor)[4].event_ns, 0));
	node.keep_mark = false;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
	cr_assert(eq(u64, dn_sensor_marks(host.sensor)[4].event_ns, 0));
	cr_assert(eq(u32, dn_sensor_marks(host.sensor)[4].n_ports, 1));
}

Test(pins, the_directory_is_the_agents_alone)
{
	struct stat info;

	cr_assert(stat(host.instance.bpf_dir, &info) == 0);
	cr_assert(eq(u32, info.st_mode & 0777, 0700));
}

Test(pins, removal_leaves_nothing_behind)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *parent = g_path_get_dirname(host.instance.bpf_dir);

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	close_sensor();
	run("test -n \"$(tc filter show dev lo egress)\"");
	cr_assert(dn_sensor_remove(&host.instance, &error), "%s", error->message);
	cr_assert(access(parent, F_OK) < 0, "%s is still there", parent);
	run("test -z \"$(tc filter show dev lo egress)$(tc qdisc show dev lo clsact)\"");
	/* The kernel takes a link apart some time after its last reference is gone. */
	bool ran = false;
	for (unsigned tries = 0; !ran && tries < 200; tries++) {
		ran = host_run_in(&host, "n0", exec_foreign, NULL).ran;
		if (!ran)
			g_usleep(10 * 1000);
	}
	cr_assert(ran, "the exec hook is still attached");
	cr_assert(dn_sensor_remove(&host.instance, &error));
}

Test(pins, a_partial_set_is_replaced_while_no_node_depends_on_it)
{
	g_autofree char *path = pin("link_exec");

	close_sensor();
	cr_assert(unlink(path) == 0);
	host.sensor = host_open(&host);
	cr_assert(access(path, F_OK) == 0);
}

Test(pins, a_partial_set_is_refused_while_a_node_depends_on_it)
{
	g_autofree char *path = pin("link_exec");
	g_autoptr(GError) error = NULL;

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	close_sensor();
	cr_assert(unlink(path) == 0);
	g_autoptr(DnSensor) sensor = dn_sensor_open(&host.instance, host.level, &error);
	cr_assert(sensor == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
	cr_assert(strstr(error->message, "1 nodes") != NULL, "%s", error->message);
}

Test(pins, nodes_whose_cgroup_is_gone_do_not_count)
{
	g_autofree char *path = pin("link_exec");
	g_autofree char *cgroup = g_build_filename(host.parent, "n0", NULL);

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	close_sensor();
	cr_assert(unlink(path) == 0 && rmdir(cgroup) == 0);
	host.sensor = host_open(&host);
}

Test(pins, a_parent_cgroup_that_was_made_anew_is_guarded_again)
{
	close_sensor();
	cr_assert(rmdir(host.parent) == 0 && mkdir(host.parent, 0755) == 0);
	host.sensor = host_open(&host);
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(kills_foreign());
}

Test(pins, a_directory_elsewhere_is_refused_with_the_command_that_helps)
{
	g_autoptr(GError) error = NULL;
	DnInstance other = host.instance;

	other.bpf_dir = g_build_filename(host.directory, "pins", NULL);
	g_autoptr(DnSensor) sensor = dn_sensor_open(&other, host.level, &error);
	cr_assert(sensor == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNSUPPORTED), "%s", error->message);
	cr_assert(strstr(error->message, "mount -t bpf") != NULL, "%s", error->message);
	g_free(other.bpf_dir);
}

Test(pins, another_instance_neither_sees_nor_disturbs_this_one)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *cgroup = g_build_filename(host.parent, "other", NULL);
	DnInstance other = host.instance;

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(mkdir(cgroup, 0755) == 0);
	other.bpf_dir = g_build_filename(host.directory, "bpf", "lab", "h2", NULL);
	other.cgroup_parent = g_build_filename(host.instance.cgroup_parent, "other", NULL);
	g_autoptr(DnSensor) sensor = dn_sensor_open(&other, host.level + 1, &error);
	cr_assert(sensor != NULL, "%s", error != NULL ? error->message : "no error was set");
	cr_assert(kills_foreign());
	cr_assert(eq(u64, dn_sensor_marks(sensor)[0].event_ns, 0));
	dn_sensor_close(g_steal_pointer(&sensor));
	cr_assert(dn_sensor_remove(&other, &error), "%s", error->message);
	cr_assert(kills_foreign());
	g_free(other.bpf_dir);
	g_free(other.cgroup_parent);
}
