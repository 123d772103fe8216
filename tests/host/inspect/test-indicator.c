/* SPDX-License-Identifier: Apache-2.0 */

/* What an incident left in one node, looked for in its siblings. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "inspect/indicator.h"
#include "support/suite.h"

static Host host;
static Node node, sibling;
static char *dropped; /* path of a file on the tmpfs */

static void setup(void)
{
	host_set_up(&host);
	node_start(&node, &host, "n0", 0, "rest", NULL);
	node_start(&sibling, &host, "n1", 0, "rest", NULL);
	/* Nodes that run already see what is written to the one tmpfs of this host. */
	dropped = g_build_filename(host.directory, "dropped", NULL);
}

static void teardown(void)
{
	g_free(dropped);
	node_clear(&node);
	node_clear(&sibling);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(indicator, .init = setup, .fini = teardown, .timeout = 60);

static unsigned matches_of(const DnInspectIndicator *indicator)
{
	g_autoptr(GError) error = NULL;
	unsigned matches = 0;

	bool looked = dn_inspect_has_indicator_now(sibling.baseline, indicator, &matches, &error);
	cr_assert(looked, "%s", error != NULL ? error->message : "no error was set");
	return matches;
}

static DnInspectIndicator indicator_of(const char *path)
{
	DnInspectIndicator indicator;

	dn_inspect_indicator_now(node.baseline, DN_DRIFT_EXEC, path, "", &indicator);
	return indicator;
}

Test(indicator, the_same_file_is_found_and_another_of_its_name_is_not)
{
	cr_assert(g_file_set_contents(dropped, "malice", -1, NULL));
	DnInspectIndicator indicator = indicator_of(dropped);

	cr_assert(indicator.has_file);
	cr_assert(eq(u64, indicator.size, 6));
	cr_assert(eq(u32, matches_of(&indicator), DN_MATCH_FILE));
	cr_assert(g_file_set_contents(dropped, "virtue", -1, NULL));
	cr_assert(eq(u32, matches_of(&indicator), 0));
	cr_assert(unlink(dropped) == 0);
	cr_assert(eq(u32, matches_of(&indicator), 0));
}

Test(indicator, a_file_of_the_image_is_none)
{
	DnInspectIndicator indicator = indicator_of("/usr/bin/env");

	cr_assert(not(indicator.has_file));
	cr_assert(eq(u32, matches_of(&indicator), 0));
}

Test(indicator, no_more_of_a_file_is_read_than_was_promised)
{
	dn_autofd int fd = open(dropped, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	cr_assert(ftruncate(fd, G_GINT64_CONSTANT(1) << 40) == 0);
	DnInspectIndicator indicator = indicator_of(dropped);
	cr_assert(indicator.has_file);
	cr_assert(pwrite(fd, "x", 1, (off_t)DN_INDICATOR_READ_BYTES) == 1);
	cr_assert(eq(u32, matches_of(&indicator), DN_MATCH_FILE));
	cr_assert(pwrite(fd, "x", 1, (off_t)DN_INDICATOR_READ_BYTES - 1) == 1);
	cr_assert(eq(u32, matches_of(&indicator), 0));
}

Test(indicator, what_is_no_regular_file_is_left_alone)
{
	g_autofree char *target = g_build_filename(host.directory, "target", NULL);

	cr_assert(mkfifo(dropped, 0666) == 0);
	cr_assert(not(indicator_of(dropped).has_file));
	cr_assert(unlink(dropped) == 0);
	cr_assert(g_file_set_contents(target, "malice", -1, NULL));
	cr_assert(symlink(target, dropped) == 0);
	cr_assert(not(indicator_of(dropped).has_file));
	cr_assert(indicator_of(target).has_file);
	cr_assert(not(indicator_of(host.directory).has_file));
	cr_assert(not(indicator_of("memfd:x").has_file));
}

Test(indicator, a_process_that_runs_the_file_is_found_also_when_it_was_deleted)
{
	run("cp %s %s && chmod 755 %s", g_getenv("DNODE_TEST_ACTOR_STATIC"), dropped, dropped);
	node_add(&sibling, NULL, 0, "run", dropped);
	g_autofree char *deleted = g_strconcat(dropped, " (deleted)", NULL);
	DnInspectIndicator indicator = indicator_of(deleted);
	cr_assert_str_eq(indicator.path, dropped);
	cr_assert(eq(u32, matches_of(&indicator), DN_MATCH_FILE | DN_MATCH_PROGRAM));
	cr_assert(unlink(dropped) == 0);
	cr_assert(eq(u32, matches_of(&indicator), DN_MATCH_PROGRAM));
}

Test(indicator, a_name_counts_only_with_a_program_that_is_not_the_images)
{
	DnInspectIndicator indicator;

	dn_inspect_indicator_now(node.baseline, DN_DRIFT_EXEC, "", "miner", &indicator);
	node_add(&sibling, NULL, 0, "be-called", "miner");
	cr_assert(eq(u32, matches_of(&indicator), 0));

	g_free(dropped);
	dropped = g_build_filename(host.directory, "miner", NULL);
	run("cp %s %s && chmod 755 %s", g_getenv("DNODE_TEST_ACTOR_STATIC"), dropped, dropped);
	node_add(&sibling, NULL, 0, "run", dropped);
	cr_assert(eq(u32, matches_of(&indicator), DN_MATCH_NAME));
}
