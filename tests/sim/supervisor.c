/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor.h"

#include <stdio.h>

#include "core/fleet.h"
#include "host.h"
#include "supervisor-store.h"
#include "truth.h"

enum { SIM_TICK_MS = 1000, ANSWER_WAIT_S = 10, RECENT = 32 };

typedef struct {
	uint64_t sequence, tag, due_ns;
} Asked;

typedef struct {
	uint64_t link; /* 0: none */
	char *session;
	uint64_t sequence;
	uint64_t clear_ns; /* when the last packet towards the host arrives */
	GArray *asked;     /* of Asked */
} Session;

struct SimSupervisor {
	unsigned number;
	bool up;
	uint64_t life, term;
	int64_t skew_ns;
	DnFleetCore *core;
	Batch *filling, *writing;
	Session sessions[SIM_HOSTS];
	GHashTable *tickets; /* uint64_t * tag → uint64_t * ticket */
	Packet *recent[RECENT];
	unsigned sent;
};

static void carry_out(Sim *sim, SimSupervisor *self, DnActs *acts);

static DnNow now_of(const Sim *sim, const SimSupervisor *self)
{
	return (DnNow){
		.monotonic_ns = sim->now_ns,
		.realtime_ns = SIM_REALTIME + sim->now_ns + (uint64_t)self->skew_ns,
	};
}

static const char *name_of(const SimSupervisor *self)
{
	return self->number == 0 ? "S0" : "S1";
}

SimSupervisor *supervisor_new(unsigned number)
{
	SimSupervisor *self = g_new0(SimSupervisor, 1);

	self->number = number;
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		self->sessions[i].asked = g_array_new(FALSE, FALSE, sizeof(Asked));
	self->tickets = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return self;
}

static void clear(SimSupervisor *self)
{
	g_clear_pointer(&self->core, dn_fleet_core_free);
	g_clear_pointer(&self->filling, batch_free);
	g_clear_pointer(&self->writing, batch_free);
	g_hash_table_remove_all(self->tickets);
	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		self->sessions[i].link = 0;
		g_clear_pointer(&self->sessions[i].session, g_free);
		g_array_set_size(self->sessions[i].asked, 0);
	}
}

void supervisor_free(SimSupervisor *self)
{
	clear(self);
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		g_array_unref(self->sessions[i].asked);
	for (unsigned i = 0; i < RECENT; i++)
		packet_unref(self->recent[i]);
	g_hash_table_unref(self->tickets);
	g_free(self);
}

bool supervisor_is_up(const Sim *sim, unsigned who)
{
	return sim->supervisor[who]->up;
}

unsigned supervisor_leader(const Sim *sim)
{
	for (unsigned i = 0; i < SIM_SUPERVISORS; i++)
		if (sim->supervisor[i]->up && sim->supervisor[i]->term == store_term(sim))
			return i;
	return SIM_SUPERVISORS;
}

void supervisor_jump(Sim *sim, unsigned who, int64_t by_ns)
{
	sim->supervisor[who]->skew_ns += by_ns;
	sim_say(sim, name_of(sim->supervisor[who]), "the clock jumps by %d s",
		(int)(by_ns / (int64_t)SIM_S));
}

size_t supervisor_backlog(const Sim *sim, unsigned who)
{
	const SimSupervisor *self = sim->supervisor[who];
	size_t waiting = 0;

	for (unsigned i = 0; i < SIM_HOSTS; i++)
		waiting += self->sessions[i].asked->len;
	return waiting + (self->filling == NULL ? 0 : self->filling->dispatches->len);
}

/* ---- sessions ---- */

/* Every order is answered once: by the host, or by its link's end. */
static void give_up(Sim *sim, SimSupervisor *self, unsigned host, bool only_due)
{
	GArray *asked = self->sessions[host].asked;
	g_autoptr(GArray) lost = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (guint i = asked->len; i-- > 0;) {
		const Asked *one = &g_array_index(asked, Asked, i);

		if (only_due && one->due_ns > sim->now_ns)
			continue;
		g_array_append_val(lost, one->tag);
		g_array_remove_index(asked, i);
	}
	for (guint i = 0; i < lost->len; i++) {
		g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);

		answer->code = DN_ERROR_UNAVAILABLE;
		answer->error = g_strdup("no answer");
		supervisor_answered(sim, self->number, host, g_array_index(lost, uint64_t, i),
				    answer);
	}
}

void supervisor_answered(Sim *sim, unsigned who, unsigned host, uint64_t tag,
			 const DnAnswerTo *answer)
{
	SimSupervisor *self = sim->supervisor[who];
	g_autoptr(DnActs) acts = dn_acts_new();
	const uint64_t *ticket = g_hash_table_lookup(self->tickets, &tag);

	dn_fleet_core_answered(self->core, host_name(host), tag, answer, now_of(sim, self), acts);
	carry_out(sim, self, acts);
	if (ticket == NULL)
		return;
	people_answered(sim, *ticket, answer->done ? 0 : answer->code);
	g_hash_table_remove(self->tickets, &tag);
}

