/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The tree of an image while it is being built, inside a transaction of a repository. Everything
 * in it belongs to root and has no xattrs; only content, names, links and modes tell two apart.
 *
 * Two ways to fail: a *fault* is something in the sources that an image may not hold; it is noted
 * and building goes on, so that all are told at once. A GError ends the build.
 */

#include <glib.h>
#include <ostree.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

typedef struct DnImageTree DnImageTree;

/* @repo is borrowed and in a transaction. */
DnImageTree *dn_image_tree_new(OstreeRepo *repo);
void dn_image_tree_free(DnImageTree *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageTree, dn_image_tree_free)

/* Note a fault; the first twenty are kept. Always true, so that building goes on. */
bool dn_image_tree_fault(DnImageTree *self, const char *what, ...) G_GNUC_PRINTF(2, 3);

/* False, with one fault a line, when any was noted. */
bool dn_image_tree_is_sound(const DnImageTree *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the finished tree holds: regular files and links by path, and the bytes in them. */
void dn_image_tree_measure(const DnImageTree *self, uint64_t *files, uint64_t *bytes);

/* Borrowed from @self. */
OstreeMutableTree *dn_image_tree_root(DnImageTree *self);

/*
 * The directory @name in @parent (borrowed from it), made with @mode when it is not there. NULL
 * with an error, or NULL with a fault noted when @name is something else; @path is for people.
 */
OstreeMutableTree *dn_image_tree_directory(DnImageTree *self, OstreeMutableTree *parent,
					   const char *path, uint32_t mode, GError **error);

/* Give an existing directory another mode. */
bool dn_image_tree_set_mode(DnImageTree *self, OstreeMutableTree *directory, uint32_t mode,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Put a file with @mode's permission bits at @path, whose last word is its name in @parent, over
 * a file that is there. @fd is read to its end, which must be where @info says.
 */
bool dn_image_tree_file(DnImageTree *self, OstreeMutableTree *parent, const char *path, int fd,
			const struct stat *info, uint32_t mode,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_image_tree_bytes(DnImageTree *self, OstreeMutableTree *parent, const char *path,
			 GBytes *bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_image_tree_link(DnImageTree *self, OstreeMutableTree *parent, const char *path,
			const char *target, GError **error) G_GNUC_WARN_UNUSED_RESULT;
