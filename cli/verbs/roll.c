/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/text.h"
#include "manifest/edit.h"
#include "manifest/manifest.h"
#include "verbs/all.h"
#include "verbs/current.h"
#include "verbs/submit.h"

#define COMMIT_DIGITS 64
#define PREFIX_DIGITS 8
#define REPLICAS_LIMIT 1000
#define JUDGED                                                                                     \
	"The manifest in force has to be signed by who may, says the home's trust.yaml: the\n"     \
	"supervisor alone is not believed. A plan is signed and sent like the change itself."

/*
 * The commit that --image means: itself, or what the supervisor keeps under a ref or a prefix. Of a
 * ref the supervisor chooses among what release keys have signed, so the person is told which.
 */
static char *find_commit(DnCall *call, DnHttp *http, const char *wanted, GError **error)
{
	if (dn_text_is_hex(wanted, COMMIT_DIGITS))
		return g_strdup(wanted);

	g_autoptr(JsonObject) answer = dn_http_get(http, "/v1/images", error);
	JsonArray *images = dn_answer_array(answer, "images");
	if (answer == NULL)
		return NULL;
	for (unsigned i = 0; i < dn_answer_length(images); i++) {
		JsonObject *image = dn_answer_at(images, i);
		const char *commit = dn_answer_word(image, "commit");
		if (!dn_text_is_hex(commit, COMMIT_DIGITS))
			continue;
		if (strcmp(dn_answer_word(image, "ref"), wanted) == 0 ||
		    (strlen(wanted) >= PREFIX_DIGITS && g_str_has_prefix(commit, wanted))) {
			dn_output_note(call->output, "--image %s is commit %s", wanted, commit);
			return g_strdup(commit);
		}
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "--image %s: the supervisor has no such image; see 'dnode images', push with "
		    "'dnode image push'",
		    wanted);
	return NULL;
}

/* A service that was removed has no nodes that could be fewer, more or other ones. */
static bool is_there(GBytes *bytes, const char *service, GError **error)
{
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, service, error);

	if (manifest == NULL)
		return false;
	if (!manifest->removed)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "%s was removed with epoch %" G_GUINT64_FORMAT
		    "; 'dnode apply FILE' with a later one brings it back",
		    service, manifest->epoch);
	return false;
}

/* The manifest in force, if it is to be trusted, changed as asked, at the next epoch. */
static GBytes *edit(DnCall *call, DnManifestEdit *changes, GError **error)
{
	const char *service = dn_call_operand(call, 0), *wanted = dn_call_option(call, "image");
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(GBytes) bytes =
		http != NULL ? dn_current_trusted(call, http, service, error) : NULL;
	g_autofree char *commit =
		bytes != NULL && wanted != NULL ? find_commit(call, http, wanted, error) : NULL;

	if (bytes == NULL || (wanted != NULL && commit == NULL))
		return NULL;
	if (!is_there(bytes, service, error))
		return NULL;
	changes->commit = commit;
	return dn_manifest_edit(bytes, service, changes, error);
}

static bool change(DnCall *call, DnManifestEdit changes, GError **error)
{
	/* Also for a plan: the supervisor takes no manifest, not even to look at, unsigned. */
	if (dn_call_need(call, "key", error) == NULL)
		return false;

	g_autoptr(GBytes) bytes = edit(call, &changes, error);
	return bytes != NULL &&
	       dn_submit(call, &(DnSubmission){bytes, dn_call_operand(call, 0), NULL}, error);
}

static bool run_roll(DnCall *call, GError **error)
{
	return change(call, (DnManifestEdit){.replicas = -1, .restart = true}, error);
}

