/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "core/address.h"
#include "core/custody.h"
#include "manifest/manifest.h"
#include "manifest/trust-file.h"
#include "seal/digest.h"
#include "wire/json.h"
#include "wire/records.h"

enum { SMALL = 64 * 1024, LARGE = 4 * 1024 * 1024 };

static char *path_of(const Agent *agent, const char *folder, const char *name, const char *suffix)
{
	g_autofree char *file = g_strconcat(name, suffix, NULL);

	return g_build_filename(agent->instance->state_dir, folder, file, NULL);
}

char *dn_state_incident_path(const Agent *agent, const char *id)
{
	return path_of(agent, "incidents", id, ".json");
}

GBytes *dn_state_incident_bytes(const DnIncident *incident)
{
	return dn_json_print(dn_record_from_incident(incident));
}

static bool save_json(const Agent *agent, const char *folder, const char *name, JsonObject *object,
		      GError **error)
{
	g_autofree char *path = path_of(agent, folder, name, ".json");
	g_autoptr(GBytes) bytes = dn_json_print(object);

	return dn_file_replace(path, bytes, 0600, error);
}

static JsonObject *load_json(const Agent *agent, const char *folder, const char *name,
			     GError **error)
{
	g_autofree char *path = path_of(agent, folder, name, ".json");
	g_autoptr(GBytes) bytes = dn_file_read(path, LARGE, error);
	JsonObject *object = bytes == NULL ? NULL : dn_json_parse(bytes, LARGE, error);

	if (object == NULL)
		g_prefix_error(error, "%s: ", path);
	return object;
}

bool dn_state_save_term(Agent *agent, GError **error)
{
	if (!dn_failpoint("agent.term.save.before", error))
		return false;
	JsonObject *object = json_object_new();
	json_object_set_int_member(object, "term", (gint64)agent->envelope.term);
	return save_json(agent, "", "term", object, error) &&
	       dn_failpoint("agent.term.save.after", error);
}

bool dn_state_save_welcome(Agent *agent, GError **error)
{
	if (!dn_failpoint("agent.network.save.before", error))
		return false;
	JsonObject *object = json_object_new();
	dn_json_set_string(object, "host_cidr", agent->host_cidr);
	dn_json_set_string(object, "node_cidr", agent->node_cidr);
	dn_json_set_string(object, "vip_cidr", agent->vip_cidr);
	dn_json_set_string(object, "repo", agent->repo);
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
	g_autofree char *path = path_of(agent, "manifests", manifest->digest, ".yaml");

	return dn_failpoint("agent.manifest.save.before", error) &&
	       dn_file_replace(path, bytes, 0600, error) &&
	       dn_failpoint("agent.manifest.save.after", error);
}

bool dn_state_forget_manifest(Agent *agent, const char *digest, GError **error)
{
	g_autofree char *path = path_of(agent, "manifests", digest, ".yaml");

	return dn_failpoint("agent.manifest.remove.before", error) && dn_file_remove(path, error);
}

static JsonArray *strings(const GPtrArray *from)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < from->len; i++)
		json_array_add_string_element(array, g_ptr_array_index(from, i));
	return array;
}

static JsonArray *times(const DnBudget *budget)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < budget->spent->len; i++)
		json_array_add_int_element(array,
					   (gint64)g_array_index(budget->spent, uint64_t, i));
	return array;
}

static GBytes *service_bytes(const Service *service)
{
	JsonObject *object = json_object_new();

	if (service->assign != NULL)
		json_object_set_object_member(object, "assign", dn_assign_to_json(service->assign));
	json_object_set_array_member(object, "spent", times(&service->budget));
	json_object_set_array_member(object, "drills", times(&service->drills));
	dn_json_set_string(object, "boot", dn_clock_boot_id());
	json_object_set_array_member(object, "held", strings(service->held));
	json_object_set_array_member(object, "held_standby", strings(service->held_standby));
	return dn_json_print(object);
}

bool dn_state_save_service(Agent *agent, const Service *service, GError **error)
{
	g_autofree char *path = path_of(agent, "services", service->name, ".json");
	g_autoptr(GBytes) bytes = service_bytes(service);

	dn_disk_flush(agent, path);
	return dn_failpoint("agent.share.save.before", error) &&
	       dn_file_replace(path, bytes, 0600, error) &&
	       dn_failpoint("agent.share.save.after", error);
}

static void on_service_saved(Agent *agent, const char *name, const GError *error, uint64_t done_ns)
{
	if (error != NULL)
		g_warning("budget of %s: %s", name, error->message);
}

void dn_state_save_service_soon(Agent *agent, const Service *service)
{
	g_autofree char *path = path_of(agent, "services", service->name, ".json");
	g_autoptr(GBytes) bytes = service_bytes(service);

	dn_disk_write(agent, path, bytes, service->name, on_service_saved);
}

bool dn_state_forget_service(Agent *agent, const char *name, GError **error)
{
	g_autofree char *path = path_of(agent, "services", name, ".json");

	dn_disk_flush(agent, path);
	return dn_failpoint("agent.share.remove.before", error) && dn_file_remove(path, error);
}

