/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/repo.h"

#include "base/failpoint.h"
#include "image/check.h"
#include "image/objects.h"
#include "image/sign.h"

struct DnRepo {
	char *path;
	const DnTrustPolicy *trust; /* borrowed */
	GMutex publishing;          /* signatures are read, added to and written */
};

DnRepo *dn_repo_new(const char *path, const DnTrustPolicy *trust, GError **error)
{
	g_autoptr(DnImageRepo) repo = dn_image_repo_create_now(path, DN_IMAGE_REPO_ARCHIVE, error);

	if (repo == NULL)
		return NULL;
	DnRepo *self = g_new0(DnRepo, 1);
	self->path = g_strdup(path);
	self->trust = trust;
	g_mutex_init(&self->publishing);
	return self;
}

void dn_repo_free(DnRepo *self)
{
	if (self == NULL)
		return;
	g_mutex_clear(&self->publishing);
	g_free(self->path);
	g_free(self);
}

/* A handle of libostree belongs to one thread, so each call has its own: 0.2 ms. */
static DnImageRepo *open_repo(const DnRepo *self, GError **error)
{
	return dn_image_repo_open_now(self->path, error);
}

GPtrArray *dn_repo_list_now(DnRepo *self, GError **error)
{
	g_autoptr(DnImageRepo) repo = open_repo(self, error);

	return repo != NULL ? dn_image_list_now(repo, error) : NULL;
}

char **dn_repo_missing_now(DnRepo *self, const char *const *objects, GError **error)
{
	g_autoptr(DnImageRepo) repo = open_repo(self, error);

	return repo != NULL ? dn_image_objects_missing_now(repo, objects, error) : NULL;
}

bool dn_repo_store_now(DnRepo *self, const char *object, GBytes *bytes, GError **error)
{
	g_autoptr(DnImageRepo) repo = open_repo(self, error);

	return repo != NULL && dn_failpoint("supervisor.image.object.before", error) &&
	       dn_image_object_write_now(repo, object, bytes, error) &&
	       dn_failpoint("supervisor.image.object.after", error);
}

static bool may_publish(const DnRepo *self, DnImageRepo *repo, const char *ref, const char *commit,
			GBytes *metadata, GError **error)
{
	g_autofree char *object = g_strconcat(commit, ".commit", NULL);
	const char *const commit_only[] = {object, NULL};
	g_auto(GStrv) missing = dn_image_objects_missing_now(repo, commit_only, error);

	if (missing == NULL)
		return false;
	if (missing[0] != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "commit %s is not here: push the image again", commit);
		return false;
	}
	/* Whole first: a damaged commit object is removed by this, and then missing. */
	if (!dn_image_objects_accept_now(repo, commit, error))
		return false;
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, error);
	return bytes != NULL && dn_image_check(self->trust, ref, commit, bytes, metadata, error);
}

bool dn_repo_publish_now(DnRepo *self, const char *ref, const char *commit, GBytes *metadata,
			 GError **error)
{
	if (!dn_image_is_commit(commit)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "a commit is 64 lower-case hexadecimal digits");
		return false;
	}
	g_autoptr(DnImageRepo) repo = open_repo(self, error);
	if (repo == NULL || !may_publish(self, repo, ref, commit, metadata, error))
		return false;
	g_autoptr(GMutexLocker) locked = g_mutex_locker_new(&self->publishing);
	(void)locked;
	return dn_failpoint("supervisor.image.publish.before", error) &&
	       dn_image_publish_now(repo, ref, commit, metadata, error) &&
	       dn_failpoint("supervisor.image.publish.after", error);
}

bool dn_repo_defaults_now(DnRepo *self, const char *commit, DnRun *run, GArray **ports,
			  GError **error)
{
	g_autoptr(DnImageRepo) repo = open_repo(self, error);

	return repo != NULL && dn_image_read_defaults_now(repo, commit, run, ports, error);
}
