/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What was found to differ between a commit and what this host has of it. Paths come from the image
 * or from whoever tampered with it: untrusted text.
 */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef enum {
	DN_DAMAGE_CONTENT_CACHE, /* the page cache differs, the disk is as signed: no write made it
				  */
	DN_DAMAGE_CONTENT_DISK,  /* the disk differs, whatever the cache says */
	DN_DAMAGE_CONTENT,       /* content differs; this file system cannot tell where */
	DN_DAMAGE_MODE,
	DN_DAMAGE_OWNER,
	DN_DAMAGE_XATTR,
	DN_DAMAGE_KIND, /* a directory for a file, a link for a file, something mounted over it … */
	DN_DAMAGE_MISSING,
	DN_DAMAGE_EXTRA,
	DN_DAMAGE_OBJECT, /* in the repository, lost or changed; what runs is as signed */
	DN_DAMAGE_N
} DnDamageKind;

/* "content-cache", "content-disk", "content", "mode", "owner", "xattr", "kind", "missing", "extra",
 * "object": names for people and incidents. */
const char *dn_damage_name(DnDamageKind kind);

typedef struct {
	char *commit;
	char *path; /* in the image, without the leading '/'; of an object: its path in the
		       repository */
	DnDamageKind kind;
	pid_t writer; /* process that touched it last as the kernel told; 0: not known */
	bool undone;  /* of content-cache: a second look found it right again */
} DnDamage;

void dn_damage_free(DnDamage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDamage, dn_damage_free)

/* An array that owns its DnDamage. */
GPtrArray *dn_damages_new(void) G_GNUC_WARN_UNUSED_RESULT;

/* More than this many are not kept: the first ones say enough, and a hostile tree has a million. */
enum { DN_DAMAGES_LIMIT = 256 };

/* Copies of those of @from that are of @commit, whatever their number. */
void dn_damages_copy(GPtrArray *self, const GPtrArray *from, const char *commit);
void dn_damages_add(GPtrArray *self, const char *commit, const char *path, DnDamageKind kind);
