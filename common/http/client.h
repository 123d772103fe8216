/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Requests to the people's API (docs/formats/api.md), blocking, for programs that have nothing
 * else to do meanwhile.
 *
 * A problem the other side reports becomes a GError of DN_ERROR with its code and its detail as
 * the message; one that cannot be reached is DN_ERROR_UNAVAILABLE. Answers are bounded: more than
 * DN_HTTP_ANSWER_LIMIT bytes are refused with DN_ERROR_EXHAUSTED.
 */

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "base/error.h"

#define DN_HTTP_ANSWER_LIMIT (64u << 20)
#define DN_HTTP_TIMEOUT_S 60

typedef struct DnHttp DnHttp;

/*
 * @target is "unix:/PATH", an absolute path of a socket, or "http://HOST:PORT".
 * Nothing is connected yet; DN_ERROR_INVALID when @target is none of these.
 */
DnHttp *dn_http_new(const char *target, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_http_free(DnHttp *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHttp, dn_http_free)

/* @path begins with '/' and is escaped already: see dn_http_escape(). */
JsonObject *dn_http_get(DnHttp *self, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
JsonObject *dn_http_post(DnHttp *self, const char *path, JsonObject *body,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same, but waits as long as the other end needs: for what is a gigabyte's work. */
JsonObject *dn_http_post_patiently(DnHttp *self, const char *path, JsonObject *body,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;
JsonObject *dn_http_put(DnHttp *self, const char *path, GBytes *body,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One event of a stream. Return false to end the stream without an error. */
typedef bool (*DnHttpEvent)(const char *id, JsonObject *data, gpointer user_data);

/*
 * Follow the server-sent events of @path until @event ends it or @cancellable is cancelled (both
 * return true). The other side closing the stream is DN_ERROR_UNAVAILABLE.
 */
bool dn_http_follow(DnHttp *self, const char *path, DnHttpEvent event, gpointer user_data,
		    GCancellable *cancellable, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @segment as one segment of a path or one value of a query. */
char *dn_http_escape(const char *segment) G_GNUC_WARN_UNUSED_RESULT;
