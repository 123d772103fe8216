/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agent's main: what it holds, and how its files divide the work. Everything here runs on
 * the main thread, except where a comment says "worker" (GTask threads: building and taking
 * apart, disk) or "reflex" (the reflex thread).
 *
 *   config     agent.yaml → DnInstance            state      what survives a restart
 *   orders     what the supervisor asks           report     what it is told
 *   service    share → plan → acts                balance    ready nodes → firewall
 *   node       a node's life, node-files          build      making and removing (worker)
 *   health     probes                             adopt      taking over after a restart
 *   cut        the reflex's plans                 incident   records, verification
 *   reflex-ops what the reflex does (reflex)
 *   response   what people ask for            disk       writes nobody waits for
 *   flows      clients of UDP move on         gap        what the sensor could not tell
 *   spare      networks made ahead of need        image      what nodes of an image may run
 *   desk       what root asks this agent itself    floor      what time it is at least
 *   journal    what was decided               work       what workers are asked for
 */

#include <gio/gio.h>
#include <stdbool.h>

#include "cgroup/cgroup.h"
#include "core/envelope.h"
#include "core/epoch.h"
#include "core/instance.h"
#include "core/plan.h"
#include "core/time-floor.h"
#include "firewall/firewall.h"
#include "health/probe.h"
#include "image/store.h"
#include "journal/peer.h"
#include "local/local.h"
#include "model/budget.h"
#include "model/fleet.h"
#include "network/diag.h"
#include "network/network.h"
#include "reflex/reflex.h"
#include "runtime/container.h"
#include "runtime/logs.h"
#include "seal/keys.h"
#include "sensor/sensor.h"
#include "uplink/spool.h"
#include "uplink/uplink.h"

typedef struct Agent Agent;
typedef struct Service Service;
typedef struct Node Node;

/* One service this host knows: its share, and what went wrong lately. */
struct Service {
	char *name;
	uint32_t number;  /* small and unique while the service is known: group of the reflex */
	DnAssign *assign; /* NULL until the first assignment */
	DnBudget budget;  /* replacements of cut nodes */
	DnBudget drills;
	GPtrArray *held;         /* of char *: incidents whose node was not replaced */
	GPtrArray *held_standby; /* the same of standbys */
	GPtrArray *owed; /* of char *: incidents whose node is still to be replaced by a new one */
	uint32_t exits;  /* in a row */
	uint64_t not_before_ns;
	uint32_t image_failures; /* in a row: back-off of builds */
	uint64_t expiry_told_ns; /* CLOCK_MONOTONIC: people heard that its manifest has expired */
};

/* One node. A slot holds at most one, also while it is being taken apart. */
struct Node {
	Agent *agent; /* borrowed */
	char *id;
	uint32_t slot;
	char *address;
	DnManifest *manifest; /* ref */
	DnRun run;            /* effective */
	DnNodeState state;
	DnRole role;
	DnHealth health;
	uint64_t made_ns;    /* CLOCK_MONOTONIC */
	uint64_t started_ns; /* CLOCK_REALTIME; 0: not started */
	uint64_t started_monotonic_ns;
	uint64_t drain_until_ns;
	bool built;     /* its parts exist and are registered */
	bool busy;      /* a worker has it */
	bool probing;   /* a probe is out */
	bool guarded;   /* the firewall shall know it */
	bool in_force;  /* and does */
	bool cut_taken; /* its mark has been handled */
	bool keep_log;
	uint32_t image; /* number of its set in the sensor's allow map */
	DnContainer container;
	DnNetwork network;
	DnCgroup cgroup;
	int fifo_fd; /* of a created container, for the reflex; -1 */
	int pidfd;
	GSource *exited; /* owned */
	GSource *timer;  /* owned: probe, drain or grace */
	char *replaces;  /* incident whose node this one was made to replace, or NULL */
	char *incident;
	uint32_t removals; /* that left something behind */
	pid_t drill;       /* the helper that was sent in; 0: none */
};

struct ReflexSide; /* cut.c */
typedef struct Disk Disk;
typedef struct Image Image;
typedef struct Spare Spare;

