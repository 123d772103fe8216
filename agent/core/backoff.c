/* SPDX-License-Identifier: Apache-2.0 */
#include "core/backoff.h"

#include "base/clock.h"

enum { LIMIT_S = 60, DOUBLINGS = 6 };

typedef struct {
	uint32_t exits; /* in a row */
	uint64_t until_ns;
} Backoff;

struct DnBackoffs {
	GHashTable *of; /* digest → Backoff, both owned */
};

DnBackoffs *dn_backoffs_new(void)
{
	DnBackoffs *self = g_new0(DnBackoffs, 1);

	self->of = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return self;
}

void dn_backoffs_free(DnBackoffs *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->of);
	g_free(self);
}

void dn_backoffs_failed(DnBackoffs *self, const char *digest, bool unmade, uint64_t now_ns)
{
	Backoff *backoff = g_hash_table_lookup(self->of, digest);

	if (backoff == NULL) {
		backoff = g_new0(Backoff, 1);
		g_hash_table_insert(self->of, g_strdup(digest), backoff);
	}
	backoff->exits++;
	backoff->until_ns = now_ns + dn_backoff_ns(backoff->exits + (unmade ? 1 : 0));
}

void dn_backoffs_settled(DnBackoffs *self, const char *digest)
{
	Backoff *backoff = g_hash_table_lookup(self->of, digest);

	if (backoff != NULL)
		backoff->exits = 0;
}

uint64_t dn_backoffs_until_ns(const DnBackoffs *self, const char *digest)
{
	const Backoff *backoff = self != NULL ? g_hash_table_lookup(self->of, digest) : NULL;

	return backoff != NULL ? backoff->until_ns : 0;
}

uint64_t dn_backoffs_next_ns(const DnBackoffs *self, uint64_t now_ns)
{
	GHashTableIter iter;
	gpointer value;
	uint64_t next_ns = 0;

	g_hash_table_iter_init(&iter, self->of);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		uint64_t until_ns = ((const Backoff *)value)->until_ns;

		if (until_ns > now_ns && (next_ns == 0 || until_ns < next_ns))
			next_ns = until_ns;
	}
	return next_ns;
}

static gboolean is_unnamed(gpointer digest, gpointer backoff, gpointer data)
{
	const DnAssign *assign = data;

	for (guint i = 0; i < assign->parts->len; i++)
		if (g_str_equal(((const DnPart *)g_ptr_array_index(assign->parts, i))->digest,
				digest))
			return FALSE;
	return TRUE;
}

void dn_backoffs_keep(DnBackoffs *self, const DnAssign *assign)
{
	g_hash_table_foreach_remove(self->of, is_unnamed, (gpointer)assign);
}

uint64_t dn_backoff_ns(uint32_t exits)
{
	if (exits <= 1)
		return 0;
	uint64_t seconds = exits - 2 >= DOUBLINGS ? LIMIT_S : UINT64_C(1) << (exits - 2);

	return MIN(seconds, LIMIT_S) * DN_NS_PER_S;
}
