/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The incidents of a host: which one a cut node belongs to, what may be noted in it, and how it
 * ends. A table is char * id → DnIncident *.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/incident.h"
#include "model/node.h"

enum { DN_CUSTODY_PAST = 64 }; /* destroyed incidents that a host keeps, as a supervisor does */

/*
 * The incident of @node, whatever its state, or NULL: a node is cut once. An agent that has died
 * between opening an incident and noting it with the node left a record behind, and the same
 * event must not open a second one.
 */
DnIncident *dn_custody_of_node(GHashTable *incidents, const char *node);

/* Note that @stage was reached at @at_ns (CLOCK_MONOTONIC of the event's boot); 0: it was not. */
void dn_custody_stamp(DnIncident *incident, DnStage stage, uint64_t at_ns);

/* May the supervisor note @stage? DN_ERROR_INVALID: unknown incident, or a stage of the host's. */
bool dn_custody_may_stamp(const DnIncident *incident, DnStage stage,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * May the evidence of @node, which is in @state, be destroyed now? Not before it is in quarantine:
 * what the reflex still does would speak of an incident that is over. DN_ERROR_UNAVAILABLE.
 */
bool dn_custody_may_destroy(const char *node, DnNodeState state, bool busy,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Nothing is reported before it is durable (DESIGN 4 g): what was reported must survive. */
bool dn_custody_may_report(const DnIncident *incident);

/*
 * Take out of @held (char * ids: cut nodes that are not replaced) what holds nobody back: incidents
 * that are destroyed, or that this host does not have. @unread: a set of ids whose records are
 * there and could not be read, or NULL; they hold. A destruction is durable before the hold it
 * ends, so an agent that died in between left one for ever. True when any was taken out.
 */
bool dn_custody_release(GHashTable *incidents, GHashTable *unread, GPtrArray *held);

/*
 * @incident was read from the disk, so it is durable, even if the agent died before it could
 * note so in the record itself.
 */
void dn_custody_restored(DnIncident *incident);

/*
 * What is destroyed, and known to be so to the supervisor, is past. @told: char * id → uint64_t *,
 * the last number of the spool when the supervisor was told so on this link. What a link carries
 * keeps its order and is stored in it: who has stored the fact with @number has all that was told
 * before it. Those move to @past, a set of ids.
 */
void dn_custody_stored(GHashTable *told, GHashTable *past, uint64_t number);

/*
 * The DnIncident * of @past that may be forgotten, borrowed, oldest first: all but the newest
 * DN_CUSTODY_PAST, and none that is not destroyed.
 */
GPtrArray *dn_custody_forgettable(GHashTable *incidents, GHashTable *past);
