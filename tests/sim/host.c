/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent.h"

#include <stdlib.h>

#include "supervisor.h"

enum { HEARTBEAT_MS = 3000, RECONNECT_MS = 500, RESTART_MS = 100, BOOT_MS = 4000 };

const char *host_name(unsigned number)
{
	static const char *const names[SIM_HOSTS] = {"h0", "h1", "h2", "h3"};

	return names[number];
}

unsigned host_number(const char *name)
{
	return (unsigned)(name[1] - '0');
}

uint64_t host_monotonic(const Sim *sim, const SimHost *self)
{
	return sim->now_ns - self->boot_ns + SIM_S;
}

uint64_t host_realtime(const Sim *sim, const SimHost *self)
{
	return SIM_REALTIME + sim->now_ns + (uint64_t)self->skew_ns;
}

SimHost *host_new(unsigned number)
{
	SimHost *self = g_new0(SimHost, 1);

	self->number = number;
	self->boot_ns = 990 * SIM_S;
	self->remote = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					     (GDestroyNotify)g_ptr_array_unref);
	disk_init(self);
	return self;
}

void host_free(SimHost *self)
{
	memory_clear(self);
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		kernel_clear(&self->kernel[i]);
	disk_clear(self);
	g_hash_table_unref(self->remote);
	g_free(self);
}

bool host_is_up(const Sim *sim, unsigned host)
{
	return sim->host[host]->up && sim->host[host]->linked;
}

void host_jump(Sim *sim, unsigned host, int64_t by_ns)
{
	host_of(sim, host)->skew_ns += by_ns;
	sim_say(sim, host_name(host), "the clock jumps by %d s", (int)(by_ns / (int64_t)SIM_S));
}

void host_crash_at_write(Sim *sim, unsigned host, unsigned writes)
{
	host_of(sim, host)->crash_after = writes;
}

/* ---- links ---- */

static void connect_later(Sim *sim, SimHost *self, uint64_t after_ns);

bool host_link_is_open(const Sim *sim, unsigned host, uint64_t link)
{
	const SimHost *self = sim->host[host];

	return self->up && self->link == link && !self->broken;
}

static void hang_up(SimHost *self)
{
	self->link = 0;
	self->linked = self->broken = false;
}

static void on_notice(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (!self->up || self->link != event->tag)
		return;
	sim_say(sim, host_name(self->number), "notices that its link is gone");
	hang_up(self);
	connect_later(sim, self, RECONNECT_MS * SIM_MS);
}

/* Nothing passes any more; both ends find out by themselves. */
void host_break_link(Sim *sim, unsigned host)
{
	SimHost *self = host_of(sim, host);

	if (self->link == 0 || self->broken)
		return;
	self->broken = true;
	sim_say(sim, "net", "the link of %s breaks", host_name(host));
	sim_later(sim, sim_below(sim, 3 * SIM_S),
		  (Event){.call = on_notice, .who = host, .tag = self->link});
	sim_later(sim, sim_below(sim, 6 * SIM_S),
		  (Event){.call = supervisor_link_lost,
			  .who = self->peer,
			  .whom = host,
			  .tag = self->link});
}

void host_supervisor_gone(Sim *sim, unsigned who)
{
	for (unsigned i = 0; i < sim->hosts; i++)
		if (sim->host[i]->link != 0 && sim->host[i]->peer == who)
			host_break_link(sim, i);
}

void host_partition(Sim *sim, unsigned host, uint64_t for_ns)
{
	host_of(sim, host)->partitioned_ns = sim->now_ns + for_ns;
	sim_say(sim, "net", "%s is cut off for %u ms", host_name(host),
		(unsigned)(for_ns / SIM_MS));
	host_break_link(sim, host);
}

/* Where the name of the supervisor leads: now and then to the wrong one. */
static unsigned choose_peer(Sim *sim)
{
	unsigned leader = supervisor_leader(sim);

	if (leader == SIM_SUPERVISORS || sim_mishap(sim, 200))
		return (unsigned)sim_below(sim, SIM_SUPERVISORS);
	return leader;
}

