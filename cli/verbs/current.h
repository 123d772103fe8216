/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The manifest in force of a service, as the supervisor hands it over.
 *
 * The supervisor is not believed (docs/threat-model.md). What a person is about to change and sign
 * again is judged first, as every host judges it: by a trust file that the supervisor cannot write.
 */

#include "model/trust.h"
#include "verbs/verb.h"

/* Exact bytes, not judged. Its signatures, GBytes, are added to @signatures, which may be NULL. */
GBytes *dn_current_fetch(DnHttp *http, const char *service, GPtrArray *signatures,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * DN_ERROR_UNTRUSTED unless those whom @policy names have signed @bytes as a manifest of @service.
 * A manifest past its valid_until passes: the next epoch is how a person prolongs it.
 */
bool dn_current_check(const DnTrustPolicy *policy, const char *service, GBytes *bytes,
		      GPtrArray *signatures, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Fetched, and judged by the home's trust.yaml; DN_ERROR_UNTRUSTED when there is none. */
GBytes *dn_current_trusted(const DnCall *call, DnHttp *http, const char *service,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
