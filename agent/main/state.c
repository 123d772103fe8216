/* SPDX-License-Identifier: Apache-2.0 */
#include "main/state.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "core/address.h"
#include "core/custody.h"
#include "manifest/manifest.h"
#include "manifest/trust-file.h"
#include "seal/digest.h"
#include "seal/trust.h"
#include "wire/records.h"

enum { SMALL = 64 * 1024, LARGE = 4 * 1024 * 1024 };

char *dn_state_file(const Agent *agent, const char *folder, const char *name, const char *suffix)
{
	g_autofree char *file = g_strconcat(name, suffix, NULL);

	return g_build_filename(agent->instance->state_dir, folder, file, NULL);
}

char *dn_state_incident_path(const Agent *agent, const char *id)
{
	return dn_state_file(agent, "incidents", id, ".json");
}

GBytes *dn_state_incident_bytes(const DnIncident *incident)
{
	return dn_json_print(dn_record_from_incident(incident));
}

static bool save_json(const Agent *agent, const char *folder, const char *name, JsonObject *object,
		      GError **error)
{
	g_autofree char *path = dn_state_file(agent, folder, name, ".json");
	g_autoptr(GBytes) bytes = dn_json_print(object);

	return dn_file_replace(path, bytes, 0600, error);
}

JsonObject *dn_state_load_json(const Agent *agent, const char *folder, const char *name,
			       GError **error)
{
	g_autofree char *path = dn_state_file(agent, folder, name, ".json");
	g_autoptr(GBytes) bytes = dn_file_read(path, LARGE, error);
	JsonObject *object = bytes == NULL ? NULL : dn_json_parse(bytes, LARGE, error);

	if (object == NULL)
		g_prefix_error(error, "%s: ", path);
	return object;
}

bool dn_state_save_term(Agent *agent, uint64_t term, GError **error)
{
	if (!dn_failpoint("agent.term.save.before", error))
		return false;
	JsonObject *object = json_object_new();
	json_object_set_int_member(object, "term", (gint64)term);
	return save_json(agent, "", "term", object, error) &&
	       dn_failpoint("agent.term.save.after", error);
}

bool dn_state_save_welcome(Agent *agent, const DnWelcome *welcome, GError **error)
{
	if (!dn_failpoint("agent.network.save.before", error))
		return false;
	JsonObject *object = json_object_new();
	dn_json_set_string(object, "host_cidr", welcome->host_cidr);
	dn_json_set_string(object, "node_cidr", welcome->node_cidr);
	dn_json_set_string(object, "vip_cidr", welcome->vip_cidr);
	dn_json_set_string(object, "repo", welcome->repo);
	g_autofree char *key = dn_secret_key_public_text(agent->key);
	dn_json_set_string(object, "key", key);
	return save_json(agent, "", "network", object, error) &&
	       dn_failpoint("agent.network.save.after", error);
}

bool dn_state_save_epochs(Agent *agent, GError **error)
{
	if (!dn_failpoint("agent.epochs.save.before", error))
		return false;
	JsonObject *object = json_object_new();
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	g_hash_table_iter_init(&iter, agent->epochs);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const DnEpoch *epoch = value;
		JsonObject *row = json_object_new();

		json_object_set_int_member(row, "epoch", (gint64)epoch->epoch);
		dn_json_set_string(row, "digest", epoch->digest);
		json_object_set_boolean_member(row, "removed", epoch->removed);
		json_object_set_object_member(object, name, row);
	}
	return save_json(agent, "", "epochs", object, error) &&
	       dn_failpoint("agent.epochs.save.after", error);
}

bool dn_state_save_manifest(Agent *agent, const DnManifest *manifest, GBytes *bytes, GError **error)
{
	g_autofree char *path = dn_state_file(agent, "manifests", manifest->digest, ".yaml");

	return dn_failpoint("agent.manifest.save.before", error) &&
	       dn_file_replace(path, bytes, 0600, error) &&
	       dn_failpoint("agent.manifest.save.after", error);
}

bool dn_state_forget_manifest(Agent *agent, const char *digest, GError **error)
{
	g_autofree char *path = dn_state_file(agent, "manifests", digest, ".yaml");

	return dn_failpoint("agent.manifest.remove.before", error) && dn_file_remove(path, error);
}

GPtrArray *dn_state_list(const Agent *agent, const char *folder, const char *suffix)
{
	g_autofree char *path = g_build_filename(agent->instance->state_dir, folder, NULL);
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	const char *entry = NULL;

	while (directory != NULL && (entry = g_dir_read_name(directory)) != NULL)
		if (g_str_has_suffix(entry, suffix))
			g_ptr_array_add(names, g_strndup(entry, strlen(entry) - strlen(suffix)));
	return names;
}

