/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What supervisor and agents tell each other, as plain values. A fact is what an agent
 * observed; an order is what the supervisor asks for. wire/ turns them into JSON and back.
 *
 * Both directions are level-triggered: an assignment states a service's whole share of a host,
 * a report states everything the host has. Agents name their nodes themselves, so a host goes
 * on replacing nodes while no supervisor can be reached.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/incident.h"
#include "model/journal-head.h"
#include "model/manifest.h"
#include "model/node.h"

/* One node as its host knows it. */
typedef struct {
	char *id; /* SERVICE-xxxxxxxx, made by the host */
	char *service;
	char *host;
	char *address; /* IPv4 */
	DnNodeState state;
	DnRole role;
	bool healthy;
	char *image_ref, *image_commit;
	uint64_t epoch;
	char *digest;        /* of its manifest */
	uint64_t started_ns; /* CLOCK_REALTIME; 0: not started */
	char *incident;      /* id, or NULL */
} DnNodeRecord;

DnNodeRecord *dn_node_record_new(void);
DnNodeRecord *dn_node_record_copy(const DnNodeRecord *self);
void dn_node_record_free(DnNodeRecord *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnNodeRecord, dn_node_record_free)

/* One event of the stream that people read; docs/formats/api.md has the schema. */
typedef struct {
	uint64_t id;      /* given by the supervisor, grows by one; 0 before */
	uint64_t seq;     /* of its origin */
	bool told;        /* by a host, in whose journal it is; not on the wire */
	uint64_t time_ns; /* CLOCK_REALTIME */
	char *kind;       /* dotted: node.ready, manifest.refused, incident.opened … */
	char *severity;   /* info, warning, critical */
	char *host, *service, *node, *incident; /* or NULL */
	char *text;                             /* one printable line */
} DnEvent;

/*
 * The kind by which a host says that something on it was changed which no node could have changed.
 * The supervisor places nothing new on it until a person uncordons it.
 */
#define DN_EVENT_HOST_SUSPECT "host.suspect"

DnEvent *dn_event_new(const char *kind, const char *severity, const char *text);
DnEvent *dn_event_copy(const DnEvent *self);
void dn_event_free(DnEvent *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnEvent, dn_event_free)

/* Everything a host says of itself: after connecting, and whenever asked. */
typedef struct {
	char *host;
	char *version, *kernel;
	GHashTable *capabilities; /* char * → char *: fast_start yes|no, runtime "crun
				     version 1.8.1" … */
	char *boot_id;
	uint32_t slots, slots_used;
	GPtrArray *nodes;     /* of DnNodeRecord */
	GPtrArray *incidents; /* of DnIncident */
	GHashTable *epochs;   /* char * service → uint64_t *: highest accepted */
} DnHostReport;

DnHostReport *dn_host_report_new(void);
void dn_host_report_free(DnHostReport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHostReport, dn_host_report_free)

/* ---- facts: agent → supervisor ---- */
typedef enum {
	DN_FACT_REPORT,    /* report: everything, replaces what was known of the host */
	DN_FACT_NODE,      /* node: one node changed */
	DN_FACT_NODE_GONE, /* id: the host has removed it */
	DN_FACT_INCIDENT,  /* incident: opened or changed */
	DN_FACT_EVENT,     /* event */
	DN_FACT_HEARTBEAT, /* head: of the host's journal */
	DN_FACT_N
} DnFactKind;

typedef struct {
	DnFactKind kind;
	uint64_t seq; /* per connection, grows by one */
	/*
	 * Of a fact that the host keeps until it is acknowledged: its spool's name, its number
	 * there and that of the fact before it (0: nothing before it is left). NULL: of this link
	 * only.
	 */
	char *spool;
	uint64_t number, previous;
	DnHostReport *report;
	DnNodeRecord *node;
	char *id;
	DnIncident *incident;
	DnEvent *event;
	DnJournalHead head; /* hash "": not told */
} DnFact;

DnFact *dn_fact_new(DnFactKind kind);
void dn_fact_free(DnFact *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFact, dn_fact_free)

/* ---- orders: supervisor → agent ---- */
typedef enum {
	DN_ORDER_MANIFEST,   /* accept this signed manifest */
	DN_ORDER_ASSIGN,     /* this is your share of a service */
	DN_ORDER_FORGET,     /* the service is removed and gone: forget all but its epoch */
	DN_ORDER_ROUTES,     /* where the other hosts' nodes are */
	DN_ORDER_QUARANTINE, /* by hand */
	DN_ORDER_DRILL,
	DN_ORDER_DESTROY, /* a quarantined node, with a responder's statement */
	DN_ORDER_STAMP,   /* a remote stage of an incident was reached now */
	DN_ORDER_LOGS,    /* answer with the last lines of a node's log */
	DN_ORDER_AUDIT,   /* answer with the audit of a node, or of the host */
	DN_ORDER_SWEEP,   /* look at all nodes of an image for what an incident left behind */
	DN_ORDER_DROPPED, /* no other host sends a node that drains anything new */
	DN_ORDER_N
} DnOrderKind;