const DnVerb dn_verb_roll = {
	.noun = "roll",
	.operands = "SERVICE",
	.least = 1,
	.most = 1,
	.help = "replace all nodes of a service, one after the other, without a dropped request",
	.more = "Takes the manifest in force, gives it the next epoch and signs it. Without "
		"--image\n"
		"the same image is started afresh, by a higher 'restart'.\n" JUDGED
		"\n'dnode manifest show SERVICE --raw' prints what is in force, for your own copy.",
	.many = "key",
	.options = {{"image", "COMMIT", "roll to this image: a commit, its first digits, or a ref"},
		    {"key", "KEY", DN_KEYS_HELP("deploy")},
		    {"plan", NULL, "only show what would change"},
		    {"wait", NULL, "until every node is replaced and ready"}},
	.run = run_roll,
};

static bool run_scale(DnCall *call, GError **error)
{
	uint64_t replicas = 0;

	if (!dn_text_parse_u64(dn_call_operand(call, 1), REPLICAS_LIMIT, &replicas)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "scale: '%s' is no number of nodes; say 0 to %d",
			    dn_call_operand(call, 1), REPLICAS_LIMIT);
		return false;
	}
	return change(call, (DnManifestEdit){.replicas = (int64_t)replicas}, error);
}

const DnVerb dn_verb_scale = {
	.noun = "scale",
	.operands = "SERVICE N",
	.least = 2,
	.most = 2,
	.help = "run another number of nodes of a service",
	.more = "Takes the manifest in force, changes its replicas, gives it the next epoch and "
		"signs\n"
		"it. Nodes that run stay, under the new epoch; only what is missing is started, "
		"and what\n"
		"is too many drained and stopped. '--plan' shows the changes and the hosts "
		"first.\n" JUDGED,
	.many = "key",
	.options = {{"key", "KEY", DN_KEYS_HELP("deploy")},
		    {"plan", NULL, "only show what would change"},
		    {"wait", NULL, "until every node is there and ready"}},
	.run = run_scale,
};

static bool run_remove(DnCall *call, GError **error)
{
	return change(call, (DnManifestEdit){.state_removed = true, .replicas = -1}, error);
}

const DnVerb dn_verb_remove = {
	.noun = "remove",
	.operands = "SERVICE",
	.least = 1,
	.most = 1,
	.help = "stop a service and forget all but its epoch",
	.more = "A removal is itself a signed manifest with the next epoch, made of the one in "
		"force.\n" JUDGED "\nQuarantined nodes stay.",
	.many = "key",
	.options = {{"key", "KEY", DN_KEYS_HELP("deploy")},
		    {"plan", NULL, "only show what would change"},
		    {"wait", NULL, "until its nodes are gone"}},
	.run = run_remove,
};

static void show_status(DnOutput *output, JsonObject *service)
{
	JsonObject *rolling = dn_answer_object(service, "rolling");

	dn_output_line(output,
		       "%s is %s at epoch %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT
		       " of %" G_GINT64_FORMAT " ready",
		       dn_answer_word(service, "name"), dn_answer_word(service, "state"),
		       dn_answer_number(service, "epoch", 0), dn_answer_number(service, "ready", 0),
		       dn_answer_number(service, "replicas", 0));
	if (rolling == NULL) {
		dn_output_line(output, "no roll is going on");
		return;
	}
	dn_output_line(output,
		       "rolling to epoch %" G_GINT64_FORMAT " since %s: %" G_GINT64_FORMAT
		       " of %" G_GINT64_FORMAT " new nodes are ready",
		       dn_answer_number(rolling, "epoch", 0), dn_answer_word(rolling, "started"),
		       dn_answer_number(rolling, "ready", 0),
		       dn_answer_number(rolling, "wanted", 0));
	if (dn_answer_text(rolling, "error") != NULL)
		dn_output_line(output, "given up: %s", dn_answer_text(rolling, "error"));
}

static bool run_status(DnCall *call, GError **error)
{
	g_autofree char *name = dn_http_escape(dn_call_operand(call, 0));
	g_autofree char *path = g_strconcat("/v1/services/", name, NULL);

	return dn_answer_one(call, path, "service", show_status, error);
}

const DnVerb dn_verb_roll_status = {
	.noun = "roll",
	.verb = "status",
	.operands = "SERVICE",
	.least = 1,
	.most = 1,
	.help = "how far a roll has come",
	.run = run_status,
};
