/* SPDX-License-Identifier: Apache-2.0 */
#include "main/journal.h"
#include "main/agent.h"

#include <dnode/version.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "seal/digest.h"

/* What this host has decided, as entries of its journal (docs/formats/journal.md). */

static void on_trouble(void *data, const GError *error)
{
	dn_report_event(data, "critical", "journal.stopped", NULL, NULL,
			"%s; this host goes on protecting, and refuses what it would have to "
			"promise",
			error->message);
}

static void add(Agent *agent, DnJournalEntry *entry)
{
	if (agent->journal != NULL)
		dn_journal_add(agent->journal, entry, NULL, NULL);
	else {
		agent->journal_missing++;
		dn_journal_entry_free(entry);
	}
}

/* A time that was journalled was seen: this host judges by none before it (DESIGN 3.7). */
static DnJournalEntry *new_entry(Agent *agent, const char *kind)
{
	uint64_t now_ns = dn_clock_realtime_ns();

	dn_floor_raise(agent, now_ns);
	return dn_journal_entry_new(kind, now_ns);
}

static bool open_journal(Agent *agent, GError **error)
{
	g_autofree char *dir = g_build_filename(agent->instance->state_dir, "journal", NULL);
	g_autofree char *identity =
		g_strdup_printf("%s/host/%s", agent->envelope.cluster, agent->instance->name);

	agent->journal =
		dn_failpoint("agent.journal.open.before", error)
			? dn_journal_open(&(DnJournalConfig){.dir = dir,
							     .identity = identity,
							     .key = agent->key,
							     .missing = agent->journal_missing,
							     .trouble = on_trouble,
							     .data = agent},
					  error)
			: NULL;
	if (agent->journal != NULL)
		agent->journal_missing = 0;
	return agent->journal != NULL;
}

static void try_again_later(Agent *agent)
{
	agent->journal_retry_ns =
		dn_clock_monotonic_ns() + dn_backoff_ns(++agent->journal_failures + 1);
}

/* Without a journal the host still protects: a broken one must not be a way to switch that off. */
void dn_agent_open_journal(Agent *agent)
{
	g_autoptr(GError) error = NULL;

	g_snprintf(agent->supervisor_journal.identity, sizeof(agent->supervisor_journal.identity),
		   "%s/supervisor", agent->envelope.cluster);
	memcpy(agent->supervisor_journal.key, agent->supervisor_key,
	       sizeof(agent->supervisor_journal.key));
	if (!open_journal(agent, &error)) {
		try_again_later(agent);
		on_trouble(agent, error);
		return;
	}
	DnJournalEntry *entry = new_entry(agent, "agent.started");
	dn_journal_entry_text(entry, "version", DN_VERSION);
	dn_journal_entry_text(entry, "boot_id", agent->boot_id);
	dn_journal_entry_number(entry, "term", agent->envelope.term);
	add(agent, entry);
}

void dn_agent_close_journal(Agent *agent)
{
	dn_journal_peer_settle(&agent->supervisor_journal, agent->journal, dn_clock_monotonic_ns());
	add(agent, new_entry(agent, "agent.stopped"));
	g_clear_pointer(&agent->journal, dn_journal_close);
}

/*
 * A disk that has failed once may have failed for a moment. What the kernel still holds of a batch
 * that was not synced is not trusted: the journal is read and verified as at a start.
 */
void dn_agent_tend_journal(Agent *agent)
{
	bool failed = agent->journal == NULL || dn_journal_has_failed(agent->journal);
	g_autoptr(GError) error = NULL;

	if (!failed) {
		agent->journal_failures = 0;
		return;
	}
	if (dn_clock_monotonic_ns() < agent->journal_retry_ns)
		return;
	if (agent->journal != NULL) {
		dn_journal_flush(agent->journal);
		agent->journal_missing += dn_journal_gap(agent->journal);
		g_clear_pointer(&agent->journal, dn_journal_close);
	}
	uint64_t missing = agent->journal_missing;
	try_again_later(agent);
	if (!open_journal(agent, &error)) {
		g_warning("%s", error->message);
		return;
	}
	dn_report_event(agent, "warning", "journal.resumed", NULL, NULL,
			"this host's journal is written again; %" G_GUINT64_FORMAT
			" entries are missing from it",
			missing);
}

