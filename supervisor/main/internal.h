/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the main share. */

#include "base/clock.h"
#include "core/trouble.h"
#include "journal/peer.h"
#include "main/batch.h"
#include "main/supervisor.h"
#include "model/cluster.h"

/* A person who waits for a host's answer. */
typedef struct DnPersonWait DnPersonWait;

struct DnSupervisor {
	GMainLoop *loop;
	DnCluster *cluster;
	DnTrustPolicy *trust;
	GBytes *trust_bytes;
	char *state_dir;
	char *repo_url;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	DnSecretKey *secret;
	DnLinkIdentity *identity;
	DnJournal *journal;
	GHashTable *peers; /* char * host → DnJournalPeer * */
	int lock_fd;
	uint64_t term;
	uint64_t revision; /* the last that is on disk */

	DnFleetCore *core;
	DnStore *store;
	DnRing *ring;
	DnRepo *repo;
	DnRepoServer *repo_server;
	DnSessions *sessions;
	DnApi *api;

	uint64_t last_event;
	DnBatch *filling;    /* what the next transaction will hold */
	DnBatch *writing;    /* the transaction under way, or NULL */
	GHashTable *waits;   /* uint64_t * tag → DnPersonWait * */
	unsigned idle_ticks; /* since the last transaction */
	unsigned imaging;    /* requests that a thread works on in the image repository */
	GSource *tick, *stop_term, *stop_int;
	GError *failed; /* why the loop has ended */
	GError *held;   /* why nothing can be stored now; see hold.c */
	uint64_t held_since_ns;
	GSource *retry; /* of the batch that could not be stored */
	/*
	 * The end, in three steps: nothing new is begun, and the batch that is filling is the last;
	 * that one is being written; nothing is written any more.
	 */
	bool closing, closed, ending;
};

DnNow dn_supervisor_now(void);

/* Take @acts, the outcome of one step of the core. */
void dn_supervisor_carry_out(DnSupervisor *self, DnActs *acts);
/* The link of @host is over: what waits to be sent on it is answered for. */
void dn_supervisor_forget_orders(DnSupervisor *self, const char *host);
/* Every tick: a supervisor whose term is over ends, also one that has nothing to write. */
void dn_supervisor_check_term(DnSupervisor *self);
/* Call @call once everything decided so far is on disk, or cannot be brought there. */
void dn_supervisor_after(DnSupervisor *self, DnAfterFunc call, gpointer data);
/* Acknowledge @host's facts of @spool with the transaction that holds what they have changed. */
void dn_supervisor_acknowledge(DnSupervisor *self, const char *host, const char *spool);
/* False once the end has begun. */
bool dn_supervisor_may_begin(const DnSupervisor *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Hand the batch under way, which is journalled, to the store. */
void dn_supervisor_store_writing(DnSupervisor *self);

/* ---- hold.c: a disk that takes nothing more ---- */

/* Every change that a person or a new host asks for begins with this question. */
bool dn_supervisor_may_change(const DnSupervisor *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Was nothing written, so that the same may be tried again? */
bool dn_supervisor_may_retry(const GError *error);
void dn_supervisor_hold(DnSupervisor *self, const GError *why);
void dn_supervisor_go_on(DnSupervisor *self);
/* At every tick. */
void dn_supervisor_look_after_disk(DnSupervisor *self);
void dn_supervisor_store_later(DnSupervisor *self, const GError *why);
/* Whoever waits for the disk is told that it is not there. */
void dn_supervisor_fail_waiters(DnSupervisor *self, const GError *why);
/* Room that is given up when the disk is full. */
void dn_supervisor_make_reserve(DnSupervisor *self);
bool dn_supervisor_give_up_reserve(DnSupervisor *self);

/*
 * journal.c: what is decided is journalled before it is stored. A supervisor that cannot journal
 * waits for space, and ends when the disk has failed, like one that cannot store. *@floor: what the
 * journal knows to be stored.
 */
bool dn_supervisor_open_journal(DnSupervisor *self, DnStoreFloor *floor,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_supervisor_close_journal(DnSupervisor *self);
void dn_supervisor_journal_acts(DnSupervisor *self, const DnActs *acts);
/* A host has told its head, or is gone. */
void dn_supervisor_journal_head(DnSupervisor *self, const char *host, const DnJournalHead *head,
				DnActs *acts);
void dn_supervisor_journal_settle(DnSupervisor *self, const char *host);

/* Tell people of what somebody does again and again, once a minute. */
void dn_supervisor_trouble(DnSupervisor *self, DnTrouble kind, const char *host, const char *text);

/* Callers of @where were turned away or ended for being slow. @data: the supervisor. */
void dn_supervisor_crowded(const char *where, unsigned count, void *data);

/* Load the store into the core; blocks. */
bool dn_supervisor_restore(DnSupervisor *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The calls of the other modules into this one. */
extern const DnSessionsOps dn_supervisor_sessions_ops;
extern const DnApiOps dn_supervisor_api_ops;

/* A host has answered an order under @tag: tell who waits for it, if anybody. */
/* False: what changes the store cannot be asked for now, and @reply has said so. */
bool dn_people_may_change(DnSupervisor *self, DnApiReply *reply) G_GNUC_WARN_UNUSED_RESULT;
/* people-hosts.c: functions of DnApiOps. */
void dn_people_token(const char *host, DnApiReply *reply, void *data);
void dn_people_cordon(const char *host, bool wanted, DnApiReply *reply, void *data);
void dn_people_fence(const char *host, const char *reason, DnApiReply *reply, void *data);

void dn_people_answered(DnSupervisor *self, uint64_t tag, const DnAnswerTo *answer);
/* Whoever still waits is told that nobody has answered. */
void dn_person_wait_free(DnPersonWait *self);

/* past.c: answer with an incident that dn_fleet_core_is_past(), as it is stored. */
void dn_past_reply(DnSupervisor *self, const char *id, DnApiReply *reply);
/* The same of one that became so just now: once everything decided so far is on disk. */
/* Answers with @document, owned, when all that was decided so far is on disk. */
void dn_supervisor_reply_after(DnSupervisor *self, DnApiReply *reply, JsonObject *document);
void dn_past_reply_after(DnSupervisor *self, const char *id, DnApiReply *reply);

/* The image half of dn_supervisor_api_ops. */
void dn_images_list(DnApiReply *reply, void *data);
void dn_images_missing(GPtrArray *objects, DnApiReply *reply, void *data);
void dn_images_object(const char *name, int fd, DnApiReply *reply, void *data);
void dn_images_set(const char *ref, const char *commit, GBytes *metadata, DnApiReply *reply,
		   void *data);
