/* SPDX-License-Identifier: Apache-2.0 */
#include "truth.h"

#include <string.h>

#include "host.h"
#include "supervisor.h"

static const struct {
	const char *name, *sentence;
} invariants[] = {
	[TRUTH_EPOCH] =
		{"epochs-only-grow",
		 "what a host has accepted as the highest epoch of a service survives every "
		 "crash, and nodes of an older one never grow in number, counted with those of "
		 "earlier ones that are made alike"},
	[TRUTH_QUARANTINE] =
		{"quarantine-holds",
		 "a marked node never gets its network back, and its parts are removed "
		 "by a signed destruction only"},
	[TRUTH_ACKNOWLEDGED] =
		{"acknowledged-is-kept",
		 "an applied epoch, a reported incident and a quarantine by hand are "
		 "there after any crash once somebody was told that they are"},
	[TRUTH_ONE_INCIDENT] = {"one-incident-an-event",
				"no disk and no store holds two incidents of one cut node"},
	[TRUTH_CHARGED_ONCE] = {"charged-once", "no replacement is charged to a budget twice"},
	[TRUTH_BALANCER] = {"cut-is-out-of-balance",
			    "the balancer of a host that has cut a node does not name it"},
	[TRUTH_CONVERGES] =
		{"comes-to-rest",
		 "when nothing goes wrong any more, every host has what people declared, "
		 "a removed service has no nodes but quarantined ones, and every "
		 "balancer names just the nodes that serve"},
	[TRUTH_BUDGET] =
		{"respawn-budget",
		 "a host replaces no more cut nodes than its grant allows, whatever crashes, "
		 "and every cut active node is accounted for"},
	[TRUTH_DRILLS] = {"drill-budget",
			  "a host carries out no more drills than the manifest allows"},
	[TRUTH_ENVELOPE] = {"no-old-orders",
			    "no order is obeyed twice, out of turn, or of a term below the highest "
			    "that its host has believed"},
	[TRUTH_LEADER] = {"one-leader-a-term", "no two supervisors write in one term"},
	[TRUTH_ADDRESSEE] = {"only-for-the-addressee",
			     "no host obeys an order that was meant for another"},
	[TRUTH_SIGNED] = {"destruction-is-signed",
			  "nothing is destroyed that no responder has signed for"},
	[TRUTH_CORDON] = {"cordon-holds",
			  "a host that is cordoned, or open, stays so through every crash, and "
			  "while it is cordoned no node is added to what is to run there"},
	[TRUTH_BOUNDED] = {"queues-are-bounded", "what waits anywhere stays below a fixed number"},
};
_Static_assert(G_N_ELEMENTS(invariants) == TRUTH_N, "every invariant needs a row");

enum { BACKLOG_LIMIT = 2000 };

/* What is known to be so of a host. */
typedef struct {
	bool is_known, is_cordoned;
	uint32_t had[SIM_SERVICES];
} KnownCordon;

typedef struct {
	char *node; /* or NULL: a drill */
	uint64_t at_ns;
} Spent;

struct Truth {
	GHashTable *epochs;   /* char * "HOST SERVICE" → uint64_t * */
	GHashTable *shares;   /* char * "HOST SERVICE" → GHashTable digest → count */
	GHashTable *replaced; /* char * "HOST SERVICE" → GArray of Spent */
	GHashTable *drills;   /* as replaced */
	GHashTable *charged;  /* set of char *: nodes that were replaced, drills apart */
	GHashTable *paid;     /* char * "HOST SERVICE" → count of charged */
	GHashTable *marked, *destroyed, *signed_for; /* sets of char * */
	GHashTable *incidents, *quarantines;         /* sets of char *: acknowledged */
	GHashTable *applied;                         /* char * service → epoch */
	GHashTable *writers;                         /* term → life */
	uint64_t terms[SIM_HOSTS];
	KnownCordon cordons[SIM_HOSTS];
};

const char *truth_name(TruthKind kind)
{
	return invariants[kind].name;
}

const char *truth_sentence(TruthKind kind)
{
	return invariants[kind].sentence;
}

static GHashTable *by_name(GDestroyNotify value)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, value);
}

static void clear_spent(gpointer data)
{
	g_free(((Spent *)data)->node);
}

Truth *truth_new(void)
{
	Truth *self = g_new0(Truth, 1);

	self->epochs = by_name(g_free);
	self->shares = by_name((GDestroyNotify)g_hash_table_unref);
	self->replaced = by_name((GDestroyNotify)g_array_unref);
	self->drills = by_name((GDestroyNotify)g_array_unref);
	self->charged = by_name(NULL);
	self->paid = by_name(NULL);
	self->marked = by_name(NULL);
	self->destroyed = by_name(NULL);
	self->signed_for = by_name(NULL);
	self->incidents = by_name(NULL);
	self->quarantines = by_name(NULL);
	self->applied = by_name(g_free);
	self->writers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return self;
}

