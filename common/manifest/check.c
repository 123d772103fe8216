/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/check.h"

#include "base/text.h"
#include "manifest/grammar.h"
#include "model/manifest.h"

bool dn_check_has_user(const void *manifest)
{
	return ((const DnManifest *)manifest)->run.uid >= 0;
}

bool dn_check_probes_tcp(const void *manifest)
{
	return ((const DnManifest *)manifest)->health.kind == DN_PROBE_TCP;
}

bool dn_check_probes_http(const void *manifest)
{
	return ((const DnManifest *)manifest)->health.kind == DN_PROBE_HTTP;
}

void dn_check_listen_item(const DnYamlNode *node, void *item, DnFaults *faults)
{
	DnListen *listen = item;

	if (listen->expose == 0)
		listen->expose = listen->port;
}

void dn_check_egress_item(const DnYamlNode *node, void *item, DnFaults *faults)
{
	const DnEgress *egress = item;
	const DnYamlNode *port = dn_yaml_get(node, "port");
	const DnYamlNode *protocol = dn_yaml_get(node, "protocol");

	if ((egress->service == NULL) == (egress->cidr == NULL))
		dn_faults_add(faults, node->at,
			      "an egress rule names either a \"service\" or a \"cidr\"");
	if (egress->service != NULL && (port != NULL || protocol != NULL))
		dn_faults_add(faults, (port != NULL ? port : protocol)->at,
			      "\"port\" and \"protocol\" go with \"cidr\"; a service is reached on "
			      "the ports that it exposes");
}

void dn_check_writable_item(const DnYamlNode *node, void *item, DnFaults *faults)
{
	static const char *const kept[] = {"/proc", "/sys", "/dev", "/etc"};
	const DnWritable *writable = item;
	const DnYamlNode *path = dn_yaml_get(node, "path");

	if (g_str_equal(writable->path, "/"))
		dn_faults_add(faults, path->at,
			      "\"/\" cannot be writable; name the directories that must be");
	/* Shared memory and semaphores of POSIX are files there, by the C library's choice. */
	if (g_str_equal(writable->path, "/dev/shm"))
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
		if (dn_grammar_is_below(writable->path, kept[i]))
			dn_faults_add(faults, path->at,
				      "%s cannot be writable, nothing below it either%s", kept[i],
				      g_str_equal(kept[i], "/dev") ? " but /dev/shm" : "");
}

void dn_check_listen(const DnYamlNode *node, void *manifest, DnFaults *faults)
{
	const GArray *listen = ((const DnManifest *)manifest)->listen;

	for (guint i = 0; i < listen->len; i++) {
		const DnListen *later = &g_array_index(listen, DnListen, i);
		const DnYamlNode *item = g_ptr_array_index(node->items, i);

		for (guint j = 0; j < i; j++) {
			const DnListen *earlier = &g_array_index(listen, DnListen, j);

			if (earlier->protocol != later->protocol)
				continue;
			if (earlier->port == later->port)
				dn_faults_add(faults, item->at, "port %u is in \"listen\" twice",
					      later->port);
			if (earlier->expose == later->expose)
				dn_faults_add(faults, item->at,
					      "port %u of the VIP is exposed twice", later->expose);
		}
	}
}

void dn_check_writable(const DnYamlNode *node, void *manifest, DnFaults *faults)
{
	const GArray *writable = ((const DnManifest *)manifest)->writable;

	for (guint i = 0; i < writable->len; i++) {
		const char *later = g_array_index(writable, DnWritable, i).path;
		const DnYamlNode *item = g_ptr_array_index(node->items, i);

		for (guint j = 0; j < i; j++) {
			const char *earlier = g_array_index(writable, DnWritable, j).path;

			if (dn_grammar_is_below(later, earlier) ||
			    dn_grammar_is_below(earlier, later)) {
				g_autofree char *a = dn_faults_quote(later);
				g_autofree char *b = dn_faults_quote(earlier);
				dn_faults_add(faults, item->at, "writable %s and %s overlap", a, b);
			}
		}
	}
}

/*
 * A roll starts the new node before it drains an old one, so it keeps at least replicas nodes
 * by itself: any minimum up to that is kept, a larger one could never be.
 */
