/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "seal/digest.h"

#define RESERVE "reserve"
#define TORN "torn"
#define SUFFIX ".jsonl"

enum { NAME_DIGITS = 10, FILE_MODE = 0600, DIRECTORY_MODE = 0700 };

char *dn_segment_name(uint64_t number)
{
	return g_strdup_printf("%0*" G_GUINT64_FORMAT SUFFIX, NAME_DIGITS, number);
}

/* 0: not the name of a segment. */
static uint64_t number_of(const char *name)
{
	uint64_t number = 0;

	if (strlen(name) != NAME_DIGITS + strlen(SUFFIX) || !g_str_has_suffix(name, SUFFIX))
		return 0;
	g_autofree char *digits = g_strndup(name, NAME_DIGITS);
	return dn_text_parse_u64(digits, G_MAXINT64, &number) ? number : 0;
}

static bool find_last(const DnSegments *self, uint64_t *last, GError **error)
{
	g_autoptr(GDir) dir = g_dir_open(self->dir, 0, error);
	const char *name = NULL;

	*last = 0;
	if (dir == NULL)
		return false;
	while ((name = g_dir_read_name(dir)) != NULL)
		*last = MAX(*last, number_of(name));
	return true;
}

/* ---- opening ---- */

static bool refuse(GError **error, const char *path, const char *why)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "journal %s: %s; keep it: move its directory away to begin a new journal, and "
		    "compare the old one with 'dnode journal verify'",
		    path, why);
	return false;
}

static bool is_mine(const DnSegments *self, const DnJournalWalk *walk)
{
	return g_str_equal(walk->identity, self->identity) &&
	       memcmp(walk->key, self->key, sizeof(walk->key)) == 0;
}

/* Keep what is cut off, as well as that is possible, and remember it for the next batch. */
static void keep_torn(DnSegments *self, const char *data, size_t size)
{
	g_autofree char *path = g_build_filename(self->dir, TORN, NULL);
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	g_autoptr(GError) error = NULL;

	if (size == 0)
		return;
	if (!dn_file_replace(path, bytes, FILE_MODE, &error))
		g_warning("%s", error->message);
	self->torn_bytes += size;
	g_free(self->torn_digest);
	self->torn_digest = dn_digest_bytes(bytes);
}

static bool cut(DnSegments *self, size_t size, GError **error)
{
	if (ftruncate(self->fd, (off_t)size) != 0 || fsync(self->fd) != 0)
		return dn_throw_errno(error, errno, "cut off the unfinished end of the journal");
	return true;
}

/*
 * Verify segment @number and stand at its end. *@empty: it held no whole batch and is gone, as
 * after a crash while it was begun; the one before is the last.
 */
