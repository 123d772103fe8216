/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The frames of the agents' link. Every frame is one JSON object with a "type":
 *
 *   agent → supervisor   enrol, hello, fact, answer
 *   supervisor → agent   enrolled, welcome, order, stored, journal, refused
 *
 * Decoders bound every size and count, and name the member that is wrong.
 */

#include <glib.h>

#include "model/fleet.h"

enum {
	DN_MANIFEST_LIMIT = 256 * 1024,
	DN_FRAME_LIMIT = 1024 * 1024,
	DN_SIGNATURE_LIMIT = 2048,
	DN_SIGNATURES_LIMIT = 16,
};

typedef enum {
	DN_FRAME_ENROL,
	DN_FRAME_ENROLLED,
	DN_FRAME_HELLO,
	DN_FRAME_WELCOME,
	DN_FRAME_FACT,
	DN_FRAME_ORDER,
	DN_FRAME_ANSWER,
	DN_FRAME_STORED,
	DN_FRAME_JOURNAL,
	DN_FRAME_REFUSED,
	DN_FRAME_N
} DnFrameType;

/* enrol: asks for membership with a one-time secret; the key is the one of the TLS link. */
typedef struct {
	char *host;
	GBytes *secret; /* 32 bytes */
} DnEnrol;

/* enrolled: the answer. The agent compares the digest of @trust with the one in its token. */
typedef struct {
	char *cluster;
	char *host;
	GBytes *trust;      /* trust.yaml, exact bytes */
	GHashTable *epochs; /* char * service → uint64_t * */
} DnEnrolled;

/* hello: a link begins. The agent draws the session; every order has to name it. */
typedef struct {
	unsigned version; /* DN_LINK_VERSION */
	char *host;
	char *session;
	uint64_t term; /* highest the agent has accepted */
} DnHello;

/* welcome: the supervisor's answer to hello. */
typedef struct {
	char *cluster;
	uint64_t term;
	char *session;
	char *host_cidr; /* this host's /24 */
	char *node_cidr, *vip_cidr;
	char *repo;         /* http://HOST:PORT/repo */
	DnJournalHead head; /* of the supervisor's journal; hash "": not told */
} DnWelcome;

/* One decoded frame; exactly the member of its type is set. */
typedef struct {
	DnFrameType type;
	DnEnrol *enrol;
	DnEnrolled *enrolled;
	DnHello *hello;
	DnWelcome *welcome;
	DnFact *fact;
	DnOrder *order;
	DnAnswerTo *answer;
	char *spool;        /* stored: its facts ... */
	uint64_t stored;    /* ... up to this number are in the supervisor's store */
	DnJournalHead head; /* journal: the supervisor's own */
	char *refused;      /* why, one line */
	int refused_code;
} DnFrame;

DnFrame *dn_frame_new(DnFrameType type);
void dn_frame_free(DnFrame *self);
void dn_enrolled_free(DnEnrolled *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFrame, dn_frame_free)

GBytes *dn_frame_encode(const DnFrame *frame) G_GNUC_WARN_UNUSED_RESULT;
DnFrame *dn_frame_decode(GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
GBytes *dn_frame_encode_order(const DnOrder *order) G_GNUC_WARN_UNUSED_RESULT;
GBytes *dn_frame_encode_fact(const DnFact *fact) G_GNUC_WARN_UNUSED_RESULT;
GBytes *dn_frame_encode_answer(const DnAnswerTo *answer) G_GNUC_WARN_UNUSED_RESULT;

/* The JSON form of an assignment, which an agent also keeps on disk. */
typedef struct _JsonObject JsonObject; /* json-glib's, so that callers need not open its door */
JsonObject *dn_assign_to_json(const DnAssign *assign) G_GNUC_WARN_UNUSED_RESULT;
DnAssign *dn_assign_from_json(JsonObject *object, GError **error) G_GNUC_WARN_UNUSED_RESULT;
