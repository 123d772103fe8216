/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Everything the command prints, and how it ends. Nothing else writes to stdout or stderr.
 *
 * Results go to stdout, errors and progress to stderr. Every text is made printable here, so
 * what a node wrote cannot steer a terminal. Progress is one line that overwrites itself on a
 * terminal and a plain line for each step elsewhere.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "wire/json.h"

typedef struct DnOutput DnOutput;

/* @out and @err are borrowed. */
DnOutput *dn_output_new(FILE *out, FILE *err);
void dn_output_free(DnOutput *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnOutput, dn_output_free)

/* One line of a result. A line feed inside becomes visible text. */
void dn_output_line(DnOutput *self, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A text of several lines, ending in one line feed; each line is made printable. */
void dn_output_text(DnOutput *self, const char *text, size_t length);

/* A text of ours, byte for byte: help, a table. */
void dn_output_verbatim(DnOutput *self, const char *text);

/* @document, indented, with "schema" first when it has none yet. */
void dn_output_json(DnOutput *self, JsonObject *document);

/* @document on one line, for streams. */
void dn_output_json_line(DnOutput *self, JsonObject *document);

/* What is being done right now. */
void dn_output_progress(DnOutput *self, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Something the person should know that is no result: "dnode: …" on stderr. */
void dn_output_note(DnOutput *self, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A finding that says itself where it is ("web.yaml:3:1: …"), on stderr. */
void dn_output_finding(DnOutput *self, const char *line);

/* "dnode: MESSAGE" on stderr, for each line of the message. */
void dn_output_error(DnOutput *self, const GError *error);

/* Write out what is buffered; DN_ERROR_UNAVAILABLE when stdout did not take everything. */
bool dn_output_finish(DnOutput *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The exit code for @error (DESIGN 10): 2 to 7 by remedy, else 1. */
int dn_exit_code(const GError *error);
