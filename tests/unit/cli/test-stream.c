/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "http/problem.h"
#include "http/stream.h"
#include "support/suite.h"

TestSuite(stream, .fini = dn_suite_end);

typedef struct {
	unsigned n, stop_after;
	char *last_id;
	gint64 last_value;
} Seen;

static bool on_event(const char *id, JsonObject *data, gpointer user_data)
{
	Seen *seen = user_data;

	seen->n++;
	g_free(seen->last_id);
	seen->last_id = g_strdup(id);
	seen->last_value = json_object_get_int_member_with_default(data, "v", -1);
	return seen->stop_after == 0 || seen->n < seen->stop_after;
}

Test(stream, events_are_the_same_however_their_bytes_are_cut)
{
	static const char text[] = ": hello\r\nid: 7\r\ndata: {\"v\":\r\ndata: 1}\r\n\r\n"
				   "event: x\nid:8\ndata:{\"v\":2}\n\n\n";

	for (size_t step = 1; step < sizeof(text); step++) {
		Seen seen = {0};
		g_autoptr(DnStream) stream = dn_stream_new(on_event, &seen);
		for (size_t at = 0; at < sizeof(text) - 1; at += step) {
			g_autoptr(GError) error = NULL;
			bool going_on = false;
			cr_assert(dn_stream_feed(stream, text + at,
						 MIN(step, sizeof(text) - 1 - at), &going_on,
						 &error));
			cr_assert(going_on);
		}
		cr_assert_eq(seen.n, 2u);
		cr_assert_str_eq(seen.last_id, "8");
		cr_assert_eq(seen.last_value, 2);
		g_free(seen.last_id);
	}
}

Test(stream, the_callback_can_end_it_in_the_middle_of_a_step)
{
	static const char text[] = "data:{\"v\":1}\n\ndata:{\"v\":2}\n\n";
	Seen seen = {.stop_after = 1};
	g_autoptr(DnStream) stream = dn_stream_new(on_event, &seen);
	g_autoptr(GError) error = NULL;
	bool going_on = true;

	cr_assert(dn_stream_feed(stream, text, strlen(text), &going_on, &error));
	cr_assert_not(going_on);
	cr_assert_eq(seen.n, 1u);
	g_free(seen.last_id);
}

Test(stream, an_event_without_end_is_refused_and_not_stored)
{
	Seen seen = {0};
	g_autoptr(DnStream) stream = dn_stream_new(on_event, &seen);
	g_autofree char *part = g_strnfill(1 << 16, 'x');
	g_autoptr(GError) error = NULL;
	bool going_on = true, fine = true;

	for (unsigned i = 0; fine && i < 64; i++)
		fine = dn_stream_feed(stream, part, 1 << 16, &going_on, &error);
	cr_assert_not(fine);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
}

Test(stream, an_event_that_is_no_json_is_an_error)
{
	static const char text[] = "data: {nonsense\n\n";
	Seen seen = {0};
	g_autoptr(DnStream) stream = dn_stream_new(on_event, &seen);
	g_autoptr(GError) error = NULL;
	bool going_on = true;

	cr_assert_not(dn_stream_feed(stream, text, strlen(text), &going_on, &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}

/* ---- problems ---- */

static void problem(unsigned status, const char *body, GQuark domain, int code, const char *message)
{
	g_autoptr(GError) error = dn_problem_parse(status, body, strlen(body));

	cr_assert(g_error_matches(error, domain, code), "%s: code %d", body, error->code);
	cr_assert_str_eq(error->message, message);
}

Test(stream, a_problem_becomes_an_error_with_its_own_code)
{
	problem(409, "{\"code\":3,\"detail\":\"epoch 4 is not above 5\"}", DN_ERROR,
		DN_ERROR_CONFLICT, "epoch 4 is not above 5");
	problem(404, "{\"code\":1,\"detail\":\"no service x\"}", DN_ERROR, DN_ERROR_INVALID,
		"no service x");
	problem(500, "{\"detail\":\"disk\"}", G_IO_ERROR, G_IO_ERROR_FAILED, "disk");
}

Test(stream, an_answer_that_is_no_problem_is_judged_by_its_status)
{
	problem(403, "<html>", DN_ERROR, DN_ERROR_UNTRUSTED,
		"the supervisor answered with HTTP status 403");
	problem(502, "", DN_ERROR, DN_ERROR_UNAVAILABLE,
		"the supervisor answered with HTTP status 502");
	problem(429, "{\"code\":\"five\"}", DN_ERROR, DN_ERROR_EXHAUSTED,
		"the supervisor answered with HTTP status 429");
	problem(400, "{\"code\":77,\"detail\":\"x\\u001b[2J\"}", DN_ERROR, DN_ERROR_INVALID,
		"x\\x1b[2J");
}

Test(stream, status_and_code_are_one_table_both_ways)
{
	for (int code = DN_ERROR_INVALID; code <= DN_ERROR_UNSUPPORTED; code++) {
		g_autoptr(GError) error = g_error_new_literal(DN_ERROR, code, "x");
		g_autoptr(GError) back = dn_problem_parse(dn_problem_status(error), "", 0);
		cr_assert(g_error_matches(back, DN_ERROR, code), "code %d", code);
	}
}
