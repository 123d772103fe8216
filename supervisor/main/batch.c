/* SPDX-License-Identifier: Apache-2.0 */
#include "main/batch.h"

#include "main/records.h"

static void free_dispatch(gpointer dispatch)
{
	dn_dispatch_free(dispatch);
}

static void free_event(gpointer event)
{
	dn_event_free(event);
}

static void free_stored(gpointer data)
{
	DnStored *stored = data;

	g_free(stored->spool);
	g_free(stored);
}

DnBatch *dn_batch_new(uint64_t term)
{
	DnBatch *self = g_new0(DnBatch, 1);

	self->txn = dn_store_txn_new(term);
	self->dispatches = g_ptr_array_new_with_free_func(free_dispatch);
	self->latest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_queue_init(&self->events);
	self->waiters = g_array_new(FALSE, FALSE, sizeof(DnAfter));
	self->stored = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_stored);
	return self;
}

void dn_batch_free(DnBatch *self)
{
	if (self == NULL)
		return;
	dn_store_txn_free(self->txn);
	g_hash_table_unref(self->latest);
	g_hash_table_unref(self->hosts);
	g_ptr_array_unref(self->dispatches);
	g_queue_clear_full(&self->events, free_event);
	g_array_unref(self->waiters);
	g_hash_table_unref(self->stored);
	g_free(self);
}

bool dn_batch_is_empty(const DnBatch *self)
{
	return !self->has_writes && self->dispatches->len == 0 && self->waiters->len == 0 &&
	       g_hash_table_size(self->stored) == 0;
}

/* ---- orders ---- */

/* What a later order says anew as a whole, or NULL. */
static char *subject_of(const DnDispatch *dispatch)
{
	const DnOrder *order = dispatch->order;

	if (order->kind == DN_ORDER_ASSIGN)
		return g_strdup_printf("%s assign %s", dispatch->host, order->assign->service);
	if (order->kind == DN_ORDER_ROUTES)
		return g_strdup_printf("%s routes", dispatch->host);
	if (order->kind == DN_ORDER_STAMP)
		return g_strdup_printf("%s stamp %s %u", dispatch->host, order->incident,
				       (unsigned)order->stage);
	return NULL;
}

static void count_host(DnBatch *self, const char *host, int more)
{
	int count = GPOINTER_TO_INT(g_hash_table_lookup(self->hosts, host)) + more;

	if (count > 0)
		g_hash_table_replace(self->hosts, g_strdup(host), GINT_TO_POINTER(count));
	else
		g_hash_table_remove(self->hosts, host);
}

static DnDispatch *take_out(DnBatch *self, guint index)
{
	DnDispatch *dispatch = g_ptr_array_steal_index(self->dispatches, index);
	g_autofree char *subject = subject_of(dispatch);

	if (subject != NULL)
		g_hash_table_remove(self->latest, subject);
	count_host(self, dispatch->host, -1);
	return dispatch;
}

DnDispatch *dn_batch_add_dispatch(DnBatch *self, DnDispatch *dispatch)
{
	g_autofree char *subject = subject_of(dispatch);
	gpointer before = subject == NULL ? NULL : g_hash_table_lookup(self->latest, subject);
	DnDispatch *is_void = NULL;
	guint index = 0;

	if (before != NULL && g_ptr_array_find(self->dispatches, before, &index))
		is_void = take_out(self, index);
	g_ptr_array_add(self->dispatches, dispatch);
	count_host(self, dispatch->host, 1);
	if (subject != NULL)
		g_hash_table_insert(self->latest, g_steal_pointer(&subject), dispatch);
	return is_void;
}

bool dn_batch_names_host(const DnBatch *self, const char *host)
{
	return g_hash_table_contains(self->hosts, host);
}

GPtrArray *dn_batch_take_dispatches(DnBatch *self, const char *host)
{
	GPtrArray *taken = g_ptr_array_new_with_free_func(free_dispatch);

	for (guint i = 0; i < self->dispatches->len;) {
		const DnDispatch *dispatch = g_ptr_array_index(self->dispatches, i);

		if (g_str_equal(dispatch->host, host))
			g_ptr_array_add(taken, take_out(self, i));
		else
			i++;
	}
	return taken;
}

/* ---- events, facts ---- */

void dn_batch_add_event(DnBatch *self, DnEvent *event)
{
	if (self->first_event == 0)
		self->first_event = event->id;
	g_queue_push_tail(&self->events, event);
	if (self->events.length > DN_RING_LIMIT)
		dn_event_free(g_queue_pop_head(&self->events));
	self->has_writes = true;
}

void dn_batch_add_stored(DnBatch *self, const char *host, const char *spool, uint64_t number)
{
	DnStored *stored = g_new0(DnStored, 1);

	stored->spool = g_strdup(spool);
	stored->number = number;
	g_hash_table_replace(self->stored, g_strdup(host), stored);
}

void dn_batch_seal(DnBatch *self)
{
	const DnEvent *last = g_queue_peek_tail(&self->events);

	if (last == NULL)
		return;
	for (GList *at = self->events.head; at != NULL; at = at->next) {
		const DnEvent *event = at->data;
		g_autofree char *key = dn_record_event_key(event->id);
		g_autoptr(GBytes) value = dn_record_encode_event(event);

		dn_store_txn_put(self->txn, key, value);
	}
	/* Those of before that are no longer among the last. Earlier ones went earlier. */
	uint64_t first = self->first_event;
	for (uint64_t id = first > DN_RING_LIMIT ? first - DN_RING_LIMIT : 1;
	     id < first && id + DN_RING_LIMIT <= last->id; id++) {
		g_autofree char *key = dn_record_event_key(id);

		dn_store_txn_delete(self->txn, key);
	}
}
