/* SPDX-License-Identifier: Apache-2.0 */
#include "core/view.h"

#include <string.h>

#include "core/response.h"
#include "core/seats.h"
#include "core/state.h"

enum { WHY_LONGEST = 300 }; /* bytes; after that no further host is named */

static const char *const service_names[] = {
	[DN_SERVICE_RUNNING] = "running",   [DN_SERVICE_ROLLING] = "rolling",
	[DN_SERVICE_DEGRADED] = "degraded", [DN_SERVICE_REMOVING] = "removing",
	[DN_SERVICE_REMOVED] = "removed",
};
_Static_assert(G_N_ELEMENTS(service_names) == DN_SERVICE_N_STATES, "every state needs a name");

static const char *const host_names[] = {
	[DN_HOST_NEW] = "new",         [DN_HOST_UP] = "up",         [DN_HOST_LOST] = "lost",
	[DN_HOST_SUSPECT] = "suspect", [DN_HOST_FENCED] = "fenced",
};
_Static_assert(G_N_ELEMENTS(host_names) == DN_HOST_N_STATES, "every state needs a name");

const char *dn_service_state_name(DnServiceState state)
{
	g_assert(state < DN_SERVICE_N_STATES);
	return service_names[state];
}

const char *dn_host_state_name(DnHostState state)
{
	g_assert(state < DN_HOST_N_STATES);
	return host_names[state];
}

void dn_service_view_free(DnServiceView *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->vip);
	g_free(self->roll_error);
	g_free(self->why);
	dn_declaration_free(self->current);
	g_free(self);
}

void dn_host_view_free(DnHostView *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->cidr);
	g_free(self->address);
	g_free(self->suspect);
	g_free(self->fenced);
	g_free(self->version);
	g_free(self->kernel);
	g_clear_pointer(&self->capabilities, g_hash_table_unref);
	g_free(self);
}

static void free_service_view(gpointer view)
{
	dn_service_view_free(view);
}

static void free_host_view(gpointer view)
{
	dn_host_view_free(view);
}

static void free_node(gpointer node)
{
	dn_node_record_free(node);
}

static void free_incident(gpointer incident)
{
	dn_incident_free(incident);
}

typedef struct {
	uint32_t ready, ready_current, standby, left;
} Count;

static void count_node(const DnNodeRecord *node, bool is_current, Count *count)
{
	switch (node->state) {
	case DN_NODE_READY:
		count->left++;
		/* What is isolated serves, and is no node that anybody wants. */
		if (node->incident != NULL)
			break;
		count->ready += node->healthy ? 1 : 0;
		count->ready_current += node->healthy && is_current ? 1 : 0;
		break;
	case DN_NODE_STANDBY:
	case DN_NODE_CREATED:
		count->left++;
		count->standby++;
		break;
	case DN_NODE_CREATING:
	case DN_NODE_STARTING:
	case DN_NODE_DRAINING:
	case DN_NODE_STOPPING:
		count->left++;
		break;
	case DN_NODE_STOPPED:
	case DN_NODE_QUARANTINED:
	case DN_NODE_DESTROYED:
	case DN_NODE_FAILED:
	case DN_NODE_LOST:
	case DN_NODE_N_STATES:
		break;
	}
}

static void count_host(const DnFleetCore *core, const DnService *service, const DnHost *host,
		       Count *count)
{
	const DnRelease *current = dn_service_current(service);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (g_strcmp0(node->service, service->name) == 0 && !dn_response_is_cut(core, node))
			count_node(node,
				   dn_release_covers(service, current, host->name, node->digest),
				   count);
	}
}

static Count count_nodes(const DnFleetCore *core, const DnService *service)
{
	GHashTableIter hosts;
	gpointer host;
	Count count = {0};

	g_hash_table_iter_init(&hosts, core->hosts);
	while (g_hash_table_iter_next(&hosts, NULL, &host)) {
		Count here = {0};

		count_host(core, service, host, &here);
		/* Out of touch, it serves on all the same; only nobody can say that it is ready. */
		count.left += here.left;
		if (((const DnHost *)host)->lost)
			continue;
		count.ready += here.ready;
		count.ready_current += here.ready_current;
		count.standby += here.standby;
	}
	return count;
}

static DnServiceState state_of(const DnFleetCore *core, const DnService *service,
			       const Count *count)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;

	/* Nodes outlive a supervisor: what a host has not told of yet may well be there. */
	if (manifest->removed)
		return count->left > 0 || dn_fleet_core_silent_host(core) != NULL
			       ? DN_SERVICE_REMOVING
			       : DN_SERVICE_REMOVED;
	if (service->rolling)
		return DN_SERVICE_ROLLING;
	if (service->roll_error != NULL || count->ready < manifest->replicas)
		return DN_SERVICE_DEGRADED;
	return DN_SERVICE_RUNNING;
}

