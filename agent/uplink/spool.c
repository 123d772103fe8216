/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "uplink/numbers.h"
#include "uplink/segment.h"

#define SUFFIX ".seg"
#define BAD ".bad"

typedef struct {
	DnSegmentRecord record;
	DnSegment *segment; /* borrowed from segments */
} Entry;

/* What a sync that is under way comes back to. */
typedef struct {
	DnSpool *spool; /* NULL once it is closed */
} Back;

struct DnSpool {
	Back *back; /* counted */
	char *directory;
	DnNumbers numbers;
	size_t limit, size;
	GQueue segments; /* of DnSegment *, oldest first; the last is appended to when open */
	bool appending;  /* the last segment was made by this process */
	GQueue entries;  /* of Entry *, oldest first */
	GList *next;     /* the first that is not sent, or NULL */
	unsigned sent;
	uint64_t last; /* number of a fact */
	unsigned bad;  /* files that were set aside, now or earlier */
	bool dirty, syncing;
};

/* ---- dropping ---- */

/* Wherever they stand: the segment whose turn it is need not be the oldest. */
static void drop_entries(DnSpool *self, DnSegment *segment)
{
	GList *after = NULL;
	bool is_sent = true;

	for (GList *at = self->entries.head; at != NULL && segment->waiting > 0; at = after) {
		after = at->next;
		is_sent = is_sent && at != self->next;
		if (((Entry *)at->data)->segment != segment)
			continue;
		if (is_sent)
			self->sent--;
		else if (at == self->next)
			self->next = after;
		g_free(at->data);
		g_queue_delete_link(&self->entries, at);
		segment->waiting--;
	}
}

static void count_dropped(DnSpool *self, uint64_t count)
{
	if (count > 0)
		dn_numbers_set_dropped(&self->numbers, self->numbers.dropped + count);
}

static void drop_segment(DnSpool *self, DnSegment *segment)
{
	count_dropped(self, segment->lost);
	drop_entries(self, segment);
	if (unlink(segment->path) < 0)
		g_warning("remove %s: %s", segment->path, g_strerror(errno));
	self->size -= segment->size;
	if (segment == g_queue_peek_tail(&self->segments))
		self->appending = false;
	g_queue_remove(&self->segments, segment);
	dn_segment_free(segment);
}

static void give_up(DnSpool *self, DnSegment *segment)
{
	segment->lost += segment->waiting;
	drop_segment(self, segment);
}

/* The oldest facts make room. False: there is nothing that could go. */
static bool drop_oldest(DnSpool *self)
{
	DnSegment *segment = g_queue_peek_head(&self->segments);

	if (segment == NULL)
		return false;
	give_up(self, segment);
	return true;
}

/* ---- reading ---- */

static void add_entry(DnSpool *self, DnSegment *segment, const DnSegmentRecord *record)
{
	Entry *entry = g_new0(Entry, 1);

	*entry = (Entry){.record = *record, .segment = segment};
	g_queue_push_tail(&self->entries, entry);
	segment->waiting++;
	if (self->next == NULL)
		self->next = self->entries.tail;
	self->last = MAX(self->last, record->number);
}

/* It must not keep the host from starting. How many facts it had nobody knows: one at least. */
static void set_aside(DnSpool *self, const char *path, const GError *why)
{
	g_autofree char *aside = g_strconcat(path, BAD, NULL);
	g_autoptr(GError) error = NULL;

	g_warning("a segment of the spool is set aside and its facts are given up: %s",
		  why->message);
	count_dropped(self, 1);
	if (self->bad >= DN_SPOOL_BAD) {
		if (!dn_file_remove_tree(path, &error))
			g_warning("%s", error->message);
		return;
	}
	self->bad++;
	if (rename(path, aside) < 0)
		g_warning("rename %s: %s", path, g_strerror(errno));
}

static void load_segment(DnSpool *self, const char *name)
{
	g_autofree char *path = g_build_filename(self->directory, name, NULL);
	g_autoptr(GArray) records = g_array_new(FALSE, FALSE, sizeof(DnSegmentRecord));
	g_autoptr(GError) why = NULL;
	DnSegment *segment = dn_segment_open(path, self->limit, records, &why);

	if (segment == NULL) {
		set_aside(self, path, why);
		return;
	}
	self->size += segment->size;
	g_queue_push_tail(&self->segments, segment);
	for (guint i = 0; i < records->len; i++)
		add_entry(self, segment, &g_array_index(records, DnSegmentRecord, i));
	if (segment->waiting == 0)
		drop_segment(self, segment);
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
	while ((name = g_dir_read_name(directory)) != NULL) {
		self->bad += g_str_has_suffix(name, SUFFIX BAD) ? 1 : 0;
		if (g_str_has_suffix(name, SUFFIX))
			g_ptr_array_add(names, g_strdup(name));
	}
	/* Their names are numbers of one width. */
	g_ptr_array_sort(names, compare_names);
	for (guint i = 0; i < names->len; i++)
		load_segment(self, g_ptr_array_index(names, i));
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
	self->last = dn_numbers_init(&self->numbers, directory);
	if (!load_segments(self, error))
		return NULL;
	dn_numbers_found(&self->numbers, self->last);
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
		dn_segment_free(g_queue_pop_head(&self->segments));
	g_queue_clear_full(&self->entries, g_free);
	self->back->spool = NULL;
	g_rc_box_release(self->back);
	g_free(self->directory);
	dn_numbers_clear(&self->numbers);
	g_free(self);
}