static void on_lost_order(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);

	if (!self->up || self->life != event->life)
		return;
	answer->code = DN_ERROR_UNAVAILABLE;
	answer->error = g_strdup("not connected");
	supervisor_answered(sim, event->who, event->whom, event->tag, answer);
}

static void keep_recent(SimSupervisor *self, Packet *packet)
{
	unsigned at = self->sent++ % RECENT;

	packet_unref(self->recent[at]);
	self->recent[at] = packet_ref(packet);
}

Packet *supervisor_recent(const Sim *sim, unsigned who, uint64_t draw)
{
	return sim->supervisor[who]->recent[draw % RECENT];
}

static void send(Sim *sim, SimSupervisor *self, DnDispatch *dispatch)
{
	unsigned host = host_number(dispatch->host);
	Session *session = &self->sessions[host];
	DnOrder *order = g_steal_pointer(&dispatch->order);

	if (session->link == 0) {
		dn_order_free(order);
		sim_later(sim, 1,
			  (Event){.call = on_lost_order,
				  .who = self->number,
				  .whom = host,
				  .life = self->life,
				  .tag = dispatch->tag});
		return;
	}
	Asked asked = {.sequence = ++session->sequence,
		       .tag = dispatch->tag,
		       .due_ns = sim->now_ns + ANSWER_WAIT_S * SIM_S};
	g_array_append_val(session->asked, asked);
	order->cluster = g_strdup(SIM_CLUSTER);
	order->term = self->term;
	order->session = g_strdup(session->session);
	order->sequence = session->sequence;
	Packet *packet = packet_new();
	packet->order = order;
	packet->addressee = host;
	keep_recent(self, packet);
	sim_say(sim, name_of(self), "order %s to %s, sequence %" G_GUINT64_FORMAT,
		dn_order_kind_name(order->kind), host_name(host), order->sequence);
	host_send_order(sim, packet, host, session->link, &session->clear_ns);
}

/* A new link takes the place of the old one. */
void supervisor_hello(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];
	Session *session = &self->sessions[event->whom];
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autofree char *address = g_strdup_printf("192.0.2.%u", event->whom + 1);

	if (!self->up || !host_link_is_open(sim, event->whom, event->tag))
		return;
	supervisor_drop(sim, event->who, event->whom);
	session->link = event->tag;
	session->session = g_strdup_printf("%032" G_GINT64_MODIFIER "x", event->tag);
	session->sequence = 0;
	session->clear_ns = 0;
	sim_say(sim, name_of(self), "%s has connected, link %" G_GUINT64_FORMAT,
		host_name(event->whom), event->tag);
	host_send_welcome(sim, event->whom, event->tag, self->term, &session->clear_ns);
	dn_fleet_core_connected(self->core, host_name(event->whom), address, now_of(sim, self),
				acts);
	carry_out(sim, self, acts);
}

void supervisor_drop(Sim *sim, unsigned who, unsigned host)
{
	SimSupervisor *self = sim->supervisor[who];
	Session *session = &self->sessions[host];
	g_autoptr(DnActs) acts = dn_acts_new();

	if (session->link == 0)
		return;
	session->link = 0;
	g_clear_pointer(&session->session, g_free);
	give_up(sim, self, host, false);
	sim_say(sim, name_of(self), "%s has disconnected", host_name(host));
	dn_fleet_core_disconnected(self->core, host_name(host), now_of(sim, self), acts);
	carry_out(sim, self, acts);
}

void supervisor_link_lost(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];

	if (self->up && self->sessions[event->whom].link == event->tag)
		supervisor_drop(sim, event->who, event->whom);
}

static void take_answer(Sim *sim, SimSupervisor *self, unsigned host, const DnAnswerTo *answer)
{
	GArray *asked = self->sessions[host].asked;

	for (guint i = 0; i < asked->len; i++) {
		const Asked *one = &g_array_index(asked, Asked, i);
		uint64_t tag = one->tag;

		if (one->sequence != answer->sequence)
			continue;
		g_array_remove_index(asked, i);
		supervisor_answered(sim, self->number, host, tag, answer);
		return;
	}
}

void supervisor_hear(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];
	const Packet *packet = event->packet;

	if (!self->up || self->sessions[event->whom].link != event->tag)
		return;
	if (packet->answer != NULL) {
		take_answer(sim, self, event->whom, packet->answer);
		return;
	}
	g_autoptr(DnActs) acts = dn_acts_new();
	dn_fleet_core_fact(self->core, host_name(event->whom), packet->fact, now_of(sim, self),
			   acts);
	carry_out(sim, self, acts);
}

/* ---- batches: store first, then speak ---- */

static void begin_writing(Sim *sim, SimSupervisor *self);