void dn_agent_journal_event(Agent *agent, const DnEvent *event)
{
	DnJournalEntry *entry = new_entry(agent, event->kind);

	dn_journal_entry_text(entry, "severity", event->severity);
	dn_journal_entry_text(entry, "service", event->service);
	dn_journal_entry_text(entry, "node", event->node);
	dn_journal_entry_text(entry, "text", event->text);
	add(agent, entry);
}

void dn_agent_journal_manifest(Agent *agent, const DnManifest *manifest)
{
	DnJournalEntry *entry = new_entry(agent, "manifest.accepted");

	dn_journal_entry_text(entry, "service", manifest->service);
	dn_journal_entry_number(entry, "epoch", manifest->epoch);
	dn_journal_entry_text(entry, "digest", manifest->digest);
	dn_journal_entry_text(entry, "state", manifest->removed ? "removed" : "running");
	add(agent, entry);
}

/* On the way to what they become, nothing is decided. */
void dn_agent_journal_node(const Node *node)
{
	g_autofree char *kind = g_strconcat("node.", dn_node_state_name(node->state), NULL);

	if (node->state == DN_NODE_CREATING || node->state == DN_NODE_STARTING)
		return;
	DnJournalEntry *entry = new_entry(node->agent, kind);
	dn_journal_entry_text(entry, "service", node->manifest->service);
	dn_journal_entry_text(entry, "node", node->id);
	dn_journal_entry_number(entry, "epoch", node->manifest->epoch);
	dn_journal_entry_text(entry, "role", node->role == DN_ROLE_STANDBY ? "standby" : "active");
	dn_journal_entry_text(entry, "incident", node->incident);
	add(node->agent, entry);
}

void dn_agent_journal_incident(Agent *agent, const DnIncident *incident, GBytes *record)
{
	bool known = incident->stages_us[DN_STAGE_DURABLE] >= 0;
	DnJournalEntry *entry = new_entry(agent, known ? "incident.recorded" : "incident.opened");
	g_autofree char *digest = dn_digest_bytes(record);

	dn_journal_entry_text(entry, "incident", incident->id);
	dn_journal_entry_text(entry, "service", incident->service);
	dn_journal_entry_text(entry, "node", incident->node);
	dn_journal_entry_text(entry, "class", incident->class);
	dn_journal_entry_text(entry, "digest", digest);
	add(agent, entry);
}

void dn_agent_journal_budget(Agent *agent, const char *kind, const Service *service,
			     const char *about)
{
	DnJournalEntry *entry = new_entry(agent, kind);

	dn_journal_entry_text(entry, "service", service->name);
	dn_journal_entry_text(entry, "about", about);
	dn_journal_entry_number(entry, "spent", service->budget.spent->len);
	add(agent, entry);
}

/* ---- the other side ---- */

void dn_agent_journal_head(Agent *agent, const DnJournalHead *head)
{
	if (dn_journal_peer_seen(&agent->supervisor_journal, agent->journal, head,
				 dn_clock_monotonic_ns()) == DN_JOURNAL_PEER_SHORTENED)
		dn_report_event(agent, "critical", "journal.shortened", NULL, NULL,
				"the supervisor's journal has lost its end: it is at entry "
				"%" G_GUINT64_FORMAT
				" and was further; compare with 'dnode journal verify'",
				head->seq);
}

void dn_agent_journal_link_closed(Agent *agent)
{
	dn_journal_peer_settle(&agent->supervisor_journal, agent->journal, dn_clock_monotonic_ns());
}

/* ---- orders ---- */

/*
 * Reading a log, telling how far something is and looking at what is there change nothing. Other
 * hosts' nodes come and go as often as those say: that must not push out what was decided.
 */
