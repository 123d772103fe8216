/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Walking the tree of a commit without believing it: every object is hashed, names are checked. */

#include <glib.h>
#include <ostree.h>
#include <stdbool.h>

#include "image/repository.h"

typedef struct {
	/* A directory: its checksums; @path is "" for the root. False ends the walk. */
	bool (*directory)(const char *path, const char *tree, const char *meta, gpointer data,
			  GError **error);
	/* A file or link. */
	bool (*file)(const char *path, const char *checksum, gpointer data, GError **error);
} DnImageVisitor;

/* Visit every path of @commit, directories before what is in them, in the order of names. */
bool dn_image_traverse(const DnImageRepo *repo, const char *commit, const DnImageVisitor *visitor,
		       gpointer data, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The two checksums of a commit's root. */
bool dn_image_commit_root(const DnImageRepo *repo, const char *commit, char **tree, char **meta,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
