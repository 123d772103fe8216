/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ways back from a damaged checkout, while nodes still run on it. Each but the first
 * ends with a verified checkout under the final name and the damaged one aside; from then on
 * dn_image_store_checkout() and the functions that name its files speak of the new one. Identities
 * (dev, ino) are new: the allow set of the image must be written again.
 *
 *     object alone           dn_image_store_restore_now(): the checkout stays as it is.
 *     content-cache          dn_image_store_private_copy_now(): needs nobody else. Never start
 *                            anything from the old pages meanwhile.
 *     everything else, and   dn_image_store_repair_now(): the objects come from the supervisor
 *     when the copy fails
 *
 * Damaged checkouts are kept up to a limit for the whole host: who damages again and again meets
 * DN_ERROR_EXHAUSTED, and a person.
 */

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/store.h"

typedef struct {
	const char *url; /* http://HOST:PORT/repo */
	const char *ref;
	const char *commit;
	GCancellable *cancellable; /* or NULL */
} DnImageOrigin;

/*
 * Drop the objects that @damages (of DnDamage; others' commits are passed over) names and all that
 * do not have their checksum, fetch them again, make and verify a new checkout, whatever the one
 * that is there says of itself. When that fails the damaged one is withdrawn all the same: nothing
 * can be started from it.
 */
bool dn_image_store_repair_now(DnImageStore *self, const DnImageOrigin *origin,
			       const GPtrArray *damages, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Where nothing but objects are lost or changed: what is wrong in the repository goes, files are
 * put back from the checkout, which is as signed and known, and what else is missing comes from the
 * supervisor, if anything is. Nodes that run and those that come go on with the checkout they have.
 */
bool dn_image_store_restore_now(DnImageStore *self, const DnImageOrigin *origin,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
	guint files;         /* copied; links and further names of one file are not counted */
	uint64_t bytes;      /* of them */
	uint64_t disk_bytes; /* of those, read from the disk, past the page cache */
	uint64_t took_ns;    /* copy and verification */
	uint64_t pages_kept; /* of the old checkout, in memory after the kernel was asked to drop
			      * them: those that a running node maps */
	guint tainted; /* files of the old checkout that would still be executed with other content
			*/
} DnImageCopyReport;

/*
 * A private copy: every file of the checkout a new inode with new pages, content from the disk past
 * the page cache, hashed while it is written, synced, verified through the cache and from the disk.
 * It becomes the checkout and its files become the repository's objects, so that no later checkout
 * here links the old pages; the old checkout goes aside, and the kernel is asked to drop its pages.
 * DN_ERROR_UNTRUSTED names a file that is wrong on the disk as well. *@path (or NULL) is its path.
 */
bool dn_image_store_private_copy_now(DnImageStore *self, const char *commit, char **path,
				     DnImageCopyReport *report,
				     GError **error) G_GNUC_WARN_UNUSED_RESULT;
