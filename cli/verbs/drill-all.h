/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A drill of every class there is, in turn, --rounds times, and the report over them. It waits a
 * while where a drill is refused for what may pass. With --key and --reason every incident is
 * destroyed once it is in the report; without, it refuses what the hosts have no room for. It fails
 * when a drift was missed or its reflex lacks a stage.
 */

#include "verbs/verb.h"

bool dn_drill_all(DnCall *call, const char *service, GError **error) G_GNUC_WARN_UNUSED_RESULT;
