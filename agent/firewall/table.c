/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/table.h"

#include <arpa/inet.h>
#include <net/if.h>

#include "base/text.h"
#include "firewall/service.h"

/* Sets and maps whose elements follow from the state. rst_window belongs to the reflex. */
typedef enum {
	NODES,
	QUARANTINED,
	ISOLATED,
	LISTENING,
	HAIRPIN,
	EGRESS,
	SERVICES,
	PUBLISHED,
	N_SETS
} Set;

static const struct {
	const char *name, *kind, *type;
} sets[] = {
	[NODES] = {"nodes", "set", "ipv4_addr . ifname"},
	[QUARANTINED] = {"quarantined", "set", "ipv4_addr"},
	[ISOLATED] = {"isolated", "set", "ipv4_addr"},
	[LISTENING] = {"listening", "set", "ipv4_addr . inet_proto . inet_service"},
	[HAIRPIN] = {"hairpin", "set", "ipv4_addr . ipv4_addr"},
	[EGRESS] = {"egress", "map", "ipv4_addr : verdict"},
	[SERVICES] = {"services", "map", "ipv4_addr . inet_proto . inet_service : verdict"},
	[PUBLISHED] = {"published", "map", "inet_proto . inet_service : verdict"},
};
_Static_assert(G_N_ELEMENTS(sets) == N_SETS, "every set needs a row");

struct DnTable {
	DnFirewallConfig config;      /* owned strings */
	GHashTable *elements[N_SETS]; /* owned: key → verdict, "" in a set */
	GHashTable *chains;           /* owned: name → rules, one a line */
};

static bool parse_cidr(const char *text, bool *is_v4)
{
	g_auto(GStrv) parts = g_strsplit(text != NULL ? text : "", "/", 2);
	unsigned char raw[sizeof(struct in6_addr)];
	uint64_t prefix;

	if (g_strv_length(parts) != 2)
		return false;
	*is_v4 = inet_pton(AF_INET, parts[0], raw) == 1;
	if (!*is_v4 && inet_pton(AF_INET6, parts[0], raw) != 1)
		return false;
	return dn_text_parse_u64(parts[1], *is_v4 ? 32 : 128, &prefix);
}

static bool is_interface(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= IFNAMSIZ)
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!g_ascii_isalnum(*c) && strchr("-_.@", *c) == NULL)
			return false;
	return true;
}

static bool refuse(GError **error, const char *what, const char *value, const char *wanted)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "firewall: %s \"%s\" is not %s", what,
		    value != NULL ? value : "", wanted);
	return false;
}

bool dn_table_check_config(const DnFirewallConfig *config, GError **error)
{
	bool is_v4 = false;

	if (!parse_cidr(config->node_cidr, &is_v4) || !is_v4)
		return refuse(error, "node_cidr", config->node_cidr, "an IPv4 ADDRESS/PREFIX");
	if (!parse_cidr(config->vip_cidr, &is_v4) || !is_v4)
		return refuse(error, "vip_cidr", config->vip_cidr, "an IPv4 ADDRESS/PREFIX");
	if (config->uplink == NULL)
		return true;
	/* An uplink called dn… would be taken for a node that nobody knows. */
	if (!is_interface(config->uplink) || g_str_has_prefix(config->uplink, "dn"))
		return refuse(error, "uplink", config->uplink,
			      "an interface's name that does not begin with \"dn\"");
	return true;
}

static void add_element(DnTable *self, Set set, char *key, const char *verdict)
{
	g_hash_table_insert(self->elements[set], key, g_strdup(verdict));
}

char *dn_table_service_rules(DnProtocol protocol, const GArray *endpoints)
{
	const char *name = dn_service_protocol(protocol);
	GString *rules = g_string_new(NULL);

	if (endpoints->len == 0 && protocol == DN_PROTOCOL_TCP)
		g_string_assign(rules, "meta l4proto tcp reject with tcp reset\n");
	else if (endpoints->len == 0)
		g_string_assign(rules, "reject with icmpx port-unreachable\n");
	else
		g_string_printf(rules, "meta l4proto %s dnat ip to numgen inc mod %u map {", name,
				endpoints->len);
	for (guint i = 0; i < endpoints->len; i++) {
		const DnEndpoint *endpoint = &g_array_index(endpoints, DnEndpoint, i);

		g_string_append_printf(rules, "%s %u : %s . %u", i > 0 ? "," : "", i,
				       endpoint->address, endpoint->port);
	}
	if (endpoints->len > 0)
		g_string_append(rules, " }\n");
	return g_string_free(rules, FALSE);
}

