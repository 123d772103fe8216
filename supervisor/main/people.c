/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask for through the API. */

#include <dnode/version.h>
#include <string.h>

#include "main/internal.h"
#include "main/records.h"
#include "manifest/effective.h"
#include "manifest/manifest.h"
#include "seal/digest.h"
#include "seal/token.h"
#include "seal/trust.h"
#include "wire/json.h"
#include "wire/records.h"

enum { AUDIT_LIMIT = 256 * 1024 };

struct DnPersonWait {
	DnApiReply *reply; /* owned until it is used */
	DnOrderKind kind;
	char *subject; /* node or incident */
	char *class;   /* of a drill */
	char *host;
};

/* An answer that is ready and waits for the store. */
typedef struct {
	DnApiReply *reply;
	JsonObject *document;
} Ready;

void dn_person_wait_free(DnPersonWait *self)
{
	if (self->reply != NULL) {
		g_autoptr(GError) error = g_error_new(
			DN_ERROR, DN_ERROR_UNAVAILABLE,
			"this supervisor ends before %s has answered; see what became of it when "
			"it is back",
			self->host);

		dn_api_reply_error(self->reply, error);
	}
	g_free(self->subject);
	g_free(self->class);
	g_free(self->host);
	g_free(self);
}

static void reply_ready(DnSupervisor *self, gpointer data, const GError *error)
{
	Ready *ready = data;

	if (error == NULL) {
		dn_api_reply(ready->reply, ready->document);
	} else {
		json_object_unref(ready->document);
		dn_api_reply_error(ready->reply, error);
	}
	g_free(ready);
}

void dn_supervisor_reply_after(DnSupervisor *self, DnApiReply *reply, JsonObject *document)
{
	Ready *ready = g_new0(Ready, 1);

	ready->reply = reply;
	ready->document = document;
	dn_supervisor_after(self, reply_ready, ready);
}

/* Answers for itself when nothing can be changed now. */
bool dn_people_may_change(DnSupervisor *self, DnApiReply *reply)
{
	g_autoptr(GError) error = NULL;

	if (dn_supervisor_may_change(self, &error))
		return true;
	dn_api_reply_error(reply, error);
	return false;
}

/* ---- reading ---- */

static JsonObject *cluster(void *data)
{
	const DnSupervisor *self = data;
	JsonObject *object = json_object_new();
	g_autofree char *fingerprint = dn_public_key_fingerprint(self->key);
	g_autofree char *trust = dn_digest_bytes(self->trust_bytes);

	dn_json_set_string(object, "id", self->cluster->id);
	dn_json_set_string(object, "version", DN_VERSION);
	json_object_set_int_member(object, "term", (gint64)self->term);
	dn_json_set_string(object, "key_fingerprint", fingerprint);
	dn_json_set_string(object, "link", self->cluster->advertise);
	dn_json_set_string(object, "repo", self->repo_url);
	dn_json_set_string(object, "node_cidr", self->cluster->node_cidr);
	dn_json_set_string(object, "vip_cidr", self->cluster->vip_cidr);
	dn_json_set_string(object, "trust_digest", trust);
	return object;
}

static GPtrArray *events(uint64_t since, unsigned limit, void *data)
{
	const DnSupervisor *self = data;

	return dn_ring_read(self->ring, since, limit);
}

/* ---- manifests ---- */

/* Signatures first; what is not trusted is not even parsed. */
static DnDeclaration *judge(const DnSupervisor *self, GBytes *bytes, GPtrArray *signatures,
			    GError **error)
{
	g_autofree char *service = NULL;
	uint64_t epoch = 0;

	if (!dn_trust_verify_manifest(self->trust, bytes, signatures, &service, &epoch, error))
		return NULL;
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, service, error);
	if (manifest == NULL)
		return NULL;
	if (!g_str_equal(manifest->service, service) || manifest->epoch != epoch) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the manifest is of %s, epoch %" G_GUINT64_FORMAT
			    ", but was signed as %s, epoch %" G_GUINT64_FORMAT "; sign it again",
			    manifest->service, manifest->epoch, service, epoch);
		return NULL;
	}
	return dn_declaration_new(manifest, bytes, signatures);
}

