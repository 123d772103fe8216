/* SPDX-License-Identifier: Apache-2.0 */

/* Manifests that people bring: judged, placed for a plan, made current. */

#include "base/clock.h"
#include "core/placement.h"
#include "core/reconcile.h"
#include "core/rollout.h"
#include "core/seats.h"

enum { RELEASES_LIMIT = 8 };

static bool check_epoch(const DnService *service, const DnManifest *manifest, bool *same,
			GError **error)
{
	const DnManifest *stored =
		service == NULL ? NULL : dn_service_current(service)->declaration->manifest;
	uint64_t epoch = stored == NULL ? 0 : stored->epoch;

	*same = stored != NULL && manifest->epoch == epoch &&
		g_str_equal(manifest->digest, stored->digest);
	if (*same)
		return true;
	if (stored != NULL && manifest->epoch <= epoch) {
		g_set_error(error, DN_ERROR,
			    manifest->epoch < epoch ? DN_ERROR_UNTRUSTED : DN_ERROR_CONFLICT,
			    "%s: epoch %" G_GUINT64_FORMAT " is not newer than the stored epoch "
			    "%" G_GUINT64_FORMAT "%s; raise epoch to %" G_GUINT64_FORMAT
			    " and sign again",
			    manifest->service, manifest->epoch, epoch,
			    manifest->epoch == epoch ? ", which has other content" : "", epoch + 1);
		return false;
	}
	if (manifest->epoch == 0 || manifest->epoch > DN_EPOCH_LIMIT ||
	    manifest->epoch - epoch > DN_EPOCH_STEP) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: epoch %" G_GUINT64_FORMAT " is more than %" G_GUINT64_FORMAT
			    " above the stored epoch %" G_GUINT64_FORMAT "; use %" G_GUINT64_FORMAT,
			    manifest->service, manifest->epoch, DN_EPOCH_STEP, epoch, epoch + 1);
		return false;
	}
	return true;
}

static bool publishes(const DnManifest *manifest, const DnListen *wanted)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (listen->publish_host && listen->protocol == wanted->protocol &&
		    listen->expose == wanted->expose)
			return true;
	}
	return false;
}

/* Also by nodes of a release that is not rolled over yet. */
static bool publishes_any(const DnService *service, const DnListen *wanted)
{
	if (dn_service_current(service)->declaration->manifest->removed)
		return false;
	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);

		if (publishes(release->declaration->manifest, wanted))
			return true;
	}
	return false;
}

/* VIPs are a service's own; the ports of the hosts are for all of them. */
static bool check_published(const DnFleetCore *core, const DnManifest *manifest, GError **error)
{
	g_autoptr(GList) names = dn_state_sorted(core->services);

	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		for (GList *at = names; listen->publish_host && at != NULL; at = at->next) {
			const DnService *other = dn_state_service(core, at->data);

			if (g_str_equal(other->name, manifest->service) ||
			    !publishes_any(other, listen))
				continue;
			g_set_error(
				error, DN_ERROR, DN_ERROR_CONFLICT,
				"%s: port %u/%s of the hosts is published by service %s; choose "
				"another \"expose\", or publish: vip",
				manifest->service, listen->expose,
				dn_protocol_name(listen->protocol), other->name);
			return false;
		}
	}
	return true;
}

