/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include <string.h>

#include "store/backend.h"

typedef enum { CALL_LIST, CALL_GET, CALL_TXN, CALL_CAMPAIGN, CALL_CHANGES, CALL_QUIT } CallKind;

typedef struct {
	CallKind kind;
	char *text;      /* key, prefix or candidate */
	uint64_t number; /* revision to read at, or to read changes since */
	DnStoreTxn *txn; /* owned */
	GTask *task;     /* owned; NULL: nobody waits */
	/* answers */
	GPtrArray *entries; /* of DnStoreEntry */
	uint64_t revision;
	bool applied;
	bool compacted;
} Call;

struct DnStore {
	const DnStoreBackend *ops;
	gpointer backend;   /* the worker's alone */
	GAsyncQueue *calls; /* of Call */
	GThread *worker;
	GPtrArray *watches; /* of DnStoreWatch, borrowed; the caller's thread's alone */
};

struct DnStoreWatch {
	int refs; /* one of the owner, one of a read under way */
	DnStore *store;
	char *prefix;
	uint64_t since;
	DnStoreChanged changed;
	gpointer user_data;
	bool reading; /* a read is under way */
	bool stale;   /* and another is needed after it */
	bool stopped;
};

static void free_entry(gpointer entry)
{
	dn_store_entry_free(entry);
}

DnStoreEntry *dn_store_entry_new(const char *key, GBytes *value, uint64_t revision)
{
	DnStoreEntry *self = g_new0(DnStoreEntry, 1);

	self->key = g_strdup(key);
	self->value = value == NULL ? NULL : g_bytes_ref(value);
	self->revision = revision;
	return self;
}

void dn_store_entry_free(DnStoreEntry *self)
{
	if (self == NULL)
		return;
	g_free(self->key);
	g_clear_pointer(&self->value, g_bytes_unref);
	g_free(self);
}

/* ---- transactions as values ---- */

static void free_compare(gpointer data)
{
	g_free(((DnStoreCompare *)data)->key);
	g_free(data);
}

static void free_write(gpointer data)
{
	DnStoreWrite *write = data;

	g_free(write->key);
	g_clear_pointer(&write->value, g_bytes_unref);
	g_free(write);
}

DnStoreTxn *dn_store_txn_new(uint64_t term)
{
	DnStoreTxn *self = g_new0(DnStoreTxn, 1);

	g_atomic_ref_count_init(&self->refs);
	self->term = term;
	self->compares = g_ptr_array_new_with_free_func(free_compare);
	self->writes = g_ptr_array_new_with_free_func(free_write);
	self->by_key = g_hash_table_new(g_str_hash, g_str_equal);
	return self;
}

DnStoreTxn *dn_store_txn_ref(DnStoreTxn *self)
{
	g_atomic_ref_count_inc(&self->refs);
	return self;
}

void dn_store_txn_free(DnStoreTxn *self)
{
	if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
		return;
	g_ptr_array_unref(self->compares);
	g_hash_table_unref(self->by_key);
	g_ptr_array_unref(self->writes);
	g_free(self);
}

void dn_store_txn_compare(DnStoreTxn *self, const char *key, uint64_t revision)
{
	DnStoreCompare *compare = g_new0(DnStoreCompare, 1);

	compare->key = g_strdup(key);
	compare->revision = revision;
	g_ptr_array_add(self->compares, compare);
}

/* A later write to a key takes the place of an earlier one: a revision sets a key once. */
static void add_write(DnStoreTxn *self, const char *key, GBytes *value)
{
	DnStoreWrite *write = g_hash_table_lookup(self->by_key, key);

	if (write == NULL) {
		write = g_new0(DnStoreWrite, 1);
		write->key = g_strdup(key);
		g_ptr_array_add(self->writes, write);
		g_hash_table_insert(self->by_key, write->key, write);
	}
	g_clear_pointer(&write->value, g_bytes_unref);
	write->value = value == NULL ? NULL : g_bytes_ref(value);
}

void dn_store_txn_put(DnStoreTxn *self, const char *key, GBytes *value)
{
	g_return_if_fail(value != NULL);
	add_write(self, key, value);
}

void dn_store_txn_delete(DnStoreTxn *self, const char *key)
{
	add_write(self, key, NULL);
}

static bool check_txn(const DnStoreTxn *txn, GError **error)
{
	for (guint i = 0; i < txn->writes->len; i++) {
		const DnStoreWrite *write = g_ptr_array_index(txn->writes, i);
		size_t length = strlen(write->key);

		if (length == 0 || length > DN_STORE_KEY_LIMIT ||
		    (write->value != NULL &&
		     g_bytes_get_size(write->value) > DN_STORE_VALUE_LIMIT)) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "store: key or value of \"%.64s\" is larger than a store takes",
				    write->key);
			return false;
		}
	}
	return true;
}

