/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/firewall.h"

#include <errno.h>
#include <nftables/libnftables.h>

#include "base/failpoint.h"
#include "firewall/batch.h"
#include "firewall/service.h"
#include "firewall/table.h"

struct DnFirewall {
	DnFirewallConfig config; /* owned strings */
	struct nft_ctx *context; /* owned */
	DnTable *applied;        /* owned; NULL before the first transaction */
};

DnFirewall *dn_firewall_new(const DnFirewallConfig *config, GError **error)
{
	if (!dn_table_check_config(config, error))
		return NULL;

	g_autoptr(DnFirewall) self = g_new0(DnFirewall, 1);
	self->config.uplink = g_strdup(config->uplink);
	self->config.node_cidr = g_strdup(config->node_cidr);
	self->config.vip_cidr = g_strdup(config->vip_cidr);
	self->context = nft_ctx_new(NFT_CTX_DEFAULT);
	if (self->context == NULL || nft_ctx_buffer_error(self->context) != 0 ||
	    nft_ctx_buffer_output(self->context) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "firewall: libnftables does not start: is nf_tables in this kernel?");
		return NULL;
	}
	return g_steal_pointer(&self);
}

void dn_firewall_free(DnFirewall *self)
{
	if (self == NULL)
		return;
	g_free((char *)self->config.uplink);
	g_free((char *)self->config.node_cidr);
	g_free((char *)self->config.vip_cidr);
	if (self->context != NULL)
		nft_ctx_free(self->context);
	dn_table_free(self->applied);
	g_free(self);
}

/* nft prints the statement and a line of carets below each message: keep what says something. */
static char *one_line(const char *message)
{
	g_auto(GStrv) lines = g_strsplit(message != NULL ? message : "", "\n", -1);
	GString *said = g_string_new(NULL);

	for (char **line = lines; *line != NULL && said->len < 512; line++) {
		if (strspn(*line, " ^~\t") == strlen(*line))
			continue;
		g_string_append_printf(said, "%s%.200s", said->len > 0 ? " | " : "",
				       g_strstrip(*line));
	}
	return g_string_free(said, FALSE);
}

static bool run(DnFirewall *self, const char *script, GError **error)
{
	if (nft_run_cmd_from_buffer(self->context, script) == 0)
		return true;
	g_autofree char *said = one_line(nft_ctx_get_error_buffer(self->context));
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "firewall: nft refused: %s", said);
	return false;
}

/*
 * The kernel checks the rule and forgets it, and has loaded by then what it needs for it: whoever
 * looks for connection tracking next finds what nodes will find.
 */
bool dn_firewall_probe_now(GError **error)
{
	static const char rule[] = "table inet dnode_probe {\n"
				   "\tchain probe {\n"
				   "\t\tct state new accept\n"
				   "\t}\n"
				   "}\n";
	DnFirewall probe = {.context = nft_ctx_new(NFT_CTX_DEFAULT)};

	if (probe.context == NULL)
		return dn_throw_errno(error, ENOMEM, "start libnftables");
	nft_ctx_set_dry_run(probe.context, true);
	bool answers = nft_ctx_buffer_error(probe.context) == 0 &&
		       nft_ctx_buffer_output(probe.context) == 0 && run(&probe, rule, error);
	nft_ctx_free(probe.context);
	return answers;
}

static void remember(DnFirewall *self, DnTable *table)
{
	dn_table_free(self->applied);
	self->applied = table;
}

void dn_firewall_distrust(DnFirewall *self)
{
	remember(self, NULL);
}

bool dn_firewall_apply(DnFirewall *self, const DnFirewallState *state, GError **error)
{
	g_autoptr(DnTable) wanted = dn_table_new(&self->config, state, error);
	g_autoptr(GString) script = g_string_new(NULL);

	if (wanted == NULL)
		return false;
	if (self->applied != NULL) {
		g_autoptr(GError) refused = NULL;

		dn_table_print_difference(wanted, self->applied, script);
		if (script->len == 0 || (dn_failpoint("agent.nft.difference.before", &refused) &&
					 run(self, script->str, &refused))) {
			dn_failpoint_pass("agent.nft.difference.after");
			remember(self, g_steal_pointer(&wanted));
			return true;
		}
		g_warning("%s; replacing the whole table", refused->message);
		g_string_truncate(script, 0);
	}
	dn_table_print(wanted, script);
	if (!dn_failpoint("agent.nft.table.before", error) || !run(self, script->str, error))
		return false;
	dn_failpoint_pass("agent.nft.table.after");
	remember(self, g_steal_pointer(&wanted));
	return true;
}

