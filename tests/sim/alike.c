/* SPDX-License-Identifier: Apache-2.0 */

/* Which manifests make the same nodes: what goes on under a later one was there before. */

#include "truth.h"

/* Set of char *: digests up to @part's epoch that would make its nodes just as they are. */
static GHashTable *alike_of(const Sim *sim, const DnPart *part)
{
	const DnManifest *manifest = g_hash_table_lookup(sim->signed_manifests, part->digest);
	GHashTable *alike = g_hash_table_new(g_str_hash, g_str_equal);
	GHashTableIter iter;
	gpointer digest, other;

	g_hash_table_add(alike, part->digest);
	g_hash_table_iter_init(&iter, sim->signed_manifests);
	while (manifest != NULL && g_hash_table_iter_next(&iter, &digest, &other))
		if (((const DnManifest *)other)->epoch <= part->epoch &&
		    dn_manifest_makes_same_nodes(other, manifest))
			g_hash_table_add(alike, digest);
	return alike;
}

guint alike_nodes(const Sim *sim, GHashTable *share, const DnPart *part)
{
	g_autoptr(GHashTable) alike = alike_of(sim, part);
	GHashTableIter iter;
	gpointer digest, count;
	guint sum = 0;

	if (share == NULL)
		return 0;
	g_hash_table_iter_init(&iter, share);
	while (g_hash_table_iter_next(&iter, &digest, &count))
		if (g_hash_table_contains(alike, digest))
			sum += GPOINTER_TO_UINT(count);
	return sum;
}
