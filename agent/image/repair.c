/* SPDX-License-Identifier: Apache-2.0 */
#include "image/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "image/closure.h"
#include "image/copy.h"
#include "image/store-private.h"

/* ---- the old pages ---- */

/* Pages of the file in memory; a mapping that is never touched brings none. */
static uint64_t resident_pages(int fd, uint64_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t pages = (size_t)((size + page - 1) / page);
	uint64_t count = 0;

	if (pages == 0)
		return 0;
	void *at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return 0;
	g_autofree unsigned char *in = g_malloc0(pages);
	if (mincore(at, size, in) == 0)
		for (size_t i = 0; i < pages; i++)
			count += in[i] & 1;
	(void)munmap(at, size);
	return count;
}

static uint64_t drop_pages(int root_fd, const DnImageEntry *entry)
{
	dn_autofd int fd =
		dn_image_open_inside(root_fd, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size <= 0)
		return 0;
	/* A dirty page stays; one that is mapped stays whatever is asked. */
	(void)fdatasync(fd);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return resident_pages(fd, (uint64_t)info.st_size);
}

/* Ask the kernel to forget what it holds of the old checkout, and see whether that helped. */
static void drop_old(const DnImageListing *listing, const char *path, DnImageCopyReport *report)
{
	dn_autofd int root_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	g_autoptr(GPtrArray) damages = dn_damages_new();
	const DnImageProbe probe = {.listing = listing, .root_fd = root_fd, .content_only = true};

	if (root_fd < 0)
		return;
	for (guint i = 0; i < dn_image_listing_length(listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(listing, i);

		if (S_ISREG(entry->mode))
			report->pages_kept += drop_pages(root_fd, entry);
	}
	if (dn_image_probe_runs(&probe, damages, NULL, NULL))
		report->tainted = damages->len;
}

/* ---- the new files ---- */

/* As it would be executed, and as it would be after the pages are gone. */
static bool verify(DnImageRepo *repo, const char *commit, const char *path, GError **error)
{
	g_autoptr(GError) failed = NULL;
	g_autoptr(DnImageListing) disk = NULL;

	if (!dn_image_checkout_verify(repo, commit, path, error))
		return false;
	disk = dn_image_checkout_list(repo, commit, path, true, &failed);
	if (disk != NULL || g_error_matches(failed, DN_ERROR, DN_ERROR_UNSUPPORTED))
		return true;
	g_propagate_error(error, g_steal_pointer(&failed));
	return false;
}

/* From now on a checkout here links the new files. */
static bool put_objects(DnImageRepo *repo, const DnImageListing *listing, const char *path,
			GError **error)
{
	dn_autofd int root_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (root_fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	for (guint i = 0; i < dn_image_listing_length(listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(listing, i);

		if (S_ISREG(entry->mode) && !dn_image_closure_put(repo, entry, root_fd, error))
			return false;
	}
	return true;
}

static bool copy(DnImageStore *self, DnImageListing *listing, const char *staged, char **aside,
		 DnImageCopyReport *report, GError **error)
{
	const char *commit = dn_image_listing_commit(listing);
	g_autofree char *path = dn_image_store_checkout(self, commit);
	g_autoptr(DnImageRepo) repo = dn_image_repo_open_now(self->repo, error);

	return repo != NULL && dn_image_copy_now(listing, path, staged, report, error) &&
	       verify(repo, commit, staged, error) &&
	       /* Before the exchange: a crash in between leaves good objects and the old tree. */
	       put_objects(repo, listing, staged, error) &&
	       dn_store_place(self, listing, staged, aside, error);
}

bool dn_image_store_private_copy_now(DnImageStore *self, const char *commit, char **path,
				     DnImageCopyReport *report, GError **error)
{
	uint64_t began_ns = dn_clock_monotonic_ns();
	g_autofree char *aside = NULL;
	g_autoptr(DnImageListing) listing = dn_image_store_listing_now(self, commit, error);

	*report = (DnImageCopyReport){0};
	if (listing == NULL)
		return false;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->writing);
	g_autofree char *staged = dn_store_stage(self);
	if (!dn_store_has_room(self, error) ||
	    !copy(self, listing, staged, &aside, report, error)) {
		dn_store_drop(staged);
		g_prefix_error(error, "private copy of image %.12s: ", commit);
		return false;
	}
	report->took_ns = dn_clock_monotonic_ns() - began_ns;
	if (aside != NULL)
		drop_old(listing, aside, report);
	if (path != NULL)
		*path = dn_image_store_checkout(self, commit);
	return true;
}
