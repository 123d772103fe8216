/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/named.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* GLib's directories and GIO's files tell the same in two domains. */
static bool leads_nowhere(const GError *error)
{
	return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
	       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY) ||
	       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG) ||
	       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TOO_MANY_LINKS) ||
	       g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) ||
	       g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOTDIR) ||
	       g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG) ||
	       g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_LOOP);
}

void dn_named_blame(GError **error, const char *advice, ...)
{
	va_list args;

	if (error == NULL || *error == NULL || !leads_nowhere(*error))
		return;
	g_autoptr(GError) cause = g_steal_pointer(error);
	va_start(args, advice);
	g_autofree char *text = g_strdup_vprintf(advice, args);
	va_end(args);
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s; %s", cause->message, text);
}

GBytes *dn_named_read(const char *path, size_t limit, GError **error)
{
	GBytes *bytes = dn_file_read(path, limit, error);

	if (bytes == NULL)
		dn_named_blame(error, "is its name right?");
	return bytes;
}

static bool is_same(const struct stat *target, const char *input)
{
	struct stat info;

	return input != NULL && stat(input, &info) == 0 && info.st_dev == target->st_dev &&
	       info.st_ino == target->st_ino;
}

bool dn_named_is_replaceable(const char *path, const char *input, const char *option,
			     GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);
	struct stat info = {0};
	bool there = lstat(path, &info) == 0;

	if (there && !S_ISREG(info.st_mode)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s is no regular file and would be replaced by one; name a file with "
			    "--%s",
			    path, option);
		return false;
	}
	if (there && is_same(&info, input)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s is %s itself, which would be lost; name another file with --%s",
			    path, input, option);
		return false;
	}
	if ((!there && errno != ENOENT) || access(directory, W_OK | X_OK) != 0) {
		dn_throw_errno(error, errno, "write %s", path);
		dn_named_blame(error, "name a file in a directory that is there with --%s", option);
		return false;
	}
	return true;
}