static JsonObject *describe(const DnDeclaration *declaration, const DnManifest *before,
			    bool changed, GPtrArray *placement)
{
	const DnManifest *manifest = declaration->manifest;
	g_autoptr(GPtrArray) changes = dn_manifest_changes(before, manifest);
	JsonObject *document = json_object_new();
	JsonArray *lines = json_array_new();
	JsonArray *places = json_array_new();

	for (guint i = 0; i < changes->len; i++)
		json_array_add_string_element(lines, g_ptr_array_index(changes, i));
	for (guint i = 0; i < placement->len; i++) {
		const DnShare *share = g_ptr_array_index(placement, i);
		JsonObject *place = json_object_new();

		dn_json_set_string(place, "host", share->host);
		json_object_set_int_member(place, "running", share->running);
		json_object_set_int_member(place, "standby", share->standby);
		json_array_add_object_element(places, place);
	}
	dn_json_set_string(document, "service", manifest->service);
	json_object_set_int_member(document, "epoch", (gint64)manifest->epoch);
	dn_json_set_string(document, "digest", manifest->digest);
	json_object_set_boolean_member(document, "changed", changed);
	json_object_set_array_member(document, "changes", lines);
	json_object_set_array_member(document, "placement", places);
	return document;
}

static void apply(GBytes *bytes, GPtrArray *signatures, bool plan, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GPtrArray) placement = NULL;
	g_autoptr(DnServiceView) before = NULL;
	bool changed = false;

	if (!plan && !dn_people_may_change(self, reply))
		return;
	g_autoptr(DnDeclaration) declaration = judge(self, bytes, signatures, &error);
	if (declaration != NULL)
		before = dn_fleet_core_service(self->core, declaration->manifest->service);
	if (declaration == NULL ||
	    !dn_fleet_core_apply(self->core, declaration, plan, dn_supervisor_now(), acts, &changed,
				 &placement, &error)) {
		if (!plan)
			dn_acts_event(acts, dn_clock_realtime_ns(), "manifest.refused", "warning",
				      "a manifest was refused: %s", error->message);
		dn_supervisor_carry_out(self, acts);
		dn_api_reply_error(reply, error);
		return;
	}
	dn_supervisor_carry_out(self, acts);
	JsonObject *document = describe(
		declaration, before == NULL ? NULL : before->current->manifest, changed, placement);
	/* Of a plan nothing is kept, so it waits for no disk. */
	if (plan)
		dn_api_reply(reply, document);
	else
		dn_supervisor_reply_after(self, reply, document);
}

/* ---- orders that people wait for ---- */

/* Takes @reply. The order is in @acts under @tag. */
static void await(DnSupervisor *self, DnActs *acts, uint64_t tag, DnOrderKind kind,
		  const char *subject, const char *class, DnApiReply *reply)
{
	DnPersonWait *wait = g_new0(DnPersonWait, 1);
	const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, 0);

	wait->reply = reply;
	wait->kind = kind;
	wait->subject = g_strdup(subject);
	wait->class = g_strdup(class);
	wait->host = g_strdup(dispatch->host);
	g_hash_table_insert(self->waits, g_memdup2(&tag, sizeof(tag)), wait);
	dn_supervisor_carry_out(self, acts);
}

static void quarantine(const char *node, const char *reason, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (dn_fleet_core_quarantine(self->core, node, reason, acts, &tag, &error))
		await(self, acts, tag, DN_ORDER_QUARANTINE, node, NULL, reply);
	else
		dn_api_reply_error(reply, error);
}

static void drill(const char *class, const char *service, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	g_autofree char *node = NULL;
	uint64_t tag = 0;

	if (!dn_people_may_change(self, reply))
		return;
	if (dn_fleet_core_drill(self->core, class, service, dn_supervisor_now(), acts, &tag, &node,
				&error))
		await(self, acts, tag, DN_ORDER_DRILL, node, class, reply);
	else
		dn_api_reply_error(reply, error);
}

static void destroy(const char *incident, GBytes *statement, GPtrArray *signatures,
		    DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (!dn_people_may_change(self, reply))
		return;
	if (dn_fleet_core_destroy(self->core, incident, statement, signatures, acts, &tag, &error))
		await(self, acts, tag, DN_ORDER_DESTROY, incident, NULL, reply);
	else
		dn_api_reply_error(reply, error);
}

static void incident(const char *id, DnApiReply *reply, void *data)
{
	dn_past_reply(data, id, reply);
}

static void logs(const char *node, uint32_t lines, uint64_t offset, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (dn_fleet_core_logs(self->core, node, lines, offset, acts, &tag, &error))
		await(self, acts, tag, DN_ORDER_LOGS, node, NULL, reply);
	else
		dn_api_reply_error(reply, error);
}

static void audit(const char *node, const char *host, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (dn_fleet_core_audit(self->core, node, host, acts, &tag, &error))
		await(self, acts, tag, DN_ORDER_AUDIT, node, NULL, reply);
	else
		dn_api_reply_error(reply, error);
}

