/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Problems as they travel: application/problem+json with "code", a DnErrorCode number. The
 * table of docs/formats/api.md lives here and nowhere else.
 */

#include <glib.h>

#include "base/error.h"

#define DN_PROBLEM_MEDIA_TYPE "application/problem+json"

/* The HTTP status for @error: 400 403 409 503 429 501, else 500. */
unsigned dn_problem_status(const GError *error);

/*
 * What an answer with @status and @body (possibly not JSON at all) means. Always returns an
 * error; the detail is made printable and cut at one line.
 */
GError *dn_problem_parse(unsigned status, const char *body,
			 size_t length) G_GNUC_WARN_UNUSED_RESULT;
