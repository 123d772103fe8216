/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The JSON form of nodes, incidents and events: the keys of docs/formats/api.md, the same on
 * the agents' link, in the API, in the supervisor's store and on a host's disk.
 */

#include <json-glib/json-glib.h>

#include "model/fleet.h"

#define DN_EVENTS_LIMIT 1000 /* of one answer, the supervisor's or an agent's */
#define DN_EVENTS_KEPT 256   /* by an agent, the last ones */

JsonObject *dn_record_from_node(const DnNodeRecord *node) G_GNUC_WARN_UNUSED_RESULT;
DnNodeRecord *dn_record_to_node(JsonObject *object, GError **error) G_GNUC_WARN_UNUSED_RESULT;

JsonObject *dn_record_from_incident(const DnIncident *incident) G_GNUC_WARN_UNUSED_RESULT;
DnIncident *dn_record_to_incident(JsonObject *object, GError **error) G_GNUC_WARN_UNUSED_RESULT;

JsonObject *dn_record_from_event(const DnEvent *event) G_GNUC_WARN_UNUSED_RESULT;
DnEvent *dn_record_to_event(JsonObject *object, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The member "signatures", an array of base64 texts; @signatures is of GBytes. Reading adds to it
 * and is sticky like wire/json.h.
 */
void dn_record_write_signatures(JsonObject *object, const GPtrArray *signatures);
void dn_record_read_signatures(JsonObject *object, GPtrArray *signatures, GError **error);
