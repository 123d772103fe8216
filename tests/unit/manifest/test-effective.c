/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "manifest/effective.h"

TestSuite(effective, .fini = dn_suite_end);

#define TEXT(text_) ((char *)(text_))

static const DnRun image = {
	.args = (char *[]){TEXT("/bin/image"), NULL},
	.env = (char *[]){TEXT("A=image"), TEXT("C=image"), NULL},
	.cwd = TEXT("/image"),
	.uid = 7,
	.may_exec = (char *[]){TEXT("/bin/evil"), NULL},
	.stop_signal = 9,
	.stop_grace_ms = 1,
	.start_deadline_ms = 1,
};

Test(effective, the_manifest_overrides_the_image_key_by_key)
{
	g_autoptr(DnManifest) manifest =
		parse(MINIMAL "run: {args: [/bin/mine, -x], env: {B: mine, A: mine}}\n");
	DnRun run = {0};

	dn_run_effective(&manifest->run, &image, &run);
	g_autofree char *env = g_strjoinv(" ", run.env);
	g_autofree char *args = g_strjoinv(" ", run.args);
	cr_assert_str_eq(args, "/bin/mine -x");
	cr_assert_str_eq(env, "A=mine B=mine C=image");
	cr_assert_str_eq(run.cwd, "/image");
	cr_assert(eq(i64, run.uid, 7));
	dn_run_clear(&run);
}

Test(effective, an_image_decides_nothing_about_what_a_node_may_do)
{
	g_autoptr(DnManifest) manifest = parse(MINIMAL);
	DnRun run = {0};

	dn_run_effective(&manifest->run, &image, &run);
	cr_assert(eq(ptr, run.may_exec, NULL));
	cr_assert(eq(int, run.stop_signal, 15));
	cr_assert(eq(u32, run.stop_grace_ms, 5000));
	cr_assert(eq(u32, run.start_deadline_ms, 10000));
	dn_run_clear(&run);
}

Test(effective, without_an_image_a_node_is_nobody_in_the_root)
{
	g_autoptr(DnManifest) manifest = parse(MINIMAL);
	DnRun run = {0};

	dn_run_effective(&manifest->run, NULL, &run);
	cr_assert(eq(ptr, run.args, NULL));
	cr_assert(eq(ptr, run.env[0], NULL));
	cr_assert_str_eq(run.cwd, "/");
	cr_assert(eq(i64, run.uid, DN_RUN_FALLBACK_UID));
	dn_run_clear(&run);
}

Test(effective, user_zero_of_the_manifest_is_not_mistaken_for_none)
{
	g_autoptr(DnManifest) manifest = parse(MINIMAL "run: {user: 0}\n");
	DnRun run = {0};

	dn_run_effective(&manifest->run, &image, &run);
	cr_assert(zero(i64, run.uid));
	dn_run_clear(&run);
}

static void contains(const char *text, const char *line)
{
	cr_assert(ne(ptr, strstr(text, line), NULL), "no '%s' in\n%s", line, text);
}

Test(effective, what_is_shown_says_where_it_comes_from)
{
	g_autoptr(DnManifest) manifest =
		parse(MINIMAL "run: {args: [/bin/mine, -p, \"80\", \"a b\"], env: {A: mine}}\n"
			      "listen: [{port: 8080, expose: 80}]\nreplicas: 3\n");
	g_autofree char *text = dn_manifest_render(manifest, &image);

	contains(text, "\nrun:\n  args: [/bin/mine, -p, \"80\", \"a b\"]\n");
	contains(text, "\n  user: 7  # image\n");
	contains(text, "\n  env: {A: mine, C: image}  # manifest and image\n");
	contains(text, "\n  cwd: /image  # image\n");
	contains(text, "\n  stop:\n    signal: TERM  # default\n    grace: 5s  # default\n");
	contains(text, "\nreplicas: 3\n");
	contains(text, "\nlisten: [{port: 8080, expose: 80}]\n");
	contains(text, "\nhealth:\n  tcp: 8080\n");
	contains(text, "\n  memory: 64MiB\n  cpu: 0.5\n");
	cr_assert(eq(ptr, strstr(text, "may_exec"), NULL));
}

Test(effective, what_is_shown_can_be_read_back_whatever_the_text)
{
	g_autoptr(DnManifest) manifest = parse(
		MINIMAL "run: {args: [\"\\\"\\\\\\t\\n\\e: {#\", \"no\", \"1e3\", \"~\", \"\","
			" \"- x\", \"\\u202e\", é]}\n");
	g_autofree char *text = dn_manifest_render(manifest, NULL);
	g_autoptr(DnManifest) again = parse(text);

	cr_assert(g_strv_equal((const char *const *)manifest->run.args,
			       (const char *const *)again->run.args),
		  "%s", text);
}

static char *changes(const char *before, const char *after)
{
	g_autoptr(DnManifest) old = before != NULL ? parse(before) : NULL;
	g_autoptr(DnManifest) new = parse(after);
	g_autoptr(GPtrArray) lines = dn_manifest_changes(old, new);

	g_ptr_array_add(lines, NULL);
	return g_strjoinv("\n", (char **)lines->pdata);
}

Test(effective, a_plan_names_what_changes_and_nothing_else)
{
	g_autofree char *same = changes(MINIMAL, MINIMAL "# a comment\nreplicas: 1\n");
	g_autofree char *more = changes(
		MINIMAL "replicas: 3\nrun: {cwd: /a}\nwritable: [{path: /tmp, size: 1MiB}]\n",
		MINIMAL "replicas: 5\nrun: {user: 1}\nwritable: [{path: /tmp, size: 2MiB}]\n");

	cr_assert_str_eq(same, "");
	cr_assert_str_eq(more,
			 "run.user: none -> 1\n"
			 "replicas: 3 -> 5\n"
			 "writable: [{path: /tmp, size: 1MiB}] -> [{path: /tmp, size: 2MiB}]\n"
			 "run.cwd: /a -> none");
}

Test(effective, the_plan_of_a_new_service_lists_what_it_says)
{
	g_autofree char *lines = changes(NULL, MINIMAL "replicas: 3\n");

	cr_assert_str_eq(lines,
			 "service: web\nepoch: 7\nimage.ref: apps/hello\nimage.commit: " COMMIT
			 "\nreplicas: 3\nresources.memory: 64MiB\nresources.cpu: 0.5\n"
			 "resources.pids: 32\nresources.files: 256");
}
