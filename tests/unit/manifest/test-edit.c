/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "manifest/edit.h"

TestSuite(edit, .fini = dn_suite_end);

static char *edited(const char *text, DnManifestEdit edit)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) result = dn_manifest_edit(bytes, "web.yaml", &edit, &error);

	cr_assert(result != NULL, "%s", error != NULL ? error->message : "no error was set");
	return g_strndup(g_bytes_get_data(result, NULL), g_bytes_get_size(result));
}

static void becomes(const char *text, DnManifestEdit edit, const char *wanted)
{
	g_autofree char *result = edited(text, edit);

	cr_assert_str_eq(result, wanted);
}

static char *edit_refusal(const char *text, DnManifestEdit edit)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) result = dn_manifest_edit(bytes, "web.yaml", &edit, &error);

	cr_assert(result == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	return g_strdup(error->message);
}

#define FILE_(epoch_, commit_, replicas_, more_)                                                   \
	"# My service.\ndnode: v1\nservice: web  # das Café\n\nepoch: " epoch_ " # grows\n" more_  \
	"image:\n  ref: apps/hello\n  # the build of today\n  commit: " commit_                    \
	"\nreplicas:   " replicas_ "    # for now\n"                                               \
	"resources: {memory: 64MiB, cpu: 0.5, pids: 32, files: 256}"

Test(edit, nothing_but_the_wanted_values_changes)
{
	becomes(FILE_("7", "'" COMMIT "'", "3", ""),
		(DnManifestEdit){.commit = OTHER_COMMIT, .replicas = 10},
		FILE_("8", OTHER_COMMIT, "10", ""));
	becomes(FILE_("7", COMMIT, "3", ""), (DnManifestEdit){.epoch = 100, .replicas = -1},
		FILE_("100", COMMIT, "3", ""));
}

Test(edit, a_missing_key_is_added_below_the_epoch)
{
	becomes(FILE_("7", COMMIT, "3", ""),
		(DnManifestEdit){.state_removed = true, .replicas = -1},
		FILE_("8", COMMIT, "3", "state: removed\n"));
	becomes(FILE_("7", COMMIT, "3", "state: running # yes\n"),
		(DnManifestEdit){.state_removed = true, .replicas = -1},
		FILE_("8", COMMIT, "3", "state: removed # yes\n"));
	becomes("dnode: v1\nservice: web\nstate: removed\nepoch: 7",
		(DnManifestEdit){.replicas = 2},
		"dnode: v1\nservice: web\nstate: removed\nepoch: 8\nreplicas: 2");
}

Test(edit, a_restart_is_said_where_the_image_does_not_change)
{
	DnManifestEdit restart = {.replicas = -1, .restart = true};
	DnManifestEdit same = {.replicas = -1, .restart = true, .commit = COMMIT};
	DnManifestEdit other = {.replicas = -1, .restart = true, .commit = OTHER_COMMIT};

	becomes(FILE_("7", COMMIT, "3", ""), restart, FILE_("8", COMMIT, "3", "restart: 1\n"));
	becomes(FILE_("8", COMMIT, "3", "restart: 1 # again\n"), restart,
		FILE_("9", COMMIT, "3", "restart: 2 # again\n"));
	becomes(FILE_("7", COMMIT, "3", ""), same, FILE_("8", COMMIT, "3", "restart: 1\n"));
	becomes(FILE_("7", COMMIT, "3", ""), other, FILE_("8", OTHER_COMMIT, "3", ""));
}

Test(edit, a_file_in_brackets_or_indented_can_be_edited_too)
{
	becomes("{dnode: v1, epoch: 7, state: removed,\n service: web}\n",
		(DnManifestEdit){.replicas = 0},
		"{dnode: v1, epoch: 8, replicas: 0, state: removed,\n service: web}\n");
	becomes("  dnode: v1\n  service: web\n  state: removed\n  epoch:\n    7\n",
		(DnManifestEdit){.replicas = 0},
		"  dnode: v1\n  service: web\n  state: removed\n  epoch:\n    8\n  replicas: 0\n");
}

Test(edit, the_epoch_never_goes_back_or_past_its_limit)
{
	g_autofree char *back = edit_refusal(MINIMAL, (DnManifestEdit){.epoch = 7, .replicas = -1});
	g_autofree char *past =
		edit_refusal("dnode: v1\nservice: web\nstate: removed\nepoch: 9007199254740991\n",
			     (DnManifestEdit){.replicas = -1});

	cr_assert_str_eq(back, "web.yaml: epoch 7 cannot follow 7; epochs only grow, up to 2^53-1");
	cr_assert(ne(ptr, strstr(past, "cannot follow"), NULL), "%s", past);
}

Test(edit, a_result_that_would_be_no_manifest_is_refused)
{
	g_autofree char *commit =
		edit_refusal(MINIMAL, (DnManifestEdit){.commit = "HEAD", .replicas = -1});
	g_autofree char *sly = edit_refusal(
		MINIMAL, (DnManifestEdit){.commit = COMMIT "\nreplicas: 9", .replicas = -1});
	g_autofree char *many = edit_refusal(MINIMAL, (DnManifestEdit){.replicas = 1001});
	g_autofree char *none = edit_refusal("dnode: v1\nservice: web\nstate: removed\nepoch: 7\n",
					     (DnManifestEdit){.commit = COMMIT, .replicas = -1});

	cr_assert(g_str_has_prefix(commit, "after the change: web.yaml:4:"), "%s", commit);
	cr_assert(g_str_has_prefix(sly, "after the change: web.yaml:"), "%s", sly);
	cr_assert(g_str_has_prefix(many, "after the change: web.yaml:"), "%s", many);
	cr_assert_str_eq(none, "web.yaml: there is no image whose commit could be changed");
}
