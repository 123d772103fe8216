/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/patch.h"

#include <string.h>

typedef struct {
	size_t begin, end;
	char *text; /* owned */
} Change;

struct DnPatch {
	const char *text; /* borrowed from the caller */
	size_t length;
	GArray *changes; /* owned, of Change; never overlapping */
};

static void clear_change(gpointer change)
{
	g_free(((Change *)change)->text);
}

DnPatch *dn_patch_new(GBytes *text)
{
	DnPatch *self = g_new0(DnPatch, 1);

	self->text = g_bytes_get_data(text, &self->length);
	self->changes = g_array_new(FALSE, FALSE, sizeof(Change));
	g_array_set_clear_func(self->changes, clear_change);
	return self;
}

void dn_patch_free(DnPatch *self)
{
	if (self == NULL)
		return;
	g_array_unref(self->changes);
	g_free(self);
}

/* Takes @text. */
static void change(DnPatch *self, size_t begin, size_t end, char *text)
{
	Change made = {begin, end, text};

	g_array_append_val(self->changes, made);
}

static size_t line_begin(const DnPatch *self, size_t at)
{
	while (at > 0 && self->text[at - 1] != '\n')
		at--;
	return at;
}

/* Where the line ends on which @node's content ends: behind any comment of that line. */
static size_t line_end(const DnPatch *self, const DnYamlNode *node)
{
	size_t at = dn_yaml_content_end(node);

	/* The mark of a | or > scalar lies behind its last line feed. */
	while (at > node->begin && (self->text[at - 1] == '\n' || self->text[at - 1] == ' '))
		at--;
	const char *feed = memchr(self->text + at, '\n', self->length - at);
	return feed != NULL ? (size_t)(feed - self->text) : self->length;
}

void dn_patch_replace(DnPatch *self, const DnYamlNode *scalar, const char *text)
{
	change(self, scalar->begin, scalar->end, g_strdup(text));
}

void dn_patch_add_key(DnPatch *self, const DnYamlNode *map, const DnYamlNode *after,
		      const char *key, const char *value)
{
	if (after == NULL && map->items->len > 0)
		after = g_ptr_array_index(map->items, map->items->len - 1);
	if (after == NULL) { /* {} */
		change(self, map->begin + 1, map->begin + 1, g_strdup_printf("%s: %s", key, value));
	} else if (map->flow) {
		size_t end = dn_yaml_content_end(after);

		change(self, end, end, g_strdup_printf(", %s: %s", key, value));
	} else {
		const DnYamlNode *first = g_ptr_array_index(map->keys, 0);
		size_t end = line_end(self, after);

		change(self, end, end,
		       g_strdup_printf("\n%*s%s: %s", (int)first->at.column - 1, "", key, value));
	}
}

static void add_flow_item(DnPatch *self, const DnYamlNode *list, guint before, const char *item)
{
	size_t at = list->begin + 1;
	const char *head = "", *tail = "";

	if (before < list->items->len) {
		at = ((const DnYamlNode *)g_ptr_array_index(list->items, before))->begin;
		tail = ", ";
	} else if (list->items->len > 0) {
		at = dn_yaml_content_end(g_ptr_array_index(list->items, list->items->len - 1));
		head = ", ";
	}
	change(self, at, at, g_strconcat(head, item, tail, NULL));
}

void dn_patch_add_item(DnPatch *self, const DnYamlNode *list, guint before, const char *item)
{
	int indent = (int)list->at.column - 1;

	if (list->flow) {
		add_flow_item(self, list, before, item);
	} else if (before < list->items->len) {
		const DnYamlNode *next = g_ptr_array_index(list->items, before);
		size_t at = line_begin(self, next->begin);

		change(self, at, at, g_strdup_printf("%*s- %s\n", indent, "", item));
	} else {
		size_t end = line_end(self, list);

		change(self, end, end, g_strdup_printf("\n%*s- %s", indent, "", item));
	}
}

static int compare(gconstpointer left, gconstpointer right)
{
	const Change *a = left, *b = right;

	return a->begin < b->begin ? -1 : a->begin > b->begin;
}

GBytes *dn_patch_apply(const DnPatch *self)
{
	GString *text = g_string_sized_new(self->length + 256);
	size_t at = 0;

	g_array_sort(self->changes, compare);
	for (guint i = 0; i < self->changes->len; i++) {
		const Change *made = &g_array_index(self->changes, Change, i);

		g_string_append_len(text, self->text + at, (gssize)(made->begin - at));
		g_string_append(text, made->text);
		at = made->end;
	}
	g_string_append_len(text, self->text + at, (gssize)(self->length - at));
	return g_string_free_to_bytes(text);
}
