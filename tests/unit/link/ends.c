/* SPDX-License-Identifier: Apache-2.0 */
#include "ends.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/tls.h"

static DnLinkIdentity *make_identity(uint8_t key[static DN_LINK_KEY_BYTES])
{
	uint8_t seed[DN_LINK_SEED_BYTES];
	g_autoptr(GError) error = NULL;

	cr_assert(eq(long, getrandom(seed, sizeof(seed), 0), (long)sizeof(seed)));
	DnLinkIdentity *identity = dn_link_identity_new(seed, &error);
	cr_assert(identity != NULL, "%s", error != NULL ? error->message : "");
	dn_link_identity_key(identity, key);
	return identity;
}

static void note_frame(GString *text, size_t *bytes, GBytes *frame)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(frame, &size);

	*bytes += size;
	if (size < 100) {
		g_string_append_len(text, data, (gssize)size);
		g_string_append_c(text, '|');
	}
}

static void note_reason(char **reason, int *code, const GError *error)
{
	g_free(*reason);
	*reason = g_strdup(error->message);
	*code = error->domain == DN_ERROR ? error->code : -1;
}

static void on_opened(DnLinkConnection *connection, const uint8_t peer_key[DN_LINK_KEY_BYTES],
		      void *data)
{
	ServerEnd *self = data;

	self->opened++;
	self->last = connection;
	memcpy(self->peer_key, peer_key, DN_LINK_KEY_BYTES);
	if (self->approves)
		dn_link_connection_approve(connection);
}

static void on_server_frame(DnLinkConnection *connection, GBytes *frame, void *data)
{
	ServerEnd *self = data;

	self->frames++;
	note_frame(self->text, &self->bytes, frame);
	if (self->echoes)
		cr_assert(dn_link_connection_send(connection, frame));
	if (self->closes_after_echo)
		dn_link_connection_close(connection);
}

static void on_server_closed(DnLinkConnection *connection, const GError *reason, void *data)
{
	ServerEnd *self = data;

	self->closed++;
	if (self->last == connection)
		self->last = NULL;
	note_reason(&self->reason, &self->code, reason);
}

static void on_flooded(DnLinkConnection *connection, void *data)
{
	((ServerEnd *)data)->flooded++;
}

static void on_crowded(unsigned count, const char *address, void *data)
{
	ServerEnd *self = data;

	self->crowded++;
	cr_assert(g_str_has_prefix(address, "127.0.0."), "%s", address);
}

void server_end_init(ServerEnd *self, DnLinkConfig config)
{
	static const DnLinkServerOps ops = {
		.opened = on_opened,
		.frame = on_server_frame,
		.closed = on_server_closed,
		.flooded = on_flooded,
		.crowded = on_crowded,
	};
	g_autoptr(GError) error = NULL;

	*self = (ServerEnd){.text = g_string_new(NULL), .approves = true};
	self->identity = make_identity(self->key);
	config.address = "127.0.0.1:0";
	config.identity = self->identity;
	self->server = dn_link_server_new(&config, &ops, self, &error);
	cr_assert(self->server != NULL, "%s", error != NULL ? error->message : "");
	(void)snprintf(self->address, sizeof(self->address), "127.0.0.1:%u",
		       dn_link_server_port(self->server));
}

void server_end_clear(ServerEnd *self)
{
	g_clear_pointer(&self->server, dn_link_server_free);
	g_clear_pointer(&self->identity, dn_link_identity_unref);
	g_clear_pointer(&self->reason, g_free);
	g_string_free(self->text, TRUE);
}

static void on_connected(DnLinkClient *client, const uint8_t key[DN_LINK_KEY_BYTES], void *data)
{
	ClientEnd *self = data;

	self->connected++;
}

static void on_client_frame(DnLinkClient *client, GBytes *frame, void *data)
{
	ClientEnd *self = data;

	self->frames++;
	note_frame(self->text, &self->bytes, frame);
	if (self->frees_itself_on_frame)
		g_clear_pointer(&self->client, dn_link_client_free);
}