void truth_free(Truth *self)
{
	GHashTable *tables[] = {self->epochs,    self->shares,      self->replaced,
				self->drills,    self->charged,     self->paid,
				self->marked,    self->destroyed,   self->signed_for,
				self->incidents, self->quarantines, self->applied,
				self->writers};

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		g_hash_table_unref(tables[i]);
	g_free(self);
}

void truth_broken(Sim *sim, TruthKind kind, const char *format, ...)
{
	va_list args;

	if (sim->failure != NULL)
		return;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	sim->failure = g_strdup_printf("%s: %s", truth_name(kind), text);
	sim_say(sim, "!!!!", "%s", sim->failure);
}

static char *key_of(unsigned host, const char *service)
{
	return g_strdup_printf("%s %s", host_name(host), service);
}

static void put_number(GHashTable *table, const char *name, uint64_t number)
{
	g_hash_table_replace(table, g_strdup(name), g_memdup2(&number, sizeof(number)));
}

static uint64_t get_number(GHashTable *table, const char *name)
{
	const uint64_t *number = g_hash_table_lookup(table, name);

	return number == NULL ? 0 : *number;
}

/* ---- epochs and shares ---- */

uint64_t truth_epoch(const Sim *sim, unsigned host, const char *service)
{
	g_autofree char *key = key_of(host, service);

	return get_number(sim->truth->epochs, key);
}

void truth_saw_epoch(Sim *sim, unsigned host, const char *service, uint64_t epoch)
{
	g_autofree char *key = key_of(host, service);

	if (epoch < get_number(sim->truth->epochs, key))
		truth_broken(sim, TRUTH_EPOCH,
			     "%s accepts epoch %" G_GUINT64_FORMAT " of %s after a higher one",
			     host_name(host), epoch, service);
	else
		put_number(sim->truth->epochs, key, epoch);
}

void truth_saw_assign(Sim *sim, unsigned host, const DnAssign *assign)
{
	g_autofree char *key = key_of(host, assign->service);
	GHashTable *before = g_hash_table_lookup(sim->truth->shares, key);
	GHashTable *after = by_name(NULL);
	uint64_t highest = get_number(sim->truth->epochs, key);

	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		g_hash_table_insert(after, g_strdup(part->digest),
				    GUINT_TO_POINTER(part->running + part->standby));
	}
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);
		guint had = alike_nodes(sim, before, part), has = alike_nodes(sim, after, part);

		if (part->epoch < highest && part->running + part->standby > 0 && has > had)
			truth_broken(sim, TRUTH_EPOCH,
				     "%s takes %u nodes of %s epoch %" G_GUINT64_FORMAT
				     " after epoch %" G_GUINT64_FORMAT ", it had %u",
				     host_name(host), has, assign->service, part->epoch, highest,
				     had);
	}
	g_hash_table_replace(sim->truth->shares, g_strdup(key), after);
}

/* ---- orders and terms ---- */

void truth_saw_term(Sim *sim, unsigned host, uint64_t term)
{
	if (term < sim->truth->terms[host])
		truth_broken(sim, TRUTH_ENVELOPE,
			     "%s believes term %" G_GUINT64_FORMAT " after term %" G_GUINT64_FORMAT,
			     host_name(host), term, sim->truth->terms[host]);
	sim->truth->terms[host] = MAX(sim->truth->terms[host], term);
}

void truth_saw_obeyed(Sim *sim, unsigned host, Packet *packet)
{
	const DnOrder *order = packet->order;

	if (packet->addressee != host)
		truth_broken(sim, TRUTH_ADDRESSEE, "%s obeys an order for %s", host_name(host),
			     host_name(packet->addressee));
	if (packet->obeyed)
		truth_broken(sim, TRUTH_ENVELOPE, "%s obeys order %" G_GUINT64_FORMAT " twice",
			     host_name(host), order->sequence);
	if (order->term < sim->truth->terms[host])
		truth_broken(sim, TRUTH_ENVELOPE,
			     "%s obeys an order of term %" G_GUINT64_FORMAT
			     " after term %" G_GUINT64_FORMAT,
			     host_name(host), order->term, sim->truth->terms[host]);
	packet->obeyed = true;
}

