/* SPDX-License-Identifier: Apache-2.0 */

/* DESIGN section 4 (b) to (f), for one slot. All on the reflex thread. */

#include <dnode/sensor-abi-user.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "reflex/private.h"

static const uint64_t freeze_limit_ns = 50 * DN_NS_PER_MS;
static const uint64_t freeze_retry_ns = 5 * DN_NS_PER_MS;

/* Main reads a dump within milliseconds of its outcome. Later than this a node is not reset. */
static const uint64_t dump_limit_ns = 2 * DN_NS_PER_S;
static const uint64_t dump_pause_ns = 2 * DN_NS_PER_MS;

/* Resets leave through the softirq of the node's link, usually before the call is back. */
static const uint64_t reset_limit_ns = 5 * DN_NS_PER_MS;

/* A created standby that stays silent for this long is left to main. */
static const uint64_t probe_limit_ns = 10 * DN_NS_PER_S;
static const uint64_t probe_pause_ns = 50 * DN_NS_PER_US;
static const uint64_t probe_long_pause_ns = 5 * DN_NS_PER_MS;
static const uint64_t probe_hurry_ns = 20 * DN_NS_PER_MS;

uint64_t dn_steps_event_ns(const DnReflex *self, uint32_t slot)
{
	return __atomic_load_n(&self->source.marks[slot].event_ns, __ATOMIC_ACQUIRE);
}

static bool is_isolated(const DnReflex *self, uint32_t slot)
{
	return __atomic_load_n(&self->source.marks[slot].mode, __ATOMIC_ACQUIRE) == DN_MODE_ISOLATE;
}

bool dn_steps_is_left(const DnReflex *self, uint32_t slot)
{
	return is_isolated(self, slot) &&
	       self->slots[slot].isolated_ns == dn_steps_event_ns(self, slot);
}

static bool is_marked(const DnReflex *self, uint32_t slot)
{
	return slot < self->source.n_slots && dn_steps_event_ns(self, slot) != 0;
}

/* Is the standby free: neither marked itself nor used for another slot? Under the lock. */
static bool standby_is_free(const DnReflex *self, uint32_t standby_slot)
{
	if (standby_slot >= self->source.n_slots || is_marked(self, standby_slot))
		return false;
	for (uint32_t i = 0; i < self->source.n_slots; i++)
		if (self->slots[i].holds_standby && self->slots[i].standby_slot == standby_slot)
			return false;
	return true;
}

/* What the plan is still good for; and from now on the group's other plans are stale. */
static DnStandbyKind claim(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	DnStandbyKind standby = slot->standby;

	pthread_mutex_lock(&self->lock);
	slot->can_replay = !slot->stale && slot->cut != NULL;
	if (standby != DN_STANDBY_NONE && !standby_is_free(self, slot->standby_slot)) {
		/* The batch that cuts names a started standby, never a created one. */
		slot->can_replay = slot->can_replay && standby == DN_STANDBY_CREATED;
		standby = DN_STANDBY_NONE;
	}
	slot->holds_standby = standby != DN_STANDBY_NONE;
	for (uint32_t i = 0; i < self->source.n_slots; i++)
		if (i != number && self->slots[i].armed && self->slots[i].group == slot->group)
			self->slots[i].stale = true;
	pthread_mutex_unlock(&self->lock);
	return standby;
}

static void give_standby_back(DnReflex *self, DnReflexSlot *slot)
{
	slot->outcome.standby = DN_STANDBY_NONE;
	pthread_mutex_lock(&self->lock);
	slot->holds_standby = false;
	pthread_mutex_unlock(&self->lock);
}

static void note_entered(DnReflex *self, uint32_t standby_slot)
{
	if (self->ops.entered != NULL)
		self->ops.entered(self->ops.data, standby_slot);
}

static bool replay(DnReflex *self, GBytes *batch)
{
	size_t size = 0;
	const void *bytes = g_bytes_get_data(batch, &size);

	return self->ops.replay(self->ops.data, bytes, size) == 0;
}

