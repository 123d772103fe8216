/* SPDX-License-Identifier: Apache-2.0 */
#include "image/build.h"
#include "image/sign.h"
#include "manifest/recipe.h"
#include "verbs/all.h"
#include "verbs/home.h"
#include "verbs/named.h"

#define RECIPE_NAME "image.yaml"

/* DIR means DIR/image.yaml. */
static char *recipe_path(const char *operand)
{
	if (g_file_test(operand, G_FILE_TEST_IS_DIR))
		return g_build_filename(operand, RECIPE_NAME, NULL);
	return g_strdup(operand);
}

static DnRecipe *load(DnCall *call, const char *path, GError **error)
{
	const char *ref = dn_call_option(call, "ref");
	g_autoptr(GBytes) bytes = dn_named_read(path, DN_HOME_FILE_LIMIT, error);
	g_autoptr(DnRecipe) recipe = bytes != NULL ? dn_recipe_parse(bytes, path, error) : NULL;

	if (recipe == NULL)
		return NULL;
	if (ref != NULL && !dn_image_is_ref(ref)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "--ref %s: no name of an image",
			    ref);
		return NULL;
	}
	if (ref != NULL) {
		g_free(recipe->ref);
		recipe->ref = g_strdup(ref);
	}
	return g_steal_pointer(&recipe);
}

static bool sign(const char *repo_path, const char *commit, const GPtrArray *keys, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(repo_path, error);

	for (unsigned i = 0; repo != NULL && i < keys->len; i++)
		if (!dn_image_sign_now(repo, commit, keys->pdata[i], error))
			return false;
	return repo != NULL;
}

static bool run(DnCall *call, GError **error)
{
	g_autofree char *path = recipe_path(dn_call_operand(call, 0));
	g_autofree char *directory = g_path_get_dirname(path);
	g_autofree char *commit = NULL;
	/* The keys first: nothing is built that nobody could sign. */
	g_autoptr(GPtrArray) keys = dn_call_keys(call, error);
	g_autoptr(DnRecipe) recipe = keys != NULL ? load(call, path, error) : NULL;
	g_autofree char *repo = recipe != NULL ? dn_home_repo(call, error) : NULL;

	if (repo == NULL)
		return false;
	dn_output_progress(call->output, "building %s", recipe->ref);
	if (!dn_image_build_now(recipe, directory, repo, &commit, error) ||
	    !sign(repo, commit, keys, error))
		return false;
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *image = json_object_new();
		json_object_set_string_member(image, "ref", recipe->ref);
		json_object_set_string_member(image, "commit", commit);
		json_object_set_string_member(image, "repo", repo);
		json_object_set_object_member(document, "image", image);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_note(call->output, "built and signed %s", recipe->ref);
	dn_output_line(call->output, "%s", commit);
	return true;
}

const DnVerb dn_verb_image_build = {
	.noun = "image",
	.verb = "build",
	.operands = "RECIPE|DIR",
	.least = 1,
	.most = 1,
	.help = "build an image from its recipe, sign it, print its commit",
	.more = "DIR means DIR/" RECIPE_NAME ". The same recipe and files give the same commit.",
	.many = "key",
	.options = {{"key", "KEY", DN_KEYS_HELP("release")},
		    {"ref", "REF", "name the image so, whatever the recipe says"},
		    {"repo", "DIR", "the repository to build into (HOME/repo)"}},
	.run = run,
};
