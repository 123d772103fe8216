/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask of a supervisor, and what it would tell them. */

#include "core/view.h"
#include "host.h"
#include "supervisor-store.h"

static void answer(Sim *sim, unsigned who, DnActs *acts, bool done, uint64_t tag, uint64_t ticket,
		   const GError *error)
{
	if (done) {
		supervisor_carry_out(sim, who, acts, tag, ticket);
		return;
	}
	sim_say(sim, who == 0 ? "S0" : "S1", "refuses: %s", error->message);
	people_answered(sim, ticket, error->code);
}

void supervisor_apply(Sim *sim, unsigned who, DnManifest *manifest, uint64_t ticket)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	bool changed = false;
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_autoptr(GBytes) bytes = g_bytes_new(manifest->digest, strlen(manifest->digest));
	g_autoptr(DnDeclaration) declaration = dn_declaration_new(manifest, bytes, signatures);

	bool done = dn_fleet_core_apply(supervisor_core(sim, who), declaration, false,
					supervisor_now(sim, who), acts, &changed, NULL, &error);
	answer(sim, who, acts, done, 0, ticket, error);
}

void supervisor_drill(Sim *sim, unsigned who, const char *service, uint64_t ticket)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	g_autofree char *node = NULL;
	uint64_t tag = 0;

	bool done = dn_fleet_core_drill(supervisor_core(sim, who), "exec", service,
					supervisor_now(sim, who), acts, &tag, &node, &error);
	answer(sim, who, acts, done, tag, ticket, error);
}

void supervisor_quarantine(Sim *sim, unsigned who, const char *node, uint64_t ticket)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	bool done = dn_fleet_core_quarantine(supervisor_core(sim, who), node, "because", acts, &tag,
					     &error);
	answer(sim, who, acts, done, tag, ticket, error);
}

void supervisor_destroy(Sim *sim, unsigned who, const char *incident, const char *statement,
			const char *signature, uint64_t ticket)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) said = g_bytes_new(statement, strlen(statement));
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	uint64_t tag = 0;

	g_ptr_array_add(signatures, g_bytes_new(signature, strlen(signature)));
	bool done = dn_fleet_core_destroy(supervisor_core(sim, who), incident, said, signatures,
					  acts, &tag, &error);
	answer(sim, who, acts, done, tag, ticket, error);
}

bool supervisor_cordon(Sim *sim, unsigned who, unsigned host, bool cordon, uint64_t ticket)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	if (!dn_fleet_core_cordon(supervisor_core(sim, who), host_name(host), cordon,
				  supervisor_now(sim, who), acts, NULL))
		return false;
	supervisor_carry_out(sim, who, acts, 0, ticket);
	return true;
}

bool supervisor_has_cordoned(const Sim *sim, unsigned who, unsigned host)
{
	g_autoptr(GPtrArray) hosts = dn_fleet_core_hosts(supervisor_core(sim, who));

	for (guint i = 0; i < hosts->len; i++) {
		const DnHostView *view = g_ptr_array_index(hosts, i);

		if (g_str_equal(view->name, host_name(host)))
			return view->cordoned;
	}
	return false;
}

char *supervisor_some_node(const Sim *sim, unsigned who, uint64_t draw)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(supervisor_core(sim, who), NULL);

	if (nodes->len == 0)
		return NULL;
	return g_strdup(((const DnNodeRecord *)g_ptr_array_index(nodes, draw % nodes->len))->id);
}

char *supervisor_some_incident(const Sim *sim, unsigned who, uint64_t draw, char **host)
{
	g_autoptr(GPtrArray) incidents =
		dn_fleet_core_incidents(supervisor_core(sim, who), NULL, NULL);

	if (incidents->len == 0)
		return NULL;
	const DnIncident *incident = g_ptr_array_index(incidents, draw % incidents->len);
	*host = g_strdup(incident->host);
	return g_strdup(incident->id);
}

bool supervisor_wants(const Sim *sim, unsigned who, unsigned host, const char *service,
		      Wanted *wanted)
{
	g_autoptr(DnServiceRecord) record =
		dn_fleet_core_service_record(supervisor_core(sim, who), service);

	*wanted = (Wanted){0};
	if (record == NULL)
		return false;
	for (guint i = 0; i < record->releases->len; i++) {
		const DnReleaseRecord *release = g_ptr_array_index(record->releases, i);

		for (guint j = 0; j < release->shares->len; j++) {
			const DnShare *share = g_ptr_array_index(release->shares, j);

			wanted->everywhere += share->running;
			if (!g_str_equal(share->host, host_name(host)))
				continue;
			wanted->running += share->running;
			wanted->standby += share->standby;
		}
	}
	const DnReleaseRecord *current = g_ptr_array_index(record->releases, 0);
	wanted->removed = current->declaration->manifest->removed;
	wanted->replicas = current->declaration->manifest->replicas;
	wanted->stopped = record->roll_error != NULL;
	return true;
}
