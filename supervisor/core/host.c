/* SPDX-License-Identifier: Apache-2.0 */
#include "core/host.h"

#include <string.h>

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

DnHost *dn_host_new(const DnHostRecord *record, DnRange range)
{
	DnHost *host = g_new0(DnHost, 1);

	host->name = g_strdup(record->name);
	memcpy(host->key, record->key, sizeof(host->key));
	host->cidr = g_strdup(record->cidr);
	host->address = g_strdup(record->address);
	host->cordoned = record->cordoned;
	host->suspect = g_strdup(record->suspect);
	host->fenced = g_strdup(record->fenced);
	host->lost = host->fenced != NULL;
	host->spool = g_strdup(record->spool);
	host->stored = record->stored;
	host->range = range;
	host->capabilities = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	host->epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	host->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_node);
	host->told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_told);
	host->manifests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	host->failed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	host->complaints = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return host;
}

void dn_host_free(DnHost *host)
{
	if (host == NULL)
		return;
	g_free(host->name);
	g_free(host->cidr);
	g_free(host->address);
	g_free(host->version);
	g_free(host->kernel);
	g_free(host->routes_sent);
	g_free(host->suspect);
	g_free(host->fenced);
	g_free(host->spool);
	g_hash_table_unref(host->capabilities);
	g_hash_table_unref(host->epochs);
	g_hash_table_unref(host->nodes);
	g_hash_table_unref(host->told);
	g_hash_table_unref(host->manifests);
	g_hash_table_unref(host->failed);
	g_hash_table_unref(host->complaints);
	g_free(host);
}

void dn_host_forget_told(DnHost *host)
{
	g_hash_table_remove_all(host->told);
	g_hash_table_remove_all(host->manifests);
	g_hash_table_remove_all(host->failed);
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
	return !host->cordoned && host->suspect == NULL && host->fenced == NULL;
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

bool dn_host_is_up(const DnHost *host)
{
	return host->connected && host->reported && !host->lost;
}
