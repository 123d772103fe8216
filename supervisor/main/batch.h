/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One transaction and what waits for it: orders, events, people.
 *
 * A disk that takes nothing keeps a batch filling for as long as that lasts, while hosts are heard.
 * So it keeps nothing that something later has made void: an assignment, a stamp or routes are void
 * by the next of the same, an order by the end of its link, an event by DN_RING_LIMIT later ones.
 */

#include "core/acts.h"
#include "main/supervisor.h"

/* @error: it is not on disk, and may never be. NULL: it is. */
typedef void (*DnAfterFunc)(DnSupervisor *self, gpointer data, const GError *error);

typedef struct {
	DnAfterFunc call;
	gpointer data;
} DnAfter;

/* The last fact of a host's spool that a transaction holds. */
typedef struct {
	char *spool;
	uint64_t number;
} DnStored;

typedef struct {
	DnStoreTxn *txn; /* owned */
	bool has_writes;
	GPtrArray *dispatches; /* of DnDispatch */
	GHashTable *latest;    /* char *, what may become void → DnDispatch *, borrowed */
	GHashTable *hosts;     /* char *, named by dispatches → how often */
	GQueue events;         /* of DnEvent, numbered */
	uint64_t first_event;  /* the number of the first there was; 0: none */
	GArray *waiters;       /* of DnAfter */
	GHashTable *stored;    /* char * host → DnStored *: up to where it holds their facts */
} DnBatch;

DnBatch *dn_batch_new(uint64_t term) G_GNUC_WARN_UNUSED_RESULT;
void dn_batch_free(DnBatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnBatch, dn_batch_free)

/* Is there nothing to write, to send and to tell? */
bool dn_batch_is_empty(const DnBatch *self);

/* Takes @dispatch. Returns one that has become void by it, the caller's now, or NULL. */
DnDispatch *dn_batch_add_dispatch(DnBatch *self, DnDispatch *dispatch) G_GNUC_WARN_UNUSED_RESULT;
bool dn_batch_names_host(const DnBatch *self, const char *host);
/* Take out those for @host; of DnDispatch. */
GPtrArray *dn_batch_take_dispatches(DnBatch *self, const char *host) G_GNUC_WARN_UNUSED_RESULT;

/* Takes @event, whose number is the next. */
void dn_batch_add_event(DnBatch *self, DnEvent *event);

/* The facts of @host's @spool up to @number are in this transaction. */
void dn_batch_add_stored(DnBatch *self, const char *host, const char *spool, uint64_t number);

/* Nothing is added any more: the events go into the transaction. */
void dn_batch_seal(DnBatch *self);
