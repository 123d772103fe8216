/* SPDX-License-Identifier: Apache-2.0 */
#include "core/life.h"

DnNodeState dn_life_after_exit(DnNodeState state, bool marked)
{
	if (marked || state == DN_NODE_QUARANTINED)
		return state;
	return state == DN_NODE_STOPPING ? DN_NODE_STOPPED : DN_NODE_FAILED;
}

DnNodeState dn_life_after_first_answer(bool standby)
{
	return standby ? DN_NODE_STANDBY : DN_NODE_READY;
}

DnNodeState dn_life_adopted(DnNodeState saved, bool created_only)
{
	if (saved == DN_NODE_QUARANTINED)
		return saved;
	if (created_only)
		return DN_NODE_CREATED;
	return saved == DN_NODE_CREATED || saved == DN_NODE_CREATING ? DN_NODE_STARTING : saved;
}

bool dn_life_serves(DnNodeState state, bool standby, bool healthy, bool marked, bool entered)
{
	if (marked)
		return false;
	return standby ? entered : state == DN_NODE_READY && healthy;
}

bool dn_life_goes_on(DnNodeState state)
{
	return state == DN_NODE_CREATING || state == DN_NODE_CREATED || state == DN_NODE_STARTING ||
	       state == DN_NODE_STANDBY || state == DN_NODE_READY;
}
