/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A whole fleet on one machine: made, looked at, taken away again without a trace.
 *
 * Up is idempotent for the same number of hosts; down removes the lab with its keys, images and
 * evidence, also one that is half made or whose daemons are dead. Both need root.
 */

#include <stdbool.h>

#include "lab/layout.h"
#include "output/output.h"
#include "wire/json.h"

/* DN_ERROR_CONFLICT when the lab is up with another number of hosts. */
bool dn_lab_up(const DnLab *lab, DnOutput *output, GError **error) G_GNUC_WARN_UNUSED_RESULT;

bool dn_lab_down(const DnLab *lab, DnOutput *output, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * `name state client_netns supervisor{…} hosts[]{name netns address config pid state restarts}`;
 * state is up, partial or down.
 */
JsonObject *dn_lab_status(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The lab with as many hosts as its record says; none when it was never up. */
DnLab *dn_lab_find(const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
