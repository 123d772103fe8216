/* SPDX-License-Identifier: Apache-2.0 */

/* Incidents that were destroyed so long ago that the store alone has them. */

#include "main/internal.h"
#include "main/records.h"
#include "wire/json.h"

/* One that is being read. */
typedef struct {
	DnSupervisor *supervisor; /* borrowed */
	DnApiReply *reply;        /* owned until it is used */
	char *id;
} Reading;

static Reading *reading_new(DnSupervisor *supervisor, const char *id, DnApiReply *reply)
{
	Reading *reading = g_new0(Reading, 1);

	reading->supervisor = supervisor;
	reading->reply = reply;
	reading->id = g_strdup(id);
	return reading;
}

static void reading_free(Reading *reading)
{
	g_free(reading->id);
	g_free(reading);
}

static void on_read(GObject *source, GAsyncResult *result, gpointer data)
{
	Reading *reading = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnStoreEntry) entry =
		dn_store_get_finish(reading->supervisor->store, result, &error);
	JsonObject *incident =
		entry == NULL ? NULL : dn_json_parse(entry->value, DN_STORE_VALUE_LIMIT, &error);

	if (entry == NULL && error == NULL)
		g_set_error(&error, DN_ERROR, DN_ERROR_INVALID,
			    "incident %s is destroyed and has been forgotten meanwhile, to make "
			    "room for later ones",
			    reading->id);
	if (incident != NULL) {
		JsonObject *document = json_object_new();

		json_object_remove_member(incident, "schema");
		json_object_set_object_member(document, "incident", incident);
		dn_api_reply(reading->reply, document);
	} else {
		dn_api_reply_error(reading->reply, error);
	}
	reading_free(reading);
}

static void read_stored(Reading *reading)
{
	g_autofree char *key = dn_record_key(DN_RECORD_INCIDENT, reading->id);

	dn_store_get_async(reading->supervisor->store, key, on_read, reading);
}

void dn_past_reply(DnSupervisor *self, const char *id, DnApiReply *reply)
{
	read_stored(reading_new(self, id, reply));
}

static void on_stored(DnSupervisor *self, gpointer data, const GError *why)
{
	Reading *reading = data;

	if (why == NULL) {
		read_stored(reading);
		return;
	}
	g_autoptr(GError) error = g_error_new(
		DN_ERROR, DN_ERROR_UNAVAILABLE,
		"incident %s is destroyed, and its record cannot be read now: %s; see dnode "
		"incident show %s when that has ended",
		reading->id, why->message, reading->id);
	dn_api_reply_error(reading->reply, error);
	reading_free(reading);
}

void dn_past_reply_after(DnSupervisor *self, const char *id, DnApiReply *reply)
{
	dn_supervisor_after(self, on_stored, reading_new(self, id, reply));
}
