/* SPDX-License-Identifier: Apache-2.0 */

/* The start: take the term, then everything the store remembers. Nothing is served meanwhile. */

#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "main/internal.h"
#include "main/records.h"

static void on_result(GObject *source, GAsyncResult *result, gpointer data)
{
	GAsyncResult **slot = data;

	*slot = g_object_ref(result);
}

static GAsyncResult *wait_for(GAsyncResult **slot)
{
	while (*slot == NULL)
		g_main_context_iteration(NULL, TRUE);
	return *slot;
}

static bool campaign(DnSupervisor *self, GError **error)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autofree char *candidate = g_strdup_printf("%s/%d", g_get_host_name(), (int)getpid());

	dn_store_campaign_async(self->store, candidate, on_result, &result);
	self->term = dn_store_campaign_finish(self->store, wait_for(&result), error);
	return self->term != 0;
}

static bool restore_event(DnSupervisor *self, const DnStoreEntry *entry, GError **error)
{
	DnEvent *event = dn_record_decode_event(entry->value, error);

	if (event == NULL) {
		g_prefix_error(error, "store: %s: ", entry->key);
		return false;
	}
	self->last_event = event->id;
	dn_ring_add(self->ring, event);
	return true;
}

bool dn_supervisor_restore(DnSupervisor *self, GError **error)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autoptr(GPtrArray) entries = NULL;

	if (!campaign(self, error))
		return false;
	dn_store_list_async(self->store, "", 0, on_result, &result);
	entries = dn_store_list_finish(self->store, wait_for(&result), &self->revision, error);
	if (entries == NULL)
		return false;
	for (guint i = 0; i < entries->len; i++) {
		const DnStoreEntry *entry = g_ptr_array_index(entries, i);
		bool is_event = g_str_has_prefix(entry->key, DN_RECORD_EVENTS);

		if (is_event ? !restore_event(self, entry, error)
			     : !dn_record_restore(self->core, entry->key, entry->value, error))
			return false;
	}
	return true;
}