static void on_client_closed(DnLinkClient *client, const GError *reason, void *data)
{
	ClientEnd *self = data;

	self->closed++;
	note_reason(&self->reason, &self->code, reason);
}

void client_end_init(ClientEnd *self, const ServerEnd *server, DnLinkClientConfig config)
{
	static const DnLinkClientOps ops = {on_connected, on_client_frame, on_client_closed};
	g_autoptr(GError) error = NULL;

	*self = (ClientEnd){.text = g_string_new(NULL)};
	self->identity = make_identity(self->key);
	if (config.server_key == NULL && config.server_fingerprint == NULL)
		config.server_key = server->key;
	config.address = server->address;
	config.identity = self->identity;
	self->client = dn_link_client_new(&config, &ops, self, &error);
	cr_assert(self->client != NULL, "%s", error != NULL ? error->message : "");
}

void client_end_clear(ClientEnd *self)
{
	g_clear_pointer(&self->client, dn_link_client_free);
	/* A connect that was under way reports to the main context that it was cancelled. */
	run_for_ms(1);
	g_clear_pointer(&self->identity, dn_link_identity_unref);
	g_clear_pointer(&self->reason, g_free);
	g_string_free(self->text, TRUE);
}

void client_end_send(ClientEnd *self, const char *text)
{
	g_autoptr(GBytes) frame = g_bytes_new(text, strlen(text));

	cr_assert(dn_link_client_send(self->client, frame));
}

static gboolean wake(gpointer data)
{
	return G_SOURCE_REMOVE;
}

void run_once(void)
{
	guint timer = g_timeout_add(20, wake, NULL);
	GSource *source = g_main_context_find_source_by_id(NULL, timer);

	g_source_ref(source);
	g_main_context_iteration(NULL, TRUE);
	g_source_destroy(source);
	g_source_unref(source);
}

void run_for_ms(unsigned ms)
{
	gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

	do
		run_once();
	while (g_get_monotonic_time() < end);
}

int tcp_connect(const ServerEnd *server)
{
	return tcp_connect_from(server, 1);
}

int tcp_connect_from(const ServerEnd *server, unsigned last)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(dn_link_server_port(server->server)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_in here = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl((INADDR_LOOPBACK & ~0xffU) | last),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&here, sizeof(here)), 0));
	cr_assert(eq(int, connect(fd, (struct sockaddr *)&address, sizeof(address)), 0));
	/* A blocking read here would stop the server, which lives in this thread too. */
	cr_assert(eq(int, fcntl(fd, F_SETFL, O_NONBLOCK), 0));
	return fd;
}

void raw_open(Raw *self, const ServerEnd *server)
{
	uint8_t key[DN_LINK_KEY_BYTES];
	int status = GNUTLS_E_AGAIN;

	self->identity = make_identity(key);
	self->fd = tcp_connect(server);
	gnutls_init(&self->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	gnutls_priority_set_direct(self->session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
	gnutls_credentials_set(self->session, GNUTLS_CRD_CERTIFICATE,
			       dn_link_identity_credentials(self->identity));
	gnutls_transport_set_int(self->session, self->fd);
	while (status == GNUTLS_E_AGAIN) {
		status = gnutls_handshake(self->session);
		run_once();
	}
	cr_assert(eq(int, status, 0), "%s", gnutls_strerror(status));
}

void raw_send(Raw *self, const void *bytes, size_t size)
{
	ssize_t sent = GNUTLS_E_AGAIN;

	while (sent == GNUTLS_E_AGAIN) {
		sent = gnutls_record_send(self->session, bytes, size);
		if (sent == GNUTLS_E_AGAIN)
			run_once();
	}
	cr_assert(eq(long, sent, (long)size));
}

void raw_close(Raw *self)
{
	gnutls_deinit(self->session);
	close(self->fd);
	dn_link_identity_unref(self->identity);
}
