/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every verb there is; cli/main/table.c puts them in order. */

#include "verbs/verb.h"

extern const DnVerb dn_verb_cluster_init;
extern const DnVerb dn_verb_key_gen;
extern const DnVerb dn_verb_key_show;
extern const DnVerb dn_verb_trust_show;
extern const DnVerb dn_verb_trust_check;
extern const DnVerb dn_verb_image_build;
extern const DnVerb dn_verb_image_push;
extern const DnVerb dn_verb_image_ls;
extern const DnVerb dn_verb_image_show;
extern const DnVerb dn_verb_image_verify;
extern const DnVerb dn_verb_manifest_check;
extern const DnVerb dn_verb_manifest_sign;
extern const DnVerb dn_verb_manifest_show;
extern const DnVerb dn_verb_apply;
extern const DnVerb dn_verb_service_ls;
extern const DnVerb dn_verb_node_ls;
extern const DnVerb dn_verb_host_ls;
extern const DnVerb dn_verb_host_token;
extern const DnVerb dn_verb_host_cordon;
extern const DnVerb dn_verb_host_uncordon;
extern const DnVerb dn_verb_host_fence;
extern const DnVerb dn_verb_audit;
extern const DnVerb dn_verb_logs;
extern const DnVerb dn_verb_events;
extern const DnVerb dn_verb_roll;
extern const DnVerb dn_verb_roll_status;
extern const DnVerb dn_verb_scale;
extern const DnVerb dn_verb_remove;
extern const DnVerb dn_verb_drill;
extern const DnVerb dn_verb_quarantine;
extern const DnVerb dn_verb_incident_ls;
extern const DnVerb dn_verb_incident_show;
extern const DnVerb dn_verb_incident_destroy;
extern const DnVerb dn_verb_journal_show;
extern const DnVerb dn_verb_journal_verify;
extern const DnVerb dn_verb_lab_up;
extern const DnVerb dn_verb_lab_down;
extern const DnVerb dn_verb_lab_status;
extern const DnVerb dn_verb_lab_monitor;
extern const DnVerb dn_verb_host_drain;
extern const DnVerb dn_verb_roll_abort;
extern const DnVerb dn_verb_evidence_ls;
extern const DnVerb dn_verb_evidence_show;
extern const DnVerb dn_verb_evidence_export;
extern const DnVerb dn_verb_evidence_verify;
