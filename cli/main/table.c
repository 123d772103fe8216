/* SPDX-License-Identifier: Apache-2.0 */
#include "main/table.h"

#include "verbs/all.h"

const DnVerb *const dn_verb_table[] = {
	&dn_verb_service_ls,
	&dn_verb_node_ls,
	&dn_verb_host_ls,
	&dn_verb_host_token,
	&dn_verb_logs,
	&dn_verb_events,
	&dn_verb_drill,
	&dn_verb_quarantine,
	&dn_verb_incident_ls,
	&dn_verb_incident_show,
	NULL,
};
