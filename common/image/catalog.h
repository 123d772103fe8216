/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The images of a repository, by name. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/repository.h"
#include "model/manifest.h"

typedef struct {
	char *ref;
	char *commit;
	uint64_t size_bytes; /* of all files, unpacked */
	uint64_t files;      /* regular files and links, by path */
	uint64_t created_ns; /* when the ref was set in this repository, CLOCK_REALTIME */
} DnImageInfo;

void dn_image_info_free(DnImageInfo *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageInfo, dn_image_info_free)

/* Every ref of @repo, sorted, as DnImageInfo. */
GPtrArray *dn_image_list_now(DnImageRepo *repo, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The commit that @name (a ref, a commit id, or the first 8 or more digits of one) means. */
char *dn_image_resolve_now(DnImageRepo *repo, const char *name,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Make what was written durable, add the signatures of @metadata (serialised, of any origin) to
 * those that @commit has, then point @ref at it. What may be published is the caller's judgement:
 * check.h and dn_image_objects_verify_now().
 */
bool dn_image_publish_now(DnImageRepo *repo, const char *ref, const char *commit, GBytes *metadata,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * What the image says about running it: args, env, cwd, uid (-1 and NULL where it is silent) and
 * ports (of uint16_t; @ports may be NULL). *@run is initialised here; the caller clears it.
 */
bool dn_image_read_defaults_now(DnImageRepo *repo, const char *commit, DnRun *run, GArray **ports,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;