static void on_connect(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	unsigned peer = choose_peer(sim);

	if (!self->up || self->life != event->life || self->link != 0)
		return;
	if (!supervisor_is_up(sim, peer) || sim->now_ns < self->partitioned_ns) {
		connect_later(sim, self, RECONNECT_MS * SIM_MS);
		return;
	}
	self->link = ++sim->links;
	self->peer = peer;
	self->broken = self->linked = false;
	self->clear_ns = 0;
	g_autofree char *session = g_strdup_printf("%032" G_GINT64_MODIFIER "x", self->link);
	dn_envelope_begin(&self->envelope, session);
	sim_later(sim, SIM_MS,
		  (Event){.call = supervisor_hello,
			  .who = peer,
			  .whom = self->number,
			  .tag = self->link});
	if (sim_mishap(sim, 50))
		host_break_link(sim, self->number);
}

static void connect_later(Sim *sim, SimHost *self, uint64_t after_ns)
{
	sim_later(sim, after_ns + sim_below(sim, 500 * SIM_MS),
		  (Event){.call = on_connect, .who = self->number, .life = self->life});
}

/* When a packet arrives: after those before it, unless this network orders anew. */
static uint64_t arrival(Sim *sim, uint64_t *clear_ns)
{
	uint64_t delay_ns = SIM_MS / 5 + sim_below(sim, sim_mishap(sim, 50) ? SIM_S : 3 * SIM_MS);
	uint64_t at_ns = sim->now_ns + delay_ns;

	if (sim->orderly || !sim_mishap(sim, 30))
		at_ns = MAX(at_ns, *clear_ns);
	*clear_ns = MAX(*clear_ns, at_ns);
	return at_ns - sim->now_ns;
}

static void deliver_order(Sim *sim, Packet *packet, unsigned host, uint64_t link, uint64_t after_ns)
{
	sim_later(sim, after_ns,
		  (Event){.call = host_take_order,
			  .who = host,
			  .tag = link,
			  .packet = packet_ref(packet)});
}

void host_send_order(Sim *sim, Packet *packet, unsigned host, uint64_t link, uint64_t *clear_ns)
{
	uint64_t after_ns = arrival(sim, clear_ns);

	if (sim_mishap(sim, 3))
		host_break_link(sim, host);
	deliver_order(sim, packet, host, link, after_ns);
	if (!sim->orderly && sim_mishap(sim, 20))
		deliver_order(sim, packet, host, link, after_ns + sim_below(sim, SIM_S));
	packet_unref(packet);
}

void host_replay(Sim *sim, unsigned host, Packet *packet)
{
	const SimHost *self = host_of(sim, host);

	if (self->link == 0 || self->broken)
		return;
	sim_say(sim, "net", "somebody replays order %s to %s",
		dn_order_kind_name(packet->order->kind), host_name(host));
	deliver_order(sim, packet, host, self->link, SIM_MS);
}

static void on_welcome(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	g_autoptr(GError) error = NULL;
	uint64_t term = event->life;

	if (!host_link_is_open(sim, event->who, event->tag))
		return;
	if (is_planted(PLANT_TERM) && term < self->envelope.term)
		self->envelope.term = term;
	if (!dn_envelope_welcome(&self->envelope, SIM_CLUSTER, self->envelope.session, term,
				 &error)) {
		sim_say(sim, host_name(self->number), "refuses the welcome: %s", error->message);
		host_break_link(sim, self->number);
		return;
	}
	if (term > self->envelope.term && !disk_save_term(sim, self, term))
		return;
	dn_envelope_raise(&self->envelope, term);
	self->disk.network = true;
	truth_saw_term(sim, self->number, term);
	self->linked = true;
	sim_say(sim, host_name(self->number), "is linked to S%u, term %" G_GUINT64_FORMAT,
		self->peer, term);
	host_report(sim, self);
	host_settle(sim, self);
}

void host_send_welcome(Sim *sim, unsigned host, uint64_t link, uint64_t term, uint64_t *clear_ns)
{
	sim_later(sim, arrival(sim, clear_ns),
		  (Event){.call = on_welcome, .who = host, .tag = link, .life = term});
}

/* ---- facts ---- */

