/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/uplink.h"

#include <dnode/version.h>

#include "base/error.h"
#include "link/client.h"
#include "link/identity.h"

struct DnUplink {
	DnUplinkOps ops;
	void *data;           /* borrowed, the caller's */
	DnLinkClient *client; /* owned */
	char *host;
	uint64_t (*term)(void *data);
	const char *(*session)(void *data);
	bool up; /* welcomed */
	uint64_t sequence;
};

static void send_frame(DnUplink *self, GBytes *frame)
{
	if (!dn_link_client_send(self->client, frame))
		dn_link_client_drop(self->client, "the supervisor reads too slowly");
}

static void on_connected(DnLinkClient *client, const uint8_t key[DN_LINK_KEY_BYTES], void *data)
{
	DnUplink *self = data;
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_HELLO);

	frame->hello->version = DN_LINK_VERSION;
	frame->hello->host = g_strdup(self->host);
	frame->hello->session = g_strdup(self->session(self->data));
	frame->hello->term = self->term(self->data);
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);
	send_frame(self, bytes);
}

static void on_welcome(DnUplink *self, const DnWelcome *welcome)
{
	self->sequence = 0;
	self->up = true;
	if (!self->ops.welcomed(welcome, self->data)) {
		self->up = false;
		dn_link_client_drop(self->client, "its welcome cannot be believed");
	}
}

static void on_frame(DnLinkClient *client, GBytes *bytes, void *data)
{
	DnUplink *self = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_decode(bytes, &error);

	if (frame == NULL)
		dn_link_client_drop(client, error->message);
	else if (frame->type == DN_FRAME_WELCOME && !self->up)
		on_welcome(self, frame->welcome);
	else if (frame->type == DN_FRAME_ORDER && self->up)
		self->ops.order(frame->order, self->data);
	else if (frame->type == DN_FRAME_STORED && self->up)
		self->ops.stored(frame->spool, frame->stored, self->data);
	else if (frame->type == DN_FRAME_JOURNAL && self->up)
		self->ops.head(&frame->head, self->data);
	else if (frame->type == DN_FRAME_REFUSED)
		dn_link_client_drop(client, frame->refused);
	else
		dn_link_client_drop(client, "it sent a frame out of turn");
}

static void on_closed(DnLinkClient *client, const GError *reason, void *data)
{
	DnUplink *self = data;

	self->up = false;
	self->ops.closed(reason->message, self->data);
}

DnUplink *dn_uplink_new(const DnUplinkConfig *config, const DnUplinkOps *ops, void *data,
			GError **error)
{
	static const DnLinkClientOps link_ops = {
		.connected = on_connected, .frame = on_frame, .closed = on_closed};
	g_autoptr(DnLinkIdentity) identity = dn_link_identity_new(config->seed, error);

	if (identity == NULL)
		return NULL;
	g_autoptr(DnUplink) self = g_new0(DnUplink, 1);
	DnLinkClientConfig link = {
		.address = config->address,
		.identity = identity,
		.server_key = config->supervisor_key,
	};
	self->ops = *ops;
	self->data = data;
	self->host = g_strdup(config->host);
	self->term = config->term;
	self->session = config->session;
	self->client = dn_link_client_new(&link, &link_ops, self, error);
	return self->client == NULL ? NULL : g_steal_pointer(&self);
}

void dn_uplink_free(DnUplink *self)
{
	if (self == NULL)
		return;
	dn_link_client_free(self->client);
	g_free(self->host);
	g_free(self);
}

bool dn_uplink_is_up(const DnUplink *self)
{
	return self->up;
}

bool dn_uplink_has_room(const DnUplink *self)
{
	return self->up && dn_link_client_queued_bytes(self->client) < DN_LINK_FRAME_LIMIT;
}

size_t dn_uplink_send_fact(DnUplink *self, DnFact *fact)
{
	if (!self->up)
		return 0;
	fact->seq = ++self->sequence;
	g_autoptr(GBytes) bytes = dn_frame_encode_fact(fact);
	send_frame(self, bytes);
	return g_bytes_get_size(bytes);
}

void dn_uplink_send_answer(DnUplink *self, const DnAnswerTo *answer)
{
	char why[] = "the answer is too long for the link";
	const DnAnswerTo refusal = {
		.sequence = answer->sequence,
		.error = why,
		.code = DN_ERROR_EXHAUSTED,
	};

	if (!self->up)
		return;
	g_autoptr(GBytes) bytes = dn_frame_encode_answer(answer);
	/* One question is not answered; the link is for all others. */
	if (g_bytes_get_size(bytes) > DN_LINK_FRAME_LIMIT) {
		g_clear_pointer(&bytes, g_bytes_unref);
		bytes = dn_frame_encode_answer(&refusal);
	}
	send_frame(self, bytes);
}
