/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The reflex thread with marks in plain memory and operations that only write down their call:
 * "freeze1 verdict1 replay(cut1) ". A test says which of them fail, marks slots and rings.
 */

#include <dnode/sensor-abi-user.h>

#include "reflex/reflex.h"

enum { RIG_SLOTS = 8, RIG_OUTCOMES = 16 };

typedef struct {
	DnReflex *reflex; /* owned */
	int bell_fd;      /* owned */
	struct dn_sensor_mark marks[RIG_SLOTS];

	DnReflexOutcome outcomes[RIG_OUTCOMES];
	unsigned n_outcomes;

	/* Both threads use what follows: set it before the mark, or by the functions below. */
	GMutex lock;
	char calls[4096];
	bool frozen[RIG_SLOTS]; /* is_frozen() says so; true at first */
	int refuse_replay;      /* replay() fails that often */
	int refuse_rebuild;     /* rebuild() fails that often */
	int silent_probes;      /* that many probes stay without an answer */
	int answer_fd;          /* unless 0: a probe is under way until this can be read */
	unsigned asked;         /* that often while it could not */
	int freezes_to_refuse;  /* freeze() fails that often */
	int busy_dumps;         /* dump() has no room that often */
} Rig;

/* @self is zeroed memory that stays where it is. */
void rig_open(Rig *self);
void rig_close(Rig *self);

void rig_arm(Rig *self, uint32_t slot, uint32_t group, const char *cut, const char *promote,
	     DnStandbyKind standby, uint32_t standby_slot);

/* What the kernel does: set the mark, then ring. */
void rig_set_mark(Rig *self, uint32_t slot);
void rig_ring(Rig *self);

void rig_set_frozen(Rig *self, uint32_t slot, bool frozen);
void rig_set_silent_probes(Rig *self, int probes);

/* Wait until @n outcomes have come since the start. */
void rig_expect_outcomes(Rig *self, unsigned n);
/* Nothing more comes: whatever was started had the time it takes everywhere else. */
void rig_expect_silence(Rig *self);

/* The calls so far; valid until the next question. */
const char *rig_said(Rig *self);
