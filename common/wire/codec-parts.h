/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the codec share; nobody outside wire/ includes this. */

#include <json-glib/json-glib.h>

#include "model/fleet.h"

JsonObject *dn_codec_write_order(const DnOrder *order);
DnOrder *dn_codec_read_order(JsonObject *object, GError **error);
JsonObject *dn_codec_write_fact(const DnFact *fact);
DnFact *dn_codec_read_fact(JsonObject *object, GError **error);

/* Sticky like wire/json.h. */
JsonObject *dn_codec_write_epochs(GHashTable *epochs);
void dn_codec_read_epochs(JsonObject *object, const char *name, GHashTable *epochs, GError **error);

/* "journal": {"seq", "hash"}; a head without a hash is left out, and read as none. */
void dn_codec_write_head(JsonObject *object, const DnJournalHead *head);
void dn_codec_read_head(JsonObject *object, DnJournalHead *head, GError **error);
