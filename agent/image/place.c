/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "image/store-private.h"

enum { DAMAGED_LIMIT = 8 };

void dn_store_drop(const char *path)
{
	g_autoptr(GError) error = NULL;

	if (!dn_file_remove_tree(path, &error))
		g_warning("%s", error->message);
}

char *dn_store_stage(const DnImageStore *self)
{
	g_autofree char *suffix = dn_id_new(6);

	return g_build_filename(self->staging, suffix, NULL);
}

static guint count_damaged(const DnImageStore *self)
{
	g_autoptr(GDir) directory = g_dir_open(self->damaged, 0, NULL);
	guint n = 0;

	while (directory != NULL && g_dir_read_name(directory) != NULL)
		n++;
	return n;
}

bool dn_store_has_room(const DnImageStore *self, GError **error)
{
	if (count_damaged(self) < DAMAGED_LIMIT)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%d damaged checkouts are kept in %s: something changes images on this "
		    "host; look at them, replace the nodes that still run on them, then remove "
		    "them",
		    DAMAGED_LIMIT, self->damaged);
	return false;
}

static bool set_aside(const DnImageStore *self, const char *commit, char **aside, GError **error)
{
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *to = g_strdup_printf("%s/%s.%s", self->damaged, commit, suffix);

	*aside = NULL;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return true;
	if (!dn_store_has_room(self, error))
		return false;
	if (rename(path, to) < 0)
		return dn_throw_errno(error, errno, "set the damaged checkout %s aside", path);
	*aside = g_steal_pointer(&to);
	return true;
}

static void learn(DnImageStore *self, DnImageListing *listing)
{
	g_hash_table_replace(self->listings, g_strdup(dn_image_listing_commit(listing)),
			     dn_image_listing_ref(listing));
}

/* A name that was changed is durable when its directory is. */
static bool sync_directory(const char *path, GError **error)
{
	dn_autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd) == 0)
		return true;
	return dn_throw_errno(error, errno, "sync %s", path);
}

static bool exchange(DnImageStore *self, DnImageListing *listing, const char *staged, char **aside,
		     GError **error)
{
	const char *commit = dn_image_listing_commit(listing);
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autofree char *old = NULL;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->moment);

	if (!set_aside(self, commit, &old, error))
		return false;
	if (rename(staged, path) < 0)
		return dn_throw_errno(error, errno, "put checkout %s in place", path);
	guint placed = GPOINTER_TO_UINT(g_hash_table_lookup(self->placed, commit));
	g_hash_table_replace(self->placed, g_strdup(commit), GUINT_TO_POINTER(placed + 1));
	learn(self, listing);
	if (aside != NULL)
		*aside = g_steal_pointer(&old);
	return true;
}

bool dn_store_place(DnImageStore *self, DnImageListing *listing, const char *staged, char **aside,
		    GError **error)
{
	return exchange(self, listing, staged, aside, error) &&
	       sync_directory(self->checkouts, error);
}

bool dn_store_withdraw(DnImageStore *self, const char *commit, GError **error)
{
	g_autofree char *aside = NULL;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->moment);

	(void)g_hash_table_remove(self->listings, commit);
	return set_aside(self, commit, &aside, error);
}

void dn_store_learn(DnImageStore *self, DnImageListing *listing)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->moment);

	learn(self, listing);
}

void dn_store_unlearn(DnImageStore *self, const char *commit)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->moment);

	(void)g_hash_table_remove(self->listings, commit);
}

DnImageListing *dn_store_recall(DnImageStore *self, const char *commit, guint *placed)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->moment);
	DnImageListing *listing = g_hash_table_lookup(self->listings, commit);

	if (placed != NULL)
		*placed = GPOINTER_TO_UINT(g_hash_table_lookup(self->placed, commit));
	return listing != NULL ? dn_image_listing_ref(listing) : NULL;
}

bool dn_image_store_has(DnImageStore *self, const char *commit, guint *placed)
{
	g_autoptr(DnImageListing) listing = dn_store_recall(self, commit, placed);

	return listing != NULL;
}
