/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rollout.h"

#include "base/clock.h"
#include "core/lifecycle.h"
#include "core/placement.h"
#include "core/seats.h"
#include "core/shortage.h"

typedef struct {
	uint32_t want, surge;
	/* Of the current epoch and of those whose nodes stay under it; of the others. */
	uint32_t given_new, given_old; /* asked of hosts */
	uint32_t ready_new, ready_old; /* of those, serving */
} Tally;

static uint32_t ready_of(const DnFleetCore *core, const DnService *service,
			 const DnRelease *release)
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
			ready += MIN(share->running, dn_host_ready(service, release, host));
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
	};

	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		bool stays = dn_service_keeps(service, release);

		*(stays ? &tally.given_new : &tally.given_old) += dn_release_running(release);
		*(stays ? &tally.ready_new : &tally.ready_old) += ready_of(core, service, release);
	}
	return tally;
}

static bool is_expired(const DnService *service, DnNow now)
{
	return dn_release_is_expired(dn_service_current(service), now);
}

/* Give @count more nodes of the current epoch to hosts; returns how many found room. */
static uint32_t raise_by(const DnFleetCore *core, DnService *service, uint32_t count, DnNow now)
{
	DnRelease *current = dn_service_current(service);

	/* No host would take them. */
	if (is_expired(service, now))
		return 0;
	g_autoptr(GArray) before = dn_seats_new(core, service, current);
	g_autoptr(GArray) seats = g_array_copy(before);
	uint32_t placed = dn_placement_add((DnSeat *)(void *)seats->data, seats->len, count,
					   current->declaration->manifest->spread_host);

	for (guint i = 0; i < seats->len; i++) {
		const DnSeat *seat = &g_array_index(seats, DnSeat, i);

		dn_release_share(current, seat->host)->running +=
			seat->running - g_array_index(before, DnSeat, i).running;
	}
	return placed;
}

/* The best share to take a node from, as far as it was looked. */
typedef struct {
	DnShare *share;
	bool unready;
	uint32_t load;
} Victim;

static void consider(const DnService *service, DnRelease *release, const DnHost *host,
		     uint32_t load, bool only_unready, Victim *best)
{
	DnShare *share = g_hash_table_lookup(release->shares, host->name);

	if (share == NULL || share->running == 0)
		return;
	bool unready = dn_host_ready(service, release, host) < share->running;
	if (only_unready && !unready)
		return;
	if (best->share == NULL || (unready && !best->unready) ||
	    (unready == best->unready && load > best->load))
		*best = (Victim){.share = share, .unready = unready, .load = load};
}

/*
 * Take one node from a host, of the epochs that stay or of the others, rather one that is not
 * ready, rather from the host that carries most. Hosts that do not answer keep theirs: nobody knows
 * what still serves there. @for_room: only where a new one may come in its place.
 */
static bool lower_one(const DnFleetCore *core, DnService *service, bool staying, bool only_unready,
		      bool for_room)
{
	const DnRelease *current = dn_service_current(service);
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	Victim best = {0};

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		uint32_t load = 0;

		if (!dn_host_is_up(host) || (for_room && !dn_host_takes(host, current)))
			continue;
		for (guint i = 0; i < service->releases->len; i++)
			load += dn_release_running_on(g_ptr_array_index(service->releases, i),
						      host->name);
		for (guint i = 0; i < service->releases->len; i++) {
			DnRelease *release = g_ptr_array_index(service->releases, i);

			if (dn_service_keeps(service, release) == staying)
				consider(service, release, host, load, only_unready, &best);
		}
	}
	if (best.share == NULL)
		return false;
	best.share->running--;
	return true;
}

/* One move of a roll. False when nothing can be done until hosts report something new. */
static bool move(const DnFleetCore *core, DnService *service, DnNow now)
{
	Tally tally = tally_up(core, service);
	uint32_t given = tally.given_new + tally.given_old;
	uint32_t limit = tally.want + tally.surge;

	if (tally.given_new < tally.want && given < limit &&
	    raise_by(core, service, MIN(tally.want - tally.given_new, limit - given), now) > 0)
		return true;
	bool enough = tally.ready_new + tally.ready_old > tally.want;
	/* Fewer are wanted than there were. */
	if (tally.given_new > tally.want)
		return lower_one(core, service, true, !enough, false);
	if (tally.given_old == 0)
		return false;
	if (enough)
		return lower_one(core, service, false, false, false);
	/*
	 * No more can be added, and those that were are ready: old nodes that will never be ready
	 * again may hold the room that the new ones need, or be all that is left to be done.
	 */
	if (tally.ready_new == tally.given_new &&
	    (tally.given_new >= tally.want || !is_expired(service, now)))
		return lower_one(core, service, false, true,
				 tally.given_new < tally.want && given < limit);
	return false;
}

static uint32_t count(const DnService *service, const DnRelease *release, const DnHost *host,
		      DnRole role)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t found = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (node->role == role && dn_lifecycle_is_live(node->state) &&
		    node->state != DN_NODE_DRAINING &&
		    dn_release_covers(service, release, host->name, node->digest))
			found++;
	}
	return found;
}

bool dn_rollout_ask_for_less(DnService *service, guint first, const DnHost *host)
{
	bool changed = false;

	for (guint i = first; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		DnShare *share = g_hash_table_lookup(release->shares, host->name);

		if (share == NULL)
			continue;
		uint32_t running =
			MIN(share->running, count(service, release, host, DN_ROLE_ACTIVE));
		uint32_t standby =
			MIN(share->standby, count(service, release, host, DN_ROLE_STANDBY));
		changed |= running != share->running || standby != share->standby;
		share->running = running;
		share->standby = standby;
	}
	return changed;
}

