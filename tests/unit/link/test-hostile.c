/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "ends.h"
#include "support/suite.h"

static ServerEnd server;

static void teardown(void)
{
	server_end_clear(&server);
	dn_suite_end();
}

TestSuite(hostile, .fini = teardown);

/* Has the server hung up on @fd? */
static bool is_hung_up(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

Test(hostile, a_peer_that_says_nothing_is_dropped_at_its_deadline)
{
	server_end_init(&server, (DnLinkConfig){.handshake_timeout_ms = 80});
	dn_autofd int fd = tcp_connect(&server);

	run_until(dn_link_server_count(server.server) == 1);
	run_until(dn_link_server_count(server.server) == 0);
	cr_assert(is_hung_up(fd));
	cr_assert(eq(int, server.opened, 0));
}

Test(hostile, a_handshake_in_drops_does_not_push_its_deadline_back)
{
	/* The head of a ClientHello record that announces 512 bytes. */
	static const uint8_t head[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};
	server_end_init(&server, (DnLinkConfig){.handshake_timeout_ms = 150});
	dn_autofd int fd = tcp_connect(&server);
	gint64 begin = g_get_monotonic_time();

	run_until(dn_link_server_count(server.server) == 1);
	for (size_t i = 0; dn_link_server_count(server.server) == 1; i++) {
		uint8_t byte = i < sizeof(head) ? head[i] : 0;

		cr_assert(lt(long, g_get_monotonic_time() - begin, 5000000), "still there");
		(void)send(fd, &byte, 1, MSG_NOSIGNAL);
		run_for_ms(5);
	}
	cr_assert(ge(long, g_get_monotonic_time() - begin, 140000), "dropped for its bytes");
}

Test(hostile, bytes_that_are_no_tls_end_the_connection_at_once)
{
	server_end_init(&server, (DnLinkConfig){0});
	dn_autofd int fd = tcp_connect(&server);

	cr_assert(eq(long, send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18));
	run_until(dn_link_server_count(server.server) == 1);
	run_until(dn_link_server_count(server.server) == 0);
	cr_assert(eq(int, server.opened, 0));
}

Test(hostile, a_peer_without_a_certificate_never_opens)
{
	gnutls_certificate_credentials_t none = NULL;
	gnutls_session_t session = NULL;
	int status = GNUTLS_E_AGAIN;
	char byte;

	server_end_init(&server, (DnLinkConfig){0});
	dn_autofd int fd = tcp_connect(&server);
	gnutls_certificate_allocate_credentials(&none);
	gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, none);
	gnutls_transport_set_int(session, fd);
	while (status < 0 && !gnutls_error_is_fatal(status)) {
		status = gnutls_handshake(session);
		run_once();
	}
	run_until(dn_link_server_count(server.server) == 0);
	/* TLS 1.3: the client's handshake succeeds, its first read tells the truth. */
	cr_assert(le(long, gnutls_record_recv(session, &byte, 1), 0));
	cr_assert(eq(int, server.opened, 0));
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(none);
}

Test(hostile, nothing_older_than_tls_1_3_is_spoken)
{
	gnutls_session_t session = NULL;
	gnutls_certificate_credentials_t none = NULL;
	int status = GNUTLS_E_AGAIN;

	server_end_init(&server, (DnLinkConfig){0});
	dn_autofd int fd = tcp_connect(&server);
	gnutls_certificate_allocate_credentials(&none);
	gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, none);
	gnutls_transport_set_int(session, fd);
	while (status < 0 && !gnutls_error_is_fatal(status)) {
		status = gnutls_handshake(session);
		run_once();
	}
	cr_assert(lt(int, status, 0), "the server speaks TLS 1.2");
	run_until(dn_link_server_count(server.server) == 0);
	gnutls_deinit(session);
	gnutls_certificate_free_credentials(none);
}

Test(hostile, an_announced_frame_over_the_limit_ends_the_connection)
{
	static const uint8_t lengths[][4] = {{0, 16, 0, 1}, {255, 255, 255, 255}, {0, 0, 0, 0}};

	server_end_init(&server, (DnLinkConfig){0});
	for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
		Raw raw;

		raw_open(&raw, &server);
		raw_send(&raw, lengths[i], 4);
		run_until(server.closed == i + 1);
		cr_assert(eq(int, server.code, DN_ERROR_INVALID), "%s", server.reason);
		raw_close(&raw);
	}
	cr_assert(eq(int, server.frames, 0));
}

Test(hostile, a_stranger_gets_less_room_than_a_peer)
{
	static const uint8_t length[4] = {0, 1, 0, 1};
	Raw raw;

	server_end_init(&server, (DnLinkConfig){0});
	server.approves = false;
	raw_open(&raw, &server);
	raw_send(&raw, length, 4);
	run_until(server.closed == 1);
	cr_assert(eq(int, server.code, DN_ERROR_INVALID), "%s", server.reason);
	raw_close(&raw);
}

