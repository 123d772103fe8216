/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <unistd.h>

#include "ends.h"
#include "support/suite.h"

static ServerEnd server;
static ClientEnd client;

static void teardown(void)
{
	client_end_clear(&client);
	server_end_clear(&server);
	dn_suite_end();
}

TestSuite(link, .fini = teardown);

static void start(DnLinkConfig server_config, DnLinkClientConfig client_config)
{
	server_end_init(&server, server_config);
	client_end_init(&client, &server, client_config);
}

static void start_connected(void)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){0});
	run_until(client.connected == 1 && server.opened == 1);
}

static GBytes *big_frame(size_t size)
{
	g_autofree char *text = g_strnfill(size, 'x');

	return g_bytes_new(text, size);
}

Test(link, both_ends_learn_the_key_of_the_other)
{
	start_connected();

	cr_assert(eq(int, memcmp(server.peer_key, client.key, sizeof(client.key)), 0));
	cr_assert(dn_link_client_is_connected(client.client));
	cr_assert(eq(int, memcmp(dn_link_connection_peer_key(server.last), client.key, 32), 0));
	cr_assert(eq(int, strncmp(dn_link_connection_peer_address(server.last), "127.0.0.1:", 10),
		     0));
}

Test(link, frames_arrive_whole_and_in_order_both_ways)
{
	g_autoptr(GString) expected = g_string_new(NULL);

	start_connected();
	server.echoes = true;
	for (int i = 0; i < 500; i++) {
		g_autofree char *text = g_strdup_printf("frame %d", i);

		client_end_send(&client, text);
		g_string_append_printf(expected, "%s|", text);
	}
	run_until(client.frames == 500);
	cr_assert_str_eq(server.text->str, expected->str);
	cr_assert_str_eq(client.text->str, expected->str);
}

Test(link, the_longest_frame_passes_and_one_byte_more_is_not_sent)
{
	g_autoptr(GBytes) longest = NULL;
	g_autoptr(GBytes) longer = NULL;
	g_autoptr(GBytes) empty = NULL;

	start_connected();
	server.echoes = true;
	longest = big_frame(DN_LINK_FRAME_LIMIT);
	longer = big_frame(DN_LINK_FRAME_LIMIT + 1);
	empty = g_bytes_new(NULL, 0);
	cr_assert(not(dn_link_client_send(client.client, longer)));
	cr_assert(not(dn_link_client_send(client.client, empty)));
	cr_assert(dn_link_client_send(client.client, longest));
	run_until(client.frames == 1);
	cr_assert(eq(sz, server.bytes, DN_LINK_FRAME_LIMIT));
	cr_assert(eq(sz, client.bytes, DN_LINK_FRAME_LIMIT));
}

Test(link, a_server_with_another_key_is_refused_before_any_frame)
{
	uint8_t wrong[32] = {1, 2, 3};

	start((DnLinkConfig){0}, (DnLinkClientConfig){.server_key = wrong, .is_once = true});
	run_until(client.closed == 1);
	cr_assert(eq(int, client.code, DN_ERROR_UNTRUSTED), "%s", client.reason);
	cr_assert(strstr(client.reason, "another key") != NULL, "%s", client.reason);
	cr_assert(eq(int, client.connected, 0));
	run_until(dn_link_server_count(server.server) == 0);
	cr_assert(eq(int, server.opened, 0));
	cr_assert(eq(int, server.frames, 0));
}

Test(link, a_server_is_known_by_the_fingerprint_of_a_token)
{
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	uint8_t fingerprint[32];
	gsize size = sizeof(fingerprint);

	server_end_init(&server, (DnLinkConfig){0});
	g_checksum_update(checksum, server.key, sizeof(server.key));
	g_checksum_get_digest(checksum, fingerprint, &size);
	client_end_init(&client, &server, (DnLinkClientConfig){.server_fingerprint = fingerprint});
	run_until(client.connected == 1);
	client_end_clear(&client);

	fingerprint[31] ^= 1;
	client_end_init(&client, &server,
			(DnLinkClientConfig){.server_fingerprint = fingerprint, .is_once = true});
	run_until(client.closed == 1);
	cr_assert(eq(int, client.code, DN_ERROR_UNTRUSTED), "%s", client.reason);
}

