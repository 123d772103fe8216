/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "manifest/cluster-file.h"
#include "manifest/trust-file.h"
#include "model/cluster.h"
#include "verbs/all.h"
#include "verbs/home.h"

#define DEFAULT_DIR "/etc/dnode"
#define ID_BYTES 8

static void replace(char **member, const char *value)
{
	if (value == NULL)
		return;
	g_free(*member);
	*member = g_strdup(value);
}

static DnCluster *describe(const DnCall *call)
{
	DnCluster *cluster = dn_cluster_new();

	cluster->id = dn_id_new(ID_BYTES);
	replace(&cluster->listen, dn_call_option(call, "listen"));
	replace(&cluster->advertise, dn_call_option(call, "advertise"));
	replace(&cluster->repo_listen, dn_call_option(call, "repo-listen"));
	replace(&cluster->node_cidr, dn_call_option(call, "node-cidr"));
	replace(&cluster->vip_cidr, dn_call_option(call, "vip-cidr"));
	return cluster;
}

/*
 * A key that is there is that of an init that was killed, or of a cluster whose cluster.yaml was
 * lost: either way the one to go on with.
 */
static bool make_identity(const char *dir, char **fingerprint, GError **error)
{
	g_autofree char *stem = g_build_filename(dir, "supervisor", NULL);
	g_autofree char *key_path = g_strconcat(stem, ".key", NULL);
	g_autofree char *public_path = g_strconcat(stem, ".pub", NULL);
	bool there = access(key_path, F_OK) == 0;
	g_autoptr(DnSecretKey) key =
		there ? dn_secret_key_load(key_path, error) : dn_secret_key_generate();
	uint8_t public[DN_PUBLIC_KEY_BYTES];

	if (key == NULL || (!there && !dn_secret_key_save_pair(key, stem, error)))
		return false;
	if (access(public_path, F_OK) != 0 && !dn_secret_key_save_public(key, public_path, error))
		return false;
	dn_secret_key_public(key, public);
	*fingerprint = dn_public_key_fingerprint(public);
	return true;
}

/* A trust file that is there may name keys already: it stays, and so does its cluster's id. */
static bool make_trust(const char *path, DnCluster *cluster, GError **error)
{
	if (access(path, F_OK) != 0) {
		g_autoptr(GBytes) text = dn_trust_file_new(cluster->id);

		return dn_file_replace(path, text, 0644, error);
	}
	g_autoptr(GBytes) bytes = dn_file_read(path, DN_HOME_FILE_LIMIT, error);
	g_autoptr(DnTrustPolicy) policy =
		bytes != NULL ? dn_trust_file_parse(bytes, path, error) : NULL;

	if (policy == NULL)
		return false;
	replace(&cluster->id, policy->cluster);
	return true;
}

/* What was typed is judged by the same reader as the file. */
static bool check(const DnCluster *cluster, const char *path, GError **error)
{
	g_autoptr(GBytes) text = dn_cluster_file_render(cluster);
	g_autoptr(DnCluster) parsed = dn_cluster_file_parse(text, path, error);

	return parsed != NULL;
}

/* cluster.yaml comes last: it is what makes the directory a cluster's. */
static bool make_files(const char *dir, DnCluster *cluster, char **fingerprint, GError **error)
{
	g_autofree char *keys = g_build_filename(dir, "keys", NULL);
	g_autofree char *trust_path = g_build_filename(dir, "trust.yaml", NULL);
	g_autofree char *cluster_path = g_build_filename(dir, "cluster.yaml", NULL);

	if (!check(cluster, cluster_path, error) || !dn_file_make_directory(dir, 0755, error))
		return false;
	dn_autofd int lock = dn_home_lock(dir, error);
	if (lock < 0)
		return false;
	if (access(cluster_path, F_OK) == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s is there already: this is a cluster's directory", cluster_path);
		return false;
	}
	if (!dn_file_make_directory(keys, 0700, error) || !make_identity(dir, fingerprint, error) ||
	    !make_trust(trust_path, cluster, error))
		return false;
	g_autoptr(GBytes) text = dn_cluster_file_render(cluster);
	return dn_file_replace(cluster_path, text, 0644, error);
}

static bool run(DnCall *call, GError **error)
{
	const char *dir = dn_call_option(call, "dir");
	g_autoptr(DnCluster) cluster = describe(call);
	g_autofree char *fingerprint = NULL;

	if (dir == NULL)
		dir = call->home != NULL ? call->home : DEFAULT_DIR;
	if (!make_files(dir, cluster, &fingerprint, error))
		return false;
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "id", cluster->id);
		json_object_set_string_member(object, "home", dir);
		json_object_set_string_member(object, "key_fingerprint", fingerprint);
		json_object_set_object_member(document, "cluster", object);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_line(call->output, "cluster %s in %s", cluster->id, dir);
	dn_output_line(call->output, "supervisor key %s", fingerprint);
	dn_output_note(call->output,
		       "next: dnode key gen NAME --role release|deploy|responder --home %s", dir);
	return true;
}

const DnVerb dn_verb_cluster_init = {
	.noun = "cluster",
	.verb = "init",
	.help = "a new cluster: the supervisor's identity, cluster.yaml, trust.yaml",
	.more = "Where there is no cluster.yaml, which is written last, a supervisor.key and a "
		"trust.yaml\n"
		"that are there stay as they are: one that was killed is begun again.",
	.options = {{"dir", "DIR", "where (" DEFAULT_DIR ")"},
		    {"listen", "ADDRESS:PORT", "where agents connect to"},
		    {"advertise", "HOST:PORT", "what host tokens name; default: listen"},
		    {"repo-listen", "ADDRESS:PORT", "where hosts pull images from"},
		    {"node-cidr", "CIDR", "addresses of nodes, a /24 a host"},
		    {"vip-cidr", "CIDR", "addresses of services"}},
	.run = run,
};
