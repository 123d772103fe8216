/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From the embedded object file to pins. Private to the sensor. */

#include <dnode/sensor-abi-user.h>
#include <glib.h>
#include <stdbool.h>

#include "core/instance.h"

typedef struct {
	const char *program;
	const char *pin; /* of the link */
	bool on_cgroup;  /* attached to the instance's parent cgroup */
} DnHook;

typedef struct {
	const DnInstance *instance;
	const struct dn_sensor_abi *abi;
	const char *const *maps; /* pinned in this order, under these names */
	size_t n_maps;
	const char *const *programs; /* pinned only; attached to links later */
	size_t n_programs;
	const DnHook *hooks;
	size_t n_hooks;
} DnLoad;

/* Load, pin and attach; the abi map is filled in last. On failure some pins may be there. */
bool dn_load_and_pin(const DnLoad *load, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Of the embedded object files; tells programs of another build apart. Never 0. */
uint64_t dn_load_checksum(void);

/*
 * Set @error from errno and the last thing libbpf said on this thread. EPERM and what a kernel
 * does not know become DN_ERROR_UNSUPPORTED. Always returns false.
 */
bool dn_load_throw(GError **error, int errsv, const char *doing, ...) G_GNUC_PRINTF(3, 4);

/* Have libbpf tell dn_load_throw() instead of stderr. */
void dn_load_quiet(void);
