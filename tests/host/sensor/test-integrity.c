/* SPDX-License-Identifier: Apache-2.0 */

/* What somebody with root's rights changes of the sensor: found, named and put right. */

#include "sensor/integrity.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "sensor/private.h"
#include "support/suite.h"

/* bpf_attach_type of Linux 6.6. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };
enum { SLOT = 2, LOOPBACK = 1, STRANGER = 4242 };

static Host host;
static DnSensorNode node;

static void setup(void)
{
	host_set_up(&host);
	node = host_add_node(&host, "n0", SLOT, DN_ANSWER_OBSERVE);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(integrity, .init = setup, .fini = teardown, .timeout = 60);

static void expect_text(const char *what, const char *wanted)
{
	if (wanted == NULL)
		cr_assert_null(what, "%s", what);
	else
		cr_assert(what != NULL && strstr(what, wanted) != NULL, "\"%s\" does not say %s",
			  what != NULL ? what : "(nothing)", wanted);
}

/* A look finds @wanted and puts it right; the next one finds nothing. */
static void expect_of_node(const char *wanted)
{
	bool repaired = false;
	g_autofree char *first = dn_sensor_check_node(host.sensor, &node, false, &repaired);

	expect_text(first, wanted);
	cr_assert(repaired, "%s: not put right", first);
	g_autofree char *second = dn_sensor_check_node(host.sensor, &node, false, &repaired);
	expect_text(second, NULL);
}

static void expect_of_hooks(const char *wanted)
{
	bool repaired = false;
	g_autofree char *first = dn_sensor_check_hooks(host.sensor, &host.instance, &repaired);

	expect_text(first, wanted);
	cr_assert(repaired, "%s: not put right", first);
	g_autofree char *second = dn_sensor_check_hooks(host.sensor, &host.instance, &repaired);
	expect_text(second, NULL);
}

/* A program that lets everything pass: it returns @verdict. */
static int load_stranger(enum bpf_prog_type type, enum bpf_attach_type attach, int verdict)
{
	const struct bpf_insn instructions[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);
	int fd = bpf_prog_load(type, "stranger", "GPL", instructions, G_N_ELEMENTS(instructions),
			       &options);

	cr_assert(fd >= 0, "%s", g_strerror(errno));
	return fd;
}

Test(integrity, what_nobody_changed_is_right)
{
	expect_of_node(NULL);
	expect_of_hooks(NULL);
}

/* ---- maps ---- */

Test(integrity, a_process_that_may_enter_namespaces_in_the_agents_place_is_found)
{
	uint32_t zero = 0, pid = STRANGER;

	cr_assert(bpf_map_update_elem(host.sensor->maps[DN_PIN_AGENT], &zero, &pid, BPF_ANY) == 0);
	expect_of_hooks("process 4242");
}

static void invite(uint32_t pid)
{
	struct dn_sensor_node entry;
	int map = host.sensor->maps[DN_PIN_NODE];

	cr_assert(bpf_map_lookup_elem(map, &node.cgroup_id, &entry) == 0);
	entry.guest = pid;
	cr_assert(bpf_map_update_elem(map, &node.cgroup_id, &entry, BPF_ANY) == 0);
}

Test(integrity, a_guest_that_the_agent_did_not_invite_is_found)
{
	g_autoptr(GError) error = NULL;

	invite(STRANGER);
	expect_of_node("its entry");
	cr_assert(dn_sensor_expect_guest(host.sensor, node.cgroup_id, STRANGER, &error));
	expect_of_node(NULL);
	invite(STRANGER + 1);
	expect_of_node("its entry");
	cr_assert(dn_sensor_expect_guest(host.sensor, node.cgroup_id, 0, &error));
	expect_of_node(NULL);
	invite(STRANGER);
	expect_of_node("its entry");
}

