/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Waiting until a service is what its manifest says. */

#include "model/manifest.h"
#include "verbs/answer.h"

/*
 * Until every node is of @manifest's epoch and ready, or the service is gone when it is to be
 * removed. DN_ERROR_EXHAUSTED when it has not come a step further for as long as the manifest
 * allows a node (roll.deadline, and run.start_deadline), or its removal for five minutes; the line
 * says what is missing and what was last heard of it. DN_ERROR_CONFLICT when another manifest came
 * in force, and the roll's own error when it was given up.
 */
bool dn_await_service(DnCall *call, DnHttp *http, const DnManifest *manifest,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
