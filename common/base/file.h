/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Read a whole regular file of at most @limit bytes; a larger one fails with
 * DN_ERROR_EXHAUSTED. The GBytes is followed by a NUL that its size does not count.
 */
GBytes *dn_file_read(const char *path, size_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for files of /proc, /sys and cgroupfs, whose size stat(2) does not tell. */
char *dn_file_read_kernel(const char *path, size_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One write(2) of @text to an existing file of /proc, /sys or cgroupfs. */
bool dn_file_write_kernel(const char *path, const char *text,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write all of @bytes to @fd, or false and errno. */
bool dn_file_write_all(int fd, GBytes *bytes) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Put @bytes in place of @path with @mode, durably: temporary file, fsync, rename, fsync of the
 * directory. After a crash the file is the old one or the new one.
 */
bool dn_file_replace(const char *path, GBytes *bytes, mode_t mode,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same without the two fsync: another program sees the old file or the new one, a loss of
 * power may leave anything. For what does not outlive the boot.
 */
bool dn_file_replace_volatile(const char *path, GBytes *bytes, mode_t mode,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Put @bytes over what is in the file @path, in place and not durably: for one that is mounted or
 * held open elsewhere. Who reads meanwhile may see the new beginning before the old end.
 */
bool dn_file_overwrite(const char *path, GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Remove what dn_file_replace() left in @directory when it was killed between its first and its
 * last step. Only for a directory in which nobody is writing yet; one that is not there is empty.
 */
void dn_file_sweep(const char *directory);

/* Remove a file durably. A file that is not there is no error. */
bool dn_file_remove(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Remove a directory and all below it, never following a link or crossing a mount. */
bool dn_file_remove_tree(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Remove a directory and the directories below it, deepest first, and no file: what cgroupfs
 * wants, whose files go with their directory. One that is not there is no error.
 */
bool dn_file_remove_directories(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Make a directory and its parents; new ones get @mode. */
bool dn_file_make_directory(const char *path, mode_t mode,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
