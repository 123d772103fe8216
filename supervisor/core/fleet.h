/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The supervisor's mind: (state, fact or request, now) → (state, acts).
 *
 * It reads no clock, opens nothing and sends nothing, so a whole cluster with its crashes can be
 * run in one process. It is level-triggered: after every step it compares what is wanted with
 * what it last told each host and says only what differs.
 *
 * Hosts are not believed. A fact about a node, an address or an incident that is not the
 * reporting host's own is refused with an event and changes nothing.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/acts.h"
#include "core/record.h"
#include "model/cluster.h"
#include "model/fleet.h"

enum {
	DN_FLEET_LOST_AFTER_S = 10,      /* without a heartbeat a host is shown as lost */
	DN_FLEET_TOKEN_LIFE_S = 15 * 60, /* of a host token */
	DN_FLEET_TICK_MS = 500,          /* how often dn_fleet_core_tick() wants to be called */
	DN_FLEET_HOST_NODES = 1024,      /* nodes one host may name */
	DN_FLEET_HOST_INCIDENTS = 1024,  /* incidents one host may hold */
	DN_FLEET_HOST_PAST = 64, /* destroyed ones of a host that are listed; the store has all */
	DN_FLEET_INCIDENT_ROWS = 512, /* sockets and flows kept of an incident; its host has all */
	DN_FLEET_HOST_ROWS = 16384,   /* … and of all incidents of one host */
	DN_FLEET_HOSTS = 4096,
	DN_FLEET_SERVICES = 1024,
};

/* The moment of a step. */
typedef struct {
	uint64_t monotonic_ns;
	uint64_t realtime_ns;
} DnNow;

typedef struct DnFleetCore DnFleetCore;

