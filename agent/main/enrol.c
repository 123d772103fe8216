/* SPDX-License-Identifier: Apache-2.0 */
#include "main/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "manifest/trust-file.h"
#include "seal/digest.h"
#include "seal/token.h"
#include "seal/trust.h"

enum { KEPT_LIMIT = 1000, KEY_TEXT = 128 };

static const char pending_key[] = "enrol.key"; /* becomes agent.key when the supervisor agrees */

static char *state_path(const DnInstance *instance, const char *name)
{
	return g_build_filename(instance->state_dir, name, NULL);
}

static bool is_enrolled(const DnInstance *instance)
{
	g_autofree char *key = state_path(instance, "agent.key");

	return g_file_test(key, G_FILE_TEST_EXISTS);
}

/* The digest in the token was read by a person; nothing else of the answer is believed. */
static bool check_answer(const DnHostToken *token, const DnEnrolled *enrolled, GError **error)
{
	uint8_t digest[DN_DIGEST_BYTES];
	gsize size = 0;
	const void *bytes = g_bytes_get_data(enrolled->trust, &size);

	dn_digest_of(bytes, size, digest);
	if (memcmp(digest, token->trust_digest, sizeof(digest)) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the supervisor's trust file is not the one the token names; make a "
			    "new token if the file was changed since");
		return false;
	}
	g_autoptr(DnTrustPolicy) trust = dn_trust_file_parse(enrolled->trust, "trust.yaml", error);
	if (trust == NULL || !dn_trust_check_keys(trust, "trust.yaml", error))
		return false;
	if (!g_str_equal(trust->cluster, token->cluster) ||
	    !g_str_equal(enrolled->cluster, token->cluster)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "token and trust file are of different clusters");
		return false;
	}
	return true;
}

static bool save_epochs(const DnInstance *instance, const DnEnrolled *enrolled, GError **error)
{
	/* What this host has accepted before stays: a table only grows, whoever sends one. */
	Agent agent = {.instance = (DnInstance *)instance, .epochs = dn_epochs_new()};
	g_autoptr(GHashTable) epochs = agent.epochs;
	GHashTableIter iter;
	gpointer service = NULL, epoch = NULL;

	if (!dn_state_load_epochs(&agent, error))
		return false;
	g_hash_table_iter_init(&iter, enrolled->epochs);
	while (g_hash_table_iter_next(&iter, &service, &epoch))
		dn_epochs_set(epochs, service, *(const uint64_t *)epoch, NULL, false);
	return dn_state_save_epochs(&agent, error);
}

/* State of another cluster would be judged by this one's keys and numbers. */
static bool check_earlier(const DnInstance *instance, const DnHostToken *token, GError **error)
{
	g_autofree char *path = state_path(instance, "trust.yaml");
	g_autoptr(GBytes) bytes = dn_file_read(path, 256 * 1024, NULL);
	g_autoptr(DnTrustPolicy) trust =
		bytes != NULL ? dn_trust_file_parse(bytes, path, NULL) : NULL;

	if (trust == NULL || g_str_equal(trust->cluster, token->cluster))
		return true;
	g_set_error(
		error, DN_ERROR, DN_ERROR_CONFLICT,
		"%s is the state of a host of cluster %s, the token is of cluster %s; move that "
		"directory away first",
		instance->state_dir, trust->cluster, token->cluster);
	return false;
}

/* What belongs to the last key is kept beside what begins with the new, for whoever compares. */
static bool set_aside(const DnInstance *instance, const char *name, GError **error)
{
	g_autofree char *path = state_path(instance, name);

	for (unsigned number = 1; number < KEPT_LIMIT; number++) {
		g_autofree char *aside = g_strdup_printf("%s.%u", path, number);

		if (g_file_test(aside, G_FILE_TEST_EXISTS))
			continue;
		if (rename(path, aside) == 0 || errno == ENOENT)
			return true;
		return dn_throw_errno(error, errno, "keep %s as %s", path, aside);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%s: %u earlier ones are kept already; move them away", path, KEPT_LIMIT - 1);
	return false;
}

/*
 * A name of the cluster, and the range that goes with it, is of one key for good. Whether this host
 * has had its ranges under @key: it comes again as who it was.
 */
static bool has_ranges_of(const DnInstance *instance, const DnSecretKey *key)
{
	const Agent agent = {.instance = (DnInstance *)instance};
	g_autoptr(JsonObject) object = dn_state_load_json(&agent, "", "network", NULL);
	g_autofree char *text = dn_secret_key_public_text(key);
	g_autofree char *known =
		object != NULL ? dn_json_string_or_null(object, "key", KEY_TEXT, NULL) : NULL;

	return g_strcmp0(known, text) == 0;
}

/* Nodes and evidence are of a name and its addresses: neither goes over to another. */
static bool check_left(const DnInstance *instance, GError **error)
{
	g_autofree char *folder = g_build_filename(instance->run_dir, "nodes", NULL);
	g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		if (!g_str_has_suffix(name, ".json"))
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "this host has a new key and still nodes of the last one (%.*s); take "
			    "them away first: dnode-agent cleanup",
			    (int)(strlen(name) - strlen(".json")), name);
		return false;
	}
	return dn_state_check_evidence(instance, error);
}

