/* SPDX-License-Identifier: Apache-2.0 */
#include "main/state.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "core/share.h"
#include "wire/codec.h"

/* STATE_DIR/services: this host's share of each service, and what was spent and held of it. */

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
	g_autofree char *path = dn_state_file(agent, "services", service->name, ".json");
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
	g_autofree char *path = dn_state_file(agent, "services", service->name, ".json");
	g_autoptr(GBytes) bytes = service_bytes(service);

	dn_disk_write(agent, path, bytes, service->name, on_service_saved);
}

bool dn_state_forget_service(Agent *agent, const char *name, GError **error)
{
	g_autofree char *path = dn_state_file(agent, "services", name, ".json");

	dn_disk_flush(agent, path);
	return dn_failpoint("agent.share.remove.before", error) && dn_file_remove(path, error);
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

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		const char *id = dn_json_string_at(array, i, 64, failed);

		if (id != NULL)
			g_ptr_array_add(held, g_strdup(id));
	}
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

/* What is on disk is judged again: an agent that cannot take it would not start, ever. */
static DnAssign *read_share(Agent *agent, const Service *service, JsonObject *object,
			    GError **error)
{
	JsonObject *from = dn_json_object(object, "assign", error);
	g_autoptr(DnAssign) share = from != NULL ? dn_assign_from_json(from, error) : NULL;

	if (share == NULL)
		return NULL;
	if (!g_str_equal(share->service, service->name) || agent->host_cidr == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "it is of %s, or of a host whose ranges are not known", share->service);
		return NULL;
	}
	return dn_service_check_share(agent, share, error) ? g_steal_pointer(&share) : NULL;
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
		service->assign = read_share(agent, service, object, &failed);
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

static bool load_service(Agent *agent, const char *name, GError **error)
{
	if (!dn_epochs_know_service(agent->epochs, name, error) ||
	    !dn_share_has_room(g_hash_table_size(agent->services), error))
		return false;
	g_autoptr(JsonObject) object = dn_state_load_json(agent, "services", name, error);
	return object != NULL && read_service(agent, name, object, error);
}

void dn_state_load_services(Agent *agent)
{
	g_autoptr(GPtrArray) names = dn_state_list(agent, "services", ".json");

	for (guint i = 0; i < names->len; i++) {
		const char *name = g_ptr_array_index(names, i);
		g_autoptr(GError) error = NULL;

		if (!load_service(agent, name, &error))
			g_warning("share of service %s cannot be read; it comes again with the "
				  "next assignment: %s",
				  name, error->message);
	}
}
