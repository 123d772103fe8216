/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The reflex: one thread that waits for the sensor's bell and carries out DESIGN section 4
 * (b) to (f), with memory that was allocated and plans that were made beforehand. It decides
 * nothing: main arms a plan for every slot and fills a table of functions.
 */

#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/instance.h"
#include "model/incident.h"

enum { DN_REFLEX_BATCH = 32768 }; /* the largest batch that is replayed */

typedef enum { DN_STANDBY_NONE, DN_STANDBY_STARTED, DN_STANDBY_CREATED } DnStandbyKind;

/*
 * What to do when a slot is marked. Armed by main whenever balancer, standby or budget change.
 * The reflex keeps a reference to the batches, which are immutable, and copies the rest.
 *
 * Plans go stale: from the moment one slot of a group was cut until main disarms that slot,
 * every plan of the group describes a balancer that is no more, also one armed meanwhile. A
 * stale plan is carried out by rebuild() instead of replay(), and a standby is used once: a
 * plan whose standby was taken, or is itself marked, is carried out without one.
 */
typedef struct {
	uint32_t slot;
	uint32_t group;  /* service number: a cut makes every other plan of the group stale */
	GBytes *cut;     /* batch: out of the balancer, into quarantine, started standby in */
	GBytes *promote; /* batch: created standby in; NULL unless standby is created */
	GBytes *isolate; /* batch: it begins nothing; NULL: that is left to main */
	DnStandbyKind standby;
	uint32_t standby_slot; /* when standby is not none */
} DnReflexPlan;

/* Of dump(): other nodes' dumps are not read yet, and there is no memory for one more. */
enum { DN_REFLEX_BUSY = -2 };

/*
 * Carried out on the reflex thread, so: no allocation, no log, no disk, no lock that anybody
 * holds for long. @data is main's. False or negative: it failed; the reflex goes on.
 */
typedef struct {
	void *data;
	bool (*freeze)(void *data, uint32_t slot);
	bool (*is_frozen)(void *data, uint32_t slot);
	int (*replay)(void *data, const void *batch, size_t size); /* 0 or -errno */
	/*
	 * When a plan is stale, missing or refused: through libnftables (may allocate). @slot
	 * and every other marked slot go out; @standby goes in. So @standby is none when a
	 * created standby has yet to answer, and created when it has.
	 */
	bool (*rebuild)(void *data, uint32_t slot, DnStandbyKind standby, uint32_t standby_slot);
	bool (*release)(void *data, uint32_t standby_slot); /* a created standby's fifo */
	/*
	 * Has a created standby answered its probe? Begins one when none is under way, and waits
	 * for nothing. When it has not, @wanted is what a probe that is under way waits for, to be
	 * asked again then; left alone, with a descriptor of -1: none is, to be asked in a while.
	 */
	bool (*answers)(void *data, uint32_t standby_slot, struct pollfd *wanted);
	/* Nobody waits for that answer any more. Called on main's thread as well. */
	void (*give_up)(void *data, uint32_t standby_slot);
	/* Its sockets and flows: how many sockets, DN_REFLEX_BUSY to be asked again, -1: failed. */
	int (*dump)(void *data, uint32_t slot);
	int (*reset)(void *data, uint32_t slot); /* SOCK_DESTROY, then clients' conntrack entries */
	void (*window)(void *data, uint32_t slot,
		       bool open); /* the nft half of the RST exemption */
	/* Early: the slot was seen marked; main begins the durable record. Must not block. */
	void (*verdict)(void *data, uint32_t slot);
	/* Early too, may be NULL: a standby is in the balancer now; a rebuild must keep it. */
	void (*entered)(void *data, uint32_t standby_slot);
} DnReflexOps;

/*
 * What happened, posted to main's context after (f). Nanoseconds of CLOCK_MONOTONIC, 0: not
 * reached. When the node was not frozen by then, a second outcome of the slot follows as soon
 * as it is: the same figures, with frozen and frozen_ns.
 *
 * A mark in mode isolate is seen, told once, and nothing else: the node goes on, its slot stays
 * armed and its group's plans stay good. Once main has ended the isolation and rung, the same mark
 * is answered like any other.
 */
typedef struct {
	uint32_t slot;
	uint64_t event_ns, verdict_ns, cut_ns, frozen_ns, lb_out_ns, dump_ns, reset_ns, ready_ns;
	DnStandbyKind standby; /* what was used; none when it could not be */
	uint32_t standby_slot;
	bool isolated; /* only seen: event and verdict are all there is */
	bool replayed; /* the cut, by the prepared batch; false: rebuilt */
	bool frozen;   /* false: not within 50 ms, being retried */
	int sockets, resets;
} DnReflexOutcome;

typedef void (*DnReflexDone)(const DnReflexOutcome *outcome, void *data);

typedef struct DnReflex DnReflex;
struct dn_sensor_mark;

/*
 * Start the thread (its network namespace is the caller's). Stop it before what it was given.
 * @marks is the sensor's mapped array of @n_slots, @bell_fd its verdict ring's descriptor, both
 * borrowed; @drain empties the ring.
 * @done runs on the thread-default main context of the caller.
 */
typedef struct {
	volatile struct dn_sensor_mark *marks;
	uint32_t n_slots;
	int bell_fd;
	void (*drain)(void *drain_data);
	void *drain_data;
	bool realtime; /* SCHED_FIFO up to the balancer change, and a nice value up to the resets */
} DnReflexSource;

DnReflex *dn_reflex_start(const DnReflexSource *source, const DnReflexOps *ops, DnReflexDone done,
			  void *data, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_reflex_stop(DnReflex *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnReflex, dn_reflex_stop)

/*
 * Replace the plan of a slot; a mark that is already there is answered at once. Ignored while
 * the slot is being answered or its outcome was not taken over. Not for the reflex thread itself.
 * False when a batch is too large: the slot is armed all the same, and the reflex will rebuild.
 */
bool dn_reflex_arm(DnReflex *self, const DnReflexPlan *plan);

/*
 * The slot is empty, or its outcome has been taken over by main: forget its plan, and let the
 * other plans of its group be armed afresh (arm them after this). Waits for what the reflex
 * thread is doing with the slot at this moment. While the mark stands, a freeze that is being
 * retried goes on; so to close a node's descriptors: dn_sensor_remove_node(), which clears the
 * mark, then this, then close. Main looks at the mark before it lets go of a node that was
 * not reported: it may have been set just now.
 */
void dn_reflex_disarm(DnReflex *self, uint32_t slot);

/* Scan the marks now (after a mark by hand, or at start-up for marks made while no agent ran). */
void dn_reflex_ring(DnReflex *self);
