/* SPDX-License-Identifier: Apache-2.0 */
#include "image/guarded.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "image/probe.h"
#include "image/store-private.h"

static void free_guarded(gpointer data)
{
	DnImageGuarded *guarded = data;

	dn_image_listing_unref(guarded->listing);
	dn_image_said_free(guarded->said);
	g_free(guarded->commit);
	g_free(guarded);
}

void dn_image_guarded_init(DnImageGuardedSet *self, DnImageStore *store)
{
	*self = (DnImageGuardedSet){
		.store = store,
		.scan = dn_image_scan_new(),
		.all = g_ptr_array_new_with_free_func(free_guarded),
	};
}

void dn_image_guarded_clear(DnImageGuardedSet *self)
{
	g_clear_pointer(&self->scan, dn_image_scan_free);
	g_clear_pointer(&self->all, g_ptr_array_unref);
}

DnImageGuarded *dn_image_guarded_find(const DnImageGuardedSet *self, const char *commit)
{
	for (guint i = 0; i < self->all->len; i++) {
		DnImageGuarded *guarded = self->all->pdata[i];

		if (strcmp(guarded->commit, commit) == 0)
			return guarded;
	}
	return NULL;
}

void dn_image_guarded_add(DnImageGuardedSet *self, DnImageListing *listing, guint placed)
{
	DnImageGuarded *guarded = g_new0(DnImageGuarded, 1);

	guarded->commit = g_strdup(dn_image_listing_commit(listing));
	guarded->listing = dn_image_listing_ref(listing);
	guarded->placed = placed;
	guarded->said = dn_image_said_new();
	g_ptr_array_add(self->all, guarded);
}

/* False: the store put another checkout in its place meanwhile, or took it away. */
static bool is_current(const DnImageGuardedSet *self, const DnImageGuarded *guarded)
{
	guint placed = 0;
	g_autoptr(DnImageListing) listing = dn_store_recall(self->store, guarded->commit, &placed);

	return listing != NULL && placed == guarded->placed;
}

/* Is it news of a checkout that is in place? */
static bool is_news(const DnImageGuardedSet *self, const DnDamage *damage)
{
	const DnImageGuarded *guarded = dn_image_guarded_find(self, damage->commit);

	return guarded != NULL && is_current(self, guarded) &&
	       !dn_image_said_has(guarded->said, damage);
}

static bool is_lacking(int errsv)
{
	return errsv == EMFILE || errsv == ENFILE || errsv == ENOMEM || errsv == EINTR;
}

int dn_image_guarded_open(const DnImageGuardedSet *self, const char *commit, GPtrArray *found)
{
	g_autofree char *path = dn_image_store_checkout(self->store, commit);
	int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int saved = errno;

	if (fd >= 0)
		return fd;
	g_autoptr(DnImageListing) listing = dn_store_recall(self->store, commit, NULL);
	if (listing == NULL)
		return -1;
	if (is_lacking(saved)) {
		g_warning("image %.12s: open %s: %s", commit, path, g_strerror(saved));
		return -1;
	}
	if (saved == ENOENT)
		dn_damages_add(found, commit, "", DN_DAMAGE_MISSING);
	else
		dn_damages_add(found, commit, "", DN_DAMAGE_KIND);
	return -1;
}

/* Is it so at a second look? What cannot be looked at again is. */
static bool is_confirmed(const DnImageGuardedSet *self, const DnDamage *damage)
{
	g_autoptr(GPtrArray) again = dn_damages_new();
	dn_autofd int root_fd = dn_image_guarded_open(self, damage->commit, again);
	const DnImageGuarded *guarded = dn_image_guarded_find(self, damage->commit);
	const DnImageProbe probe = {.listing = guarded->listing, .root_fd = root_fd};
	bool disk = false;

	if (damage->kind == DN_DAMAGE_OBJECT)
		return true;
	if (root_fd < 0)
		return again->len > 0 || is_current(self, guarded);
	if (!dn_image_probe_path(&probe, self->scan, damage->path, again, NULL) || again->len > 0)
		return true;
	/* The page may be right, and the disk below it wrong. */
	return damage->kind == DN_DAMAGE_CONTENT_DISK &&
	       (!dn_image_probe_disk(&probe, self->scan, damage->path, &disk, NULL) || disk);
}

/* May it be said, and as what? */
static bool is_to_be_said(const DnImageGuardedSet *self, DnDamage *damage)
{
	if (!is_news(self, damage))
		return false;
	if (is_confirmed(self, damage))
		return true;
	damage->undone = damage->kind == DN_DAMAGE_CONTENT_CACHE;
	return damage->undone && is_news(self, damage);
}

void dn_image_guarded_say(DnImageGuardedSet *self, GPtrArray *found, pid_t writer,
			  GPtrArray *damages)
{
	while (found->len > 0) {
		g_autoptr(DnDamage) damage = g_ptr_array_steal_index(found, 0);

		damage->writer = writer;
		if (!is_to_be_said(self, damage))
			continue;
		dn_image_said_note(dn_image_guarded_find(self, damage->commit)->said, damage);
		g_ptr_array_add(damages, g_steal_pointer(&damage));
	}
}