static bool add_service(DnTable *self, const DnBalanced *balanced, GError **error)
{
	if (!dn_service_check(balanced, error))
		return false;
	g_autoptr(GArray) endpoints =
		dn_service_endpoints(balanced, self->elements[QUARANTINED], NULL, NULL);
	const char *protocol = dn_service_protocol(balanced->protocol);
	g_autofree char *chain = dn_service_chain(balanced);
	g_autofree char *verdict = g_strdup_printf("goto %s", chain);

	if (g_hash_table_contains(self->chains, chain)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "firewall: VIP %s port %u/%s is named twice", balanced->vip,
			    balanced->expose, protocol);
		return false;
	}
	add_element(self, SERVICES,
		    g_strdup_printf("%s . %s . %u", balanced->vip, protocol, balanced->expose),
		    verdict);
	if (balanced->publish_host)
		add_element(self, PUBLISHED, g_strdup_printf("%s . %u", protocol, balanced->expose),
			    verdict);
	g_hash_table_insert(self->chains, g_steal_pointer(&chain),
			    dn_table_service_rules(balanced->protocol, endpoints));
	return true;
}

/*
 * Nodes with equal rights share a chain that is named by its content. "ct original" is the
 * address the node asked for, also when a VIP was translated before this decision.
 */
static bool add_egress(DnTable *self, const DnGuarded *guarded, GError **error)
{
	g_autoptr(GString) rules = g_string_new(NULL);

	for (guint i = 0; i < guarded->egress->len; i++) {
		const DnAllowed *allowed = &g_array_index(guarded->egress, DnAllowed, i);
		bool is_v4 = false;

		if (!parse_cidr(allowed->cidr, &is_v4))
			return refuse(error, "egress", allowed->cidr, "an ADDRESS/PREFIX");
		if (!is_v4)
			continue;
		g_string_append_printf(rules, "ct original ip daddr %s meta l4proto %s ",
				       allowed->cidr, dn_service_protocol(allowed->protocol));
		if (allowed->port != 0)
			g_string_append_printf(rules, "ct original proto-dst %u ", allowed->port);
		g_string_append(rules, "accept\n");
	}
	if (rules->len == 0)
		return true;
	g_autofree char *digest =
		g_compute_checksum_for_string(G_CHECKSUM_SHA256, rules->str, (gssize)rules->len);
	g_autofree char *chain = g_strdup_printf("out_%.24s", digest);
	g_autofree char *verdict = g_strdup_printf("goto %s", chain);

	/* The chain ends as the caller of the map would. */
	g_string_append(rules, "goto refuse\n");
	add_element(self, EGRESS, g_strdup(guarded->address), verdict);
	g_hash_table_insert(self->chains, g_steal_pointer(&chain), g_strdup(rules->str));
	return true;
}

static bool add_node(DnTable *self, const DnGuarded *guarded, GError **error)
{
	struct in_addr address;

	if (!dn_service_parse_address(guarded->address, &address, error))
		return false;
	if (!is_interface(guarded->ifname) || !g_str_has_prefix(guarded->ifname, "dn"))
		return refuse(error, "interface", guarded->ifname, "a node's: dn…");
	add_element(self, NODES, g_strdup_printf("%s . \"%s\"", guarded->address, guarded->ifname),
		    "");
	if (guarded->quarantined) {
		add_element(self, QUARANTINED, g_strdup(guarded->address), "");
		return true;
	}
	if (guarded->isolated)
		add_element(self, ISOLATED, g_strdup(guarded->address), "");
	/* A node that reaches itself through a VIP would answer to itself, untranslated. */
	add_element(self, HAIRPIN, g_strdup_printf("%s . %s", guarded->address, guarded->address),
		    "");
	for (guint i = 0; guarded->listen != NULL && i < guarded->listen->len; i++) {
		const DnListen *listen = &g_array_index(guarded->listen, DnListen, i);

		add_element(self, LISTENING,
			    g_strdup_printf("%s . %s . %u", guarded->address,
					    dn_service_protocol(listen->protocol), listen->port),
			    "");
	}
	return add_egress(self, guarded, error);
}

DnTable *dn_table_new(const DnFirewallConfig *config, const DnFirewallState *state, GError **error)
{
	g_autoptr(DnTable) self = g_new0(DnTable, 1);

	self->config.uplink = g_strdup(config->uplink);
	self->config.node_cidr = g_strdup(config->node_cidr);
	self->config.vip_cidr = g_strdup(config->vip_cidr);
	self->chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	for (size_t i = 0; i < N_SETS; i++)
		self->elements[i] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

	if (!dn_table_check_config(config, error))
		return NULL;
	/* Nodes first: a service must not name one that is quarantined. */
	for (guint i = 0; i < state->guarded->len; i++)
		if (!add_node(self, g_ptr_array_index(state->guarded, i), error))
			return NULL;
	for (guint i = 0; i < state->balanced->len; i++)
		if (!add_service(self, g_ptr_array_index(state->balanced, i), error))
			return NULL;
	return g_steal_pointer(&self);
}

