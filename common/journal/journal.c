/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/journal.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "journal/segments.h"

/* A batch takes no more when it is this long: with what comes beside it it keeps to the limit. */
enum { BATCH_BYTES = DN_JOURNAL_BATCH_LIMIT / 2 };

typedef struct {
	DnJournalEntry *entry; /* owned; NULL: somebody only waits */
	bool head;             /* it tells of another journal's */
	bool refused;          /* the queue was full */
	DnJournalDone done;    /* or NULL */
	void *data;
	GError *error; /* owned; the outcome */
} Item;

struct DnJournal {
	DnSegments files;       /* the writer's */
	const DnSecretKey *key; /* borrowed */
	void (*trouble)(void *data, const GError *error);
	void *data;
	bool notified; /* of the present trouble; main only */
	bool patient;

	GThread *thread;
	int done_fd; /* eventfd: the writer → main */
	GSource *source;

	GMutex lock; /* of everything below; never held while the disk works */
	GCond changed;
	GQueue waiting, finished; /* of Item * */
	unsigned unwritten;       /* entries in waiting */
	bool writing, closing;
	bool failed;  /* no more writing */
	GError *stop; /* why an acknowledgement would fail now; owned */
	uint64_t gap; /* entries dropped since the last batch that says so */
	DnJournalHead head;
	DnJournalCounts counts;
};

static void item_free(gpointer data)
{
	Item *item = data;

	dn_journal_entry_free(item->entry);
	g_clear_error(&item->error);
	g_free(item);
}

static void free_items(gpointer data)
{
	g_queue_free_full(data, item_free);
}

/* ---- the writer ---- */

/* What the next batch takes, or NULL at the end; waits for it. */
static GQueue *take(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	GQueue *items = NULL;
	size_t size = 0;

	while (self->waiting.length == 0 && !self->closing)
		g_cond_wait(&self->changed, &self->lock);
	if (self->waiting.length == 0)
		return NULL;
	items = g_queue_new();
	while (self->waiting.length > 0 && size < BATCH_BYTES) {
		Item *item = g_queue_pop_head(&self->waiting);

		if (item->entry != NULL) {
			size += dn_journal_entry_size(item->entry);
			self->unwritten--;
		}
		g_queue_push_tail(items, item);
	}
	self->writing = true;
	return items;
}

static void print(GString *lines, DnJournalEntry *taken, uint64_t *seq)
{
	g_autoptr(DnJournalEntry) entry = taken;

	dn_journal_entry_print(entry, ++*seq, lines);
}

/* What the journal has to say about itself comes before what others say. */
static void print_own(DnJournal *self, uint64_t gap, GString *lines, uint64_t *seq)
{
	if (self->files.torn_bytes > 0) {
		DnJournalEntry *torn = dn_journal_entry_new("journal.torn", dn_clock_realtime_ns());

		dn_journal_entry_number(torn, "bytes", self->files.torn_bytes);
		dn_journal_entry_text(torn, "digest", self->files.torn_digest);
		print(lines, torn, seq);
	}
	if (gap > 0) {
		DnJournalEntry *missing =
			dn_journal_entry_new("journal.gap", dn_clock_realtime_ns());

		dn_journal_entry_number(missing, "missing", gap);
		print(lines, missing, seq);
	}
}

static uint64_t count_entries(GQueue *items, uint64_t *heads)
{
	uint64_t count = 0;

	*heads = 0;
	for (GList *i = items->head; i != NULL; i = i->next) {
		const Item *item = i->data;

		count += item->entry != NULL;
		*heads += item->entry != NULL && item->head;
	}
	return count;
}

static DnSegmentsOutcome write_batch(DnJournal *self, GQueue *items, uint64_t gap, GError **error)
{
	g_autoptr(GString) batch = g_string_sized_new(4096);
	DnJournalHead head = self->files.head;
	uint64_t seq = head.seq;

	if (dn_segments_is_full(&self->files))
		dn_journal_print_opening(batch, self->files.identity, self->files.key,
					 self->files.segment + 1, &head);
	print_own(self, gap, batch, &seq);
	for (GList *i = items->head; i != NULL; i = i->next) {
		const Item *item = i->data;

		if (item->entry != NULL)
			dn_journal_entry_print(item->entry, ++seq, batch);
	}
	dn_journal_seal(batch, self->files.identity, self->key, seq, &head);
	return dn_segments_write(&self->files, batch, &head, error);
}

