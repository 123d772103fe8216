/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether a commit may be run under a ref. Content is not looked at: the commit's id covers it. */

#include <glib.h>
#include <stdbool.h>

#include "image/repository.h"
#include "model/trust.h"

/*
 * @commit_bytes have the id @commit, name @ref in their binding, and @metadata carries signatures
 * of enough distinct release keys that @trust allows for @ref. DN_ERROR_UNTRUSTED otherwise.
 */
bool dn_image_check(const DnTrustPolicy *trust, const char *ref, const char *commit,
		    GBytes *commit_bytes, GBytes *metadata,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for what is in @repo. */
bool dn_image_check_now(DnImageRepo *repo, const DnTrustPolicy *trust, const char *ref,
			const char *commit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
