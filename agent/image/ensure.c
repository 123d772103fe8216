/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "image/check.h"
#include "image/closure.h"
#include "image/repair.h"
#include "image/store-private.h"
#include "image/sweep.h"

/* Make the commit and signatures here those that @ref needs, before any content. */
static bool bring_commit(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
			 const char *ref, GError **error)
{
	if (dn_image_check_now(repo, self->trust, ref, pull->commit, NULL))
		return true;
	if (!dn_failpoint("agent.image.commit.before", error) ||
	    !dn_image_pull_commit(repo, pull, error) ||
	    !dn_failpoint("agent.image.commit.after", error))
		return false;
	return dn_image_check_now(repo, self->trust, ref, pull->commit, error);
}

/* What is verified appears under its final name; one that was there goes aside, never before. */
static bool check_out(DnImageStore *self, DnImageRepo *repo, const char *commit, GError **error)
{
	g_autofree char *staged = dn_store_stage(self);
	g_autoptr(DnImageListing) listing = NULL;

	if (dn_failpoint("agent.image.checkout.before", error) &&
	    dn_image_checkout_make(repo, commit, staged, error) &&
	    dn_failpoint("agent.image.verify.before", error))
		listing = dn_image_checkout_list(repo, commit, staged, false, error);
	if (listing != NULL && dn_failpoint("agent.image.finish.before", error) &&
	    dn_store_place(self, listing, staged, NULL, error))
		return dn_failpoint("agent.image.finish.after", error);
	dn_store_drop(staged);
	return false;
}

static bool bring_content(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
			  GError **error)
{
	return dn_failpoint("agent.image.content.before", error) &&
	       dn_image_pull_content(repo, pull, error) &&
	       dn_failpoint("agent.image.content.after", error) &&
	       check_out(self, repo, pull->commit, error);
}

/* As bring_content(); objects that this disk lost or changed are fetched again, once. */
static bool bring_repaired(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
			   bool suspect, GError **error)
{
	GError *failed = NULL;
	unsigned removed = 0;

	if (!suspect && bring_content(self, repo, pull, &failed))
		return true;
	if (suspect || g_error_matches(failed, DN_ERROR, DN_ERROR_UNTRUSTED)) {
		if (!dn_image_sweep(repo, &removed, suspect ? error : NULL)) {
			if (failed != NULL)
				g_propagate_error(error, failed);
			return false;
		}
		if (suspect || removed > 0) {
			g_clear_error(&failed);
			return bring_content(self, repo, pull, error);
		}
	}
	g_propagate_error(error, failed);
	return false;
}

/* A checkout that could not be brought anew: nobody may start from what is there. */
static void give_up(DnImageStore *self, DnImageRepo *repo, const char *commit)
{
	g_autoptr(GError) error = NULL;

	if (!dn_store_withdraw(self, commit, &error))
		g_warning("image %.12s: %s", commit, error->message);
	dn_image_discard(repo, commit);
}

/* From the commit on; @suspect: what is there of it is damaged. */
static bool bring_anew(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull, bool suspect,
		       GError **error)
{
	GError *failed = NULL;

	if (suspect && !dn_store_has_room(self, error))
		return false;
	if (bring_repaired(self, repo, pull, suspect, &failed))
		return true;
	give_up(self, repo, pull->commit);
	g_propagate_error(error, failed);
	return false;
}

static bool bring(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull, const char *ref,
		  GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, pull->commit);
	bool suspect = access(path, F_OK) == 0;

	if (dn_store_is_sound(self, repo, ref, pull->commit, NULL))
		return true;
	if (!bring_commit(self, repo, pull, ref, error)) {
		/* Refused for this ref: it may be complete and running under another. */
		if (!suspect)
			dn_image_discard(repo, pull->commit);
		return false;
	}
	if (suspect && dn_image_checkout_verify(repo, pull->commit, path, NULL))
		return true;
	return bring_anew(self, repo, pull, suspect, error);
}

static DnImagePull pull_of(const DnImageStore *self, const DnImageOrigin *origin)
{
	return (DnImagePull){
		.url = origin->url,
		.commit = origin->commit,
		.limit_bytes = self->limit_bytes,
		.cancellable = origin->cancellable,
	};
}

static bool tell_of(const char *ref, const char *commit, GError **error)
{
	g_prefix_error(error, "image %s (%.12s): ", ref, commit);
	return false;
}

