/* SPDX-License-Identifier: Apache-2.0 */
#include "main/manifests.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "main/journal.h"
#include "main/state.h"
#include "manifest/manifest.h"
#include "runtime/proc.h"
#include "seal/trust.h"

static uint64_t minimum_epoch(const Agent *agent, const char *service)
{
	const uint64_t *minimum = g_hash_table_lookup(agent->trust->minimum_epochs, service);

	return minimum != NULL ? *minimum : 0;
}

static bool is_bound_here(const DnListen *listen)
{
	static const char *const tables[][2] = {
		[DN_PROTOCOL_TCP] = {"tcp", "tcp6"},
		[DN_PROTOCOL_UDP] = {"udp", "udp6"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(tables[0]); i++) {
		g_autofree char *path =
			g_build_filename("/proc/self/net", tables[listen->protocol][i], NULL);
		g_autofree char *text = dn_file_read_kernel(path, 8 * 1024 * 1024, NULL);

		if (text != NULL && dn_proc_is_bound(text, listen->expose))
			return true;
	}
	return false;
}

/* A port that this host serves itself, ssh's for one, would from then on lead to a node. */
static bool check_published(const DnManifest *manifest, GError **error)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (!listen->publish_host || !is_bound_here(listen))
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s: this host itself listens on port %u/%s; choose another "
			    "\"expose\", or publish: vip",
			    manifest->service, listen->expose, dn_protocol_name(listen->protocol));
		return false;
	}
	return true;
}

/* Signatures first, over the bytes; only then is a word of it read. */
static DnManifest *check_manifest(Agent *agent, const DnOrder *order, GError **error)
{
	g_autofree char *service = NULL;
	uint64_t epoch = 0;

	if (!dn_trust_verify_manifest(agent->trust, order->manifest, order->signatures, &service,
				      &epoch, error))
		return NULL;
	g_autoptr(DnManifest) manifest = dn_manifest_parse(order->manifest, service, error);
	if (manifest == NULL)
		return NULL;
	if (!g_str_equal(manifest->service, service) || manifest->epoch != epoch) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the signature is for service %s epoch %" G_GUINT64_FORMAT
			    ", the manifest is of service %s epoch %" G_GUINT64_FORMAT,
			    service, epoch, manifest->service, manifest->epoch);
		return NULL;
	}
	if (!dn_epochs_may_accept(agent->epochs, manifest, minimum_epoch(agent, service),
				  dn_floor_judge(agent), error))
		return NULL;
	if (!manifest->removed && !g_hash_table_contains(agent->manifests, manifest->digest) &&
	    !check_published(manifest, error))
		return NULL;
	dn_floor_raise(agent, dn_clock_realtime_ns());
	return g_steal_pointer(&manifest);
}

bool dn_manifests_obey(Agent *agent, const DnOrder *order, GError **error)
{
	g_autoptr(GError) refused = NULL;
	g_autoptr(DnManifest) manifest = check_manifest(agent, order, &refused);

	if (manifest == NULL) {
		dn_report_event(agent, "critical", "manifest.refused", NULL, NULL, "%s",
				refused->message);
		g_propagate_error(error, g_steal_pointer(&refused));
		return false;
	}
	/* The bytes before the epoch: a crash between them leaves a file nobody asks for. */
	if (!dn_state_save_manifest(agent, manifest, order->manifest, error))
		return false;
	g_autoptr(DnEpoch) was = dn_epochs_copy(agent->epochs, manifest->service);
	dn_epochs_set(agent->epochs, manifest->service, manifest->epoch, manifest->digest,
		      manifest->removed);
	/* What is not on disk was not accepted, and is judged anew when it comes again. */
	if (!dn_state_save_epochs(agent, error)) {
		dn_epochs_put_back(agent->epochs, manifest->service, g_steal_pointer(&was));
		return false;
	}
	dn_agent_journal_manifest(agent, manifest);
	if (!g_hash_table_contains(agent->manifests, manifest->digest))
		g_hash_table_replace(agent->manifests, g_strdup(manifest->digest),
				     dn_manifest_ref(manifest));
	return true;
}

static bool is_used(Agent *agent, const DnManifest *manifest)
{
	const DnEpoch *epoch = g_hash_table_lookup(agent->epochs, manifest->service);
	const Service *service = dn_service_find(agent, manifest->service);

	if (epoch != NULL && g_strcmp0(epoch->digest, manifest->digest) == 0)
		return true;
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL &&
		    g_str_equal(agent->slots[i]->manifest->digest, manifest->digest))
			return true;
	for (guint i = 0;
	     service != NULL && service->assign != NULL && i < service->assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(service->assign->parts, i);

		if (g_str_equal(part->digest, manifest->digest))
			return true;
	}
	return false;
}

void dn_manifests_forget_unused(Agent *agent)
{
	GHashTableIter iter;
	gpointer digest = NULL, manifest = NULL;

	g_hash_table_iter_init(&iter, agent->manifests);
	while (g_hash_table_iter_next(&iter, &digest, &manifest)) {
		g_autoptr(GError) error = NULL;

		if (is_used(agent, manifest))
			continue;
		if (!dn_state_forget_manifest(agent, digest, &error))
			g_warning("%s", error->message);
		g_hash_table_iter_remove(&iter);
	}
}