static bool open_last(DnSegments *self, const DnJournalConfig *config, uint64_t number, bool *empty,
		      GError **error)
{
	g_autofree char *name = dn_segment_name(number);
	g_autofree char *path = g_build_filename(self->dir, name, NULL);
	g_autoptr(GBytes) bytes = dn_file_read(path, DN_JOURNAL_SEGMENT_LIMIT, error);
	g_autofree char *why = NULL;
	DnJournalWalk walk = {0};
	size_t size = 0;

	*empty = false;
	if (bytes == NULL)
		return false;
	const char *data = g_bytes_get_data(bytes, &size);
	DnJournalVerdict verdict = dn_journal_walk(&walk, data != NULL ? data : "", size,
						   config->visitor, config->visitor_data, &why);
	if (verdict == DN_JOURNAL_BROKEN)
		return refuse(error, path, why);
	if (walk.good == 0) {
		keep_torn(self, data, size);
		*empty = true;
		return dn_file_remove(path, error);
	}
	if (!is_mine(self, &walk))
		return refuse(error, path, "it is of another identity or key");
	if (walk.segment != number)
		return refuse(error, path, "its number is not that of its name");
	self->fd = openat(self->dir_fd, name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (self->fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	self->segment = number;
	self->head = walk.head;
	self->size = walk.good;
	if (verdict == DN_JOURNAL_WHOLE)
		return true;
	keep_torn(self, data + walk.good, size - walk.good);
	return cut(self, walk.good, error);
}

/* Best effort: without it a full disk drops entries a little sooner. */
static void make_reserve(DnSegments *self)
{
	dn_autofd int fd = openat(self->dir_fd, RESERVE,
				  O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);

	if (fd < 0 || posix_fallocate(fd, 0, DN_JOURNAL_RESERVE_BYTES) != 0)
		(void)unlinkat(self->dir_fd, RESERVE, 0);
}

static bool give_up_reserve(DnSegments *self)
{
	return unlinkat(self->dir_fd, RESERVE, 0) == 0;
}

static ssize_t real_write(int fd, const void *data, size_t size)
{
	return write(fd, data, size);
}

static int real_sync(int fd)
{
	return fdatasync(fd);
}

bool dn_segments_open(DnSegments *self, const DnJournalConfig *config, GError **error)
{
	static const DnJournalDisk real = {real_write, real_sync};
	uint64_t last = 0;
	bool empty = true;

	*self = (DnSegments){
		.dir = g_strdup(config->dir),
		.identity = g_strdup(config->identity),
		.segment_bytes = config->segment_bytes != 0 ? config->segment_bytes
							    : DN_JOURNAL_SEGMENT_BYTES,
		.segments = config->segments != 0 ? config->segments : DN_JOURNAL_SEGMENTS,
		.disk = config->disk != NULL ? *config->disk : real,
		.dir_fd = -1,
		.fd = -1,
		.head = dn_journal_beginning,
	};
	dn_secret_key_public(config->key, self->key);
	if (!dn_file_make_directory(self->dir, DIRECTORY_MODE, error) ||
	    !find_last(self, &last, error))
		return false;
	self->dir_fd = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->dir_fd < 0)
		return dn_throw_errno(error, errno, "open %s", self->dir);
	while (last > 0 && empty) {
		if (!open_last(self, config, last, &empty, error))
			return false;
		if (empty && !find_last(self, &last, error))
			return false;
	}
	make_reserve(self);
	return true;
}

void dn_segments_clear(DnSegments *self)
{
	dn_fd_clear(&self->fd);
	dn_fd_clear(&self->dir_fd);
	g_clear_pointer(&self->dir, g_free);
	g_clear_pointer(&self->identity, g_free);
	g_clear_pointer(&self->torn_digest, g_free);
}

/* ---- writing ---- */

bool dn_segments_is_full(const DnSegments *self)
{
	return self->fd < 0 || self->size >= self->segment_bytes;
}

/* 0 or errno. A short write is continued: the next call tells why it was short. */
static int write_all(const DnSegments *self, int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t written = self->disk.write(fd, data, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : EIO;
		data += written;
		size -= (size_t)written;
	}
	return 0;
}

/* Refused before anything was written, and perhaps not the next time. */
static bool is_no_space(int errsv)
{
	return errsv == ENOSPC || errsv == EDQUOT || errsv == EROFS;
}

/* Nothing may stand after the first @size bytes. */
static bool undo(int fd, size_t size)
{
	struct stat info;

	return (fstat(fd, &info) == 0 && info.st_size == (off_t)size) ||
	       ftruncate(fd, (off_t)size) == 0;
}

/* @fd holds @size good bytes before the batch; after no space it holds them again. */
static DnSegmentsOutcome write_to(DnSegments *self, int fd, size_t size, const GString *batch,
				  GError **error)
{
	int errsv = dn_failpoint("journal.write.before", NULL)
			    ? write_all(self, fd, batch->str, batch->len)
			    : errno;

	if (is_no_space(errsv) && give_up_reserve(self)) {
		g_warning("the disk of %s is full: the reserve is given up", self->dir);
		errsv = undo(fd, size) ? write_all(self, fd, batch->str, batch->len) : errno;
	}
	if (errsv == 0 &&
	    (!dn_failpoint("journal.sync.before", NULL) || self->disk.sync(fd) != 0)) {
		dn_throw_errno(error, errno, "fsync of a segment in %s", self->dir);
		/* It may be in memory and not on disk: whoever opens it next must not see it. */
		(void)!ftruncate(fd, (off_t)size);
		return DN_SEGMENTS_FAILED;
	}
	dn_failpoint_pass("journal.sync.after");
	if (errsv == 0)
		return DN_SEGMENTS_DURABLE;
	dn_throw_errno(error, errsv, "write to a segment in %s", self->dir);
	return is_no_space(errsv) && undo(fd, size) ? DN_SEGMENTS_NO_SPACE : DN_SEGMENTS_FAILED;
}

/* What is older than the number of segments to be kept. Its hash stays in the chain. */
static void remove_old(DnSegments *self)
{
	for (uint64_t number = self->segment; number > self->segments; number--) {
		g_autofree char *name = dn_segment_name(number - self->segments);

		if (unlinkat(self->dir_fd, name, 0) != 0)
			break;
	}
}

static DnSegmentsOutcome begin_segment(DnSegments *self, const GString *batch, GError **error)
{
	g_autofree char *name = dn_segment_name(self->segment + 1);
	dn_autofd int fd = openat(self->dir_fd, name,
				  O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	DnSegmentsOutcome outcome = DN_SEGMENTS_FAILED;

	if (fd < 0) {
		int errsv = errno;

		dn_throw_errno(error, errsv, "make %s/%s", self->dir, name);
		return is_no_space(errsv) ? DN_SEGMENTS_NO_SPACE : DN_SEGMENTS_FAILED;
	}
	outcome = write_to(self, fd, 0, batch, error);
	if (outcome == DN_SEGMENTS_DURABLE && self->disk.sync(self->dir_fd) != 0) {
		dn_throw_errno(error, errno, "fsync of %s", self->dir);
		outcome = DN_SEGMENTS_FAILED;
	}
	if (outcome != DN_SEGMENTS_DURABLE)
		return unlinkat(self->dir_fd, name, 0) == 0 ? outcome : DN_SEGMENTS_FAILED;
	dn_fd_clear(&self->fd);
	self->fd = g_steal_fd(&fd);
	self->segment++;
	self->size = 0;
	remove_old(self);
	make_reserve(self);
	return outcome;
}

DnSegmentsOutcome dn_segments_write(DnSegments *self, const GString *batch,
				    const DnJournalHead *head, GError **error)
{
	DnSegmentsOutcome outcome = dn_segments_is_full(self)
					    ? begin_segment(self, batch, error)
					    : write_to(self, self->fd, self->size, batch, error);

	if (outcome == DN_SEGMENTS_DURABLE) {
		self->size += batch->len;
		self->head = *head;
	}
	return outcome;
}
