/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

static void note(Rig *self, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void note(Rig *self, const char *format, ...)
{
	va_list args;

	g_mutex_lock(&self->lock);
	size_t used = strlen(self->calls);
	va_start(args, format);
	(void)vsnprintf(self->calls + used, sizeof(self->calls) - used, format, args);
	va_end(args);
	g_mutex_unlock(&self->lock);
}

static bool take_one(Rig *self, int *left)
{
	g_mutex_lock(&self->lock);
	bool took = *left > 0;
	*left -= took;
	g_mutex_unlock(&self->lock);
	return took;
}

static bool op_freeze(void *data, uint32_t slot)
{
	note(data, "freeze%u ", slot);
	return !take_one(data, &((Rig *)data)->freezes_to_refuse);
}

static bool op_is_frozen(void *data, uint32_t slot)
{
	Rig *self = data;

	g_mutex_lock(&self->lock);
	bool is = self->frozen[slot];
	g_mutex_unlock(&self->lock);
	return is;
}

static int op_replay(void *data, const void *batch, size_t size)
{
	note(data, "replay(%.*s) ", (int)size, (const char *)batch);
	return take_one(data, &((Rig *)data)->refuse_replay) ? -EBUSY : 0;
}

static bool op_rebuild(void *data, uint32_t slot, DnStandbyKind standby, uint32_t standby_slot)
{
	if (standby == DN_STANDBY_NONE)
		note(data, "rebuild%u ", slot);
	else
		note(data, "rebuild%u+%u ", slot, standby_slot);
	return !take_one(data, &((Rig *)data)->refuse_rebuild);
}

static bool op_release(void *data, uint32_t standby_slot)
{
	note(data, "release%u ", standby_slot);
	return true;
}

static bool op_answers(void *data, uint32_t standby_slot, struct pollfd *wanted)
{
	Rig *self = data;
	struct pollfd answer = {.fd = self->answer_fd, .events = POLLIN};

	if (take_one(data, &self->silent_probes))
		return false;
	if (self->answer_fd > 0 && poll(&answer, 1, 0) == 0) {
		*wanted = answer;
		g_mutex_lock(&self->lock);
		self->asked++;
		g_mutex_unlock(&self->lock);
		return false;
	}
	note(data, "answer%u ", standby_slot);
	return true;
}

static void op_give_up(void *data, uint32_t standby_slot)
{
	note(data, "give-up%u ", standby_slot);
}

static int op_dump(void *data, uint32_t slot)
{
	if (take_one(data, &((Rig *)data)->busy_dumps))
		return DN_REFLEX_BUSY;
	note(data, "dump%u ", slot);
	return 5;
}

static int op_reset(void *data, uint32_t slot)
{
	note(data,
	     ((Rig *)data)->marks[slot].window == 1 ? "reset%u " : "reset-with-closed-window%u ",
	     slot);
	return 4;
}

static void op_window(void *data, uint32_t slot, bool open)
{
	note(data, open ? "open%u " : "close%u ", slot);
}

static void op_verdict(void *data, uint32_t slot)
{
	note(data, "verdict%u ", slot);
}

static void op_entered(void *data, uint32_t standby_slot)
{
	note(data, "entered%u ", standby_slot);
}

static const DnReflexOps ops = {
	.freeze = op_freeze,
	.is_frozen = op_is_frozen,
	.replay = op_replay,
	.rebuild = op_rebuild,
	.release = op_release,
	.answers = op_answers,
	.give_up = op_give_up,
	.dump = op_dump,
	.reset = op_reset,
	.window = op_window,
	.verdict = op_verdict,
	.entered = op_entered,
};

static void remember(const DnReflexOutcome *outcome, void *data)
{
	Rig *self = data;

	cr_assert(self->n_outcomes < RIG_OUTCOMES);
	self->outcomes[self->n_outcomes++] = *outcome;
}

static void drain(void *data)
{
	Rig *self = data;
	uint64_t count;

	(void)!read(self->bell_fd, &count, sizeof(count));
}

void rig_set_frozen(Rig *self, uint32_t slot, bool frozen)
{
	g_mutex_lock(&self->lock);
	self->frozen[slot] = frozen;
	g_mutex_unlock(&self->lock);
}

void rig_set_silent_probes(Rig *self, int probes)
{
	g_mutex_lock(&self->lock);
	self->silent_probes = probes;
	g_mutex_unlock(&self->lock);
}

void rig_open(Rig *self)
{
	g_autoptr(GError) error = NULL;

	g_mutex_init(&self->lock);
	self->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t i = 0; i < RIG_SLOTS; i++)
		self->frozen[i] = true;
	DnReflexSource source = {
		.marks = self->marks,
		.n_slots = RIG_SLOTS,
		.bell_fd = self->bell_fd,
		.drain = drain,
		.drain_data = self,
		.realtime = true,
	};
	DnReflexOps operations = ops;
	operations.data = self;
	self->reflex = dn_reflex_start(&source, &operations, remember, self, &error);
	cr_assert(self->reflex != NULL, "%s", error != NULL ? error->message : "no error was set");
}

void rig_close(Rig *self)
{
	dn_reflex_stop(self->reflex);
	(void)close(self->bell_fd);
	g_mutex_clear(&self->lock);
}

void rig_arm(Rig *self, uint32_t slot, uint32_t group, const char *cut, const char *promote,
	     DnStandbyKind standby, uint32_t standby_slot)
{
	g_autoptr(GBytes) cut_bytes = g_bytes_new_static(cut, strlen(cut));
	g_autoptr(GBytes) promote_bytes =
		promote != NULL ? g_bytes_new_static(promote, strlen(promote)) : NULL;
	g_autoptr(GBytes) isolate_bytes = g_bytes_new_static("isolate", strlen("isolate"));
	DnReflexPlan plan = {slot,          group,   cut_bytes,   promote_bytes,
			     isolate_bytes, standby, standby_slot};

	cr_assert(dn_reflex_arm(self->reflex, &plan));
}

void rig_set_mark(Rig *self, uint32_t slot)
{
	self->marks[slot].class = DN_DRIFT_EXEC;
	__atomic_store_n(&self->marks[slot].event_ns, dn_clock_monotonic_ns(), __ATOMIC_SEQ_CST);
}

void rig_ring(Rig *self)
{
	uint64_t one = 1;

	cr_assert(write(self->bell_fd, &one, sizeof(one)) == sizeof(one));
}

void rig_expect_outcomes(Rig *self, unsigned n)
{
	uint64_t end = dn_clock_monotonic_ns() + 20 * DN_NS_PER_S;

	while (self->n_outcomes < n && dn_clock_monotonic_ns() < end) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(100);
	}
	cr_assert(eq(u32, self->n_outcomes, n), "after: %s", rig_said(self));
}

void rig_expect_silence(Rig *self)
{
	unsigned before = self->n_outcomes;

	for (int i = 0; i < 100; i++) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(200);
	}
	cr_assert(eq(u32, self->n_outcomes, before), "after: %s", rig_said(self));
}

const char *rig_said(Rig *self)
{
	static char copy[sizeof(self->calls)];

	g_mutex_lock(&self->lock);
	memcpy(copy, self->calls, sizeof(copy));
	g_mutex_unlock(&self->lock);
	return copy;
}
