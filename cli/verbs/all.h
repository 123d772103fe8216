/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every verb there is; cli/main/table.c puts them in order. */

#include "verbs/verb.h"

extern const DnVerb dn_verb_service_ls;
extern const DnVerb dn_verb_node_ls;
extern const DnVerb dn_verb_host_ls;
extern const DnVerb dn_verb_host_token;
extern const DnVerb dn_verb_logs;
extern const DnVerb dn_verb_events;
extern const DnVerb dn_verb_incident_ls;
extern const DnVerb dn_verb_incident_show;
extern const DnVerb dn_verb_quarantine;
extern const DnVerb dn_verb_drill;
