/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include "host.h"
#include "supervisor.h"
#include "truth.h"

/* ---- packets ---- */

Packet *packet_new(void)
{
	Packet *self = g_new0(Packet, 1);

	self->refs = 1;
	return self;
}

Packet *packet_ref(Packet *self)
{
	self->refs++;
	return self;
}

void packet_unref(Packet *self)
{
	if (self == NULL || --self->refs > 0)
		return;
	dn_fact_free(self->fact);
	dn_order_free(self->order);
	dn_answer_to_free(self->answer);
	g_free(self);
}

/* ---- chance: splitmix64, which has no bad seeds ---- */

uint64_t sim_draw(Sim *self)
{
	uint64_t z = (self->chance += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_below(Sim *self, uint64_t limit)
{
	return sim_draw(self) % limit;
}

bool sim_chance(Sim *self, unsigned of_thousand)
{
	return sim_below(self, 1000) < of_thousand;
}

bool sim_mishap(Sim *self, unsigned of_thousand)
{
	return self->faulty && sim_chance(self, of_thousand);
}

/* ---- the queue: a binary heap, ties in the order they were asked for ---- */

static Event *at(const Sim *self, guint i)
{
	return &g_array_index(self->queue, Event, i);
}

static bool is_before(const Event *a, const Event *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void swap(Event *a, Event *b)
{
	Event kept = *a;

	*a = *b;
	*b = kept;
}

void sim_later(Sim *self, uint64_t after_ns, Event event)
{
	event.at_ns = self->now_ns + after_ns;
	event.order = ++self->order;
	g_array_append_val(self->queue, event);
	for (guint i = self->queue->len - 1; i > 0 && is_before(at(self, i), at(self, (i - 1) / 2));
	     i = (i - 1) / 2)
		swap(at(self, i), at(self, (i - 1) / 2));
}

static Event take_next(Sim *self)
{
	Event first = *at(self, 0);
	guint i = 0;

	*at(self, 0) = *at(self, self->queue->len - 1);
	g_array_set_size(self->queue, self->queue->len - 1);
	for (;;) {
		guint least = i;

		for (guint child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < self->queue->len && is_before(at(self, child), at(self, least)))
				least = child;
		if (least == i)
			return first;
		swap(at(self, i), at(self, least));
		i = least;
	}
}

/* ---- a run ---- */

Sim *sim_new(uint64_t seed, bool trace)
{
	Sim *self = g_new0(Sim, 1);

	self->seed = self->chance = seed;
	self->now_ns = 1000 * SIM_S;
	self->queue = g_array_sized_new(FALSE, FALSE, sizeof(Event), 256);
	self->faulty = true;
	self->trace = trace_new(trace);
	self->truth = truth_new();
	self->signed_manifests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
						       (GDestroyNotify)dn_manifest_unref);
	self->hosts = 2 + (unsigned)sim_below(self, SIM_HOSTS - 1);
	self->services = 1 + (unsigned)sim_below(self, SIM_SERVICES);
	self->orderly = sim_chance(self, 500);
	self->store = store_new();
	for (unsigned i = 0; i < SIM_SUPERVISORS; i++)
		self->supervisor[i] = supervisor_new(i);
	for (unsigned i = 0; i < self->hosts; i++)
		self->host[i] = host_new(i);
	return self;
}

void sim_free(Sim *self)
{
	if (self == NULL)
		return;
	for (guint i = 0; i < self->queue->len; i++)
		packet_unref(at(self, i)->packet);
	g_array_unref(self->queue);
	for (unsigned i = 0; i < self->hosts; i++)
		host_free(self->host[i]);
	for (unsigned i = 0; i < SIM_SUPERVISORS; i++)
		supervisor_free(self->supervisor[i]);
	store_free(self->store);
	people_free(self->people);
	truth_free(self->truth);
	trace_free(self->trace);
	g_hash_table_unref(self->signed_manifests);
	g_free(self->failure);
	g_free(self);
}

static void step(Sim *self)
{
	Event event = take_next(self);

	g_assert(event.at_ns >= self->now_ns);
	self->now_ns = event.at_ns;
	self->steps++;
	event.call(self, &event);
	packet_unref(event.packet);
	if (self->failure == NULL)
		truth_check(self);
}

bool sim_run(Sim *self)
{
	uint64_t begun_ns = self->now_ns, look_ns = 0;
	g_autofree char *why = NULL;

	supervisor_start(self, 0);
	for (unsigned i = 0; i < self->hosts; i++)
		host_start(self, i);
	people_begin(self);
	faults_begin(self);
	while (self->failure == NULL && self->queue->len > 0) {
		step(self);
		if (self->faulty || self->now_ns < look_ns)
			continue;
		look_ns = self->now_ns + SIM_S;
		g_free(g_steal_pointer(&why));
		if (truth_is_at_rest(self, &why))
			return true;
		if (self->now_ns > begun_ns + (SIM_FAULTS_S + SIM_QUIET_S) * SIM_S)
			truth_broken(self, TRUTH_CONVERGES, "%s", why);
	}
	return self->failure == NULL;
}
