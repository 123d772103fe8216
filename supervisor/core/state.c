/* SPDX-License-Identifier: Apache-2.0 */
#include "core/state.h"

#include <string.h>

#include "core/lifecycle.h"
#include "core/sweep.h"

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

static void free_service(gpointer data)
{
	DnService *service = data;

	g_free(service->name);
	g_free(service->vip);
	g_free(service->roll_error);
	dn_budget_clear(&service->drills);
	g_ptr_array_unref(service->releases);
	g_free(service);
}

static void free_told(gpointer data)
{
	DnTold *told = data;

	dn_assign_free(told->sent);
	g_free(told);
}

static void free_node(gpointer node)
{
	dn_node_record_free(node);
}

static void free_host(gpointer data)
{
	DnHost *host = data;

	g_free(host->name);
	g_free(host->cidr);
	g_free(host->address);
	g_free(host->version);
	g_free(host->kernel);
	g_free(host->routes_sent);
	g_free(host->suspect);
	g_free(host->spool);
	g_hash_table_unref(host->capabilities);
	g_hash_table_unref(host->epochs);
	g_hash_table_unref(host->nodes);
	g_hash_table_unref(host->told);
	g_hash_table_unref(host->manifests);
	g_hash_table_unref(host->complaints);
	g_free(host);
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

static void free_stamp(gpointer data)
{
	DnStampWait *stamp = data;

	g_free(stamp->incident);
	g_free(stamp->host);
	g_free(stamp->service);
	g_free(stamp->address);
	g_hash_table_unref(stamp->waiting);
	g_free(stamp);
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
	self->cut = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->stamps = g_ptr_array_new_with_free_func(free_stamp);
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
	g_ptr_array_unref(self->stamps);
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
	DnHost *host = g_new0(DnHost, 1);

	host->name = g_strdup(record->name);
	memcpy(host->key, record->key, sizeof(host->key));
	host->cidr = g_strdup(record->cidr);
	host->address = g_strdup(record->address);
	host->cordoned = record->cordoned;
	host->suspect = g_strdup(record->suspect);
	host->spool = g_strdup(record->spool);
	host->stored = record->stored;
	host->range = range;
	host->capabilities = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	host->epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	host->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_node);
	host->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_told);
	host->manifests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	host->complaints = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_hash_table_insert(core->hosts, host->name, host);
	return host;
}

DnService *dn_state_add_service(DnFleetCore *core, const char *name, const char *vip)
{
	DnService *service = g_new0(DnService, 1);

	service->name = g_strdup(name);
	service->vip = g_strdup(vip);
	service->releases = g_ptr_array_new_with_free_func(free_release);
	service->shown_state = -1;
	dn_budget_init(&service->drills);
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

void dn_host_forget_told(DnHost *host)
{
	g_hash_table_remove_all(host->told);
	g_hash_table_remove_all(host->manifests);
	host->asked_bytes = 0;
	host->asked_waits = false;
	g_clear_pointer(&host->routes_sent, g_free);
}

DnTold *dn_host_told(DnHost *host, const char *service)
{
	DnTold *told = g_hash_table_lookup(host->told, service);

	if (told == NULL) {
		told = g_new0(DnTold, 1);
		g_hash_table_insert(host->told, g_strdup(service), told);
	}
	return told;
}

bool dn_node_serves(const DnNodeRecord *node)
{
	return node->state == DN_NODE_READY && node->healthy;
}

bool dn_host_is_outside(const DnHost *host, const DnService *service)
{
	const char *digest = dn_service_current(service)->declaration->manifest->digest;

	return host->reported && !g_hash_table_contains(host->epochs, service->name) &&
	       GPOINTER_TO_INT(g_hash_table_lookup(host->manifests, digest)) == DN_HELD_REFUSED;
}

bool dn_host_takes_new(const DnHost *host)
{
	return !host->cordoned && host->suspect == NULL;
}

uint32_t dn_host_ready(const DnService *service, const DnRelease *release, const DnHost *host)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t count = 0;

	if (host->lost || !host->reported)
		return 0;
	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		/* One that is isolated serves too, for want of a better one. */
		if (dn_node_serves(node) && node->incident == NULL &&
		    dn_release_covers(service, release, host->name, node->digest))
			count++;
	}
	return count;
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

bool dn_host_has_digest(const DnHost *host, const char *digest)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (g_strcmp0(((const DnNodeRecord *)value)->digest, digest) == 0)
			return true;
	return false;
}

DnHost *dn_state_host_of_node(const DnFleetCore *core, const char *node, DnNodeRecord **record)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnHost *host = value;
		DnNodeRecord *known = g_hash_table_lookup(host->nodes, node);

		if (known != NULL) {
			*record = known;
			return host;
		}
	}
	return NULL;
}

bool dn_host_is_up(const DnHost *host)
{
	return host->connected && host->reported && !host->lost;
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
