/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/file.h"

void tool_init(Tool *self)
{
	g_autoptr(GError) error = NULL;

	self->directory = g_dir_make_tmp("dnode-seal-XXXXXX", &error);
	cr_assert(self->directory != NULL, "%s", error != NULL ? error->message : "");
}

void tool_clear(Tool *self)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_remove_tree(self->directory, &error));
	g_clear_pointer(&self->directory, g_free);
}

char *tool_path(const Tool *self, const char *name)
{
	return g_build_filename(self->directory, name, NULL);
}

void tool_write(const Tool *self, const char *name, const char *text)
{
	g_autofree char *path = tool_path(self, name);

	cr_assert(g_file_set_contents(path, text, -1, NULL));
}

GBytes *tool_read(const Tool *self, const char *name)
{
	g_autofree char *path = tool_path(self, name);
	g_autoptr(GError) error = NULL;
	GBytes *bytes = dn_file_read(path, 1 << 20, &error);

	cr_assert(bytes != NULL, "%s", error != NULL ? error->message : "");
	return bytes;
}

bool tool_minisign(const Tool *self, const char *arguments)
{
	g_autofree char *line = g_strconcat("minisign ", arguments, NULL);
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) argv = NULL;
	int status = 0;

	cr_assert(g_shell_parse_argv(line, NULL, &argv, &error));
	cr_assert(g_spawn_sync(self->directory, argv, NULL,
			       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
				       G_SPAWN_STDERR_TO_DEV_NULL,
			       NULL, NULL, NULL, NULL, &status, &error),
		  "%s", error != NULL ? error->message : "");
	return g_spawn_check_wait_status(status, NULL);
}
