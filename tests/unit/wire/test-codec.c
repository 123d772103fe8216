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

/* What becomes the name of a file. */
static const char *const no_names[] = {
	"",
	".",
	"..",
	"../epochs",
	"../incidents/0123456789abcdef",
	"/etc/x",
	"a/b",
	"a.json",
	"Web",
	"web-",
	"-web",
	"1web",
	"w\\u0000",
	"web\\n",
	"\\u00e9",
	"abcdefghijabcdefghijabcdefghijabcdefghijk",
};

static bool is_taken(const char *body, const char *name)
{
	g_auto(GStrv) around = g_strsplit(body, "NAME", 2);
	g_autofree char *text = g_strconcat(around[0], name, around[1], NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = decode(text, &error);

	cr_assert(frame != NULL || g_error_matches(error, DN_ERROR, DN_ERROR_INVALID), "%s", text);
	return frame != NULL;
}

Test(codec, a_service_is_a_name_wherever_it_is_spoken_of)
{
#define ORDER(kind)                                                                                \
	"{\"type\":\"order\",\"kind\":\"" kind "\",\"cluster\":\"c\",\"term\":1,"                  \
	"\"session\":\"s\",\"sequence\":1,"
	static const char *const bodies[] = {
		ORDER("assign") "\"assign\":{\"service\":\"NAME\",\"vip\":\"10.99.0.1\","
				"\"exposed\":[],\"parts\":[],\"endpoints\":[],"
				"\"respawn_grant\":0}}",
		ORDER("forget") "\"service\":\"NAME\"}",
		("{\"type\":\"enrolled\",\"cluster\":\"c\",\"host\":\"h\",\"trust\":\"AAAA\","
		 "\"epochs\":{\"NAME\":1}}"),
	};
#undef ORDER

	for (size_t b = 0; b < G_N_ELEMENTS(bodies); b++) {
		cr_assert(is_taken(bodies[b], "web-2"), "%s", bodies[b]);
		for (size_t i = 0; i < G_N_ELEMENTS(no_names); i++)
			cr_assert(not(is_taken(bodies[b], no_names[i])), "%s: %s", bodies[b],
				  no_names[i]);
	}
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

Test(codec, an_incident_keeps_what_was_done_beside_the_cut)
{
	g_autoptr(DnFact) sent = dn_fact_new(DN_FACT_INCIDENT);
	DnIncident *incident = dn_incident_new();

	sent->incident = incident;
	incident->id = g_strdup("i");
	incident->service = g_strdup("web");
	incident->node = g_strdup("web-1");
	incident->host = g_strdup("h1");
	incident->class = g_strdup("exec");
	incident->isolated_us = 40;
	incident->isolated_verified_us = 30000;
	incident->indicator_path = g_strdup("/tmp/x");
	incident->here = (DnSiblings){.time_us = 900, .looked = 2, .found = 1};
	incident->attack = g_strdup("00000000000000a1");
	g_autoptr(GBytes) bytes = dn_frame_encode_fact(sent);
	g_autoptr(DnFrame) got = dn_frame_decode(bytes, NULL);
	cr_assert(got != NULL);
	const DnIncident *back = got->fact->incident;
	cr_assert(dn_incident_is_isolated(back));
	cr_assert(eq(i64, back->isolated_us, 40));
	cr_assert(eq(i64, back->isolated_verified_us, 30000));
	cr_assert_str_eq(back->indicator_path, "/tmp/x");
	cr_assert(eq(ptr, back->indicator_comm, NULL));
	cr_assert(eq(u32, back->here.looked, 2));
	cr_assert(eq(u32, back->here.found, 1));
	cr_assert(eq(i64, back->here.time_us, 900));
	cr_assert(eq(i64, back->elsewhere.time_us, -1));
	cr_assert_str_eq(back->attack, "00000000000000a1");
}

Test(codec, a_sweep_arrives_with_its_indicator_and_so_does_the_answer)
{
	g_autoptr(DnOrder) sent = dn_order_new(DN_ORDER_SWEEP);
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(7);

	sent->cluster = g_strdup("c");
	sent->session = g_strdup("s");
	sent->incident = g_strdup("00000000000000a1");
	sent->commit = g_strnfill(64, 'a');
	sent->class = g_strdup("exec");
	sent->path = g_strdup("/tmp/x");
	sent->drill = true;
	g_autoptr(GBytes) bytes = dn_frame_encode_order(sent);
	g_autoptr(DnFrame) got = dn_frame_decode(bytes, NULL);
	cr_assert(got != NULL);
	cr_assert_str_eq(got->order->path, "/tmp/x");
	cr_assert_str_eq(got->order->commit, sent->commit);
	cr_assert(eq(ptr, got->order->comm, NULL));
	cr_assert(got->order->drill);

	answer->done = true;
	answer->looked = 3;
	answer->found = 5; /* more than there are: a lie */
	g_autoptr(GBytes) said = dn_frame_encode_answer(answer);
	g_autoptr(DnFrame) heard = dn_frame_decode(said, NULL);
	cr_assert(eq(u32, heard->answer->looked, 3));
	cr_assert(eq(u32, heard->answer->found, 3));
}

Test(codec, every_control_character_is_escaped)
{
	for (char c = 1; c < 0x20; c++) {
		const char text[] = {'a', c, 'b', '\0'};
		JsonObject *object = json_object_new();

		dn_json_set_string(object, "x", text);
		g_autoptr(GBytes) printed = dn_json_print(object);
		gsize size = 0;
		const char *bytes = g_bytes_get_data(printed, &size);
		cr_assert(memchr(bytes, c, size) == NULL, "%d", c);
		g_autoptr(JsonObject) read = dn_json_parse(printed, 100, NULL);
		cr_assert_str_eq(json_object_get_string_member(read, "x"), text);
	}
}

Test(codec, what_differs_in_endpoints_alone_starts_and_ends_nothing)
{
	g_autoptr(DnAssign) one = dn_assign_new("web", "10.99.0.1");
	g_ptr_array_add(one->parts, dn_part_new("d", 1, 2, 0));
	g_autoptr(DnAssign) other = dn_assign_copy(one);

	g_ptr_array_add(other->endpoints,
			dn_remote_endpoint_new((DnExposed){.port = 80}, "10.77.1.1", 8080));
	other->respawn_grant++;
	cr_assert(dn_assign_only_balances(one, other));
	g_ptr_array_add(other->parts, dn_part_new("e", 2, 0, 0));
	cr_assert(not(dn_assign_only_balances(one, other)));
}

/* Text that was made printable is longer than what came; who writes it must not lose the link. */
Test(codec, free_text_that_is_too_long_arrives_cut)
{
	g_autofree char *dots = g_strnfill(5000, '.');
	g_autofree char *text = g_strconcat(dots, "\xff", NULL);
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);
	DnIncident *incident = dn_incident_new();

	fact->incident = incident;
	incident->id = g_strdup("i");
	incident->service = g_strdup("web");
	incident->node = g_strdup("web-1");
	incident->host = g_strdup("h1");
	incident->class = g_strdup(text);
	incident->detail = g_strdup(text);
	incident->indicator_path = g_strdup(text);
	incident->indicator_comm = g_strdup_printf("%.63s\u00e4", dots);
	g_autoptr(GBytes) said = dn_frame_encode_fact(fact);
	g_autoptr(DnFrame) heard = dn_frame_decode(said, NULL);
	cr_assert(heard != NULL);
	cr_assert(eq(sz, strlen(heard->fact->incident->class), 64));
	cr_assert(eq(sz, strlen(heard->fact->incident->detail), 1024));
	cr_assert(eq(sz, strlen(heard->fact->incident->indicator_path), 1024));
	/* Between characters. */
	cr_assert(eq(sz, strlen(heard->fact->incident->indicator_comm), 63));

	g_autoptr(DnOrder) sweep = order(DN_ORDER_SWEEP);
	sweep->incident = g_strdup("i");
	sweep->commit = g_strdup("c");
	sweep->class = g_strdup(text);
	sweep->path = g_strdup(text);
	sweep->comm = g_strdup(text);
	g_autoptr(GBytes) asked = dn_frame_encode_order(sweep);
	g_autoptr(DnFrame) got = dn_frame_decode(asked, NULL);
	cr_assert(got != NULL);

	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(7);
	answer->error = g_strconcat("\xff", text, NULL);
	g_autoptr(GBytes) bytes = dn_frame_encode_answer(answer);
	g_autoptr(DnFrame) answered = dn_frame_decode(bytes, NULL);
	cr_assert(answered != NULL);
	cr_assert(strlen(answered->answer->error) > 4000);
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
		"{\"type\":\"enrol\",\"host\":\"h\",\"secret\":\"\"}",
		"{\"type\":\"enrol\",\"host\":\"h\",\"secret\":\"AAAA\"}",
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