/* The cluster tells a new name its ranges; those of the last one would be held against it. */
static bool leave_name(const DnInstance *instance, const DnSecretKey *key, GError **error)
{
	const Agent agent = {.instance = (DnInstance *)instance};
	g_autofree char *network = state_path(instance, "network.json");

	if (has_ranges_of(instance, key))
		return true;
	g_autoptr(GPtrArray) incidents = dn_state_list(&agent, "incidents", ".json");
	return (incidents->len == 0 || set_aside(instance, "incidents", error)) &&
	       dn_file_remove(network, error);
}

/* The key goes last: a host with a key is an enrolled one. */
static bool save(const DnInstance *instance, const DnSecretKey *key, const DnEnrolled *enrolled,
		 const uint8_t supervisor_key[32], GError **error)
{
	g_autofree char *trust = state_path(instance, "trust.yaml");
	g_autofree char *supervisor = state_path(instance, "supervisor.pub");
	g_autofree char *path = state_path(instance, "agent.key");
	g_autofree char *text = g_base64_encode(supervisor_key, 32);
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

	return save_epochs(instance, enrolled, error) &&
	       dn_failpoint("agent.enrol.journal.before", error) &&
	       set_aside(instance, "journal", error) &&
	       dn_failpoint("agent.enrol.name.before", error) && leave_name(instance, key, error) &&
	       dn_failpoint("agent.enrol.trust.before", error) &&
	       dn_file_replace(trust, enrolled->trust, 0644, error) &&
	       dn_failpoint("agent.enrol.supervisor.before", error) &&
	       dn_file_replace(supervisor, bytes, 0644, error) &&
	       dn_failpoint("agent.enrol.key.before", error) &&
	       dn_secret_key_save(key, path, error) && dn_failpoint("agent.enrol.key.after", error);
}

/*
 * The supervisor gives a name to one key for good. If its answer is lost the next attempt must
 * come with the same key, so the key is on disk before anybody hears of it.
 */
static DnSecretKey *key_to_enrol(const DnInstance *instance, GError **error)
{
	g_autofree char *path = state_path(instance, pending_key);

	if (access(path, F_OK) == 0)
		return dn_secret_key_load(path, error);
	g_autoptr(DnSecretKey) key = dn_secret_key_generate();
	return dn_secret_key_save(key, path, error) ? g_steal_pointer(&key) : NULL;
}

static bool enrol(const DnInstance *instance, const char *text, GError **error)
{
	g_autoptr(DnHostToken) token = dn_host_token_decode(text, error);
	uint8_t seed[DN_SEED_BYTES], supervisor_key[32];
	DnEnrolled *enrolled = NULL;

	if (token == NULL)
		return false;
	if (dn_host_token_is_expired(token, dn_clock_realtime_ns() / DN_NS_PER_S)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "this token has expired; make a new one with 'dnode host token %s'",
			    token->host);
		return false;
	}
	if (!g_str_equal(token->host, instance->name)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "this token is for host %s, this host is configured as %s", token->host,
			    instance->name);
		return false;
	}
	if (!dn_file_make_directory(instance->state_dir, 0700, error) ||
	    !check_earlier(instance, token, error))
		return false;
	g_autoptr(DnSecretKey) key = key_to_enrol(instance, error);
	if (key == NULL || !(has_ranges_of(instance, key) || check_left(instance, error)))
		return false;
	g_autoptr(GBytes) secret = g_bytes_new(token->secret, sizeof(token->secret));
	dn_secret_key_export_seed(key, seed);
	bool done = dn_uplink_enrol_now(token->address, instance->name, seed,
					token->supervisor_fingerprint, secret, &enrolled,
					supervisor_key, error);
	explicit_bzero(seed, sizeof(seed));
	if (!done)
		return false;
	done = check_answer(token, enrolled, error) &&
	       save(instance, key, enrolled, supervisor_key, error);
	dn_enrolled_free(enrolled);
	if (done) {
		g_autofree char *pending = state_path(instance, pending_key);
		(void)unlink(pending);
	}
	return done;
}

bool dn_agent_enrol(const DnInstance *instance, const char *text, GError **error)
{
	if (is_enrolled(instance)) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_CONFLICT,
			"this host is enrolled already. %s belongs to its key for good: to "
			"join this cluster anew, stop the agent, run 'dnode-agent cleanup', move "
			"%s/agent.key away (the epochs it has accepted stay), and choose another "
			"name in its configuration and for the token. To join another cluster, "
			"move %s away as a whole",
			instance->name, instance->state_dir, instance->state_dir);
		return false;
	}
	return enrol(instance, text, error);
}
