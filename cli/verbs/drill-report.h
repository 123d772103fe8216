/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What many drills have shown, by class: how many were detected, how many had no effect, and how
 * long each stage took. As a table for people, and as a JSON document with every drill:
 *
 *   {"schema": "dnode/v1", "service", "rounds", "classes": [{"name", "tier", "answer", "drills",
 *     "detected", "denied", "missed": [TEXT], "stages": {STAGE: {"n", "p50", "p95", "max"}},
 *     "samples": [{"node", "incident", "event", "detected", "denied", "stages": {}}]}]}
 *
 * Times are microseconds after the event.
 */

#include "verbs/drill-once.h"

typedef struct DnDrillReport DnDrillReport;

DnDrillReport *dn_drill_report_new(const char *service, unsigned rounds);
void dn_drill_report_free(DnDrillReport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDrillReport, dn_drill_report_free)

void dn_drill_report_add(DnDrillReport *self, const char *tier, const DnDrilled *drilled);

/* Drifts that were not detected, or lack a stage of their reflex; each is one missed. */
unsigned dn_drill_report_missed(const DnDrillReport *self);

JsonObject *dn_drill_report_document(const DnDrillReport *self) G_GNUC_WARN_UNUSED_RESULT;
void dn_drill_report_show(const DnDrillReport *self, DnOutput *output);