void truth_saw_write(Sim *sim, uint64_t life, uint64_t term)
{
	const uint64_t *known = g_hash_table_lookup(sim->truth->writers, &term);

	if (known == NULL)
		g_hash_table_insert(sim->truth->writers, g_memdup2(&term, sizeof(term)),
				    g_memdup2(&life, sizeof(life)));
	else if (*known != life)
		truth_broken(sim, TRUTH_LEADER, "two supervisors write in term %" G_GUINT64_FORMAT,
			     term);
}

/* ---- quarantine ---- */

void truth_saw_mark(Sim *sim, const char *node)
{
	g_hash_table_add(sim->truth->marked, g_strdup(node));
}

bool truth_is_marked(const Sim *sim, const char *node)
{
	return g_hash_table_contains(sim->truth->marked, node);
}

void truth_saw_removed(Sim *sim, const char *node)
{
	if (truth_is_marked(sim, node) && !g_hash_table_contains(sim->truth->destroyed, node))
		truth_broken(sim, TRUTH_QUARANTINE,
			     "%s was marked and is removed though nobody destroyed it", node);
}

void truth_saw_signed_destroy(Sim *sim, const char *incident)
{
	g_hash_table_add(sim->truth->signed_for, g_strdup(incident));
}

void truth_saw_destroy(Sim *sim, const char *incident, const char *node)
{
	if (!g_hash_table_contains(sim->truth->signed_for, incident))
		truth_broken(sim, TRUTH_SIGNED, "incident %s is destroyed unsigned", incident);
	g_hash_table_add(sim->truth->destroyed, g_strdup(node));
}

/* ---- budgets ---- */

/* Note one and return how many there are in the window. */
static guint spend(GHashTable *table, const char *key, const char *node, const Spending *spending)
{
	GArray *spent = g_hash_table_lookup(table, key);
	Spent one = {.node = g_strdup(node), .at_ns = spending->charged_ns};

	if (spent == NULL) {
		spent = g_array_new(FALSE, FALSE, sizeof(Spent));
		g_array_set_clear_func(spent, clear_spent);
		g_hash_table_insert(table, g_strdup(key), spent);
	}
	g_array_append_val(spent, one);
	for (guint i = spent->len; i-- > 0;) {
		uint64_t at_ns = g_array_index(spent, Spent, i).at_ns;

		if (at_ns <= spending->now_ns && spending->now_ns - at_ns >= spending->within_ns)
			g_array_remove_index(spent, i);
	}
	return spent->len;
}

void truth_saw_replaced(Sim *sim, const char *node, const Spending *spending)
{
	g_autofree char *key = key_of(spending->host, spending->service);

	if (!g_hash_table_add(sim->truth->charged, g_strdup(node)))
		return;
	guint paid = GPOINTER_TO_UINT(g_hash_table_lookup(sim->truth->paid, key));
	g_hash_table_replace(sim->truth->paid, g_strdup(key), GUINT_TO_POINTER(paid + 1));
	guint count = spend(sim->truth->replaced, key, node, spending);
	if (count > spending->count)
		truth_broken(sim, TRUTH_BUDGET,
			     "%s replaces %s, the %uth of %s in its window, of %u granted",
			     host_name(spending->host), node, count, spending->service,
			     spending->count);
}

bool truth_was_replaced(const Sim *sim, const char *node)
{
	return g_hash_table_contains(sim->truth->charged, node);
}

void truth_saw_charges(Sim *sim, unsigned host, const char *service, guint charges)
{
	g_autofree char *key = key_of(host, service);
	guint paid = GPOINTER_TO_UINT(g_hash_table_lookup(sim->truth->paid, key));

	if (charges > paid)
		truth_broken(sim, TRUTH_CHARGED_ONCE,
			     "%s has charged %u replacements of %s, %u were made", host_name(host),
			     charges, service, paid);
}

void truth_saw_drill(Sim *sim, const Spending *spending)
{
	g_autofree char *key = key_of(spending->host, spending->service);
	guint count = spend(sim->truth->drills, key, NULL, spending);

	if (count > spending->count)
		truth_broken(sim, TRUTH_DRILLS, "%s drills %s for the %uth time, %u are allowed",
			     host_name(spending->host), spending->service, count, spending->count);
}

/* A signed removal ends the service's account with everything else. */
void truth_saw_forgotten(Sim *sim, unsigned host, const char *service)
{
	g_autofree char *key = key_of(host, service);

	g_hash_table_remove(sim->truth->replaced, key);
	g_hash_table_remove(sim->truth->drills, key);
	g_hash_table_remove(sim->truth->shares, key);
}

/* ---- what was said to be safe ---- */

void truth_acknowledge_epoch(Sim *sim, const char *service, uint64_t epoch)
{
	if (epoch > get_number(sim->truth->applied, service))
		put_number(sim->truth->applied, service, epoch);
}