struct Agent {
	DnInstance *instance;
	DnTrustPolicy *trust;
	DnSecretKey *key;
	uint8_t supervisor_key[32];
	DnEnvelope envelope;
	DnTimeFloor floor;
	GHashTable *epochs;    /* DnEpoch by service */
	GHashTable *manifests; /* char * digest → DnManifest * */
	GHashTable *services;  /* char * name → Service * */
	GHashTable *incidents; /* char * id → DnIncident * */
	GHashTable *udp;       /* set of char *: addresses that UDP is balanced to */
	bool udp_known;        /* it was looked at since this agent started */
	GHashTable *images;    /* see image.c → Image * */
	uint32_t next_image, next_service;
	Node *slots[DN_SLOTS];
	Spare *spares[DN_SLOTS]; /* owned */
	uint32_t spare_failures; /* in a row: back-off, as for nodes */
	uint64_t spare_not_before_ns;

	char *host_cidr, *node_cidr, *vip_cidr, *repo; /* of the last welcome; kept on disk */
	uint32_t network;                              /* of host_cidr */

	DnRuntimeAbility ability;
	GPtrArray *checks; /* of DnCheck: what this host can do, as found at the start */
	unsigned cgroup_level;
	DnSensor *sensor;
	uint64_t losses_told; /* records of the sensor that found no room, as people know */
	DnFirewall *firewall;
	DnImageStore *store;
	GMutex store_lock; /* workers: one at a time in the store */
	gint workers;      /* at work now; atomic */
	Disk *disk;
	DnJournal *journal; /* NULL: it could not be opened */
	DnJournalPeer supervisor_journal;
	struct ReflexSide *side;
	DnReflex *reflex;
	DnUplink *uplink;
	DnLocal *local;
	bool linked;      /* a welcome was believed, and its link is up */
	DnSpool *spool;   /* facts that wait until the supervisor has stored them */
	GHashTable *said; /* set of char *: what was told while no supervisor was linked */
	bool waits;       /* facts were sent before the last heartbeat and are not stored yet */
	GMainLoop *loop;
	GSource *settle;             /* owned: a pending dn_agent_settle() */
	GHashTable *pending_reports; /* incident id → time, until acknowledged */
	char *boot_id, *kernel;
	char session[33];
	unsigned event_sequence;
	GQueue recent; /* of DnEvent *: the last ones, for desk.c */
	unsigned heartbeat;
};

