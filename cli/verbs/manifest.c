/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/objects.h"
#include "manifest/effective.h"
#include "seal/trust.h"
#include "verbs/all.h"
#include "verbs/current.h"
#include "verbs/home.h"
#include "verbs/named.h"
#include "verbs/submit.h"

/* One of "faults": without a place it is about the file as a whole. */
static void add_fault(JsonArray *found, const char *path, const DnMark *at, const char *text)
{
	g_autofree char *file = dn_text_line(path, strlen(path));
	g_autofree char *line = dn_text_line(text, strlen(text));
	JsonObject *object = json_object_new();

	json_object_set_string_member(object, "file", file);
	if (at != NULL) {
		json_object_set_int_member(object, "line", at->line);
		json_object_set_int_member(object, "column", at->column);
	} else {
		json_object_set_null_member(object, "line");
		json_object_set_null_member(object, "column");
	}
	json_object_set_string_member(object, "text", line);
	json_array_add_object_element(found, object);
}

static void list_faults(const char *path, const DnFaults *faults, JsonArray *found)
{
	const DnFault *fault = NULL;
	unsigned n = 0;

	for (; (fault = dn_faults_get(faults, n)) != NULL; n++)
		add_fault(found, path, &fault->at, fault->text);
	if (dn_faults_count(faults) == n)
		return;
	g_autofree char *more =
		g_strdup_printf("%u more errors are not shown", dn_faults_count(faults) - n);
	add_fault(found, path, NULL, more);
}

/* One file: every fault as a line of its own, and in @found. */
static bool check(DnCall *call, const char *path, JsonArray *found)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(GBytes) bytes = dn_file_read(path, DN_MANIFEST_BYTES_LIMIT, &cause);
	g_autoptr(DnFaults) faults = dn_faults_new(path);
	g_autoptr(DnManifest) manifest = bytes != NULL ? dn_manifest_read(bytes, faults) : NULL;

	if (manifest != NULL) {
		if (!call->json)
			dn_output_line(call->output,
				       "%s: service %s, epoch %" G_GUINT64_FORMAT ", digest %s",
				       path, manifest->service, manifest->epoch, manifest->digest);
		return true;
	}
	if (bytes == NULL)
		add_fault(found, path, NULL, cause->message);
	else if (!dn_faults_raise(faults, &cause))
		list_faults(path, faults, found);
	g_auto(GStrv) lines = g_strsplit(cause->message, "\n", -1);
	for (unsigned i = 0; lines[i] != NULL; i++)
		if (lines[i][0] != '\0')
			dn_output_finding(call->output, lines[i]);
	return false;
}

static bool run_check(DnCall *call, GError **error)
{
	g_autoptr(JsonObject) document = dn_json_document();
	JsonArray *found = json_array_new();
	unsigned bad = 0, n = call->operands->len;

	for (unsigned i = 0; i < n; i++)
		bad += !check(call, dn_call_operand(call, i), found);
	json_object_set_int_member(document, "files", n);
	json_object_set_int_member(document, "bad", bad);
	json_object_set_array_member(document, "faults", found);
	if (call->json)
		dn_output_json(call->output, document);
	if (bad == 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%u of %u manifest%s cannot be used", bad, n,
		    n == 1 ? "" : "s");
	return false;
}

const DnVerb dn_verb_manifest_check = {
	.noun = "manifest",
	.verb = "check",
	.operands = "FILE...",
	.least = 1,
	.most = G_MAXUINT,
	.help = "everything that is wrong with manifests, with line and column",
	.more = "With --json: faults[] with file, line, column and text; one that is about a file "
		"as a\n"
		"whole has null for its place.",
	.run = run_check,
};

static bool run_sign(DnCall *call, GError **error)
{
	const char *path = dn_call_operand(call, 0), *named = dn_call_option(call, "output");
	g_autofree char *output =
		named != NULL ? g_strdup(named) : g_strconcat(path, ".minisig", NULL);
	bool free = dn_named_is_replaceable(output, path, "output", error);
	g_autoptr(GBytes) bytes = free ? dn_named_read(path, DN_MANIFEST_BYTES_LIMIT, error) : NULL;
	g_autoptr(DnManifest) manifest =
		bytes != NULL ? dn_manifest_parse(bytes, path, error) : NULL;
	g_autoptr(DnSecretKey) key = manifest != NULL ? dn_call_key(call, error) : NULL;
	g_autoptr(GBytes) signature =
		key != NULL ? dn_submit_sign(key, bytes, manifest, error) : NULL;

	if (signature == NULL || !dn_file_replace(output, signature, 0644, error))
		return false;
	if (call->json) {
		JsonObject *document = dn_json_document();

		json_object_set_string_member(document, "service", manifest->service);
		json_object_set_int_member(document, "epoch", (gint64)manifest->epoch);
		json_object_set_string_member(document, "signature", output);
		dn_output_json(call->output, document);
		json_object_unref(document);
		return true;
	}
	dn_output_line(call->output, "signed %s epoch %" G_GUINT64_FORMAT " in %s",
		       manifest->service, manifest->epoch, output);
	return true;
}

