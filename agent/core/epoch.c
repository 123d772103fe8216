/* SPDX-License-Identifier: Apache-2.0 */
#include "core/epoch.h"

#include "base/clock.h"
#include "base/error.h"

static void free_epoch(gpointer data)
{
	dn_epoch_free(data);
}

void dn_epoch_free(DnEpoch *self)
{
	if (self == NULL)
		return;
	g_free(self->digest);
	g_free(self);
}

GHashTable *dn_epochs_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_epoch);
}

void dn_epochs_set(GHashTable *epochs, const char *service, uint64_t epoch, const char *digest,
		   bool removed)
{
	DnEpoch *known = g_hash_table_lookup(epochs, service);

	if (known != NULL && (epoch < known->epoch || (epoch == known->epoch && known->digest)))
		return;
	known = g_new0(DnEpoch, 1);
	known->epoch = epoch;
	known->digest = g_strdup(digest);
	known->removed = removed;
	g_hash_table_replace(epochs, g_strdup(service), known);
}

DnEpoch *dn_epochs_copy(GHashTable *epochs, const char *service)
{
	const DnEpoch *known = g_hash_table_lookup(epochs, service);

	if (known == NULL)
		return NULL;
	DnEpoch *copy = g_memdup2(known, sizeof(*known));
	copy->digest = g_strdup(known->digest);
	return copy;
}

void dn_epochs_put_back(GHashTable *epochs, const char *service, DnEpoch *was)
{
	if (was != NULL)
		g_hash_table_replace(epochs, g_strdup(service), was);
	else
		g_hash_table_remove(epochs, service);
}

static bool follows(const DnEpoch *known, const DnManifest *manifest, GError **error)
{
	if (manifest->epoch < known->epoch) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "epoch %" G_GUINT64_FORMAT " of %s is older than %" G_GUINT64_FORMAT
			    ", which this host has accepted",
			    manifest->epoch, manifest->service, known->epoch);
		return false;
	}
	if (manifest->epoch == known->epoch && known->digest != NULL &&
	    !g_str_equal(manifest->digest, known->digest)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "epoch %" G_GUINT64_FORMAT " of %s is another manifest here; sign the "
			    "change with the next epoch",
			    manifest->epoch, manifest->service);
		return false;
	}
	if (manifest->epoch - known->epoch > DN_EPOCH_STEP) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "epoch %" G_GUINT64_FORMAT " of %s is more than %" G_GUINT64_FORMAT
			    " above %" G_GUINT64_FORMAT,
			    manifest->epoch, manifest->service, DN_EPOCH_STEP, known->epoch);
		return false;
	}
	return true;
}

bool dn_epochs_may_accept(GHashTable *epochs, const DnManifest *manifest, uint64_t minimum,
			  uint64_t now_ns, GError **error)
{
	static const DnEpoch none;
	const DnEpoch *known = g_hash_table_lookup(epochs, manifest->service);

	if (!follows(known == NULL ? &none : known, manifest, error))
		return false;
	if (manifest->epoch < minimum) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "epoch %" G_GUINT64_FORMAT " of %s is below the trust file's minimum "
			    "%" G_GUINT64_FORMAT,
			    manifest->epoch, manifest->service, minimum);
		return false;
	}
	/* What was accepted once is not accepted anew: it was in time then. */
	bool is_known = known != NULL && known->digest != NULL && known->epoch == manifest->epoch;
	if (!is_known && dn_manifest_is_expired(manifest, now_ns)) {
		g_autofree char *until = dn_clock_format(manifest->valid_until_ns);
		g_autofree char *now = dn_clock_format(now_ns);

		/* The later of the clock and the floor: whose clock was set back wonders why. */
		g_set_error(
			error, DN_ERROR, DN_ERROR_UNTRUSTED,
			"the manifest of %s epoch %" G_GUINT64_FORMAT
			" is past its valid_until %s: this host has seen %s; sign a new epoch, or "
			"if that time is wrong correct the clock and remove the file time-floor "
			"of its state directory",
			manifest->service, manifest->epoch, until, now);
		return false;
	}
	return true;
}

bool dn_epochs_know_service(GHashTable *epochs, const char *service, GError **error)
{
	if (g_hash_table_contains(epochs, service))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "no manifest of %s was accepted here",
		    service);
	return false;
}

static uint32_t nodes_of(const DnAssign *assign, const char *digest)
{
	for (guint i = 0; assign != NULL && i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		if (g_str_equal(part->digest, digest))
			return part->running + part->standby;
	}
	return 0;
}