void host_say(Sim *sim, SimHost *self, DnFact *fact)
{
	if (!self->up || !self->linked || self->broken) {
		dn_fact_free(fact);
		return;
	}
	Packet *packet = packet_new();
	packet->fact = fact;
	sim_later(sim, arrival(sim, &self->clear_ns),
		  (Event){.call = supervisor_hear,
			  .who = self->peer,
			  .whom = self->number,
			  .tag = self->link,
			  .packet = packet});
}

DnNodeRecord *node_record(const SimHost *self, const Node *node)
{
	DnNodeRecord *record = dn_node_record_new();

	record->id = g_strdup(node->id);
	record->service = g_strdup(node->manifest->service);
	record->host = g_strdup(host_name(self->number));
	record->address = node_address(self, node->slot);
	record->state = node->state;
	record->role = node->role;
	record->healthy = node->healthy;
	record->epoch = node->manifest->epoch;
	record->digest = g_strdup(node->manifest->digest);
	record->incident = g_strdup(node->incident);
	return record;
}

void host_report(Sim *sim, SimHost *self)
{
	DnFact *fact = dn_fact_new(DN_FACT_REPORT);
	DnHostReport *report = fact->report = dn_host_report_new();
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	report->host = g_strdup(host_name(self->number));
	report->slots = SIM_SLOTS;
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL) {
			report->slots_used++;
			g_ptr_array_add(report->nodes, node_record(self, self->slots[i]));
		}
	g_hash_table_iter_init(&iter, self->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (dn_custody_may_report(value))
			g_ptr_array_add(report->incidents, dn_incident_copy(value));
	g_hash_table_iter_init(&iter, self->epochs);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const DnEpoch *epoch = value;

		g_hash_table_insert(report->epochs, g_strdup(name),
				    g_memdup2(&epoch->epoch, sizeof(epoch->epoch)));
	}
	host_say(sim, self, fact);
}

static void on_heartbeat(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (!self->up || self->life != event->life)
		return;
	host_say(sim, self, dn_fact_new(DN_FACT_HEARTBEAT));
	sim_later(sim, HEARTBEAT_MS * SIM_MS,
		  (Event){.call = on_heartbeat, .who = self->number, .life = self->life});
}

/* ---- the agent's life ---- */

void host_start(Sim *sim, unsigned host)
{
	SimHost *self = host_of(sim, host);

	if (self->up)
		return;
	memory_clear(self);
	self->up = true;
	self->life = ++sim->ids;
	memory_load(self);
	sim_say(sim, host_name(host), "the agent starts");
	host_adopt(sim, self);
	if (!self->up)
		return;
	if (!is_planted(PLANT_HELD))
		incidents_release(sim, self);
	connect_later(sim, self, 0);
	sim_later(sim, HEARTBEAT_MS * SIM_MS,
		  (Event){.call = on_heartbeat, .who = host, .life = self->life});
	host_settle(sim, self);
}

static void on_start(Sim *sim, const Event *event)
{
	host_start(sim, event->who);
}

static void end(Sim *sim, SimHost *self, uint64_t again_ns)
{
	self->up = false;
	self->crash_after = 0;
	disk_lose(sim, self);
	if (self->link != 0 && !self->broken)
		sim_later(sim, sim_below(sim, SIM_S),
			  (Event){.call = supervisor_link_lost,
				  .who = self->peer,
				  .whom = self->number,
				  .tag = self->link});
	hang_up(self);
	sim_later(sim, again_ns, (Event){.call = on_start, .who = self->number});
}

void host_crash(Sim *sim, unsigned host, const char *why)
{
	SimHost *self = host_of(sim, host);

	if (!self->up)
		return;
	sim_say(sim, host_name(host), "the agent is gone: %s", why);
	end(sim, self, RESTART_MS * SIM_MS + sim_below(sim, sim_mishap(sim, 200) ? 5 * SIM_S : 1));
}

void host_reboot(Sim *sim, unsigned host)
{
	SimHost *self = host_of(sim, host);

	if (!self->up)
		return;
	sim_say(sim, host_name(host), "loses power");
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		kernel_clear(&self->kernel[i]);
	g_hash_table_remove_all(self->remote);
	end(sim, self, BOOT_MS * SIM_MS);
	disk_carry_budgets_over(self);
	/* From now on the monotonic clock counts from 0; nobody looks at it before it has booted.
	 */
	self->boot_ns = sim->now_ns + SIM_S;
}
