/* SPDX-License-Identifier: Apache-2.0 */
#include "reflex/reflex.h"

#include <errno.h>
#include <glib-unix.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "reflex/private.h"

enum { PRIORITY = 10 }; /* above every normal task; below what threaded interrupts get */

/* Once that is given up: before all other threads of the agent, while clients wait for a reset. */
enum { NICE_URGENT = -16, NICE_NORMAL = 0, NICE_INHERITED = INT_MAX };

/* What the thread waits for, from short to long. */
static const struct timespec nap = {.tv_nsec = 20000};        /* a step is about to end */
static const struct timespec patience = {.tv_nsec = 5000000}; /* see dn_steps_is_patient() */

static void count_up(int fd)
{
	uint64_t one = 1;
	ssize_t written;

	do
		written = write(fd, &one, sizeof(one));
	while (written < 0 && errno == EINTR);
}

static void count_down(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

void dn_reflex_report(DnReflex *self, uint32_t slot)
{
	pthread_mutex_lock(&self->lock);
	self->slots[slot].report = self->slots[slot].outcome;
	self->slots[slot].posted = true;
	pthread_mutex_unlock(&self->lock);
	count_up(self->report_fd);
}

/* Refused without CAP_SYS_NICE; then the reflex is as prompt as any other thread. */
static void set_realtime(DnReflex *self, bool realtime)
{
	struct sched_param param = {.sched_priority = realtime ? PRIORITY : 0};

	if (self->source.realtime)
		(void)pthread_setschedparam(pthread_self(), realtime ? SCHED_FIFO : SCHED_OTHER,
					    &param);
}

/* Of the thread; refused like the above. */
static void set_nice(DnReflex *self, int nice)
{
	if (self->source.realtime && self->nice != nice)
		(void)setpriority(PRIO_PROCESS, 0, nice);
	self->nice = nice;
}

/* The armed slots that are marked and not yet taken care of; they are taken now. */
static uint32_t take_marked(DnReflex *self)
{
	uint32_t n = 0;

	if (self->source.drain != NULL)
		self->source.drain(self->source.drain_data);
	pthread_mutex_lock(&self->lock);
	for (uint32_t i = 0; i < self->source.n_slots; i++) {
		DnReflexSlot *slot = &self->slots[i];

		if (!slot->armed || slot->taken || dn_steps_event_ns(self, i) == 0 ||
		    dn_steps_is_left(self, i))
			continue;
		slot->taken = true;
		slot->step = DN_STEP_FREEZING; /* so that nobody takes it for idle */
		self->scratch[n++] = i;
	}
	pthread_mutex_unlock(&self->lock);
	return n;
}

static bool is_in_hand(const DnReflexSlot *slot)
{
	return slot->step != DN_STEP_IDLE && slot->step != DN_STEP_DONE;
}

/* While it runs a slot, main waits with changing it. False: it is not in hand any more. */
static bool begin_run(DnReflex *self, uint32_t slot)
{
	pthread_mutex_lock(&self->lock);
	bool in_hand = is_in_hand(&self->slots[slot]);
	if (in_hand)
		self->running = slot;
	pthread_mutex_unlock(&self->lock);
	return in_hand;
}

static void end_run(DnReflex *self)
{
	pthread_mutex_lock(&self->lock);
	self->running = DN_REFLEX_NOBODY;
	pthread_cond_broadcast(&self->idle);
	pthread_mutex_unlock(&self->lock);
}

/* (b) and (c) for all of them before anything that may take time for one of them. */
static void answer(DnReflex *self, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!begin_run(self, self->scratch[i]))
			continue;
		dn_steps_cut(self, self->scratch[i]);
		end_run(self);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!begin_run(self, self->scratch[i]))
			continue;
		dn_steps_release(self, self->scratch[i]);
		end_run(self);
	}
}

typedef enum { REST_IDLE, REST_PATIENT, REST_NAP, REST_NONE } Rest;

static uint32_t list_in_hand(DnReflex *self)
{
	uint32_t n = 0;

	pthread_mutex_lock(&self->lock);
	for (uint32_t i = 0; i < self->source.n_slots; i++)
		if (is_in_hand(&self->slots[i]))
			self->scratch[n++] = i;
	pthread_mutex_unlock(&self->lock);
	return n;
}

/* What the thread waits for in any case, before what probes do. */
enum { WAIT_WAKE, WAIT_BELL, WAIT_OWN };

/*
 * One step for every slot in hand; tells how long the thread may rest afterwards. When all that is
 * left is to wait for a standby, it no longer goes before that.
 */
