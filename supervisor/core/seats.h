/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where new nodes of a release may go. */

#include "core/state.h"

/* Past its valid_until no host takes new nodes of it; those that it has go on. */
bool dn_release_is_expired(const DnRelease *release, DnNow now);

/* Nobody has cordoned @host, and it has not refused @release. */
bool dn_host_takes(const DnHost *host, const DnRelease *release);

/*
 * Hosts that may get new nodes of @release, as DnSeat; free with g_array_unref(). @service: whose
 * nodes they carry already, and whose standbys make room for more, or NULL.
 */
GArray *dn_seats_new(const DnFleetCore *core, const DnService *service, const DnRelease *release);

/* Which hosts take none though they are up, and why, as "; 2 hosts are cordoned", or "". */
char *dn_seats_shut(const DnFleetCore *core, const DnRelease *release) G_GNUC_WARN_UNUSED_RESULT;
