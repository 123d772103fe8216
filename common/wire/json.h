/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Strict reading of JSON that came from somebody else. A JsonReader-like cursor would hide which
 * member failed; these getters name it. Every getter takes a "sticky" GError: once it is set,
 * further calls do nothing, so a decoder reads all members and checks once.
 */

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Parse one JSON object of at most @limit bytes, valid UTF-8, nested at most 32 deep. */
JsonObject *dn_json_parse(GBytes *bytes, size_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Compact text of @object, whose reference is taken. */
GBytes *dn_json_print(JsonObject *object) G_GNUC_WARN_UNUSED_RESULT;
char *dn_json_print_pretty(JsonObject *object) G_GNUC_WARN_UNUSED_RESULT;

/* An object that already says "schema": "dnode/v1". */
JsonObject *dn_json_document(void) G_GNUC_WARN_UNUSED_RESULT;

/* Members that must be there. Strings are copies of at most @limit bytes. */
char *dn_json_string(JsonObject *object, const char *name, size_t limit, GError **error);
char *dn_json_name(JsonObject *object, const char *name, GError **error); /* dn_text_is_name() */
uint64_t dn_json_u64(JsonObject *object, const char *name, uint64_t limit, GError **error);
bool dn_json_bool(JsonObject *object, const char *name, GError **error);
JsonObject *dn_json_object(JsonObject *object, const char *name, GError **error); /* borrowed */
JsonArray *dn_json_array(JsonObject *object, const char *name, unsigned limit,
			 GError **error); /* borrowed */
GBytes *dn_json_base64(JsonObject *object, const char *name, size_t limit, GError **error);

/* Members that may be missing or null: NULL, or @otherwise. */
char *dn_json_string_or_null(JsonObject *object, const char *name, size_t limit, GError **error);
int64_t dn_json_i64_or(JsonObject *object, const char *name, int64_t otherwise, GError **error);
bool dn_json_bool_or(JsonObject *object, const char *name, bool otherwise, GError **error);

/* Member @index of @array as an object (borrowed), a string (borrowed) or base64 bytes. */
JsonObject *dn_json_object_at(JsonArray *array, unsigned index, GError **error);
const char *dn_json_string_at(JsonArray *array, unsigned index, size_t limit, GError **error);
GBytes *dn_json_base64_at(JsonArray *array, unsigned index, size_t limit, GError **error);

/* Writing what json-glib has no word for. NULL becomes null. */
void dn_json_set_string(JsonObject *object, const char *name, const char *text);
/*
 * Free text, that it is read with @limit: valid UTF-8 of at most so many bytes, cut between
 * characters.
 */
void dn_json_set_text(JsonObject *object, const char *name, const char *text, size_t limit);
void dn_json_set_base64(JsonObject *object, const char *name, GBytes *bytes);
void dn_json_set_time(JsonObject *object, const char *name, uint64_t realtime_ns); /* 0: null */
uint64_t dn_json_time_or_zero(JsonObject *object, const char *name, GError **error);
