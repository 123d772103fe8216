/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The two filters on the host's end of a node's link, one for each direction. They see every packet
 * only while they are the first to be asked: a filter before them, or a program of tcx (Linux 6.6),
 * which runs before all filters, could let packets past them. In the current network namespace.
 * Private to the sensor.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sensor/pins.h"

/* @programs: by DN_PIN_TO_NODE and DN_PIN_FROM_NODE, here and below. */
bool dn_filters_attach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS],
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is wrong with them, as text that is static; NULL: nothing, or the kernel does not tell. */
const char *dn_filters_fault(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS]);

/* Put them where they were, and take away what is before them. True: nothing is wrong any more. */
bool dn_filters_repair(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS]);

/* Take them off if they are ours and the interface is there. */
void dn_filters_detach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS]);
