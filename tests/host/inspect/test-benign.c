/* SPDX-License-Identifier: Apache-2.0 */

/* Services that do nothing but what was declared are never told, however often they are looked at.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "support/suite.h"

static Host host;
static Node node;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	node_clear(&node);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(benign, .init = setup, .fini = teardown, .timeout = 240);

static unsigned looks(void)
{
	const char *wanted = g_getenv("DNODE_TEST_ROUNDS");

	return wanted != NULL ? (unsigned)atoi(wanted) : 1000;
}

static void look_often(void)
{
	DnInspectLook look = {0};

	for (unsigned i = 0; i < looks(); i++) {
		node_look(&node, i % 2 == 1, &look);
		assert_clean(&look);
		cr_assert(ge(u32, look.n_processes, 1));
	}
}

Test(benign, a_busy_static_program_is_never_found)
{
	node_start(&node, &host, "n0", IS_STATIC, "work", NULL);
	look_often();
}

Test(benign, a_busy_program_with_libraries_is_never_found)
{
	node_start(&node, &host, "n0", 0, "work", NULL);
	look_often();
}

Test(benign, a_busy_interpreter_is_never_found)
{
	if (access("/usr/bin/python3", X_OK) != 0)
		cr_skip("python3 is not here");
	node_start(&node, &host, "n0", 0, "python", NULL);
	look_often();
}

Test(benign, processes_that_begin_and_end_during_the_look_are_never_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	for (int i = 0; i < 4; i++)
		node_add(&node, NULL, 0, "come-and-go", NULL);
	look_often();
}

Test(benign, a_process_that_executes_without_end_is_never_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	for (int i = 0; i < 3; i++)
		node_add(&node, NULL, 0, "execute-itself", NULL);
	look_often();
}

Test(benign, a_look_without_its_processes_is_clean)
{
	DnInspectLook look = {0};

	node_start(&node, &host, "n0", 0, "rest", NULL);
	run("echo 1 > %s/cgroup.kill", node.cgroup);
	cr_assert(waitpid((pid_t)node.pid1, NULL, 0) == (pid_t)node.pid1);
	node_look(&node, false, &look);
	assert_clean(&look);
	cr_assert(rmdir(node.cgroup) == 0);
	g_autoptr(GError) error = NULL;
	cr_assert(not(dn_inspect_node_now(node.baseline, &look, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}
