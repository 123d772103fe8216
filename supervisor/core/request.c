/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask for: manifests, and orders about one node. */

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/lifecycle.h"
#include "core/placement.h"
#include "core/reconcile.h"
#include "core/response.h"
#include "core/rollout.h"
#include "core/view.h"

enum { LOG_LINES_LIMIT = 10000, REASON_LIMIT = 512, RELEASES_LIMIT = 8 };

/* ---- manifests ---- */

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
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
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

static bool check(const DnFleetCore *core, const DnManifest *manifest, DnNow now, bool *same,
		  GError **error)
{
	const DnService *service = dn_state_service(core, manifest->service);

	if (!check_epoch(service, manifest, same, error))
		return false;
	if (*same)
		return true;
	if (manifest->valid_until_ns != 0 && manifest->valid_until_ns <= now.realtime_ns) {
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
	if (service != NULL && service->releases->len >= RELEASES_LIMIT) {
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

/* Where the nodes would be if nothing of the service ran yet. */
static GPtrArray *plan_placement(const DnFleetCore *core, const DnDeclaration *declaration)
{
	const DnManifest *manifest = declaration->manifest;
	const DnService *service = dn_state_service(core, manifest->service);
	GPtrArray *placement = g_ptr_array_new_with_free_func(free_share);
	DnRelease fresh = {.declaration = (DnDeclaration *)declaration,
			   .shares = g_hash_table_new(g_str_hash, g_str_equal)};
	g_autoptr(GArray) seats = dn_rollout_seats(core, NULL, &fresh);

	g_hash_table_unref(fresh.shares);
	for (guint i = 0; i < seats->len; i++) {
		DnSeat *seat = &g_array_index(seats, DnSeat, i);

		/* What the service holds there now will be free again. */
		for (guint j = 0; service != NULL && j < service->releases->len; j++) {
			const DnRelease *release = g_ptr_array_index(service->releases, j);
			const DnShare *share = g_hash_table_lookup(release->shares, seat->host);

			seat->room += share == NULL ? 0 : share->running + share->standby;
		}
	}
	if (!manifest->removed)
		dn_placement_add((DnSeat *)(void *)seats->data, seats->len, manifest->replicas);
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
	g_ptr_array_insert(service->releases, 0, dn_release_new(declaration));
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

/* ---- orders about one node ---- */

static DnHost *find_node(const DnFleetCore *core, const char *node, DnNodeRecord **record,
			 GError **error)
{
	DnHost *host = dn_state_host_of_node(core, node, record);

	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no node is named %.64s; see dnode nodes", node);
		return NULL;
	}
	if (!host->connected) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%s is on %s, which is not connected; try again, or use dnode --agent "
			    "on that host",
			    node, host->name);
		return NULL;
	}
	return host;
}

static void send(DnFleetCore *core, const DnHost *host, DnOrder *order, DnActs *acts, uint64_t *tag)
{
	*tag = dn_state_tag(core);
	dn_acts_dispatch(acts, host->name, order, *tag, false);
}

bool dn_fleet_core_quarantine(DnFleetCore *self, const char *node, const char *reason, DnActs *acts,
			      uint64_t *tag, GError **error)
{
	DnNodeRecord *record = NULL;
	const DnHost *host = find_node(self, node, &record, error);

	if (host == NULL)
		return false;
	if (!dn_lifecycle_is_live(record->state) || dn_response_is_cut(self, node)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "%s is %s already", node,
			    dn_response_is_cut(self, node) ? "quarantined"
							   : dn_node_state_name(record->state));
		return false;
	}
	DnOrder *order = dn_order_new(DN_ORDER_QUARANTINE);
	order->node = g_strdup(node);
	order->reason = dn_text_printable(reason, strnlen(reason, REASON_LIMIT));
	send(self, host, order, acts, tag);
	return true;
}

static uint32_t standbys_on(const DnHost *host, const char *service)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t count = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (g_str_equal(node->service, service) &&
		    (node->state == DN_NODE_STANDBY || node->state == DN_NODE_CREATED))
			count++;
	}
	return count;
}