/* What a host says of itself or of a node; it is believed to be JSON and no more. */
static void answer_audit(DnPersonWait *wait, const DnAnswerTo *answer)
{
	const char *text = answer->text != NULL ? answer->text : "";
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	g_autoptr(GError) error = NULL;
	JsonObject *said = dn_json_parse(bytes, AUDIT_LIMIT, &error);

	if (said == NULL) {
		g_prefix_error(&error, "%s: its audit: ", wait->host);
		dn_api_reply_error(g_steal_pointer(&wait->reply), error);
		return;
	}
	JsonObject *document = json_object_new();
	json_object_set_object_member(document, "audit", said);
	dn_api_reply(g_steal_pointer(&wait->reply), document);
}

/* A host may destroy more than is listed of it before it answers for the first. */
static bool is_past(const DnSupervisor *self, const DnPersonWait *wait)
{
	return wait->kind == DN_ORDER_DESTROY &&
	       dn_fleet_core_incident(self->core, wait->subject) == NULL;
}

/* Of anything but an audit and what is past. */
static JsonObject *document_of(const DnSupervisor *self, const DnPersonWait *wait,
			       const DnAnswerTo *answer)
{
	JsonObject *document = json_object_new();

	if (wait->kind == DN_ORDER_QUARANTINE) {
		dn_json_set_string(document, "node", wait->subject);
		json_object_set_boolean_member(document, "accepted", TRUE);
	} else if (wait->kind == DN_ORDER_DRILL) {
		JsonObject *said = json_object_new();

		dn_json_set_string(said, "node", wait->subject);
		dn_json_set_string(said, "host", wait->host);
		dn_json_set_string(said, "class", wait->class);
		dn_json_set_string(said, "answer",
				   dn_drift_answer_name(dn_fleet_core_answer(
					   self->core, wait->subject, wait->class)));
		json_object_set_object_member(document, "drill", said);
	} else if (wait->kind == DN_ORDER_DESTROY) {
		const DnIncident *incident = dn_fleet_core_incident(self->core, wait->subject);

		json_object_set_object_member(document, "incident",
					      dn_record_from_incident(incident));
	} else {
		JsonObject *said = json_object_new();

		dn_json_set_string(said, "node", wait->subject);
		dn_json_set_string(said, "text", answer->text == NULL ? "" : answer->text);
		json_object_set_int_member(said, "offset", (gint64)answer->offset);
		json_object_set_object_member(document, "logs", said);
	}
	return document;
}

static int code_of(const DnAnswerTo *answer)
{
	bool is_known = answer->code >= DN_ERROR_INVALID && answer->code <= DN_ERROR_UNSUPPORTED;

	return is_known ? answer->code : DN_ERROR_UNAVAILABLE;
}

void dn_people_answered(DnSupervisor *self, uint64_t tag, const DnAnswerTo *answer)
{
	gpointer key = NULL, value = NULL;

	if (!g_hash_table_steal_extended(self->waits, &tag, &key, &value))
		return;
	DnPersonWait *wait = value;
	g_free(key);
	if (answer->done && wait->kind == DN_ORDER_AUDIT) {
		answer_audit(wait, answer);
	} else if (answer->done && is_past(self, wait)) {
		dn_past_reply_after(self, wait->subject, g_steal_pointer(&wait->reply));
	} else if (answer->done && (self->held != NULL || self->closed)) {
		/* On the host's disk, whatever ours can take. */
		dn_api_reply(g_steal_pointer(&wait->reply), document_of(self, wait, answer));
	} else if (answer->done) {
		dn_supervisor_reply_after(self, g_steal_pointer(&wait->reply),
					  document_of(self, wait, answer));
	} else {
		g_autoptr(GError) error = g_error_new(
			DN_ERROR, code_of(answer), "%s: %s", wait->host,
			answer->error == NULL ? "refused without a reason" : answer->error);

		dn_api_reply_error(g_steal_pointer(&wait->reply), error);
	}
	dn_person_wait_free(wait);
}

static void crowded(const char *where, unsigned count, void *data)
{
	dn_supervisor_crowded(where, count, data);
}

const DnApiOps dn_supervisor_api_ops = {
	.cluster = cluster,
	.events = events,
	.apply = apply,
	.token = dn_people_token,
	.cordon = dn_people_cordon,
	.fence = dn_people_fence,
	.quarantine = quarantine,
	.drill = drill,
	.destroy = destroy,
	.incident = incident,
	.logs = logs,
	.audit = audit,
	.images = dn_images_list,
	.images_missing = dn_images_missing,
	.image_object = dn_images_object,
	.image_set = dn_images_set,
	.crowded = crowded,
};
