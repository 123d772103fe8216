/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Change a few values of a manifest in its text. Comments, order and everything else stay as
 * the person who wrote the file left them.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
	uint64_t epoch;     /* 0: one more than the file has */
	bool state_removed; /* false: state stays */
	const char *commit; /* of the image, or NULL: it stays */
	int64_t replicas;   /* -1: they stay */
	bool restart;       /* every node is to be replaced, also if @commit is what it was */
} DnManifestEdit;

/* The result parses, and differs in nothing but what was asked for. */
GBytes *dn_manifest_edit(GBytes *bytes, const char *name, const DnManifestEdit *edit,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
