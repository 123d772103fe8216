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
 *   node       a node's life, node-files          build      when one is made and removed
 *   parts      what one is made of (worker)       drain      when one may go
 *   health     probes                             adopt      taking over after a restart
 *   cut        the reflex's plans                 incident   records, verification
 *   reflex-ops what the reflex does (reflex)
 *   response   what people ask for            disk       writes nobody waits for
 *   flows      clients of UDP move on         gap        what the sensor could not tell
 *   watched    how the sensor knows a node         observe    what it tells but does not answer
 *   finding    what was seen, as a line            judge      and what workers have to judge first
 *   watch      looking at nodes from outside
 *   found      what is done about what a look has found
 *   hold       keeping a node still while it is looked at
 *   guard      what this agent relies on itself    damage     images that were changed
 *   isolate    nodes that serve although they are evidence
 *   repair     making images as signed again (worker)
 *   sweep      what an incident left behind, looked for in siblings
 *   spare      networks made ahead of need        image      what nodes of an image may run
 *   desk       what root asks this agent itself    floor      what time it is at least
 *   journal    what was decided               work       what workers are asked for
 *   audit      is a node as it should be          share      services on disk
 */

#include <gio/gio.h>
#include <stdbool.h>

#include "base/bucket.h"
#include "cgroup/cgroup.h"
#include "core/envelope.h"
#include "core/epoch.h"
#include "core/image-table.h"
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
typedef struct Drill Drill; /* drill.c */

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
	DnBackoffs *backoffs;    /* owned */
	uint32_t image_failures; /* in a row: back-off of builds */
	uint64_t expiry_told_ns; /* CLOCK_MONOTONIC: people heard that its manifest has expired */
};

/* How often a node did what is only told: observe.c. CLOCK_MONOTONIC. */
typedef struct {
	uint64_t first_ns; /* of those that are counted */
	uint64_t told_ns;  /* the last event */
	uint32_t times, untold;
	uint32_t pid;      /* the process that it was seen of last */
	uint64_t since_ns; /* looks found it, in one round after the other, until: */
	uint32_t last_round;
} DnSeenOften;

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
	bool dropped;   /* while it drains: no other host's balancer names it any more */
	bool counting;  /* a worker looks whether it still has connections */
	bool built;     /* its parts exist and are registered */
	bool busy;      /* a worker has it */
	bool probing;   /* a probe is out */
	bool guarded;   /* the firewall shall know it */
	bool in_force;  /* and does */
	bool cut_taken; /* its mark has been handled */
	bool verified;  /* its profile is being, or was, looked at from outside */
	bool keep_log;
	bool isolation_told; /* people know that it is isolated */
	char *indicator_path,
		*indicator_comm; /* what drift of it that the agent saw had, or NULL */
	uint32_t image;          /* number of its set in the sensor's allow map */
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
	pid_t drill;       /* the helper that was sent in; -1: the agent drifts itself; 0: none */
	enum dn_drift_class drill_class;
	Drill *drilling;                  /* owned: a drill that is under way, or NULL */
	DnSeenOften seen[DN_DRIFT_LIMIT]; /* by class */
	uint64_t swallowed;               /* observations that found no room, as people know */
	uint64_t flood_told_ns;           /* CLOCK_MONOTONIC */
	GQueue doubts;                    /* of struct dn_sensor_observation; judge.c */
	bool judging;                     /* a worker has one of them */
	uint64_t unjudged;                /* that found no room among them */
	struct DnSubject *subject;        /* ref; watch.c */
	int mounts_fd;                    /* tells of changes of its mounts; -1 */
	GSource *mounts;                  /* owned */
	uint32_t thaws;                   /* by somebody else, while it was quarantined */
	struct DnKept *kept;              /* owned; guard.c */
};