/* (c): out of the balancer, into quarantine, a started standby in. */
static void change_balancer(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	DnReflexOutcome *outcome = &slot->outcome;
	bool started;

	dn_failpoint_pass("reflex.balance.before");
	outcome->standby = claim(self, number);
	outcome->standby_slot = slot->standby_slot;
	started = outcome->standby == DN_STANDBY_STARTED;
	outcome->replayed = slot->can_replay && replay(self, slot->cut);
	bool changed = outcome->replayed ||
		       self->ops.rebuild(self->ops.data, number,
					 started ? DN_STANDBY_STARTED : DN_STANDBY_NONE,
					 slot->standby_slot);
	if (changed)
		outcome->lb_out_ns = dn_clock_monotonic_ns();
	dn_failpoint_pass("reflex.balance.after");
	if (!started)
		return;
	if (!changed) {
		give_standby_back(self, slot);
		return;
	}
	outcome->ready_ns = outcome->lb_out_ns;
	note_entered(self, slot->standby_slot);
}

/* The kernel has cut all that the node begins; it serves on, and main decides for how long. */
static void leave_isolated(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];

	slot->outcome = (DnReflexOutcome){
		.slot = number,
		.isolated = true,
		.event_ns = dn_steps_event_ns(self, number),
		.verdict_ns = dn_clock_monotonic_ns(),
	};
	self->ops.verdict(self->ops.data, number);
	if (slot->isolate != NULL)
		(void)replay(self, slot->isolate);
	pthread_mutex_lock(&self->lock);
	slot->isolated_ns = slot->outcome.event_ns;
	slot->step = DN_STEP_IDLE;
	slot->taken = false;
	pthread_mutex_unlock(&self->lock);
	dn_reflex_report(self, number);
}

void dn_steps_cut(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	volatile struct dn_sensor_mark *mark = &self->source.marks[number];
	uint64_t now = dn_clock_monotonic_ns();
	uint64_t cut = mark->cut_ns;

	if (is_isolated(self, number)) {
		leave_isolated(self, number);
		return;
	}
	slot->outcome = (DnReflexOutcome){
		.slot = number,
		.event_ns = dn_steps_event_ns(self, number),
		.verdict_ns = now,
		.cut_ns = cut != 0 ? cut : now, /* seen here, so visible to the packet paths */
	};
	slot->freeze_written = self->ops.freeze(self->ops.data, number);
	slot->waits_for_dump = false;
	slot->deadline_ns = now + freeze_limit_ns;
	self->ops.verdict(self->ops.data, number);
	change_balancer(self, number);
	slot->step = DN_STEP_FREEZING;
}

void dn_steps_release(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];

	if (slot->outcome.standby == DN_STANDBY_CREATED &&
	    !self->ops.release(self->ops.data, slot->standby_slot))
		give_standby_back(self, slot);
}

/* Frozen yet? A freeze that could not be written is written again. */
static bool try_freeze(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];

	if (!slot->freeze_written)
		slot->freeze_written = self->ops.freeze(self->ops.data, number);
	if (!self->ops.is_frozen(self->ops.data, number))
		return false;
	slot->outcome.frozen = true;
	slot->outcome.frozen_ns = dn_clock_monotonic_ns();
	return true;
}

/* False: to be asked again. */
static bool take_dump(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	DnReflexOutcome *outcome = &slot->outcome;

	outcome->sockets = self->ops.dump(self->ops.data, number);
	uint64_t now = dn_clock_monotonic_ns();
	slot->waits_for_dump =
		outcome->sockets == DN_REFLEX_BUSY && now < outcome->verdict_ns + dump_limit_ns;
	slot->next_ns = now + dump_pause_ns;
	if (slot->waits_for_dump)
		return false;
	if (outcome->sockets >= 0)
		outcome->dump_ns = now;
	else
		outcome->sockets = -1;
	return true;
}

/* (d) and (e). The exemption is opened in the packet paths first, closed there last. */
static bool dump_and_reset(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	DnReflexOutcome *outcome = &slot->outcome;

	if (slot->waits_for_dump && dn_clock_monotonic_ns() < slot->next_ns)
		return false;
	if (!slot->outcome.frozen && !try_freeze(self, number) &&
	    dn_clock_monotonic_ns() < slot->deadline_ns)
		return false;
	if (!take_dump(self, number))
		return false;
	self->source.marks[number].window = 1;
	self->ops.window(self->ops.data, number, true);
	outcome->resets = self->ops.reset(self->ops.data, number);
	uint64_t now = dn_clock_monotonic_ns();
	if (outcome->resets >= 0)
		outcome->reset_ns = now;
	slot->deadline_ns = now + reset_limit_ns;
	slot->step = DN_STEP_RESETTING;
	return true;
}

