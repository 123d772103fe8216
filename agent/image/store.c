/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "image/catalog.h"
#include "image/check.h"
#include "image/checkout.h"
#include "image/pull.h"
#include "image/repository-ostree.h"
#include "image/sweep.h"

static bool make_private(const char *path, GError **error)
{
	if (!dn_file_make_directory(path, 0700, error))
		return false;
	/* One that was there may have been wider; a disk that takes nothing is no reason to stop.
	 */
	struct stat info;
	if (stat(path, &info) == 0 && (info.st_mode & 0777) == 0700)
		return true;
	if (chmod(path, 0700) < 0)
		return dn_throw_errno(error, errno, "chmod %s", path);
	return true;
}

/* What an agent that died was busy with. Only room is lost where it cannot be removed. */
static void sweep_staging(const DnImageStore *self)
{
	g_autoptr(GDir) directory = g_dir_open(self->staging, 0, NULL);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(self->staging, name, NULL);

		dn_store_drop(path);
	}
}

static void drop_listing(gpointer data)
{
	dn_image_listing_unref(data);
}

DnImageStore *dn_image_store_new(const DnInstance *instance, const DnTrustPolicy *trust,
				 GError **error)
{
	g_autoptr(DnImageStore) self = g_new0(DnImageStore, 1);

	g_mutex_init(&self->writing);
	g_mutex_init(&self->moment);
	self->listings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, drop_listing);
	self->placed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->trust = trust;
	self->limit_bytes = DN_IMAGE_LIMIT_BYTES;
	self->repo = g_build_filename(instance->state_dir, "repo", NULL);
	self->checkouts = g_build_filename(instance->state_dir, "checkouts", NULL);
	self->staging = g_build_filename(instance->state_dir, "staging", NULL);
	self->damaged = g_build_filename(instance->state_dir, "damaged", NULL);
	g_autoptr(DnImageRepo) repo =
		dn_image_repo_create_now(self->repo, DN_IMAGE_REPO_BARE, error);
	if (repo == NULL || !make_private(self->repo, error) ||
	    !make_private(self->checkouts, error) || !make_private(self->damaged, error) ||
	    !make_private(self->staging, error))
		return NULL;
	sweep_staging(self);
	return g_steal_pointer(&self);
}

void dn_image_store_free(DnImageStore *self)
{
	if (self == NULL)
		return;
	g_mutex_clear(&self->writing);
	g_mutex_clear(&self->moment);
	g_hash_table_unref(self->listings);
	g_hash_table_unref(self->placed);
	g_free(self->repo);
	g_free(self->checkouts);
	g_free(self->staging);
	g_free(self->damaged);
	g_free(self);
}

char *dn_image_store_checkout(const DnImageStore *self, const char *commit)
{
	return g_build_filename(self->checkouts, commit, NULL);
}

void dn_image_store_set_limit(DnImageStore *self, uint64_t limit_bytes)
{
	self->limit_bytes = limit_bytes;
}

bool dn_store_is_commit(const char *commit, GError **error)
{
	if (dn_image_is_commit(commit))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "image: a commit is 64 lower-case hexadecimal digits");
	return false;
}

bool dn_store_is_sound(DnImageStore *self, DnImageRepo *repo, const char *ref, const char *commit,
		       GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, commit);

	if (access(path, F_OK) < 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "image %s (%.12s) is not on this host", ref, commit);
		return false;
	}
	if (!dn_image_check_now(repo, self->trust, ref, commit, error))
		return false;
	g_autoptr(DnImageListing) listing =
		dn_image_checkout_list(repo, commit, path, false, error);
	if (listing == NULL)
		return false;
	dn_store_learn(self, listing);
	return true;
}

bool dn_image_store_verify_now(DnImageStore *self, const char *ref, const char *commit,
			       GError **error)
{
	if (!dn_store_is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);

	if (repo == NULL)
		return false;
	if (dn_store_is_sound(self, repo, ref, commit, error))
		return true;
	g_prefix_error(error, "image %s (%.12s): ", ref, commit);
	return false;
}

