/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The processes of a lab that nobody ended: nodes of an agent whose cleanup failed, log helpers. */

#include <stdbool.h>

#include "lab/layout.h"

/* Kill everything in the lab's cgroups and whatever runs a helper of its libexec directory. */
bool dn_lab_sweep(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;
