/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is a node as it should be, seen from outside? */

#include "main/agent.h"

/*
 * audit.c: looking from outside (worker). @done is called on main with the JSON object of
 * docs/formats/api.md as text, or NULL and why not.
 */
typedef void (*DnAuditDone)(Agent *agent, const char *text, const GError *error, gpointer data);
void dn_audit_begin(Agent *agent, const char *node, DnAuditDone done, gpointer data);
void dn_audit_order(Agent *agent, const DnOrder *order); /* answers by itself */
/* Once a node answers: one that lacks what every node must have is ended and replaced. */
void dn_audit_verify(Node *node);