static void check_roll(const DnYamlNode *root, const DnManifest *manifest, DnFaults *faults)
{
	const DnYamlNode *minimum = dn_yaml_get(dn_yaml_get(root, "roll"), "min_healthy");
	uint64_t wanted = 0;

	if (minimum == NULL || minimum->kind != DN_YAML_SCALAR ||
	    !dn_text_parse_u64(minimum->text, 1000, &wanted) || wanted <= manifest->replicas)
		return;
	dn_faults_add(faults, minimum->at,
		      "\"min_healthy\" must be at most the number of replicas, %u",
		      manifest->replicas);
}

/* Each host balances to all of them, and is told in one piece. */
static void check_endpoints(const DnYamlNode *root, const DnManifest *manifest, DnFaults *faults)
{
	enum { LIMIT = 5000 };
	const DnYamlNode *listen = dn_yaml_get(root, "listen");

	if (listen != NULL && (uint64_t)manifest->replicas * manifest->listen->len > LIMIT)
		dn_faults_add(faults, listen->at,
			      "%u replicas of %u ports are more than %d endpoints; expose fewer "
			      "ports or split the service",
			      manifest->replicas, manifest->listen->len, LIMIT);
}

static void check_running(const DnYamlNode *root, const DnManifest *manifest, DnFaults *faults)
{
	static const char *const mandatory[] = {"image", "resources"};

	if (manifest->removed)
		return;
	for (size_t i = 0; i < G_N_ELEMENTS(mandatory); i++)
		if (dn_yaml_get(root, mandatory[i]) == NULL)
			dn_faults_add(faults, root->at,
				      "key \"%s\" is missing; only state: removed does without",
				      mandatory[i]);
}

static bool listens_on(const DnManifest *manifest, uint16_t port)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (listen->protocol == DN_PROTOCOL_TCP && listen->port == port)
			return true;
	}
	return false;
}

/* The port that is probed when health names none; 0: nothing listens on TCP. */
static uint16_t first_port(const DnManifest *manifest)
{
	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (listen->protocol == DN_PROTOCOL_TCP)
			return listen->port;
	}
	return 0;
}

static bool is_on_udp_alone(const DnManifest *manifest)
{
	for (guint i = 0; i < manifest->listen->len; i++)
		if (g_array_index(manifest->listen, DnListen, i).protocol == DN_PROTOCOL_TCP)
			return false;
	return manifest->listen->len > 0;
}

static void check_health(const DnYamlNode *root, DnManifest *manifest, DnFaults *faults)
{
	const DnYamlNode *health = dn_yaml_get(root, "health");
	const DnYamlNode *http = dn_yaml_get(health, "http");
	const DnYamlNode *tcp = dn_yaml_get(health, "tcp");
	const DnYamlNode *port = dn_yaml_get(health, "port");
	const DnYamlNode *said = tcp != NULL ? tcp : port;
	DnHealthPolicy *policy = &manifest->health;

	if (tcp != NULL && (http != NULL || port != NULL))
		dn_faults_add(faults, tcp->at,
			      "\"tcp: PORT\" stands alone; \"port\" goes with \"http: PATH\"");
	else if (port != NULL && http == NULL)
		dn_faults_add(faults, port->at,
			      "\"port\" goes with \"http: PATH\"; for a tcp probe write tcp: PORT");
	if (said == NULL || policy->port == 0)
		policy->port = first_port(manifest);
	else if (!listens_on(manifest, policy->port))
		dn_faults_add(faults, said->at, "port %u is probed but not in \"listen\" as tcp",
			      policy->port);
	if (is_on_udp_alone(manifest))
		dn_faults_add(faults, dn_yaml_get(root, "listen")->at,
			      "a service on udp alone cannot be probed: add a tcp port to "
			      "\"listen\" that answers health probes");
	else if (http != NULL && policy->port == 0)
		dn_faults_add(faults, http->at, "an http probe needs a tcp port in \"listen\"");
	policy->kind = http != NULL        ? DN_PROBE_HTTP
		       : policy->port != 0 ? DN_PROBE_TCP
					   : DN_PROBE_NONE;
}

void dn_check_manifest(const DnYamlNode *root, void *into, DnFaults *faults)
{
	DnManifest *manifest = into;

	if (root->kind != DN_YAML_MAP)
		return;
	check_running(root, manifest, faults);
	check_roll(root, manifest, faults);
	check_endpoints(root, manifest, faults);
	check_health(root, manifest, faults);
}