const DnVerb dn_verb_manifest_sign = {
	.noun = "manifest",
	.verb = "sign",
	.operands = "FILE",
	.least = 1,
	.most = 1,
	.help = "sign a manifest into FILE.minisig",
	.more = "When several people sign: --output FILE.NAME.minisig for each; apply takes all.",
	.options = {{"key", "KEY", "the deploy key: a file, or a name in the home's keys"},
		    {"output", "FILE", "write the signature there"}},
	.run = run_sign,
};

/* The image's defaults from the local repository, when it is there; false when they are not. */
static bool find_defaults(DnCall *call, const DnManifest *manifest, DnRun *run)
{
	g_autoptr(GError) cause = NULL;
	g_autofree char *path = dn_home_path(call, "repo", &cause);
	g_autoptr(DnImageRepo) repo = path != NULL && manifest->image_commit != NULL
					      ? dn_image_repo_open_now(path, &cause)
					      : NULL;

	if (repo != NULL &&
	    dn_image_read_defaults_now(repo, manifest->image_commit, run, NULL, &cause))
		return true;
	dn_output_note(call->output, "without the image's defaults: %s",
		       cause != NULL ? cause->message : "the service is removed");
	return false;
}

/* FILE when there is such a file, not a directory that has the name of the service; else the
 * service's manifest in force. */
static GBytes *load(DnCall *call, const char *operand, GError **error)
{
	if (g_file_test(operand, G_FILE_TEST_IS_REGULAR) || strpbrk(operand, "/.") != NULL)
		return dn_named_read(operand, DN_MANIFEST_BYTES_LIMIT, error);

	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	return http != NULL ? dn_current_fetch(http, operand, NULL, error) : NULL;
}

static void show(DnCall *call, const DnManifest *manifest)
{
	DnRun defaults = {0};
	bool known = find_defaults(call, manifest, &defaults);
	g_autofree char *text = dn_manifest_render(manifest, known ? &defaults : NULL);

	if (known)
		dn_run_clear(&defaults);
	if (!call->json) {
		dn_output_text(call->output, text, strlen(text));
		return;
	}
	g_autoptr(JsonObject) document = dn_json_document();
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "service", manifest->service);
	json_object_set_int_member(object, "epoch", (gint64)manifest->epoch);
	json_object_set_string_member(object, "digest", manifest->digest);
	json_object_set_string_member(object, "effective", text);
	json_object_set_object_member(document, "manifest", object);
	dn_output_json(call->output, document);
}

/* The very bytes, which a signature is over; but a terminal obeys some of what a stranger wrote. */
static bool show_raw(DnCall *call, GBytes *bytes, GError **error)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(bytes, &size);

	if (size == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s: the manifest is empty",
			    dn_call_operand(call, 0));
		return false;
	}
	g_autofree char *text = g_strndup(data, size);
	if (isatty(STDOUT_FILENO))
		dn_output_text(call->output, text, strlen(text));
	else
		dn_output_verbatim(call->output, text);
	return true;
}

static bool run_show(DnCall *call, GError **error)
{
	const char *operand = dn_call_operand(call, 0);
	g_autoptr(GBytes) bytes = load(call, operand, error);

	if (bytes == NULL)
		return false;
	if (dn_call_has(call, "raw") && call->json) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "--raw prints the manifest's own bytes, which are no JSON; leave out "
			    "--json");
		return false;
	}
	if (dn_call_has(call, "raw"))
		return show_raw(call, bytes, error);
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, operand, error);
	if (manifest == NULL)
		return false;
	show(call, manifest);
	return true;
}

const DnVerb dn_verb_manifest_show = {
	.noun = "manifest",
	.verb = "show",
	.operands = "FILE|SERVICE",
	.least = 1,
	.most = 1,
	.help = "what a manifest comes to, with defaults and the image's part",
	.options = {{"raw", NULL, "the signed text itself, as it was applied"}},
	.run = run_show,
};