bool dn_image_store_defaults_now(DnImageStore *self, const char *commit, DnRun *defaults,
				 GError **error)
{
	if (!dn_store_is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	return repo != NULL && dn_image_read_defaults_now(repo, commit, defaults, NULL, error);
}

DnImageListing *dn_image_store_listing_now(DnImageStore *self, const char *commit, GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autoptr(DnImageListing) listing = NULL;
	GError *failed = NULL;

	if (!dn_store_is_commit(commit, error))
		return NULL;
	listing = dn_store_recall(self, commit, NULL);
	if (listing != NULL)
		return g_steal_pointer(&listing);
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return NULL;
	listing = dn_image_checkout_list(repo, commit, path, false, &failed);
	/* What the commit is stands on the disk as well, where only the page cache was changed. */
	if (listing == NULL && g_error_matches(failed, DN_ERROR, DN_ERROR_UNTRUSTED))
		listing = dn_image_checkout_list(repo, commit, path, true, NULL);
	if (listing == NULL) {
		g_propagate_prefixed_error(error, failed, "image %.12s: ", commit);
		return NULL;
	}
	g_clear_error(&failed);
	dn_store_learn(self, listing);
	return g_steal_pointer(&listing);
}

static int open_checked(const DnImageStore *self, const DnImageCheck *what, GError **error)
{
	g_autofree char *path = what->root != NULL ? g_strdup(what->root)
						   : dn_image_store_checkout(self, what->commit);
	int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		dn_throw_errno(error, errno, "open %s", path);
	return fd;
}

GArray *dn_image_store_program_files_now(DnImageStore *self, const char *commit, const char *root,
					 const DnProgramRules *rules, GError **error)
{
	g_autoptr(DnImageListing) listing = dn_image_store_listing_now(self, commit, error);
	const DnImageCheck what = {.commit = commit, .root = root};
	dn_autofd int root_fd = listing != NULL ? open_checked(self, &what, error) : -1;

	return root_fd >= 0 ? dn_image_program_files(listing, root_fd, rules, error) : NULL;
}

static bool remove_damaged(const DnImageStore *self, const char *commit, GError **error)
{
	g_autoptr(GDir) directory = g_dir_open(self->damaged, 0, error);
	const char *name = NULL;

	if (directory == NULL)
		return false;
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(self->damaged, name, NULL);

		if (g_str_has_prefix(name, commit) && !dn_file_remove_tree(path, error))
			return false;
	}
	return true;
}

bool dn_image_store_forget_now(DnImageStore *self, const char *commit, GError **error)
{
	if (!dn_store_is_commit(commit, error))
		return false;
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autofree char *staged = dn_store_stage(self);
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->writing);
	dn_store_unlearn(self, commit);
	/* Renamed first: half a checkout is never seen under the final name. */
	if (rename(path, staged) < 0 && errno != ENOENT)
		return dn_throw_errno(error, errno, "remove checkout %s", path);
	if (!dn_file_remove_tree(staged, error) || !remove_damaged(self, commit, error))
		return false;
	dn_image_discard(repo, commit);
	return true;
}

bool dn_image_store_verify_files_now(DnImageStore *self, const DnImageCheck *what,
				     GPtrArray *damages, DnImageMeasure *measure, GError **error)
{
	g_autoptr(DnImageListing) listing = dn_image_store_listing_now(self, what->commit, error);
	dn_autofd int root_fd = listing != NULL ? open_checked(self, what, error) : -1;

	if (root_fd < 0)
		return false;
	const DnImageProbe probe = {
		.listing = listing, .root_fd = root_fd, .content_only = what->root != NULL};
	if (what->paths == NULL)
		return dn_image_probe_runs(&probe, damages, measure, error);
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	for (size_t i = 0; what->paths[i] != NULL; i++)
		if (!dn_image_probe_path(&probe, scan, what->paths[i], damages, error))
			return false;
	return true;
}
