/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The end of every step: compare what each host should be told with what it was told, and say
 * the difference. Only services that were touched are looked at.
 */

#include "core/state.h"

/* The beginning of every step: the first one starts the clocks of what was restored. */
void dn_reconcile_begin(DnFleetCore *core, DnNow now);
void dn_reconcile_touch_all(DnFleetCore *core);
/* @host has answered a manifest of so many bytes: there may be room for the next ones. */
void dn_reconcile_manifest_answered(DnFleetCore *core, DnHost *host, uint64_t bytes);
void dn_reconcile(DnFleetCore *core, DnNow now, DnActs *acts);