struct ReflexSide; /* cut.c */
typedef struct Disk Disk;
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
	GHashTable *unread;    /* set of char * id: records that could not be read at the start */
	GHashTable *udp;       /* set of char *: addresses that UDP is balanced to */
	bool udp_known;        /* it was looked at since this agent started */
	DnImageTable *images;  /* owned; see image.c */
	uint32_t next_service;
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
	bool watching, watch_again; /* a round is out; another is wanted soon after it */
	bool watch_all;             /* and has to be of all nodes */
	uint32_t watch_turn;        /* rounds of all nodes so far */
	uint64_t watch_rest_ns;     /* CLOCK_MONOTONIC: until then none is begun for who asks */
	bool watch_waits;           /* and one will be then */
	unsigned watch_rounds;
	uint64_t hooks_told_ns; /* CLOCK_MONOTONIC: of what could not be put right */
	void *strangers;        /* owned; DnInspectLook: how far the host was looked at for them */
	struct Guard *guard;    /* owned; guard.c */
	struct Damage *damage;  /* owned; damage.c */
	uint64_t losses_told;   /* records of the sensor that found no room, as people know */
	DnFirewall *firewall;
	bool unbalanced; /* the kernel has refused what the firewall should be, and people know */
	DnImageStore *store;
	GMutex store_lock; /* workers: one at a time in the store */
	gint workers;      /* at work now; atomic */
	Disk *disk;
	DnJournal *journal;       /* NULL: it could not be opened */
	uint64_t journal_missing; /* entries that found no journal, which the next one tells of */
	uint32_t journal_failures;
	uint64_t journal_retry_ns;
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
	GSource *settle;    /* owned: a pending dn_agent_settle() */
	GSource *retry;     /* owned: one for when a service may try again, */
	uint64_t retry_ns;  /* CLOCK_MONOTONIC */
	GHashTable *untold; /* set of char *: incidents that wait for room on the link; report.c */
	GSource *telling;   /* owned */
	DnBucket tellings;  /* what of them the supervisor reads without waiting */
	GHashTable *told_past, *past; /* of destroyed incidents: past.c, core/custody.h */
	char *boot_id, *kernel;
	char session[33];
	unsigned event_sequence;
	GQueue recent; /* of DnEvent *: the last ones, for desk.c */
	unsigned heartbeat;
	unsigned sweeps; /* that the supervisor has asked for, under way */
	char *suspected; /* what people heard last of this host, or NULL */
};

/* past.c, which report.c tells of what it tells */
void dn_past_open(Agent *agent);
void dn_past_close(Agent *agent);
void dn_past_told(Agent *agent, const DnIncident *incident);
void dn_past_stored(Agent *agent, uint64_t number);
void dn_past_link_closed(Agent *agent);
void dn_past_tick(Agent *agent); /* forget what may be forgotten */

/*
 * lock.c: one agent an instance, and nothing beside it. @fd holds RUN_DIR/agent.lock, which goes
 * with the process. DN_ERROR_CONFLICT: after @wait_ms another still has it.
 */