const char *dn_spool_name(const DnSpool *self)
{
	return self->numbers.name;
}

/* ---- appending ---- */

static DnSegment *begin_segment(DnSpool *self, uint64_t number, GError **error)
{
	g_autofree char *name = g_strdup_printf("%020" G_GUINT64_FORMAT SUFFIX, number);
	g_autofree char *path = g_build_filename(self->directory, name, NULL);
	DnSegment *segment = dn_segment_make(path, error);

	if (segment == NULL)
		return NULL;
	DnSegment *before = self->appending ? g_queue_peek_tail(&self->segments) : NULL;
	if (before != NULL && fdatasync(before->fd) < 0)
		g_warning("sync %s: %s", before->path, g_strerror(errno));
	g_queue_push_tail(&self->segments, segment);
	self->appending = true;
	return segment;
}

static bool write_record(DnSpool *self, DnSegment *segment, uint64_t number, GBytes *payload,
			 GError **error)
{
	DnSegmentRecord record;

	if (!dn_segment_append(segment, number, payload, &record, error)) {
		if (segment->torn)
			self->appending = false;
		return false;
	}
	add_entry(self, segment, &record);
	self->size += DN_SEGMENT_HEAD + record.length;
	dn_failpoint_pass("agent.spool.append.after");
	return true;
}

static bool append_once(DnSpool *self, GBytes *payload, GError **error)
{
	DnSegment *segment = self->appending ? g_queue_peek_tail(&self->segments) : NULL;
	uint64_t number = self->last + 1;

	if (number > self->numbers.reserved &&
	    !dn_numbers_reserve(&self->numbers, self->last, error))
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
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "a fact of %zu bytes is too large",
			    size);
		return false;
	}
	while (self->size + size + DN_SEGMENT_HEAD > self->limit && drop_oldest(self))
		continue;
	while (!append_once(self, payload, &cause)) {
		bool full = g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_NO_SPACE);

		if (!full || !drop_oldest(self)) {
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
	const DnSegment *segment = g_queue_peek_tail((GQueue *)&self->segments);
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

/* One record; what is sent next names the one before it as its previous. */
static void give_up_entry(DnSpool *self, GList *at)
{
	DnSegment *segment = ((Entry *)at->data)->segment;

	g_free(at->data);
	g_queue_delete_link(&self->entries, at);
	segment->lost++;
	if (--segment->waiting == 0)
		drop_segment(self, segment);
}

/* The payload of the next; those that the disk has changed are passed over. */
static GBytes *read_next(DnSpool *self)
{
	while (self->next != NULL) {
		GList *at = self->next;
		const Entry *found = at->data;
		g_autoptr(GError) error = NULL;
		GBytes *payload = dn_segment_read(found->segment, &found->record, &error);

		if (payload != NULL)
			return payload;
		g_warning("given up: %s", error->message);
		if (!g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED)) {
			give_up(self, found->segment);
			return NULL;
		}
		self->next = at->next;
		give_up_entry(self, at);
	}
	return NULL;
}

bool dn_spool_take(DnSpool *self, DnSpoolEntry *entry)
{
	GBytes *payload = self->sent < DN_SPOOL_WINDOW ? read_next(self) : NULL;

	if (payload == NULL)
		return false;
	const Entry *found = self->next->data;
	*entry = (DnSpoolEntry){
		.number = found->record.number,
		.previous = self->next->prev != NULL
				    ? ((const Entry *)self->next->prev->data)->record.number
				    : 0,
		.payload = payload,
	};
	self->next = self->next->next;
	self->sent++;
	return true;
}

void dn_spool_give_up(DnSpool *self)
{
	GList *last = self->next != NULL ? self->next->prev : self->entries.tail;

	g_return_if_fail(self->sent > 0 && last != NULL);
	self->sent--;
	give_up_entry(self, last);
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
		DnSegment *segment = entry->segment;

		if (entry->record.number > number)
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

uint64_t dn_spool_last(const DnSpool *self)
{
	return self->last;
}

unsigned dn_spool_length(const DnSpool *self)
{
	return self->entries.length;
}

unsigned dn_spool_sent(const DnSpool *self)
{
	return self->sent;
}

void dn_spool_count_dropped(DnSpool *self)
{
	self->numbers.dropped++;
}

uint64_t dn_spool_dropped(DnSpool *self, bool forget)
{
	uint64_t dropped = self->numbers.dropped;

	for (GList *at = self->segments.head; at != NULL; at = at->next)
		dropped += ((const DnSegment *)at->data)->lost;
	if (forget && dropped > 0) {
		for (GList *at = self->segments.head; at != NULL; at = at->next)
			((DnSegment *)at->data)->lost = 0;
		dn_numbers_set_dropped(&self->numbers, 0);
	}
	return dropped;
}
