/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The programs at the kernel's security hooks (lsm.bpf.c): an extra, which refuses before it has
 * any effect what the sensor's own programs see. Nothing depends on them: a kernel that does not
 * have them is no error, and one that lacks a hook gets the others. Private to the sensor.
 *
 * They use the sensor's pinned maps. Their links are pinned beside them, as link_lsm_HOOK, and go
 * with them.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/instance.h"
#include "sensor/pins.h"

enum { DN_LSM_HOOKS = 14 };

typedef struct {
	int links[DN_LSM_HOOKS];  /* owned; -1: not attached */
	int hooked[DN_LSM_HOOKS]; /* owned: the programs that they run */
	bool active;
	char *why; /* one line: how many hooks there are, or why there are none; owned */
} DnLsm;

/*
 * @self has no links yet. Take over what is pinned when it is complete and @same_build,
 * else load, attach and pin anew. @maps are the sensor's. Whatever becomes of it is in @self; what
 * is not active has no pins.
 */
void dn_lsm_open(DnLsm *self, const DnInstance *instance, unsigned level,
		 const int maps[DN_PIN_N_MAPS], bool same_build);
void dn_lsm_close(DnLsm *self); /* pins stay */

/* Pin of the link at this hook. */
const char *dn_lsm_hook_name(unsigned hook);

/* Would they work? Loads and attaches them to nothing's harm, and leaves nothing. */
bool dn_lsm_probe_now(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The embedded object file. */
const void *dn_lsm_object(size_t *size);
