/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Drift classes (DESIGN 4, "Drift classes in two tiers"): their names, tiers and what is done about
 * them by default. docs/drift.md tells what each one sees.
 */

#include <dnode/drift.h>
#include <stdbool.h>

/* What is done about drift of a class: told; refused and told; the node is cut and replaced. */
typedef enum { DN_ANSWER_OBSERVE, DN_ANSWER_DENY, DN_ANSWER_QUARANTINE } DnAnswer;

typedef enum {
	DN_TIER_NONE,  /* no class */
	DN_TIER_PROOF, /* nothing that was declared does this: quarantine unless said otherwise */
	DN_TIER_SIGNAL /* ordinary programs may try: refused and told unless said otherwise */
} DnTier;

/* "exec", "exec-memory", …; "manual" for DN_DRIFT_MANUAL; NULL for what is no class. */
const char *dn_drift_name(enum dn_drift_class drift);
bool dn_drift_parse(const char *name, enum dn_drift_class *drift); /* not "manual" */

DnTier dn_drift_tier(enum dn_drift_class drift);
const char *dn_tier_name(DnTier tier); /* proof, signal */
DnAnswer dn_drift_default(enum dn_drift_class drift);
const char *dn_drift_answer_name(DnAnswer answer); /* observe, deny, quarantine */

/* Watched by this version, so that a manifest may name it and a drill may make it. */
bool dn_drift_is_watched(enum dn_drift_class drift);
