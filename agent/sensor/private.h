/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the sensor share. */

#include "sensor/pins.h"
#include "sensor/sensor.h"

struct ring_buffer;

struct DnSensor {
	int maps[DN_PIN_N_MAPS];               /* owned */
	int programs[DN_PIN_N_PROGRAMS];       /* owned: the tc programs */
	volatile struct dn_sensor_mark *marks; /* owned: mapped */
	struct ring_buffer *verdicts;          /* owned; used by the reflex thread only */
	struct ring_buffer *observations;      /* owned */
	DnSensorObserved observed;             /* while draining */
	void *observed_data;
};

/* Detach the programs from an interface if they are ours and the interface is there. */
void dn_nodes_detach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS]);