Test(hostile, a_stranger_that_is_never_approved_is_dropped)
{
	Raw raw;

	server_end_init(&server, (DnLinkConfig){.handshake_timeout_ms = 300});
	server.approves = false;
	raw_open(&raw, &server);
	raw_send(&raw, "\0\0\0\1x", 5);
	run_until(server.frames == 1);
	run_until(server.closed == 1);
	cr_assert(eq(int, server.code, DN_ERROR_EXHAUSTED), "%s", server.reason);
	raw_close(&raw);
}

Test(hostile, a_frame_in_single_bytes_is_the_same_frame)
{
	static const char stream[] = "\0\0\0\5hello\0\0\0\5world";
	Raw raw;

	server_end_init(&server, (DnLinkConfig){0});
	raw_open(&raw, &server);
	for (size_t i = 0; i < sizeof(stream) - 1; i++)
		raw_send(&raw, stream + i, 1);
	run_until(server.frames == 2);
	cr_assert_str_eq(server.text->str, "hello|world|");
	raw_close(&raw);
}

Test(hostile, many_frames_in_one_record_are_all_seen)
{
	enum { N = 1000 };
	char stream[N * 5];
	Raw raw;

	for (size_t i = 0; i < N; i++)
		memcpy(stream + 5 * i, "\0\0\0\1x", 5);
	server_end_init(&server, (DnLinkConfig){0});
	raw_open(&raw, &server);
	raw_send(&raw, stream, sizeof(stream));
	run_until(server.frames == N);
	cr_assert(eq(sz, server.bytes, N));
	raw_close(&raw);
}

Test(hostile, half_a_frame_at_the_end_is_no_frame)
{
	Raw raw;

	server_end_init(&server, (DnLinkConfig){0});
	raw_open(&raw, &server);
	raw_send(&raw, "\0\0\0\5hel", 7);
	raw_close(&raw);
	run_until(server.closed == 1);
	cr_assert(eq(int, server.frames, 0));
}

Test(hostile, a_flood_of_silent_peers_does_not_shut_the_door)
{
	enum { FLOOD = 40 };
	int fds[FLOOD];
	ClientEnd client;

	server_end_init(&server, (DnLinkConfig){.max_strangers = 8});
	for (int i = 0; i < FLOOD; i++)
		fds[i] = tcp_connect(&server);
	run_until(is_hung_up(fds[FLOOD - 9]));
	cr_assert(eq(int, dn_link_server_count(server.server), 8));
	client_end_init(&client, &server, (DnLinkClientConfig){0});
	run_until(client.connected == 1 && server.opened == 1);
	cr_assert(not(is_hung_up(fds[FLOOD - 1])));
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	client_end_clear(&client);
}

Test(hostile, a_flood_from_one_address_takes_that_addresss_share_and_no_more)
{
	enum { FLOOD = 40, SHARE = 8 };
	int fds[FLOOD];
	ClientEnd client;

	server_end_init(&server, (DnLinkConfig){.max_strangers = 16, .max_strangers_here = SHARE});
	for (int i = 0; i < FLOOD; i++)
		fds[i] = tcp_connect_from(&server, 7);
	run_until(is_hung_up(fds[FLOOD - 1]));
	cr_assert(eq(int, dn_link_server_count(server.server), SHARE));
	/* The first are still there: nobody pushes out who came from elsewhere. */
	cr_assert(not(is_hung_up(fds[0])));
	client_end_init(&client, &server, (DnLinkClientConfig){0});
	run_until(client.connected == 1 && server.opened == 1);
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	client_end_clear(&client);
}

Test(hostile, an_address_that_comes_too_often_is_turned_away_and_comes_again_later)
{
	server_end_init(&server, (DnLinkConfig){.max_arrivals_here = 5});
	for (int i = 0; i < 20; i++) {
		dn_autofd int fd = tcp_connect(&server);

		run_for_ms(1);
	}
	dn_autofd int late = tcp_connect(&server);
	run_until(is_hung_up(late));
	run_for_ms(500);
	dn_autofd int again = tcp_connect(&server);
	run_for_ms(50);
	cr_assert(not(is_hung_up(again)));
}

Test(hostile, dropped_strangers_are_told_of_once_a_minute)
{
	server_end_init(&server, (DnLinkConfig){.max_arrivals_here = 1});
	for (int i = 0; i < 200; i++) {
		dn_autofd int fd = tcp_connect(&server);

		run_for_ms(1);
	}
	cr_assert(eq(uint, server.crowded, 1));
}

