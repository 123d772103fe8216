/* SPDX-License-Identifier: Apache-2.0 */

/* What the supervisor has decided, as entries of its journal (docs/formats/journal.md). */

#include "core/trouble.h"
#include "main/internal.h"
#include "seal/digest.h"
#include "wire/json.h"

enum { LINE_LIMIT = DN_JOURNAL_LINE_LIMIT };

/* Entries of our own name the term and revision that were on disk when they were made. */
static void raise_floor(uint64_t seq, const char *line, size_t length, void *data)
{
	DnStoreFloor *floor = data;
	g_autoptr(GBytes) bytes = g_bytes_new(line, length);
	g_autoptr(JsonObject) object = dn_json_parse(bytes, LINE_LIMIT, NULL);
	g_autoptr(GError) none = NULL;

	/* A journal that tells of anything belongs to a store that had a term. */
	floor->term = MAX(floor->term, 1);
	if (object == NULL || !json_object_has_member(object, "stored"))
		return;
	floor->term = MAX(floor->term, dn_json_u64(object, "term", G_MAXINT64, &none));
	floor->revision = MAX(floor->revision, dn_json_u64(object, "stored", G_MAXINT64, &none));
}

static void on_trouble(void *data, const GError *error)
{
	dn_supervisor_hold(data, error);
}

bool dn_supervisor_open_journal(DnSupervisor *self, DnStoreFloor *floor, GError **error)
{
	const DnJournalVisitor visitor = {.entry = raise_floor};
	g_autofree char *dir = g_build_filename(self->state_dir, "journal", NULL);
	g_autofree char *identity = g_strdup_printf("%s/supervisor", self->cluster->id);

	self->journal = dn_journal_open(&(DnJournalConfig){.dir = dir,
							   .identity = identity,
							   .key = self->secret,
							   .trouble = on_trouble,
							   .data = self,
							   .patient = true,
							   .visitor = &visitor,
							   .visitor_data = floor},
					error);
	return self->journal != NULL;
}

static void name_moment(const DnSupervisor *self, DnJournalEntry *entry)
{
	dn_journal_entry_number(entry, "term", self->term);
	dn_journal_entry_number(entry, "stored", self->revision);
}

void dn_supervisor_close_journal(DnSupervisor *self)
{
	GHashTableIter iter;
	gpointer peer = NULL;

	if (self->journal == NULL)
		return;
	g_hash_table_iter_init(&iter, self->peers);
	while (g_hash_table_iter_next(&iter, NULL, &peer))
		dn_journal_peer_settle(peer, self->journal, dn_clock_monotonic_ns());
	dn_journal_add(self->journal,
		       dn_journal_entry_new("supervisor.stopped", dn_clock_realtime_ns()), NULL,
		       NULL);
	g_clear_pointer(&self->journal, dn_journal_close);
}

static void name_manifest(DnJournalEntry *entry, GBytes *manifest)
{
	if (manifest == NULL)
		return;
	g_autofree char *digest = dn_digest_bytes(manifest);
	dn_journal_entry_text(entry, "digest", digest);
}

/* Which manifests a share consists of: epoch and count of each. */
static void name_share(DnJournalEntry *entry, const DnAssign *assign)
{
	g_autoptr(GString) parts = g_string_new(NULL);

	if (assign == NULL)
		return;
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		g_string_append_printf(parts, "%s%.12s:%" G_GUINT64_FORMAT ":%u+%u",
				       i > 0 ? " " : "", part->digest, part->epoch, part->running,
				       part->standby);
	}
	dn_journal_entry_text(entry, "service", assign->service);
	dn_journal_entry_text(entry, "share", parts->str);
}

/*
 * Reading a log, telling how far something is and looking at what is there change nothing. Who is
 * balanced to follows from what hosts say, as often as they like: it must not push out the rest.
 */
static bool is_decision(const DnDispatch *dispatch)
{
	DnOrderKind kind = dispatch->order->kind;

	return kind != DN_ORDER_LOGS && kind != DN_ORDER_STAMP && kind != DN_ORDER_AUDIT &&
	       kind != DN_ORDER_DROPPED && (kind != DN_ORDER_ASSIGN || dispatch->after_store);
}

