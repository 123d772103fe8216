/* SPDX-License-Identifier: Apache-2.0 */
#include "core/state.h"

#include <string.h>

#include "base/clock.h"
#include "core/lifecycle.h"
#include "core/sweep.h"

static void free_service(gpointer service)
{
	dn_service_free(service);
}

static void free_host(gpointer host)
{
	dn_host_free(host);
}

static void free_token(gpointer token)
{
	dn_token_record_free(token);
}

static void free_incident(gpointer incident)
{
	dn_incident_free(incident);
}

static void free_past(gpointer data)
{
	DnPast *past = data;

	g_free(past->id);
	g_free(past->host);
	g_free(past->node);
	g_free(past);
}

static void free_pending(gpointer data)
{
	DnPending *pending = data;

	g_free(pending->host);
	g_free(pending->subject);
	g_free(pending);
}

static void free_drop(gpointer data)
{
	DnDropWait *drop = data;

	g_free(drop->incident);
	g_free(drop->node);
	g_free(drop->host);
	g_free(drop->service);
	g_free(drop->address);
	g_hash_table_unref(drop->waiting);
	g_free(drop);
}

DnFleetCore *dn_fleet_core_new(const DnCluster *cluster, GError **error)
{
	DnRange nodes, vips;

	if (!dn_range_parse(cluster->node_cidr, &nodes, error)) {
		g_prefix_error(error, "cluster.yaml: node_cidr: ");
		return NULL;
	}
	if (!dn_range_parse(cluster->vip_cidr, &vips, error)) {
		g_prefix_error(error, "cluster.yaml: vip_cidr: ");
		return NULL;
	}
	if (nodes.prefix > 24 || vips.prefix > 30) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_INVALID,
			"cluster.yaml: node_cidr needs at least a /24 (one a host) and vip_cidr "
			"a /30; they are %s and %s",
			cluster->node_cidr, cluster->vip_cidr);
		return NULL;
	}
	if (dn_range_contains(&nodes, vips.base) || dn_range_contains(&vips, nodes.base)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "cluster.yaml: node_cidr %s and vip_cidr %s overlap; choose two ranges",
			    cluster->node_cidr, cluster->vip_cidr);
		return NULL;
	}
	DnFleetCore *self = g_new0(DnFleetCore, 1);
	self->node_range = nodes;
	self->vip_range = vips;
	self->services = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_service);
	self->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_host);
	self->tokens = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_token);
	self->incidents = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_incident);
	self->past = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_past);
	self->pending = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, free_pending);
	self->cut = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					  (GDestroyNotify)g_hash_table_unref);
	self->drops = g_ptr_array_new_with_free_func(free_drop);
	self->sweeps = dn_sweeps_new();
	return self;
}

void dn_fleet_core_free(DnFleetCore *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->services);
	g_hash_table_unref(self->hosts);
	g_hash_table_unref(self->tokens);
	g_hash_table_unref(self->incidents);
	g_hash_table_unref(self->past);
	g_hash_table_unref(self->pending);
	g_hash_table_unref(self->cut);
	g_ptr_array_unref(self->drops);
	g_hash_table_unref(self->sweeps);
	g_free(self);
}

DnHost *dn_state_host(const DnFleetCore *core, const char *name)
{
	return g_hash_table_lookup(core->hosts, name);
}

DnService *dn_state_service(const DnFleetCore *core, const char *name)
{
	return g_hash_table_lookup(core->services, name);
}

DnHost *dn_state_add_host(DnFleetCore *core, const DnHostRecord *record, DnRange range)
{
	DnHost *host = dn_host_new(record, range);

	g_hash_table_insert(core->hosts, host->name, host);
	core->routes_changes++;
	return host;
}

DnService *dn_state_add_service(DnFleetCore *core, const char *name, const char *vip)
{
	DnService *service = dn_service_new(name, vip);

	g_hash_table_insert(core->services, service->name, service);
	return service;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(a, b);
}

GList *dn_state_sorted(GHashTable *table)
{
	return g_list_sort(g_hash_table_get_keys(table), compare_names);
}

const DnPart *dn_state_part(const DnAssign *assign, const char *digest)
{
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		if (g_str_equal(part->digest, digest))
			return part;
	}
	return NULL;
}

DnClaim dn_state_claim(const DnHost *host, const DnNodeRecord *node)
{
	if (host->fenced != NULL)
		return DN_CLAIM_FENCED;
	return node->address == NULL || node->address[0] == '\0' ? DN_CLAIM_BARE
								 : DN_CLAIM_ADDRESSED;
}

DnHost *dn_state_rival(const DnFleetCore *core, const DnHost *but, const char *node,
		       DnNodeRecord **record)
{
	DnHost *best = NULL;
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnHost *host = value;
		DnNodeRecord *known = host == but ? NULL : g_hash_table_lookup(host->nodes, node);

		if (known == NULL ||
		    (best != NULL && dn_state_claim(host, known) <= dn_state_claim(best, *record)))
			continue;
		*record = known;
		best = host;
	}
	return best;
}

DnHost *dn_state_host_of_node(const DnFleetCore *core, const char *node, DnNodeRecord **record)
{
	return dn_state_rival(core, NULL, node, record);
}

bool dn_state_knows_hosts(const DnFleetCore *core, const DnService *service, DnNow now)
{
	if (now.monotonic_ns - core->started_ns > DN_FLEET_LOST_AFTER_S * DN_NS_PER_S)
		return true;
	for (guint i = 0; i < service->releases->len; i++) {
		g_autoptr(GPtrArray) shares =
			dn_release_shares(g_ptr_array_index(service->releases, i));

		for (guint j = 0; j < shares->len; j++) {
			const DnShare *share = g_ptr_array_index(shares, j);
			const DnHost *host = dn_state_host(core, share->host);

			if (host == NULL || !host->reported)
				return false;
		}
	}
	return true;
}

int64_t dn_state_spare(const DnFleetCore *core, const DnHost *host)
{
	GHashTableIter iter;
	gpointer value;
	int64_t taken = 0;

	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnService *service = value;

		for (guint i = 0; i < service->releases->len; i++) {
			const DnRelease *release = g_ptr_array_index(service->releases, i);
			const DnShare *share = g_hash_table_lookup(release->shares, host->name);

			if (share != NULL)
				taken += (int64_t)share->running + share->standby;
		}
	}
	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((const DnNodeRecord *)value)->state == DN_NODE_QUARANTINED)
			taken++;
	return (int64_t)host->slots - taken;
}

uint32_t dn_state_room(const DnFleetCore *core, const DnHost *host)
{
	return (uint32_t)MAX(dn_state_spare(core, host), 0);
}

uint64_t dn_state_tag(DnFleetCore *core)
{
	return ++core->last_tag;
}

uint64_t dn_state_pending(DnFleetCore *core, const char *host, DnOrderKind kind,
			  const char *subject, uint64_t revision)
{
	DnPending *pending = g_new0(DnPending, 1);
	uint64_t tag = dn_state_tag(core);

	pending->host = g_strdup(host);
	pending->kind = kind;
	pending->subject = g_strdup(subject);
	pending->revision = revision;
	g_hash_table_insert(core->pending, g_memdup2(&tag, sizeof(tag)), pending);
	return tag;
}
