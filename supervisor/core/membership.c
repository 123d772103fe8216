/* SPDX-License-Identifier: Apache-2.0 */

/* Who belongs to the cluster, and whether it can be reached. */

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/facts.h"
#include "core/fence.h"
#include "core/incidents.h"
#include "core/reconcile.h"
#include "core/response.h"
#include "core/sweep.h"
#include "core/trouble.h"

enum { HOST_PREFIX = 24, TOKENS_LIMIT = 256 };

static void drop_expired(DnFleetCore *core, DnNow now, DnActs *acts)
{
	g_autoptr(GList) hashes = dn_state_sorted(core->tokens);

	for (GList *at = hashes; at != NULL; at = at->next) {
		const DnTokenRecord *token = g_hash_table_lookup(core->tokens, at->data);

		if (token->expires_ns <= now.realtime_ns) {
			dn_acts_record(acts, DN_RECORD_TOKEN, token->hash);
			g_hash_table_remove(core->tokens, at->data);
		}
	}
}

static void put_token(DnFleetCore *core, const char *hash, const char *host, uint64_t expires_ns)
{
	DnTokenRecord *token = dn_token_record_new(hash, host, expires_ns);

	g_hash_table_replace(core->tokens, token->hash, token);
}

bool dn_fleet_core_add_token(DnFleetCore *self, const char *host, const char *hash, DnNow now,
			     DnActs *acts, GError **error)
{
	drop_expired(self, now, acts);
	if (!dn_text_is_name(host)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "host: not a name; use 1 to 40 of a-z, 0-9 and '-', a letter first");
		return false;
	}
	if (g_hash_table_size(self->tokens) >= TOKENS_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%d host tokens are waiting to be used; they expire after %d minutes",
			    TOKENS_LIMIT, DN_FLEET_TOKEN_LIFE_S / 60);
		return false;
	}
	put_token(self, hash, host, now.realtime_ns + DN_FLEET_TOKEN_LIFE_S * DN_NS_PER_S);
	dn_acts_record(acts, DN_RECORD_TOKEN, hash);
	dn_acts_event(acts, now.realtime_ns, "host.token", "info",
		      "a token was made that lets %s enrol once", host)
		->host = g_strdup(host);
	return true;
}

static bool is_taken(const DnFleetCore *core, uint32_t base)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((const DnHost *)value)->range.base == base)
			return true;
	return false;
}

static bool allocate(const DnFleetCore *core, DnRange *range, GError **error)
{
	uint32_t step = UINT32_C(1) << (32 - HOST_PREFIX);
	uint32_t count = dn_range_size(&core->node_range) / step;

	for (uint32_t i = 0; i < count; i++)
		if (!is_taken(core, core->node_range.base + i * step)) {
			range->base = core->node_range.base + i * step;
			range->prefix = HOST_PREFIX;
			return true;
		}
	g_set_error(
		error, DN_ERROR, DN_ERROR_EXHAUSTED,
		"every /24 of node_cidr is taken by a host; a wider node_cidr needs a new cluster");
	return false;
}

/* The token is used up whatever comes of it: a secret is tried once. */
static bool redeem(DnFleetCore *core, const DnEnrolment *enrolment, DnNow now, DnActs *acts,
		   GError **error)
{
	const DnTokenRecord *token = g_hash_table_lookup(core->tokens, enrolment->hash);
	bool good = token != NULL && token->expires_ns > now.realtime_ns &&
		    g_str_equal(token->host, enrolment->host);

	if (token != NULL) {
		dn_acts_record(acts, DN_RECORD_TOKEN, enrolment->hash);
		g_hash_table_remove(core->tokens, enrolment->hash);
	}
	if (!good)
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "this token is unknown, used, expired or for another host; make a new "
			    "one with dnode host token");
	return good;
}

/*
 * A name belongs to the key that took it, and a key to the name: neither changes hands, unless the
 * host was fenced, and a person has made a token for its name since.
 */
static bool may_have_name(const DnEnrolment *enrolment, const DnHost *known, const char *owner,
			  GError **error)
{
	if (known != NULL && known->fenced == NULL &&
	    memcmp(known->key, enrolment->key, DN_PUBLIC_KEY_BYTES) != 0) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_CONFLICT,
			"%s has enrolled before, with another key than this machine's; if it is "
			"the same machine, put agent.key of its state directory back, else make "
			"a token for another name: dnode host token NAME",
			enrolment->host);
		return false;
	}
	if (owner != NULL && !g_str_equal(owner, enrolment->host)) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_CONFLICT,
			"this machine's key belongs to host %s already; to rename it, move "
			"agent.key and enrol.key out of its state directory, so that it makes a "
			"new one, and leave the rest there",
			owner);
		return false;
	}
	return true;
}

