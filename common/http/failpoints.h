/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Failpoints through a daemon's socket (docs/failpoints.md); in a build without them, no routes.
 *
 *   GET  /v1/debug/failpoints        every point: name, can_fail, armed, hits, taken
 *   POST /v1/debug/failpoints {arm}  what dn_failpoints_arm() takes; answers as GET does
 */

#include "http/server.h"

#ifdef DN_FAILPOINTS

void dn_http_get_failpoints(DnHttpRequest *request);
void dn_http_post_failpoints(DnHttpRequest *request);

/* Rows for a table of routes. */
#define DN_HTTP_FAILPOINT_ROUTES                                                                   \
	{"GET", "/v1/debug/failpoints", DN_BODY_NONE, dn_http_get_failpoints},                     \
		{"POST", "/v1/debug/failpoints", DN_BODY_JSON, dn_http_post_failpoints},

#else

#define DN_HTTP_FAILPOINT_ROUTES

#endif
