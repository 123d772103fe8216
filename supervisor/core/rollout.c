/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rollout.h"

#include "core/lifecycle.h"
#include "core/placement.h"

typedef struct {
	uint32_t want, surge;
	uint32_t given_new, given_old; /* asked of hosts */
	uint32_t ready_new, ready_old; /* of those, serving */
} Tally;

static uint32_t ready_of(const DnFleetCore *core, const DnRelease *release)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t ready = 0;

	g_hash_table_iter_init(&iter, release->shares);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnShare *share = value;
		const DnHost *host = dn_state_host(core, share->host);

		/* A node that is about to drain still reports ready: never count above the share.
		 */
		if (host != NULL)
			ready += MIN(share->running,
				     dn_host_ready(host, release->declaration->manifest->digest));
	}
	return ready;
}

static Tally tally_up(const DnFleetCore *core, const DnService *service)
{
	const DnRelease *current = dn_service_current(service);
	const DnManifest *manifest = current->declaration->manifest;
	Tally tally = {
		.want = manifest->replicas,
		.surge = MAX(manifest->roll_surge, 1),
		.given_new = dn_release_running(current),
		.ready_new = ready_of(core, current),
	};

	for (guint i = 1; i < service->releases->len; i++) {
		const DnRelease *old = g_ptr_array_index(service->releases, i);

		tally.given_old += dn_release_running(old);
		tally.ready_old += ready_of(core, old);
	}
	return tally;
}

GArray *dn_rollout_seats(const DnFleetCore *core, const DnService *service,
			 const DnRelease *release)
{
	GArray *seats = g_array_new(FALSE, TRUE, sizeof(DnSeat));
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	const char *digest = release->declaration->manifest->digest;

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		DnSeat seat = {.host = host->name};

		if (host->cordoned || !dn_host_is_up(host) ||
		    GPOINTER_TO_INT(g_hash_table_lookup(host->manifests, digest)) ==
			    DN_HELD_REFUSED)
			continue;
		seat.room = dn_state_room(core, host);
		seat.running = dn_release_running_on(release, host->name);
		for (guint i = 0; service != NULL && i < service->releases->len; i++) {
			const DnRelease *other = g_ptr_array_index(service->releases, i);

			if (other != release)
				seat.weight += dn_release_running_on(other, host->name);
		}
		g_array_append_val(seats, seat);
	}
	return seats;
}

/* Give @count more nodes of the current epoch to hosts; returns how many found room. */
static uint32_t raise_by(const DnFleetCore *core, DnService *service, uint32_t count)
{
	DnRelease *current = dn_service_current(service);
	g_autoptr(GArray) seats = dn_rollout_seats(core, service, current);
	uint32_t placed = dn_placement_add((DnSeat *)(void *)seats->data, seats->len, count);

	for (guint i = 0; i < seats->len; i++) {
		const DnSeat *seat = &g_array_index(seats, DnSeat, i);

		dn_release_share(current, seat->host)->running = seat->running;
	}
	return placed;
}

/*
 * Take one node of an older epoch from a host, rather one that is not ready, rather from the host
 * that carries most. Hosts that do not answer keep theirs: nobody knows what still serves there.
 */
static bool lower_one(const DnFleetCore *core, DnService *service, bool only_unready)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	DnShare *best = NULL;
	bool best_unready = false;
	uint32_t best_load = 0;

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		uint32_t load = 0;

		if (!dn_host_is_up(host))
			continue;
		for (guint i = 0; i < service->releases->len; i++)
			load += dn_release_running_on(g_ptr_array_index(service->releases, i),
						      host->name);
		for (guint i = 1; i < service->releases->len; i++) {
			DnRelease *old = g_ptr_array_index(service->releases, i);
			DnShare *share = g_hash_table_lookup(old->shares, host->name);

			if (share == NULL || share->running == 0)
				continue;
			bool unready = dn_host_ready(host, old->declaration->manifest->digest) <
				       share->running;
			if (only_unready && !unready)
				continue;
			if (best == NULL || (unready && !best_unready) ||
			    (unready == best_unready && load > best_load)) {
				best = share;
				best_unready = unready;
				best_load = load;
			}
		}
	}
	if (best == NULL)
		return false;
	best->running--;
	return true;
}

