/* SPDX-License-Identifier: Apache-2.0 */
#include "model/node.h"

#include <glib.h>

static const char *const names[] = {
	[DN_NODE_CREATING] = "creating",
	[DN_NODE_CREATED] = "created",
	[DN_NODE_STANDBY] = "standby",
	[DN_NODE_STARTING] = "starting",
	[DN_NODE_READY] = "ready",
	[DN_NODE_DRAINING] = "draining",
	[DN_NODE_STOPPING] = "stopping",
	[DN_NODE_STOPPED] = "stopped",
	[DN_NODE_QUARANTINED] = "quarantined",
	[DN_NODE_DESTROYED] = "destroyed",
	[DN_NODE_FAILED] = "failed",
	[DN_NODE_LOST] = "lost",
};
_Static_assert(G_N_ELEMENTS(names) == DN_NODE_N_STATES, "every state needs a name");

const char *dn_node_state_name(DnNodeState state)
{
	g_assert(state < DN_NODE_N_STATES);
	return names[state];
}

bool dn_node_state_parse(const char *name, DnNodeState *state)
{
	for (unsigned i = 0; i < DN_NODE_N_STATES; i++)
		if (g_str_equal(names[i], name)) {
			*state = (DnNodeState)i;
			return true;
		}
	return false;
}
