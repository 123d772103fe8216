/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The end of a quarantined node, as 'dnode incident destroy' brings it about. */

#include "verbs/answer.h"

/* Sign the statement that lets @incident's node go, and have it carried out; the answer. */
JsonObject *dn_incident_destroy(DnHttp *http, const GPtrArray *keys, const char *incident,
				const char *reason, GError **error) G_GNUC_WARN_UNUSED_RESULT;
