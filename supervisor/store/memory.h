/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The reference implementation of store.h: in memory, and able to misbehave on demand. */

#include "store/store.h"

DnStore *dn_store_open_memory(void) G_GNUC_WARN_UNUSED_RESULT;

/* Every call from now on takes at least this long. */
void dn_store_memory_delay(DnStore *self, unsigned delay_ms);

/* Somebody else has won a campaign: the term in use has ended. */
void dn_store_memory_lose_leadership(DnStore *self);

/* Forget the history before the current revision, as a store short of room would. */
void dn_store_memory_compact(DnStore *self);
