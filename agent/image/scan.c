/* SPDX-License-Identifier: Apache-2.0 */
#include "image/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

enum { BUFFER_BYTES = 256 * 1024 };

struct DnImageScan {
	DnDigest *digest;          /* owned */
	DnDirect *direct;          /* owned; made by the first scan that needs it */
	uint8_t *buffer;           /* owned; made by the first scan that needs it */
	const DnImageEntry *entry; /* borrowed; NULL: nothing was begun */
	int fd;                    /* own */
	bool is_direct, matches;
	uint64_t offset;
};

DnImageScan *dn_image_scan_new(void)
{
	DnImageScan *self = g_new0(DnImageScan, 1);

	self->digest = dn_digest_new();
	self->fd = -1;
	return self;
}

/* The digest is finished, so that the next one begins afresh. */
static void stop(DnImageScan *self)
{
	uint8_t unused[DN_DIGEST_BYTES];

	if (self->entry != NULL)
		dn_digest_finish(self->digest, unused);
	self->entry = NULL;
	dn_fd_clear(&self->fd);
}

void dn_image_scan_free(DnImageScan *self)
{
	if (self == NULL)
		return;
	stop(self);
	dn_digest_free(self->digest);
	dn_direct_free(self->direct);
	g_free(self->buffer);
	g_free(self);
}

static void add_header(DnImageScan *self, const DnImageEntry *entry, const char *target)
{
	DnImageAttributes attributes = dn_image_entry_attributes(entry, target);
	g_autoptr(GBytes) header = dn_image_content_header(&attributes);

	dn_digest_add(self->digest, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
}

static void judge(DnImageScan *self)
{
	uint8_t found[DN_DIGEST_BYTES];

	dn_digest_finish(self->digest, found);
	self->matches = memcmp(found, self->entry->checksum, sizeof(found)) == 0;
	self->entry = NULL;
	dn_fd_clear(&self->fd);
}

bool dn_image_scan_begin(DnImageScan *self, const DnImageEntry *entry, int fd, bool direct,
			 GError **error)
{
	stop(self);
	dn_autofd int own = direct ? dn_direct_open(fd, error) : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0 && direct)
		return false;
	if (own < 0)
		return dn_throw_errno(error, errno, "duplicate a descriptor");
	if (direct && self->direct == NULL)
		self->direct = dn_direct_new();
	if (!direct && self->buffer == NULL)
		self->buffer = g_malloc(BUFFER_BYTES);
	self->fd = g_steal_fd(&own);
	self->entry = entry;
	self->is_direct = direct;
	self->matches = false;
	self->offset = 0;
	add_header(self, entry, NULL);
	return true;
}

static const uint8_t *read_some(DnImageScan *self, size_t *size, GError **error)
{
	ssize_t got = 0;

	if (self->is_direct)
		return dn_direct_read(self->direct, self->fd, self->offset, size, error);
	do
		got = pread(self->fd, self->buffer, BUFFER_BYTES, (off_t)self->offset);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		dn_throw_errno(error, errno, "read");
		return NULL;
	}
	*size = (size_t)got;
	return self->buffer;
}

bool dn_image_scan_step(DnImageScan *self, uint64_t limit_bytes, uint64_t *read, bool *done,
			GError **error)
{
	*read = 0;
	*done = false;
	g_return_val_if_fail(self->entry != NULL, false);
	while (*read < limit_bytes) {
		size_t size = 0;
		const uint8_t *bytes = read_some(self, &size, error);

		if (bytes == NULL) {
			stop(self);
			return false;
		}
		dn_digest_add(self->digest, bytes, size);
		self->offset += size;
		*read += size;
		/* One byte more than there should be is enough to tell. The end is asked for: a
		 * file may be longer than its entry says. */
		if (size == 0 || self->offset > self->entry->size_bytes ||
		    (self->is_direct && self->offset == self->entry->size_bytes)) {
			judge(self);
			*done = true;
			return true;
		}
	}
	return true;
}

bool dn_image_scan_matches(const DnImageScan *self)
{
	return self->matches;
}

bool dn_image_scan_file(DnImageScan *self, const DnImageEntry *entry, int fd, bool direct,
			bool *matches, GError **error)
{
	uint64_t read = 0;
	bool done = false;

	if (!dn_image_scan_begin(self, entry, fd, direct, error))
		return false;
	while (!done)
		if (!dn_image_scan_step(self, UINT64_MAX, &read, &done, error))
			return false;
	*matches = self->matches;
	return true;
}

bool dn_image_scan_link(DnImageScan *self, const DnImageEntry *entry, const char *target)
{
	stop(self);
	self->entry = entry;
	add_header(self, entry, target);
	judge(self);
	return self->matches;
}
