/* SPDX-License-Identifier: Apache-2.0 */
#include "image/catalog.h"
#include "image/check.h"
#include "image/objects.h"
#include "image/sign.h"
#include "output/table.h"
#include "verbs/all.h"
#include "verbs/answer.h"
#include "verbs/home.h"

#include "base/clock.h"

#define REPO_OPTION                                                                                \
	{                                                                                          \
		"repo", "DIR", "the repository it is in (HOME/repo)"                               \
	}

static void show_list(DnOutput *output, JsonArray *images)
{
	static const char *const titles[] = {"REF", "COMMIT", "SIZE", "FILES", "AGE", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(images); i++) {
		JsonObject *image = dn_answer_at(images, i);
		g_autofree char *size =
			g_format_size_full((uint64_t)dn_answer_number(image, "size_bytes", 0),
					   G_FORMAT_SIZE_IEC_UNITS);
		g_autofree char *age = dn_answer_age(dn_answer_text(image, "created"));
		dn_table_add(table, dn_answer_text(image, "ref"));
		dn_table_add(table, dn_answer_text(image, "commit"));
		dn_table_add(table, size);
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(image, "files", 0));
		dn_table_add(table, age);
	}
	dn_output_table(output, table, "images");
}

static bool list_local(DnCall *call, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_home_open_repo(call, error);
	g_autoptr(GPtrArray) images = repo != NULL ? dn_image_list_now(repo, error) : NULL;

	if (images == NULL)
		return false;
	g_autoptr(JsonObject) document = dn_json_document();
	JsonArray *array = json_array_new();
	for (unsigned i = 0; i < images->len; i++) {
		const DnImageInfo *info = images->pdata[i];
		JsonObject *image = json_object_new();
		json_object_set_string_member(image, "ref", info->ref);
		json_object_set_string_member(image, "commit", info->commit);
		json_object_set_int_member(image, "size_bytes", (gint64)info->size_bytes);
		json_object_set_int_member(image, "files", (gint64)info->files);
		dn_json_set_time(image, "created", info->created_ns);
		json_array_add_object_element(array, image);
	}
	json_object_set_array_member(document, "images", array);
	if (call->json)
		dn_output_json(call->output, document);
	else
		show_list(call->output, array);
	return true;
}

static bool run_ls(DnCall *call, GError **error)
{
	if (dn_call_has(call, "repo"))
		return list_local(call, error);
	return dn_answer_list(call, "/v1/images", "images", show_list, error);
}

const DnVerb dn_verb_image_ls = {
	.noun = "image",
	.verb = "ls",
	.help = "images that the supervisor keeps, or those of a repository",
	.options = {{"repo", "DIR", "list this repository instead"}},
	.run = run_ls,
};

static JsonArray *strings(char **list)
{
	JsonArray *array = json_array_new();

	for (unsigned i = 0; list != NULL && list[i] != NULL; i++)
		json_array_add_string_element(array, list[i]);
	return array;
}

/* What the signed commit says, as one object. */
static JsonObject *describe(DnImageRepo *repo, const char *commit, GError **error)
{
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, error);
	g_auto(GStrv) refs = bytes != NULL ? dn_image_bindings(bytes, error) : NULL;
	g_autoptr(GBytes) metadata =
		refs != NULL ? dn_image_metadata_now(repo, commit, error) : NULL;
	g_autoptr(GPtrArray) signatures =
		metadata != NULL ? dn_image_signatures(metadata, error) : NULL;
	g_autoptr(GArray) ports = NULL;
	DnRun run = {0};

	if (signatures == NULL || !dn_image_read_defaults_now(repo, commit, &run, &ports, error))
		return NULL;
	JsonObject *image = json_object_new();
	JsonArray *numbers = json_array_new();
	for (unsigned i = 0; i < ports->len; i++)
		json_array_add_int_element(numbers, g_array_index(ports, uint16_t, i));
	json_object_set_string_member(image, "commit", commit);
	json_object_set_array_member(image, "refs", strings(refs));
	json_object_set_int_member(image, "signatures", signatures->len);
	json_object_set_array_member(image, "args", strings(run.args));
	json_object_set_array_member(image, "env", strings(run.env));
	dn_json_set_string(image, "cwd", run.cwd);
	if (run.uid >= 0)
		json_object_set_int_member(image, "user", run.uid);
	else
		json_object_set_null_member(image, "user");
	json_object_set_array_member(image, "ports", numbers);
	dn_run_clear(&run);
	return image;
}

