/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Is the sensor still what this agent made it? Somebody with root's rights can unpin, detach and
 * overwrite every part of it. What is found is put right at once, from what the agent holds open
 * and remembers, and told: a person has to know, and what happened meanwhile was not seen.
 *
 * To be asked by any one thread at a time, while nodes are not being added or removed there.
 */

#include "sensor/sensor.h"

/*
 * Links, maps and programs of the whole instance: pinned where they were, attached where they were.
 * Returns what was wrong as text, owned by the caller, or NULL; *@repaired: it is right again.
 */
char *dn_sensor_check_hooks(DnSensor *self, const DnInstance *instance, bool *repaired);

/* The files that nodes of each image may use: exactly those of the last dn_sensor_allow(). */
char *dn_sensor_check_images(DnSensor *self, bool *repaired);

/*
 * One node: both filters on its link, its entries in the maps, and its mark where @marked says that
 * it has one. @node is what it was added with.
 */
char *dn_sensor_check_node(DnSensor *self, const DnSensorNode *node, bool marked, bool *repaired);
