/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pure: from what is expected of a node and what was seen of it to items. One rule an item, in
 * the order of the report; a rule says in @said what it saw, in one line.
 */

#include "audit/audit.h"
#include "audit/sight.h"

typedef struct {
	const DnAuditNode *node;
	const DnSight *seen;
	GPtrArray *mounts; /* of DnMount: the node's */
} DnAuditCase;

typedef struct {
	const char *id;
	const char *title;
	bool must;
	bool early; /* can be judged before the node was started */
	DnAuditResult (*judge)(const DnAuditCase *all, GString *said);
} DnAuditRule;

/* The tables; each ends with a NULL id. */
extern const DnAuditRule dn_audit_process_rules[];
extern const DnAuditRule dn_audit_mount_rules[];
extern const DnAuditRule dn_audit_resource_rules[];

/* Of DnAuditItem, sorted: the benchmark's numbers, then the product's own. */
GPtrArray *dn_audit_judge(const DnAuditNode *node, const DnSight *seen) G_GNUC_WARN_UNUSED_RESULT;

/* An item from its parts; @seen is made printable. */
DnAuditItem *dn_audit_item_new(const char *id, const char *title, DnAuditResult result,
			       const char *seen);

/* ", " before all but the first: the words of a line. */
void dn_audit_say(GString *said, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* FAIL when @bad has words, and they are what is said; else PASS, and @good is. */
DnAuditResult dn_audit_unless(GString *bad, GString *said, const char *good);
