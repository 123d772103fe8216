/* SPDX-License-Identifier: Apache-2.0 */
#include "image/catalog.h"
#include "image/objects.h"
#include "image/sign.h"
#include "verbs/all.h"
#include "verbs/answer.h"
#include "verbs/home.h"

#define NAMES_A_REQUEST 4096
#define PROGRESS_EVERY 50

typedef struct {
	DnCall *call;
	DnHttp *http;
	DnImageRepo *repo;
} Push;

/* Which objects of @names[begin…] the supervisor lacks. */
static JsonObject *ask_missing(Push *push, const GPtrArray *names, unsigned begin, GError **error)
{
	g_autoptr(JsonObject) body = json_object_new();
	JsonArray *objects = json_array_new();

	for (unsigned i = begin; i < names->len && i < begin + NAMES_A_REQUEST; i++)
		json_array_add_string_element(objects, names->pdata[i]);
	json_object_set_array_member(body, "objects", objects);
	return dn_http_post(push->http, "/v1/images/missing", body, error);
}

static bool send_object(Push *push, const char *name, GError **error)
{
	g_autofree char *path = g_strconcat("/v1/images/objects/", name, NULL);
	g_autoptr(GBytes) bytes = dn_image_object_read_now(push->repo, name, error);
	g_autoptr(JsonObject) answer =
		bytes != NULL ? dn_http_put(push->http, path, bytes, error) : NULL;

	if (answer == NULL)
		g_prefix_error(error, "object %s: ", name);
	return answer != NULL;
}

static bool send_all(Push *push, const GPtrArray *names, unsigned *sent, GError **error)
{
	for (unsigned begin = 0; begin < names->len; begin += NAMES_A_REQUEST) {
		g_autoptr(JsonObject) answer = ask_missing(push, names, begin, error);
		JsonArray *missing = dn_answer_array(answer, "missing");
		if (answer == NULL)
			return false;
		for (unsigned i = 0; i < dn_answer_length(missing); i++) {
			const char *name = dn_json_string_at(missing, i, G_MAXUINT8, error);
			if (name == NULL || !send_object(push, name, error))
				return false;
			if (++*sent % PROGRESS_EVERY == 0)
				dn_output_progress(push->call->output, "sent %u objects", *sent);
		}
	}
	return true;
}

/* The ref under which it is published: what was named, or what the commit binds itself to. */
static char *find_ref(Push *push, const char *name, const char *commit, GError **error)
{
	if (dn_image_is_ref(name) && !g_str_has_prefix(commit, name))
		return g_strdup(name);

	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(push->repo, commit, error);
	g_auto(GStrv) refs = bytes != NULL ? dn_image_bindings(bytes, error) : NULL;
	if (refs == NULL)
		return NULL;
	if (refs[0] == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "commit %s is bound to no ref: build it with dnode image build",
			    commit);
		return NULL;
	}
	return g_strdup(refs[0]);
}

static JsonObject *publish(Push *push, const char *ref, const char *commit, GError **error)
{
	g_autoptr(GBytes) metadata = dn_image_metadata_now(push->repo, commit, error);
	g_autoptr(JsonObject) body = json_object_new();

	if (metadata == NULL)
		return NULL;
	json_object_set_string_member(body, "ref", ref);
	json_object_set_string_member(body, "commit", commit);
	dn_json_set_base64(body, "metadata", metadata);
	/* Every object is verified before it answers. */
	return dn_http_post_patiently(push->http, "/v1/images", body, error);
}

static bool push_image(Push *push, const char *name, GError **error)
{
	g_autofree char *commit = dn_image_resolve_now(push->repo, name, error);
	g_autofree char *ref = commit != NULL ? find_ref(push, name, commit, error) : NULL;
	unsigned sent = 0;

	if (ref == NULL)
		return false;
	dn_output_progress(push->call->output, "pushing %s", ref);
	g_autoptr(GPtrArray) names = dn_image_objects_now(push->repo, commit, error);
	if (names == NULL || !send_all(push, names, &sent, error))
		return false;
	g_autoptr(JsonObject) answer = publish(push, ref, commit, error);
	if (answer == NULL)
		return false;
	if (push->call->json) {
		json_object_set_int_member(answer, "sent", sent);
		dn_output_json(push->call->output, answer);
		return true;
	}
	dn_output_line(push->call->output, "pushed %s %s, %u of %u objects were new", ref, commit,
		       sent, names->len);
	return true;
}

static bool run(DnCall *call, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_home_open_repo(call, error);
	g_autoptr(DnHttp) http = repo != NULL ? dn_call_connect(call, error) : NULL;
	Push push = {call, http, repo};

	return http != NULL && push_image(&push, dn_call_operand(call, 0), error);
}

const DnVerb dn_verb_image_push = {
	.noun = "image",
	.verb = "push",
	.operands = "COMMIT|REF",
	.least = 1,
	.most = 1,
	.help = "send a signed image to the supervisor, from where hosts pull it",
	.more = "Only objects that the supervisor lacks are sent.",
	.options = {{"repo", "DIR", "the repository it is in (HOME/repo)"}},
	.run = run,
};
