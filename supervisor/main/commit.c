/* SPDX-License-Identifier: Apache-2.0 */

/* From the core's acts to the world: store first, then speak. */

#include "base/failpoint.h"
#include "main/internal.h"
#include "main/records.h"

/* Of DN_FLEET_TICK_MS: how long without a write before the term is asked for. */
enum { TERM_TICKS = 4 };

/* An order that could not be sent, answered from the main loop and not from inside a step. */
typedef struct {
	DnSupervisor *supervisor;
	char *host;
	uint64_t tag;
} Unsent;

DnNow dn_supervisor_now(void)
{
	return (DnNow){
		.monotonic_ns = dn_clock_monotonic_ns(),
		.realtime_ns = dn_clock_realtime_ns(),
	};
}

static gboolean on_unsent(gpointer data)
{
	Unsent *unsent = data;
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);

	answer->code = DN_ERROR_UNAVAILABLE;
	answer->error = g_strdup_printf("%s is not connected; try again", unsent->host);
	if (!unsent->supervisor->ending)
		dn_supervisor_sessions_ops.answered(unsent->host, unsent->tag, answer,
						    unsent->supervisor);
	return G_SOURCE_REMOVE;
}

static void free_unsent(gpointer data)
{
	g_free(((Unsent *)data)->host);
	g_free(data);
}

static void answer_unsent(DnSupervisor *self, const DnDispatch *dispatch)
{
	Unsent *unsent = g_new0(Unsent, 1);

	unsent->supervisor = self;
	unsent->host = g_strdup(dispatch->host);
	unsent->tag = dispatch->tag;
	g_idle_add_full(G_PRIORITY_DEFAULT, on_unsent, unsent, free_unsent);
}

/* False: as if the host were not connected. */
static bool may_send(DnOrderKind kind)
{
	switch (kind) {
	case DN_ORDER_MANIFEST:
		return dn_failpoint("supervisor.order.manifest.before", NULL);
	case DN_ORDER_ASSIGN:
		return dn_failpoint("supervisor.order.assign.before", NULL);
	case DN_ORDER_FORGET:
		return dn_failpoint("supervisor.order.forget.before", NULL);
	case DN_ORDER_ROUTES:
		return dn_failpoint("supervisor.order.routes.before", NULL);
	case DN_ORDER_QUARANTINE:
		return dn_failpoint("supervisor.order.quarantine.before", NULL);
	case DN_ORDER_DRILL:
		return dn_failpoint("supervisor.order.drill.before", NULL);
	case DN_ORDER_DESTROY:
		return dn_failpoint("supervisor.order.destroy.before", NULL);
	case DN_ORDER_STAMP:
		return dn_failpoint("supervisor.order.stamp.before", NULL);
	case DN_ORDER_LOGS:
		return dn_failpoint("supervisor.order.logs.before", NULL);
	case DN_ORDER_AUDIT:
		return dn_failpoint("supervisor.order.audit.before", NULL);
	case DN_ORDER_DROPPED:
		return dn_failpoint("supervisor.order.dropped.before", NULL);
	case DN_ORDER_SWEEP:
	case DN_ORDER_N:
		break;
	}
	return true;
}

static void send(DnSupervisor *self, DnDispatch *dispatch)
{
	if (may_send(dispatch->order->kind) &&
	    dn_sessions_send(self->sessions, dispatch->host, g_steal_pointer(&dispatch->order),
			     dispatch->tag))
		return;
	answer_unsent(self, dispatch);
}

static void begin_writing(DnSupervisor *self);

static void acknowledge(DnSupervisor *self, const DnBatch *batch)
{
	GHashTableIter iter;
	gpointer host = NULL, value = NULL;

	g_hash_table_iter_init(&iter, batch->stored);
	while (g_hash_table_iter_next(&iter, &host, &value)) {
		const DnStored *stored = value;

		dn_sessions_acknowledge(self->sessions, host, stored->spool, stored->number);
	}
}

static void speak(DnSupervisor *self, DnBatch *batch)
{
	dn_failpoint_pass("supervisor.speak.orders.before");
	for (guint i = 0; i < batch->dispatches->len; i++)
		send(self, g_ptr_array_index(batch->dispatches, i));
	for (GList *at = batch->events.head; at != NULL; at = at->next) {
		const DnEvent *event = at->data;

		dn_ring_add(self->ring, dn_event_copy(event));
		if (self->api != NULL)
			dn_api_publish(self->api, event);
	}
	dn_failpoint_pass("supervisor.speak.replies.before");
	for (guint i = 0; i < batch->waiters->len; i++) {
		DnAfter after = g_array_index(batch->waiters, DnAfter, i);

		after.call(self, after.data, NULL);
	}
	dn_failpoint_pass("supervisor.speak.acknowledge.before");
	acknowledge(self, batch);
	dn_failpoint_pass("supervisor.speak.acknowledge.after");
}

/* Nobody knows what is on disk: end, and let the next start read it. */
static void give_up(DnSupervisor *self, const GError *error)
{
	dn_supervisor_fail_waiters(self, error);
	g_clear_pointer(&self->writing, dn_batch_free);
	if (self->failed == NULL)
		self->failed = g_error_copy(error);
	g_main_loop_quit(self->loop);
}