/* Report; a node that is not frozen stays in hand. */
static void finish(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];

	dn_failpoint_pass("reflex.report.before");
	slot->step = slot->outcome.frozen ? DN_STEP_DONE : DN_STEP_LATE;
	slot->next_ns = 0;
	dn_reflex_report(self, number);
}

/* Every reset that left the socket layer has to pass the link before the window closes. */
static bool close_window(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	volatile struct dn_sensor_mark *mark = &self->source.marks[number];
	uint64_t now = dn_clock_monotonic_ns();

	if (mark->resets[DN_PATH_FROM_NODE] < mark->resets[DN_PATH_CGROUP_OUT] &&
	    now < slot->deadline_ns)
		return false;
	self->ops.window(self->ops.data, number, false);
	mark->window = 0;
	if (slot->outcome.standby != DN_STANDBY_CREATED) {
		finish(self, number);
		return true;
	}
	slot->step = DN_STEP_PROBING;
	slot->deadline_ns = now + probe_limit_ns;
	slot->next_ns = 0;
	slot->wanted.fd = -1;
	return true;
}

static bool promote(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];

	pthread_mutex_lock(&self->lock);
	bool can_replay = !slot->stale && slot->promote != NULL;
	pthread_mutex_unlock(&self->lock);
	return (can_replay && replay(self, slot->promote)) ||
	       self->ops.rebuild(self->ops.data, number, DN_STANDBY_CREATED, slot->standby_slot);
}

/* (f): the created standby goes in with its first answer. */
static bool probe(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	uint64_t now = dn_clock_monotonic_ns();

	if (now < slot->next_ns)
		return false;
	if (is_marked(self, slot->standby_slot) || now >= slot->deadline_ns) {
		self->ops.give_up(self->ops.data, slot->standby_slot);
		give_standby_back(self, slot);
		finish(self, number);
		return true;
	}
	slot->wanted.fd = -1;
	if (!self->ops.answers(self->ops.data, slot->standby_slot, &slot->wanted)) {
		bool hurry = now < slot->deadline_ns - probe_limit_ns + probe_hurry_ns;

		/* One that is under way is asked for as soon as it can go on. */
		if (slot->wanted.fd < 0)
			slot->next_ns = dn_clock_monotonic_ns() +
					(hurry ? probe_pause_ns : probe_long_pause_ns);
		return false;
	}
	if (promote(self, number)) {
		slot->outcome.ready_ns = dn_clock_monotonic_ns();
		note_entered(self, slot->standby_slot);
	} else {
		give_standby_back(self, slot);
	}
	finish(self, number);
	return true;
}

static bool retry_freeze(DnReflex *self, uint32_t number)
{
	DnReflexSlot *slot = &self->slots[number];
	uint64_t now = dn_clock_monotonic_ns();

	if (now < slot->next_ns)
		return false;
	if (!is_marked(self, number)) { /* the node is gone; another may have the slot soon */
		slot->step = DN_STEP_IDLE;
		return true;
	}
	slot->next_ns = now + freeze_retry_ns;
	if (!try_freeze(self, number))
		return false;
	finish(self, number);
	return true;
}

bool dn_steps_awaits_answer(const DnReflex *self, uint32_t number)
{
	const DnReflexSlot *slot = &self->slots[number];

	return slot->step == DN_STEP_PROBING && slot->wanted.fd >= 0;
}

bool dn_steps_is_urgent(const DnReflex *self, uint32_t number)
{
	const DnReflexSlot *slot = &self->slots[number];

	return slot->step == DN_STEP_FREEZING || slot->step == DN_STEP_RESETTING;
}

bool dn_steps_is_patient(const DnReflex *self, uint32_t number)
{
	const DnReflexSlot *slot = &self->slots[number];

	return slot->step == DN_STEP_LATE || dn_steps_awaits_answer(self, number) ||
	       ((slot->step == DN_STEP_PROBING || slot->waits_for_dump) &&
		slot->next_ns > dn_clock_monotonic_ns() + DN_NS_PER_MS);
}

bool dn_steps_advance(DnReflex *self, uint32_t number)
{
	switch (self->slots[number].step) {
	case DN_STEP_FREEZING:
		return dump_and_reset(self, number);
	case DN_STEP_RESETTING:
		return close_window(self, number);
	case DN_STEP_PROBING:
		return probe(self, number);
	case DN_STEP_LATE:
		return retry_freeze(self, number);
	case DN_STEP_IDLE:
	case DN_STEP_DONE:
		return false;
	}
	return false;
}
