/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The text a responder signs to let a quarantined node go (docs/formats/statement.md). */

#include <glib.h>

#include "base/error.h"

typedef struct {
	const char *cluster, *host, *incident;
	const char *evidence; /* digest, or NULL: none */
	const char *reason;
} DnStatement;

/* DN_ERROR_INVALID when a part is not one line of text: a line feed could add a seventh line. */
GBytes *dn_statement_write(const DnStatement *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The trusted comment that belongs to it. */
char *dn_statement_comment(const char *incident) G_GNUC_WARN_UNUSED_RESULT;
