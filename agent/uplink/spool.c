/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/text.h"
#include "seal/digest.h"
#include "wire/json.h"

enum { SUM_BYTES = 8, NAME_BYTES = 8, NAME_DIGITS = 16, RESERVE = 4096, SMALL = 4096 };

#define SUFFIX ".seg"

/* As it stands in the file; numbers in the host's order, which does not change. */
typedef struct {
	uint32_t length;
	uint8_t sum[SUM_BYTES];
	uint64_t number;
} __attribute__((packed)) Head;
_Static_assert(sizeof(Head) == 20, "the head of a record is a format");

/* A file, open for as long as a fact of it waits. */
typedef struct {
	char *path;
	int fd;
	size_t size;
	unsigned waiting;
} Segment;

typedef struct {
	uint64_t number;
	Segment *segment; /* borrowed from segments */
	off_t offset;     /* of the payload */
	uint32_t length;
} Entry;

/* What a sync that is under way comes back to. */
typedef struct {
	DnSpool *spool; /* NULL once it is closed */
} Back;

struct DnSpool {
	Back *back; /* counted */
	char *directory, *name;
	size_t limit, size;
	GQueue segments; /* of Segment *, oldest first; the last is appended to when open */
	bool appending;  /* the last segment was made by this process */
	GQueue entries;  /* of Entry *, oldest first */
	GList *next;     /* the first that is not sent, or NULL */
	unsigned sent;
	uint64_t last, reserved, dropped;
	bool dirty, syncing;
};

static void segment_free(Segment *segment)
{
	dn_fd_clear(&segment->fd);
	g_free(segment->path);
	g_free(segment);
}

/* ---- numbers ---- */

/*
 * Numbers are used before their fact is on disk, so a loss of power could take a fact that the
 * supervisor has. Those of a durable reservation are never given out again.
 */
static bool save_numbers(DnSpool *self, uint64_t reserved, GError **error)
{
	g_autofree char *path = g_build_filename(self->directory, "spool.json", NULL);

	if (!dn_failpoint("agent.spool.numbers.before", error))
		return false;
	JsonObject *object = json_object_new();
	dn_json_set_string(object, "name", self->name);
	json_object_set_int_member(object, "reserved", (gint64)reserved);
	json_object_set_int_member(object, "dropped", (gint64)self->dropped);
	g_autoptr(GBytes) bytes = dn_json_print(object);
	if (!dn_file_replace(path, bytes, 0600, error))
		return false;
	self->reserved = reserved;
	return true;
}

static bool read_numbers(DnSpool *self, const char *path, GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(path, SMALL, error);
	g_autoptr(JsonObject) object = bytes != NULL ? dn_json_parse(bytes, SMALL, error) : NULL;
	GError *failed = NULL;

	if (object == NULL)
		return false;
	self->name = dn_json_string(object, "name", NAME_DIGITS, &failed);
	self->last = dn_json_u64(object, "reserved", G_MAXINT64 / 2, &failed);
	self->dropped = dn_json_u64(object, "dropped", G_MAXINT64, &failed);
	if (failed == NULL && !dn_text_is_hex(self->name, NAME_DIGITS))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "name: not hexadecimal");
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

/*
 * A disk that is full now must not keep a host from starting: then nothing is reserved, and the
 * first append tries again.
 */