/* A ready node, rather on a host where a standby waits. */
static const DnNodeRecord *choose(const DnFleetCore *core, const char *service, uint32_t *ready)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	const DnNodeRecord *best = NULL;
	uint32_t best_standbys = 0;

	*ready = 0;
	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		g_autoptr(GList) ids = dn_state_sorted(host->nodes);
		uint32_t standbys = standbys_on(host, service);

		for (GList *id = ids; id != NULL && dn_host_is_up(host); id = id->next) {
			const DnNodeRecord *node = g_hash_table_lookup(host->nodes, id->data);

			if (!g_str_equal(node->service, service) || !dn_node_serves(node) ||
			    dn_response_is_cut(core, node->id))
				continue;
			(*ready)++;
			if (best == NULL || standbys > best_standbys) {
				best = node;
				best_standbys = standbys;
			}
		}
	}
	return best;
}

bool dn_fleet_core_drill(DnFleetCore *self, const char *class, const char *service, DnNow now,
			 DnActs *acts, uint64_t *tag, char **node, GError **error)
{
	DnService *known = dn_state_service(self, service);
	uint32_t ready = 0;

	if (!g_str_equal(class, "exec")) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "there is no drill \"%.64s\"; see dnode drill --list", class);
		return false;
	}
	if (known == NULL || dn_service_current(known)->declaration->manifest->removed) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no service is named %.64s; see dnode services", service);
		return false;
	}
	const DnManifest *manifest = dn_service_current(known)->declaration->manifest;
	uint32_t replicas = manifest->replicas;
	const DnNodeRecord *chosen = choose(self, service, &ready);
	if (chosen == NULL || ready + 1 < replicas) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s: %u of %u nodes are ready; a drill needs %u, try again when the "
			    "service has recovered",
			    service, ready, replicas, MAX(replicas, 2) - 1);
		return false;
	}
	if (!dn_budget_allows_drill(&known->drills, manifest, now.monotonic_ns, error))
		return false;
	dn_budget_spend_drill(&known->drills, manifest, now.monotonic_ns);
	dn_acts_record(acts, DN_RECORD_SERVICE, known->name);
	DnOrder *order = dn_order_new(DN_ORDER_DRILL);
	order->node = g_strdup(chosen->id);
	order->class = g_strdup(class);
	*node = g_strdup(chosen->id);
	/* Stored first: a crash must not give the drill back. */
	*tag = dn_state_tag(self);
	dn_acts_dispatch(acts, chosen->host, order, *tag, true);
	return true;
}

bool dn_fleet_core_destroy(DnFleetCore *self, const char *id, GBytes *statement,
			   GPtrArray *signatures, DnActs *acts, uint64_t *tag, GError **error)
{
	const DnIncident *incident = g_hash_table_lookup(self->incidents, id);
	const DnHost *host = incident == NULL ? NULL : dn_state_host(self, incident->host);

	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no incident has the id %.64s; see dnode incidents", id);
		return false;
	}
	if (incident->state == DN_INCIDENT_DESTROYED) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "incident %s is destroyed already",
			    id);
		return false;
	}
	if (!host->connected) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the evidence of %s is on %s, which is not connected; try again", id,
			    host->name);
		return false;
	}
	DnOrder *order = dn_order_new(DN_ORDER_DESTROY);
	order->incident = g_strdup(id);
	order->statement = g_bytes_ref(statement);
	for (guint i = 0; i < signatures->len; i++)
		g_ptr_array_add(order->signatures, g_bytes_ref(g_ptr_array_index(signatures, i)));
	send(self, host, order, acts, tag);
	return true;
}

bool dn_fleet_core_logs(DnFleetCore *self, const char *node, uint32_t lines, uint64_t offset,
			DnActs *acts, uint64_t *tag, GError **error)
{
	DnNodeRecord *record = NULL;
	const DnHost *host = find_node(self, node, &record, error);

	if (host == NULL)
		return false;
	DnOrder *order = dn_order_new(DN_ORDER_LOGS);
	order->node = g_strdup(node);
	order->lines = MIN(lines, LOG_LINES_LIMIT);
	order->offset = offset;
	send(self, host, order, acts, tag);
	return true;
}
