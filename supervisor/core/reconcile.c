/* SPDX-License-Identifier: Apache-2.0 */
#include "core/reconcile.h"

#include <string.h>

#include "base/clock.h"
#include "core/grants.h"
#include "core/response.h"
#include "core/rollout.h"
#include "core/view.h"

enum {
	ENDPOINTS_PER_NODE = 2, /* a share may show twice its nodes while they change over */
	ASKED_BYTES = 1024 * 1024,
};

/* A ready node's port, and whose it is. */
typedef struct {
	const char *host; /* borrowed */
	DnRemoteEndpoint *endpoint;
} Serving;

static void clear_serving(gpointer data)
{
	dn_remote_endpoint_free(((Serving *)data)->endpoint);
}

static gint compare_serving(gconstpointer a, gconstpointer b)
{
	const DnRemoteEndpoint *x = ((const Serving *)a)->endpoint;
	const DnRemoteEndpoint *y = ((const Serving *)b)->endpoint;

	if (x->expose.protocol != y->expose.protocol)
		return x->expose.protocol < y->expose.protocol ? -1 : 1;
	if (x->expose.port != y->expose.port)
		return x->expose.port < y->expose.port ? -1 : 1;
	return strcmp(x->address, y->address);
}

static void add_ports(GArray *serving, const DnHost *host, const DnNodeRecord *node,
		      const DnManifest *manifest)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);
		Serving one = {.host = host->name};

		one.endpoint = dn_remote_endpoint_new(
			(DnExposed){.port = listen->expose, .protocol = listen->protocol},
			node->address, listen->port);
		g_array_append_val(serving, one);
	}
}

/*
 * A host is believed only for epochs it was given a share of: otherwise it could draw another
 * service's traffic. One that is merely out of touch keeps its place, since its nodes serve on.
 */
static void add_host(const DnFleetCore *core, const DnService *service, const DnHost *host,
		     GArray *serving)
{
	g_autoptr(GList) ids = dn_state_sorted(host->nodes);

	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(release->shares, host->name);
		uint32_t left =
			share == NULL ? 0 : (share->running + share->standby) * ENDPOINTS_PER_NODE;

		if (share == NULL || share->running == 0)
			continue;
		for (GList *at = ids; at != NULL && left > 0; at = at->next) {
			const DnNodeRecord *node = g_hash_table_lookup(host->nodes, at->data);

			if (!dn_node_serves(node) || node->address == NULL ||
			    g_strcmp0(node->service, service->name) != 0 ||
			    !dn_release_covers(service, release, host->name, node->digest) ||
			    dn_response_is_cut(core, node))
				continue;
			add_ports(serving, host, node, release->declaration->manifest);
			left--;
		}
	}
}

static GArray *collect_serving(const DnFleetCore *core, const DnService *service)
{
	GArray *serving = g_array_new(FALSE, TRUE, sizeof(Serving));
	GHashTableIter iter;
	gpointer value;

	g_array_set_clear_func(serving, clear_serving);
	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		add_host(core, service, value, serving);
	g_array_sort(serving, compare_serving);
	return serving;
}

/* What all hosts are told of a service, each its part of it. */
typedef struct {
	GArray *serving;    /* of Serving */
	GHashTable *grants; /* char * host → replacements that it may make */
} Outline;

static void expose(DnAssign *assign, const DnManifest *manifest)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);
		DnExposed exposed = {.port = listen->expose, .protocol = listen->protocol};
		bool known = false;

		for (guint k = 0; k < assign->exposed->len; k++)
			known = known ||
				dn_exposed_equal(&g_array_index(assign->exposed, DnExposed, k),
						 &exposed);
		if (!known && assign->exposed->len < DN_ASSIGN_PORTS)
			g_array_append_val(assign->exposed, exposed);
	}
}

static DnAssign *make_assign(const DnService *service, const DnHost *host, const Outline *outline)
{
	DnAssign *assign = dn_assign_new(service->name, service->vip);

	/* The current one's first; nodes of those before serve until they have left. */
	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);

		expose(assign, release->declaration->manifest);
	}
	/* Oldest first, which agents rely on when they hold replacements back. */
	for (guint i = service->releases->len; i-- > 0;) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(release->shares, host->name);
		const DnManifest *manifest = release->declaration->manifest;

		if (share != NULL && (share->running > 0 || share->standby > 0))
			g_ptr_array_add(assign->parts,
					dn_part_new(manifest->digest, manifest->epoch,
						    share->running, share->standby));
	}
	for (guint i = 0; i < outline->serving->len; i++) {
		const Serving *one = &g_array_index(outline->serving, Serving, i);

		if (!g_str_equal(one->host, host->name))
			g_ptr_array_add(assign->endpoints,
					dn_remote_endpoint_new(one->endpoint->expose,
							       one->endpoint->address,
							       one->endpoint->port));
	}
	assign->respawn_grant = GPOINTER_TO_UINT(g_hash_table_lookup(outline->grants, host->name));
	return assign;
}

