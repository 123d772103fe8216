/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Server-sent events, taken apart as their bytes arrive:
 *
 *     stream = { event } ; event = { field LF } LF
 *     field  = "id:" text | "data:" JSON | other (ignored) | ":" comment (ignored)
 *
 * Lines end in LF or CR LF; several data fields of one event are joined by LF.
 */

#include "http/client.h"

#define DN_STREAM_EVENT_LIMIT (1u << 20)

typedef struct DnStream DnStream;

DnStream *dn_stream_new(DnHttpEvent event, gpointer user_data);
void dn_stream_free(DnStream *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnStream, dn_stream_free)

/*
 * Take @bytes. *@going_on is false once the callback has ended the stream. An event that is
 * larger than DN_STREAM_EVENT_LIMIT is DN_ERROR_EXHAUSTED, one that is not JSON
 * DN_ERROR_UNAVAILABLE; JSON that is no object is passed over.
 */
bool dn_stream_feed(DnStream *self, const char *bytes, size_t length, bool *going_on,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
