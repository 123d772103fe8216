/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MESSAGE_LIMIT = 64 * 1024 };

static char *directory;

static void expect(bool good, const char *what)
{
	if (good)
		return;
	g_printerr("the parser broke its word: %s\n", what);
	abort();
}

void fuzz_judge_text(const char *text)
{
	expect(g_utf8_validate(text, -1, NULL), "what is shown is UTF-8");
	for (const char *at = text; *at != '\0'; at = g_utf8_next_char(at))
		expect(strchr("\n\t", *at) != NULL || !g_unichar_iscntrl(g_utf8_get_char(at)),
		       "what is shown has no control character");
}

void fuzz_judge(bool done, GError *error)
{
	expect(done == (error == NULL), "an error is set exactly when it failed");
	if (done)
		return;
	expect(error->message[0] != '\0', "an error says something");
	expect(strlen(error->message) <= MESSAGE_LIMIT, "a message is bounded");
	fuzz_judge_text(error->message);
	g_error_free(error);
}

static void remove_directory(void)
{
	g_autoptr(GError) error = NULL;

	if (!dn_file_remove_tree(directory, &error))
		g_printerr("%s\n", error->message);
	g_clear_pointer(&directory, g_free);
}

const char *fuzz_directory(void)
{
	if (directory == NULL) {
		directory = g_dir_make_tmp("dnt-fuzz-XXXXXX", NULL);
		expect(directory != NULL && atexit(remove_directory) == 0, "there is room");
	}
	return directory;
}

void fuzz_write(const char *name, const void *data, size_t size)
{
	g_autofree char *path = g_build_filename(fuzz_directory(), name, NULL);

	/* One that is there would keep its end (GLib 2.74). */
	(void)unlink(path);
	expect(g_file_set_contents_full(path, data, (gssize)size, G_FILE_SET_CONTENTS_NONE, 0600,
					NULL),
	       "there is room");
}

char *fuzz_text(const uint8_t *data, size_t size)
{
	return size > 0 ? g_strndup((const char *)data, size) : g_strdup("");
}