/* A link holds 4 MiB that are unsent: a host is not sent more manifests at once than it takes. */
static bool may_ask(DnHost *host, const DnDeclaration *declaration)
{
	uint64_t bytes = host->asked_bytes + g_bytes_get_size(declaration->bytes);

	if (host->asked_bytes > 0 && bytes > ASKED_BYTES) {
		host->asked_waits = true;
		return false;
	}
	host->asked_bytes = bytes;
	return true;
}

void dn_reconcile_manifest_answered(DnFleetCore *core, DnHost *host, uint64_t bytes)
{
	host->asked_bytes -= MIN(bytes, host->asked_bytes);
	if (!host->asked_waits || host->asked_bytes > ASKED_BYTES / 2)
		return;
	host->asked_waits = false;
	dn_reconcile_touch_all(core);
}

/*
 * Give @host the manifest of @release once a link. A host that holds a later epoch has had this
 * one before, or must never have it; one that runs nodes of it has it, even past its valid_until.
 * Returns whether the host's answer is still awaited.
 */
static bool give_manifest(DnFleetCore *core, DnHost *host, const DnRelease *release, DnNow now,
			  DnActs *acts)
{
	const DnDeclaration *declaration = release->declaration;
	const char *digest = declaration->manifest->digest;
	const uint64_t *again_ns = g_hash_table_lookup(host->failed, digest);

	if (again_ns != NULL && now.monotonic_ns >= *again_ns) {
		g_hash_table_remove(host->failed, digest);
		g_hash_table_remove(host->manifests, digest);
	}
	int held = GPOINTER_TO_INT(g_hash_table_lookup(host->manifests, digest));
	const uint64_t *epoch = g_hash_table_lookup(host->epochs, declaration->manifest->service);

	if (held != 0)
		return held == DN_HELD_ASKED;
	if (epoch != NULL &&
	    (*epoch > declaration->manifest->epoch ||
	     (*epoch == declaration->manifest->epoch && dn_host_has_digest(host, digest)))) {
		g_hash_table_insert(host->manifests, g_strdup(digest),
				    GINT_TO_POINTER(DN_HELD_ACCEPTED));
		return false;
	}
	if (!may_ask(host, declaration))
		return true;
	DnOrder *order = dn_order_new(DN_ORDER_MANIFEST);
	order->manifest = g_bytes_ref(declaration->bytes);
	for (guint i = 0; i < declaration->signatures->len; i++)
		g_ptr_array_add(order->signatures,
				g_bytes_ref(g_ptr_array_index(declaration->signatures, i)));
	dn_acts_dispatch(acts, host->name, order,
			 dn_state_pending(core, host->name, DN_ORDER_MANIFEST, digest,
					  g_bytes_get_size(declaration->bytes)),
			 true);
	g_hash_table_insert(host->manifests, g_strdup(digest), GINT_TO_POINTER(DN_HELD_ASKED));
	return true;
}

static bool give_manifests(DnFleetCore *core, DnService *service, DnHost *host, DnNow now,
			   DnActs *acts)
{
	bool awaited = false;

	/* Oldest first: an agent takes epochs in growing order only. */
	for (guint i = service->releases->len; i-- > 0;) {
		DnRelease *release = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(release->shares, host->name);

		if (i == 0 || (share != NULL && (share->running > 0 || share->standby > 0)))
			awaited |= give_manifest(core, host, release, now, acts);
	}
	return awaited;
}

static bool has_nodes(const DnHost *host, const char *service)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (g_strcmp0(((const DnNodeRecord *)value)->service, service) == 0)
			return true;
	return false;
}

/* A removed service is forgotten by a host that has emptied it, quarantined nodes included. */
static bool forget(DnFleetCore *core, DnService *service, DnHost *host, DnTold *told, DnActs *acts)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;

	/* A host that has not taken the removal has nothing to forget it by. */
	if (GPOINTER_TO_INT(g_hash_table_lookup(host->manifests, manifest->digest)) !=
	    DN_HELD_ACCEPTED)
		return false;
	/* First an assignment without endpoints: the last nodes of others wait for its answer. */
	if (!manifest->removed || has_nodes(host, service->name) || told->sent == NULL ||
	    told->sent->endpoints->len > 0 || told->acked < told->revision)
		return false;
	DnOrder *order = dn_order_new(DN_ORDER_FORGET);
	order->service = g_strdup(service->name);
	dn_acts_dispatch(acts, host->name, order,
			 dn_state_pending(core, host->name, DN_ORDER_FORGET, service->name, 0),
			 true);
	told->forgotten = true;
	return true;
}