void dn_table_free(DnTable *self)
{
	if (self == NULL)
		return;
	g_free((char *)self->config.uplink);
	g_free((char *)self->config.node_cidr);
	g_free((char *)self->config.vip_cidr);
	g_hash_table_unref(self->chains);
	for (size_t i = 0; i < N_SETS; i++)
		g_hash_table_unref(self->elements[i]);
	g_free(self);
}

/* Sorted, so that the same state always gives the same text. */
static GList *sorted_keys(GHashTable *table)
{
	return g_list_sort(g_hash_table_get_keys(table), (GCompareFunc)strcmp);
}

/*
 * The part that never changes. Resets of a quarantined node must carry nothing but a header:
 * nft cannot add, so every size of a TCP header has its own rule.
 */
static void print_base(const DnTable *self, GString *out)
{
	const DnFirewallConfig *config = &self->config;

	g_string_append(out, "\tset rst_window { type ipv4_addr . inet_service; }\n"
			     "\tchain resets {\n");
	for (unsigned words = 5; words <= 15; words++)
		g_string_append_printf(out, "\t\tip hdrlength 5 tcp doff %u ip length %u accept\n",
				       words, 20 + 4 * words);
	g_string_append(
		out,
		"\t}\n"
		"\tchain refuse {\n"
		"\t\tmeta l4proto tcp reject with tcp reset\n"
		"\t\treject with icmpx admin-prohibited\n"
		"\t}\n"
		"\tchain quarantine {\n"
		"\t\tip saddr . tcp sport @rst_window tcp flags & (fin | syn | rst) == rst "
		"jump resets\n"
		"\t\tip daddr @quarantined meta l4proto tcp reject with tcp reset\n"
		"\t\tip daddr @quarantined drop\n"
		"\t\tip saddr @quarantined drop\n"
		/* Of a connection that the node began: its packets, and the answers to them. */
		"\t\tip saddr @isolated ct direction original drop\n"
		"\t\tip daddr @isolated ct direction reply drop\n"
		"\t}\n"
		/* Before connection tracking: what is spoofed leaves no trace in its table. */
		"\tchain source {\n"
		"\t\tip saddr . iifname @nodes return\n"
		"\t\tdrop\n"
		"\t}\n"
		"\tchain raw {\n"
		"\t\ttype filter hook prerouting priority -310; policy accept;\n"
		"\t\tiifname \"dn*\" jump source\n"
		"\t}\n"
		"\tchain prerouting {\n"
		"\t\ttype nat hook prerouting priority -100; policy accept;\n"
		"\t\tip daddr . meta l4proto . th dport vmap @services\n"
		"\t\tfib daddr type local meta l4proto . th dport vmap @published\n"
		"\t}\n"
		"\tchain output {\n"
		"\t\ttype nat hook output priority -100; policy accept;\n"
		"\t\tip daddr . meta l4proto . th dport vmap @services\n"
		"\t\tip daddr != 127.0.0.0/8 fib daddr type local "
		"meta l4proto . th dport vmap @published\n"
		"\t}\n"
		"\tchain postrouting {\n"
		"\t\ttype nat hook postrouting priority 100; policy accept;\n"
		"\t\tip saddr . ip daddr @hairpin masquerade\n");
	/* The second: what a node opens to the world; nobody out there routes to nodes. */
	if (config->uplink != NULL)
		g_string_append_printf(out,
				       "\t\toifname \"%s\" ct status dnat masquerade\n"
				       "\t\toifname \"%s\" ip saddr %s ip daddr != %s masquerade\n",
				       config->uplink, config->uplink, config->node_cidr,
				       config->node_cidr);
	g_string_append(out, "\t}\n");
}

static void print_filters(const DnTable *self, GString *out)
{
	/* A packet that still names a VIP was translated by nobody: no such service or port. */
	g_string_append_printf(
		out,
		"\tchain to_node {\n"
		"\t\tmeta nfproto ipv6 drop\n"
		"\t\tct state invalid drop\n"
		"\t\tip daddr . meta l4proto . th dport @listening return\n"
		"\t\tgoto refuse\n"
		"\t}\n"
		"\tchain from_node {\n"
		"\t\tct state invalid drop\n"
		/* Clouds give out a machine's credentials there; no declared range includes it. */
		"\t\tip daddr 169.254.0.0/16 goto refuse\n"
		"\t\tip saddr vmap @egress\n"
		"\t\tgoto refuse\n"
		"\t}\n"
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority -10; policy accept;\n"
		"\t\tjump quarantine\n"
		"\t\tip daddr %s goto refuse\n"
		"\t\tct state established,related accept\n"
		"\t\toifname \"dn*\" jump to_node\n"
		"\t\tiifname \"dn*\" goto from_node\n"
		"\t}\n"
		"\tchain to_host {\n"
		"\t\tjump quarantine\n"
		"\t\tct state established,related accept\n"
		"\t\tct state invalid drop\n"
		"\t\tgoto refuse\n"
		"\t}\n"
		"\tchain input {\n"
		"\t\ttype filter hook input priority -10; policy accept;\n"
		"\t\tiifname \"dn*\" goto to_host\n"
		"\t}\n"
		/* No word about saddr: the resets sent for a quarantined node pass here. */
		"\tchain host {\n"
		"\t\ttype filter hook output priority -10; policy accept;\n"
		"\t\tip daddr @quarantined meta l4proto tcp reject with tcp reset\n"
		"\t\tip daddr @quarantined drop\n"
		"\t\tip daddr %s goto refuse\n"
		"\t\toifname \"dn*\" meta nfproto ipv6 drop\n"
		"\t}\n",
		self->config.vip_cidr, self->config.vip_cidr);
}