static Rest advance_all(DnReflex *self)
{
	uint32_t n = list_in_hand(self);
	Rest rest = REST_IDLE;
	bool urgent = false;

	self->n_wait = WAIT_OWN;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t number = self->scratch[i];

		if (!begin_run(self, number))
			continue;
		bool moved = dn_steps_advance(self, number);
		bool patient = dn_steps_is_patient(self, number);
		if (dn_steps_awaits_answer(self, number))
			self->wait[self->n_wait++] = self->slots[number].wanted;
		urgent = urgent || dn_steps_is_urgent(self, number);
		end_run(self);
		if (moved)
			rest = REST_NONE;
		else
			rest = MAX(rest, patient ? REST_PATIENT : REST_NAP);
	}
	if (!urgent)
		set_nice(self, NICE_NORMAL);
	return rest;
}

static void rest_until_bell(DnReflex *self, Rest rest)
{
	struct pollfd *fds = self->wait;
	const struct timespec *limit = NULL;

	fds[WAIT_WAKE] = (struct pollfd){.fd = self->wake_fd, .events = POLLIN};
	fds[WAIT_BELL] = (struct pollfd){.fd = self->source.bell_fd, .events = POLLIN};
	if (rest == REST_NAP)
		limit = &nap;
	else if (rest == REST_PATIENT)
		limit = &patience;
	if (ppoll(fds, self->n_wait, limit, NULL) > 0 && fds[WAIT_WAKE].revents != 0)
		count_down(self->wake_fd);
}

static gpointer reflex_thread(gpointer data)
{
	DnReflex *self = data;
	bool realtime = false;

	(void)prctl(PR_SET_TIMERSLACK, 1); /* or a nap of 20 us takes 70 */
	self->nice = NICE_INHERITED;
	while (!__atomic_load_n(&self->stopping, __ATOMIC_ACQUIRE)) {
		uint32_t n = take_marked(self);

		if (n > 0) {
			if (!realtime)
				set_realtime(self, true);
			answer(self, n);
			/* Kept any longer, it would starve the freezer and the standby. */
			set_nice(self, NICE_URGENT);
			set_realtime(self, false);
			realtime = false;
		}
		Rest rest = advance_all(self);
		if (rest == REST_NONE)
			continue;
		if (rest == REST_IDLE && !realtime) {
			set_realtime(self, true);
			realtime = true;
		}
		rest_until_bell(self, rest);
	}
	return NULL;
}

/* On main's context: whatever was posted, one slot at a time, with no lock held meanwhile. */
static gboolean deliver(gint fd, GIOCondition condition, gpointer data)
{
	DnReflex *self = data;

	count_down(fd);
	for (uint32_t i = 0; i < self->source.n_slots; i++) {
		pthread_mutex_lock(&self->lock);
		bool posted = self->slots[i].posted;
		DnReflexOutcome report = self->slots[i].report;
		self->slots[i].posted = false;
		pthread_mutex_unlock(&self->lock);
		if (posted)
			self->done(&report, self->data);
	}
	return G_SOURCE_CONTINUE;
}

/* The main thread holds the lock for moments; inheriting keeps those moments short. */
static void init_lock(DnReflex *self)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&self->lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	pthread_cond_init(&self->idle, NULL);
}

/* Signals are main's; the new thread inherits the mask it is made under. */
static bool start_thread(DnReflex *self, GError **error)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	self->thread = g_thread_try_new("reflex", reflex_thread, self, error);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return self->thread != NULL;
}

DnReflex *dn_reflex_start(const DnReflexSource *source, const DnReflexOps *ops, DnReflexDone done,
			  void *data, GError **error)
{
	g_autoptr(DnReflex) self = g_new0(DnReflex, 1);

	self->source = *source;
	self->ops = *ops;
	self->done = done;
	self->data = data;
	self->slots = g_new0(DnReflexSlot, source->n_slots);
	self->scratch = g_new0(uint32_t, source->n_slots);
	self->wait = g_new0(struct pollfd, WAIT_OWN + source->n_slots);
	self->running = DN_REFLEX_NOBODY;
	init_lock(self);
	self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	self->report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->wake_fd < 0 || self->report_fd < 0) {
		dn_throw_errno(error, errno, "reflex: make an eventfd");
		return NULL;
	}
	self->reports = g_unix_fd_source_new(self->report_fd, G_IO_IN);
	g_source_set_callback(self->reports, G_SOURCE_FUNC(deliver), self, NULL);
	g_source_set_priority(self->reports, G_PRIORITY_HIGH);
	g_source_attach(self->reports, g_main_context_get_thread_default());
	if (!start_thread(self, error))
		return NULL;
	return g_steal_pointer(&self);
}

