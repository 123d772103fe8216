/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/error.h"
#include "support/suite.h"
#include "wire/codec.h"
#include "wire/json.h"

TestSuite(codec, .fini = dn_suite_end);

static DnFrame *decode(const char *text, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

	return dn_frame_decode(bytes, error);
}

static DnOrder *order(DnOrderKind kind)
{
	DnOrder *made = dn_order_new(kind);

	made->cluster = g_strdup("0123456789abcdef");
	made->term = 7;
	made->session = g_strdup("s");
	made->sequence = 42;
	return made;
}

Test(codec, an_assignment_arrives_as_it_was_sent)
{
	g_autoptr(DnOrder) sent = order(DN_ORDER_ASSIGN);
	const DnExposed tcp = {.port = 53}, udp = {.port = 53, .protocol = DN_PROTOCOL_UDP};

	sent->assign = dn_assign_new("web", "10.99.0.1");
	g_array_append_val(sent->assign->exposed, tcp);
	g_array_append_val(sent->assign->exposed, udp);
	g_ptr_array_add(sent->assign->parts, dn_part_new("d", 3, 2, 1));
	g_ptr_array_add(sent->assign->endpoints, dn_remote_endpoint_new(udp, "10.77.1.1", 8080));
	sent->assign->respawn_grant = 5;

	g_autoptr(GBytes) bytes = dn_frame_encode_order(sent);
	g_autoptr(DnFrame) got = dn_frame_decode(bytes, NULL);
	cr_assert(got != NULL && got->order != NULL);
	cr_assert(eq(u64, got->order->sequence, 42));
	cr_assert(eq(u64, got->order->term, 7));
	cr_assert(dn_assign_equal(got->order->assign, sent->assign));
	g_array_index(got->order->assign->exposed, DnExposed, 1).protocol = DN_PROTOCOL_TCP;
	cr_assert(not(dn_assign_equal(got->order->assign, sent->assign)));
}

Test(codec, a_manifest_arrives_to_the_byte)
{
	g_autoptr(DnOrder) sent = order(DN_ORDER_MANIFEST);

	sent->manifest = g_bytes_new_static("a\0b\xff", 4);
	g_ptr_array_add(sent->signatures, g_bytes_new_static("sig", 3));
	g_autoptr(GBytes) bytes = dn_frame_encode_order(sent);
	g_autoptr(DnFrame) got = dn_frame_decode(bytes, NULL);
	cr_assert(got != NULL);
	cr_assert(g_bytes_equal(got->order->manifest, sent->manifest));
	cr_assert(eq(u32, got->order->signatures->len, 1));
}

Test(codec, an_incident_keeps_its_stages_sockets_and_peers)
{
	g_autoptr(DnFact) sent = dn_fact_new(DN_FACT_INCIDENT);
	DnIncident *incident = dn_incident_new();

	sent->incident = incident;
	incident->id = g_strdup("i");
	incident->service = g_strdup("web");
	incident->node = g_strdup("web-1");
	incident->host = g_strdup("h1");
	incident->address = g_strdup("10.77.0.2");
	incident->digest = g_strdup("d1");
	incident->class = g_strdup("exec");
	incident->event_time_ns = UINT64_C(1767323045000000006);
	incident->stages_us[DN_STAGE_CUT] = 12;
	g_ptr_array_add(incident->sockets,
			dn_socket_record_new("tcp", "established", "10.77.0.2:4000",
					     "192.0.2.1:443", false));
	g_autoptr(GBytes) bytes = dn_frame_encode_fact(sent);
	g_autoptr(DnFrame) got = dn_frame_decode(bytes, NULL);
	cr_assert(got != NULL);
	const DnIncident *back = got->fact->incident;
	cr_assert_str_eq(back->address, "10.77.0.2");
	cr_assert_str_eq(back->digest, "d1");
	cr_assert(eq(i64, back->stages_us[DN_STAGE_CUT], 12));
	cr_assert(eq(i64, back->stages_us[DN_STAGE_SEALED], -1));
	cr_assert(eq(u64, back->event_time_ns, incident->event_time_ns));
	const DnSocketRecord *socket = g_ptr_array_index(back->sockets, 0);
	cr_assert_str_eq(socket->peer, "192.0.2.1:443");
}

Test(codec, a_frame_that_is_not_what_it_says_is_refused_by_name)
{
	const char *const bad[] = {
		"",
		"[]",
		"{",
		"{}",
		"{\"type\":\"nonsense\"}",
		"{\"type\":\"order\"}",
		"{\"type\":\"order\",\"kind\":\"assign\",\"cluster\":\"c\",\"term\":-1}",
		"{\"type\":\"hello\",\"version\":1e400}",
		"{\"type\":\"fact\",\"kind\":\"node\",\"seq\":1,\"node\":{\"id\":7}}",
		"{\"type\":\"enrol\",\"host\":\"h\",\"secret\":\"!!!!\\u0000\"}",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(DnFrame) frame = decode(bad[i], &error);

		cr_assert(eq(ptr, frame, NULL), "%s", bad[i]);
		cr_assert(error != NULL && error->domain == DN_ERROR, "%s", bad[i]);
	}
}

Test(codec, a_document_nested_past_the_limit_is_refused_before_it_is_parsed)
{
	g_autoptr(GString) deep = g_string_new("{\"a\":");
	g_autoptr(GError) error = NULL;

	for (int i = 0; i < 100000; i++)
		g_string_append_c(deep, '[');
	g_autoptr(DnFrame) frame = decode(deep->str, &error);
	cr_assert(eq(ptr, frame, NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}