bool dn_agent_decides(Agent *agent, const DnOrder *order)
{
	const Service *service =
		order->assign != NULL ? dn_service_find(agent, order->assign->service) : NULL;

	if (service != NULL && service->assign != NULL &&
	    dn_assign_only_balances(service->assign, order->assign))
		return false;
	return order->kind != DN_ORDER_LOGS && order->kind != DN_ORDER_STAMP &&
	       order->kind != DN_ORDER_AUDIT && order->kind != DN_ORDER_DROPPED;
}

/* What protects is done in any case, and answered for. */
static bool needs_journal(const DnOrder *order)
{
	return order->kind != DN_ORDER_QUARANTINE && order->kind != DN_ORDER_ROUTES &&
	       order->kind != DN_ORDER_SWEEP;
}

bool dn_agent_may_promise(Agent *agent, const DnOrder *order, GError **error)
{
	g_autoptr(GError) trouble = NULL;

	if (!needs_journal(order))
		return true;
	if (agent->journal == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "this host has no journal; look at its event journal.stopped");
		return false;
	}
	trouble = dn_journal_trouble(agent->journal);
	if (trouble == NULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&trouble));
	return false;
}

typedef struct {
	Agent *agent;
	DnAnswerTo *answer;
	char session[sizeof(((Agent *)NULL)->session)];
	bool needs_journal;
} Promise;

static void refuse(DnAnswerTo *answer, const GError *error)
{
	answer->done = false;
	answer->code = error->domain == DN_ERROR ? error->code : 0;
	g_free(answer->error);
	answer->error = g_strdup(error->message);
}

static void on_journalled(void *data, const GError *error)
{
	Promise *promise = data;
	Agent *agent = promise->agent;

	if (error != NULL && promise->needs_journal && promise->answer->done)
		refuse(promise->answer, error);
	/* The numbers of another link mean other orders. */
	if (agent->uplink != NULL && g_str_equal(promise->session, agent->session))
		dn_uplink_send_answer(agent->uplink, promise->answer);
	dn_answer_to_free(promise->answer);
	g_free(promise);
}

static DnJournalEntry *describe(Agent *agent, const DnOrder *order, const DnAnswerTo *answer)
{
	DnJournalEntry *entry = new_entry(agent, answer->done ? "order.accepted" : "order.refused");

	dn_journal_entry_text(entry, "order", dn_order_kind_name(order->kind));
	dn_journal_entry_number(entry, "term", order->term);
	dn_journal_entry_text(entry, "session", order->session);
	dn_journal_entry_number(entry, "sequence", order->sequence);
	dn_journal_entry_text(entry, "service",
			      order->assign != NULL ? order->assign->service : order->service);
	dn_journal_entry_text(entry, "node", order->node);
	dn_journal_entry_text(entry, "reason", order->reason);
	dn_journal_entry_text(entry, "class", order->class);
	dn_journal_entry_text(entry, "incident", order->incident);
	if (order->manifest != NULL) {
		g_autofree char *digest = dn_digest_bytes(order->manifest);

		dn_journal_entry_text(entry, "digest", digest);
	}
	if (order->statement != NULL) {
		g_autofree char *digest = dn_digest_bytes(order->statement);

		dn_journal_entry_text(entry, "statement", digest);
	}
	dn_journal_entry_text(entry, "error", answer->error);
	return entry;
}

void dn_agent_answer(Agent *agent, const DnOrder *order, bool decides, DnAnswerTo *taken)
{
	g_autoptr(DnAnswerTo) answer = taken;

	if (agent->journal == NULL || !decides) {
		dn_uplink_send_answer(agent->uplink, answer);
		return;
	}
	Promise *promise = g_new0(Promise, 1);
	promise->agent = agent;
	promise->needs_journal = needs_journal(order);
	g_strlcpy(promise->session, agent->session, sizeof(promise->session));
	DnJournalEntry *entry = describe(agent, order, answer);
	promise->answer = g_steal_pointer(&answer);
	dn_journal_add(agent->journal, entry, on_journalled, promise);
}
