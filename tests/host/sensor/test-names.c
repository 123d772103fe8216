/* SPDX-License-Identifier: Apache-2.0 */

/* What a program of many names is called by: a shell's name is found wherever it is looked for. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "support/suite.h"

enum { SLOT = 1, IMAGE = 1, PAGE = 4096, WORDS = 10 };

static Host host;

/* One file that is a program by its other names, and a shell that nobody declared by some. */
static void setup(void)
{
	g_autoptr(GError) error = NULL;
	struct stat info;

	host_set_up(&host);
	cr_assert(stat(host.listed, &info) == 0);
	struct dn_sensor_file key = dn_sensor_file(&info, IMAGE);
	DnSensorProgram file = {key.dev, key.ino, DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_MULTI};
	cr_assert(dn_sensor_allow(host.sensor, IMAGE, &file, 1, &error), "%s",
		  error != NULL ? error->message : "no error was set");
	DnSensorNode node = host_add_node(&host, "n0", SLOT, DN_ANSWER_OBSERVE);
	host.answers[SLOT][DN_DRIFT_SHELL] = DN_ANSWER_DENY;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(names, .init = setup, .fini = teardown, .timeout = 60);

typedef struct {
	const char *arguments[WORDS], *environment[WORDS];
} Call;

static void execute(const Host *at, void *data)
{
	const Call *call = data;

	execve(at->listed, (char *const *)call->arguments, (char *const *)call->environment);
}

static bool is_killed(const Call *call)
{
	Result result = host_run_in(&host, "n0", execute, (void *)call);
	bool killed = WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL;

	cr_assert(killed != result.ran, "%s: status %x", call->arguments[0],
		  (unsigned)result.status);
	return killed;
}

/* @n times @letter, then @name. */
static char *after(unsigned n, char letter, const char *name)
{
	g_autofree char *begin = g_strnfill(n, letter);

	return g_strconcat(begin, name, NULL);
}

static void expect(const Call *calls, size_t n, bool killed)
{
	for (size_t i = 0; i < n; i++) {
		bool was = is_killed(&calls[i]);

		cr_expect(eq(int, was, killed), "row %zu, %.20s %.20s", i, calls[i].arguments[0],
			  calls[i].arguments[1] != NULL ? calls[i].arguments[1] : "");
	}
}

Test(names, a_shell_is_found_by_its_name_however_long_the_way_to_it)
{
	g_autofree char *slashes = after(200, '/', "sh");
	g_autofree char *exact = after(61, '/', "sh");
	g_autofree char *longer = after(62, '/', "sh");
	g_autofree char *longest = after(4000, '/', "ash");
	g_autofree char *endless = after(100000, '/', "sh");
	g_autofree char *nameless = after(200, 'a', "");
	const Call calls[] = {
		{{"sh"}, {NULL}},
		{{"/bin/sh", "-c", "true"}, {NULL}},
		{{"-bash"}, {NULL}},
		{{slashes, "-i"}, {NULL}},
		{{exact}, {NULL}},
		{{longer}, {NULL}},
		{{longest}, {NULL}},
		{{endless}, {NULL}},
		{{nameless}, {NULL}},
		{{"busybox", "sh"}, {NULL}},
		{{"/bin/busybox", slashes, "-i"}, {NULL}},
		{{"busybox", longest}, {NULL}},
		{{"busybox", endless}, {NULL}},
		{{"toybox", "sh"}, {NULL}},
	};

	expect(calls, G_N_ELEMENTS(calls), true);
}

Test(names, a_program_that_is_told_to_be_itself_is_asked_again)
{
	g_autofree char *suffixed = after(0, ' ', "busybox-1.36.1");
	const Call calls[] = {
		{{"busybox", "busybox", "sh"}, {NULL}},
		{{"-busybox", "busybox", suffixed, "/x/busybox", "ash"}, {NULL}},
		{{"busybox", "busybox", "busybox", "busybox", "busybox", "busybox", "busybox",
		  "busybox", "busybox"},
		 {NULL}},
	};

	expect(calls, G_N_ELEMENTS(calls), true);
}

Test(names, other_names_are_let_on_whatever_comes_after_them)
{
	g_autofree char *path = after(300, '/', "some/file");
	g_autofree char *program = after(5000, 'x', "");
	const Call calls[] = {
		{{"httpd", "-f"}, {NULL}},
		{{"publish"}, {NULL}},
		{{"cat", path}, {NULL}},
		{{"awk", program, "sh"}, {NULL}},
		{{"du", "-sh", "/data"}, {NULL}},
		{{"grep", "crash", "log"}, {NULL}},
		{{"rm", "x.sh"}, {NULL}},
		{{"busybox", "httpd", "sh"}, {NULL}},
		{{"busybox", "busybox", "echo", "sh"}, {NULL}},
		{{"busybox"}, {NULL}},
		/* What comes after the last argument is no name. */
		{{"date"}, {"SHELL=/bin/bash", NULL}},
		{{"busybox"}, {"SHELL=/bin/bash", NULL}},
	};

	expect(calls, G_N_ELEMENTS(calls), false);
}

/* Where the arguments begin a page, the memory before them may not be there. */
Test(names, arguments_at_the_begin_of_a_page_are_read_all_the_same)
{
	g_autofree char *padding = NULL;
	Call call = {{"sh"}, {NULL}};
	/* The stack ends in a pointer, the path, the environment and the arguments. */
	size_t rest = sizeof(void *) + strlen(host.listed) + 1 + strlen("sh") + 1;

	padding = g_strnfill(2 * PAGE - rest - 1, 'p');
	call.environment[0] = padding;
	for (unsigned i = 0; i < 32; i++)
		cr_assert(is_killed(&call), "round %u", i);
}
