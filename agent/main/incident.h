/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What becomes of a node that was cut: its record, the evidence kept of it, and who may end that.
 */

#include "main/agent.h"

/* incident.c */
void dn_incident_open(Agent *agent, Node *node);
void dn_incident_finish(Agent *agent, const DnReflexOutcome *outcome);
void dn_incident_adopt(Agent *agent, Node *node);
void dn_incident_replaced(Node *node);
void dn_incident_save(Agent *agent, const DnIncident *incident);
/* What the packet paths have counted of @node. */
void dn_incident_read_counters(Agent *agent, const Node *node, DnIncident *incident);
bool dn_incident_stamp(Agent *agent, const char *id, DnStage stage,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* verify.c. Of one that is isolated: only that nothing it begins gets out. */
void dn_incident_verify(Agent *agent, const Node *node, const DnIncident *incident);

/* isolate.c */
bool dn_node_is_isolated(const Node *self);
void dn_isolation_look(Agent *agent); /* when the firewall and the plans are what they should be */
void dn_isolation_tick(Agent *agent); /* has time alone changed anything? */
void dn_isolation_begun(Agent *agent, Node *node, DnIncident *incident);
void dn_isolation_end(Node *node, const char *why); /* it is cut, as any other */
void dn_isolation_adopt(Node *node, DnIncident *incident);

/* sweep.c */
void dn_sweep_note(Node *node, const char *path, const char *comm); /* of the mark to come */
void dn_sweep_begin(Agent *agent, const DnIncident *incident);
bool dn_sweep_obey(Agent *agent, const DnOrder *order, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* response.c */
void dn_incidents_release(Agent *agent); /* at the start: holds of what is destroyed */
bool dn_incident_destroy(Agent *agent, const DnOrder *order,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_agent_quarantine(Agent *agent, const char *node, const char *reason,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A node that can be quarantined, or why it cannot be. */
Node *dn_agent_find_cuttable(Agent *agent, const char *id, GError **error);
