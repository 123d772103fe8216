/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* trust.yaml (docs/formats/trust.md): which keys may sign what. */

#include <glib.h>

#include "base/error.h"
#include "model/trust.h"

/* Fails with DN_ERROR_INVALID and one line a fault, each with its place. */
DnTrustPolicy *dn_trust_file_parse(GBytes *bytes, const char *name,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A trust file that trusts nobody yet, with comments that say how to go on. */
GBytes *dn_trust_file_new(const char *cluster) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The text of @old (@name in messages) with @key added to "keys" and, for a release or deploy
 * key, to the rule of "images" or "services" whose pattern is @pattern (NULL: "*"). A rule that
 * is not there is made, before a rule for "*" if there is one, with threshold 1. Comments stay.
 */
GBytes *dn_trust_file_add_key(GBytes *old, const char *name, const DnTrustedKey *key,
			      const char *pattern, GError **error) G_GNUC_WARN_UNUSED_RESULT;