Test(link, a_client_without_a_pin_is_not_made)
{
	static const DnLinkClientOps no_ops;
	g_autoptr(GError) error = NULL;

	start_connected();
	const DnLinkClientConfig config = {.address = server.address, .identity = client.identity};
	DnLinkClient *none = dn_link_client_new(&config, &no_ops, NULL, &error);
	cr_assert(eq(ptr, none, NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}

Test(link, an_address_without_a_port_is_refused_by_both_ends)
{
	static const DnLinkClientOps no_client_ops;
	static const DnLinkServerOps no_server_ops;
	const char *const bad[] = {
		"127.0.0.1", "localhost", "127.0.0.1:", "127.0.0.1:65536", "::1", ":80x"};

	start_connected();
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		const DnLinkClientConfig call = {
			.address = bad[i], .identity = client.identity, .server_key = server.key};
		const DnLinkConfig listen = {.address = bad[i], .identity = server.identity};

		DnLinkClient *no_client = dn_link_client_new(&call, &no_client_ops, NULL, &error);
		cr_assert(eq(ptr, no_client, NULL), "%s", bad[i]);
		g_clear_error(&error);
		DnLinkServer *no_server = dn_link_server_new(&listen, &no_server_ops, NULL, &error);
		cr_assert(eq(ptr, no_server, NULL), "%s", bad[i]);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(link, the_client_comes_back_when_its_connection_is_lost)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){.retry_min_ms = 5, .retry_max_ms = 20});
	run_until(server.opened == 1);
	dn_link_connection_close(server.last);
	run_until(server.opened == 2 && client.connected == 2);
	cr_assert(ge(int, client.closed, 1));
	dn_link_client_drop(client.client, "no heartbeat");
	cr_assert(not(dn_link_client_is_connected(client.client)));
	run_until(server.opened == 3);
	cr_assert_str_eq(client.reason, "no heartbeat");
}

Test(link, the_wait_between_attempts_grows)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){.retry_min_ms = 40, .retry_max_ms = 100000});
	run_until(client.connected == 1);
	server_end_clear(&server);
	server_end_init(&server, (DnLinkConfig){0}); /* another port: nobody answers the old one */
	unsigned before = client.closed;
	run_for_ms(1000);
	/* At least 20, 40, 80, 160, 320, 640 ms lie before attempts 1 to 6. */
	cr_assert(ge(int, client.closed - before, 2), "%u", client.closed - before);
	cr_assert(le(int, client.closed - before, 7), "%u", client.closed - before);
}

Test(link, a_client_that_connects_once_does_not_come_back)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){.is_once = true, .retry_min_ms = 1});
	run_until(server.opened == 1);
	dn_link_connection_close(server.last);
	run_until(client.closed == 1);
	run_for_ms(60);
	cr_assert(eq(int, server.opened, 1));
	cr_assert(eq(int, client.closed, 1));
}

Test(link, what_the_server_said_before_it_closed_arrives)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){.is_once = true});
	server.echoes = server.closes_after_echo = true;
	run_until(client.connected == 1);
	client_end_send(&client, "one");
	client_end_send(&client, "two"); /* unread by the server: must not reset the connection */
	run_until(client.closed == 1 && server.closed == 1);
	cr_assert_str_eq(client.text->str, "one|");
	cr_assert_str_eq(server.text->str, "one|");
}

Test(link, a_client_may_free_itself_while_it_is_called)
{
	start_connected();
	server.echoes = true;
	client.frees_itself_on_frame = true;
	for (int i = 0; i < 10; i++)
		client_end_send(&client, "x");
	run_until(client.frames == 1 && server.closed == 1);
	run_for_ms(20);
	cr_assert(eq(int, client.frames, 1));
	cr_assert(eq(int, client.closed, 0));
}

Test(link, a_full_queue_refuses_and_nothing_of_it_is_lost)
{
	g_autoptr(GBytes) frame = big_frame(256 * 1024);
	unsigned accepted = 0;

	start((DnLinkConfig){0}, (DnLinkClientConfig){.send_limit_bytes = 1024 * 1024});
	run_until(client.connected == 1);
	while (dn_link_client_send(client.client, frame))
		accepted++;
	cr_assert(eq(int, accepted, 3)); /* each costs a little more than its bytes */
	run_until(server.frames == 3);
	cr_assert(dn_link_client_send(client.client, frame));
}

Test(link, a_server_that_goes_tells_its_peers_and_its_caller)
{
	start((DnLinkConfig){0}, (DnLinkClientConfig){.is_once = true});
	run_until(server.opened == 1);
	g_clear_pointer(&server.server, dn_link_server_free);
	cr_assert(eq(int, server.closed, 1));
	run_until(client.closed == 1);
	cr_assert(eq(int, client.code, DN_ERROR_UNAVAILABLE), "%s", client.reason);
}

Test(link, a_hundred_clients_each_get_their_own_answers)
{
	enum { N = 100 };
	static ClientEnd many[N];

	start_connected();
	server.echoes = true;
	for (int i = 0; i < N; i++)
		client_end_init(&many[i], &server, (DnLinkClientConfig){0});
	run_until(server.opened == N + 1);
	for (int i = 0; i < N; i++)
		run_until(many[i].connected == 1);
	for (int i = 0; i < N; i++) {
		g_autofree char *text = g_strdup_printf("%d", i);

		client_end_send(&many[i], text);
	}
	run_until(server.frames == N);
	for (int i = 0; i < N; i++) {
		g_autofree char *expected = g_strdup_printf("%d|", i);

		run_until(many[i].frames == 1);
		cr_assert_str_eq(many[i].text->str, expected);
	}
	for (int i = 0; i < N; i++)
		client_end_clear(&many[i]);
	run_until(dn_link_server_count(server.server) == 1);
}