/* One move of a roll. False when nothing can be done until hosts report something new. */
static bool move(const DnFleetCore *core, DnService *service)
{
	Tally tally = tally_up(core, service);
	uint32_t given = tally.given_new + tally.given_old;
	uint32_t limit = tally.want + tally.surge;

	if (tally.given_new < tally.want && given < limit &&
	    raise_by(core, service, MIN(tally.want - tally.given_new, limit - given)) > 0)
		return true;
	if (tally.given_old == 0)
		return false;
	if (tally.ready_new + tally.ready_old > tally.want)
		return lower_one(core, service, false);
	/* Old nodes that will never be ready again may hold the room that the new ones need. */
	if (tally.ready_new == tally.given_new && given >= limit)
		return lower_one(core, service, true);
	return false;
}

static uint32_t count(const DnHost *host, const char *digest, DnRole role)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t found = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (node->role == role && dn_lifecycle_is_live(node->state) &&
		    node->state != DN_NODE_DRAINING && g_strcmp0(node->digest, digest) == 0)
			found++;
	}
	return found;
}

bool dn_rollout_ask_for_less(DnService *service, guint first, const DnHost *host)
{
	bool changed = false;

	for (guint i = first; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		const char *digest = release->declaration->manifest->digest;
		DnShare *share = g_hash_table_lookup(release->shares, host->name);

		if (share == NULL)
			continue;
		uint32_t running = MIN(share->running, count(host, digest, DN_ROLE_ACTIVE));
		uint32_t standby = MIN(share->standby, count(host, digest, DN_ROLE_STANDBY));
		changed |= running != share->running || standby != share->standby;
		share->running = running;
		share->standby = standby;
	}
	return changed;
}

/*
 * Quarantined nodes keep their slots, so a host may have been given more than it can carry by now.
 * What it has no node for is asked of others; its standbys have made room before.
 */
static bool shed(const DnFleetCore *core, DnService *service)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	bool changed = false;

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		int64_t over = dn_host_is_up(host) ? -dn_state_spare(core, host) : 0;

		for (guint i = service->releases->len; over > 0 && i-- > 0;) {
			const DnRelease *release = g_ptr_array_index(service->releases, i);
			const char *digest = release->declaration->manifest->digest;
			DnShare *share = g_hash_table_lookup(release->shares, host->name);
			uint32_t has = count(host, digest, DN_ROLE_ACTIVE);

			if (share == NULL || share->standby > 0 || share->running <= has)
				continue;
			uint32_t less = (uint32_t)MIN(over, (int64_t)(share->running - has));
			share->running -= less;
			over -= less;
			changed = true;
		}
	}
	return changed;
}

void dn_rollout_begin(DnService *service, DnNow now)
{
	uint32_t given_old = 0;

	for (guint i = 1; i < service->releases->len; i++)
		given_old += dn_release_running(g_ptr_array_index(service->releases, i));
	g_clear_pointer(&service->roll_error, g_free);
	service->rolling = given_old > 0;
	service->roll_best = 0;
	service->roll_progress_ns = now.monotonic_ns;
	service->roll_started_ns = service->rolling ? now.realtime_ns : 0;
	service->told_no_room = false;
}

/* Take back new nodes that did not get ready, as far as replicas stay asked for. */
static void take_back(const DnFleetCore *core, DnService *service, const Tally *tally)
{
	DnRelease *current = dn_service_current(service);
	g_autoptr(GList) names = dn_state_sorted(current->shares);
	uint32_t surplus = tally->given_new + tally->given_old;

	surplus = surplus > tally->want ? surplus - tally->want : 0;
	for (GList *at = names; at != NULL && surplus > 0; at = at->next) {
		DnShare *share = g_hash_table_lookup(current->shares, at->data);
		const DnHost *host = dn_state_host(core, at->data);
		uint32_t ready =
			host == NULL ? 0
				     : dn_host_ready(host, current->declaration->manifest->digest);
		uint32_t unready = share->running > ready ? share->running - ready : 0;
		uint32_t cut = MIN(unready, surplus);

		share->running -= cut;
		surplus -= cut;
	}
}

static void halt(const DnFleetCore *core, DnService *service, const Tally *tally, DnNow now,
		 DnActs *acts)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;

	service->rolling = false;
	service->roll_error = g_strdup_printf("%u of %u nodes of epoch %" G_GUINT64_FORMAT
					      " got ready and none within %u ms; the "
					      "old ones go on serving; see dnode nodes %s and "
					      "dnode logs, then apply the next epoch",
					      tally->ready_new, tally->want, manifest->epoch,
					      manifest->roll_deadline_ms, service->name);
	take_back(core, service, tally);
	dn_acts_event(acts, now.realtime_ns, "roll.stopped", "critical", "%s: %s", service->name,
		      service->roll_error)
		->service = g_strdup(service->name);
}