/* Fails with DN_ERROR_INVALID when a range of @cluster is no IPv4 range or holds no host. */
DnFleetCore *dn_fleet_core_new(const DnCluster *cluster, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_fleet_core_free(DnFleetCore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFleetCore, dn_fleet_core_free)

/* ---- start: what the store remembers; before any other call ---- */
bool dn_fleet_core_restore_service(DnFleetCore *self, const DnServiceRecord *record,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_fleet_core_restore_host(DnFleetCore *self, const DnHostRecord *record,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_fleet_core_restore_token(DnFleetCore *self, const DnTokenRecord *record);
void dn_fleet_core_restore_incident(DnFleetCore *self, const DnIncident *incident);

/* The state behind a DnRecordChange; NULL when it is gone. */
DnServiceRecord *dn_fleet_core_service_record(const DnFleetCore *self, const char *name);
DnHostRecord *dn_fleet_core_host_record(const DnFleetCore *self, const char *name);
DnTokenRecord *dn_fleet_core_token_record(const DnFleetCore *self, const char *hash);
const DnIncident *dn_fleet_core_incident(const DnFleetCore *self, const char *id);
/* Whether @id was destroyed so long ago that the store alone has it. */
bool dn_fleet_core_is_past(const DnFleetCore *self, const char *id);

/* ---- membership ---- */

/* Let @host enrol with the secret of @hash (hexadecimal). DN_ERROR_INVALID: not a name. */
bool dn_fleet_core_add_token(DnFleetCore *self, const char *host, const char *hash, DnNow now,
			     DnActs *acts, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The secret is used up even when this fails later on. DN_ERROR_UNTRUSTED: unknown or expired. */
bool dn_fleet_core_enrol(DnFleetCore *self, const DnEnrolment *enrolment, DnNow now, DnActs *acts,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The host that owns @key (32 bytes), or NULL: a stranger. */
const char *dn_fleet_core_host_of_key(const DnFleetCore *self, const uint8_t *key);
/* "10.77.3.0/24", or NULL for an unknown host: the question whether there is one. */
const char *dn_fleet_core_host_cidr(const DnFleetCore *self, const char *host);
/* char * service → uint64_t *: what a new host must not go below. */
GHashTable *dn_fleet_core_epochs(const DnFleetCore *self) G_GNUC_WARN_UNUSED_RESULT;

/* ---- links: @address is the peer's on the shared layer 2, an IPv4 address ---- */
void dn_fleet_core_connected(DnFleetCore *self, const char *host, const char *address, DnNow now,
			     DnActs *acts);
void dn_fleet_core_disconnected(DnFleetCore *self, const char *host, DnNow now, DnActs *acts);
void dn_fleet_core_fact(DnFleetCore *self, const char *host, const DnFact *fact, DnNow now,
			DnActs *acts);
/* @answer to the order sent under @tag. No answer at all is one with DN_ERROR_UNAVAILABLE. */
void dn_fleet_core_answered(DnFleetCore *self, const char *host, uint64_t tag,
			    const DnAnswerTo *answer, DnNow now, DnActs *acts);
/*
 * Up to which number the facts of @host's @spool have been taken; 0 for a spool that is not its
 * present one. To be told to the host once everything decided so far is stored.
 */
uint64_t dn_fleet_core_stored(const DnFleetCore *self, const char *host, const char *spool);
/* Not between a step and the taking of its records: what is past is left to the store here. */
void dn_fleet_core_tick(DnFleetCore *self, DnNow now, DnActs *acts);

/* ---- requests of people ---- */

/*
 * Place nothing new on @host, or allow it again. What it carries stays, and its agent goes on
 * replacing cut nodes there. Allowing it again also clears a suspicion. Asking for what is so
 * already changes nothing and tells nobody. DN_ERROR_INVALID: no such host.
 */
bool dn_fleet_core_cordon(DnFleetCore *self, const char *host, bool cordon, DnNow now, DnActs *acts,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Shut @host out for @reason: it gets no link, its nodes leave the balancers and routes of all
 * others and are placed anew; only its evidence stays listed. The caller closes its link. Who
 * enrols under its name by a new token ends it, with whichever key. What is so already changes
 * nothing. DN_ERROR_INVALID: no such host.
 */
bool dn_fleet_core_fence(DnFleetCore *self, const char *host, const char *reason, DnNow now,
			 DnActs *acts, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Why @host is shut out, or NULL; borrowed. */
const char *dn_fleet_core_fenced(const DnFleetCore *self, const char *host);

/*
 * Judge a verified manifest and, unless @plan, make it current. *@changed is false when it was
 * current already. DN_ERROR_CONFLICT: its epoch is not the next; UNTRUSTED: valid_until has
 * passed; EXHAUSTED: no VIP left. @placement (may be NULL) gets DnShare of where nodes would be.
 */
bool dn_fleet_core_apply(DnFleetCore *self, const DnDeclaration *declaration, bool plan, DnNow now,
			 DnActs *acts, bool *changed, GPtrArray **placement,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Orders that a person waits for. On success one dispatch is in @acts and *@tag is its tag:
 * the caller answers the person when the host has answered.
 */
bool dn_fleet_core_quarantine(DnFleetCore *self, const char *node, const char *reason, DnActs *acts,
			      uint64_t *tag, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * *@node is the one that was chosen. DN_ERROR_EXHAUSTED: too few nodes are ready, or the drills
 * that the manifest's respawn{count within} allows are spent. One that its host refuses counts.
 */
bool dn_fleet_core_drill(DnFleetCore *self, const char *class, const char *service, DnNow now,
			 DnActs *acts, uint64_t *tag, char **node,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What the manifest of @node says about drift of @class. */
DnAnswer dn_fleet_core_answer(const DnFleetCore *self, const char *node, const char *class);
bool dn_fleet_core_destroy(DnFleetCore *self, const char *incident, GBytes *statement,
			   GPtrArray *signatures, DnActs *acts, uint64_t *tag,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_fleet_core_logs(DnFleetCore *self, const char *node, uint32_t lines, uint64_t offset,
			DnActs *acts, uint64_t *tag, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Of @node or, when that is NULL, of @host. */
bool dn_fleet_core_audit(DnFleetCore *self, const char *node, const char *host, DnActs *acts,
			 uint64_t *tag, GError **error) G_GNUC_WARN_UNUSED_RESULT;
