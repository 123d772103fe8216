/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What was decided, in this host's journal: journal.c over journal/. */

#include "main/agent.h"

/* journal.c: entries, and answers that wait for them */
void dn_agent_open_journal(Agent *agent);
void dn_agent_close_journal(Agent *agent);
void dn_agent_tend_journal(Agent *agent); /* one that has failed is opened anew, after a while */
void dn_agent_journal_event(Agent *agent, const DnEvent *event);
void dn_agent_journal_manifest(Agent *agent, const DnManifest *manifest);
void dn_agent_journal_node(const Node *node);
void dn_agent_journal_incident(Agent *agent, const DnIncident *incident, GBytes *record);
void dn_agent_journal_budget(Agent *agent, const char *kind, const Service *service,
			     const char *about);
void dn_agent_journal_head(Agent *agent, const DnJournalHead *head); /* the supervisor's */
void dn_agent_journal_link_closed(Agent *agent);
/* May @order be carried out while the journal is as it is? What protects always may. */
bool dn_agent_may_promise(Agent *agent, const DnOrder *order,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Is @order, which has not been carried out yet, one that a journal tells of? */
bool dn_agent_decides(Agent *agent, const DnOrder *order);
/* Send @answer, which is taken, if @decides once that is durable; to this link only. */
void dn_agent_answer(Agent *agent, const DnOrder *order, bool decides, DnAnswerTo *answer);