/* What the writer knew when it began. */
typedef struct {
	uint64_t entries; /* of others in the batch */
	uint64_t heads;   /* of these */
	uint64_t gap;     /* entries dropped before, which the batch tells of */
	bool failed;
} Attempt;

static Attempt begin(DnJournal *self, GQueue *items)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	Attempt attempt = {.gap = self->gap, .failed = self->failed};

	attempt.entries = count_entries(items, &attempt.heads);
	return attempt;
}

static GError *unavailable(const GError *why)
{
	return g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE, "the journal cannot be written: %s",
			   why->message);
}

/* Under the lock: what one attempt, or the lack of one, has come to. */
static void settle(DnJournal *self, const Attempt *attempt, DnSegmentsOutcome outcome,
		   const GError *why)
{
	uint64_t entries = attempt->entries;

	if (entries == 0)
		return;
	if (outcome == DN_SEGMENTS_DURABLE) {
		g_clear_error(&self->stop);
		self->gap -= attempt->gap;
		self->head = self->files.head;
		self->counts.entries += entries;
		self->counts.heads += attempt->heads;
		self->counts.batches++;
		return;
	}
	self->failed = self->failed || outcome == DN_SEGMENTS_FAILED;
	self->gap += entries;
	self->counts.dropped += entries;
	if (why != NULL) {
		g_clear_error(&self->stop);
		self->stop = unavailable(why);
	}
}

static void give_back(DnJournal *self, GQueue *taken, const Attempt *attempt,
		      DnSegmentsOutcome outcome, const GError *why)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	Item *item = NULL;

	settle(self, attempt, outcome, why);
	while ((item = g_queue_pop_head(taken)) != NULL) {
		if (item->refused)
			item->error =
				g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE,
					    "more than %d entries wait for the journal's disk",
					    DN_JOURNAL_QUEUE_LIMIT);
		else if (self->stop != NULL)
			item->error = g_error_copy(self->stop);
		g_queue_push_tail(&self->finished, item);
	}
	self->writing = false;
	g_cond_broadcast(&self->changed);
}

/* Tell main why nothing moves and wait a moment. False: it does not wait any longer. */
static bool wait_for_space(DnJournal *self, const GError *why)
{
	gint64 until_us = g_get_monotonic_time() + DN_JOURNAL_RETRY_MS * G_TIME_SPAN_MILLISECOND;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	if (!self->patient || self->closing)
		return false;
	g_clear_error(&self->stop);
	self->stop = unavailable(why);
	(void)eventfd_write(self->done_fd, 1);
	while (!self->closing && g_cond_wait_until(&self->changed, &self->lock, until_us))
		continue;
	return true;
}

static DnSegmentsOutcome write_patiently(DnJournal *self, GQueue *items, uint64_t gap,
					 GError **error)
{
	GError *why = NULL;
	DnSegmentsOutcome outcome = write_batch(self, items, gap, &why);

	while (outcome == DN_SEGMENTS_NO_SPACE && wait_for_space(self, why)) {
		g_clear_error(&why);
		outcome = write_batch(self, items, gap, &why);
	}
	if (why != NULL)
		g_propagate_error(error, why);
	return outcome;
}

static gpointer write_batches(gpointer data)
{
	DnJournal *self = data;
	GQueue *items = NULL;

	while ((items = take(self)) != NULL) {
		g_autoptr(GError) why = NULL;
		Attempt attempt = begin(self, items);
		DnSegmentsOutcome outcome = DN_SEGMENTS_FAILED;

		if (attempt.entries > 0 && !attempt.failed)
			outcome = write_patiently(self, items, attempt.gap, &why);
		if (outcome == DN_SEGMENTS_DURABLE)
			self->files.torn_bytes = 0;
		give_back(self, items, &attempt, outcome, why);
		free_items(items);
		(void)eventfd_write(self->done_fd, 1);
	}
	return NULL;
}

/* ---- main ---- */

static Item *take_finished(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return g_queue_pop_head(&self->finished);
}

static void notify(DnJournal *self)
{
	g_autoptr(GError) trouble = dn_journal_trouble(self);

	if (trouble != NULL && !self->notified && self->trouble != NULL)
		self->trouble(self->data, trouble);
	self->notified = trouble != NULL;
}

