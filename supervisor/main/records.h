/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How the store's values look: JSON, one document a record (docs/formats/store.md). Keys are
 * KIND/NAME; events are event/ and twenty digits, so that their order is that of their ids.
 */

#include "base/error.h"
#include "core/fleet.h"

#define DN_RECORD_EVENTS "event/"

char *dn_record_key(DnRecordKind kind, const char *name) G_GNUC_WARN_UNUSED_RESULT;
char *dn_record_event_key(uint64_t id) G_GNUC_WARN_UNUSED_RESULT;

/* The present value, or NULL when the core has forgotten it. */
GBytes *dn_record_encode(const DnFleetCore *core, DnRecordKind kind,
			 const char *name) G_GNUC_WARN_UNUSED_RESULT;
GBytes *dn_record_encode_event(const DnEvent *event) G_GNUC_WARN_UNUSED_RESULT;

/* Put the value of @key back into @core. An unknown kind of key is an error: it is not ours. */
bool dn_record_restore(DnFleetCore *core, const char *key, GBytes *value,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
DnEvent *dn_record_decode_event(GBytes *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;
