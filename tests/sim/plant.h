/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Classic mistakes, planted into the simulated agent and never into the product: the test of the
 * test. A build has one of them (-DSIM_PLANT=PLANT_…), or none.
 */

#include <stdbool.h>

#define PLANT_NONE 0
#define PLANT_EPOCH 1    /* the highest epoch is not made durable */
#define PLANT_TERM 2     /* welcomes of a lower term are obeyed */
#define PLANT_BUDGET 3   /* a replacement is charged twice */
#define PLANT_ADOPT 4    /* a new agent takes a quarantined node for one that is ready */
#define PLANT_INCIDENT 5 /* a report does not wait for the disk */
#define PLANT_REPLAY 6   /* sequences are not looked at */
#define PLANT_HASTE 7    /* a quarantine by hand is acknowledged before its record is durable */
#define PLANT_UNPAID 8   /* a charge that a crash has lost is not made good */
#define PLANT_REMAINS 9  /* a destruction that a crash has interrupted does not go on */
#define PLANT_HELD 10    /* a destruction that a crash has interrupted leaves its hold */

#ifndef SIM_PLANT
#define SIM_PLANT PLANT_NONE
#endif

static inline bool is_planted(int plant)
{
	return SIM_PLANT == plant;
}