/*
 * Of every manifest up to @epoch that would make a node of @manifest just as it is: nodes of one go
 * on as the other's.
 */
static uint32_t nodes_alike(GHashTable *manifests, const DnAssign *assign,
			    const DnManifest *manifest, uint64_t epoch)
{
	uint32_t nodes = 0;

	for (guint i = 0; assign != NULL && i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);
		const DnManifest *other = g_hash_table_lookup(manifests, part->digest);

		if (other != NULL && part->epoch <= epoch &&
		    dn_manifest_makes_same_nodes(other, manifest))
			nodes += part->running + part->standby;
	}
	return nodes;
}

/* Are there more nodes of @part in @next than there are in @before? */
static bool grows(GHashTable *manifests, const DnAssign *before, const DnAssign *next,
		  const DnPart *part)
{
	const DnManifest *manifest = g_hash_table_lookup(manifests, part->digest);

	if (part->running + part->standby <= nodes_of(before, part->digest))
		return false;
	return manifest == NULL || nodes_alike(manifests, next, manifest, part->epoch) >
					   nodes_alike(manifests, before, manifest, part->epoch);
}

bool dn_epochs_may_assign(GHashTable *epochs, GHashTable *manifests, const DnAssign *before,
			  const DnAssign *next, GError **error)
{
	const DnEpoch *known = g_hash_table_lookup(epochs, next->service);

	for (guint i = 0; i < next->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(next->parts, i);

		if (part->running + part->standby == 0)
			continue;
		if (known == NULL || part->epoch > known->epoch) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
				    "no manifest of %s with epoch %" G_GUINT64_FORMAT
				    " was accepted here",
				    next->service, part->epoch);
			return false;
		}
		if (known->removed ||
		    (part->epoch < known->epoch && grows(manifests, before, next, part))) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
				    "new nodes of %s epoch %" G_GUINT64_FORMAT
				    " would go back behind epoch %" G_GUINT64_FORMAT,
				    next->service, part->epoch, known->epoch);
			return false;
		}
	}
	return true;
}

bool dn_epochs_may_place(GHashTable *manifests, const DnAssign *has, const DnAssign *next,
			 uint64_t now_ns, GError **error)
{
	for (guint i = 0; i < next->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(next->parts, i);
		const DnManifest *manifest = g_hash_table_lookup(manifests, part->digest);

		if (manifest == NULL || !dn_manifest_is_expired(manifest, now_ns) ||
		    part->running + part->standby <= nodes_of(has, part->digest) ||
		    /* Nodes of an earlier manifest go on under it: none is new. */
		    nodes_alike(manifests, next, manifest, UINT64_MAX) <=
			    nodes_alike(manifests, has, manifest, UINT64_MAX))
			continue;
		g_autofree char *until = dn_clock_format(manifest->valid_until_ns);
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "%s epoch %" G_GUINT64_FORMAT " was valid until %s: this host takes no "
			    "new nodes of it; sign a new epoch",
			    next->service, part->epoch, until);
		return false;
	}
	return true;
}

bool dn_epochs_know_parts(GHashTable *manifests, const DnAssign *assign, GError **error)
{
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);
		const DnManifest *manifest = g_hash_table_lookup(manifests, part->digest);

		if (manifest != NULL && g_str_equal(manifest->service, assign->service) &&
		    manifest->epoch == part->epoch)
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "share of %s names manifest %.12s…, which this host has not accepted",
			    assign->service, part->digest);
		return false;
	}
	return true;
}

DnManifest *dn_epochs_successor(GHashTable *manifests, const DnAssign *assign,
				const DnManifest *manifest)
{
	DnManifest *found = NULL;

	if (nodes_of(assign, manifest->digest) > 0)
		return NULL;
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);
		DnManifest *other = g_hash_table_lookup(manifests, part->digest);

		if (other != NULL && other->epoch > manifest->epoch &&
		    (found == NULL || other->epoch > found->epoch) &&
		    dn_manifest_makes_same_nodes(manifest, other))
			found = other;
	}
	return found;
}

bool dn_epochs_may_forget(GHashTable *epochs, const char *service, GError **error)
{
	const DnEpoch *epoch = g_hash_table_lookup(epochs, service);

	if (epoch != NULL && epoch->removed)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "service %s is not removed by a signed manifest", service);
	return false;
}
