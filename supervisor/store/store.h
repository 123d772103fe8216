/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The supervisor's memory: keys, values, revisions. The interface is what etcd v3 offers and no
 * more, asynchronous from the start, so that a distributed store can take SQLite's place.
 *
 * Every committed transaction is one revision, growing by one. Calls are carried out in the
 * order they are made; callbacks run in the main context of the caller. A transaction that was
 * reported as done is on disk.
 *
 * Writing needs the term of a campaign. The next campaign, by whomever, ends that term: from
 * then on a write fails with DN_ERROR_CONFLICT and the loser has to stop.
 */

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
	DN_STORE_KEY_LIMIT = 512,
	DN_STORE_VALUE_LIMIT = 16 * 1024 * 1024,
	/* Superseded revisions stay readable this long, and less only if they are more than that.
	 */
	DN_STORE_KEEP = 1000,
	DN_STORE_KEEP_BYTES = 64 * 1024 * 1024,
};

typedef struct DnStore DnStore;

/* What is known to have been stored, from elsewhere: an older state is a damaged one. */
typedef struct {
	uint64_t term, revision; /* 0: nothing is known */
} DnStoreFloor;

/*
 * SQLite (WAL, synchronous=FULL) at @path, on a thread of its own. Reads all of it first:
 * DN_ERROR_UNTRUSTED when it is damaged, lost or older than @floor (may be NULL), and nothing of it
 * was changed. What one that was killed may not have brought to the disk is on it afterwards.
 */
DnStore *dn_store_open_sqlite(const char *path, const DnStoreFloor *floor,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Waits for everything that was asked before; callbacks that have not run yet still do. */
void dn_store_close(DnStore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnStore, dn_store_close)

typedef struct {
	char *key;
	GBytes *value;     /* NULL in a watch: the key was removed */
	uint64_t revision; /* that set it */
} DnStoreEntry;

DnStoreEntry *dn_store_entry_new(const char *key, GBytes *value, uint64_t revision);
void dn_store_entry_free(DnStoreEntry *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnStoreEntry, dn_store_entry_free)

/* ---- campaign: become the writer. Returns the term, greater than every one before. ---- */
void dn_store_campaign_async(DnStore *self, const char *candidate, GAsyncReadyCallback done,
			     gpointer user_data);
uint64_t dn_store_campaign_finish(DnStore *self, GAsyncResult *result, GError **error);

/* ---- get: NULL without an error when there is no such key ---- */
void dn_store_get_async(DnStore *self, const char *key, GAsyncReadyCallback done,
			gpointer user_data);
DnStoreEntry *dn_store_get_finish(DnStore *self, GAsyncResult *result, GError **error);

/*
 * ---- list: every key that begins with @prefix, sorted, as of revision @at (0: now) ----
 * *@revision is the revision that was read. DN_ERROR_EXHAUSTED: @at has been compacted.
 */
void dn_store_list_async(DnStore *self, const char *prefix, uint64_t at, GAsyncReadyCallback done,
			 gpointer user_data);
GPtrArray *dn_store_list_finish(DnStore *self, GAsyncResult *result, uint64_t *revision,
				GError **error); /* of DnStoreEntry */

/* ---- txn: if every comparison holds, all writes, else none ---- */
typedef struct DnStoreTxn DnStoreTxn;

DnStoreTxn *dn_store_txn_new(uint64_t term);
/* For who may have to try it again. */
DnStoreTxn *dn_store_txn_ref(DnStoreTxn *self);
void dn_store_txn_free(DnStoreTxn *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnStoreTxn, dn_store_txn_free)
/* @key was last set by @revision; 0: it does not exist. */
void dn_store_txn_compare(DnStoreTxn *self, const char *key, uint64_t revision);
void dn_store_txn_put(DnStoreTxn *self, const char *key, GBytes *value);
void dn_store_txn_delete(DnStoreTxn *self, const char *key);

/*
 * Takes @txn. *@applied is false, without an error, when a comparison did not hold. After
 * DN_ERROR_EXHAUSTED (no space) or UNAVAILABLE (read-only, busy) nothing of it was written and it
 * may be tried again; after G_IO_ERROR nobody knows what is on disk, and the store must be opened
 * anew.
 */
void dn_store_txn_async(DnStore *self, DnStoreTxn *txn, GAsyncReadyCallback done,
			gpointer user_data);
bool dn_store_txn_finish(DnStore *self, GAsyncResult *result, bool *applied, uint64_t *revision,
			 GError **error);

/*
 * ---- watch: every change under @prefix after revision @since, in order, each once ----
 * @changes (of DnStoreEntry) are those of one or more whole revisions up to @revision. NULL
 * changes: the history was compacted; nothing more comes, list again and watch from there.
 */
typedef struct DnStoreWatch DnStoreWatch;
typedef void (*DnStoreChanged)(GPtrArray *changes, uint64_t revision, gpointer user_data);

DnStoreWatch *dn_store_watch(DnStore *self, const char *prefix, uint64_t since,
			     DnStoreChanged changed, gpointer user_data);
/* After this returns the callback is not called any more. */
void dn_store_unwatch(DnStoreWatch *watch);
