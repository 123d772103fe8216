/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What RUN_DIR/nodes/ID.json says of a node, which dn_node_save() has written: for whoever comes
 * next. */

#include "main/agent.h"

typedef struct {
	char *id;
	uint32_t slot;
	char *digest;
	DnNodeState state;
	bool standby, healthy;
	uint64_t started_ns;
	uint32_t image;
	int64_t uid;             /* in the node; -1: not known */
	char *incident, *mounts; /* or NULL */
} DnSaved;

/* False: @self is to be cleared all the same, and may be read again. */
bool dn_saved_read(const char *path, DnSaved *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_saved_clear(DnSaved *self);
