/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One incident for people, and waiting for the one that a drill or a quarantine brings. */

#include "verbs/answer.h"

void dn_incident_show(DnOutput *output, JsonObject *incident);

/*
 * Wait until the incident of @node has its replacement, at most 10 s, and print it. When the
 * time is over what is known so far is printed with a note; DN_ERROR_UNAVAILABLE when there is no
 * incident at all.
 */
bool dn_incident_await(DnCall *call, DnHttp *http, const char *node,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
