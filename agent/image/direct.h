/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading a file's content from the disk, past the page cache: O_DIRECT. Pages that a write made
 * dirty are written out by the kernel first, so such a write is seen; pages that were changed
 * without a write are not looked at. The page cache stays as it is.
 *
 * Where a file system would answer from memory all the same (tmpfs; ext4 with data=journal or
 * inline data) this fails with DN_ERROR_UNSUPPORTED rather than give a false proof. Where the
 * kernel does not tell (STATX_DIOALIGN, Linux 6.1), the open's answer is all there is.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"
#include "seal/digest.h"

typedef struct DnDirect DnDirect;

/* Holds the aligned buffer; for one thread at a time. */
DnDirect *dn_direct_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_direct_free(DnDirect *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDirect, dn_direct_free)

/* Another descriptor of the file that @fd has open for reading, for the calls below; -1. */
int dn_direct_open(int fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The next bytes of @direct_fd from @offset, at most 1 MiB; *@size 0: the end. Borrowed. */
const uint8_t *dn_direct_read(DnDirect *self, int direct_fd, uint64_t offset, size_t *size,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Add the whole of the file that @fd has open to @digest. */
bool dn_direct_add_fd(DnDirect *self, int fd, DnDigest *digest,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