static unsigned count_quarantined(const DnHost *host)
{
	GHashTableIter iter;
	gpointer node;
	unsigned count = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &node))
		count += ((const DnNodeRecord *)node)->state == DN_NODE_QUARANTINED ? 1 : 0;
	return count;
}

static unsigned count_isolated(const DnHost *host, const char *service)
{
	GHashTableIter iter;
	gpointer value;
	unsigned count = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		count += node->state == DN_NODE_READY && node->incident != NULL &&
			 g_strcmp0(node->service, service) == 0;
	}
	return count;
}

/* "h1 has 1 of 2 ready; it holds 4 quarantined nodes" for hosts that owe nodes of @service. */
static void explain_host(const DnHost *host, const DnService *service, GString *text)
{
	unsigned wanted = 0, ready = 0, quarantined = count_quarantined(host);
	unsigned isolated = count_isolated(host, service->name);

	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);

		wanted += dn_release_running_on(release, host->name);
		ready += dn_host_ready(service, release, host);
	}
	if (ready >= wanted)
		return;
	g_string_append_printf(text, "%s%s has %u of %u ready", text->len > 0 ? "; " : "",
			       host->name, ready, wanted);
	if (host->lost)
		g_string_append(text, " and does not answer");
	if (isolated > 0)
		g_string_append_printf(text, " and serves from %u isolated", isolated);
	if (quarantined > 0)
		g_string_append_printf(text, " and holds %u quarantined", quarantined);
}

/* Why fewer nodes are ready than wanted: those without a host first, then host by host. */
static char *explain(const DnFleetCore *core, const DnService *service)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	GString *text = g_string_new(NULL);
	uint32_t placed = 0;

	for (guint i = 0; i < service->releases->len; i++)
		placed += dn_release_running(g_ptr_array_index(service->releases, i));
	if (placed < manifest->replicas) {
		g_autofree char *shut = dn_seats_shut(core, dn_service_current(service));

		g_string_append_printf(
			text,
			"%u of %u nodes found no host with a free slot%s; enrol a host, destroy "
			"incidents that are closed, or lower replicas",
			manifest->replicas - placed, manifest->replicas, shut);
	}
	for (GList *at = names; at != NULL && text->len < WHY_LONGEST; at = at->next)
		explain_host(dn_state_host(core, at->data), service, text);
	return g_string_free(text, text->len == 0);
}

/* Which hosts keep a removed service from being gone though nobody can ask them. */
static char *explain_removal(const DnFleetCore *core, const DnService *service)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	GString *text = g_string_new(NULL);

	for (GList *at = names; at != NULL && text->len < WHY_LONGEST; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		Count here = {0};

		count_host(core, service, host, &here);
		if (!host->known && host->fenced == NULL)
			g_string_append_printf(text,
					       "%s%s has not told of its nodes since this "
					       "supervisor started",
					       text->len > 0 ? "; " : "", host->name);
		else if (host->lost && here.left > 0)
			g_string_append_printf(text, "%s%s does not answer and may still run %u",
					       text->len > 0 ? "; " : "", host->name, here.left);
	}
	return g_string_free(text, text->len == 0);
}

DnServiceView *dn_fleet_core_service(const DnFleetCore *self, const char *name)
{
	const DnService *service = dn_state_service(self, name);

	if (service == NULL)
		return NULL;
	Count count = count_nodes(self, service);
	DnServiceView *view = g_new0(DnServiceView, 1);
	view->name = g_strdup(service->name);
	view->vip = g_strdup(service->vip);
	view->current = dn_declaration_copy(dn_service_current(service)->declaration);
	view->ready = count.ready;
	view->standby = count.standby;
	view->state = state_of(self, service, &count);
	view->rolling = service->rolling || service->roll_error != NULL;
	view->roll_ready = count.ready_current;
	view->roll_started_ns = service->roll_started_ns;
	view->roll_error = g_strdup(service->roll_error);
	if (view->state == DN_SERVICE_DEGRADED)
		view->why = explain(self, service);
	else if (view->state == DN_SERVICE_REMOVING)
		view->why = explain_removal(self, service);
	return view;
}

GPtrArray *dn_fleet_core_services(const DnFleetCore *self)
{
	GPtrArray *views = g_ptr_array_new_with_free_func(free_service_view);
	g_autoptr(GList) names = dn_state_sorted(self->services);

	for (GList *at = names; at != NULL; at = at->next)
		g_ptr_array_add(views, dn_fleet_core_service(self, at->data));
	return views;
}

static DnHostState host_state(const DnHost *host)
{
	if (host->fenced != NULL)
		return DN_HOST_FENCED;
	if (host->lost)
		return DN_HOST_LOST;
	if (host->suspect != NULL)
		return DN_HOST_SUSPECT;
	return host->reported ? DN_HOST_UP : DN_HOST_NEW;
}