bool dn_agent_lock(const DnInstance *instance, unsigned wait_ms, int *fd,
		   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* config.c */
DnInstance *dn_config_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* For a host that is not set up yet: @path, or what a host would use that says nothing. */
DnInstance *dn_config_look(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_config_free(DnInstance *self);

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
/* Can the balancer take @share beside those of other services? Errors as of dn_share_check(). */
bool dn_service_check_share(Agent *agent, const DnAssign *share,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_agent_settle(Agent *agent);                           /* plan soon: coalesces */
void dn_agent_settle_service(Agent *agent, Service *service); /* plan at once */
uint32_t dn_service_grant(const Service *service);            /* replacements; 0 without a share */
bool dn_service_misses(Agent *agent, const Node *node); /* a cut one: has its share too few now? */

/* node.c */
Node *dn_node_new(Agent *agent, uint32_t slot, const char *id, DnManifest *manifest, DnRole role);
void dn_node_free(Node *self);
void dn_node_become(Node *self, DnNodeState state);
/* As it is, it is a node of @manifest from here on. */
void dn_node_go_on_under(Node *self, DnManifest *manifest);
bool dn_node_watch(Node *self, GError **error) G_GNUC_WARN_UNUSED_RESULT; /* pidfd */
void dn_node_start(Node *self);
bool dn_node_is_being_made(const Node *self); /* or started, by a worker */
void dn_node_promote(Node *self);
void dn_node_stop(Node *self);
DnNodeRecord *dn_node_record(const Node *self);
Node *dn_agent_find_node(Agent *agent, const char *id);
Service *dn_node_service(const Node *self);
void dn_node_save(const Node *self); /* RUN_DIR/nodes/ID.json, for adoption */
void dn_node_forget(const Node *self);
void dn_source_clear(GSource **source); /* destroy and forget; NULL is none */
void dn_node_set_timer(Node *self, unsigned after_ms, GSourceFunc call);

/* drain.c: until it has no connections, or for as long as the manifest says */
void dn_node_drain(Node *self);
/* Every other host's balancer has dropped it: a drain may end when its connections have. */
void dn_node_dropped(Node *self);

/* node-files.c */
char *dn_node_root_path(const Agent *agent, const char *id);
char *dn_node_hosts_path(const Agent *agent, const char *id);
char *dn_node_log_dir(const Agent *agent, const char *id);
/* On disk, or in memory where the disk has no room: a node is not worth less than its log. */
bool dn_node_make_log_dir(const Agent *agent, const char *id,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
char *dn_node_hosts_text(const Node *self);
void dn_nodes_refresh_hosts(Agent *agent);
void dn_agent_prune_logs(Agent *agent);

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

/*
 * watched.c: how the sensor knows a node, one that was just created. @ports and @udp must outlive
 * what is returned.
 */
size_t dn_node_ports(const DnManifest *manifest, uint16_t ports[DN_SENSOR_PORTS]);
typedef struct {
	DnSensorNode node;
	uint16_t ports[DN_SENSOR_PORTS], udp[DN_SENSOR_PORTS];
	DnAnswer answers[DN_DRIFT_LIMIT];
	uint64_t start_time; /* of its first process: field 22 of /proc/PID/stat; 0: not known */
	bool is_created;     /* and not started */
	const char *mounts;  /* borrowed; what dn_subject_mounts() said once, or NULL */
} DnWatched;
void dn_watched_fill(DnWatched *self, const DnInstance *instance, const DnManifest *manifest,
		     uint32_t slot, pid_t pid1);

/* health.c */
void dn_node_probe(Node *self);

/* balance.c */
DnFirewallState *dn_balance_state(Agent *agent);
bool dn_balance_apply(Agent *agent); /* firewall, then the reflex's plans */
void dn_balance_tick(Agent *agent);  /* try again what the kernel has refused */
Service *dn_service_find(Agent *agent, const char *name);

/*
 * work.c: let a worker run @func of @task. When the agent ends: whether all of them are done, after
 * a few seconds at most; what they use may only be freed then.
 */
void dn_work_begin(Agent *agent, GTask *task, GTaskThreadFunc func);
bool dn_work_is_done(Agent *agent) G_GNUC_WARN_UNUSED_RESULT;

/* flows.c */
void dn_flows_follow(Agent *agent, const DnFirewallState *state);

/* finding.c: one printable line, owned by the caller */
char *dn_finding_of_mark(const Node *node, volatile const struct dn_sensor_mark *mark, bool drill);
char *dn_finding_of_observation(const Node *node, const struct dn_sensor_observation *observation);

/* observe.c */
void dn_observed(Agent *agent, const struct dn_sensor_observation *observation);
/* It is drift: the kernel has said so, or judge.c. */
void dn_observed_drift(Node *node, const struct dn_sensor_observation *observation);
bool dn_seen_is_new(DnSeenOften *self, uint32_t pid); /* another process than the last time */
/* What to put behind an event that may be told now; NULL: too soon, it is counted. */
char *dn_seen_tell(DnSeenOften *self, bool always);

/*
 * judge.c: let a worker judge what was refused or written, when those before it are; what is drift
 * goes to observe.c. Past a bound it is counted, and gap.c has the node looked at instead.
 */
void dn_node_judge(Node *self, const struct dn_sensor_observation *observation);

/* gap.c */
void dn_gap_open(Agent *agent);
void dn_gap_look(Agent *agent); /* has the sensor lost anything since? Then look there */

/* cut.c */
bool dn_cut_open(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Leaves nothing begun when it fails: it may be called again. */
bool dn_cut_start(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_cut_close(Agent *agent);
void dn_cut_add_node(Agent *agent, const Node *node);
void dn_cut_firewall_opened(Agent *agent); /* nodes added before have no part of it yet */
void dn_cut_remove_node(Agent *agent, uint32_t slot);
bool dn_cut_has_entered(Agent *agent, uint32_t slot);
void dn_cut_taken_over(Agent *agent, uint32_t slot);
/* A created standby is started: the reflex does not let it go any more. Closes its fifo. */
void dn_cut_let_go(Agent *agent, Node *standby);
/* Has it ever been armed by this agent? */
bool dn_cut_is_armed(const Agent *agent);
void dn_cut_arm(Agent *agent, const DnFirewallState *state);
void dn_cut_record(Agent *agent, uint32_t slot, const Node *node, DnIncident *incident);

/*
 * drill.c: drifts made on purpose, by a helper in the node's cgroup or by the agent itself. A drill
 * ends when its drift was noticed, or after a time in which it was not, which is told.
 */
bool dn_agent_drill(Agent *agent, const char *node, const char *class,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Is drift of @drift, of which process @pid is said to be the maker, the drill under way? */
bool dn_drill_is(const Node *node, enum dn_drift_class drift, uint32_t pid);
void dn_drill_noticed(Node *node);
void dn_drill_clean(const Node *node); /* an earlier agent may have died in the middle of one */
void dn_drill_free(Drill *self);

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
/* Before what waits for room, and what is said next: that its node is gone, for one. */
void dn_report_incident_first(Agent *agent, const DnIncident *incident);
void dn_report_link_closed(Agent *agent); /* at the next link everything is told again */
void dn_report_event(Agent *agent, const char *severity, const char *kind, const char *service,
		     const char *node, const char *format, ...) G_GNUC_PRINTF(6, 7);

/*
 * Something on this host was changed that no node could have changed, or cannot be put right:
 * people are told, once for each @reason in a row, and nothing new is placed here until one of them
 * says so.
 */
void dn_report_suspect(Agent *agent, const char *reason);

/* adopt.c */
bool dn_agent_adopt(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* enrol.c, cleanup.c: verbs of the program */
bool dn_agent_enrol(const DnInstance *instance, const char *token,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * DN_ERROR_CONFLICT: an agent runs, or, unless @force, evidence is here that nobody has destroyed.
 */
bool dn_agent_cleanup(const DnInstance *instance, bool force,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
