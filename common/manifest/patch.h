/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Changes to the text of a YAML file at the places its tree names. Private to this module.
 * Whoever patches parses the result: some exotic spellings cannot be edited, and are then
 * refused instead of damaged.
 */

#include <glib.h>

#include "manifest/yaml.h"

typedef struct DnPatch DnPatch;

/* @text must be what the tree was loaded from; both must outlive the patch. */
DnPatch *dn_patch_new(GBytes *text);
void dn_patch_free(DnPatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnPatch, dn_patch_free)

/* Put @text in place of a scalar. */
void dn_patch_replace(DnPatch *self, const DnYamlNode *scalar, const char *text);

/* Add "@key: @value" to @map, below its member @after (a key's value; NULL: at the end). */
void dn_patch_add_key(DnPatch *self, const DnYamlNode *map, const DnYamlNode *after,
		      const char *key, const char *value);

/* Add @item, written on one line, to @list: before its item number @before, or at the end. */
void dn_patch_add_item(DnPatch *self, const DnYamlNode *list, guint before, const char *item);

/* The text with every change. */
GBytes *dn_patch_apply(const DnPatch *self);
