/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/id.h"
#include "image/catalog.h"
#include "image/check.h"
#include "image/checkout.h"
#include "image/pull.h"
#include "image/repository-ostree.h"
#include "image/sweep.h"

/*
 * STATE_DIR/repo         every object, `bare`
 * STATE_DIR/checkouts    COMMIT: hard links into repo; only what was verified is renamed here
 * STATE_DIR/staging      a checkout before its verification
 * STATE_DIR/damaged      checkouts that failed one later, kept: nodes may still run on them
 *
 * All four are 0700. A node reaches its root through the idmapped clone of a checkout below
 * RUN_DIR, never through these directories, so nobody else needs a way in; and a set-id file that
 * a hostile image brings is out of everybody's reach until it is refused.
 */
enum { DAMAGED_LIMIT = 8 };

struct DnImageStore {
	const DnTrustPolicy *trust; /* borrowed */
	char *repo, *checkouts, *staging, *damaged;
	uint64_t limit_bytes; /* of one pull */
	GMutex writing;       /* whoever changes the repository or the checkouts */
};

/* Clean-up after a failure that is told already. */
static void drop_staged(const char *path)
{
	g_autoptr(GError) error = NULL;

	if (!dn_file_remove_tree(path, &error))
		g_warning("%s", error->message);
}

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

		drop_staged(path);
	}
}

DnImageStore *dn_image_store_new(const DnInstance *instance, const DnTrustPolicy *trust,
				 GError **error)
{
	g_autoptr(DnImageStore) self = g_new0(DnImageStore, 1);

	g_mutex_init(&self->writing);
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

static bool is_commit(const char *commit, GError **error)
{
	if (dn_image_is_commit(commit))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "image: a commit is 64 lower-case hexadecimal digits");
	return false;
}

/* Is the image here, complete and unchanged, and may it run as @ref? */
static bool is_sound(const DnImageStore *self, DnImageRepo *repo, const char *ref,
		     const char *commit, GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, commit);

	if (access(path, F_OK) < 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "image %s (%.12s) is not on this host", ref, commit);
		return false;
	}
	return dn_image_check_now(repo, self->trust, ref, commit, error) &&
	       dn_image_checkout_verify(repo, commit, path, error);
}

bool dn_image_store_verify_now(DnImageStore *self, const char *ref, const char *commit,
			       GError **error)
{
	if (!is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);

	if (repo == NULL)
		return false;
	if (is_sound(self, repo, ref, commit, error))
		return true;
	g_prefix_error(error, "image %s (%.12s): ", ref, commit);
	return false;
}

/* Make the commit and signatures here those that @ref needs, before any content. */
static bool bring_commit(const DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
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

static guint count_damaged(const DnImageStore *self)
{
	g_autoptr(GDir) directory = g_dir_open(self->damaged, 0, NULL);
	guint n = 0;

	while (directory != NULL && g_dir_read_name(directory) != NULL)
		n++;
	return n;
}

/*
 * Get a checkout that failed its verification out of the way. It is not deleted: nodes may run on
 * it, and what was done to it is evidence.
 */
static bool set_aside(const DnImageStore *self, const char *commit, GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *aside = g_strdup_printf("%s/%s.%s", self->damaged, commit, suffix);

	if (access(path, F_OK) < 0)
		return true;
	if (count_damaged(self) >= DAMAGED_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%d damaged checkouts are kept in %s: something changes images on this "
			    "host; look at them, then remove them",
			    DAMAGED_LIMIT, self->damaged);
		return false;
	}
	if (rename(path, aside) < 0)
		return dn_throw_errno(error, errno, "set the damaged checkout %s aside", path);
	return true;
}

/* Content, checkout, verification; what is verified appears under its final name. */
static bool bring_content(const DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
			  GError **error)
{
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *staged = g_strdup_printf("%s/%s", self->staging, suffix);
	g_autofree char *path = dn_image_store_checkout(self, pull->commit);

	if (!dn_failpoint("agent.image.content.before", error) ||
	    !dn_image_pull_content(repo, pull, error) ||
	    !dn_failpoint("agent.image.content.after", error))
		return false;
	if (dn_failpoint("agent.image.checkout.before", error) &&
	    dn_image_checkout_make(repo, pull->commit, staged, error) &&
	    dn_failpoint("agent.image.verify.before", error) &&
	    dn_image_checkout_verify(repo, pull->commit, staged, error)) {
		if (dn_failpoint("agent.image.finish.before", NULL) && rename(staged, path) == 0)
			return dn_failpoint("agent.image.finish.after", error);
		dn_throw_errno(error, errno, "put checkout %s in place", path);
	}
	drop_staged(staged);
	return false;
}

/* As bring_content(); objects that this disk lost or changed are fetched again, once. */
static bool bring_repaired(const DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
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

static bool bring(const DnImageStore *self, DnImageRepo *repo, const DnImagePull *pull,
		  const char *ref, GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, pull->commit);
	bool suspect = access(path, F_OK) == 0;
	GError *failed = NULL;

	if (is_sound(self, repo, ref, pull->commit, NULL))
		return true;
	if (!bring_commit(self, repo, pull, ref, error)) {
		/* Refused for this ref: it may be complete and running under another. */
		if (!suspect)
			dn_image_discard(repo, pull->commit);
		return false;
	}
	if (suspect && dn_image_checkout_verify(repo, pull->commit, path, NULL))
		return true;
	if (!set_aside(self, pull->commit, error))
		return false;
	if (bring_repaired(self, repo, pull, suspect, &failed))
		return true;
	dn_image_discard(repo, pull->commit);
	g_propagate_error(error, failed);
	return false;
}

void dn_image_store_set_limit(DnImageStore *self, uint64_t limit_bytes)
{
	self->limit_bytes = limit_bytes;
}

bool dn_image_store_ensure_now(DnImageStore *self, const char *url, const char *ref,
			       const char *commit, GCancellable *cancellable, GError **error)
{
	DnImagePull pull = {.url = url,
			    .commit = commit,
			    .limit_bytes = self->limit_bytes,
			    .cancellable = cancellable};

	if (!is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	/* Without the lock: a pull that hangs must not keep nodes of other images from starting. */
	if (is_sound(self, repo, ref, commit, NULL))
		return true;
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&self->writing);
	(void)locked;
	if (bring(self, repo, &pull, ref, error))
		return true;
	g_prefix_error(error, "image %s (%.12s): ", ref, commit);
	return false;
}

bool dn_image_store_defaults_now(DnImageStore *self, const char *commit, DnRun *defaults,
				 GError **error)
{
	if (!is_commit(commit, error))
		return false;
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	return repo != NULL && dn_image_read_defaults_now(repo, commit, defaults, NULL, error);
}

GArray *dn_image_store_executables_now(DnImageStore *self, const char *commit,
				       char *const *may_exec, GError **error)
{
	if (!is_commit(commit, error))
		return NULL;
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return NULL;
	return dn_image_checkout_executables(repo, commit, path, may_exec, error);
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
	if (!is_commit(commit, error))
		return false;
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *staged = g_strdup_printf("%s/%s", self->staging, suffix);
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);
	if (repo == NULL)
		return false;
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&self->writing);
	(void)locked;
	/* Renamed first: half a checkout is never seen under the final name. */
	if (rename(path, staged) < 0 && errno != ENOENT)
		return dn_throw_errno(error, errno, "remove checkout %s", path);
	if (!dn_file_remove_tree(staged, error) || !remove_damaged(self, commit, error))
		return false;
	dn_image_discard(repo, commit);
	return true;
}
