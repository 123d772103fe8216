/* SPDX-License-Identifier: Apache-2.0 */
#include "main/audit.h"
#include "main/agent.h"
#include "main/check.h"

#include <sys/resource.h>

#include "audit/audit.h"
#include "base/clock.h"
#include "base/error.h"
#include "runtime/holes.h"
#include "wire/json.h"

/*
 * Is a node, or this host, as it should be? A worker looks, so that neither the reflex nor the
 * start of a node waits for it. What it needs is copied: the node may be gone meanwhile.
 */

typedef struct {
	Agent *agent;
	char *id; /* of the node; NULL: the host */
	DnManifest *manifest;
	DnAuditNode node;
	char *runtime, *holes; /* of the host's runtime; holes: NULL: not known */
	GPtrArray *items;      /* of DnAuditItem, the result */
	DnAuditDone done;      /* NULL: the node is being verified */
	gpointer data;
} Look;

static void look_free(gpointer data)
{
	Look *look = data;

	g_clear_pointer(&look->manifest, dn_manifest_unref);
	g_clear_pointer(&look->items, g_ptr_array_unref);
	g_free(look->id);
	g_free(look->runtime);
	g_free(look->holes);
	g_free(look);
}

/* ---- worker ---- */

static void look_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Look *look = data;
	const DnInstance *instance = look->agent->instance;
	DnAuditHost host = {.runtime = look->runtime, .holes = look->holes};
	GError *error = NULL;

	(void)setpriority(PRIO_PROCESS, 0, DN_IN_NO_HURRY);
	look->items = look->id != NULL ? dn_audit_node_now(instance, &look->node, &error)
				       : dn_audit_host_now(instance, &host);
	(void)setpriority(PRIO_PROCESS, 0, DN_NICE_AGENT);
	if (look->items != NULL)
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

/* ---- main ---- */

static JsonArray *items_of(const GPtrArray *items)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < items->len; i++) {
		const DnAuditItem *item = g_ptr_array_index(items, i);
		JsonObject *row = json_object_new();

		dn_json_set_string(row, "id", item->id);
		dn_json_set_string(row, "title", item->title);
		dn_json_set_string(row, "result", dn_audit_result_name(item->result));
		json_object_set_boolean_member(row, "must", item->must);
		dn_json_set_string(row, "seen", item->seen);
		json_array_add_object_element(array, row);
	}
	return array;
}

static char *print(const Look *look)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "host", look->agent->instance->name);
	dn_json_set_string(object, "node", look->id);
	dn_json_set_string(object, "service",
			   look->manifest != NULL ? look->manifest->service : NULL);
	dn_json_set_time(object, "time", dn_clock_realtime_ns());
	json_object_set_int_member(object, "passed", dn_audit_count(look->items, DN_AUDIT_PASS));
	json_object_set_int_member(object, "failed", dn_audit_count(look->items, DN_AUDIT_FAIL));
	json_object_set_array_member(object, "items", items_of(look->items));
	g_autoptr(GBytes) bytes = dn_json_print(object);
	gsize length = 0;
	const char *text = g_bytes_get_data(bytes, &length);
	return g_strndup(text, length);
}

/*
 * Fail closed: a node without one of its walls does not serve. It is no drift, the node has done
 * nothing, so there is no incident: it ends, and its replacement comes with growing pauses.
 */
static void end_broken(Node *node, const DnAuditItem *item)
{
	Service *service = dn_node_service(node);

	dn_report_event(node->agent, "critical", "node.profile", service->name, node->id,
			"node %s lacks what every node must have, %s (%s): %s; it is ended and "
			"replaced",
			node->id, item->id, item->title, item->seen);
	dn_backoffs_failed(service->backoffs, node->manifest->digest, true,
			   dn_clock_monotonic_ns());
	dn_source_clear(&node->timer);
	dn_node_become(node, DN_NODE_FAILED);
	dn_balance_apply(node->agent);
	dn_agent_settle(node->agent);
}

static bool is_in_use(const Node *node)
{
	return (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY ||
		node->state == DN_NODE_DRAINING) &&
	       !dn_sensor_is_marked(node->agent->sensor, node->slot);
}

static void on_verified(const Look *look, const GError *error)
{
	Node *node = dn_agent_find_node(look->agent, look->id);
	const DnAuditItem *item = look->items != NULL ? dn_audit_broken(look->items) : NULL;

	/* A drill's helper is in the cgroup, but none of the node's: what was seen is of both. */
	if (node == NULL || !is_in_use(node) || node->drill != 0)
		return;
	if (item != NULL)
		end_broken(node, item);
	else if (error != NULL)
		g_message("%s", error->message); /* it ended: that is told where it is seen */
}

