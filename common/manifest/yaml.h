/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The part of YAML that our files are written in, as a tree in which every node knows its place.
 *
 * A signed file must have one meaning, to people and to every program. So what makes YAML
 * ambiguous or expensive is refused, each with its place: anchors and aliases, tags, directives,
 * a second document, duplicate keys, keys that are not scalars, tabs, carriage returns, control
 * and invisible formatting characters, anything that is not UTF-8. Scalars stay text: "no" is the
 * word no, and 0755 is four digits, until the schema says what is wanted (manifest/fields.h).
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#include "manifest/faults.h"

enum {
	DN_YAML_BYTES = 256 * 1024,
	DN_YAML_DEPTH = 16,
	DN_YAML_NODES = 10000,
};

typedef enum { DN_YAML_SCALAR, DN_YAML_LIST, DN_YAML_MAP } DnYamlKind;

typedef struct DnYamlNode DnYamlNode;
struct DnYamlNode {
	DnYamlKind kind;
	bool quoted; /* scalar: in quotes */
	bool block;  /* scalar: after | or > */
	bool flow;   /* list, map: in brackets */
	DnMark at;
	size_t begin, end; /* its bytes in the file; end only of scalars and flow collections */
	char *text;        /* scalar: valid UTF-8 without NUL */
	GPtrArray *keys;   /* map: of DnYamlNode, all scalars, no two alike */
	GPtrArray *items;  /* list: its items; map: the values, in the order of keys */
};

/* The root, or NULL when there is none. The tree is only to be trusted when @faults stays empty. */
DnYamlNode *dn_yaml_load(GBytes *bytes, DnFaults *faults) G_GNUC_WARN_UNUSED_RESULT;
void dn_yaml_free(DnYamlNode *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnYamlNode, dn_yaml_free)

/* The value of @key, or NULL when there is none or @self is no map. */
DnYamlNode *dn_yaml_get(const DnYamlNode *self, const char *key);

/* A plain scalar without a value: nothing, ~ or null. */
bool dn_yaml_is_null(const DnYamlNode *self);

/* The byte after the last one that belongs to @self, comments and blanks behind it not counted. */
size_t dn_yaml_content_end(const DnYamlNode *self);
