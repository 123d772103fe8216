/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/text.h"
#include "verbs/all.h"
#include "verbs/answer.h"

#define DEFAULT_LINES "100"
#define LINES_LIMIT 10000
#define POLL_US (300 * 1000)

/* One answer's text, and where the next one begins. *@some: there may be more already. */
static bool print_part(DnCall *call, DnHttp *http, const char *path, uint64_t *offset, bool *some,
		       GError **error)
{
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);

	if (answer == NULL)
		return false;
	JsonObject *logs = dn_answer_object(answer, "logs");
	const char *text = dn_answer_text(logs, "text");
	*some = text != NULL && *text != '\0';
	*offset = (uint64_t)dn_answer_number(logs, "offset", (int64_t)*offset);
	if (call->json)
		dn_output_json_line(call->output, answer);
	else if (text != NULL)
		dn_output_text(call->output, text, strlen(text));
	return dn_output_finish(call->output, error);
}

static bool run(DnCall *call, GError **error)
{
	const char *wanted = dn_call_option(call, "n");
	g_autofree char *node = dn_http_escape(dn_call_operand(call, 0));
	uint64_t lines = 0, offset = 0;
	bool some = false;

	if (!dn_text_parse_u64(wanted != NULL ? wanted : DEFAULT_LINES, LINES_LIMIT, &lines)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "-n %s: a number up to %d", wanted,
			    LINES_LIMIT);
		return false;
	}
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	if (http == NULL)
		return false;
	g_autofree char *first =
		g_strdup_printf("/v1/nodes/%s/logs?lines=%" G_GUINT64_FORMAT, node, lines);
	if (!print_part(call, http, first, &offset, &some, error))
		return false;
	while (dn_call_has(call, "f")) {
		if (!some)
			g_usleep(POLL_US);
		g_autofree char *next =
			g_strdup_printf("/v1/nodes/%s/logs?lines=%d&offset=%" G_GUINT64_FORMAT,
					node, LINES_LIMIT, offset);
		if (!print_part(call, http, next, &offset, &some, error))
			return false;
	}
	return true;
}

const DnVerb dn_verb_logs = {
	.noun = "logs",
	.operands = "NODE",
	.least = 1,
	.most = 1,
	.help = "what a node wrote to its standard output and error",
	.more = "The host keeps the last part of it, also of a quarantined node.",
	.options = {{"f", NULL, "go on printing what is written from now on"},
		    {"n", "LINES", "begin with this many last lines (" DEFAULT_LINES ")"}},
	.on_agent = true,
	.run = run,
};
