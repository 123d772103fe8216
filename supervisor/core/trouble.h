/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What somebody does to the supervisor again and again. People hear of each kind once a minute a
 * host, and once a minute of all that are no hosts: the line says what happens and what to do, and
 * who floods cannot flood the events as well.
 */

#include "core/fleet.h"

typedef enum {
	DN_TROUBLE_CROWDED,    /* link.crowded: strangers that never become anybody */
	DN_TROUBLE_REFUSED,    /* link.refused: a key or a version that is not welcome */
	DN_TROUBLE_ENROLMENT,  /* host.refused: tokens that are none */
	DN_TROUBLE_FLOODED,    /* link.flooded: more facts than a host may tell */
	DN_TROUBLE_RECONNECTS, /* host.reconnects: links without end, or two machines of one key */
	DN_TROUBLE_JOURNAL,    /* journal.shortened: a host's journal has lost its end */
	DN_TROUBLE_CLAIMS,     /* host.claims: a node that another host has, too */
	DN_TROUBLE_HTTP,       /* api.crowded: more requests than are served at once */
	DN_TROUBLE_N
} DnTrouble;

/* @host is NULL for somebody who is none, or whom nobody knows. @text: one line. */
void dn_fleet_core_trouble(DnFleetCore *self, DnTrouble trouble, const char *host, const char *text,
			   DnNow now, DnActs *acts);
