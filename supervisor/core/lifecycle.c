/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"

#include <glib.h>

#define TO(state_) (1u << DN_NODE_##state_)

/*
 * creating ─→ created ─→ starting ─→ ready ─→ draining ─→ stopping ─→ stopped
 *                  └────→ standby ───┘ ↑↓ unhealthy: starting
 * Every state up to stopping may fail, end, or be quarantined; quarantined ─→ destroyed.
 */
static const unsigned may_become[] = {
	[DN_NODE_CREATING] = TO(CREATED) | TO(STARTING) | TO(STOPPING) | TO(STOPPED) | TO(FAILED) |
			     TO(QUARANTINED),
	[DN_NODE_CREATED] = TO(STANDBY) | TO(STARTING) | TO(READY) | TO(STOPPING) | TO(STOPPED) |
			    TO(FAILED) | TO(QUARANTINED),
	[DN_NODE_STANDBY] = TO(STARTING) | TO(READY) | TO(STOPPING) | TO(STOPPED) | TO(FAILED) |
			    TO(QUARANTINED),
	[DN_NODE_STARTING] = TO(READY) | TO(STANDBY) | TO(DRAINING) | TO(STOPPING) | TO(STOPPED) |
			     TO(FAILED) | TO(QUARANTINED),
	[DN_NODE_READY] = TO(STARTING) | TO(DRAINING) | TO(STOPPING) | TO(STOPPED) | TO(FAILED) |
			  TO(QUARANTINED),
	[DN_NODE_DRAINING] = TO(STOPPING) | TO(STOPPED) | TO(FAILED) | TO(QUARANTINED),
	[DN_NODE_STOPPING] = TO(STOPPED) | TO(FAILED) | TO(QUARANTINED),
	[DN_NODE_STOPPED] = 0,
	[DN_NODE_QUARANTINED] = TO(DESTROYED),
	[DN_NODE_DESTROYED] = 0,
	[DN_NODE_FAILED] = TO(STOPPED),
	[DN_NODE_LOST] = 0, /* shown by the supervisor, never reported by a host */
};
_Static_assert(G_N_ELEMENTS(may_become) == DN_NODE_N_STATES, "every state needs a row");

#undef TO

bool dn_lifecycle_may_reach(DnNodeState from, DnNodeState to)
{
	unsigned reached = 1u << from;
	unsigned before;

	g_assert(from < DN_NODE_N_STATES && to < DN_NODE_N_STATES);
	do {
		before = reached;
		for (unsigned state = 0; state < DN_NODE_N_STATES; state++)
			if ((before & (1u << state)) != 0)
				reached |= may_become[state];
	} while (reached != before);
	return (reached & (1u << to)) != 0;
}

bool dn_lifecycle_is_live(DnNodeState state)
{
	switch (state) {
	case DN_NODE_CREATING:
	case DN_NODE_CREATED:
	case DN_NODE_STANDBY:
	case DN_NODE_STARTING:
	case DN_NODE_READY:
	case DN_NODE_DRAINING:
		return true;
	case DN_NODE_STOPPING:
	case DN_NODE_STOPPED:
	case DN_NODE_QUARANTINED:
	case DN_NODE_DESTROYED:
	case DN_NODE_FAILED:
	case DN_NODE_LOST:
	case DN_NODE_N_STATES:
		return false;
	}
	return false;
}