static bool load_identity(Agent *agent, GError **error)
{
	const char *state = agent->instance->state_dir;
	g_autofree char *key = g_build_filename(state, "agent.key", NULL);
	g_autofree char *supervisor = g_build_filename(state, "supervisor.pub", NULL);
	g_autofree char *trust = g_build_filename(state, "trust.yaml", NULL);

	if (!g_file_test(key, G_FILE_TEST_EXISTS)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "this host is not enrolled: run 'dnode host token NAME' where the "
			    "supervisor is, then 'dnode-agent enrol TOKEN' here");
		return false;
	}
	g_autoptr(GBytes) bytes = dn_file_read(trust, 256 * 1024, error);
	if (bytes == NULL)
		return false;
	agent->trust = dn_trust_file_parse(bytes, trust, error);
	if (agent->trust == NULL || !dn_trust_check_keys(agent->trust, trust, error))
		return false;
	agent->envelope.cluster = g_strdup(agent->trust->cluster);
	agent->key = dn_secret_key_load(key, error);
	return agent->key != NULL && dn_public_key_load(supervisor, agent->supervisor_key, error);
}

static bool load_term(Agent *agent, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autoptr(JsonObject) object = dn_state_load_json(agent, "", "term", &missing);

	if (g_error_matches(missing, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
		return true;
	if (missing != NULL) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	GError *failed = NULL;
	agent->envelope.term = dn_json_u64(object, "term", G_MAXINT64, &failed);
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

static bool load_network(Agent *agent, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autoptr(JsonObject) object = dn_state_load_json(agent, "", "network", &missing);
	GError *failed = NULL;

	if (g_error_matches(missing, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
		return true;
	if (missing != NULL) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	agent->host_cidr = dn_json_string(object, "host_cidr", 64, &failed);
	agent->node_cidr = dn_json_string(object, "node_cidr", 64, &failed);
	agent->vip_cidr = dn_json_string(object, "vip_cidr", 64, &failed);
	agent->repo = dn_json_string(object, "repo", 256, &failed);
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	return dn_address_parse_host_cidr(agent->host_cidr, &agent->network, error);
}

static bool read_epochs(Agent *agent, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autoptr(JsonObject) object = dn_state_load_json(agent, "", "epochs", &missing);
	g_autoptr(GList) names = object == NULL ? NULL : json_object_get_members(object);
	GError *failed = NULL;

	if (g_error_matches(missing, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
		return true;
	if (missing != NULL) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	for (GList *i = names; i != NULL; i = i->next) {
		JsonObject *row = dn_json_object(object, i->data, &failed);
		uint64_t epoch = dn_json_u64(row, "epoch", DN_EPOCH_LIMIT, &failed);
		g_autofree char *digest = dn_json_string_or_null(row, "digest", 64, &failed);

		dn_epochs_set(agent->epochs, i->data, epoch, digest,
			      dn_json_bool_or(row, "removed", false, &failed));
	}
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

/* Without them it is not known what must never be believed again: nothing else takes their place.
 */
static bool load_needed(Agent *agent, const char *name, bool (*load)(Agent *, GError **),
			GError **error)
{
	g_autoptr(GError) failed = NULL;

	if (load(agent, &failed))
		return true;
	g_autofree char *path = dn_state_file(agent, "", name, ".json");
	const char *at = g_str_has_prefix(failed->message, path) ? "" : path;
	g_set_error(error, failed->domain, failed->code,
		    "%s%s%s; nodes here go on without an agent, and cut ones stay cut: restore "
		    "the file from a backup; or give the nodes up with 'dnode-agent cleanup', "
		    "remove the file and agent.key, and enrol this host anew by another name",
		    at, *at != '\0' ? ": " : "", failed->message);
	return false;
}

/* Without its ranges no node of this host could be adopted: all would be swept away, cut or not. */
static bool check_ranges(const Agent *agent, GError **error)
{
	g_autofree char *folder = g_build_filename(agent->instance->run_dir, "nodes", NULL);
	g_autofree char *network = dn_state_file(agent, "", "network", ".json");
	g_autoptr(GDir) directory = agent->host_cidr == NULL ? g_dir_open(folder, 0, NULL) : NULL;
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		if (!g_str_has_suffix(name, ".json"))
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s is missing, and there are nodes here (%.*s), which go on without "
			    "an agent: restore it from a backup, or give them up with "
			    "'dnode-agent cleanup'",
			    network, (int)(strlen(name) - strlen(".json")), name);
		return false;
	}
	return true;
}

bool dn_state_load_epochs(Agent *agent, GError **error)
{
	return load_needed(agent, "epochs", read_epochs, error);
}

/* A manifest on disk is believed because its name is its digest and only root can write here. */
static void load_manifests(Agent *agent)
{
	g_autoptr(GPtrArray) digests = dn_state_list(agent, "manifests", ".yaml");

	for (guint i = 0; i < digests->len; i++) {
		const char *digest = g_ptr_array_index(digests, i);
		g_autofree char *path = dn_state_file(agent, "manifests", digest, ".yaml");
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) bytes = dn_file_read(path, DN_MANIFEST_LIMIT, &error);
		g_autofree char *found = bytes == NULL ? NULL : dn_digest_bytes(bytes);
		DnManifest *manifest = g_strcmp0(found, digest) == 0
					       ? dn_manifest_parse(bytes, path, &error)
					       : NULL;

		if (manifest == NULL)
			g_warning("%s is not the manifest of its name: left out%s%s", path,
				  error != NULL ? ": " : "", error != NULL ? error->message : "");
		else
			g_hash_table_replace(agent->manifests, g_strdup(digest), manifest);
	}
}

static DnIncident *read_incident(const Agent *agent, const char *id, GError **error)
{
	g_autoptr(JsonObject) object = dn_state_load_json(agent, "incidents", id, error);
	g_autoptr(DnIncident) incident =
		object == NULL ? NULL : dn_record_to_incident(object, error);

	if (incident == NULL || g_str_equal(incident->id, id))
		return g_steal_pointer(&incident);
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "it is the record of another");
	return NULL;
}

void dn_state_keep_unread(Agent *agent, const char *id)
{
	g_autofree char *path = dn_state_incident_path(agent, id);
	g_autofree char *kept = g_strconcat(path, ".unread", NULL);

	if (!g_hash_table_remove(agent->unread, id))
		return;
	if (link(path, kept) == 0 || errno == EEXIST)
		g_warning("incident %s is recorded anew; what could not be read is kept in %s", id,
			  kept);
	else
		g_warning("incident %s is recorded anew; what could not be read is lost: link %s: "
			  "%s",
			  id, kept, g_strerror(errno));
}

static void load_incidents(Agent *agent)
{
	g_autoptr(GPtrArray) ids = dn_state_list(agent, "incidents", ".json");

	for (guint i = 0; i < ids->len; i++) {
		const char *id = g_ptr_array_index(ids, i);
		g_autoptr(GError) error = NULL;
		DnIncident *incident = read_incident(agent, id, &error);

		if (incident == NULL) {
			g_warning("incident %s cannot be read: %s", id, error->message);
			g_hash_table_add(agent->unread, g_strdup(id));
			continue;
		}
		dn_custody_restored(incident);
		g_hash_table_replace(agent->incidents, g_strdup(id), incident);
	}
}

bool dn_state_check_evidence(const DnInstance *instance, GError **error)
{
	const Agent agent = {.instance = (DnInstance *)instance};
	g_autoptr(GPtrArray) ids = dn_state_list(&agent, "incidents", ".json");

	for (guint i = 0; i < ids->len; i++) {
		const char *id = g_ptr_array_index(ids, i);
		g_autoptr(GError) unread = NULL;
		g_autoptr(DnIncident) incident = read_incident(&agent, id, &unread);

		if (incident != NULL && incident->state == DN_INCIDENT_DESTROYED)
			continue;
		g_set_error(
			error, DN_ERROR, DN_ERROR_CONFLICT,
			"this host holds the evidence of incident %s%s%s; destroy it first: dnode "
			"incident destroy %s --key K --reason TEXT",
			id, unread != NULL ? ", whose record cannot be read: " : "",
			unread != NULL ? unread->message : "", id);
		return false;
	}
	return true;
}

bool dn_state_load(Agent *agent, GError **error)
{
	static const char *const folders[] = {"manifests", "services", "incidents", "logs"};

	for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path =
			g_build_filename(agent->instance->state_dir, folders[i], NULL);

		if (!dn_file_make_directory(path, 0700, error))
			return false;
		dn_file_sweep(path);
	}
	if (!load_identity(agent, error))
		return false;
	/* Until there is a key `enrol` may be writing here, while an init starts agent after agent.
	 */
	dn_file_sweep(agent->instance->state_dir);
	if (!load_needed(agent, "term", load_term, error) ||
	    !load_needed(agent, "network", load_network, error) || !check_ranges(agent, error) ||
	    !dn_state_load_epochs(agent, error) || !dn_floor_load(agent, error))
		return false;
	load_manifests(agent);
	dn_state_load_services(agent);
	load_incidents(agent);
	return true;
}
