/* SPDX-License-Identifier: Apache-2.0 */

/* What hosts say through their sessions. */

#include "main/internal.h"

#include "base/failpoint.h"

static const char *host_of_key(const uint8_t *key, void *data)
{
	const DnSupervisor *self = data;

	return dn_fleet_core_host_of_key(self->core, key);
}

static const char *fenced(const char *host, void *data)
{
	const DnSupervisor *self = data;

	return dn_fleet_core_fenced(self->core, host);
}

static const char *host_cidr(const char *host, void *data)
{
	const DnSupervisor *self = data;

	return dn_fleet_core_host_cidr(self->core, host);
}

static void tell_enrolled(DnSupervisor *self, gpointer data, const GError *error)
{
	if (error != NULL) {
		dn_sessions_refused(data, error);
		return;
	}
	g_autoptr(GHashTable) epochs = dn_fleet_core_epochs(self->core);

	dn_failpoint_pass("supervisor.enrol.stored.after");
	dn_sessions_enrolled(data, epochs);
}

static void enrol(DnEnrolWait *wait, const DnEnrolment *enrolment, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	/* The secret is spent with the enrolment: not where that cannot be stored. */
	if (dn_supervisor_may_change(self, &error) &&
	    dn_fleet_core_enrol(self->core, enrolment, dn_supervisor_now(), acts, &error)) {
		dn_supervisor_carry_out(self, acts);
		dn_supervisor_after(self, tell_enrolled, wait);
		return;
	}
	dn_supervisor_carry_out(self, acts);
	dn_sessions_refused(wait, error);
}

static void connected(const char *host, const char *address, uint64_t term, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();

	if (term > self->term)
		dn_acts_event(acts, dn_clock_realtime_ns(), "supervisor.outdated", "critical",
			      "%s has obeyed term %" G_GUINT64_FORMAT
			      ", this supervisor has term %" G_GUINT64_FORMAT
			      ": its state is older than the cluster's; restore the newest state",
			      host, term, self->term)
			->host = g_strdup(host);
	dn_fleet_core_connected(self->core, host, address, dn_supervisor_now(), acts);
	dn_supervisor_carry_out(self, acts);
}

static void disconnected(const char *host, const char *why, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();

	g_info("%s has disconnected: %s", host, why);
	dn_supervisor_journal_settle(self, host);
	dn_fleet_core_disconnected(self->core, host, dn_supervisor_now(), acts);
	dn_supervisor_forget_orders(self, host);
	dn_supervisor_carry_out(self, acts);
}

static void fact(const char *host, const DnFact *said, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();

	if (said->kind == DN_FACT_HEARTBEAT)
		dn_supervisor_journal_head(self, host, &said->head, acts);
	dn_fleet_core_fact(self->core, host, said, dn_supervisor_now(), acts);
	/* Before its changes, so that both are in one transaction. */
	if (said->spool != NULL)
		dn_supervisor_acknowledge(self, host, said->spool);
	dn_supervisor_carry_out(self, acts);
}

static void answered(const char *host, uint64_t tag, const DnAnswerTo *answer, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_fleet_core_answered(self->core, host, tag, answer, dn_supervisor_now(), acts);
	dn_supervisor_carry_out(self, acts);
	dn_people_answered(self, tag, answer);
}

static void trouble(DnTrouble kind, const char *host, const char *text, void *data)
{
	dn_supervisor_trouble(data, kind, host, text);
}

static DnJournalHead head(uint64_t *news, void *data)
{
	const DnSupervisor *self = data;

	*news = dn_journal_news(self->journal);
	return dn_journal_head(self->journal);
}

void dn_supervisor_trouble(DnSupervisor *self, DnTrouble kind, const char *host, const char *text)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_fleet_core_trouble(self->core, kind, host, text, dn_supervisor_now(), acts);
	dn_supervisor_carry_out(self, acts);
}

void dn_supervisor_crowded(const char *where, unsigned count, void *data)
{
	g_autofree char *text = g_strdup_printf(
		"%u requests at the %s were turned away or ended for being slow in a minute; see "
		"who asks so much",
		count, where);

	dn_supervisor_trouble(data, DN_TROUBLE_HTTP, NULL, text);
}

const DnSessionsOps dn_supervisor_sessions_ops = {
	.host_of_key = host_of_key,
	.fenced = fenced,
	.host_cidr = host_cidr,
	.enrol = enrol,
	.connected = connected,
	.disconnected = disconnected,
	.fact = fact,
	.answered = answered,
	.trouble = trouble,
	.head = head,
};