static void speak(Sim *sim, SimSupervisor *self, Batch *batch)
{
	for (guint i = 0; i < batch->dispatches->len; i++)
		send(sim, self, g_ptr_array_index(batch->dispatches, i));
	for (guint i = 0; i < batch->tickets->len; i++)
		people_answered(sim, g_array_index(batch->tickets, uint64_t, i), 0);
}

static void on_told(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];

	if (!self->up || self->life != event->life)
		return;
	g_autoptr(Batch) batch = g_steal_pointer(&self->writing);
	speak(sim, self, batch);
	begin_writing(sim, self);
}

/* The write is in the store, but its writer does not know yet. */
static void on_written(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];

	if (!self->up || self->life != event->life)
		return;
	if (!store_write(sim->store, self->term, self->writing)) {
		supervisor_crash(sim, event->who, "its term is over");
		return;
	}
	truth_saw_write(sim, self->life, self->term);
	sim_later(sim, sim_below(sim, 2 * SIM_MS),
		  (Event){.call = on_told, .who = self->number, .life = self->life});
}

static void begin_writing(Sim *sim, SimSupervisor *self)
{
	uint64_t after_ns = SIM_MS + sim_below(sim, sim_mishap(sim, 50) ? SIM_S : 8 * SIM_MS);

	if (self->writing != NULL || batch_is_empty(self->filling))
		return;
	self->writing = self->filling;
	self->filling = batch_new();
	sim_later(sim, after_ns,
		  (Event){.call = on_written, .who = self->number, .life = self->life});
}

static bool must_wait(const SimSupervisor *self, const DnDispatch *dispatch)
{
	return dispatch->after_store || batch_names_host(self->writing, dispatch->host) ||
	       batch_names_host(self->filling, dispatch->host);
}

static void carry_out(Sim *sim, SimSupervisor *self, DnActs *acts)
{
	for (guint i = 0; i < acts->records->len; i++)
		batch_add(self->filling, self->core, g_ptr_array_index(acts->records, i));
	while (acts->dispatches->len > 0) {
		DnDispatch *dispatch = g_ptr_array_steal_index(acts->dispatches, 0);

		if (must_wait(self, dispatch)) {
			g_ptr_array_add(self->filling->dispatches, dispatch);
			continue;
		}
		send(sim, self, dispatch);
		dn_dispatch_free(dispatch);
	}
	for (guint i = 0; i < acts->events->len; i++) {
		const DnEvent *event = g_ptr_array_index(acts->events, i);

		sim_say(sim, name_of(self), "event %s: %s", event->kind, event->text);
	}
	begin_writing(sim, self);
}

/* ---- processes ---- */

static void on_tick(Sim *sim, const Event *event)
{
	SimSupervisor *self = sim->supervisor[event->who];
	g_autoptr(DnActs) acts = dn_acts_new();

	if (!self->up || self->life != event->life)
		return;
	for (unsigned i = 0; i < sim->hosts; i++)
		give_up(sim, self, i, true);
	dn_fleet_core_tick(self->core, now_of(sim, self), acts);
	carry_out(sim, self, acts);
	sim_later(sim, SIM_TICK_MS * SIM_MS,
		  (Event){.call = on_tick, .who = self->number, .life = self->life});
}

void supervisor_start(Sim *sim, unsigned who)
{
	SimSupervisor *self = sim->supervisor[who];
	g_autoptr(GError) error = NULL;

	if (self->up)
		return;
	self->up = true;
	self->life = ++sim->ids;
	self->term = store_campaign(sim->store);
	self->core = store_restore(sim->store, sim->hosts, &error);
	g_assert_no_error(error);
	self->filling = batch_new();
	sim_say(sim, name_of(self), "starts with term %" G_GUINT64_FORMAT, self->term);
	sim_later(sim, SIM_MS, (Event){.call = on_tick, .who = self->number, .life = self->life});
}

void supervisor_crash(Sim *sim, unsigned who, const char *why)
{
	SimSupervisor *self = sim->supervisor[who];

	if (!self->up)
		return;
	self->up = false;
	sim_say(sim, name_of(self), "ends: %s", why);
	clear(self);
	host_supervisor_gone(sim, who);
}

DnFleetCore *supervisor_core(const Sim *sim, unsigned who)
{
	return sim->supervisor[who]->core;
}

void supervisor_carry_out(Sim *sim, unsigned who, DnActs *acts, uint64_t tag, uint64_t ticket)
{
	SimSupervisor *self = sim->supervisor[who];

	if (tag != 0)
		g_hash_table_insert(self->tickets, g_memdup2(&tag, sizeof(tag)),
				    g_memdup2(&ticket, sizeof(ticket)));
	else
		g_array_append_val(self->filling->tickets, ticket);
	carry_out(sim, self, acts);
}

DnNow supervisor_now(const Sim *sim, unsigned who)
{
	return now_of(sim, sim->supervisor[who]);
}