bool dn_store_lost(GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "store: another supervisor has taken over; this one has to stop");
	return false;
}

/* ---- the worker ---- */

static void free_call(Call *call)
{
	g_free(call->text);
	dn_store_txn_free(call->txn);
	g_clear_pointer(&call->entries, g_ptr_array_unref);
	g_clear_object(&call->task);
	g_free(call);
}

static void free_call_data(gpointer call)
{
	free_call(call);
}

static bool list_now(DnStore *self, Call *call, GError **error)
{
	uint64_t last = 0, oldest = 0;

	if (!self->ops->revisions(self->backend, &last, &oldest, error))
		return false;
	uint64_t at = call->number == 0 ? last : call->number;
	if (at > last || at < oldest) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "store: revision %" G_GUINT64_FORMAT
			    " is not known, only %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
			    "; list again",
			    at, oldest, last);
		return false;
	}
	call->revision = at;
	return self->ops->list(self->backend, call->text, call->kind == CALL_GET, at, call->entries,
			       error);
}

static bool changes_now(DnStore *self, Call *call, GError **error)
{
	uint64_t oldest = 0;

	if (!self->ops->revisions(self->backend, &call->revision, &oldest, error))
		return false;
	call->compacted = call->number < oldest;
	return call->compacted ||
	       self->ops->changes(self->backend, call->text, call->number, call->entries, error);
}

static bool carry_out(DnStore *self, Call *call, GError **error)
{
	switch (call->kind) {
	case CALL_LIST:
	case CALL_GET:
		return list_now(self, call, error);
	case CALL_TXN:
		return check_txn(call->txn, error) &&
		       self->ops->txn(self->backend, call->txn, &call->applied, &call->revision,
				      error);
	case CALL_CAMPAIGN:
		return self->ops->campaign(self->backend, call->text, &call->revision, error);
	case CALL_CHANGES:
		return changes_now(self, call, error);
	case CALL_QUIT:
		break;
	}
	return true;
}

static gpointer work(gpointer data)
{
	DnStore *self = data;
	bool going_on = true;

	while (going_on) {
		Call *call = g_async_queue_pop(self->calls);
		g_autoptr(GTask) task = g_steal_pointer(&call->task);
		GError *error = NULL;

		going_on = call->kind != CALL_QUIT;
		bool done = carry_out(self, call, &error);
		if (task == NULL)
			free_call(call);
		else if (done)
			g_task_return_pointer(task, call, free_call_data);
		else {
			free_call(call);
			g_task_return_error(task, error);
		}
	}
	return NULL;
}

static void submit(DnStore *self, CallKind kind, const char *text, uint64_t number, DnStoreTxn *txn,
		   GTask *task)
{
	Call *call = g_new0(Call, 1);

	call->kind = kind;
	call->text = g_strdup(text);
	call->number = number;
	call->txn = txn;
	call->task = task;
	call->entries = g_ptr_array_new_with_free_func(free_entry);
	g_async_queue_push(self->calls, call);
}

DnStore *dn_store_new(const DnStoreBackend *ops, gpointer backend)
{
	DnStore *self = g_new0(DnStore, 1);

	self->ops = ops;
	self->backend = backend;
	self->calls = g_async_queue_new();
	self->watches = g_ptr_array_new();
	self->worker = g_thread_new("dn-store", work, self);
	return self;
}

gpointer dn_store_backend(DnStore *self, const DnStoreBackend *ops)
{
	g_assert(self->ops == ops);
	return self->backend;
}

void dn_store_close(DnStore *self)
{
	if (self == NULL)
		return;
	submit(self, CALL_QUIT, NULL, 0, NULL, NULL);
	g_thread_join(self->worker);
	while (self->watches->len > 0)
		dn_store_unwatch(g_ptr_array_index(self->watches, 0));
	self->ops->close(self->backend);
	g_async_queue_unref(self->calls);
	g_ptr_array_unref(self->watches);
	g_free(self);
}

/* ---- watches ---- */

static void read_changes(DnStoreWatch *watch);

static void unref_watch(DnStoreWatch *watch)
{
	if (--watch->refs > 0)
		return;
	g_free(watch->prefix);
	g_free(watch);
}

