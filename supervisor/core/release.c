/* SPDX-License-Identifier: Apache-2.0 */
#include "core/release.h"

#include "core/state.h"

enum { FORMER_LIMIT = 64 };

static void free_share(gpointer share)
{
	dn_share_free(share);
}

static void free_release(gpointer data)
{
	DnRelease *release = data;

	dn_declaration_free(release->declaration);
	g_hash_table_unref(release->shares);
	g_ptr_array_unref(release->former);
	g_free(release);
}

DnService *dn_service_new(const char *name, const char *vip)
{
	DnService *service = g_new0(DnService, 1);

	service->name = g_strdup(name);
	service->vip = g_strdup(vip);
	service->releases = g_ptr_array_new_with_free_func(free_release);
	service->shown_state = -1;
	dn_budget_init(&service->drills);
	service->heard = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return service;
}

void dn_service_free(DnService *service)
{
	if (service == NULL)
		return;
	g_free(service->name);
	g_free(service->vip);
	g_free(service->roll_error);
	dn_budget_clear(&service->drills);
	g_hash_table_unref(service->heard);
	g_ptr_array_unref(service->releases);
	g_free(service);
}

DnRelease *dn_release_new(const DnDeclaration *declaration)
{
	DnRelease *release = g_new0(DnRelease, 1);

	release->declaration = dn_declaration_copy(declaration);
	release->shares = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_share);
	release->former = g_ptr_array_new_with_free_func(g_free);
	return release;
}

DnRelease *dn_service_current(const DnService *service)
{
	return g_ptr_array_index(service->releases, 0);
}

DnRelease *dn_service_release(const DnService *service, const char *digest)
{
	if (digest == NULL)
		return NULL;
	for (guint i = 0; i < service->releases->len; i++) {
		DnRelease *release = g_ptr_array_index(service->releases, i);

		if (g_str_equal(release->declaration->manifest->digest, digest))
			return release;
	}
	return NULL;
}

bool dn_service_keeps(const DnService *service, const DnRelease *release)
{
	const DnRelease *current = dn_service_current(service);

	return release == current || dn_manifest_makes_same_nodes(release->declaration->manifest,
								  current->declaration->manifest);
}

static void remember(DnRelease *release, const char *digest)
{
	if (g_ptr_array_find_with_equal_func(release->former, digest, g_str_equal, NULL))
		return;
	g_ptr_array_add(release->former, g_strdup(digest));
	/* Only a host that has been away since then still calls its nodes so. */
	if (release->former->len > FORMER_LIMIT)
		g_ptr_array_remove_index(release->former, 0);
}

void dn_release_inherit(DnRelease *release, const DnRelease *earlier)
{
	for (guint i = 0; i < earlier->former->len; i++)
		remember(release, g_ptr_array_index(earlier->former, i));
	remember(release, earlier->declaration->manifest->digest);
}

static bool names(const DnRelease *release, const char *digest)
{
	return g_str_equal(release->declaration->manifest->digest, digest) ||
	       g_ptr_array_find_with_equal_func(release->former, digest, g_str_equal, NULL);
}

bool dn_release_covers(const DnService *service, const DnRelease *release, const char *host,
		       const char *digest)
{
	if (digest == NULL || !names(release, digest))
		return false;
	if (g_str_equal(release->declaration->manifest->digest, digest))
		return true;
	/* A host that has not accepted the later one yet has them under an earlier one. */
	for (guint i = service->releases->len; i-- > 0;) {
		const DnRelease *earlier = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(earlier->shares, host);

		if (earlier == release)
			break;
		if (share != NULL && share->running + share->standby > 0 && names(earlier, digest))
			return false;
	}
	return true;
}

DnShare *dn_release_share(DnRelease *release, const char *host)
{
	DnShare *share = g_hash_table_lookup(release->shares, host);

	if (share == NULL) {
		share = dn_share_new(host, 0, 0);
		g_hash_table_insert(release->shares, share->host, share);
	}
	return share;
}

uint32_t dn_release_running(const DnRelease *release)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t count = 0;

	g_hash_table_iter_init(&iter, release->shares);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		count += ((const DnShare *)value)->running;
	return count;
}

uint32_t dn_release_running_on(const DnRelease *release, const char *host)
{
	const DnShare *share = g_hash_table_lookup(release->shares, host);

	return share == NULL ? 0 : share->running;
}

GPtrArray *dn_release_shares(const DnRelease *release)
{
	GPtrArray *shares = g_ptr_array_new_with_free_func(free_share);
	g_autoptr(GList) hosts = dn_state_sorted(release->shares);

	for (GList *at = hosts; at != NULL; at = at->next) {
		const DnShare *share = g_hash_table_lookup(release->shares, at->data);

		if (share->running > 0 || share->standby > 0)
			g_ptr_array_add(shares,
					dn_share_new(share->host, share->running, share->standby));
	}
	return shares;
}