static void clear_plan(DnReflexSlot *slot)
{
	g_clear_pointer(&slot->cut, g_bytes_unref);
	g_clear_pointer(&slot->promote, g_bytes_unref);
	g_clear_pointer(&slot->isolate, g_bytes_unref);
}

void dn_reflex_stop(DnReflex *self)
{
	if (self == NULL)
		return;
	if (self->thread != NULL) {
		__atomic_store_n(&self->stopping, true, __ATOMIC_RELEASE);
		count_up(self->wake_fd);
		(void)g_thread_join(self->thread);
	}
	if (self->reports != NULL) {
		g_source_destroy(self->reports);
		g_source_unref(self->reports);
	}
	for (uint32_t i = 0; i < self->source.n_slots; i++)
		clear_plan(&self->slots[i]);
	dn_fd_clear(&self->wake_fd);
	dn_fd_clear(&self->report_fd);
	pthread_cond_destroy(&self->idle);
	pthread_mutex_destroy(&self->lock);
	g_free(self->slots);
	g_free(self->scratch);
	g_free(self->wait);
	g_free(self);
}

static GBytes *keep_batch(GBytes *batch, bool *fits)
{
	if (batch == NULL)
		return NULL;
	if (g_bytes_get_size(batch) <= DN_REFLEX_BATCH)
		return g_bytes_ref(batch);
	*fits = false;
	return NULL;
}

/* A slot of the group that was cut, and whose outcome main has not taken over. */
static bool group_was_cut(const DnReflex *self, uint32_t group)
{
	for (uint32_t i = 0; i < self->source.n_slots; i++)
		if (self->slots[i].taken && self->slots[i].group == group)
			return true;
	return false;
}

/* Under the lock, which is given up while waiting. */
static void wait_until_not_run(DnReflex *self, uint32_t slot)
{
	while (self->running == slot)
		pthread_cond_wait(&self->idle, &self->lock);
}

bool dn_reflex_arm(DnReflex *self, const DnReflexPlan *plan)
{
	g_return_val_if_fail(plan->slot < self->source.n_slots, false);
	DnReflexSlot *slot = &self->slots[plan->slot];
	DnReflexSlot old = {0};
	bool fits = true;
	g_autoptr(GBytes) cut = keep_batch(plan->cut, &fits);
	g_autoptr(GBytes) promote = keep_batch(plan->promote, &fits);
	g_autoptr(GBytes) isolate = keep_batch(plan->isolate, &fits);

	pthread_mutex_lock(&self->lock);
	wait_until_not_run(self, plan->slot);
	if (!slot->taken) {
		old.cut = slot->cut;
		old.promote = slot->promote;
		old.isolate = slot->isolate;
		slot->cut = g_steal_pointer(&cut);
		slot->promote = g_steal_pointer(&promote);
		slot->isolate = g_steal_pointer(&isolate);
		slot->group = plan->group;
		slot->standby = plan->standby;
		slot->standby_slot = plan->standby_slot;
		slot->stale = group_was_cut(self, plan->group);
		slot->armed = true;
		slot->step = DN_STEP_IDLE; /* a freeze still retried was of the last node */
	}
	pthread_mutex_unlock(&self->lock);
	clear_plan(&old);
	if (dn_steps_event_ns(self, plan->slot) != 0)
		dn_reflex_ring(self);
	return fits;
}

void dn_reflex_disarm(DnReflex *self, uint32_t number)
{
	g_return_if_fail(number < self->source.n_slots);
	DnReflexSlot *slot = &self->slots[number];
	DnReflexSlot old = {0};

	pthread_mutex_lock(&self->lock);
	wait_until_not_run(self, number);
	old.cut = g_steal_pointer(&slot->cut);
	old.promote = g_steal_pointer(&slot->promote);
	old.isolate = g_steal_pointer(&slot->isolate);
	slot->isolated_ns = 0;
	slot->armed = slot->taken = slot->stale = slot->holds_standby = false;
	bool probing = slot->step == DN_STEP_PROBING;
	if (slot->step != DN_STEP_LATE || dn_steps_event_ns(self, number) == 0) {
		slot->step = DN_STEP_IDLE;
		slot->posted = false;
	}
	uint32_t standby_slot = slot->standby_slot;
	pthread_mutex_unlock(&self->lock);
	if (probing)
		self->ops.give_up(self->ops.data, standby_slot);
	clear_plan(&old);
}

void dn_reflex_ring(DnReflex *self)
{
	count_up(self->wake_fd);
}
