/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which set of programs the nodes of an image run by: a number in the sensor's allow map.
 *
 * The files of a set are inodes, so a set is of one image under the rules of one manifest (the key,
 * a text that begins with the commit) *and of one checkout*. A checkout that was made anew gets a
 * new number; nodes that run on the one before go on with theirs. A number is never used again and
 * its set is never replaced by that of another checkout.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/manifest.h"

typedef struct DnImageTable DnImageTable;

typedef struct {
	uint32_t number; /* of the set; not 0 */
	bool known;      /* a node of it was made: the sensor has the set, the defaults are here */
	guint placed;    /* known: which checkout it was made from */
} DnImageSet;

DnImageTable *dn_image_table_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_table_free(DnImageTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageTable, dn_image_table_free)

/*
 * What the next node of @key runs by. @placed is the checkout in place, NULL: none. One that is
 * known of another checkout is dropped, and nodes that are made at the same time share what the
 * first one drew. @defaults are set where the set is known.
 */
DnImageSet dn_image_table_take(DnImageTable *self, const char *key, const guint *placed,
			       DnRun *defaults) G_GNUC_WARN_UNUSED_RESULT;

/*
 * A node was made by set @number from checkout @placed. Nothing is noted when @number is not what
 * @key takes any more: the image was changed while that node was made.
 */
void dn_image_table_remember(DnImageTable *self, const char *key, const DnImageSet *set,
			     const DnRun *defaults);

/*
 * A node that was taken over runs by @set. With a @key its checkout is the one in place, and the
 * next node of @key gets the same; NULL: only the nodes that have it do.
 */
void dn_image_table_adopt(DnImageTable *self, const char *key, const DnImageSet *set,
			  const DnRun *defaults);

/* No further node is to run by a set of @commit. */
void dn_image_table_drop(DnImageTable *self, const char *commit);

/*
 * Numbers (uint32_t) that no further node gets: each set is to go from the sensor when the last
 * node that has it is gone. Borrowed; the caller takes out those that went.
 */
GArray *dn_image_table_dropped(DnImageTable *self);
