/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the thread (reflex.c) and the steps it takes (steps.c) share. */

#include <dnode/sensor-abi-user.h>
#include <pthread.h>

#include "reflex/reflex.h"

/*
 *                  ┌──────── frozen, or 50 ms ────────┐
 *  IDLE ─mark─> FREEZING                          RESETTING ─> PROBING ─> DONE
 *          freeze, balancer, fifo            dump, window, reset  (created standby only)
 *                                                    └──────────────┴──> LATE ─frozen─> DONE
 */
typedef enum {
	DN_STEP_IDLE,
	DN_STEP_FREEZING,  /* the balancer is changed; waiting for the freezer */
	DN_STEP_RESETTING, /* resets are on their way; the window is open */
	DN_STEP_PROBING,   /* waiting for the created standby's first answer */
	DN_STEP_LATE,      /* reported, but still not frozen */
	DN_STEP_DONE
} DnStep;

/*
 * armed to isolated_ns belong to the lock. The rest belongs to the thread while it runs the slot,
 * and to the lock otherwise. Once taken, group, cut, promote and standby do not change.
 */
typedef struct {
	bool armed;
	bool taken; /* being answered, or answered and not yet disarmed */
	bool stale; /* another slot of the group was cut since the plan was made */
	bool holds_standby;
	bool posted; /* report waits for main */
	uint32_t group;
	GBytes *cut, *promote, *isolate; /* owned */
	DnStandbyKind standby;
	uint32_t standby_slot;
	uint64_t isolated_ns; /* the event that was answered by leaving the node isolated */
	DnReflexOutcome report;

	DnStep step;
	bool freeze_written;
	bool waits_for_dump; /* frozen, but no dump was free */
	bool can_replay;
	uint64_t deadline_ns, next_ns;
	struct pollfd wanted; /* while probing: of a probe that is under way; -1: none is */
	DnReflexOutcome outcome;
} DnReflexSlot;

struct DnReflex {
	DnReflexSource source;
	DnReflexOps ops;
	DnReflexDone done;
	void *data;
	DnReflexSlot *slots; /* owned: source.n_slots of them */
	uint32_t *scratch;   /* owned: slot numbers, the thread's */
	struct pollfd *wait; /* owned: the thread's; its own two, then of probes under way */
	nfds_t n_wait;
	int nice; /* the thread's: of setpriority(2), when no longer SCHED_FIFO */

	pthread_mutex_t lock; /* inherits priority; never held during an operation */
	pthread_cond_t idle;  /* running became DN_REFLEX_NOBODY */
	uint32_t running;
	bool stopping;
	int wake_fd, report_fd; /* owned: eventfd */
	GSource *reports;       /* owned: on main's context */
	GThread *thread;        /* owned */
};

enum { DN_REFLEX_NOBODY = UINT32_MAX };

/* When the slot was marked; 0: it is not. */
uint64_t dn_steps_event_ns(const DnReflex *self, uint32_t slot);

/* Its mark leaves it to serve, and that has been told. Under the lock. */
bool dn_steps_is_left(const DnReflex *self, uint32_t slot);

/* (b) and (c): freeze, verdict, balancer; of a node that is isolated: verdict and nft's part. */
void dn_steps_cut(DnReflex *self, uint32_t slot);

/* The fifo of a created standby; only when the balancer of every marked slot was changed. */
void dn_steps_release(DnReflex *self, uint32_t slot);

/* Take the slot as far as it goes without waiting. True when something was done. */
bool dn_steps_advance(DnReflex *self, uint32_t slot);

/* A probe is under way: slot->wanted is what it waits for. */
bool dn_steps_awaits_answer(const DnReflex *self, uint32_t slot);

/* Nothing but time, milliseconds of it, or what a probe waits for. */
bool dn_steps_is_patient(const DnReflex *self, uint32_t slot);

/* Clients wait for the slot's node to be reset. */
bool dn_steps_is_urgent(const DnReflex *self, uint32_t slot);

/* In reflex.c: hand the slot's outcome to main. */
void dn_reflex_report(DnReflex *self, uint32_t slot);
