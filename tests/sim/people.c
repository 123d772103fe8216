/* SPDX-License-Identifier: Apache-2.0 */

/*
 * People: they declare services, roll and remove them, drill, quarantine by hand, let quarantined
 * nodes go and cordon hosts; some forge. What they were told is done is written down.
 */

#include "host.h"
#include "supervisor.h"
#include "truth.h"

typedef enum { ASK_APPLY = 1, ASK_CORDON, ASK_OTHER } Ask;

/* Seeds below it draw what they did before there were cordons: kept ones still find their bugs. */
enum { FIRST_CORDONS = 1000 };

typedef struct {
	Ask ask;
	unsigned service; /* or the host to cordon */
	uint64_t epoch;   /* or the number of the request for that host */
} Ticket;

/* What was asked of a host last. */
typedef struct {
	uint64_t requests;
	bool cordon;
	bool answered;
	uint32_t had[SIM_SERVICES]; /* nodes that were to run there when it was asked */
} Cordon;

struct People {
	DnManifest *last[SIM_SERVICES]; /* borrowed from signed_manifests; NULL: never declared */
	GArray *tickets;                /* of Ticket: ticket i is row i - 1 */
	Cordon cordons[SIM_HOSTS];
	uint64_t chance; /* for what is drawn apart from everything else */
};

static const char *const service_names[SIM_SERVICES] = {"web", "db", "mail"};

void people_free(People *self)
{
	if (self == NULL)
		return;
	g_array_unref(self->tickets);
	g_free(self);
}

const DnManifest *people_manifest(const Sim *sim, unsigned service)
{
	return sim->people->last[service];
}

static uint64_t open_ticket(Sim *sim, Ask ask, unsigned service, uint64_t epoch)
{
	Ticket ticket = {.ask = ask, .service = service, .epoch = epoch};

	g_array_append_val(sim->people->tickets, ticket);
	return sim->people->tickets->len;
}

void people_answered(Sim *sim, uint64_t number, int code)
{
	const Ticket *ticket = &g_array_index(sim->people->tickets, Ticket, number - 1);

	if (code == 0 && ticket->ask == ASK_APPLY) {
		sim_say(sim, "ann", "is told that epoch %" G_GUINT64_FORMAT " of %s is taken",
			ticket->epoch, service_names[ticket->service]);
		truth_acknowledge_epoch(sim, service_names[ticket->service], ticket->epoch);
	}
	Cordon *cordon = &sim->people->cordons[ticket->service];
	if (code != 0 || ticket->ask != ASK_CORDON || ticket->epoch != cordon->requests)
		return;
	cordon->answered = true;
	sim_say(sim, "ann", "is told that %s is %s", host_name(ticket->service),
		cordon->cordon ? "cordoned" : "open");
	truth_acknowledge_cordon(sim, ticket->service, cordon->cordon, cordon->had);
}

/* ---- signing ---- */

static DnManifest *sign(Sim *sim, unsigned service, uint64_t epoch, bool removed)
{
	DnManifest *manifest = dn_manifest_new();
	DnListen listen = {.port = 8080, .expose = 80};

	manifest->service = g_strdup(service_names[service]);
	manifest->epoch = epoch;
	manifest->removed = removed;
	manifest->digest =
		g_strdup_printf("%056x%02x%06x", 0, service, (unsigned)(++sim->ids & 0xffffff));
	g_array_append_val(manifest->listen, listen);
	manifest->replicas = 1 + (uint32_t)sim_below(sim, 4);
	manifest->standby = (uint32_t)sim_below(sim, 2);
	manifest->standby_started = sim_chance(sim, 500);
	/* Every other epoch may let nodes stay. */
	manifest->restart = epoch / 2;
	manifest->run.start_deadline_ms = 2000;
	manifest->health.replace_after_ms = 3000;
	manifest->respawn_count = (uint32_t)sim_below(sim, 6);
	/* The same for every epoch: what is spent is forgotten by the window it was spent in. */
	manifest->respawn_within_ms = 10000 + 20000 * service;
	manifest->roll_surge = 1 + (uint32_t)sim_below(sim, 2);
	manifest->roll_drain_ms = 1000;
	manifest->roll_deadline_ms = 8000;
	g_hash_table_insert(sim->signed_manifests, manifest->digest, manifest);
	return manifest;
}

static void on_declare(Sim *sim, const Event *event)
{
	unsigned who = (unsigned)sim_below(sim, SIM_SUPERVISORS);
	const DnManifest *last = sim->people->last[event->whom];
	uint64_t known = store_epoch(sim, service_names[event->whom]);
	bool removed = known > 0 && last != NULL && !last->removed && sim_chance(sim, 250);

	if (!supervisor_is_up(sim, who))
		return;
	DnManifest *manifest = sign(sim, event->whom, known + 1, removed);
	sim->people->last[event->whom] = manifest;
	sim_say(sim, "ann",
		"applies %s epoch %" G_GUINT64_FORMAT ": %s, %u nodes, standby %u, "
		"respawn %u in %u ms",
		manifest->service, manifest->epoch, removed ? "removed" : "running",
		manifest->replicas, manifest->standby, manifest->respawn_count,
		manifest->respawn_within_ms);
	supervisor_apply(sim, who, manifest,
			 open_ticket(sim, ASK_APPLY, event->whom, manifest->epoch));
}

