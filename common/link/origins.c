/* SPDX-License-Identifier: Apache-2.0 */
#include "link/origins.h"

#include <string.h>

enum { KEPT = 1024 }; /* addresses; more are cleared of those that have nothing */

struct DnLinkOrigin {
	unsigned strangers;
	DnBucket arrivals;
};

struct DnLinkOrigins {
	unsigned max_strangers;
	DnBucketRate arrivals;
	GHashTable *by_address; /* char * without the port → DnLinkOrigin * */
};

DnLinkOrigins *dn_link_origins_new(unsigned max_strangers, DnBucketRate arrivals)
{
	DnLinkOrigins *self = g_new0(DnLinkOrigins, 1);

	self->max_strangers = max_strangers;
	self->arrivals = arrivals;
	self->by_address = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return self;
}

void dn_link_origins_free(DnLinkOrigins *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->by_address);
	g_free(self);
}

static gboolean has_nothing(gpointer key, gpointer value, gpointer data)
{
	return ((const DnLinkOrigin *)value)->strangers == 0;
}

static DnLinkOrigin *find(DnLinkOrigins *self, const char *address)
{
	const char *colon = strrchr(address, ':');
	g_autofree char *key =
		g_strndup(address, colon == NULL ? strlen(address) : (gsize)(colon - address));
	DnLinkOrigin *origin = g_hash_table_lookup(self->by_address, key);

	if (origin == NULL) {
		/* They lose their rate's memory by it, never their strangers. */
		if (g_hash_table_size(self->by_address) >= KEPT)
			g_hash_table_foreach_remove(self->by_address, has_nothing, NULL);
		origin = g_new0(DnLinkOrigin, 1);
		g_hash_table_insert(self->by_address, g_steal_pointer(&key), origin);
	}
	return origin;
}

DnLinkOrigin *dn_link_origins_enter(DnLinkOrigins *self, const char *address, uint64_t now_ns)
{
	DnLinkOrigin *origin = find(self, address);

	if (origin->strangers >= self->max_strangers ||
	    !dn_bucket_take(&origin->arrivals, &self->arrivals, now_ns))
		return NULL;
	origin->strangers++;
	return origin;
}

void dn_link_origin_leave(DnLinkOrigin *origin)
{
	if (origin != NULL)
		origin->strangers--;
}
