/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The link to the supervisor: connect, say hello with a fresh session, and hand on what comes.
 * It reconnects by itself. Nothing is queued here while it is down: after every welcome the agent
 * states everything it has, and sends from its spool what a state does not tell.
 *
 * Enrolment is a link of its own, used once.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/trust.h"
#include "wire/codec.h"

typedef struct {
	/* A welcome came for our hello. False: it may not be believed; the link is closed. */
	bool (*welcomed)(const DnWelcome *welcome, void *data);
	void (*order)(const DnOrder *order, void *data);
	/* The facts of @spool up to @number are in the supervisor's store. */
	void (*stored)(const char *spool, uint64_t number, void *data);
	/* How far the supervisor's journal has come. */
	void (*head)(const DnJournalHead *head, void *data);
	void (*closed)(const char *reason, void *data);
} DnUplinkOps;

typedef struct {
	const char *address; /* HOST:PORT */
	const char *host;    /* our name */
	const uint8_t *seed; /* 32 bytes our key is made from; copied */
	const uint8_t
		*supervisor_key;      /* 32 bytes; anybody else is refused before a frame is sent */
	uint64_t (*term)(void *data); /* highest accepted term */
	const char *(*session)(void *data); /* draws the session of a new link; borrowed */
} DnUplinkConfig;

typedef struct DnUplink DnUplink;

/* On the caller's thread-default main context. */
DnUplink *dn_uplink_new(const DnUplinkConfig *config, const DnUplinkOps *ops, void *data,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_uplink_free(DnUplink *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnUplink, dn_uplink_free)

bool dn_uplink_is_up(const DnUplink *self);

/* Is there room for what can wait, or would it stand in the way of what cannot? */
bool dn_uplink_has_room(const DnUplink *self);

/* Send; a link that is down or too slow drops it. @fact gets the next sequence number. */
/* Returns its length; 0: the link is down. */
size_t dn_uplink_send_fact(DnUplink *self, DnFact *fact);
void dn_uplink_send_answer(DnUplink *self, const DnAnswerTo *answer);

/*
 * Blocking: enrol with the one-time @secret at @address, whose key must have @fingerprint
 * (SHA-256). On success *@enrolled is the answer and @supervisor_key the pinned key.
 */
bool dn_uplink_enrol_now(const char *address, const char *host, const uint8_t seed[32],
			 const uint8_t fingerprint[32], GBytes *secret, DnEnrolled **enrolled,
			 uint8_t supervisor_key[32], GError **error) G_GNUC_WARN_UNUSED_RESULT;
