/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/cluster-file.h"

#include <string.h>

#include "manifest/fields.h"
#include "manifest/grammar.h"

/* A /24 a host; fewer than two addresses make no range of VIPs. */
enum { SHORTEST_PREFIX = 8, NODE_PREFIX_LIMIT = 24, VIP_PREFIX_LIMIT = 30 };

static const char *const versions[] = {"cluster/v1", NULL};
static const char *const routes[] = {"host-gw", NULL};

static void check_node_cidr(const DnYamlNode *node, void *into, DnFaults *faults);
static void check_vip_cidr(const DnYamlNode *node, void *into, DnFaults *faults);

static const DnField cluster_fields[] = {
	{"dnode", DN_FIELD_WORD, DN_FIELD_REQUIRED, .words = versions},
	{"id", DN_FIELD_HEX, DN_FIELD_REQUIRED, DN_MEMBER(DnCluster, id), .max = 16},
	{"node_cidr", DN_FIELD_CIDR4, 0, DN_MEMBER(DnCluster, node_cidr), .check = check_node_cidr},
	{"vip_cidr", DN_FIELD_CIDR4, 0, DN_MEMBER(DnCluster, vip_cidr), .check = check_vip_cidr},
	{"routes", DN_FIELD_WORD, 0, .words = routes},
	{"listen", DN_FIELD_ADDRESS, 0, DN_MEMBER(DnCluster, listen)},
	{"advertise", DN_FIELD_ENDPOINT, 0, DN_MEMBER(DnCluster, advertise)},
	{"repo_listen", DN_FIELD_ADDRESS, 0, DN_MEMBER(DnCluster, repo_listen)},
	{0},
};

static void check_prefix(const DnYamlNode *node, unsigned limit, const char *why, DnFaults *faults)
{
	uint32_t address = 0;
	unsigned prefix = 0;

	if (dn_grammar_cidr4(node->text, &address, &prefix) &&
	    (prefix < SHORTEST_PREFIX || prefix > limit))
		dn_faults_add(faults, node->at, "the prefix must be from /%d to /%u: %s",
			      SHORTEST_PREFIX, limit, why);
}

static void check_node_cidr(const DnYamlNode *node, void *into, DnFaults *faults)
{
	check_prefix(node, NODE_PREFIX_LIMIT, "every host gets a /24 of it", faults);
}

static void check_vip_cidr(const DnYamlNode *node, void *into, DnFaults *faults)
{
	check_prefix(node, VIP_PREFIX_LIMIT, "every service gets an address of it", faults);
}

static bool overlap(const char *one, const char *other)
{
	uint32_t a = 0, b = 0;
	unsigned a_prefix = 0, b_prefix = 0;

	if (!dn_grammar_cidr4(one, &a, &a_prefix) || !dn_grammar_cidr4(other, &b, &b_prefix))
		return false;
	unsigned prefix = MIN(a_prefix, b_prefix);
	return prefix == 0 || (a ^ b) >> (32 - prefix) == 0;
}

DnCluster *dn_cluster_file_parse(GBytes *bytes, const char *name, GError **error)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);

	if (root != NULL)
		dn_fields_read(root, cluster_fields, cluster, faults);
	if (dn_faults_count(faults) == 0 && overlap(cluster->node_cidr, cluster->vip_cidr)) {
		const DnYamlNode *vip = dn_yaml_get(root, "vip_cidr");
		const DnYamlNode *node = dn_yaml_get(root, "node_cidr");

		dn_faults_add(faults, (vip != NULL ? vip : node)->at,
			      "vip_cidr %s and node_cidr %s overlap", cluster->vip_cidr,
			      cluster->node_cidr);
	}
	if (!dn_faults_raise(faults, error))
		return NULL;
	if (cluster->advertise == NULL)
		cluster->advertise = g_strdup(cluster->listen);
	return g_steal_pointer(&cluster);
}

GBytes *dn_cluster_file_render(const DnCluster *cluster)
{
	const char *advertise = cluster->advertise != NULL ? cluster->advertise : cluster->listen;
	char *text = g_strdup_printf(
		"# The cluster as its supervisor runs it. The id and the ranges of addresses stay "
		"as\n"
		"# they are once the first host is enrolled.\n"
		"dnode: cluster/v1\n"
		"id: \"%s\"\n"
		"node_cidr: %s  # every host gets a /24 of it for its nodes\n"
		"vip_cidr: %s  # every service gets one address of it\n"
		"routes: host-gw  # hosts reach each other's nodes directly, on one layer 2\n"
		"listen: \"%s\"  # where hosts connect\n"
		"advertise: \"%s\"  # what host tokens tell them to connect to\n"
		"repo_listen: \"%s\"  # where hosts pull images\n",
		cluster->id, cluster->node_cidr, cluster->vip_cidr, cluster->listen, advertise,
		cluster->repo_listen);

	return g_bytes_new_take(text, strlen(text));
}
