/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a commit says is at every path, as one checkout was verified to have it: kept in memory, so
 * that looking again needs neither OSTree nor the repository. A commit never changes and neither
 * does its listing; it holds for every checkout of the commit, also a later one. References may be
 * held and dropped on any thread. About 120 bytes a path (docs/limits.md).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "image/content.h"
#include "image/identity.h"
#include "seal/digest.h"

typedef struct {
	const char *path;                  /* without the leading '/'; "" is the root */
	uint8_t checksum[DN_DIGEST_BYTES]; /* of a file's or link's object, of a dirmeta */
	uint32_t mode;                     /* with the type bits */
	uint32_t uid, gid;
	bool runs;           /* a regular file that can be executed or mapped: some x bit, or ELF */
	uint64_t size_bytes; /* of a regular file */
	GVariant *xattrs;    /* owned; NULL: none */
} DnImageEntry;

typedef struct DnImageListing DnImageListing;

DnImageListing *dn_image_listing_new(const char *commit) G_GNUC_WARN_UNUSED_RESULT;
DnImageListing *dn_image_listing_ref(DnImageListing *self) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_listing_unref(DnImageListing *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageListing, dn_image_listing_unref)

/* Enter a path with its verified facts (copied); false: @checksum is none. Before the seal only. */
bool dn_image_listing_add(DnImageListing *self, const char *path, const char *checksum,
			  const DnImageFacts *facts);
/* Nothing is entered any more; all below wants this first. */
void dn_image_listing_seal(DnImageListing *self);

const char *dn_image_listing_commit(const DnImageListing *self);
guint dn_image_listing_length(const DnImageListing *self);

/* In the order of strcmp(), so the root is the first. */
const DnImageEntry *dn_image_listing_at(const DnImageListing *self, guint index);

/* False: the commit has no such path. */
bool dn_image_listing_find(const DnImageListing *self, const char *path, guint *index);

/* What is right in the directory @path, one by one: begin with *@cursor 0; NULL: no more. */
const DnImageEntry *dn_image_listing_next_in(const DnImageListing *self, const char *path,
					     guint *cursor);

/* Indices (guint) of the entries that run, the largest first. Borrowed. */
const GArray *dn_image_listing_runs(const DnImageListing *self);

/* The attributes an entry's checksum covers, for its header; borrowed from @self. */
DnImageAttributes dn_image_entry_attributes(const DnImageEntry *self, const char *target);
