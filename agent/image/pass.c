/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/probe.h"

enum { PATH_COST = 4096 };

typedef enum { NEXT, CACHE, DISK } Stage;

struct DnImagePass {
	DnImageListing *listing; /* owned */
	char *path;              /* owned */
	DnImageScan *scan;       /* owned */
	int root_fd;             /* own; opened by the first step */
	int fd;                  /* own: the file being hashed */
	guint index;             /* of the entry whose turn it is */
	Stage stage;             /* of the file being hashed */
};

DnImagePass *dn_image_pass_new(DnImageListing *listing, const char *path)
{
	DnImagePass *self = g_new0(DnImagePass, 1);

	self->listing = dn_image_listing_ref(listing);
	self->path = g_strdup(path);
	self->scan = dn_image_scan_new();
	self->root_fd = -1;
	self->fd = -1;
	return self;
}

void dn_image_pass_free(DnImagePass *self)
{
	if (self == NULL)
		return;
	dn_image_scan_free(self->scan);
	dn_image_listing_unref(self->listing);
	dn_fd_clear(&self->fd);
	dn_fd_clear(&self->root_fd);
	g_free(self->path);
	g_free(self);
}

const char *dn_image_pass_commit(const DnImagePass *self)
{
	return dn_image_listing_commit(self->listing);
}

static const DnImageEntry *current(const DnImagePass *self)
{
	return dn_image_listing_at(self->listing, self->index);
}

static void go_on(DnImagePass *self)
{
	dn_fd_clear(&self->fd);
	self->stage = NEXT;
	self->index++;
}

/* The probe says what it is: it reads the file again, whole. */
static void classify(DnImagePass *self, bool disk, GPtrArray *damages)
{
	const DnImageProbe probe = {.listing = self->listing, .root_fd = self->root_fd};
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	guint before = damages->len;
	DnDamageKind kind = DN_DAMAGE_N;

	/* It does differ; where, may stay unknown. */
	if (!dn_image_probe_path(&probe, scan, current(self)->path, damages, NULL))
		kind = DN_DAMAGE_CONTENT;
	/* Right in the cache, so the probe had nothing to say. */
	else if (disk && damages->len == before)
		kind = DN_DAMAGE_CONTENT_DISK;
	if (kind != DN_DAMAGE_N)
		dn_damages_add(damages, dn_image_listing_commit(self->listing), current(self)->path,
			       kind);
}

static bool begin_entry(DnImagePass *self, GPtrArray *damages, GError **error)
{
	const DnImageProbe probe = {.listing = self->listing, .root_fd = self->root_fd};

	if (!dn_image_probe_attributes(&probe, self->index, damages, &self->fd, error))
		return false;
	if (self->fd < 0) {
		go_on(self);
		return true;
	}
	self->stage = CACHE;
	return dn_image_scan_begin(self->scan, current(self), self->fd, false, error);
}

static bool end_stage(DnImagePass *self, GPtrArray *damages, GError **error)
{
	GError *failed = NULL;
	bool was_disk = self->stage == DISK;

	if (!dn_image_scan_matches(self->scan)) {
		classify(self, was_disk, damages);
		go_on(self);
		return true;
	}
	if (was_disk) {
		go_on(self);
		return true;
	}
	self->stage = DISK;
	if (dn_image_scan_begin(self->scan, current(self), self->fd, true, &failed))
		return true;
	/* There is no other place than the cache to read it from. */
	if (g_error_matches(failed, DN_ERROR, DN_ERROR_UNSUPPORTED)) {
		g_error_free(failed);
		go_on(self);
		return true;
	}
	g_propagate_error(error, failed);
	return false;
}

static bool step_file(DnImagePass *self, uint64_t limit_bytes, GPtrArray *damages, uint64_t *cost,
		      GError **error)
{
	uint64_t read = 0;
	bool done = false;
	GError *failed = NULL;

	if (!dn_image_scan_step(self->scan, limit_bytes, &read, &done, &failed)) {
		/* Opened past the cache, but not readable so: as if it had not been opened. */
		if (g_error_matches(failed, DN_ERROR, DN_ERROR_UNSUPPORTED)) {
			g_error_free(failed);
			go_on(self);
			return true;
		}
		g_propagate_error(error, failed);
		return false;
	}
	*cost += read;
	return !done || end_stage(self, damages, error);
}

static bool open_root(DnImagePass *self, GPtrArray *damages, bool *gone, GError **error)
{
	if (self->root_fd >= 0)
		return true;
	self->root_fd = open(self->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (self->root_fd >= 0)
		return true;
	*gone = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
	if (!*gone)
		return dn_throw_errno(error, errno, "open checkout %s", self->path);
	dn_damages_add(damages, dn_image_listing_commit(self->listing), "", DN_DAMAGE_MISSING);
	return true;
}

/* The entry whose turn it is could not be looked at. */
static void pass_over(DnImagePass *self, GPtrArray *damages, const GError *failed)
{
	if (!dn_image_probe_is_shortage(failed))
		dn_damages_add(damages, dn_image_listing_commit(self->listing), current(self)->path,
			       DN_DAMAGE_CONTENT);
	go_on(self);
}

bool dn_image_pass_step_now(DnImagePass *self, uint64_t limit_bytes, GPtrArray *damages,
			    uint64_t *cost, bool *done, GError **error)
{
	GError *failed = NULL;

	*cost = 0;
	*done = false;
	if (!open_root(self, damages, done, error))
		return false;
	if (*done)
		return true;
	while (*cost < limit_bytes && self->index < dn_image_listing_length(self->listing)) {
		bool good = true;

		if (self->stage == NEXT) {
			*cost += PATH_COST;
			good = begin_entry(self, damages, &failed);
		} else
			good = step_file(self, limit_bytes - *cost, damages, cost, &failed);
		if (!good) {
			pass_over(self, damages, failed);
			g_propagate_error(error, failed);
			return false;
		}
	}
	if (self->index < dn_image_listing_length(self->listing))
		return true;
	*done = true;
	return true;
}
