/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading the API's answers for display: a member that is missing, null or of another type is
 * simply absent, so a newer supervisor can say more and an older one less.
 */

#include "verbs/verb.h"

const char *dn_answer_text(JsonObject *object, const char *name); /* borrowed, or NULL */
const char *dn_answer_word(JsonObject *object, const char *name); /* the same, "-" for NULL */
int64_t dn_answer_number(JsonObject *object, const char *name, int64_t otherwise);
bool dn_answer_bool(JsonObject *object, const char *name);
JsonObject *dn_answer_object(JsonObject *object, const char *name); /* borrowed, or NULL */
JsonArray *dn_answer_array(JsonObject *object, const char *name);   /* borrowed, or NULL */

/* Member @index when it is an object, else NULL; @array may be NULL. */
JsonObject *dn_answer_at(JsonArray *array, unsigned index);
unsigned dn_answer_length(JsonArray *array);

/* A commit or digest as people see it in tables: its first 12 digits. */
char *dn_answer_short(const char *digest) G_GNUC_WARN_UNUSED_RESULT;

/* How long ago @time (RFC 3339) was: "4s", "12m", "3h", "2d"; "-" when it is no time. */
char *dn_answer_age(const char *time) G_GNUC_WARN_UNUSED_RESULT;

/*
 * GET @path and print the answer: as one JSON document with --json, else by @show, which gets
 * the member @noun.
 */
typedef void (*DnShowList)(DnOutput *output, JsonArray *list);
typedef void (*DnShowOne)(DnOutput *output, JsonObject *one);
bool dn_answer_list(DnCall *call, const char *path, const char *noun, DnShowList show,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_answer_one(DnCall *call, const char *path, const char *noun, DnShowOne show,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;