void truth_acknowledge_incident(Sim *sim, const char *incident)
{
	g_hash_table_add(sim->truth->incidents, g_strdup(incident));
}

void truth_acknowledge_quarantine(Sim *sim, const char *node)
{
	g_hash_table_add(sim->truth->quarantines, g_strdup(node));
}

bool truth_is_acknowledged_quarantine(const Sim *sim, const char *node)
{
	return g_hash_table_contains(sim->truth->quarantines, node);
}

static void check_acknowledged(Sim *sim)
{
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	g_hash_table_iter_init(&iter, sim->truth->applied);
	while (g_hash_table_iter_next(&iter, &name, &value))
		if (store_epoch(sim, name) < *(const uint64_t *)value)
			truth_broken(sim, TRUTH_ACKNOWLEDGED,
				     "epoch %" G_GUINT64_FORMAT
				     " of %s was acknowledged and is not in the store",
				     *(const uint64_t *)value, (const char *)name);
	g_hash_table_iter_init(&iter, sim->truth->incidents);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!store_has_incident(sim, name))
			truth_broken(sim, TRUTH_ACKNOWLEDGED,
				     "incident %s was acknowledged and is not in the store",
				     (const char *)name);
		else if (!host_disk_has_incident(sim, name))
			truth_broken(sim, TRUTH_ACKNOWLEDGED,
				     "incident %s was acknowledged and is on no host's disk",
				     (const char *)name);
	g_hash_table_iter_init(&iter, sim->truth->quarantines);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!host_disk_has_incident_of(sim, name))
			truth_broken(sim, TRUTH_ACKNOWLEDGED,
				     "the quarantine of %s was acknowledged and is on no disk",
				     (const char *)name);
}

void truth_forget_cordon(Sim *sim, unsigned host)
{
	sim->truth->cordons[host].is_known = false;
}

void truth_acknowledge_cordon(Sim *sim, unsigned host, bool cordoned,
			      const uint32_t had[static SIM_SERVICES])
{
	KnownCordon *cordon = &sim->truth->cordons[host];

	cordon->is_known = true;
	cordon->is_cordoned = cordoned;
	memcpy(cordon->had, had, sizeof(cordon->had));
}

static void check_cordon(Sim *sim, unsigned leader, unsigned host)
{
	const KnownCordon *cordon = &sim->truth->cordons[host];

	if (!cordon->is_known)
		return;
	if (supervisor_has_cordoned(sim, leader, host) != cordon->is_cordoned)
		truth_broken(sim, TRUTH_CORDON, "S%u does not know that %s is %s", leader,
			     host_name(host), cordon->is_cordoned ? "cordoned" : "open");
	for (unsigned i = 0; i < sim->services && cordon->is_cordoned; i++) {
		const DnManifest *manifest = people_manifest(sim, i);
		Wanted wanted = {0};

		if (manifest != NULL &&
		    supervisor_wants(sim, leader, host, manifest->service, &wanted) &&
		    wanted.running > cordon->had[i])
			truth_broken(sim, TRUTH_CORDON,
				     "%s is cordoned, had %u nodes of %s, and is to have %u",
				     host_name(host), cordon->had[i], manifest->service,
				     wanted.running);
	}
}

static void check_cordons(Sim *sim)
{
	unsigned leader = supervisor_leader(sim);

	for (unsigned i = 0; i < sim->hosts && leader != SIM_SUPERVISORS; i++)
		check_cordon(sim, leader, i);
}

/* ---- after every step ---- */

void truth_check(Sim *sim)
{
	if (sim->queue->len > SIM_QUEUE_LIMIT)
		truth_broken(sim, TRUTH_BOUNDED, "%u events wait", sim->queue->len);
	for (unsigned i = 0; i < SIM_SUPERVISORS; i++)
		if (supervisor_is_up(sim, i) && supervisor_backlog(sim, i) > BACKLOG_LIMIT)
			truth_broken(sim, TRUTH_BOUNDED, "S%u waits for too many answers", i);
	for (unsigned i = 0; i < sim->hosts && sim->failure == NULL; i++)
		host_check(sim, i);
	check_acknowledged(sim);
	check_cordons(sim);
}

bool truth_is_at_rest(Sim *sim, char **why)
{
	unsigned leader = supervisor_leader(sim);

	if (leader == SIM_SUPERVISORS) {
		*why = g_strdup("nobody leads");
		return false;
	}
	for (unsigned i = 0; i < sim->hosts; i++)
		if (!host_is_at_rest(sim, i, leader, why))
			return false;
	return true;
}
