/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
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
		bytes != NULL ? dn_home_parse_trust(bytes, path, error) : NULL;

	if (policy == NULL)
		return false;
	replace(&cluster->id, policy->cluster);
	return true;
}

/* The option whose value stands in line @number of @text, or NULL: --vip-cidr of "vip_cidr: ...".
 */
static char *option_of(const DnCall *call, const char *text, uint64_t number)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	if (number == 0 || number > g_strv_length(lines))
		return NULL;
	g_autofree char *option = g_strdelimit(
		g_strndup(lines[number - 1], strcspn(lines[number - 1], ":")), "_", '-');
	return dn_call_has(call, option) ? g_steal_pointer(&option) : NULL;
}

/*
 * What was typed is judged by the same reader as the file. A fault is told by the option: that file
 * is not there yet.
 */
static bool check_values(const DnCall *call, const DnCluster *cluster, GError **error)
{
	static const char place[] = "cluster.yaml:";
	g_autoptr(GError) cause = NULL;
	g_autoptr(GBytes) text = dn_cluster_file_render(cluster);
	g_autoptr(DnCluster) parsed = dn_cluster_file_parse(text, "cluster.yaml", &cause);

	if (parsed != NULL)
		return true;
	/* The first of the faults, "cluster.yaml:LINE:COLUMN: TEXT". */
	g_auto(GStrv) faults = g_strsplit(cause->message, "\n", 2);
	const char *said = strstr(faults[0], ": ");
	g_autofree char *option =
		g_str_has_prefix(faults[0], place)
			? option_of(call, g_bytes_get_data(text, NULL),
				    g_ascii_strtoull(faults[0] + strlen(place), NULL, 10))
			: NULL;
	if (option == NULL || said == NULL)
		g_propagate_error(error, g_steal_pointer(&cause));
	else
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "--%s %s: %s", option,
			    dn_call_option(call, option), said + strlen(": "));
	return false;
}

static bool check(const DnCall *call, const DnCluster *cluster, GError **error)
{
	const char *advertise = dn_call_option(call, "advertise");

	if (!check_values(call, cluster, error))
		return false;
	if (advertise != NULL && dn_cluster_is_any_address(advertise)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "--advertise %s: no other host finds the supervisor there; give the "
			    "name or the address by which they do",
			    advertise);
		return false;
	}
	return true;
}

/* cluster.yaml comes last: it is what makes the directory a cluster's. */
static bool make_files(const char *dir, DnCluster *cluster, char **fingerprint, GError **error)
{
	g_autofree char *keys = g_build_filename(dir, "keys", NULL);
	g_autofree char *trust_path = g_build_filename(dir, "trust.yaml", NULL);
	g_autofree char *cluster_path = g_build_filename(dir, "cluster.yaml", NULL);

	if (!dn_file_make_directory(dir, 0755, error))
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

/* --dir, --home, $DNODE_HOME, /etc/dnode: where there is a cluster does not matter, as elsewhere.
 */
static const char *find_dir(const DnCall *call, GError **error)
{
	const char *dir = dn_call_option(call, "dir"), *named = g_getenv("DNODE_HOME");

	if (dir != NULL && call->home != NULL && strcmp(dir, call->home) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "--dir %s and --home %s are two directories; leave one out", dir,
			    call->home);
		return NULL;
	}
	if (dir != NULL)
		return dir;
	if (call->home != NULL)
		return call->home;
	return named != NULL && named[0] != '\0' ? named : DEFAULT_DIR;
}

/* What host tokens will name. */
static void warn_of_address(const DnCall *call, const DnCluster *cluster, const char *dir)
{
	if (cluster->advertise == NULL && dn_cluster_is_any_address(cluster->listen))
		dn_output_note(call->output,
			       "other hosts cannot find the supervisor at %s: give --advertise "
			       "HOST:PORT, or set 'advertise' in %s/cluster.yaml",
			       cluster->listen, dir);
}

static bool run(DnCall *call, GError **error)
{
	const char *dir = find_dir(call, error);
	g_autoptr(DnCluster) cluster = describe(call);
	g_autofree char *fingerprint = NULL;

	if (dir == NULL || !check(call, cluster, error) ||
	    !make_files(dir, cluster, &fingerprint, error))
		return false;
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "id", cluster->id);
		json_object_set_string_member(object, "home", dir);
		json_object_set_string_member(object, "key_fingerprint", fingerprint);
		json_object_set_object_member(document, "cluster", object);
		dn_output_json(call->output, document);
		warn_of_address(call, cluster, dir);
		return true;
	}
	dn_output_line(call->output, "cluster %s in %s", cluster->id, dir);
	dn_output_line(call->output, "supervisor key %s", fingerprint);
	warn_of_address(call, cluster, dir);
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
	.options = {{"dir", "DIR", "where; else as --home (" DEFAULT_DIR ")"},
		    {"listen", "ADDRESS:PORT", "where agents connect to"},
		    {"advertise", "HOST:PORT", "what host tokens name; default: listen"},
		    {"repo-listen", "ADDRESS:PORT", "where hosts pull images from"},
		    {"node-cidr", "CIDR", "addresses of nodes, a /24 a host"},
		    {"vip-cidr", "CIDR", "addresses of services"}},
	.run = run,
};