/*
 * Quarantined nodes keep their slots, so a host may have been given more than it can carry by now.
 * What it has no node for is asked of others, if any may take it; its standbys have made room
 * before.
 */
static bool shed(const DnFleetCore *core, DnService *service, DnNow now)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	bool changed = false;

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		int64_t over = dn_host_is_up(host) ? -dn_state_spare(core, host) : 0;

		for (guint i = service->releases->len; over > 0 && i-- > 0;) {
			const DnRelease *release = g_ptr_array_index(service->releases, i);
			DnShare *share = g_hash_table_lookup(release->shares, host->name);
			uint32_t has = count(service, release, host, DN_ROLE_ACTIVE);

			if (share == NULL || share->standby > 0 || share->running <= has ||
			    (i == 0 && is_expired(service, now)))
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

	for (guint i = 1; i < service->releases->len; i++) {
		const DnRelease *old = g_ptr_array_index(service->releases, i);

		if (!dn_service_keeps(service, old))
			given_old += dn_release_running(old);
	}
	g_clear_pointer(&service->roll_error, g_free);
	service->rolling = given_old > 0;
	service->roll_best = 0;
	service->roll_progress_ns = now.monotonic_ns;
	service->roll_started_ns = service->rolling ? now.realtime_ns : 0;
	service->told_no_room = service->told_expired = false;
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
		uint32_t ready = host == NULL ? 0 : dn_host_ready(service, current, host);
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

	g_autofree char *until = dn_clock_format(manifest->valid_until_ns);
	g_autofree char *why =
		is_expired(service, now)
			? g_strdup_printf(", since it was valid until %s", until)
			: g_strdup_printf(" within %u ms", manifest->roll_deadline_ms);

	service->rolling = false;
	service->roll_error =
		g_strdup_printf("%u of %u nodes of epoch %" G_GUINT64_FORMAT
				" got ready and none%s; the old ones go on serving; "
				"see dnode nodes %s and dnode logs, then apply the "
				"next epoch",
				tally->ready_new, tally->want, manifest->epoch, why, service->name);
	take_back(core, service, tally);
	dn_acts_event(acts, now.realtime_ns, "roll.stopped", "critical", "%s: %s", service->name,
		      service->roll_error)
		->service = g_strdup(service->name);
}

static bool is_served(const DnFleetCore *core, const DnService *service)
{
	Tally tally = tally_up(core, service);

	return tally.ready_new >= tally.want;
}

/* Are there old nodes on a host that does not answer? */
static bool has_old_elsewhere(const DnFleetCore *core, const DnService *service)
{
	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		g_autoptr(GPtrArray) shares = dn_release_shares(release);

		for (guint j = 0; j < shares->len && !dn_service_keeps(service, release); j++) {
			const DnShare *share = g_ptr_array_index(shares, j);
			const DnHost *host = dn_state_host(core, share->host);

			if (share->running > 0 && host != NULL && !dn_host_is_up(host))
				return true;
		}
	}
	return false;
}

/* True when the roll's own record changed: it has ended one way or the other. */
static bool judge(const DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;
	Tally tally = tally_up(core, service);

	/* What nobody has told of since the start, or a host that is away holds up, is none. */
	if (tally.ready_new > service->roll_best || !dn_state_knows_hosts(core, service, now) ||
	    (tally.ready_new == tally.given_new && tally.given_new > 0 &&
	     has_old_elsewhere(core, service))) {
		service->roll_best = MAX(tally.ready_new, service->roll_best);
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
static bool share_standbys(const DnFleetCore *core, DnService *service, DnNow now)
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
				if (i > 0 || !dn_host_takes(host, release) ||
				    is_expired(service, now))
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

/*
 * What the current manifest would make alike stays: a host that has accepted it has those nodes
 * under it from here on. One that has not, or never will, keeps them under the earlier one.
 */
static bool bring_over(const DnFleetCore *core, DnService *service)
{
	DnRelease *current = dn_service_current(service);
	const char *digest = current->declaration->manifest->digest;
	bool changed = false;

	for (guint i = 1; i < service->releases->len; i++) {
		const DnRelease *earlier = g_ptr_array_index(service->releases, i);
		g_autoptr(GPtrArray) shares = dn_release_shares(earlier);

		if (!dn_service_keeps(service, earlier))
			continue;
		for (guint j = 0; j < shares->len; j++) {
			const DnShare *share = g_ptr_array_index(shares, j);
			const DnHost *host = dn_state_host(core, share->host);

			if (host == NULL || GPOINTER_TO_INT(g_hash_table_lookup(
						    host->manifests, digest)) != DN_HELD_ACCEPTED)
				continue;
			DnShare *mine = dn_release_share(current, share->host);
			mine->running += share->running;
			mine->standby += share->standby;
			g_hash_table_remove(earlier->shares, share->host);
			changed = true;
		}
	}
	return changed;
}

bool dn_rollout_step(DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	bool changed = false;

	if (dn_service_current(service)->declaration->manifest->removed) {
		changed = clear_shares(service);
		return drop_unused(service) || changed;
	}
	changed = bring_over(core, service);
	changed |= shed(core, service, now);
	/* One that has stopped goes on when its nodes are ready after all. */
	if (service->roll_error == NULL || is_served(core, service))
		while (move(core, service, now))
			changed = true;
	if (changed)
		service->roll_progress_ns = now.monotonic_ns;
	changed |= judge(core, service, now, acts);
	changed |= share_standbys(core, service, now);
	changed |= drop_unused(service);
	Tally tally = tally_up(core, service);
	dn_shortage_tell(core, service, tally.given_new, now, acts);
	return changed;
}