const char *dn_order_kind_name(DnOrderKind kind);

/* Part of a host's share: so many nodes of this manifest. */
typedef struct {
	char *digest;
	uint64_t epoch;
	uint32_t running;
	uint32_t standby;
} DnPart;

/* Of a VIP at most: those of a manifest and of the ones that it replaces. */
enum { DN_ASSIGN_PORTS = 64 };

/* A port of a VIP. */
typedef struct {
	uint16_t port;
	DnProtocol protocol;
} DnExposed;

/* A ready node on another host. */
typedef struct {
	DnExposed expose; /* the VIP's port it serves */
	char *address;
	uint16_t port;
} DnRemoteEndpoint;

typedef struct {
	char *service;
	char *vip;
	GArray *exposed;        /* of DnExposed: the VIP's ports, for other services' egress */
	GPtrArray *parts;       /* of DnPart; empty: none of your business but to balance */
	GPtrArray *endpoints;   /* of DnRemoteEndpoint */
	uint32_t respawn_grant; /* replacements of cut nodes this host may make in respawn.within */
} DnAssign;

typedef struct {
	char *cidr; /* a host's node range */
	char *via;  /* that host's address on the shared layer 2 */
} DnRoute;

typedef struct {
	DnOrderKind kind;
	/* The envelope (DESIGN 3.4). */
	char *cluster;
	uint64_t term;
	char *session;
	uint64_t sequence;
	DnJournalHead head; /* of the supervisor's journal; hash "": not told */

	GBytes *manifest;      /* MANIFEST: exact bytes */
	GPtrArray *signatures; /* MANIFEST, DESTROY: of GBytes, minisig files */
	DnAssign *assign;      /* ASSIGN */
	GPtrArray *routes;     /* ROUTES: of DnRoute */
	char *service;         /* FORGET */
	char *node;            /* QUARANTINE, DRILL, LOGS, DROPPED; AUDIT: NULL is the host */
	char *reason;          /* QUARANTINE */
	char *class;           /* DRILL */
	char *incident;        /* DESTROY, STAMP */
	GBytes *statement;     /* DESTROY: exact signed bytes (docs/formats/statement.md) */
	DnStage stage;         /* STAMP */
	uint32_t lines;        /* LOGS */
	uint64_t offset;       /* LOGS */
	char *commit;          /* SWEEP; also class, incident and: */
	char *path, *comm;     /* SWEEP: the indicator, printable, or NULL */
	bool drill;            /* SWEEP: told, never answered with a cut */
} DnOrder;

DnOrder *dn_order_new(DnOrderKind kind);
void dn_order_free(DnOrder *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnOrder, dn_order_free)

DnPart *dn_part_new(const char *digest, uint64_t epoch, uint32_t running, uint32_t standby);
void dn_part_free(DnPart *self);
bool dn_exposed_equal(const DnExposed *a, const DnExposed *b);
DnRemoteEndpoint *dn_remote_endpoint_new(DnExposed expose, const char *address, uint16_t port);
void dn_remote_endpoint_free(DnRemoteEndpoint *self);
DnAssign *dn_assign_new(const char *service, const char *vip);
DnAssign *dn_assign_copy(const DnAssign *self);
/* Do they differ in endpoints and what may be replaced alone? Then nothing is started or ended. */
bool dn_assign_only_balances(const DnAssign *before, const DnAssign *now);
bool dn_assign_equal(const DnAssign *a, const DnAssign *b);
void dn_assign_free(DnAssign *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnAssign, dn_assign_free)
DnRoute *dn_route_new(const char *cidr, const char *via);
void dn_route_free(DnRoute *self);

/* The agent's answer to one order, under its sequence. */
typedef struct {
	uint64_t sequence;
	bool done;
	int code;               /* DnErrorCode when not done */
	char *error;            /* one line, or NULL */
	char *text;             /* LOGS: the lines; AUDIT: JSON, docs/formats/api.md */
	uint64_t offset;        /* LOGS: where to go on */
	uint32_t looked, found; /* SWEEP: nodes */
} DnAnswerTo;

DnAnswerTo *dn_answer_to_new(uint64_t sequence);
void dn_answer_to_free(DnAnswerTo *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnAnswerTo, dn_answer_to_free)