static void on_changes(GObject *source, GAsyncResult *result, gpointer data)
{
	DnStoreWatch *watch = data;
	g_autoptr(GError) error = NULL;
	Call *call = g_task_propagate_pointer(G_TASK(result), &error);

	watch->reading = false;
	if (call == NULL)
		g_warning("store: watch of %s: %s", watch->prefix, error->message);
	else if (!watch->stopped && call->compacted) {
		g_ptr_array_remove(watch->store->watches, watch);
		watch->stopped = true;
		watch->changed(NULL, call->revision, watch->user_data);
	} else if (!watch->stopped) {
		watch->since = call->revision;
		if (call->entries->len > 0)
			watch->changed(call->entries, call->revision, watch->user_data);
	}
	if (call != NULL)
		free_call(call);
	if (watch->stale && !watch->stopped)
		read_changes(watch);
	unref_watch(watch);
}

static void read_changes(DnStoreWatch *watch)
{
	watch->stale = watch->reading;
	if (watch->reading)
		return;
	watch->reading = true;
	watch->refs++;
	submit(watch->store, CALL_CHANGES, watch->prefix, watch->since, NULL,
	       g_task_new(NULL, NULL, on_changes, watch));
}

DnStoreWatch *dn_store_watch(DnStore *self, const char *prefix, uint64_t since,
			     DnStoreChanged changed, gpointer user_data)
{
	DnStoreWatch *watch = g_new0(DnStoreWatch, 1);

	watch->refs = 1;
	watch->store = self;
	watch->prefix = g_strdup(prefix);
	watch->since = since;
	watch->changed = changed;
	watch->user_data = user_data;
	g_ptr_array_add(self->watches, watch);
	read_changes(watch);
	return watch;
}

void dn_store_unwatch(DnStoreWatch *watch)
{
	if (watch == NULL)
		return;
	if (!watch->stopped)
		g_ptr_array_remove(watch->store->watches, watch);
	watch->stopped = true;
	unref_watch(watch);
}

/* ---- the asynchronous calls ---- */

void dn_store_campaign_async(DnStore *self, const char *candidate, GAsyncReadyCallback done,
			     gpointer user_data)
{
	submit(self, CALL_CAMPAIGN, candidate, 0, NULL, g_task_new(NULL, NULL, done, user_data));
}

uint64_t dn_store_campaign_finish(DnStore *self, GAsyncResult *result, GError **error)
{
	Call *call = g_task_propagate_pointer(G_TASK(result), error);

	if (call == NULL)
		return 0;
	uint64_t term = call->revision;
	free_call(call);
	return term;
}

void dn_store_get_async(DnStore *self, const char *key, GAsyncReadyCallback done,
			gpointer user_data)
{
	submit(self, CALL_GET, key, 0, NULL, g_task_new(NULL, NULL, done, user_data));
}

DnStoreEntry *dn_store_get_finish(DnStore *self, GAsyncResult *result, GError **error)
{
	Call *call = g_task_propagate_pointer(G_TASK(result), error);
	DnStoreEntry *entry = NULL;

	if (call == NULL)
		return NULL;
	if (call->entries->len > 0)
		entry = g_ptr_array_steal_index(call->entries, 0);
	free_call(call);
	return entry;
}

void dn_store_list_async(DnStore *self, const char *prefix, uint64_t at, GAsyncReadyCallback done,
			 gpointer user_data)
{
	submit(self, CALL_LIST, prefix, at, NULL, g_task_new(NULL, NULL, done, user_data));
}

GPtrArray *dn_store_list_finish(DnStore *self, GAsyncResult *result, uint64_t *revision,
				GError **error)
{
	Call *call = g_task_propagate_pointer(G_TASK(result), error);

	if (call == NULL)
		return NULL;
	if (revision != NULL)
		*revision = call->revision;
	GPtrArray *entries = g_steal_pointer(&call->entries);
	free_call(call);
	return entries;
}

void dn_store_txn_async(DnStore *self, DnStoreTxn *txn, GAsyncReadyCallback done,
			gpointer user_data)
{
	submit(self, CALL_TXN, NULL, 0, txn, g_task_new(NULL, NULL, done, user_data));
	/* The worker is one thread: these reads come after the transaction. */
	for (guint i = 0; i < self->watches->len; i++)
		read_changes(g_ptr_array_index(self->watches, i));
}

bool dn_store_txn_finish(DnStore *self, GAsyncResult *result, bool *applied, uint64_t *revision,
			 GError **error)
{
	Call *call = g_task_propagate_pointer(G_TASK(result), error);

	if (call == NULL)
		return false;
	if (applied != NULL)
		*applied = call->applied;
	if (revision != NULL)
		*revision = call->revision;
	free_call(call);
	return true;
}
