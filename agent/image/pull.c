/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"

#include <string.h>

#include "base/file.h"
#include "image/pull-watch.h"
#include "image/repository-ostree.h"

/* The name of a remote is needed by libostree; its address comes with each pull. */
#define REMOTE "supervisor"

static bool has_remote(OstreeRepo *repo, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	GVariantDict dict;

	g_variant_dict_init(&dict, NULL);
	/* Signatures are ed25519 and checked by us: libostree may lack that, and knows no policy.
	 */
	g_variant_dict_insert(&dict, "gpg-verify", "b", FALSE);
	g_variant_dict_insert(&dict, "gpg-verify-summary", "b", FALSE);
	options = g_variant_ref_sink(g_variant_dict_end(&dict));
	return ostree_repo_remote_change(repo, NULL, OSTREE_REPO_REMOTE_CHANGE_ADD_IF_NOT_EXISTS,
					 REMOTE, "http://supervisor.invalid/repo", options, NULL,
					 error);
}

static GVariant *pull_options(const DnImagePull *pull, OstreeRepoPullFlags flags)
{
	const char *refs[] = {pull->commit, NULL};
	GVariantDict dict;

	g_variant_dict_init(&dict, NULL);
	g_variant_dict_insert_value(&dict, "refs", g_variant_new_strv(refs, 1));
	g_variant_dict_insert(&dict, "flags", "i", (gint32)flags);
	g_variant_dict_insert(&dict, "override-url", "s", pull->url);
	g_variant_dict_insert(&dict, "gpg-verify", "b", FALSE);
	g_variant_dict_insert(&dict, "gpg-verify-summary", "b", FALSE);
	g_variant_dict_insert(&dict, "disable-static-deltas", "b", TRUE);
	g_variant_dict_insert(&dict, "depth", "i", 0);
	g_variant_dict_insert(&dict, "n-network-retries", "u", 1u);
	return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/*
 * libostree has one error for a checksum that does not match and for a server that hangs up: the
 * text tells them apart. Neither leaves anything behind, only the remedy differs.
 */
static bool is_damage(const GError *failed)
{
	static const int own[] = {G_IO_ERROR_NO_SPACE, G_IO_ERROR_READ_ONLY,
				  G_IO_ERROR_PERMISSION_DENIED};

	for (size_t i = 0; i < G_N_ELEMENTS(own); i++)
		if (g_error_matches(failed, G_IO_ERROR, own[i]))
			return false;
	return strstr(failed->message, "orrupted") != NULL ||
	       g_str_has_prefix(failed->message, "Writing content object") ||
	       g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_INVALID_DATA) ||
	       g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

static void judge(GError *failed, const DnImagePull *pull, GError **error)
{
	bool damaged = is_damage(failed);

	if (failed->domain == DN_ERROR ||
	    g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
		g_propagate_error(error, failed);
		return;
	}
	g_set_error(error, DN_ERROR, damaged ? DN_ERROR_UNTRUSTED : DN_ERROR_UNAVAILABLE,
		    damaged ? "refused what %s sent: %s" : "pull from %s: %s", pull->url,
		    failed->message);
	g_error_free(failed);
}

/* libostree spins the thread-default context while it downloads, so a pull brings its own. */
static bool run(DnImageRepo *repo, const DnImagePull *pull, OstreeRepoPullFlags flags,
		GError **error)
{
	OstreeRepo *ostree = dn_image_repo_ostree(repo);
	g_autoptr(GVariant) options = pull_options(pull, flags);
	g_autoptr(GMainContext) context = g_main_context_new();
	GError *failed = NULL;

	if (!g_str_has_prefix(pull->url, "http://") && !g_str_has_prefix(pull->url, "https://")) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s is no address of a repository: http://HOST:PORT/repo", pull->url);
		return false;
	}
	if (!has_remote(ostree, error))
		return false;
	DnPullWatch watch;
	g_main_context_push_thread_default(context);
	dn_pull_watch_begin(&watch, pull, context);
	bool done = ostree_repo_pull_with_options(ostree, REMOTE, options, watch.progress,
						  pull->cancellable, &failed);
	dn_pull_watch_end(&watch, &failed);
	g_main_context_pop_thread_default(context);
	if (!done)
		judge(failed, pull, error);
	return done;
}

static bool is_here(DnImageRepo *repo, const char *commit)
{
	g_autoptr(GVariant) object =
		dn_image_load_variant(repo, OSTREE_OBJECT_TYPE_COMMIT, commit, NULL);

	return object != NULL;
}

bool dn_image_pull_commit(DnImageRepo *repo, const DnImagePull *pull, GError **error)
{
	/* One with other bytes would count as had. */
	if (!is_here(repo, pull->commit))
		(void)ostree_repo_delete_object(dn_image_repo_ostree(repo),
						OSTREE_OBJECT_TYPE_COMMIT, pull->commit, NULL,
						NULL);
	return run(repo, pull, OSTREE_REPO_PULL_FLAGS_COMMIT_ONLY, error);
}

bool dn_image_pull_content(DnImageRepo *repo, const DnImagePull *pull, GError **error)
{
	/* Marked partial, every tree is looked through, not only those libostree has not. */
	if (!ostree_repo_mark_commit_partial(dn_image_repo_ostree(repo), pull->commit, TRUE, error))
		return false;
	return run(repo, pull, OSTREE_REPO_PULL_FLAGS_NONE, error);
}

/*
 * An interrupted transaction stays in tmp/staging-* for the next pull to go on from. Whoever is
 * here holds the store's lock, so no transaction is under way.
 */
static bool remove_staged(DnImageRepo *repo, GError **error)
{
	g_autofree char *tmp = g_build_filename(dn_image_repo_path(repo), "tmp", NULL);
	g_autoptr(GDir) directory = g_dir_open(tmp, 0, error);
	const char *name = NULL;

	if (directory == NULL)
		return false;
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(tmp, name, NULL);

		if (g_str_has_prefix(name, "staging-") && !dn_file_remove_tree(path, error))
			return false;
	}
	return true;
}

void dn_image_discard(DnImageRepo *repo, const char *commit)
{
	OstreeRepo *ostree = dn_image_repo_ostree(repo);
	g_autoptr(GError) error = NULL;
	gint total = 0, pruned = 0;
	guint64 bytes = 0;
	gboolean here = FALSE;

	(void)ostree_repo_mark_commit_partial(ostree, commit, FALSE, NULL);
	if (!remove_staged(repo, &error) ||
	    !ostree_repo_has_object(ostree, OSTREE_OBJECT_TYPE_COMMIT, commit, &here, NULL,
				    &error) ||
	    (here &&
	     !ostree_repo_delete_object(ostree, OSTREE_OBJECT_TYPE_COMMIT, commit, NULL, &error)) ||
	    !ostree_repo_prune(ostree, OSTREE_REPO_PRUNE_FLAGS_NONE, -1, &total, &pruned, &bytes,
			       NULL, &error))
		g_warning("image %.12s: not all of it was removed: %s", commit, error->message);
}
