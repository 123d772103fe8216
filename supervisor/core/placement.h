/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who carries how many nodes of one service. What is placed already is never moved. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	const char *host;
	uint32_t room;    /* nodes this host can still take */
	uint32_t running; /* nodes of the service it carries: changed by the calls below */
	uint32_t weight;  /* nodes of the service's other epochs: breaks ties */
} DnSeat;

/*
 * Put @count more nodes on @seats. @spread (placement.spread: host): each on the one that carries
 * fewest, ties by weight, by room and by order; otherwise each where there is most room, whatever
 * is there. Returns how many found room.
 */
uint32_t dn_placement_add(DnSeat *seats, guint n, uint32_t count, bool spread);