static DnHostView *view_host(const DnFleetCore *core, const DnHost *host)
{
	DnHostView *view = g_new0(DnHostView, 1);
	GHashTableIter iter;
	gpointer key, value;

	view->name = g_strdup(host->name);
	view->cidr = g_strdup(host->cidr);
	view->address = g_strdup(host->address);
	view->state = host_state(host);
	view->cordoned = host->cordoned;
	view->suspect = g_strdup(host->suspect);
	view->fenced = g_strdup(host->fenced);
	view->version = g_strdup(host->version);
	view->kernel = g_strdup(host->kernel);
	view->capabilities = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_hash_table_iter_init(&iter, host->capabilities);
	while (g_hash_table_iter_next(&iter, &key, &value))
		g_hash_table_insert(view->capabilities, g_strdup(key), g_strdup(value));
	view->nodes = g_hash_table_size(host->nodes);
	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if (incident->state != DN_INCIDENT_DESTROYED &&
		    g_str_equal(incident->host, host->name))
			view->incidents++;
	}
	view->last_seen_ns = host->last_seen_ns;
	return view;
}

GPtrArray *dn_fleet_core_hosts(const DnFleetCore *self)
{
	GPtrArray *views = g_ptr_array_new_with_free_func(free_host_view);
	g_autoptr(GList) names = dn_state_sorted(self->hosts);

	for (GList *at = names; at != NULL; at = at->next)
		g_ptr_array_add(views, view_host(self, dn_state_host(self, at->data)));
	return views;
}

static gint compare_nodes(gconstpointer a, gconstpointer b)
{
	const DnNodeRecord *const *x = a, *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

GPtrArray *dn_fleet_core_nodes(const DnFleetCore *self, const char *service)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_node);
	GHashTableIter hosts, nodes;
	gpointer value, node;

	g_hash_table_iter_init(&hosts, self->hosts);
	while (g_hash_table_iter_next(&hosts, NULL, &value)) {
		const DnHost *host = value;

		g_hash_table_iter_init(&nodes, host->nodes);
		while (g_hash_table_iter_next(&nodes, NULL, &node)) {
			DnNodeRecord *copy = NULL;

			if (service != NULL &&
			    g_strcmp0(((const DnNodeRecord *)node)->service, service) != 0)
				continue;
			copy = dn_node_record_copy(node);
			/* A quarantined node stays cut whether or not its host answers. */
			if (host->lost && copy->state != DN_NODE_QUARANTINED)
				copy->state = DN_NODE_LOST;
			g_ptr_array_add(all, copy);
		}
	}
	g_ptr_array_sort(all, compare_nodes);
	return all;
}

static gint compare_incidents(gconstpointer a, gconstpointer b)
{
	const DnIncident *const *x = a, *const *y = b;

	if ((*x)->event_time_ns != (*y)->event_time_ns)
		return (*x)->event_time_ns > (*y)->event_time_ns ? -1 : 1;
	return strcmp((*x)->id, (*y)->id);
}

GPtrArray *dn_fleet_core_incidents(const DnFleetCore *self, const char *service, const char *node)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_incident);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, self->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if ((service == NULL || g_str_equal(incident->service, service)) &&
		    (node == NULL || g_str_equal(incident->node, node)))
			g_ptr_array_add(all, dn_incident_copy(incident));
	}
	g_ptr_array_sort(all, compare_incidents);
	return all;
}

unsigned dn_fleet_core_past_incidents(const DnFleetCore *self, const char *service,
				      const char *node)
{
	g_autofree char *of_service = service == NULL ? NULL : g_strconcat(service, "-", NULL);
	GHashTableIter iter;
	gpointer value;
	unsigned count = 0;

	g_hash_table_iter_init(&iter, self->past);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnPast *past = value;
		/* SERVICE-xxxxxxxx */
		bool is_of = of_service == NULL ||
			     (g_str_has_prefix(past->node, of_service) &&
			      strchr(past->node + strlen(of_service), '-') == NULL);

		if (is_of && (node == NULL || g_str_equal(past->node, node)))
			count++;
	}
	return count;
}

bool dn_fleet_core_has_node(const DnFleetCore *self, const char *id)
{
	DnNodeRecord *record = NULL;

	return dn_state_host_of_node(self, id, &record) != NULL;
}

const char *dn_fleet_core_silent_host(const DnFleetCore *self)
{
	g_autoptr(GList) names = dn_state_sorted(self->hosts);

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(self, at->data);

		/* One that has just enrolled, or connects again, is not the question. */
		if (!host->known && host->fenced == NULL)
			return host->name;
	}
	return NULL;
}