static bool check(const DnFleetCore *core, const DnManifest *manifest, DnNow now, bool *same,
		  GError **error)
{
	const DnService *service = dn_state_service(core, manifest->service);

	if (!check_epoch(service, manifest, same, error))
		return false;
	if (*same)
		return true;
	if (dn_manifest_is_expired(manifest, now.realtime_ns)) {
		g_autofree char *until = dn_clock_format(manifest->valid_until_ns);

		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "%s: epoch %" G_GUINT64_FORMAT " was valid until %s; sign one that is "
			    "valid now",
			    manifest->service, manifest->epoch, until);
		return false;
	}
	if (service == NULL && manifest->removed) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: there is no such service to remove; see dnode services",
			    manifest->service);
		return false;
	}
	if (!check_published(core, manifest, error))
		return false;
	if (service != NULL && !manifest->removed && service->releases->len >= RELEASES_LIMIT) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_EXHAUSTED,
			"%s: nodes of %d epochs are running; wait for the roll, or bring back the "
			"hosts that hold it up",
			manifest->service, RELEASES_LIMIT);
		return false;
	}
	if (service == NULL && g_hash_table_size(core->services) >= DN_FLEET_SERVICES) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "the cluster remembers %d services already", DN_FLEET_SERVICES);
		return false;
	}
	return true;
}

/* The lowest VIP that no service, removed ones included, has ever had. */
static char *allocate_vip(const DnFleetCore *core, GError **error)
{
	g_autoptr(GHashTable) taken = g_hash_table_new(g_str_hash, g_str_equal);
	uint32_t size = dn_range_size(&core->vip_range);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_hash_table_add(taken, ((DnService *)value)->vip);
	for (uint32_t i = 1; i < size - 1; i++) {
		g_autofree char *vip = dn_address_format(core->vip_range.base + i);

		if (!g_hash_table_contains(taken, vip))
			return g_steal_pointer(&vip);
	}
	g_set_error(
		error, DN_ERROR, DN_ERROR_EXHAUSTED,
		"every VIP of vip_cidr is taken; removed services keep theirs with their epoch");
	return NULL;
}

static void free_share(gpointer share)
{
	dn_share_free(share);
}

/* What a seat's host carries of @service now. */
static void count_placed(const DnService *service, DnSeat *seat, uint32_t *standby)
{
	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(release->shares, seat->host);

		seat->running += share == NULL ? 0 : share->running;
		*standby += share == NULL ? 0 : share->standby;
	}
}

/* Take @count nodes away, each from the seat that carries most. */
static void take_away(GArray *seats, uint32_t count)
{
	for (; count > 0; count--) {
		DnSeat *most = NULL;

		for (guint i = 0; i < seats->len; i++) {
			DnSeat *seat = &g_array_index(seats, DnSeat, i);

			if (seat->running > 0 && (most == NULL || seat->running > most->running))
				most = seat;
		}
		if (most == NULL)
			return;
		most->running--;
		most->room++;
	}
}

/*
 * Where the nodes would be: those that the manifest would make alike stay, as far as their hosts
 * can be asked, and others are placed as if nothing of the service ran yet.
 */
static GPtrArray *plan_placement(const DnFleetCore *core, const DnDeclaration *declaration)
{
	const DnManifest *manifest = declaration->manifest;
	const DnService *service = dn_state_service(core, manifest->service);
	GPtrArray *placement = g_ptr_array_new_with_free_func(free_share);
	DnRelease fresh = {.declaration = (DnDeclaration *)declaration,
			   .shares = g_hash_table_new(g_str_hash, g_str_equal)};
	g_autoptr(GArray) seats = dn_seats_new(core, NULL, &fresh);
	bool stay = service != NULL &&
		    dn_manifest_makes_same_nodes(
			    manifest, dn_service_current(service)->declaration->manifest);
	uint32_t placed = 0;

	g_hash_table_unref(fresh.shares);
	for (guint i = 0; service != NULL && i < seats->len; i++) {
		DnSeat *seat = &g_array_index(seats, DnSeat, i);
		uint32_t standby = 0;

		/* What the service holds there now stays, or will be free again. */
		count_placed(service, seat, &standby);
		seat->room += standby + (stay ? 0 : seat->running);
		seat->running = stay ? seat->running : 0;
		placed += seat->running;
	}
	uint32_t wanted = manifest->removed ? 0 : manifest->replicas;
	if (placed < wanted)
		dn_placement_add((DnSeat *)(void *)seats->data, seats->len, wanted - placed,
				 manifest->spread_host);
	else
		take_away(seats, placed - wanted);
	for (guint i = 0; i < seats->len; i++) {
		const DnSeat *seat = &g_array_index(seats, DnSeat, i);

		if (seat->running > 0)
			g_ptr_array_add(placement,
					dn_share_new(seat->host, seat->running,
						     MIN(manifest->standby, seat->room)));
	}
	return placement;
}