bool dn_image_store_ensure_now(DnImageStore *self, const char *url, const char *ref,
			       const char *commit, GCancellable *cancellable, GError **error)
{
	const DnImageOrigin origin = {
		.url = url, .ref = ref, .commit = commit, .cancellable = cancellable};
	DnImagePull pull = pull_of(self, &origin);

	if (!dn_store_is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	/* Without the lock: a pull that hangs must not keep nodes of other images from starting. */
	if (dn_store_is_sound(self, repo, ref, commit, NULL))
		return true;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->writing);
	return bring(self, repo, &pull, ref, error) || tell_of(ref, commit, error);
}

/* Whatever their hash says by now: the cache may be right and the disk not. */
static bool drop_objects(DnImageRepo *repo, const DnImageListing *listing, const GPtrArray *damages,
			 GError **error)
{
	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = damages->pdata[i];
		guint index = 0;

		if (g_strcmp0(damage->commit, dn_image_listing_commit(listing)) != 0 ||
		    !dn_image_listing_find(listing, damage->path, &index))
			continue;
		const DnImageEntry *entry = dn_image_listing_at(listing, index);
		if (!S_ISDIR(entry->mode) && !dn_image_closure_drop(repo, entry, error))
			return false;
	}
	return true;
}

bool dn_image_store_repair_now(DnImageStore *self, const DnImageOrigin *origin,
			       const GPtrArray *damages, GError **error)
{
	DnImagePull pull = pull_of(self, origin);

	if (!dn_store_is_commit(origin->commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->writing);
	g_autoptr(DnImageListing) listing = dn_store_recall(self, origin->commit, NULL);
	/* Nothing is dropped before its replacement is known to be had. */
	if (bring_commit(self, repo, &pull, origin->ref, error) && dn_store_has_room(self, error) &&
	    (listing == NULL || drop_objects(repo, listing, damages, error)) &&
	    bring_anew(self, repo, &pull, true, error))
		return true;
	return tell_of(origin->ref, origin->commit, error);
}

/* Is everything there that @listing's commit needs? */
static bool is_complete(DnImageRepo *repo, const DnImageListing *listing, int root_fd)
{
	g_autoptr(GPtrArray) lost = dn_damages_new();

	return dn_image_closure_check(repo, listing, root_fd, lost, NULL) && lost->len == 0;
}

static bool put_back(DnImageRepo *repo, const DnImageListing *listing, int root_fd, GError **error)
{
	for (guint i = 0; i < dn_image_listing_length(listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(listing, i);

		if (!S_ISDIR(entry->mode) && !dn_image_closure_has(repo, entry) &&
		    !dn_image_closure_put(repo, entry, root_fd, error))
			return false;
	}
	return true;
}

/* Nobody knows the checkout yet: what is lost has to be fetched before anybody can. */
static bool fetch_lost(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
		       const char *ref, GError **error)
{
	if (!bring_commit(self, repo, pull, ref, error) ||
	    !dn_image_pull_content(repo, pull, error))
		return false;
	g_autoptr(DnImageListing) listing = dn_image_store_listing_now(self, pull->commit, error);
	return listing != NULL;
}

static bool restore(DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull, const char *ref,
		    GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, pull->commit);
	g_autoptr(DnImageListing) listing = dn_store_recall(self, pull->commit, NULL);
	dn_autofd int root_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool here = dn_image_check_now(repo, self->trust, ref, pull->commit, NULL);
	unsigned removed = 0;

	if (listing == NULL && root_fd >= 0)
		return fetch_lost(self, repo, pull, ref, error);
	if (root_fd < 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "there is no checkout that its objects could be taken from");
		return false;
	}
	if ((!here && !bring_commit(self, repo, pull, ref, error)) ||
	    !dn_image_sweep(repo, &removed, error) || !put_back(repo, listing, root_fd, error))
		return false;
	/* What was not brought alone is whole in the eyes of libostree as well. */
	if (here && is_complete(repo, listing, root_fd))
		return true;
	if (!dn_image_pull_content(repo, pull, error))
		return false;
	if (is_complete(repo, listing, root_fd))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "objects are lost or changed also after they were fetched again");
	return false;
}

bool dn_image_store_restore_now(DnImageStore *self, const DnImageOrigin *origin, GError **error)
{
	DnImagePull pull = pull_of(self, origin);

	if (!dn_store_is_commit(origin->commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->writing);
	return restore(self, repo, &pull, origin->ref, error) ||
	       tell_of(origin->ref, origin->commit, error);
}
