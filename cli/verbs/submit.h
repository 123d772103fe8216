/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Handing a signed manifest to the supervisor: what apply, roll and remove have in common, and
 * their options --key, --plan and --wait.
 */

#include "model/manifest.h"
#include "verbs/answer.h"

typedef struct {
	GBytes *manifest;      /* exact bytes; borrowed */
	const char *name;      /* for messages; borrowed */
	GPtrArray *signatures; /* of GBytes; borrowed; NULL: none. Each --key adds one */
} DnSubmission;

/*
 * Parse, sign with each --key, send. Prints the differences and where nodes would go with
 * --plan; with --wait goes on until the service is as declared, at most its deadline.
 */
bool dn_submit(DnCall *call, const DnSubmission *submission,
	       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A minisign signature over @manifest with its trusted comment. */
GBytes *dn_submit_sign(const DnSecretKey *key, GBytes *bytes, const DnManifest *manifest,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