/* Names in STATE_DIR/@folder without @suffix. */
static GPtrArray *list(const Agent *agent, const char *folder, const char *suffix)
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
	if (agent->trust == NULL)
		return false;
	agent->envelope.cluster = g_strdup(agent->trust->cluster);
	agent->key = dn_secret_key_load(key, error);
	return agent->key != NULL && dn_public_key_load(supervisor, agent->supervisor_key, error);
}

static bool load_term(Agent *agent, GError **error)
{
	g_autoptr(GError) missing = NULL;
	g_autoptr(JsonObject) object = load_json(agent, "", "term", &missing);

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
	g_autoptr(JsonObject) object = load_json(agent, "", "network", &missing);
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
	g_autoptr(JsonObject) object = load_json(agent, "", "epochs", &missing);
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
	g_autofree char *path = path_of(agent, "", name, ".json");
	const char *at = g_str_has_prefix(failed->message, path) ? "" : path;
	g_set_error(error, failed->domain, failed->code,
		    "%s%s%s; nodes here go on without an agent, and cut ones stay cut: restore "
		    "the file from a backup, or remove it and enrol this host anew",
		    at, *at != '\0' ? ": " : "", failed->message);
	return false;
}

bool dn_state_load_epochs(Agent *agent, GError **error)
{
	return load_needed(agent, "epochs", read_epochs, error);
}

/* A manifest on disk is believed because its name is its digest and only root can write here. */
static void load_manifests(Agent *agent)
{
	g_autoptr(GPtrArray) digests = list(agent, "manifests", ".yaml");

	for (guint i = 0; i < digests->len; i++) {
		const char *digest = g_ptr_array_index(digests, i);
		g_autofree char *path = path_of(agent, "manifests", digest, ".yaml");
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

static void read_times(JsonObject *object, const char *name, DnBudget *budget, GError **failed)
{
	JsonArray *array = dn_json_array(object, name, 100000, failed);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		uint64_t when = (uint64_t)json_array_get_int_element(array, i);

		g_array_append_val(budget->spent, when);
	}
}

static void read_held(JsonObject *object, const char *name, GPtrArray *held, GError **failed)
{
	JsonArray *array = dn_json_array(object, name, 100000, failed);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++)
		g_ptr_array_add(held, g_strdup(dn_json_string_at(array, i, 64, failed)));
}

/* Files of before there was a boot in them have times of another clock. */
static void read_budgets(JsonObject *object, Service *service, GError **failed)
{
	g_autofree char *boot = json_object_has_member(object, "boot")
					? dn_json_string(object, "boot", 64, failed)
					: NULL;

	read_times(object, "spent", &service->budget, failed);
	if (json_object_has_member(object, "drills"))
		read_times(object, "drills", &service->drills, failed);
	if (g_strcmp0(boot, dn_clock_boot_id()) == 0)
		return;
	dn_budget_carry_over(&service->budget);
	dn_budget_carry_over(&service->drills);
}

static bool read_service(Agent *agent, const char *name, JsonObject *object, GError **error)
{
	GError *failed = NULL;
	Service *service = dn_service_get(agent, name);

	read_budgets(object, service, &failed);
	read_held(object, "held", service->held, &failed);
	if (json_object_has_member(object, "held_standby"))
		read_held(object, "held_standby", service->held_standby, &failed);
	if (failed == NULL && json_object_has_member(object, "assign"))
		service->assign =
			dn_assign_from_json(dn_json_object(object, "assign", &failed), &failed);
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

static void load_services(Agent *agent)
{
	g_autoptr(GPtrArray) names = list(agent, "services", ".json");

	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		g_autoptr(GError) error = NULL;
		g_autoptr(JsonObject) object = load_json(agent, "services", name, &error);

		if (!dn_text_is_name(name) || object == NULL ||
		    !read_service(agent, name, object, &error))
			g_warning("share of service %s cannot be read; it comes again with the "
				  "next assignment: %s",
				  name, error != NULL ? error->message : "not a name");
	}
}

static void load_incidents(Agent *agent)
{
	g_autoptr(GPtrArray) ids = list(agent, "incidents", ".json");

	for (guint i = 0; i < ids->len; i++) {
		const char *id = g_ptr_array_index(ids, i);
		g_autoptr(GError) error = NULL;
		g_autoptr(JsonObject) object = load_json(agent, "incidents", id, &error);
		DnIncident *incident =
			object == NULL ? NULL : dn_record_to_incident(object, &error);

		if (incident == NULL) {
			g_warning("incident %s cannot be read: %s", id, error->message);
			continue;
		}
		dn_custody_restored(incident);
		g_hash_table_replace(agent->incidents, g_strdup(id), incident);
	}
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
	    !load_needed(agent, "network", load_network, error) ||
	    !dn_state_load_epochs(agent, error) || !dn_floor_load(agent, error))
		return false;
	load_manifests(agent);
	load_services(agent);
	load_incidents(agent);
	return true;
}