static void print_elements(GString *out, const char *verb, Set set, GList *keys,
			   GHashTable *verdicts)
{
	if (keys == NULL)
		return;
	g_string_append_printf(out, "%s element inet " DN_TABLE " %s {", verb, sets[set].name);
	for (GList *key = keys; key != NULL; key = key->next) {
		const char *verdict = g_hash_table_lookup(verdicts, key->data);

		g_string_append_printf(out, "%s %s", key != keys ? "," : "",
				       (const char *)key->data);
		if (verdict != NULL && *verdict != '\0')
			g_string_append_printf(out, " : %s", verdict);
	}
	g_string_append(out, " }\n");
}

static void print_rules(GString *out, const char *chain, const char *rules)
{
	g_auto(GStrv) lines = g_strsplit(rules, "\n", -1);

	for (char **line = lines; *line != NULL; line++)
		if (**line != '\0')
			g_string_append_printf(out, "add rule inet " DN_TABLE " %s %s\n", chain,
					       *line);
}

void dn_table_print(const DnTable *self, GString *out)
{
	g_autoptr(GList) chains = sorted_keys(self->chains);

	/* "add" makes "delete" legal when there is no table yet. */
	g_string_append(out, "add table inet " DN_TABLE "\n"
			     "delete table inet " DN_TABLE "\n"
			     "table inet " DN_TABLE " {\n");
	for (size_t i = 0; i < N_SETS; i++)
		g_string_append_printf(out, "\t%s %s { type %s; }\n", sets[i].kind, sets[i].name,
				       sets[i].type);
	print_base(self, out);
	print_filters(self, out);
	g_string_append(out, "}\n");
	for (GList *chain = chains; chain != NULL; chain = chain->next) {
		g_string_append_printf(out, "add chain inet " DN_TABLE " %s\n",
				       (const char *)chain->data);
		print_rules(out, chain->data, g_hash_table_lookup(self->chains, chain->data));
	}
	for (Set set = 0; set < N_SETS; set++) {
		g_autoptr(GList) keys = sorted_keys(self->elements[set]);

		print_elements(out, "add", set, keys, self->elements[set]);
	}
}

/* Keys of @table that @other lacks or has with another value. */
static GList *keys_without(GHashTable *table, GHashTable *other)
{
	GList *keys = sorted_keys(table);

	for (GList *key = keys, *next; key != NULL; key = next) {
		next = key->next;
		if (g_strcmp0(g_hash_table_lookup(table, key->data),
			      g_hash_table_lookup(other, key->data)) == 0)
			keys = g_list_delete_link(keys, key);
	}
	return keys;
}

/* Elements go before the chains they name, and come after them. */
void dn_table_print_difference(const DnTable *self, const DnTable *from, GString *out)
{
	g_autoptr(GList) stale = keys_without(from->chains, self->chains);
	g_autoptr(GList) wanted = keys_without(self->chains, from->chains);

	for (Set set = 0; set < N_SETS; set++) {
		g_autoptr(GList) keys = keys_without(from->elements[set], self->elements[set]);

		print_elements(out, "delete", set, keys, from->elements[set]);
	}
	for (GList *chain = stale; chain != NULL; chain = chain->next) {
		const char *name = chain->data;
		bool stays = g_hash_table_contains(self->chains, name);

		g_string_append_printf(out, "%s chain inet " DN_TABLE " %s\n",
				       stays ? "flush" : "delete", name);
	}
	for (GList *chain = wanted; chain != NULL; chain = chain->next) {
		g_string_append_printf(out, "add chain inet " DN_TABLE " %s\n",
				       (const char *)chain->data);
		print_rules(out, chain->data, g_hash_table_lookup(self->chains, chain->data));
	}
	for (Set set = 0; set < N_SETS; set++) {
		g_autoptr(GList) keys = keys_without(self->elements[set], from->elements[set]);

		print_elements(out, "add", set, keys, self->elements[set]);
	}
}
