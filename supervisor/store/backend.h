/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a store has to be able to do, blocking. store.c calls it on one thread of its own, one
 * call at a time, and makes the asynchronous interface of store.h of it.
 */

#include "store/store.h"

typedef struct {
	char *key;
	uint64_t revision; /* that set it; 0: must not exist */
} DnStoreCompare;

typedef struct {
	char *key;
	GBytes *value; /* NULL: delete */
} DnStoreWrite;

struct DnStoreTxn {
	gatomicrefcount refs;
	uint64_t term;
	GPtrArray *compares; /* of DnStoreCompare */
	GPtrArray *writes;   /* of DnStoreWrite, one a key */
	GHashTable *by_key;  /* char * → DnStoreWrite *, both borrowed from writes */
};

typedef struct {
	/* Entries under @prefix as of @at (never 0 here), or of exactly that key. */
	bool (*list)(gpointer backend, const char *prefix, bool exact, uint64_t at,
		     GPtrArray *entries, GError **error);
	/* The last revision, and the oldest that list() and changes() still know. */
	bool (*revisions)(gpointer backend, uint64_t *last, uint64_t *oldest, GError **error);
	bool (*txn)(gpointer backend, const DnStoreTxn *txn, bool *applied, uint64_t *revision,
		    GError **error);
	/* Everything under @prefix set after @since, in order of revision. */
	bool (*changes)(gpointer backend, const char *prefix, uint64_t since, GPtrArray *entries,
			GError **error);
	bool (*campaign)(gpointer backend, const char *candidate, uint64_t *term, GError **error);
	void (*close)(gpointer backend);
} DnStoreBackend;

/* Takes @backend, which ops->close() frees. */
DnStore *dn_store_new(const DnStoreBackend *ops, gpointer backend);
/* The backend of a store made with @ops; only to be touched under its own lock. */
gpointer dn_store_backend(DnStore *self, const DnStoreBackend *ops);

/* What every implementation says alike. */
bool dn_store_lost(GError **error); /* sets DN_ERROR_CONFLICT, returns false */
