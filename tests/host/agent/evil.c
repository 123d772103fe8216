/* SPDX-License-Identifier: Apache-2.0 */
#include "evil.h"

#include <string.h>

#include "yard.h"

static void send_bytes(DnLinkConnection *connection, GBytes *bytes)
{
	if (!dn_link_connection_send(connection, bytes))
		dn_link_connection_close(connection);
}

static void send_welcome(Evil *self, DnLinkConnection *connection)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_WELCOME);
	const char *session = self->welcome.session != NULL ? self->welcome.session : self->session;

	frame->welcome->cluster = g_strdup(self->welcome.cluster);
	frame->welcome->term = self->welcome.term;
	frame->welcome->session = g_strdup(session);
	frame->welcome->host_cidr = g_strdup(self->welcome.host_cidr);
	frame->welcome->node_cidr = g_strdup(self->welcome.node_cidr);
	frame->welcome->vip_cidr = g_strdup(self->welcome.vip_cidr);
	frame->welcome->repo = g_strdup(self->welcome.repo);
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);
	send_bytes(connection, bytes);
}

static void on_hello(Evil *self, DnLinkConnection *connection, const DnHello *hello)
{
	g_free(self->session);
	self->session = g_strdup(hello->session);
	self->seen_term = hello->term;
	self->agent = connection;
	self->sequence = 0;
	self->hellos++;
	dn_link_connection_approve(connection);
	if (!self->welcome.is_silent)
		send_welcome(self, connection);
}

/* What it does not acknowledge would be sent again and again. */
static void acknowledge(DnLinkConnection *connection, const DnFact *fact)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_STORED);

	frame->spool = g_strdup(fact->spool);
	frame->stored = fact->number;
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);
	send_bytes(connection, bytes);
}

static void on_fact(Evil *self, DnFact *fact)
{
	if (fact->kind == DN_FACT_REPORT) {
		dn_fact_free(self->report);
		self->report = fact;
		self->reports++;
	} else {
		g_ptr_array_add(self->facts, fact);
		if (fact->kind == DN_FACT_EVENT)
			self->event = fact;
	}
}

static void on_opened(DnLinkConnection *connection, const uint8_t key[DN_LINK_KEY_BYTES],
		      void *data)
{
}

static void on_frame(DnLinkConnection *connection, GBytes *bytes, void *data)
{
	Evil *self = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_decode(bytes, &error);

	if (frame == NULL)
		g_error("the agent sent no frame: %s", error->message);
	if (frame->type == DN_FRAME_HELLO) {
		on_hello(self, connection, frame->hello);
	} else if (frame->type == DN_FRAME_FACT) {
		if (frame->fact->spool != NULL)
			acknowledge(connection, frame->fact);
		on_fact(self, g_steal_pointer(&frame->fact));
	} else if (frame->type == DN_FRAME_ANSWER) {
		dn_answer_to_free(self->answer);
		self->answer = g_steal_pointer(&frame->answer);
	} else if (frame->type == DN_FRAME_ENROL) {
		g_autoptr(GBytes) answer = dn_frame_encode(self->enrolled);

		self->enrols++;
		dn_link_connection_approve(connection);
		send_bytes(connection, answer);
	}
}

static void on_closed(DnLinkConnection *connection, const GError *reason, void *data)
{
	Evil *self = data;

	if (self->agent == connection)
		self->agent = NULL;
	self->closes++;
}

void evil_listen(Evil *self, const DnSecretKey *key)
{
	static const DnLinkServerOps ops = {
		.opened = on_opened, .frame = on_frame, .closed = on_closed};
	g_autoptr(GError) error = NULL;
	uint8_t seed[DN_SEED_BYTES];

	if (self->facts == NULL)
		self->facts = g_ptr_array_new_with_free_func((GDestroyNotify)dn_fact_free);
	dn_secret_key_export_seed(key, seed);
	g_autoptr(DnLinkIdentity) identity = dn_link_identity_new(seed, &error);
	explicit_bzero(seed, sizeof(seed));
	DnLinkConfig config = {.address = YARD_SUPERVISOR, .identity = identity};
	self->server = identity == NULL ? NULL : dn_link_server_new(&config, &ops, self, &error);
	if (self->server == NULL)
		g_error("%s", error->message);
}

void evil_deaf(Evil *self)
{
	g_clear_pointer(&self->server, dn_link_server_free);
	self->agent = NULL;
}

void evil_clear(Evil *self)
{
	evil_deaf(self);
	dn_frame_free(self->enrolled);
	dn_fact_free(self->report);
	g_clear_pointer(&self->facts, g_ptr_array_unref);
	dn_answer_to_free(self->answer);
	g_free(self->session);
}

void evil_address(Evil *self, DnOrder *order)
{
	g_free(order->cluster);
	g_free(order->session);
	order->cluster = g_strdup(self->welcome.cluster);
	order->session = g_strdup(self->session);
	order->term = self->welcome.term;
	order->sequence = ++self->sequence;
}

static bool has_answer(void *data)
{
	const Evil *self = data;

	return self->answer != NULL || self->agent == NULL;
}

const DnAnswerTo *evil_ask(Evil *self, const DnOrder *order)
{
	g_autoptr(GBytes) bytes = dn_frame_encode_order(order);

	g_clear_pointer(&self->answer, dn_answer_to_free);
	self->event = NULL;
	evil_send(self, bytes);
	(void)yard_wait(has_answer, self, 10);
	return self->answer != NULL && self->answer->sequence == order->sequence ? self->answer
										 : NULL;
}

void evil_send(Evil *self, GBytes *frame)
{
	if (self->agent != NULL)
		send_bytes(self->agent, frame);
}

typedef struct {
	const unsigned *count;
	unsigned before;
} Growth;

static bool has_grown(void *data)
{
	const Growth *growth = data;

	return *growth->count > growth->before;
}

bool evil_wait_report(Evil *self, unsigned before)
{
	Growth growth = {.count = &self->reports, .before = before};

	return yard_wait(has_grown, &growth, 15);
}

unsigned evil_count_events(const Evil *self, const char *kind, const char *text)
{
	unsigned count = 0;

	for (guint i = 0; i < self->facts->len; i++) {
		const DnFact *fact = g_ptr_array_index(self->facts, i);

		count += fact->kind == DN_FACT_EVENT && g_str_equal(fact->event->kind, kind) &&
			 strstr(fact->event->text, text) != NULL;
	}
	return count;
}

typedef struct {
	const Evil *evil;
	const char *kind, *text;
} Hearing;

static bool has_heard(void *data)
{
	const Hearing *hearing = data;

	return evil_count_events(hearing->evil, hearing->kind, hearing->text) > 0;
}

bool evil_wait_event(Evil *self, const char *kind, const char *text)
{
	Hearing hearing = {.evil = self, .kind = kind, .text = text};

	return yard_wait(has_heard, &hearing, 10);
}

bool evil_wait_close(Evil *self, unsigned before)
{
	Growth growth = {.count = &self->closes, .before = before};

	return yard_wait(has_grown, &growth, 10);
}

bool evil_relink(Evil *self)
{
	Growth growth = {.count = &self->hellos, .before = self->hellos};

	if (self->agent != NULL)
		dn_link_connection_close(self->agent);
	return yard_wait(has_grown, &growth, 15);
}
