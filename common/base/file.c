/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/id.h"
#include "base/text.h"

/* Read @fd to its end, at most @limit bytes. */
static GByteArray *read_all(int fd, const char *path, size_t limit, GError **error)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	guint8 part[16384];

	for (;;) {
		ssize_t got = read(fd, part, sizeof(part));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			dn_throw_errno(error, errno, "read %s", path);
			return NULL;
		}
		if (got == 0)
			return g_steal_pointer(&bytes);
		if (bytes->len + (size_t)got > limit) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "%s is larger than %zu bytes", path, limit);
			return NULL;
		}
		g_byte_array_append(bytes, part, (guint)got);
	}
}

static GByteArray *open_and_read(const char *path, size_t limit, bool regular, GError **error)
{
	/* O_NONBLOCK: a fifo in place of the file must not hold the caller up. */
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0) {
		dn_throw_errno(error, errno, "open %s", path);
		return NULL;
	}
	if (regular && !S_ISREG(info.st_mode)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s is not a regular file", path);
		return NULL;
	}
	return read_all(fd, path, limit, error);
}

GBytes *dn_file_read(const char *path, size_t limit, GError **error)
{
	g_autoptr(GByteArray) bytes = open_and_read(path, limit, true, error);

	if (bytes == NULL)
		return NULL;
	guint size = bytes->len;
	g_byte_array_append(bytes, (const guint8 *)"", 1);
	g_autoptr(GBytes) whole = g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
	return g_bytes_new_from_bytes(whole, 0, size);
}

char *dn_file_read_kernel(const char *path, size_t limit, GError **error)
{
	g_autoptr(GByteArray) bytes = open_and_read(path, limit, false, error);

	if (bytes == NULL)
		return NULL;
	g_byte_array_append(bytes, (const guint8 *)"", 1);
	return (char *)g_byte_array_free(g_steal_pointer(&bytes), FALSE);
}

bool dn_file_write_kernel(const char *path, const char *text, GError **error)
{
	dn_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t length = (ssize_t)strlen(text);

	if (fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	if (write(fd, text, (size_t)length) != length)
		return dn_throw_errno(error, errno, "write '%s' to %s", text, path);
	return true;
}

bool dn_file_overwrite(const char *path, GBytes *bytes, GError **error)
{
	dn_autofd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	if (!dn_file_write_all(fd, bytes) || ftruncate(fd, (off_t)g_bytes_get_size(bytes)) < 0)
		return dn_throw_errno(error, errno, "write %s", path);
	return true;
}

static bool sync_parent(const char *path, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	dn_autofd int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return dn_throw_errno(error, errno, "sync %s", parent);
	return true;
}

bool dn_file_write_all(int fd, GBytes *bytes)
{
	gsize left = 0;
	const char *from = g_bytes_get_data(bytes, &left);

	while (left > 0) {
		ssize_t done = write(fd, from, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		from += done;
		left -= (size_t)done;
	}
	return true;
}

/* What replace() calls a file that is not whole yet: PATH.SUFFIX.tmp, the suffix random. */
enum { SUFFIX_BYTES = 6 };
#define TEMPORARY ".tmp"

static bool replace(const char *path, GBytes *bytes, mode_t mode, bool durable, GError **error)
{
	g_autofree char *suffix = dn_id_new(SUFFIX_BYTES);
	g_autofree char *temporary = g_strdup_printf("%s.%s" TEMPORARY, path, suffix);
	dn_autofd int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return dn_throw_errno(error, errno, "create %s", temporary);
	/* The umask has had its say; the caller named the mode it wants. */
	if (fchmod(fd, mode) < 0 || !dn_file_write_all(fd, bytes) || (durable && fsync(fd) < 0) ||
	    rename(temporary, path) < 0) {
		int saved = errno;

		(void)unlink(temporary);
		return dn_throw_errno(error, saved, "write %s", path);
	}
	return !durable || sync_parent(path, error);
}

bool dn_file_replace(const char *path, GBytes *bytes, mode_t mode, GError **error)
{
	return replace(path, bytes, mode, true, error);
}

bool dn_file_replace_volatile(const char *path, GBytes *bytes, mode_t mode, GError **error)
{
	return replace(path, bytes, mode, false, error);
}

static bool is_temporary(const char *name)
{
	const size_t tail = 2 * SUFFIX_BYTES + strlen(TEMPORARY);
	size_t length = strlen(name);

	if (length <= tail + 1 || !g_str_has_suffix(name, TEMPORARY) ||
	    name[length - tail - 1] != '.')
		return false;
	g_autofree char *suffix = g_strndup(name + length - tail, 2 * SUFFIX_BYTES);
	return dn_text_is_hex(suffix, 2 * SUFFIX_BYTES);
}

void dn_file_sweep(const char *directory)
{
	g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
	const char *name = NULL;

	while (entries != NULL && (name = g_dir_read_name(entries)) != NULL) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		if (is_temporary(name))
			(void)unlink(path);
	}
}

bool dn_file_remove(const char *path, GError **error)
{
	if (unlink(path) < 0) {
		if (errno == ENOENT)
			return true;
		return dn_throw_errno(error, errno, "remove %s", path);
	}
	return sync_parent(path, error);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
	return remove(path);
}

bool dn_file_remove_tree(const char *path, GError **error)
{
	enum { OPEN_DIRECTORIES = 16 };

	if (nftw(path, remove_entry, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
	    errno != ENOENT)
		return dn_throw_errno(error, errno, "remove %s", path);
	return true;
}

static int remove_directory(const char *path, const struct stat *info, int type, struct FTW *where)
{
	return type == FTW_DP ? rmdir(path) : 0;
}

bool dn_file_remove_directories(const char *path, GError **error)
{
	enum { OPEN_DIRECTORIES = 16 };

	if (nftw(path, remove_directory, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
	    errno != ENOENT)
		return dn_throw_errno(error, errno, "remove %s", path);
	return true;
}

bool dn_file_make_directory(const char *path, mode_t mode, GError **error)
{
	struct stat info;

	if (mkdir(path, mode) == 0) {
		/* The umask has had its say; the caller named the mode it wants. */
		if (chmod(path, mode) < 0)
			return dn_throw_errno(error, errno, "chmod %s", path);
		return true;
	}
	if (errno == ENOENT) {
		g_autofree char *parent = g_path_get_dirname(path);

		/* "." and "/" are their own parents: there is nothing above to make. */
		if (strcmp(parent, path) == 0)
			return dn_throw_errno(error, ENOENT, "make directory %s", path);
		return dn_file_make_directory(parent, mode, error) &&
		       dn_file_make_directory(path, mode, error);
	}
	int failed = errno;
	if (failed == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
		return true;
	return dn_throw_errno(error, failed, "make directory %s", path);
}
