/* SPDX-License-Identifier: Apache-2.0 */
#include "link-host.h"

#include <criterion/criterion.h>
#include <string.h>

#include "daemon.h"
#include "http/client.h"
#include "seal/token.h"
#include "uplink/uplink.h"
#include "wire/json.h"

enum { WAIT_MS = 20000 };

static const char session_word[] = "0123456789abcdef0123456789abcdef";

struct LinkHost {
	char *name;
	DnUplink *uplink;
	bool welcome;
	uint64_t orders[DN_ORDER_N]; /* the sequence of the last that came; 0: none */
	uint64_t stored;
};

/* ---- its half of the link ---- */

static bool on_welcome(const DnWelcome *welcome, void *data)
{
	((LinkHost *)data)->welcome = true;
	return true;
}

static void on_order(const DnOrder *order, void *data)
{
	((LinkHost *)data)->orders[order->kind] = order->sequence;
}

static void on_stored(const char *spool, uint64_t number, void *data)
{
	((LinkHost *)data)->stored = number;
}

static void on_closed(const char *reason, void *data)
{
	((LinkHost *)data)->welcome = false;
}

static uint64_t term_of(void *data)
{
	return 0;
}

static const char *session_of(void *data)
{
	return session_word;
}

bool link_host_wait(bool (*holds)(void *data), void *data)
{
	gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;

	while (!holds(data) && g_get_monotonic_time() < end)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(500);
	return holds(data);
}

static void on_head(const DnJournalHead *head, void *data)
{
	(void)head;
	(void)data;
}

static bool is_welcome(void *data)
{
	return ((const LinkHost *)data)->welcome;
}

static DnHostToken *token_for(const char *name)
{
	g_autoptr(DnHttp) http = dn_http_new(daemon_target(), NULL);
	g_autoptr(GError) error = NULL;
	JsonObject *body = json_object_new();

	json_object_set_string_member(body, "host", name);
	JsonObject *answer = dn_http_post(http, "/v1/hosts/tokens", body, &error);
	cr_assert(answer != NULL, "%s", error == NULL ? "" : error->message);
	DnHostToken *token =
		dn_host_token_decode(json_object_get_string_member(answer, "token"), NULL);
	json_object_unref(answer);
	cr_assert(token != NULL);
	return token;
}

LinkHost *link_host_new(const char *name)
{
	static const DnUplinkOps ops = {.welcomed = on_welcome,
					.order = on_order,
					.stored = on_stored,
					.head = on_head,
					.closed = on_closed};
	g_autoptr(DnHostToken) token = token_for(name);
	g_autoptr(GBytes) secret = g_bytes_new(token->secret, sizeof(token->secret));
	g_autoptr(GError) error = NULL;
	DnEnrolled *enrolled = NULL;
	uint8_t seed[DN_SEED_BYTES] = {7}, supervisor_key[DN_PUBLIC_KEY_BYTES];
	LinkHost *self = g_new0(LinkHost, 1);

	bool done = dn_uplink_enrol_now(token->address, name, seed, token->supervisor_fingerprint,
					secret, &enrolled, supervisor_key, &error);
	cr_assert(done, "%s", error == NULL ? "" : error->message);
	dn_enrolled_free(enrolled);
	self->name = g_strdup(name);
	self->uplink = dn_uplink_new(&(DnUplinkConfig){.address = token->address,
						       .host = name,
						       .seed = seed,
						       .supervisor_key = supervisor_key,
						       .term = term_of,
						       .session = session_of},
				     &ops, self, &error);
	cr_assert(self->uplink != NULL, "%s", error == NULL ? "" : error->message);
	cr_assert(link_host_wait(is_welcome, self), "the host is not welcome");
	return self;
}

void link_host_free(LinkHost *self)
{
	if (self == NULL)
		return;
	dn_uplink_free(self->uplink);
	g_free(self->name);
	g_free(self);
}

/* ---- what it says ---- */

void link_host_say(LinkHost *self, DnFact *taken)
{
	g_autoptr(DnFact) fact = taken;

	dn_uplink_send_fact(self->uplink, fact);
}

char *link_host_incident(unsigned number)
{
	return g_strdup_printf("%016x", number);
}

DnFact *link_host_incident_fact(const LinkHost *self, unsigned number, DnIncidentState state)
{
	DnFact *fact = dn_fact_new(DN_FACT_INCIDENT);
	DnIncident *incident = dn_incident_new();

	incident->id = link_host_incident(number);
	incident->service = g_strdup("web");
	incident->node = g_strdup_printf("web-%08x", number);
	incident->host = g_strdup(self->name);
	incident->class = g_strdup("exec");
	incident->event_time_ns = number;
	incident->state = state;
	fact->incident = incident;
	return fact;
}

void link_host_say_incident(LinkHost *self, unsigned number, DnIncidentState state)
{
	link_host_say(self, link_host_incident_fact(self, number, state));
}

typedef struct {
	const LinkHost *host;
	DnOrderKind kind;
} Awaited;

static bool has_come(void *data)
{
	const Awaited *awaited = data;

	return awaited->host->orders[awaited->kind] != 0;
}

uint64_t link_host_await(LinkHost *self, DnOrderKind kind)
{
	cr_assert(link_host_wait(has_come, &(Awaited){self, kind}), "order %d did not come", kind);
	uint64_t sequence = self->orders[kind];
	self->orders[kind] = 0;
	return sequence;
}

void link_host_answer(LinkHost *self, uint64_t sequence)
{
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(sequence);

	answer->done = true;
	dn_uplink_send_answer(self->uplink, answer);
}

uint64_t link_host_stored(const LinkHost *self)
{
	return self->stored;
}
