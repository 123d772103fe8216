/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The record of one quarantined node. The host that cut the node writes it; everybody else
 * holds a copy. Its JSON form is wire/incident.h, its keys are a contract (docs/formats/api.md).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The stages of a reflex, in the order they are shown. */
typedef enum {
	DN_STAGE_VERDICT,           /* the agent has seen the mark */
	DN_STAGE_CUT,               /* the mark is visible to both packet paths */
	DN_STAGE_FROZEN,            /* cgroup.events says frozen 1 */
	DN_STAGE_LB_OUT_LOCAL,      /* this host's balancer no longer names the node */
	DN_STAGE_RESET,             /* clients' connections were reset */
	DN_STAGE_REPLACEMENT_READY, /* a clean node took its place in the balancer */
	DN_STAGE_CUT_VERIFIED,      /* probes from outside, both directions, found nothing */
	DN_STAGE_DURABLE,           /* the record is on disk */
	DN_STAGE_REPORTED,          /* the supervisor acknowledged the record */
	DN_STAGE_LB_OUT_ALL,        /* every other host's balancer has dropped the node */
	DN_STAGE_CAPTURED,          /* the evidence is in memory */
	DN_STAGE_SEALED,            /* the evidence is on disk, signed */
	DN_STAGE_N
} DnStage;

const char *dn_stage_name(DnStage stage);
bool dn_stage_parse(const char *name, DnStage *stage);

typedef enum {
	DN_INCIDENT_OPEN,
	DN_INCIDENT_CAPTURED,
	DN_INCIDENT_SEALED,
	DN_INCIDENT_DESTROYED,
	DN_INCIDENT_N_STATES
} DnIncidentState;

const char *dn_incident_state_name(DnIncidentState state);
bool dn_incident_state_parse(const char *name, DnIncidentState *state);

/* One socket of the node as the kernel held it before anything was reset (sock_diag(7)). */
typedef struct {
	char *protocol; /* tcp or udp */
	char *state; /* the kernel's name of the TCP state, lower case: established, listen … */
	char *local; /* ADDRESS:PORT, IPv6 in brackets */
	char *peer;
	bool accepted; /* came in on a declared listen port */
	/* tcp_info: acknowledged by the peer, taken from it, smoothed round trip; else 0 */
	uint64_t bytes_sent, bytes_received;
	uint32_t rtt_us;
} DnSocketRecord;

/* Nodes of the same image that were looked at for what an incident left behind. */
enum { DN_SIBLINGS_LIMIT = 4096 }; /* of one host */

typedef struct {
	int64_t time_us; /* until the last was; -1: none was yet */
	uint32_t looked, found;
} DnSiblings;

typedef struct {
	char *id;      /* 16 hexadecimal digits */
	char *service; /* owned, like every pointer here */
	char *node;
	char *host;
	char *address; /* the node's; NULL, like the digest, in a record older than the key */
	char *digest;  /* of the manifest it was made from */
	char *class;   /* the drift class, or "manual" */
	char *detail;  /* what was seen, already printable */
	bool drill;
	char *image_ref;
	char *image_commit;
	uint64_t epoch;
	uint64_t event_time_ns;      /* CLOCK_REALTIME */
	uint64_t event_monotonic_ns; /* CLOCK_MONOTONIC of the same host */
	DnIncidentState state;
	GPtrArray *replacements; /* of char *: node ids */

	/*
	 * Microseconds after the event; -1 when the stage was not reached. A verdict by hand has
	 * its event at the moment the agent took the order.
	 */
	int64_t stages_us[DN_STAGE_N];
	int64_t first_drop_us; /* -1 when no packet came */
	uint64_t packets_after_cut;
	/*
	 * respawn.past: isolate. From when on its declared ports alone were served, and when it
	 * was verified that nothing else leaves it; -1: it never was. It ends with DN_STAGE_CUT.
	 */
	int64_t isolated_us, isolated_verified_us;
	/* What to look for in siblings, printable; NULL: nothing that can be looked for. */
	char *indicator_path, *indicator_comm;
	DnSiblings here;      /* on its own host */
	DnSiblings elsewhere; /* on all others; the supervisor's alone */
	char *attack;         /* the supervisor's alone: id of the first of its attack, or NULL */
	GPtrArray *sockets;   /* of DnSocketRecord */
	GPtrArray *conntrack; /* of char *: one line a connection, as conntrack(8) prints it */
} DnIncident;

/* Does its node still serve, though all that it begins is cut? */
bool dn_incident_is_isolated(const DnIncident *self);

DnIncident *dn_incident_new(void);
DnIncident *dn_incident_copy(const DnIncident *self);
/* Do both say the same in every word? */
bool dn_incident_equal(const DnIncident *self, const DnIncident *other);
void dn_incident_free(DnIncident *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnIncident, dn_incident_free)

DnSocketRecord *dn_socket_record_new(const char *protocol, const char *state, const char *local,
				     const char *peer, bool accepted);
void dn_socket_record_free(DnSocketRecord *self);
