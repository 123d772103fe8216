/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who touched a checkout or the repository: paths that have to be looked at again. A suspect is no
 * damage; whether it is one, the probe says (probe.h).
 *
 * Three sources, each for what the one before cannot see:
 *
 *   fanotify   a mark on the *inode* of every file and directory of a checkout, so that a write, a
 *              change of attributes, a new, lost or renamed name is told at once, whatever path it
 *              came by: the checkout, the object in the repository (a hard link of the same inode),
 *              a third link somewhere else. A mark on a directory alone would see only what comes
 *              through that directory's names. What this process does itself is not told.
 *   stamps     what stat(2) said when a file was verified (stamp.h), compared every few seconds:
 *              a shared writable mapping makes no event before it is unmapped, but moves ctime.
 *   overflow   when the kernel's queue ran over, or a mark could not be set, everything is suspect.
 *
 * Our own work (a pull, a checkout that adds links, one that is removed) moves ctime too: such
 * files are looked at once more and found right.
 *
 * Memory: 64 bytes of ours and one mark of the kernel's (about 1.2 KiB with the inode that it keeps
 * in memory) a path. From @marks_limit paths on no more marks are set, and stamps alone tell.
 * One thread at a time.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "image/listing.h"

typedef struct DnImageWatch DnImageWatch;

#define DN_IMAGE_MARKS_LIMIT 65536

typedef struct {
	DnImageListing *listing; /* owned */
	guint index;             /* of the entry */
	pid_t writer;            /* as the kernel told; 0: not known */
	bool told;               /* by the kernel just now, not found by a stamp */
} DnImageSuspect;

typedef struct {
	guint paths, marks; /* watched; of them with a mark */
	guint suspects;     /* still to be looked at */
	uint64_t events;    /* of others, since the start */
	uint64_t overflows; /* of the queue, since the start */
} DnImageWatchState;

/* @repo_path and @marks_limit as said above. Where fanotify is refused, stamps alone tell. */
DnImageWatch *dn_image_watch_new(const char *repo_path, guint marks_limit);
void dn_image_watch_free(DnImageWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageWatch, dn_image_watch_free)

/* Readable when the kernel has told something; -1: it never will. */
int dn_image_watch_fd(const DnImageWatch *self);

/*
 * Watch the checkout of @listing's commit at @path, from now on and instead of an earlier one of
 * that commit. All of it is suspect at first.
 */
void dn_image_watch_add_now(DnImageWatch *self, DnImageListing *listing, const char *path);
void dn_image_watch_remove(DnImageWatch *self, const char *commit);

/* Take in what the kernel told. *@repository: something in the repository was touched. Never
 * blocks. */
void dn_image_watch_read(DnImageWatch *self, bool *repository);

/* Compare stamps, @limit paths further round; *@round: the end of a round was passed. */
void dn_image_watch_sweep_now(DnImageWatch *self, guint limit, bool *round);

/*
 * The next that has to be looked at, those told by the kernel first, otherwise in turn; false: none
 * is left. Its stamp was taken anew, so that a change from now on makes it suspect again, whatever
 * is found meanwhile.
 */
bool dn_image_watch_next(DnImageWatch *self, DnImageSuspect *suspect) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_suspect_clear(DnImageSuspect *self);

void dn_image_watch_state(const DnImageWatch *self, DnImageWatchState *state);
