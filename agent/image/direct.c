/* SPDX-License-Identifier: Apache-2.0 */
#include "image/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"

/* A block size that no disk in use exceeds; also the alignment of the buffer. */
enum { ALIGNMENT = 4096, BUFFER_BYTES = 1 << 20 };

struct DnDirect {
	uint8_t *buffer; /* owned */
};

DnDirect *dn_direct_new(void)
{
	DnDirect *self = g_new0(DnDirect, 1);
	void *buffer = NULL;

	if (posix_memalign(&buffer, ALIGNMENT, BUFFER_BYTES) != 0)
		g_error("no memory for %d bytes", BUFFER_BYTES);
	self->buffer = buffer;
	return self;
}

void dn_direct_free(DnDirect *self)
{
	if (self == NULL)
		return;
	free(self->buffer);
	g_free(self);
}

static int refuse(GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "this file system reads nothing past the page cache: a changed page and a "
		    "changed disk cannot be told apart");
	return -1;
}

/* Would the kernel answer from memory, or want more alignment than the buffer has? */
static bool is_honest(int fd)
{
	struct statx info = {0};
	struct statfs system = {0};

	if (fstatfs(fd, &system) < 0 || system.f_type == TMPFS_MAGIC ||
	    system.f_type == RAMFS_MAGIC)
		return false;
	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) < 0 ||
	    (info.stx_mask & STATX_DIOALIGN) == 0)
		return true;
	return info.stx_dio_mem_align != 0 && info.stx_dio_mem_align <= ALIGNMENT &&
	       info.stx_dio_offset_align != 0 && info.stx_dio_offset_align <= ALIGNMENT;
}

int dn_direct_open(int fd, GError **error)
{
	char proc[32];

	if (!is_honest(fd))
		return refuse(error);
	/* By descriptor: it must be the same file, whatever its name means by now. */
	g_snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	int own = open(proc, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (own < 0 && errno == EINVAL)
		return refuse(error);
	if (own < 0)
		dn_throw_errno(error, errno, "open past the page cache");
	return own;
}

const uint8_t *dn_direct_read(DnDirect *self, int direct_fd, uint64_t offset, size_t *size,
			      GError **error)
{
	ssize_t got = 0;

	/* At the end of a file, and after it, the kernel gives what there is. */
	do
		got = pread(direct_fd, self->buffer, BUFFER_BYTES, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
		refuse(error);
		return NULL;
	}
	if (got < 0) {
		dn_throw_errno(error, errno, "read past the page cache");
		return NULL;
	}
	*size = (size_t)got;
	return self->buffer;
}

bool dn_direct_add_fd(DnDirect *self, int fd, DnDigest *digest, GError **error)
{
	dn_autofd int own = dn_direct_open(fd, error);
	uint64_t offset = 0;
	size_t size = 0;

	if (own < 0)
		return false;
	for (;;) {
		const uint8_t *bytes = dn_direct_read(self, own, offset, &size, error);

		if (bytes == NULL)
			return false;
		if (size == 0)
			return true;
		dn_digest_add(digest, bytes, size);
		offset += size;
		/* A short read is the end; an offset that is not aligned would be refused. */
		if (size % ALIGNMENT != 0)
			return true;
	}
}