static void live_apart(const Host *at, void *data)
{
	if (unshare(CLONE_NEWNS) < 0 || write(3, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* The node's first process with a mount namespace of its own. */
static pid_t begin_first(int *pipe_fd)
{
	g_autoptr(GError) error = NULL;
	struct stat info;
	char byte;
	pid_t pid = host_spawn_in(&host, "n0", live_apart, NULL, pipe_fd);
	g_autofree char *path = g_strdup_printf("/proc/%d/ns/mnt", pid);

	cr_assert(read(*pipe_fd, &byte, 1) == 1 && stat(path, &info) == 0);
	node.pid1 = (uint32_t)pid;
	node.spaces[1] = (uint32_t)info.st_ino;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
	return pid;
}

Test(integrity, a_namespace_that_is_taken_out_while_it_is_lived_in_is_found)
{
	uint64_t other = 1;
	dn_autofd int pipe_fd = -1;
	int map = host.sensor->maps[DN_PIN_SPACE];
	pid_t pid = begin_first(&pipe_fd);

	expect_of_node(NULL);
	cr_assert(bpf_map_delete_elem(map, &node.spaces[1]) == 0);
	expect_of_node("mnt namespace");
	cr_assert(bpf_map_update_elem(map, &node.spaces[1], &other, BPF_ANY) == 0);
	expect_of_node("mnt namespace");
	/* Its end is no work of others. */
	cr_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	expect_of_node(NULL);
}

/* ---- programs ---- */

static void replace_program(unsigned hook, enum bpf_attach_type type)
{
	dn_autofd int stranger = load_stranger(BPF_PROG_TYPE_CGROUP_SKB, type, 1);
	int rc = bpf_link_update(host.sensor->links[hook], stranger, NULL);

	cr_assert(zero(int, rc), "%s", g_strerror(-rc));
	expect_of_hooks("another program");
}

Test(integrity, a_link_that_was_given_another_program_is_found)
{
	replace_program(DN_PIN_CGROUP_IN, BPF_CGROUP_INET_INGRESS);
	replace_program(DN_PIN_CGROUP_OUT, BPF_CGROUP_INET_EGRESS);
}

Test(integrity, a_link_that_was_detached_gets_the_program_that_it_had)
{
	cr_assert(zero(int, bpf_link_detach(host.sensor->links[DN_PIN_CGROUP_OUT])));
	expect_of_hooks("was detached");
}

/* ---- filters ---- */

Test(integrity, filters_that_were_removed_are_found)
{
	run("tc filter del dev lo ingress");
	expect_of_node("were removed");
	run("tc qdisc del dev lo clsact");
	expect_of_node("were removed");
}

static void put_before(enum bpf_tc_attach_point point)
{
	dn_autofd int stranger = load_stranger(BPF_PROG_TYPE_SCHED_CLS, 0, 0);
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = 2, .priority = 1, .prog_fd = stranger);

	cr_assert(zero(int, bpf_tc_attach(&hook, &filter)));
	expect_of_node("passed by others");
}

Test(integrity, a_filter_of_the_same_priority_that_comes_first_is_found)
{
	put_before(BPF_TC_INGRESS);
	put_before(BPF_TC_EGRESS);
}

Test(integrity, a_filter_that_comes_later_is_nobodys_business)
{
	dn_autofd int stranger = load_stranger(BPF_PROG_TYPE_SCHED_CLS, 0, 0);
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = 1, .priority = 2, .prog_fd = stranger);

	cr_assert(zero(int, bpf_tc_attach(&hook, &filter)));
	expect_of_node(NULL);
}

Test(integrity, the_same_filter_that_decides_nothing_is_found)
{
	g_autofree char *pin =
		g_build_filename(host.instance.bpf_dir, dn_pins_program_name(DN_PIN_TO_NODE), NULL);

	run("tc filter replace dev lo egress pref 1 handle 1 bpf object-pinned '%s'", pin);
	expect_of_node("passed by others");
}

static void put_tcx(int type)
{
	dn_autofd int stranger = load_stranger(BPF_PROG_TYPE_SCHED_CLS, 0, -1);
	int rc = bpf_prog_attach(stranger, LOOPBACK, (enum bpf_attach_type)type, 0);

	if (rc == -EINVAL)
		cr_skip_test("this kernel has no tcx");
	cr_assert(zero(int, rc), "%s", g_strerror(-rc));
	expect_of_node("put before");
}

Test(integrity, a_program_that_runs_before_all_filters_is_found)
{
	put_tcx(TCX_INGRESS);
	put_tcx(TCX_EGRESS);
}