static void show_words(DnOutput *output, JsonObject *image, const char *name)
{
	JsonArray *array = dn_answer_array(image, name);
	g_autoptr(GString) text = g_string_new(NULL);

	for (unsigned i = 0; i < dn_answer_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		if (json_node_get_value_type(node) == G_TYPE_INT64)
			g_string_append_printf(text, " %" G_GINT64_FORMAT, json_node_get_int(node));
		else
			g_string_append_printf(text, " %s", json_node_get_string(node));
	}
	dn_output_line(output, "%-10s%s", name, text->len > 0 ? text->str : " -");
}

static void show_one(DnOutput *output, JsonObject *image)
{
	static const char *const lists[] = {"refs", "args", "env", "ports"};

	dn_output_line(output, "%-10s %s", "commit", dn_answer_word(image, "commit"));
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		show_words(output, image, lists[i]);
	dn_output_line(output, "%-10s %s", "cwd", dn_answer_word(image, "cwd"));
	if (dn_answer_number(image, "user", -1) >= 0)
		dn_output_line(output, "%-10s %" G_GINT64_FORMAT, "user",
			       dn_answer_number(image, "user", -1));
	dn_output_line(output, "%-10s %" G_GINT64_FORMAT, "signatures",
		       dn_answer_number(image, "signatures", 0));
}

static bool run_show(DnCall *call, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_home_open_repo(call, error);
	g_autofree char *commit =
		repo != NULL ? dn_image_resolve_now(repo, dn_call_operand(call, 0), error) : NULL;
	JsonObject *image = commit != NULL ? describe(repo, commit, error) : NULL;

	if (image == NULL)
		return false;
	g_autoptr(JsonObject) document = dn_json_document();
	json_object_set_object_member(document, "image", image);
	if (call->json)
		dn_output_json(call->output, document);
	else
		show_one(call->output, image);
	return true;
}

const DnVerb dn_verb_image_show = {
	.noun = "image",
	.verb = "show",
	.operands = "COMMIT|REF",
	.least = 1,
	.most = 1,
	.help = "what an image in the local repository says about running it",
	.options = {REPO_OPTION},
	.run = run_show,
};

/* The refs a commit may be run under: each must be allowed by the trust file. */
static bool verify(DnCall *call, DnImageRepo *repo, const char *commit, GError **error)
{
	g_autoptr(DnTrustPolicy) policy = dn_home_trust(call, NULL, error);
	g_autoptr(GBytes) bytes =
		policy != NULL ? dn_image_commit_bytes_now(repo, commit, error) : NULL;
	g_auto(GStrv) refs = bytes != NULL ? dn_image_bindings(bytes, error) : NULL;

	if (refs == NULL)
		return false;
	if (refs[0] == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s is bound to no ref", commit);
		return false;
	}
	for (unsigned i = 0; refs[i] != NULL; i++)
		if (!dn_image_check_now(repo, policy, refs[i], commit, error))
			return false;
	dn_output_progress(call->output, "reading every object");
	return dn_image_objects_verify_now(repo, commit, error);
}

static bool run_verify(DnCall *call, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_home_open_repo(call, error);
	g_autofree char *commit =
		repo != NULL ? dn_image_resolve_now(repo, dn_call_operand(call, 0), error) : NULL;

	if (commit == NULL || !verify(call, repo, commit, error))
		return false;
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *image = json_object_new();
		json_object_set_string_member(image, "commit", commit);
		json_object_set_boolean_member(image, "verified", TRUE);
		json_object_set_object_member(document, "image", image);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_line(call->output, "%s is whole and signed as trust.yaml demands", commit);
	return true;
}

const DnVerb dn_verb_image_verify = {
	.noun = "image",
	.verb = "verify",
	.operands = "COMMIT|REF",
	.least = 1,
	.most = 1,
	.help = "check signatures, ref binding and every object of a local image",
	.options = {REPO_OPTION},
	.run = run_verify,
};