/* config.c */
DnInstance *dn_config_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* For a host that is not set up yet: @path, or what a host would use that says nothing. */
DnInstance *dn_config_look(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_config_free(DnInstance *self);

/* state.c: STATE_DIR. Every write is durable before it returns. */
bool dn_state_load(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_term(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_welcome(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_load_epochs(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_epochs(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_manifest(Agent *agent, const DnManifest *manifest, GBytes *bytes,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_forget_manifest(Agent *agent, const char *digest,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_service(Agent *agent, const Service *service,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_state_save_service_soon(Agent *agent, const Service *service);
bool dn_state_forget_service(Agent *agent, const char *name,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;
char *dn_state_incident_path(const Agent *agent, const char *id);
GBytes *dn_state_incident_bytes(const DnIncident *incident);

/*
 * disk.c: durable writes that main does not wait for, in the order they were asked for. @done is
 * called on main with @key, NULL or what failed, and when; of what is tried again, it hears the
 * first failure and the success. Reading or writing one of these files by other means:
 * dn_disk_flush() first, which waits, and gives up what is still to be tried again of @path.
 */
typedef void (*DnDiskDone)(Agent *agent, const char *key, const GError *error, uint64_t done_ns);
bool dn_disk_open(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_disk_close(Agent *agent); /* when everything is written */
void dn_disk_write(Agent *agent, const char *path, GBytes *bytes, const char *key, DnDiskDone done);
void dn_disk_flush(Agent *agent, const char *path);
void dn_disk_tick(Agent *agent); /* try again what could not be written */

/* service.c */
Service *dn_service_get(Agent *agent, const char *name); /* made when missing */
void dn_service_free(Service *self);
void dn_agent_settle(Agent *agent);                           /* plan soon: coalesces */
void dn_agent_settle_service(Agent *agent, Service *service); /* plan at once */
uint32_t dn_service_grant(const Service *service);            /* replacements; 0 without a share */

/* node.c */
Node *dn_node_new(Agent *agent, uint32_t slot, const char *id, DnManifest *manifest, DnRole role);
void dn_node_free(Node *self);
void dn_node_become(Node *self, DnNodeState state);
bool dn_node_watch(Node *self, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* pidfd */
void dn_node_start(Node *self);
void dn_node_promote(Node *self);
void dn_node_drain(Node *self);
void dn_node_stop(Node *self);
DnNodeRecord *dn_node_record(const Node *self);
Node *dn_agent_find_node(Agent *agent, const char *id);
Service *dn_node_service(const Node *self);
void dn_node_save(const Node *self); /* RUN_DIR/nodes/ID.json, for adoption */
void dn_node_forget(const Node *self);
void dn_source_clear(GSource **source); /* destroy and forget; NULL is none */
void dn_node_set_timer(Node *self, unsigned after_ms, GSourceFunc call);

/* node-files.c */
char *dn_node_root_path(const Agent *agent, const char *id);
char *dn_node_hosts_path(const Agent *agent, const char *id);
char *dn_node_log_dir(const Agent *agent, const char *id);
char *dn_node_hosts_text(const Node *self);
void dn_nodes_refresh_hosts(Agent *agent);
void dn_agent_prune_logs(Agent *agent);

/* image.c: @find draws a number for an image that is not known, and is then false. */
bool dn_image_find(Agent *agent, const DnManifest *manifest, uint32_t *number, DnRun *defaults);
void dn_image_remember(Agent *agent, const DnManifest *manifest, uint32_t number,
		       const DnRun *defaults);
void dn_image_free(Image *self);
/* Tell the sensor what nodes of this image and manifest may execute; any thread. */
bool dn_image_allow(Agent *agent, const DnManifest *manifest, uint32_t number,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* spare.c */
void dn_spares_fill(Agent *agent);          /* when nothing else is being built */
uint32_t dn_spare_slot(const Agent *agent); /* the best free slot; DN_SLOTS: none */
bool dn_spare_take(Agent *agent, uint32_t slot, DnNetwork *network, int *ns_fd, int *owner_fd);
void dn_spares_close(Agent *agent); /* forget; the next agent sweeps */
/* Remove what an earlier agent had spare; @taken: its slots that are nodes now, or NULL. */
void dn_spares_sweep(const DnInstance *instance, Node *const *taken);

/*
 * Nice values: of the agent, which no number of busy nodes may keep waiting, and of the work that
 * makes a node: a replacement goes before everything else, a standby after it.
 */
enum { DN_NICE_AGENT = -10, DN_URGENT = -15, DN_IN_NO_HURRY = 10 };
void dn_node_build(Node *self);
void dn_node_remove(Node *self);
size_t dn_node_ports(const DnManifest *manifest, uint16_t ports[DN_SENSOR_PORTS]);

/* health.c */
void dn_node_probe(Node *self);

/* balance.c */
DnFirewallState *dn_balance_state(Agent *agent);
bool dn_balance_apply(Agent *agent); /* firewall, then the reflex's plans */
Service *dn_service_find(Agent *agent, const char *name);

/*
 * work.c: let a worker run @func of @task. When the agent ends: whether all of them are done, after
 * a few seconds at most; what they use may only be freed then.
 */
void dn_work_begin(Agent *agent, GTask *task, GTaskThreadFunc func);
bool dn_work_is_done(Agent *agent) G_GNUC_WARN_UNUSED_RESULT;

/* flows.c */
void dn_flows_follow(Agent *agent, const DnFirewallState *state);

/* gap.c */
void dn_gap_open(Agent *agent);
void dn_gap_look(Agent *agent); /* has the sensor lost anything since? Then look everywhere */

/* cut.c */
bool dn_cut_open(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_cut_start(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_cut_close(Agent *agent);
void dn_cut_add_node(Agent *agent, const Node *node);
void dn_cut_firewall_opened(Agent *agent); /* nodes added before have no part of it yet */
void dn_cut_remove_node(Agent *agent, uint32_t slot);
bool dn_cut_has_entered(Agent *agent, uint32_t slot);
void dn_cut_taken_over(Agent *agent, uint32_t slot);
void dn_cut_arm(Agent *agent, const DnFirewallState *state);
void dn_cut_record(Agent *agent, uint32_t slot, const Node *node, DnIncident *incident);

/* incident.c */
void dn_incident_open(Agent *agent, Node *node);
void dn_incident_finish(Agent *agent, const DnReflexOutcome *outcome);
void dn_incident_adopt(Agent *agent, Node *node);
void dn_incident_replaced(Node *node);
bool dn_incident_stamp(Agent *agent, const char *id, DnStage stage,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* response.c */
bool dn_incident_destroy(Agent *agent, const DnOrder *order,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_agent_quarantine(Agent *agent, const char *node, const char *reason,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_agent_drill(Agent *agent, const char *node, const char *class,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* floor.c: the time to judge by */
bool dn_floor_load(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_floor_raise(Agent *agent, uint64_t time_ns); /* it was written into a record */
uint64_t dn_floor_judge(const Agent *agent);
void dn_floor_tick(Agent *agent); /* tell of what has expired, once a day */

/* desk.c: RUN_DIR/agent.sock */
bool dn_desk_open(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* orders.c */
bool dn_agent_open_firewall(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_agent_welcome(const DnWelcome *welcome, void *agent);
void dn_agent_order(const DnOrder *order, void *agent);
/* The last @lines of a node's log, or from *@offset on; *@offset is then where to go on. */
char *dn_agent_read_logs(Agent *agent, const char *node, uint32_t lines, uint64_t *offset,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* report.c */
DnHostReport *dn_report_make(const Agent *agent) G_GNUC_WARN_UNUSED_RESULT;
void dn_report_all(Agent *agent);
bool dn_report_open(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* STATE_DIR/spool */
void dn_report_close(Agent *agent);
void dn_report_spooled(Agent *agent); /* on a new link, after dn_report_all() */
void dn_report_stored(const char *spool, uint64_t number, void *agent);
void dn_report_tick(Agent *agent); /* send again what was not stored in time */
void dn_report_node(Node *node);
void dn_report_gone(Agent *agent, const char *id);
void dn_report_incident(Agent *agent, const DnIncident *incident);
void dn_report_event(Agent *agent, const char *severity, const char *kind, const char *service,
		     const char *node, const char *format, ...) G_GNUC_PRINTF(6, 7);

/* journal.c: entries, and answers that wait for them */
void dn_agent_open_journal(Agent *agent);
void dn_agent_close_journal(Agent *agent);
void dn_agent_journal_event(Agent *agent, const DnEvent *event);
void dn_agent_journal_manifest(Agent *agent, const DnManifest *manifest);
void dn_agent_journal_node(const Node *node);
void dn_agent_journal_incident(Agent *agent, const DnIncident *incident, GBytes *record);
void dn_agent_journal_budget(Agent *agent, const char *kind, const Service *service,
			     const char *about);
void dn_agent_journal_head(Agent *agent, const DnJournalHead *head); /* the supervisor's */
void dn_agent_journal_link_closed(Agent *agent);
/* May @order be carried out while the journal is as it is? What protects always may. */
bool dn_agent_may_promise(Agent *agent, const DnOrder *order,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Send @answer, which is taken, once the decision is durable; to this link only. */
void dn_agent_answer(Agent *agent, const DnOrder *order, DnAnswerTo *answer);

/* adopt.c */
bool dn_agent_adopt(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* enrol.c, cleanup.c: verbs of the program */
bool dn_agent_enrol(const DnInstance *instance, const char *token,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_agent_cleanup(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;
