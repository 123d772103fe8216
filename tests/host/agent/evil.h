/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A supervisor in the hands of an attacker: it has the right key of the link and says whatever the
 * test wants. It has no key that signs manifests.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "link/server.h"
#include "seal/keys.h"
#include "wire/codec.h"

/* What it answers a hello with. */
typedef struct {
	const char *cluster;
	const char *session; /* NULL: the one of the hello */
	const char *host_cidr, *node_cidr, *vip_cidr;
	const char *repo; /* where it says that images are */
	uint64_t term;
	bool is_silent; /* no welcome at all */
} EvilWelcome;

typedef struct {
	DnLinkServer *server;    /* owned */
	DnLinkConnection *agent; /* borrowed, or NULL */
	EvilWelcome welcome;
	DnFrame *enrolled; /* owned; what it answers enrol with */
	char *session;     /* owned; of the last hello */
	uint64_t seen_term;
	unsigned enrols, hellos, reports, closes;
	DnFact *report;      /* owned; the last */
	GPtrArray *facts;    /* of DnFact, owned: of nodes and events, all of them */
	const DnFact *event; /* borrowed from facts; the last since evil_ask() */
	DnAnswerTo *answer;  /* owned; likewise */
	uint64_t sequence;
} Evil;

/* Listens where the yard's agent looks. */
void evil_listen(Evil *self, const DnSecretKey *key);
void evil_deaf(Evil *self);
void evil_clear(Evil *self);

/* Fill in the envelope as the rightful supervisor does. */
void evil_address(Evil *self, DnOrder *order);

/* Send and wait for the answer to it: NULL when none came. */
const DnAnswerTo *evil_ask(Evil *self, const DnOrder *order);

/* Send these bytes, whatever they are. */
void evil_send(Evil *self, GBytes *frame);

/* End the present link and wait until the agent has come back and said hello. */
bool evil_relink(Evil *self);

/* Events of @kind with @text in them that the agent has told on any link; wait for the first. */
unsigned evil_count_events(const Evil *self, const char *kind, const char *text);
bool evil_wait_event(Evil *self, const char *kind, const char *text);
bool evil_wait_report(Evil *self, unsigned before);
bool evil_wait_close(Evil *self, unsigned before);