static void tell_host(DnFleetCore *core, DnService *service, DnHost *host, const Outline *outline,
		      DnNow now, DnActs *acts)
{
	DnTold *told = dn_host_told(host, service->name);

	if (told->forgotten || now.monotonic_ns < told->retry_ns ||
	    give_manifests(core, service, host, now, acts) || dn_host_is_outside(host, service) ||
	    forget(core, service, host, told, acts))
		return;
	g_autoptr(DnAssign) assign = make_assign(service, host, outline);
	if (told->sent != NULL && dn_assign_equal(told->sent, assign))
		return;
	DnOrder *order = dn_order_new(DN_ORDER_ASSIGN);
	bool after_store = told->sent == NULL || !dn_assign_only_balances(told->sent, assign);

	told->revision = ++core->last_revision;
	order->assign = dn_assign_copy(assign);
	dn_acts_dispatch(
		acts, host->name, order,
		dn_state_pending(core, host->name, DN_ORDER_ASSIGN, service->name, told->revision),
		after_store);
	dn_assign_free(told->sent);
	told->sent = g_steal_pointer(&assign);
}

static void tell_routes(DnFleetCore *core, DnHost *host, DnNow now, DnActs *acts)
{
	if (now.monotonic_ns < host->routes_retry_ns ||
	    (host->routes_sent != NULL && host->routes_seen == core->routes_changes))
		return;
	host->routes_seen = core->routes_changes;
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	g_autoptr(GString) said = g_string_new(NULL);
	DnOrder *order = dn_order_new(DN_ORDER_ROUTES);

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *other = dn_state_host(core, at->data);

		if (other == host || other->address == NULL || other->fenced != NULL)
			continue;
		g_ptr_array_add(order->routes, dn_route_new(other->cidr, other->address));
		g_string_append_printf(said, "%s %s\n", other->cidr, other->address);
	}
	if (g_strcmp0(host->routes_sent, said->str) == 0) {
		dn_order_free(order);
		return;
	}
	g_free(host->routes_sent);
	host->routes_sent = g_strdup(said->str);
	dn_acts_dispatch(
		acts, host->name, order,
		dn_state_pending(core, host->name, DN_ORDER_ROUTES, "", ++host->routes_revision),
		true);
}

/* People are told when a service's state changes, not while a supervisor has just come up. */
static void tell_people(const DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(core, service->name);
	const char *name = dn_service_state_name(view->state);
	g_autofree char *kind = g_strdup_printf("service.%s", name);
	DnEvent *event = NULL;

	if (service->shown_state == (int)view->state || !dn_state_knows_hosts(core, service, now))
		return;
	service->shown_state = (int)view->state;
	if (view->current->manifest->removed)
		event = dn_acts_event(acts, now.realtime_ns, kind, "info", "%s is %s",
				      service->name, name);
	else
		event = dn_acts_event(acts, now.realtime_ns, kind,
				      view->state == DN_SERVICE_DEGRADED ? "warning" : "info",
				      "%s is %s: %u nodes ready, %u wanted", service->name, name,
				      view->ready, view->current->manifest->replicas);
	event->service = g_strdup(service->name);
}

static void reconcile_service(DnFleetCore *core, DnService *service, DnNow now, DnActs *acts)
{
	if (dn_rollout_step(core, service, now, acts))
		dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
	g_autoptr(GArray) serving = collect_serving(core, service);
	g_autoptr(GHashTable) grants = dn_grants_new(core, service, now);
	const Outline outline = {.serving = serving, .grants = grants};
	g_autoptr(GList) hosts = dn_state_sorted(core->hosts);
	for (GList *at = hosts; at != NULL; at = at->next) {
		DnHost *host = dn_state_host(core, at->data);

		/* A link that is silent but open may still carry an order that takes traffic away.
		 */
		if (host->connected && host->reported)
			tell_host(core, service, host, &outline, now, acts);
	}
	tell_people(core, service, now, acts);
}

void dn_reconcile_begin(DnFleetCore *core, DnNow now)
{
	GHashTableIter iter;
	gpointer value;

	if (core->started_ns != 0)
		return;
	core->started_ns = now.monotonic_ns;
	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		((DnService *)value)->roll_progress_ns = now.monotonic_ns;
	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		((DnHost *)value)->seen_ns = now.monotonic_ns;
}

void dn_reconcile_touch_all(DnFleetCore *core)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		((DnService *)value)->touched = true;
}

void dn_reconcile(DnFleetCore *core, DnNow now, DnActs *acts)
{
	g_autoptr(GList) hosts = dn_state_sorted(core->hosts);
	g_autoptr(GList) services = dn_state_sorted(core->services);

	for (GList *at = hosts; at != NULL; at = at->next) {
		DnHost *host = dn_state_host(core, at->data);

		if (host->connected && host->reported)
			tell_routes(core, host, now, acts);
	}
	for (GList *at = services; at != NULL; at = at->next) {
		DnService *service = dn_state_service(core, at->data);

		if (service->touched || dn_grants_are_due(service, now))
			reconcile_service(core, service, now, acts);
		service->touched = false;
	}
	dn_response_step(core, acts);
}