static void on_looked(GObject *source, GAsyncResult *result, gpointer data)
{
	const Look *look = g_task_get_task_data(G_TASK(result));
	g_autoptr(GError) error = NULL;
	bool looked = g_task_propagate_boolean(G_TASK(result), &error);

	if (look->done == NULL) {
		on_verified(look, error);
		return;
	}
	g_autofree char *text = looked ? print(look) : NULL;
	look->done(look->agent, text, error, look->data);
}

static void begin(Look *look)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_looked, NULL);

	/* Behind what makes nodes and takes them apart. */
	g_task_set_priority(task, G_PRIORITY_LOW);
	g_task_set_task_data(task, look, look_free);
	dn_work_begin(look->agent, task, look_in_thread);
}

static Look *look_at(Node *node)
{
	Look *look = g_new0(Look, 1);

	look->agent = node->agent;
	look->id = g_strdup(node->id);
	look->manifest = dn_manifest_ref(node->manifest);
	look->node = (DnAuditNode){
		.node = look->id,
		.pid = node->container.pid,
		.start_time = node->container.start_time,
		.uid_base = node->agent->instance->uid_base + node->slot * DN_UIDS_PER_NODE,
		.manifest = look->manifest,
		.is_evidence = node->state == DN_NODE_QUARANTINED,
		.started = node->started_ns != 0,
		.memfd_noexec = node->container.memfd_noexec,
		.guarded = node->in_force,
		.watched = node->built,
	};
	return look;
}

static char *say_holes(const char *version)
{
	g_autoptr(GPtrArray) holes = version != NULL ? dn_runtime_holes(version) : NULL;
	GString *said = holes != NULL ? g_string_new(NULL) : NULL;

	for (guint i = 0; holes != NULL && i < holes->len; i++) {
		const DnHole *hole = g_ptr_array_index(holes, i);

		g_string_append_printf(said, "%s%s (%s, fixed in %s)", i > 0 ? ", " : "", hole->cve,
				       hole->what, hole->fixed);
	}
	return said != NULL ? g_string_free(said, FALSE) : NULL;
}

static Look *look_at_host(Agent *agent)
{
	Look *look = g_new0(Look, 1);

	look->agent = agent;
	look->runtime = g_strdup(agent->ability.version);
	look->holes = say_holes(agent->ability.version);
	return look;
}

void dn_audit_begin(Agent *agent, const char *id, DnAuditDone done, gpointer data)
{
	Node *node = id != NULL ? dn_agent_find_node(agent, id) : NULL;
	g_autoptr(GError) error = NULL;

	if (id != NULL && node == NULL)
		g_set_error(&error, DN_ERROR, DN_ERROR_INVALID, "no node %.64s is on this host",
			    id);
	else if (id != NULL && !node->built)
		g_set_error(&error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "node %.64s is being made; try again", id);
	if (error != NULL) {
		done(agent, NULL, error, data);
		return;
	}
	Look *look = node != NULL ? look_at(node) : look_at_host(agent);
	look->done = done;
	look->data = data;
	begin(look);
}

void dn_audit_verify(Node *node)
{
	/* While the kernel refuses the firewall's table the one of before stands, and what is in
	 * that an agent that was just started cannot say. */
	if (node->verified || node->agent->unbalanced)
		return;
	node->verified = true;
	begin(look_at(node));
}

/* ---- by order ---- */

typedef struct {
	DnAnswerTo *answer;
	char session[sizeof(((Agent *)NULL)->session)];
} Asked;

static void answer_order(Agent *agent, const char *text, const GError *error, gpointer data)
{
	g_autofree Asked *asked = data;
	g_autoptr(DnAnswerTo) answer = asked->answer;

	answer->done = text != NULL;
	answer->text = g_strdup(text);
	if (error != NULL) {
		answer->code = error->domain == DN_ERROR ? error->code : 0;
		answer->error = g_strdup(error->message);
	}
	/* The numbers of another link mean other orders. */
	if (agent->uplink != NULL && g_str_equal(asked->session, agent->session))
		dn_uplink_send_answer(agent->uplink, answer);
}

void dn_audit_order(Agent *agent, const DnOrder *order)
{
	Asked *asked = g_new0(Asked, 1);

	asked->answer = dn_answer_to_new(order->sequence);
	g_strlcpy(asked->session, agent->session, sizeof(asked->session));
	dn_audit_begin(agent, order->node, answer_order, asked);
}
