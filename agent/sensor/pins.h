/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The directory of pins: what has to be in it, whether it is, and how it gets there.
 * Private to the sensor.
 */

#include <dnode/sensor-abi-user.h>
#include <glib.h>
#include <stdbool.h>

#include "core/instance.h"

typedef enum {
	DN_PIN_NODE,
	DN_PIN_LINK,
	DN_PIN_SPACE,
	DN_PIN_ALLOW,
	DN_PIN_MARK,
	DN_PIN_VERDICTS,
	DN_PIN_OBSERVATIONS,
	DN_PIN_SEQUENCE,
	DN_PIN_PACE,
	DN_PIN_TRIED,
	DN_PIN_AGENT,
	DN_PIN_LOSS,
	DN_PIN_ABI,
	DN_PIN_N_MAPS
} DnPinnedMap;

enum { DN_PIN_TO_NODE, DN_PIN_FROM_NODE, DN_PIN_N_PROGRAMS };

enum {
	DN_PIN_EXEC,
	DN_PIN_SYS_EXIT,
	DN_PIN_ATTACH,
	DN_PIN_FORK,
	DN_PIN_EXIT,
	DN_PIN_CGROUP_IN,
	DN_PIN_CGROUP_OUT,
	DN_PIN_N_HOOKS
};

/* File names below the directory. */
const char *dn_pins_map_name(DnPinnedMap map);
const char *dn_pins_program_name(unsigned program);
const char *dn_pins_hook_name(unsigned hook);

/* Make DnInstance.bpf_dir. DN_ERROR_UNSUPPORTED when it would not be on a bpf file system. */
bool dn_pins_make_directory(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Unpin everything and remove the directory, and parents of it that are empty then. */
bool dn_pins_remove(const char *dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What a set of pins of this agent for this instance says of itself. */
bool dn_pins_expect(const DnInstance *instance, unsigned level, struct dn_sensor_abi *abi,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * True when everything is pinned, has the shape of dnode/sensor-abi.h, and is attached where
 * @wanted says. @wanted->programs is not compared.
 */
bool dn_pins_are_usable(const char *dir, const struct dn_sensor_abi *wanted);

/* The checksum of the object file that the pinned programs come from; 0 when unknown. */
uint64_t dn_pins_programs(const char *dir);

/*
 * How many nodes are registered whose cgroup still exists: what would be lost with the pins.
 * -1 when the pins that would tell are there but cannot be read.
 */
int dn_pins_count_nodes(const DnInstance *instance);

/* Load the programs, attach and pin them. The directory exists and holds no pins. */
bool dn_pins_load(const DnInstance *instance, const struct dn_sensor_abi *abi,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Open a pinned map or program; -1 and errno. */
int dn_pins_open_map(const char *dir, DnPinnedMap map);
int dn_pins_open_program(const char *dir, unsigned program);
int dn_pins_open_hook(const char *dir, unsigned hook);

/* The program that a link runs now; -1 and errno. */
int dn_pins_open_hooked(int link_fd);
