/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A table for people: titles in capitals, columns as wide as they need, "-" for nothing. */

#include "output/output.h"

typedef struct DnTable DnTable;

/* @titles ends in NULL; its strings must outlive the table. */
DnTable *dn_table_new(const char *const *titles);
void dn_table_free(DnTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnTable, dn_table_free)

/* The next cell, row by row; NULL and "" are shown as "-". */
void dn_table_add(DnTable *self, const char *cell);
void dn_table_add_format(DnTable *self, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Print it. Every row must be full. A table without rows prints "no @what" instead. */
void dn_output_table(DnOutput *output, const DnTable *table, const char *what);
