/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The signed text that lets a quarantined node go (docs/formats/statement.md), compared to the
 * byte. */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	const char *cluster, *host, *incident;
} DnStatementSubject;

/*
 * Whether the six lines of @statement are about @subject, whose evidence is not sealed ("none").
 * Says nothing about who signed it: that is dn_trust_check_statement()'s.
 */
bool dn_statement_is_about(GBytes *statement, const DnStatementSubject *subject);