static GHashTable *quarantined(const DnFirewallState *state)
{
	GHashTable *addresses = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < state->guarded->len; i++) {
		const DnGuarded *guarded = g_ptr_array_index(state->guarded, i);

		if (guarded->quarantined)
			g_hash_table_add(addresses, guarded->address);
	}
	return addresses;
}

static bool check_cut(const char *address, const char *standby, GError **error)
{
	struct in_addr parsed;

	return dn_service_parse_address(address, &parsed, error) &&
	       (standby == NULL || dn_service_parse_address(standby, &parsed, error));
}

GBytes *dn_firewall_serialise_cut(DnFirewall *self, const DnFirewallState *state,
				  const char *address, const char *standby_address, GError **error)
{
	g_autoptr(GHashTable) cut = quarantined(state);
	g_autoptr(DnBatch) batch = dn_batch_new();
	struct in_addr key;

	if (!check_cut(address, standby_address, error) ||
	    !dn_service_parse_address(address, &key, error))
		return NULL;
	dn_batch_element(batch, "quarantined", &key, sizeof(key), true);
	for (guint i = 0; i < state->balanced->len; i++) {
		const DnBalanced *balanced = g_ptr_array_index(state->balanced, i);

		if (!dn_service_has(balanced, address))
			continue;
		if (!dn_service_check(balanced, error))
			return NULL;
		g_autofree char *chain = dn_service_chain(balanced);
		g_autoptr(GArray) endpoints =
			dn_service_endpoints(balanced, cut, address, standby_address);
		dn_batch_service(batch, chain, balanced->protocol, endpoints);
	}
	return dn_batch_end(batch);
}

bool dn_firewall_cut(DnFirewall *self, const DnFirewallState *state, const char *address,
		     const char *standby_address, GError **error)
{
	g_autoptr(GHashTable) cut = quarantined(state);
	g_autoptr(GString) script = g_string_new(NULL);

	if (!check_cut(address, standby_address, error))
		return false;
	g_string_append_printf(script, "add element inet " DN_TABLE " quarantined { %s }\n",
			       address);
	for (guint i = 0; i < state->balanced->len; i++) {
		const DnBalanced *balanced = g_ptr_array_index(state->balanced, i);

		if (!dn_service_has(balanced, address))
			continue;
		if (!dn_service_check(balanced, error))
			return false;
		g_autofree char *chain = dn_service_chain(balanced);
		g_autoptr(GArray) endpoints =
			dn_service_endpoints(balanced, cut, address, standby_address);
		g_autofree char *rules = dn_table_service_rules(balanced->protocol, endpoints);
		g_string_append_printf(script,
				       "flush chain inet " DN_TABLE " %s\n"
				       "add rule inet " DN_TABLE " %s %s",
				       chain, chain, rules);
	}
	return run(self, script->str, error);
}

GBytes *dn_firewall_serialise_isolation(DnFirewall *self, const char *address, GError **error)
{
	g_autoptr(DnBatch) batch = dn_batch_new();
	struct in_addr key;

	if (!dn_service_parse_address(address, &key, error))
		return NULL;
	dn_batch_element(batch, "isolated", &key, sizeof(key), true);
	return dn_batch_end(batch);
}

GBytes *dn_firewall_serialise_window(DnFirewall *self, const char *address, const uint16_t *ports,
				     size_t n_ports, bool open, GError **error)
{
	g_autoptr(DnBatch) batch = dn_batch_new();
	struct {
		struct in_addr address;
		uint16_t port;
		uint16_t unused;
	} key = {0};

	if (!dn_service_parse_address(address, &key.address, error))
		return NULL;
	if (n_ports == 0)
		return g_bytes_new(NULL, 0);
	for (size_t i = 0; i < n_ports; i++) {
		key.port = g_htons(ports[i]);
		/* Added before it is deleted: closing what is closed must not be refused. */
		dn_batch_element(batch, "rst_window", &key, sizeof(key), true);
		if (!open)
			dn_batch_element(batch, "rst_window", &key, sizeof(key), false);
	}
	return dn_batch_end(batch);
}

bool dn_firewall_remove(DnFirewall *self, GError **error)
{
	if (!run(self, "add table inet " DN_TABLE "\ndelete table inet " DN_TABLE "\n", error))
		return false;
	remember(self, NULL);
	return true;
}