static void readmit(DnFleetCore *core, DnHost *host, const DnEnrolment *enrolment, DnNow now,
		    DnActs *acts)
{
	memcpy(host->key, enrolment->key, sizeof(host->key));
	dn_fence_end(core, host, now, acts);
	host->seen_ns = now.monotonic_ns;
	core->routes_changes++;
	dn_acts_record(acts, DN_RECORD_HOST, host->name);
	dn_acts_event(acts, now.realtime_ns, "host.enrolled", "info",
		      "%s, which was fenced, has enrolled anew", host->name)
		->host = g_strdup(host->name);
	dn_reconcile_touch_all(core);
}

static bool join(DnFleetCore *core, const DnEnrolment *enrolment, DnNow now, DnActs *acts,
		 GError **error)
{
	DnHost *known = dn_state_host(core, enrolment->host);
	const char *owner = dn_fleet_core_host_of_key(core, enrolment->key);
	DnRange range;

	if (!may_have_name(enrolment, known, owner, error))
		return false;
	if (known != NULL && known->fenced != NULL) {
		readmit(core, known, enrolment, now, acts);
		return true;
	}
	if (known != NULL)
		return true;
	if (g_hash_table_size(core->hosts) >= DN_FLEET_HOSTS) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "the cluster has %d hosts already",
			    DN_FLEET_HOSTS);
		return false;
	}
	if (!allocate(core, &range, error))
		return false;
	g_autofree char *base = dn_address_format(range.base);
	g_autofree char *cidr = g_strdup_printf("%s/%d", base, HOST_PREFIX);
	g_autoptr(DnHostRecord) record =
		dn_host_record_new(enrolment->host, enrolment->key, cidr, NULL);
	DnHost *host = dn_state_add_host(core, record, range);
	host->seen_ns = now.monotonic_ns;
	host->known = true; /* to have no nodes */
	dn_acts_record(acts, DN_RECORD_HOST, enrolment->host);
	dn_acts_event(acts, now.realtime_ns, "host.enrolled", "info", "%s has enrolled with %s",
		      enrolment->host, cidr)
		->host = g_strdup(enrolment->host);
	return true;
}

bool dn_fleet_core_enrol(DnFleetCore *self, const DnEnrolment *enrolment, DnNow now, DnActs *acts,
			 GError **error)
{
	dn_reconcile_begin(self, now);
	if (redeem(self, enrolment, now, acts, error) && join(self, enrolment, now, acts, error))
		return true;
	g_autofree char *text = g_strdup_printf(
		"enrolment refused: %s", error == NULL || *error == NULL ? "" : (*error)->message);
	dn_fleet_core_trouble(self, DN_TROUBLE_ENROLMENT, NULL, text, now, acts);
	return false;
}

const char *dn_fleet_core_host_of_key(const DnFleetCore *self, const uint8_t *key)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, self->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnHost *host = value;

		if (memcmp(host->key, key, sizeof(host->key)) == 0)
			return host->name;
	}
	return NULL;
}

const char *dn_fleet_core_host_cidr(const DnFleetCore *self, const char *host)
{
	const DnHost *known = dn_state_host(self, host);

	return known == NULL ? NULL : known->cidr;
}

GHashTable *dn_fleet_core_epochs(const DnFleetCore *self)
{
	GHashTable *epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, self->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnService *service = value;
		uint64_t epoch = dn_service_current(service)->declaration->manifest->epoch;

		g_hash_table_insert(epochs, g_strdup(service->name),
				    g_memdup2(&epoch, sizeof(epoch)));
	}
	return epochs;
}

/* Orders that were under way say nothing about the next link; a sweep waits for this host no more.
 */
static void drop_pending(DnFleetCore *core, const DnHost *host, DnNow now, DnActs *acts)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->pending);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnPending *pending = value;

		if (!g_str_equal(pending->host, host->name))
			continue;
		if (pending->kind == DN_ORDER_SWEEP) {
			g_autoptr(DnAnswerTo) none = dn_answer_to_new(0);

			dn_sweep_answered(core, host, pending->subject, none, now, acts);
		}
		g_hash_table_iter_remove(&iter);
	}
}

