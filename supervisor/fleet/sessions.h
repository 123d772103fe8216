/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agents' links: who is on the other end, in which order things were said, and what has not
 * been answered yet.
 *
 * A peer whose key belongs to no host may say one thing, enrol, once. A host says hello, is
 * welcomed, and from then on gets orders in the envelope {cluster, term, session, sequence}; the
 * session is the agent's own random word, so that an order of an earlier link means nothing on
 * this one. A new link of a host takes the place of its old one, but not without end: two machines
 * with one key would push each other out, and each time be told everything anew.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/record.h"
#include "core/trouble.h"
#include "link/identity.h"
#include "model/fleet.h"

typedef struct DnSessions DnSessions;

/* A host that wants to join and waits for the answer. */
typedef struct DnEnrolWait DnEnrolWait;

/*
 * What sessions needs of its owner. Nothing is called from inside dn_sessions_send(). Strings
 * are borrowed for the call.
 */
typedef struct {
	/* The host that owns this key, or NULL; and its /24. */
	const char *(*host_of_key)(const uint8_t *key, void *data);
	const char *(*host_cidr)(const char *host, void *data);
	/* Why @host may have no link whatever it says, or NULL. */
	const char *(*fenced)(const char *host, void *data);
	/* Answer with dn_sessions_enrolled() or dn_sessions_refused(), now or later. */
	void (*enrol)(DnEnrolWait *wait, const DnEnrolment *enrolment, void *data);
	/* @address is the peer's, without its port; @term the highest that agent has seen. */
	void (*connected)(const char *host, const char *address, uint64_t term, void *data);
	void (*disconnected)(const char *host, const char *why, void *data);
	void (*fact)(const char *host, const DnFact *fact, void *data);
	/* Exactly once for each order that dn_sessions_send() took, until dn_sessions_free(). */
	void (*answered)(const char *host, uint64_t tag, const DnAnswerTo *answer, void *data);
	/* Somebody does what he should not, perhaps for ever: tell people, but not for ever. */
	void (*trouble)(DnTrouble trouble, const char *host, const char *text, void *data);
	/*
	 * The head of the own journal, told with the welcome and every order, and in answer to a
	 * heartbeat when *@news (dn_journal_news()) is another than it was. NULL: none.
	 */
	DnJournalHead (*head)(uint64_t *news, void *data);
} DnSessionsOps;

typedef struct {
	const char *listen; /* ADDRESS:PORT */
	DnLinkIdentity *identity;
	const char *cluster;
	uint64_t term;
	const char *node_cidr, *vip_cidr;
	const char *repo; /* http://HOST:PORT/repo, as hosts reach it */
	GBytes *trust;    /* trust.yaml, exact bytes */
} DnSessionsConfig;

/* Listens when it returns. @config is copied. */
DnSessions *dn_sessions_new(const DnSessionsConfig *config, const DnSessionsOps *ops, void *data,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_sessions_free(DnSessions *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSessions, dn_sessions_free)

uint16_t dn_sessions_port(const DnSessions *self);

/*
 * Take @order, put it into its envelope and send it. Its answer comes under @tag; without one in
 * time, or when the link ends, that is DN_ERROR_UNAVAILABLE. False when @host is not connected
 * or does not keep up: the order is freed and no answer will come.
 */
bool dn_sessions_send(DnSessions *self, const char *host, DnOrder *order,
		      uint64_t tag) G_GNUC_WARN_UNUSED_RESULT;

/* End the link of @host, if there is one. */
void dn_sessions_shut_out(DnSessions *self, const char *host, const char *why);

/* The facts of @host's @spool up to @number are stored: it need not keep them any longer. */
void dn_sessions_acknowledge(DnSessions *self, const char *host, const char *spool,
			     uint64_t number);

/* Each frees @wait. @epochs: char * service → uint64_t *. */
void dn_sessions_enrolled(DnEnrolWait *wait, GHashTable *epochs);
void dn_sessions_refused(DnEnrolWait *wait, const GError *why);
