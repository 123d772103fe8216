/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One incident for people, and waiting for the one that a drill or a quarantine brings. */

#include "verbs/answer.h"

/* Its node serves still, though all that it begins is cut. */
bool dn_incident_shows_isolated(JsonObject *incident);
void dn_incident_show(DnOutput *output, JsonObject *incident);

/* The same, or its JSON document with --json. */
void dn_incident_print(DnCall *call, JsonObject *incident);

/* The newest incident in a list of them that is about @node; borrowed, NULL: none yet. */
JsonObject *dn_incident_find(JsonObject *answer, const char *node);

/* Its replacement serves, and its record is durable. */
bool dn_incident_is_replaced(JsonObject *incident);

/*
 * Wait until the incident of @node has its replacement, at most 10 s, and print it. When the
 * time is over what is known so far is printed with a note; DN_ERROR_UNAVAILABLE when there is no
 * incident at all.
 */
bool dn_incident_await(DnCall *call, DnHttp *http, const char *node,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