static GPtrArray *current_placement(const DnService *service)
{
	return dn_release_shares(dn_service_current(service));
}

/* What hosts were told to forget has to be said anew. */
static void remember_again(DnFleetCore *core, const char *service)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnHost *host = value;
		DnTold *told = g_hash_table_lookup(host->told, service);

		if (told != NULL && told->forgotten)
			g_hash_table_remove(host->told, service);
	}
}

/*
 * The epoch that was current until now gets no new nodes from here on: agents refuse them. So
 * what a host was not told of yet it is not given any more.
 */
static void drop_untold(DnFleetCore *core, DnService *service)
{
	DnRelease *release = dn_service_current(service);
	g_autoptr(GList) names = dn_state_sorted(release->shares);

	for (GList *at = names; at != NULL; at = at->next) {
		DnHost *host = dn_state_host(core, at->data);
		const DnTold *told =
			host == NULL ? NULL : g_hash_table_lookup(host->told, service->name);

		if (told == NULL || told->sent == NULL) {
			if (host != NULL && dn_host_is_up(host))
				dn_rollout_ask_for_less(service, 0, host);
			continue;
		}
		DnShare *share = g_hash_table_lookup(release->shares, at->data);
		const DnPart *part =
			dn_state_part(told->sent, release->declaration->manifest->digest);
		share->running = MIN(share->running, part == NULL ? 0 : part->running);
		share->standby = MIN(share->standby, part == NULL ? 0 : part->standby);
	}
}

static bool accept(DnFleetCore *core, const DnDeclaration *declaration, DnNow now, DnActs *acts,
		   GError **error)
{
	const DnManifest *manifest = declaration->manifest;
	DnService *service = dn_state_service(core, manifest->service);

	if (service == NULL) {
		g_autofree char *vip = allocate_vip(core, error);

		if (vip == NULL)
			return false;
		service = dn_state_add_service(core, manifest->service, vip);
	} else {
		drop_untold(core, service);
	}
	DnRelease *release = dn_release_new(declaration);
	g_ptr_array_insert(service->releases, 0, release);
	for (guint i = service->releases->len; i-- > 1;) {
		const DnRelease *earlier = g_ptr_array_index(service->releases, i);

		if (dn_service_keeps(service, earlier))
			dn_release_inherit(release, earlier);
	}
	remember_again(core, service->name);
	dn_rollout_begin(service, now);
	dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
	dn_acts_event(acts, now.realtime_ns,
		      manifest->removed ? "service.remove" : "manifest.accepted", "info",
		      "%s: epoch %" G_GUINT64_FORMAT " is %s", manifest->service, manifest->epoch,
		      manifest->removed ? "the last: it is being removed" : "current")
		->service = g_strdup(service->name);
	service->touched = true;
	dn_reconcile(core, now, acts);
	return true;
}

bool dn_fleet_core_apply(DnFleetCore *self, const DnDeclaration *declaration, bool plan, DnNow now,
			 DnActs *acts, bool *changed, GPtrArray **placement, GError **error)
{
	bool same = false;

	dn_reconcile_begin(self, now);
	if (!check(self, declaration->manifest, now, &same, error))
		return false;
	if (placement != NULL)
		*placement = same ? current_placement(
					    dn_state_service(self, declaration->manifest->service))
				  : plan_placement(self, declaration);
	*changed = !same;
	if (same || plan)
		return true;
	if (accept(self, declaration, now, acts, error))
		return true;
	if (placement != NULL)
		g_clear_pointer(placement, g_ptr_array_unref);
	return false;
}
