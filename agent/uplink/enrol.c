/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/uplink.h"

#include <string.h>

#include "base/error.h"
#include "link/client.h"
#include "link/identity.h"

enum { DEADLINE_S = 15 };

typedef struct {
	GMainLoop *loop;
	const char *host;
	GBytes *secret;
	DnFrame *answer;
	uint8_t supervisor_key[32];
	GError *error;
} Enrolment;

static void end(Enrolment *self, GError *error)
{
	if (self->error == NULL && self->answer == NULL)
		self->error = error;
	else
		g_clear_error(&error);
	g_main_loop_quit(self->loop);
}

static void on_connected(DnLinkClient *client, const uint8_t key[DN_LINK_KEY_BYTES], void *data)
{
	Enrolment *self = data;
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_ENROL);

	memcpy(self->supervisor_key, key, sizeof(self->supervisor_key));
	frame->enrol->host = g_strdup(self->host);
	frame->enrol->secret = g_bytes_ref(self->secret);
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);
	if (!dn_link_client_send(client, bytes))
		end(self, g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE, "the link broke"));
}

static void on_frame(DnLinkClient *client, GBytes *bytes, void *data)
{
	Enrolment *self = data;
	GError *error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_decode(bytes, &error);

	if (frame != NULL && frame->type == DN_FRAME_ENROLLED)
		self->answer = g_steal_pointer(&frame);
	else if (frame != NULL && frame->type == DN_FRAME_REFUSED)
		error = g_error_new(DN_ERROR,
				    frame->refused_code != 0 ? frame->refused_code
							     : DN_ERROR_UNTRUSTED,
				    "the supervisor refuses: %s", frame->refused);
	else if (frame != NULL)
		error = g_error_new(DN_ERROR, DN_ERROR_INVALID,
				    "the supervisor answered something else");
	end(self, error);
}

static void on_closed(DnLinkClient *client, const GError *reason, void *data)
{
	end(data, g_error_copy(reason));
}

static gboolean on_deadline(gpointer data)
{
	end(data, g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE,
			      "the supervisor did not answer within %d s", DEADLINE_S));
	return G_SOURCE_REMOVE;
}

static bool run(Enrolment *self, const DnLinkClientConfig *config, GMainContext *context,
		GError **error)
{
	static const DnLinkClientOps ops = {
		.connected = on_connected, .frame = on_frame, .closed = on_closed};
	g_autoptr(DnLinkClient) client = dn_link_client_new(config, &ops, self, error);

	if (client == NULL)
		return false;
	g_autoptr(GSource) deadline = g_timeout_source_new_seconds(DEADLINE_S);
	g_source_set_callback(deadline, on_deadline, self, NULL);
	g_source_attach(deadline, context);
	g_main_loop_run(self->loop);
	g_source_destroy(deadline);
	if (self->error != NULL) {
		g_propagate_error(error, g_steal_pointer(&self->error));
		return false;
	}
	return true;
}

bool dn_uplink_enrol_now(const char *address, const char *host, const uint8_t seed[32],
			 const uint8_t fingerprint[32], GBytes *secret, DnEnrolled **enrolled,
			 uint8_t supervisor_key[32], GError **error)
{
	g_autoptr(DnLinkIdentity) identity = dn_link_identity_new(seed, error);
	g_autoptr(GMainContext) context = g_main_context_new();
	Enrolment enrolment = {.host = host, .secret = secret};
	DnLinkClientConfig config = {
		.address = address,
		.identity = identity,
		.server_fingerprint = fingerprint,
		.is_once = true,
	};

	if (identity == NULL)
		return false;
	g_main_context_push_thread_default(context);
	enrolment.loop = g_main_loop_new(context, FALSE);
	bool done = run(&enrolment, &config, context, error);
	g_main_loop_unref(enrolment.loop);
	g_main_context_pop_thread_default(context);
	if (done) {
		*enrolled = g_steal_pointer(&enrolment.answer->enrolled);
		memcpy(supervisor_key, enrolment.supervisor_key, 32);
	}
	dn_frame_free(enrolment.answer);
	return done;
}