static void dispatch(DnJournal *self)
{
	Item *item = NULL;

	notify(self);
	while ((item = take_finished(self)) != NULL) {
		if (item->done != NULL)
			item->done(item->data, item->error);
		item_free(item);
	}
}

static gboolean on_done(int fd, GIOCondition condition, gpointer data)
{
	eventfd_t count = 0;

	(void)eventfd_read(fd, &count);
	dispatch(data);
	return G_SOURCE_CONTINUE;
}

DnJournal *dn_journal_open(const DnJournalConfig *config, GError **error)
{
	g_autoptr(DnJournal) self = g_new0(DnJournal, 1);

	g_return_val_if_fail(dn_journal_is_identity(config->identity), NULL);
	g_mutex_init(&self->lock);
	g_cond_init(&self->changed);
	self->key = config->key;
	self->trouble = config->trouble;
	self->data = config->data;
	self->patient = config->patient;
	self->gap = config->missing;
	self->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!dn_segments_open(&self->files, config, error))
		return NULL;
	self->head = self->files.head;
	if (self->done_fd < 0) {
		dn_throw_errno(error, errno, "eventfd");
		return NULL;
	}
	self->source = g_unix_fd_source_new(self->done_fd, G_IO_IN);
	g_source_set_callback(self->source, G_SOURCE_FUNC(on_done), self, NULL);
	g_source_attach(self->source, g_main_context_get_thread_default());
	self->thread = g_thread_try_new("journal", write_batches, self, error);
	return self->thread != NULL ? g_steal_pointer(&self) : NULL;
}

void dn_journal_close(DnJournal *self)
{
	if (self == NULL)
		return;
	if (self->thread != NULL) {
		g_mutex_lock(&self->lock);
		self->closing = true;
		g_cond_broadcast(&self->changed);
		g_mutex_unlock(&self->lock);
		g_thread_join(self->thread);
		dispatch(self);
	}
	if (self->source != NULL) {
		g_source_destroy(self->source);
		g_source_unref(self->source);
	}
	dn_fd_clear(&self->done_fd);
	dn_segments_clear(&self->files);
	g_clear_error(&self->stop);
	g_mutex_clear(&self->lock);
	g_cond_clear(&self->changed);
	g_free(self);
}

static void add(DnJournal *self, DnJournalEntry *taken, Item *item)
{
	g_autoptr(DnJournalEntry) entry = taken;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	if (self->unwritten >= DN_JOURNAL_QUEUE_LIMIT) {
		self->gap++;
		self->counts.dropped++;
		/* Nobody waits for it: it would only take up memory for as long as no disk does. */
		if (item->done == NULL) {
			g_free(item);
			return;
		}
		item->refused = true;
	} else {
		item->entry = g_steal_pointer(&entry);
		self->unwritten++;
	}
	g_queue_push_tail(&self->waiting, item);
	g_cond_broadcast(&self->changed);
}

void dn_journal_add(DnJournal *self, DnJournalEntry *entry, DnJournalDone done, void *data)
{
	Item *item = g_new0(Item, 1);

	item->done = done;
	item->data = data;
	add(self, entry, item);
}

void dn_journal_add_head(DnJournal *self, DnJournalEntry *entry)
{
	Item *item = g_new0(Item, 1);

	item->head = true;
	add(self, entry, item);
}

void dn_journal_after(DnJournal *self, DnJournalDone done, void *data)
{
	Item *item = g_new0(Item, 1);
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	item->done = done;
	item->data = data;
	g_queue_push_tail(&self->waiting, item);
	g_cond_broadcast(&self->changed);
}

void dn_journal_flush(DnJournal *self)
{
	g_mutex_lock(&self->lock);
	while (self->waiting.length > 0 || self->writing)
		g_cond_wait(&self->changed, &self->lock);
	g_mutex_unlock(&self->lock);
	dispatch(self);
}

DnJournalHead dn_journal_head(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->head;
}

uint64_t dn_journal_news(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->counts.entries - self->counts.heads;
}

GError *dn_journal_trouble(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->stop != NULL ? g_error_copy(self->stop) : NULL;
}

bool dn_journal_has_failed(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->failed;
}

uint64_t dn_journal_gap(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->gap;
}

DnJournalCounts dn_journal_counts(DnJournal *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return self->counts;
}