bool people_is_signed_destroy(const DnOrder *order, const char *host, const char *incident)
{
	gsize size = 0;
	const char *text = g_bytes_get_data(order->statement, &size);
	g_autofree char *wanted = g_strdup_printf("destroy %s %s", host, incident);

	if (order->signatures->len != 1 || size != strlen(wanted) ||
	    memcmp(text, wanted, size) != 0)
		return false;
	const char *signature = g_bytes_get_data(g_ptr_array_index(order->signatures, 0), &size);
	return size == strlen("responder") && memcmp(signature, "responder", size) == 0;
}

static void on_destroy(Sim *sim, const Event *event)
{
	unsigned who = (unsigned)sim_below(sim, SIM_SUPERVISORS);
	bool forged = sim_chance(sim, 300);
	g_autofree char *host = NULL;

	if (!supervisor_is_up(sim, who))
		return;
	g_autofree char *id = supervisor_some_incident(sim, who, sim_draw(sim), &host);
	if (id == NULL)
		return;
	g_autofree char *statement = g_strdup_printf("destroy %s %s", host, id);
	if (!forged)
		truth_saw_signed_destroy(sim, id);
	sim_say(sim, forged ? "eve" : "rob", "asks to destroy incident %s", id);
	supervisor_destroy(sim, who, id, statement, forged ? "eve" : "responder",
			   open_ticket(sim, ASK_OTHER, 0, 0));
}

static void on_ask(Sim *sim, const Event *event)
{
	unsigned who = (unsigned)sim_below(sim, SIM_SUPERVISORS);
	uint64_t ticket = open_ticket(sim, ASK_OTHER, 0, 0);

	if (!supervisor_is_up(sim, who))
		return;
	if (sim_chance(sim, 500)) {
		const char *service = service_names[sim_below(sim, sim->services)];

		sim_say(sim, "ann", "drills %s", service);
		supervisor_drill(sim, who, service, ticket);
		return;
	}
	g_autofree char *node = supervisor_some_node(sim, who, sim_draw(sim));
	if (node == NULL)
		return;
	sim_say(sim, "ann", "quarantines %s", node);
	supervisor_quarantine(sim, who, node, ticket);
}

/* ---- cordons ---- */

static uint64_t below_apart(Sim *sim, uint64_t limit)
{
	uint64_t kept = sim->chance;

	sim->chance = sim->people->chance;
	uint64_t drawn = sim_below(sim, limit);
	sim->people->chance = sim->chance;
	sim->chance = kept;
	return drawn;
}

static void ask_cordon(Sim *sim, unsigned who, unsigned host, bool cordon)
{
	Cordon *asked = &sim->people->cordons[host];
	uint64_t ticket = open_ticket(sim, ASK_CORDON, host, ++asked->requests);

	asked->cordon = cordon;
	asked->answered = false;
	/* Until it is answered it may be so or not. */
	truth_forget_cordon(sim, host);
	sim_say(sim, "ann", "asks S%u to %s %s", who, cordon ? "cordon" : "open", host_name(host));
	if (!supervisor_cordon(sim, who, host, cordon, ticket))
		return;
	for (unsigned i = 0; i < sim->services; i++) {
		Wanted wanted;

		(void)supervisor_wants(sim, who, host, service_names[i], &wanted);
		asked->had[i] = wanted.running;
	}
}

static void on_cordon(Sim *sim, const Event *event)
{
	unsigned who = (unsigned)below_apart(sim, SIM_SUPERVISORS);

	if (supervisor_is_up(sim, who))
		ask_cordon(sim, who, event->whom, below_apart(sim, 3) > 0);
}

/* In the end every host is open, or what was declared might find no room. */
static void on_open_all(Sim *sim, const Event *event)
{
	unsigned leader = supervisor_leader(sim);
	bool open = true;

	for (unsigned i = 0; i < sim->hosts; i++) {
		const Cordon *cordon = &sim->people->cordons[i];

		if (cordon->requests == 0 || (cordon->answered && !cordon->cordon))
			continue;
		open = false;
		if (leader != SIM_SUPERVISORS)
			ask_cordon(sim, leader, i, false);
	}
	if (!open)
		sim_later(sim, SIM_S, (Event){.call = on_open_all});
}

static void begin_cordons(Sim *sim)
{
	if (sim->seed < FIRST_CORDONS || sim->seed % 2 == 0)
		return;
	sim->people->chance = ~sim->seed;
	for (uint64_t n = below_apart(sim, 8); n > 0; n--)
		sim_later(
			sim, below_apart(sim, SIM_FAULTS_S * SIM_S),
			(Event){.call = on_cordon, .whom = (unsigned)below_apart(sim, sim->hosts)});
	sim_later(sim, (SIM_FAULTS_S + 1) * SIM_S, (Event){.call = on_open_all});
}

static uint64_t some_time(Sim *sim)
{
	return sim_below(sim, SIM_FAULTS_S * SIM_S);
}

void people_begin(Sim *sim)
{
	sim->people = g_new0(People, 1);
	sim->people->tickets = g_array_new(FALSE, FALSE, sizeof(Ticket));
	for (unsigned i = 0; i < sim->services; i++) {
		sim_later(sim, sim_below(sim, 3 * SIM_S), (Event){.call = on_declare, .whom = i});
		for (uint64_t n = sim_below(sim, 4); n > 0; n--)
			sim_later(sim, some_time(sim), (Event){.call = on_declare, .whom = i});
	}
	for (uint64_t n = sim_below(sim, 6); n > 0; n--)
		sim_later(sim, some_time(sim), (Event){.call = on_ask});
	for (uint64_t n = sim_below(sim, 6); n > 0; n--)
		sim_later(sim, some_time(sim), (Event){.call = on_destroy});
	begin_cordons(sim);
}