/* True when the roll's own record changed: it has ended one way or the other. */
static bool judge(const DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;
	Tally tally = tally_up(core, service);

	if (tally.ready_new > service->roll_best) {
		service->roll_best = tally.ready_new;
		service->roll_progress_ns = now.monotonic_ns;
	}
	if (tally.given_old == 0 && tally.ready_new >= tally.want) {
		bool was = service->rolling || service->roll_error != NULL;

		if (service->rolling)
			dn_acts_event(acts, now.realtime_ns, "roll.done", "info",
				      "%s: epoch %" G_GUINT64_FORMAT " serves on all %u nodes",
				      service->name, manifest->epoch, tally.want)
				->service = g_strdup(service->name);
		service->rolling = false;
		g_clear_pointer(&service->roll_error, g_free);
		return was;
	}
	if (service->rolling && now.monotonic_ns > service->roll_progress_ns &&
	    now.monotonic_ns - service->roll_progress_ns >
		    manifest->roll_deadline_ms * UINT64_C(1000000)) {
		halt(core, service, &tally, now, acts);
		return true;
	}
	return false;
}

static bool clear_shares(DnService *service)
{
	bool changed = false;

	for (guint i = 0; i < service->releases->len; i++) {
		DnRelease *release = g_ptr_array_index(service->releases, i);
		g_autoptr(GPtrArray) shares = dn_release_shares(release);

		changed |= shares->len > 0;
		g_hash_table_remove_all(release->shares);
	}
	service->rolling = false;
	g_clear_pointer(&service->roll_error, g_free);
	return changed;
}

/* The oldest epoch that still runs on a host keeps the standbys there. */
static bool share_standbys(const DnFleetCore *core, DnService *service)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	bool changed = false;

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		bool given = false;

		if (!dn_host_is_up(host))
			continue;
		for (guint i = service->releases->len; i-- > 0;) {
			DnRelease *release = g_ptr_array_index(service->releases, i);
			DnShare *share = g_hash_table_lookup(release->shares, host->name);
			uint32_t wanted = 0;

			if (share == NULL)
				continue;
			if (!given && share->running > 0) {
				int64_t room = dn_state_spare(core, host) + share->standby;

				wanted = (uint32_t)CLAMP(
					room, 0, (int64_t)release->declaration->manifest->standby);
				/* Agents take no new nodes of an epoch that is not the last. */
				if (i > 0 || host->cordoned)
					wanted = MIN(wanted, share->standby);
				given = true;
			}
			changed |= wanted != share->standby;
			share->standby = wanted;
		}
	}
	return changed;
}

static bool drop_unused(DnService *service)
{
	bool changed = false;

	for (guint i = service->releases->len; i-- > 1;) {
		g_autoptr(GPtrArray) shares =
			dn_release_shares(g_ptr_array_index(service->releases, i));

		if (shares->len == 0) {
			g_ptr_array_remove_index(service->releases, i);
			changed = true;
		}
	}
	return changed;
}

static void tell_no_room(const DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	Tally tally = tally_up(core, service);

	if (service->rolling || service->roll_error != NULL || tally.given_new >= tally.want) {
		service->told_no_room = false;
		return;
	}
	if (service->told_no_room)
		return;
	service->told_no_room = true;
	dn_acts_event(
		acts, now.realtime_ns, "service.no-room", "warning",
		"%s: only %u of %u nodes found a host with a free slot; enrol a host or lower "
		"replicas",
		service->name, tally.given_new, tally.want)
		->service = g_strdup(service->name);
}

bool dn_rollout_step(DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	bool changed = false;

	if (dn_service_current(service)->declaration->manifest->removed) {
		changed = clear_shares(service);
		return drop_unused(service) || changed;
	}
	changed = shed(core, service);
	if (service->roll_error == NULL)
		while (move(core, service))
			changed = true;
	if (changed)
		service->roll_progress_ns = now.monotonic_ns;
	changed |= judge(core, service, now, acts);
	changed |= share_standbys(core, service);
	changed |= drop_unused(service);
	tell_no_room(core, service, now, acts);
	return changed;
}
