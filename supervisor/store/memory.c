/* SPDX-License-Identifier: Apache-2.0 */
#include "store/memory.h"

#include <string.h>

#include "store/backend.h"

/* Every value a key ever had, in order of revision; what superseded ones cost is not counted. */
typedef struct {
	GMutex lock;        /* the test's thread pulls the strings below */
	GPtrArray *history; /* of DnStoreEntry */
	uint64_t last, oldest;
	uint64_t term;
	unsigned delay_ms;
} Memory;

static void free_entry(gpointer entry)
{
	dn_store_entry_free(entry);
}

static bool is_wanted(const char *key, const char *prefix, bool exact)
{
	return exact ? g_str_equal(key, prefix) : g_str_has_prefix(key, prefix);
}

static const DnStoreEntry *find(const Memory *memory, const char *key, uint64_t at)
{
	const DnStoreEntry *found = NULL;

	for (guint i = 0; i < memory->history->len; i++) {
		const DnStoreEntry *entry = g_ptr_array_index(memory->history, i);

		if (entry->revision <= at && g_str_equal(entry->key, key))
			found = entry;
	}
	return found == NULL || found->value == NULL ? NULL : found;
}

static gint compare_keys(gconstpointer a, gconstpointer b)
{
	const DnStoreEntry *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

static GMutexLocker *enter(Memory *memory)
{
	g_mutex_lock(&memory->lock);
	unsigned delay_ms = memory->delay_ms;
	g_mutex_unlock(&memory->lock);
	g_usleep(delay_ms * 1000ul);
	return g_mutex_locker_new(&memory->lock);
}

static bool memory_list(gpointer backend, const char *prefix, bool exact, uint64_t at,
			GPtrArray *entries, GError **error)
{
	Memory *memory = backend;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = enter(memory);

	for (guint i = 0; i < memory->history->len; i++) {
		const DnStoreEntry *entry = g_ptr_array_index(memory->history, i);

		if (is_wanted(entry->key, prefix, exact) && find(memory, entry->key, at) == entry)
			g_ptr_array_add(entries, dn_store_entry_new(entry->key, entry->value,
								    entry->revision));
	}
	g_ptr_array_sort(entries, compare_keys);
	return true;
}

static bool memory_revisions(gpointer backend, uint64_t *last, uint64_t *oldest, GError **error)
{
	Memory *memory = backend;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&memory->lock);

	*last = memory->last;
	*oldest = memory->oldest;
	return true;
}

static bool memory_txn(gpointer backend, const DnStoreTxn *txn, bool *applied, uint64_t *revision,
		       GError **error)
{
	Memory *memory = backend;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = enter(memory);

	if (txn->term == 0 || txn->term != memory->term)
		return dn_store_lost(error);
	*applied = true;
	*revision = memory->last;
	for (guint i = 0; i < txn->compares->len; i++) {
		const DnStoreCompare *compare = g_ptr_array_index(txn->compares, i);
		const DnStoreEntry *entry = find(memory, compare->key, memory->last);

		if ((entry == NULL ? 0 : entry->revision) != compare->revision)
			*applied = false;
	}
	if (!*applied || txn->writes->len == 0)
		return true;
	*revision = ++memory->last;
	for (guint i = 0; i < txn->writes->len; i++) {
		const DnStoreWrite *write = g_ptr_array_index(txn->writes, i);

		g_ptr_array_add(memory->history,
				dn_store_entry_new(write->key, write->value, memory->last));
	}
	return true;
}

static bool memory_changes(gpointer backend, const char *prefix, uint64_t since, GPtrArray *entries,
			   GError **error)
{
	Memory *memory = backend;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = enter(memory);

	for (guint i = 0; i < memory->history->len; i++) {
		const DnStoreEntry *entry = g_ptr_array_index(memory->history, i);

		if (entry->revision > since && g_str_has_prefix(entry->key, prefix))
			g_ptr_array_add(entries, dn_store_entry_new(entry->key, entry->value,
								    entry->revision));
	}
	return true;
}

static bool memory_campaign(gpointer backend, const char *candidate, uint64_t *term, GError **error)
{
	Memory *memory = backend;
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = enter(memory);

	*term = ++memory->term;
	return true;
}

static void memory_close(gpointer backend)
{
	Memory *memory = backend;

	g_ptr_array_unref(memory->history);
	g_mutex_clear(&memory->lock);
	g_free(memory);
}

static const DnStoreBackend ops = {
	.list = memory_list,
	.revisions = memory_revisions,
	.txn = memory_txn,
	.changes = memory_changes,
	.campaign = memory_campaign,
	.close = memory_close,
};

DnStore *dn_store_open_memory(void)
{
	Memory *memory = g_new0(Memory, 1);

	g_mutex_init(&memory->lock);
	memory->history = g_ptr_array_new_with_free_func(free_entry);
	return dn_store_new(&ops, memory);
}

void dn_store_memory_delay(DnStore *self, unsigned delay_ms)
{
	Memory *memory = dn_store_backend(self, &ops);
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&memory->lock);

	memory->delay_ms = delay_ms;
}

void dn_store_memory_lose_leadership(DnStore *self)
{
	Memory *memory = dn_store_backend(self, &ops);
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&memory->lock);

	memory->term++;
}

void dn_store_memory_compact(DnStore *self)
{
	Memory *memory = dn_store_backend(self, &ops);
	g_autoptr(GHashTable) met = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	G_GNUC_UNUSED g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&memory->lock);

	/* Backwards: the first entry of a key that is met is its present, or its removal. */
	for (guint i = memory->history->len; i-- > 0;) {
		const DnStoreEntry *entry = g_ptr_array_index(memory->history, i);
		bool is_present = g_hash_table_add(met, g_strdup(entry->key));

		if (!is_present || entry->value == NULL)
			g_ptr_array_remove_index(memory->history, i);
	}
	memory->oldest = memory->last;
}
