/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What was said of the paths of one checkout, so that it is said once. Only what was really said is
 * noted here: a finding that a second look did not confirm is news when it is found again.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/damage.h"

/* Of more paths nothing is news: an attacker who makes a million files is known. */
enum { DN_IMAGE_SAID_LIMIT = 4096 };

typedef struct DnImageSaid DnImageSaid;

DnImageSaid *dn_image_said_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_said_free(DnImageSaid *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageSaid, dn_image_said_free)

bool dn_image_said_has(const DnImageSaid *self, const DnDamage *damage);
void dn_image_said_note(DnImageSaid *self, const DnDamage *damage);

/* @path was found right: whatever is found there from now on is news again. */
void dn_image_said_take_back(DnImageSaid *self, const char *path);
/* The same of every path, for one kind. */
void dn_image_said_take_back_all(DnImageSaid *self, DnDamageKind kind);