void dn_fleet_core_connected(DnFleetCore *self, const char *name, const char *address, DnNow now,
			     DnActs *acts)
{
	DnHost *host = dn_state_host(self, name);
	uint32_t number = 0;

	g_return_if_fail(host != NULL);
	dn_reconcile_begin(self, now);
	drop_pending(self, host, now, acts);
	dn_host_forget_told(host);
	dn_response_reconnected(self, name);
	host->connected = true;
	host->reported = false;
	if (address != NULL && dn_address_parse(address, &number) &&
	    g_strcmp0(host->address, address) != 0) {
		g_free(host->address);
		host->address = g_strdup(address);
		self->routes_changes++;
		dn_acts_record(acts, DN_RECORD_HOST, name);
	}
	dn_acts_event(acts, now.realtime_ns, "host.connected", "info", "%s has connected", name)
		->host = g_strdup(name);
	dn_fact_heard(host, now, acts);
	dn_reconcile(self, now, acts);
}

void dn_fleet_core_disconnected(DnFleetCore *self, const char *name, DnNow now, DnActs *acts)
{
	DnHost *host = dn_state_host(self, name);

	g_return_if_fail(host != NULL);
	dn_reconcile_begin(self, now);
	host->connected = false;
	drop_pending(self, host, now, acts);
	if (host->fenced == NULL)
		dn_acts_event(acts, now.realtime_ns, "host.disconnected", "warning",
			      "%s has disconnected; its nodes stay in the balancers", name)
			->host = g_strdup(name);
	dn_reconcile(self, now, acts);
}

void dn_fleet_core_tick(DnFleetCore *self, DnNow now, DnActs *acts)
{
	g_autoptr(GList) hosts = dn_state_sorted(self->hosts);

	dn_reconcile_begin(self, now);
	dn_incidents_retire(self, acts);
	for (GList *at = hosts; at != NULL; at = at->next) {
		DnHost *host = dn_state_host(self, at->data);

		if (host->lost || host->address == NULL ||
		    now.monotonic_ns - host->seen_ns <= DN_FLEET_LOST_AFTER_S * DN_NS_PER_S)
			continue;
		host->lost = true;
		dn_acts_event(acts, now.realtime_ns, "host.lost", "critical",
			      "%s has not answered for %d s; its agent goes on by itself",
			      host->name, DN_FLEET_LOST_AFTER_S)
			->host = g_strdup(host->name);
	}
	drop_expired(self, now, acts);
	dn_reconcile_touch_all(self);
	dn_reconcile(self, now, acts);
}

bool dn_fleet_core_cordon(DnFleetCore *self, const char *name, bool cordon, DnNow now, DnActs *acts,
			  GError **error)
{
	DnHost *host = dn_state_host(self, name);

	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no host is called so; 'dnode hosts' lists them");
		return false;
	}
	if (host->cordoned == cordon && (cordon || host->suspect == NULL))
		return true;
	dn_reconcile_begin(self, now);
	host->cordoned = cordon;
	/* Whoever lets new nodes on it again trusts it again. */
	if (!cordon)
		g_clear_pointer(&host->suspect, g_free);
	dn_acts_record(acts, DN_RECORD_HOST, name);
	dn_acts_event(acts, now.realtime_ns, cordon ? "host.cordoned" : "host.uncordoned", "info",
		      cordon ? "nothing new is placed on %s; its nodes stay"
			     : "new nodes may be placed on %s again",
		      name)
		->host = g_strdup(name);
	/* What found no room may find it now. */
	dn_reconcile_touch_all(self);
	dn_reconcile(self, now, acts);
	return true;
}

bool dn_fleet_core_restore_host(DnFleetCore *self, const DnHostRecord *record, GError **error)
{
	DnRange range;

	if (!dn_range_parse(record->cidr, &range, error))
		return false;
	if (range.prefix != HOST_PREFIX || !dn_range_contains(&self->node_range, range.base)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "host %s has %s, which is no /24 of node_cidr; cluster.yaml must keep "
			    "the range its hosts were enrolled with",
			    record->name, record->cidr);
		return false;
	}
	dn_state_add_host(self, record, range);
	return true;
}

void dn_fleet_core_restore_token(DnFleetCore *self, const DnTokenRecord *record)
{
	put_token(self, record->hash, record->host, record->expires_ns);
}

DnHostRecord *dn_fleet_core_host_record(const DnFleetCore *self, const char *name)
{
	const DnHost *host = dn_state_host(self, name);

	if (host == NULL)
		return NULL;
	DnHostRecord *record = dn_host_record_new(host->name, host->key, host->cidr, host->address);
	record->cordoned = host->cordoned;
	record->suspect = g_strdup(host->suspect);
	record->fenced = g_strdup(host->fenced);
	record->spool = g_strdup(host->spool);
	record->stored = host->stored;
	return record;
}

DnTokenRecord *dn_fleet_core_token_record(const DnFleetCore *self, const char *hash)
{
	const DnTokenRecord *token = g_hash_table_lookup(self->tokens, hash);

	return token == NULL ? NULL
			     : dn_token_record_new(token->hash, token->host, token->expires_ns);
}