static void on_written(GObject *source, GAsyncResult *result, gpointer data)
{
	DnSupervisor *self = data;
	g_autoptr(GError) error = NULL;

	bool done = dn_store_txn_finish(self->store, result, NULL, &self->revision, &error);
	/* Whoever would hear of it is gone; the next start reads what is on disk. */
	if (self->ending)
		return;
	if (!done) {
		if (dn_supervisor_may_retry(error))
			dn_supervisor_store_later(self, error);
		else
			give_up(self, error);
		return;
	}
	DnBatch *batch = g_steal_pointer(&self->writing);
	speak(self, batch);
	dn_batch_free(batch);
	begin_writing(self);
	dn_supervisor_go_on(self);
}

void dn_supervisor_store_writing(DnSupervisor *self)
{
	dn_store_txn_async(self->store, dn_store_txn_ref(self->writing->txn), on_written, self);
}

/* Nothing is stored that no journal tells of. */
static void on_journalled(void *data, const GError *error)
{
	DnSupervisor *self = data;

	dn_failpoint_pass("supervisor.journal.durable.after");
	if (error == NULL && !self->ending)
		dn_supervisor_store_writing(self);
	else if (error != NULL)
		give_up(self, error);
}

static void begin_writing(DnSupervisor *self)
{
	if (self->writing != NULL || self->failed != NULL || self->closed || self->ending ||
	    dn_batch_is_empty(self->filling))
		return;
	self->closed = self->closing;
	self->idle_ticks = 0;
	self->writing = self->filling;
	self->filling = dn_batch_new(self->term);
	dn_batch_seal(self->writing);
	dn_journal_after(self->journal, on_journalled, self);
}

/* What says nothing about shares need not keep its order among those that do. */
static bool may_overtake(const DnOrder *order)
{
	return order->kind == DN_ORDER_QUARANTINE || order->kind == DN_ORDER_LOGS ||
	       order->kind == DN_ORDER_STAMP || order->kind == DN_ORDER_AUDIT ||
	       order->kind == DN_ORDER_SWEEP || order->kind == DN_ORDER_DROPPED;
}

/* Orders for one host keep their order, so a quick one waits behind a slow one of that host. */
static bool must_wait(const DnSupervisor *self, const DnDispatch *dispatch)
{
	if (!dispatch->after_store && may_overtake(dispatch->order))
		return false;
	return dispatch->after_store ||
	       (self->writing != NULL && dn_batch_names_host(self->writing, dispatch->host)) ||
	       dn_batch_names_host(self->filling, dispatch->host);
}

static void nothing_to_do(DnSupervisor *self, gpointer data, const GError *error)
{
}

/*
 * A supervisor whose reign is over learns it when it writes, and one that has nothing to write
 * would go on giving orders. So a transaction without a write asks now and then.
 */
void dn_supervisor_check_term(DnSupervisor *self)
{
	if (self->writing != NULL || ++self->idle_ticks < TERM_TICKS)
		return;
	dn_supervisor_after(self, nothing_to_do, NULL);
}

static void send_later(DnSupervisor *self, DnDispatch *dispatch)
{
	DnDispatch *is_void = dn_batch_add_dispatch(self->filling, dispatch);

	if (is_void == NULL)
		return;
	answer_unsent(self, is_void);
	dn_dispatch_free(is_void);
}

/* It is told everything anew on its next link. */
void dn_supervisor_forget_orders(DnSupervisor *self, const char *host)
{
	g_autoptr(GPtrArray) dispatches = dn_batch_take_dispatches(self->filling, host);

	for (guint i = 0; i < dispatches->len; i++)
		answer_unsent(self, g_ptr_array_index(dispatches, i));
}

void dn_supervisor_carry_out(DnSupervisor *self, DnActs *acts)
{
	dn_supervisor_journal_acts(self, acts);
	for (guint i = 0; i < acts->records->len; i++) {
		const DnRecordChange *change = g_ptr_array_index(acts->records, i);
		g_autofree char *key = dn_record_key(change->kind, change->name);
		g_autoptr(GBytes) value = dn_record_encode(self->core, change->kind, change->name);

		if (value != NULL)
			dn_store_txn_put(self->filling->txn, key, value);
		else
			dn_store_txn_delete(self->filling->txn, key);
		self->filling->has_writes = true;
	}
	while (acts->dispatches->len > 0) {
		DnDispatch *dispatch = g_ptr_array_steal_index(acts->dispatches, 0);

		if (must_wait(self, dispatch)) {
			send_later(self, dispatch);
			continue;
		}
		send(self, dispatch);
		dn_dispatch_free(dispatch);
	}
	while (acts->events->len > 0) {
		DnEvent *event = g_ptr_array_steal_index(acts->events, 0);

		event->id = ++self->last_event;
		dn_batch_add_event(self->filling, event);
	}
	begin_writing(self);
}

bool dn_supervisor_may_begin(const DnSupervisor *self, GError **error)
{
	if (!self->closing)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "this supervisor is ending: nothing was begun; ask again when it is back");
	return false;
}

void dn_supervisor_after(DnSupervisor *self, DnAfterFunc call, gpointer data)
{
	DnAfter after = {.call = call, .data = data};

	if (self->closed) {
		g_autoptr(GError) error = g_error_new(
			DN_ERROR, DN_ERROR_UNAVAILABLE,
			"this supervisor is ending and stores nothing more; see what became of it "
			"when it is back");

		call(self, data, error);
		return;
	}
	if (self->held != NULL || self->failed != NULL) {
		call(self, data, self->held != NULL ? self->held : self->failed);
		return;
	}
	g_array_append_val(self->filling->waiters, after);
	begin_writing(self);
}

void dn_supervisor_acknowledge(DnSupervisor *self, const char *host, const char *spool)
{
	dn_batch_add_stored(self->filling, host, spool,
			    dn_fleet_core_stored(self->core, host, spool));
}
