/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Objects from the supervisor's repository over HTTP, by libostree. Nothing is believed here.
 * What is sent without end or in drops is given up with DN_ERROR_EXHAUSTED. */

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/repository.h"

typedef struct {
	const char *url;      /* http://HOST:PORT/repo */
	const char *commit;   /* 64 hexadecimal digits */
	uint64_t limit_bytes; /* DN_ERROR_EXHAUSTED once more than this has come */
	GCancellable *cancellable;
} DnImagePull;

/* The commit object and its signatures, no content. */
bool dn_image_pull_commit(DnImageRepo *repo, const DnImagePull *pull,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Everything the commit needs and @repo has not. */
bool dn_image_pull_content(DnImageRepo *repo, const DnImagePull *pull,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Forget the commit and every object no other commit needs. Failures are logged. */
void dn_image_discard(DnImageRepo *repo, const char *commit);