static void journal_order(DnSupervisor *self, const DnDispatch *dispatch)
{
	const DnOrder *order = dispatch->order;
	DnJournalEntry *entry = dn_journal_entry_new("order.sent", dn_clock_realtime_ns());

	dn_journal_entry_text(entry, "order", dn_order_kind_name(order->kind));
	dn_journal_entry_text(entry, "host", dispatch->host);
	name_moment(self, entry);
	dn_journal_entry_number(entry, "tag", dispatch->tag);
	dn_journal_entry_text(entry, "service", order->service);
	dn_journal_entry_text(entry, "node", order->node);
	dn_journal_entry_text(entry, "reason", order->reason);
	dn_journal_entry_text(entry, "class", order->class);
	dn_journal_entry_text(entry, "incident", order->incident);
	name_manifest(entry, order->manifest);
	name_share(entry, order->assign);
	dn_journal_add(self->journal, entry, NULL, NULL);
}

/* The head's own kind is not for others, whose words come in as kinds of events. */
static const char *kind_of(const DnEvent *event)
{
	return g_str_has_prefix(event->kind, "journal.") ? "event" : event->kind;
}

static void journal_event(DnSupervisor *self, const DnEvent *event)
{
	DnJournalEntry *entry = dn_journal_entry_new(kind_of(event), dn_clock_realtime_ns());

	name_moment(self, entry);
	dn_journal_entry_text(entry, "severity", event->severity);
	dn_journal_entry_text(entry, "host", event->host);
	dn_journal_entry_text(entry, "service", event->service);
	dn_journal_entry_text(entry, "node", event->node);
	dn_journal_entry_text(entry, "incident", event->incident);
	dn_journal_entry_text(entry, "text", event->text);
	dn_journal_add(self->journal, entry, NULL, NULL);
}

void dn_supervisor_journal_acts(DnSupervisor *self, const DnActs *acts)
{
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);

		if (is_decision(dispatch))
			journal_order(self, dispatch);
	}
	for (guint i = 0; i < acts->events->len; i++) {
		const DnEvent *event = g_ptr_array_index(acts->events, i);

		if (!event->told)
			journal_event(self, event);
	}
}

static DnJournalPeer *find_peer(DnSupervisor *self, const char *host)
{
	DnJournalPeer *peer = g_hash_table_lookup(self->peers, host);
	g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(self->core, host);

	if (record == NULL)
		return NULL;
	if (peer == NULL) {
		peer = g_new0(DnJournalPeer, 1);
		g_snprintf(peer->identity, sizeof(peer->identity), "%s/host/%s", self->cluster->id,
			   host);
		g_hash_table_insert(self->peers, g_strdup(host), peer);
	}
	dn_journal_peer_have_key(peer, self->journal, record->key, dn_clock_monotonic_ns());
	return peer;
}

void dn_supervisor_journal_head(DnSupervisor *self, const char *host, const DnJournalHead *head,
				DnActs *acts)
{
	DnJournalPeer *peer = find_peer(self, host);

	if (peer == NULL || dn_journal_peer_seen(peer, self->journal, head,
						 dn_clock_monotonic_ns()) == DN_JOURNAL_PEER_FINE)
		return;
	g_autofree char *text = g_strdup_printf(
		"the journal of %s has lost its end: it is at entry %" G_GUINT64_FORMAT
		" and was further; compare with 'dnode journal verify'",
		host, head->seq);
	dn_fleet_core_trouble(self->core, DN_TROUBLE_JOURNAL, host, text, dn_supervisor_now(),
			      acts);
}

void dn_supervisor_journal_settle(DnSupervisor *self, const char *host)
{
	DnJournalPeer *peer = g_hash_table_lookup(self->peers, host);

	if (peer != NULL)
		dn_journal_peer_settle(peer, self->journal, dn_clock_monotonic_ns());
}