static void load_numbers(DnSpool *self)
{
	g_autofree char *path = g_build_filename(self->directory, "spool.json", NULL);
	g_autoptr(GError) unread = NULL, unsaved = NULL;

	if (!read_numbers(self, path, &unread)) {
		/* By another name, for which the supervisor begins to count anew. */
		if (!g_error_matches(unread, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
			g_warning("%s: %s", path, unread->message);
		g_free(self->name);
		self->name = dn_id_new(NAME_BYTES);
		self->dropped = 0;
	}
	self->reserved = self->last;
	if (!save_numbers(self, self->last + RESERVE, &unsaved))
		g_warning("%s", unsaved->message);
}

/* ---- dropping ---- */

static void drop_segment(DnSpool *self, Segment *segment)
{
	while (!g_queue_is_empty(&self->entries) &&
	       ((Entry *)g_queue_peek_head(&self->entries))->segment == segment) {
		if (self->next == self->entries.head)
			self->next = self->next->next;
		else
			self->sent--;
		g_free(g_queue_pop_head(&self->entries));
	}
	if (unlink(segment->path) < 0)
		g_warning("remove %s: %s", segment->path, g_strerror(errno));
	self->size -= segment->size;
	if (segment == g_queue_peek_tail(&self->segments))
		self->appending = false;
	g_queue_remove(&self->segments, segment);
	segment_free(segment);
}

/* The oldest facts make room. False: there is nothing that could go. */
static bool drop_oldest(DnSpool *self)
{
	Segment *segment = g_queue_peek_head(&self->segments);
	g_autoptr(GError) error = NULL;

	if (segment == NULL)
		return false;
	self->dropped += segment->waiting;
	/* On a full disk the count is remembered by this process alone. */
	if (!save_numbers(self, self->reserved, &error))
		g_warning("%s", error->message);
	drop_segment(self, segment);
	return true;
}

/* ---- reading ---- */

static void sum_of(uint64_t number, const void *payload, size_t length, uint8_t sum[SUM_BYTES])
{
	uint8_t digest[DN_DIGEST_BYTES];
	g_autofree uint8_t *all = g_malloc(sizeof(number) + length);

	memcpy(all, &number, sizeof(number));
	memcpy(all + sizeof(number), payload, length);
	dn_digest_of(all, sizeof(number) + length, digest);
	memcpy(sum, digest, SUM_BYTES);
}

static void add_entry(DnSpool *self, Segment *segment, uint64_t number, off_t offset,
		      uint32_t length)
{
	Entry *entry = g_new0(Entry, 1);

	*entry = (Entry){.number = number, .segment = segment, .offset = offset, .length = length};
	g_queue_push_tail(&self->entries, entry);
	segment->waiting++;
	if (self->next == NULL)
		self->next = self->entries.tail;
	self->last = MAX(self->last, number);
}

/* Records up to the first that is not whole: a crash cuts the last one short. */
static void read_records(DnSpool *self, Segment *segment, GBytes *bytes)
{
	gsize size = 0;
	const uint8_t *data = g_bytes_get_data(bytes, &size);
	size_t at = 0;
	uint64_t before = 0;
	Head head;

	while (size - at >= sizeof(head)) {
		uint8_t sum[SUM_BYTES];

		memcpy(&head, data + at, sizeof(head));
		if (head.length > DN_SPOOL_RECORD || head.length > size - at - sizeof(head) ||
		    head.number <= before)
			break;
		sum_of(head.number, data + at + sizeof(head), head.length, sum);
		if (memcmp(sum, head.sum, SUM_BYTES) != 0)
			break;
		add_entry(self, segment, head.number, (off_t)(at + sizeof(head)), head.length);
		before = head.number;
		at += sizeof(head) + head.length;
	}
	if (at < size)
		g_warning("%s: the last %zu bytes are no whole record and are left out",
			  segment->path, size - at);
}

static bool load_segment(DnSpool *self, const char *name, GError **error)
{
	Segment *segment = g_new0(Segment, 1);

	segment->path = g_build_filename(self->directory, name, NULL);
	segment->fd = open(segment->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	g_autoptr(GBytes) bytes = dn_file_read(segment->path, self->limit, error);
	if (bytes == NULL || segment->fd < 0) {
		if (bytes != NULL)
			dn_throw_errno(error, errno, "open %s", segment->path);
		segment_free(segment);
		return false;
	}
	segment->size = g_bytes_get_size(bytes);
	self->size += segment->size;
	g_queue_push_tail(&self->segments, segment);
	read_records(self, segment, bytes);
	if (segment->waiting == 0)
		drop_segment(self, segment);
	return true;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool load_segments(DnSpool *self, GError **error)
{
	g_autoptr(GDir) directory = g_dir_open(self->directory, 0, error);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name = NULL;

	if (directory == NULL)
		return false;
	while ((name = g_dir_read_name(directory)) != NULL)
		if (g_str_has_suffix(name, SUFFIX))
			g_ptr_array_add(names, g_strdup(name));
	/* Their names are numbers of one width. */
	g_ptr_array_sort(names, compare_names);
	for (guint i = 0; i < names->len; i++)
		if (!load_segment(self, g_ptr_array_index(names, i), error))
			return false;
	return true;
}

DnSpool *dn_spool_open(const char *directory, size_t limit, GError **error)
{
	g_autoptr(DnSpool) self = g_new0(DnSpool, 1);

	self->back = g_rc_box_new0(Back);
	self->back->spool = self;
	self->directory = g_strdup(directory);
	self->limit = limit;
	if (!dn_file_make_directory(directory, 0700, error))
		return NULL;
	load_numbers(self);
	if (!load_segments(self, error))
		return NULL;
	return g_steal_pointer(&self);
}

void dn_spool_close(DnSpool *self)
{
	g_autoptr(GError) error = NULL;

	if (self == NULL)
		return;
	if (self->appending && !dn_spool_flush_now(self, &error))
		g_warning("%s", error->message);
	while (!g_queue_is_empty(&self->segments))
		segment_free(g_queue_pop_head(&self->segments));
	g_queue_clear_full(&self->entries, g_free);
	self->back->spool = NULL;
	g_rc_box_release(self->back);
	g_free(self->directory);
	g_free(self->name);
	g_free(self);
}

const char *dn_spool_name(const DnSpool *self)
{
	return self->name;
}

/* ---- appending ---- */

static Segment *begin_segment(DnSpool *self, uint64_t number, GError **error)
{
	Segment *segment = g_new0(Segment, 1);
	g_autofree char *name = g_strdup_printf("%020" G_GUINT64_FORMAT SUFFIX, number);

	segment->path = g_build_filename(self->directory, name, NULL);
	segment->fd = open(segment->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (segment->fd < 0) {
		dn_throw_errno(error, errno, "make %s", segment->path);
		segment_free(segment);
		return NULL;
	}
	Segment *before = self->appending ? g_queue_peek_tail(&self->segments) : NULL;
	if (before != NULL && fdatasync(before->fd) < 0)
		g_warning("sync %s: %s", before->path, g_strerror(errno));
	g_queue_push_tail(&self->segments, segment);
	self->appending = true;
	return segment;
}

static bool write_record(DnSpool *self, Segment *segment, uint64_t number, GBytes *payload,
			 GError **error)
{
	gsize length = 0;
	const void *data = g_bytes_get_data(payload, &length);
	Head head = {.length = (uint32_t)length, .number = number};
	struct iovec parts[] = {{&head, sizeof(head)}, {(void *)data, length}};

	sum_of(number, data, length, head.sum);
	ssize_t written = dn_failpoint("agent.spool.append.before", NULL)
				  ? pwritev(segment->fd, parts, 2, (off_t)segment->size)
				  : -1;
	if (written != (ssize_t)(sizeof(head) + length)) {
		int errsv = written < 0 ? errno : ENOSPC;

		/* What was written of it must not stand before the next record. */
		if (ftruncate(segment->fd, (off_t)segment->size) < 0)
			self->appending = false;
		return dn_throw_errno(error, errsv, "write %s", segment->path);
	}
	add_entry(self, segment, number, (off_t)(segment->size + sizeof(head)), (uint32_t)length);
	segment->size += sizeof(head) + length;
	self->size += sizeof(head) + length;
	dn_failpoint_pass("agent.spool.append.after");
	return true;
}

static bool append_once(DnSpool *self, GBytes *payload, GError **error)
{
	Segment *segment = self->appending ? g_queue_peek_tail(&self->segments) : NULL;
	uint64_t number = self->last + 1;

	if (number > self->reserved && !save_numbers(self, self->reserved + RESERVE, error))
		return false;
	if (segment == NULL || segment->size >= DN_SPOOL_SEGMENT)
		segment = begin_segment(self, number, error);
	if (segment == NULL || !write_record(self, segment, number, payload, error))
		return false;
	return true;
}

static void sync_soon(DnSpool *self);

bool dn_spool_append(DnSpool *self, GBytes *payload, GError **error)
{
	size_t size = g_bytes_get_size(payload);
	g_autoptr(GError) cause = NULL;

	if (size > DN_SPOOL_RECORD) {
		self->dropped++;
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "a fact of %zu bytes is too large",
			    size);
		return false;
	}
	while (self->size + size + sizeof(Head) > self->limit && drop_oldest(self))
		continue;
	while (!append_once(self, payload, &cause)) {
		bool full = g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_NO_SPACE);

		if (!full || !drop_oldest(self)) {
			self->dropped++;
			g_propagate_error(error, g_steal_pointer(&cause));
			return false;
		}
		g_clear_error(&cause);
	}
	sync_soon(self);
	return true;
}

/* ---- to the disk, many facts at a time ---- */

typedef struct {
	int file_fd, directory_fd;
} Sync;

static void sync_free(gpointer data)
{
	Sync *job = data;

	dn_fd_clear(&job->file_fd);
	dn_fd_clear(&job->directory_fd);
	g_free(job);
}

/* worker */
static void sync_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const Sync *job = data;
	GError *error = NULL;

	if (!dn_failpoint("agent.spool.sync.before", NULL) || fdatasync(job->file_fd) < 0 ||
	    fsync(job->directory_fd) < 0) {
		dn_throw_errno(&error, errno, "sync the spool");
		g_task_return_error(task, error);
	} else {
		g_task_return_boolean(task, TRUE);
	}
}

static Sync *sync_new(const DnSpool *self)
{
	const Segment *segment = g_queue_peek_tail((GQueue *)&self->segments);
	Sync *job = g_new0(Sync, 1);

	/* Of their own: the segment may be dropped meanwhile. */
	job->file_fd = fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
	job->directory_fd = open(self->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return job;
}

static void on_synced(GObject *source, GAsyncResult *result, gpointer data)
{
	Back *back = data;
	DnSpool *self = back->spool;
	g_autoptr(GError) error = NULL;

	if (!g_task_propagate_boolean(G_TASK(result), &error))
		g_warning("%s", error->message);
	g_rc_box_release(back);
	if (self == NULL)
		return;
	self->syncing = false;
	if (self->dirty)
		sync_soon(self);
}

/* While one sync runs, what comes meanwhile waits for the next. */
static void sync_soon(DnSpool *self)
{
	self->dirty = true;
	if (self->syncing || !self->appending)
		return;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_synced, g_rc_box_acquire(self->back));
	self->dirty = false;
	self->syncing = true;
	g_task_set_task_data(task, sync_new(self), sync_free);
	g_task_run_in_thread(task, sync_in_thread);
}

bool dn_spool_flush_now(DnSpool *self, GError **error)
{
	if (!self->appending)
		return true;
	Sync *job = sync_new(self);
	bool synced = fdatasync(job->file_fd) == 0 && fsync(job->directory_fd) == 0;
	int errsv = errno;

	sync_free(job);
	return synced || dn_throw_errno(error, errsv, "sync %s", self->directory);
}

/* ---- sending ---- */

static GBytes *read_payload(const Entry *entry)
{
	g_autofree char *data = g_malloc(entry->length);

	if (pread(entry->segment->fd, data, entry->length, entry->offset) != (ssize_t)entry->length)
		return NULL;
	return g_bytes_new_take(g_steal_pointer(&data), entry->length);
}

bool dn_spool_take(DnSpool *self, DnSpoolEntry *entry)
{
	if (self->next == NULL || self->sent >= DN_SPOOL_WINDOW)
		return false;
	const Entry *found = self->next->data;
	GBytes *payload = read_payload(found);
	if (payload == NULL) {
		g_warning("%s cannot be read; its facts are given up", found->segment->path);
		self->dropped += found->segment->waiting;
		drop_segment(self, found->segment);
		return false;
	}
	*entry = (DnSpoolEntry){
		.number = found->number,
		.previous = self->next->prev != NULL
				    ? ((const Entry *)self->next->prev->data)->number
				    : 0,
		.payload = payload,
	};
	self->next = self->next->next;
	self->sent++;
	return true;
}

void dn_spool_rewind(DnSpool *self)
{
	self->next = self->entries.head;
	self->sent = 0;
}

void dn_spool_acknowledge(DnSpool *self, uint64_t number)
{
	dn_failpoint_pass("agent.spool.acknowledge.before");
	while (!g_queue_is_empty(&self->entries)) {
		Entry *entry = g_queue_peek_head(&self->entries);
		Segment *segment = entry->segment;

		if (entry->number > number)
			break;
		if (self->next == self->entries.head)
			self->next = self->next->next;
		else
			self->sent--;
		g_free(g_queue_pop_head(&self->entries));
		if (--segment->waiting == 0)
			drop_segment(self, segment);
	}
}

unsigned dn_spool_length(const DnSpool *self)
{
	return self->entries.length;
}

unsigned dn_spool_sent(const DnSpool *self)
{
	return self->sent;
}

uint64_t dn_spool_dropped(DnSpool *self, bool forget)
{
	uint64_t dropped = self->dropped;
	g_autoptr(GError) error = NULL;

	if (forget && dropped > 0) {
		self->dropped = 0;
		if (!save_numbers(self, self->reserved, &error))
			g_warning("%s", error->message);
	}
	return dropped;
}