Test(hostile, a_peer_that_floods_is_read_at_its_rate_and_loses_nothing)
{
	enum { FRAMES = 60 };
	gint64 begin = g_get_monotonic_time();
	Raw raw;

	server_end_init(&server, (DnLinkConfig){.frames_per_s = 50, .frames_burst = 10});
	raw_open(&raw, &server);
	for (int i = 0; i < FRAMES; i++)
		raw_send(&raw, "\0\0\0\1x", 5);
	run_until(server.frames == FRAMES);
	cr_assert(ge(long, g_get_monotonic_time() - begin, 900000), "heard too fast");
	cr_assert(eq(uint, server.flooded, 1));
	raw_close(&raw);
}

Test(hostile, a_server_that_floods_its_client_is_read_at_a_rate_and_loses_nothing)
{
	enum { FRAMES = 60 };
	g_autoptr(GBytes) frame = g_bytes_new_static("x", 1);
	gint64 begin = g_get_monotonic_time();
	ClientEnd client;

	server_end_init(&server, (DnLinkConfig){0});
	client_end_init(&client, &server,
			(DnLinkClientConfig){.frames_per_s = 50, .frames_burst = 10});
	run_until(client.connected == 1 && server.opened == 1);
	for (int i = 0; i < FRAMES; i++)
		cr_assert(dn_link_connection_send(server.last, frame));
	run_until(client.frames == FRAMES);
	cr_assert(ge(long, g_get_monotonic_time() - begin, 900000), "heard too fast");
	cr_assert(eq(uint, client.closed, 0));
	client_end_clear(&client);
}

Test(hostile, a_frame_in_crumbs_costs_as_much_as_its_crumbs)
{
	enum { CRUMBS = 64 * 30 };
	gint64 begin = g_get_monotonic_time();
	Raw raw;

	server_end_init(&server, (DnLinkConfig){.frames_per_s = 20, .frames_burst = 2});
	raw_open(&raw, &server);
	raw_send(&raw, "\0\0\7\200", 4);
	for (int i = 0; i < CRUMBS; i++)
		raw_send(&raw, "x", 1);
	run_until(server.frames == 1);
	cr_assert(ge(long, g_get_monotonic_time() - begin, 300000), "read too fast");
	raw_close(&raw);
}

Test(hostile, a_flooder_that_leaves_is_let_go_although_it_is_not_read)
{
	Raw raw;

	server_end_init(&server, (DnLinkConfig){.frames_per_s = 1, .frames_burst = 2});
	raw_open(&raw, &server);
	for (int i = 0; i < 100; i++)
		raw_send(&raw, "\0\0\0\1x", 5);
	run_until(server.flooded == 1);
	struct linger reset = {.l_onoff = 1};
	cr_assert(eq(int, setsockopt(raw.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0));
	raw_close(&raw);
	run_until(server.closed == 1);
	cr_assert(lt(uint, server.frames, 10));
}

Test(hostile, past_the_limit_of_connections_newcomers_are_turned_away)
{
	ClientEnd clients[3];

	server_end_init(&server, (DnLinkConfig){.max_connections = 2});
	for (int i = 0; i < 2; i++) {
		client_end_init(&clients[i], &server, (DnLinkClientConfig){.is_once = true});
		run_until(clients[i].connected == 1 && server.opened == (unsigned)i + 1);
	}
	client_end_init(&clients[2], &server, (DnLinkClientConfig){.is_once = true});
	run_until(clients[2].closed == 1);
	cr_assert(eq(int, clients[2].connected, 0));
	for (int i = 0; i < 3; i++)
		client_end_clear(&clients[i]);
}

Test(hostile, more_peers_than_may_come_in_a_second_wait_for_the_next)
{
	enum { N = 6 };
	ClientEnd clients[N];
	gint64 begin = g_get_monotonic_time();

	server_end_init(&server, (DnLinkConfig){.max_accepts_per_s = 2});
	for (int i = 0; i < N; i++)
		client_end_init(&clients[i], &server, (DnLinkClientConfig){.is_once = true});
	run_until(server.opened == N);
	cr_assert(ge(long, g_get_monotonic_time() - begin, 1900000));
	for (int i = 0; i < N; i++)
		client_end_clear(&clients[i]);
}

Test(hostile, a_peer_that_does_not_read_fills_its_queue_and_no_more)
{
	g_autofree char *text = g_strnfill(100000, 'x');
	g_autoptr(GBytes) frame = g_bytes_new(text, 100000);
	Raw raw;
	unsigned sent = 0;

	server_end_init(&server, (DnLinkConfig){.send_limit_bytes = 1000000});
	raw_open(&raw, &server);
	run_until(server.opened == 1);
	for (int round = 0; round < 500; round++) {
		if (dn_link_connection_send(server.last, frame))
			sent++;
		g_main_context_iteration(NULL, FALSE);
	}
	/* The kernel's buffers take some, the queue nine. */
	cr_assert(lt(int, sent, 400), "%u", sent);
	cr_assert(not(dn_link_connection_send(server.last, frame)));
	dn_link_connection_close(server.last);
	run_until(server.closed == 1);
	raw_close(&raw);
}
