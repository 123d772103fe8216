/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Everything that is wrong with one file, each with its place, so that a person sees all of it
 * at once:
 *
 *     web.yaml:14:3: unknown key "replica", did you mean "replicas"?
 *
 * The first DN_FAULTS_SHOWN are kept, the rest are only counted.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { DN_FAULTS_SHOWN = 50 };

/* Both count from 1; columns are characters, not bytes. */
typedef struct {
	uint32_t line, column;
} DnMark;

typedef struct {
	DnMark at;
	char *text; /* one line, without its place */
} DnFault;

typedef struct DnFaults DnFaults;

/* @file is the name that every line begins with. */
DnFaults *dn_faults_new(const char *file);
void dn_faults_free(DnFaults *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFaults, dn_faults_free)

/* One printable line without a final full stop. Text from the file goes through dn_faults_quote().
 */
void dn_faults_add(DnFaults *self, DnMark at, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* How many were added, also those that are not shown. */
unsigned dn_faults_count(const DnFaults *self);

/* Fault @index of those that are kept, sorted by place; NULL past the last. Borrowed. */
const DnFault *dn_faults_get(const DnFaults *self, unsigned index);

/*
 * True when nothing was added. Otherwise false, and @error is DN_ERROR_INVALID with one line a
 * fault, sorted by place.
 */
bool dn_faults_raise(DnFaults *self, GError **error);

/* @text in quotes, printable and cut to a length that leaves the line readable. */
char *dn_faults_quote(const char *text) G_GNUC_WARN_UNUSED_RESULT;
