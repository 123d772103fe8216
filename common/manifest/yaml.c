/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/yaml.h"

#include <string.h>
#include <yaml.h>

typedef struct {
	yaml_parser_t parser;
	DnFaults *faults; /* borrowed from the caller */
	const char *text; /* borrowed from the caller */
	size_t character; /* libyaml counts characters; the one at this number … */
	size_t byte;      /* … begins here */
	unsigned depth;
	unsigned nodes;
} Loader;

static DnMark mark_of(const yaml_mark_t *mark)
{
	return (DnMark){(uint32_t)mark->line + 1, (uint32_t)mark->column + 1};
}

/* Marks come nearly in order, so moving from the last one makes a whole file linear. */
static size_t byte_of(Loader *loader, const yaml_mark_t *mark)
{
	const char *from = loader->text + loader->byte;
	glong steps = (glong)mark->index - (glong)loader->character;

	loader->byte = (size_t)(g_utf8_offset_to_pointer(from, steps) - loader->text);
	loader->character = mark->index;
	return loader->byte;
}

static void free_node(gpointer node)
{
	dn_yaml_free(node);
}

void dn_yaml_free(DnYamlNode *self)
{
	if (self == NULL)
		return;
	g_free(self->text);
	g_clear_pointer(&self->keys, g_ptr_array_unref);
	g_clear_pointer(&self->items, g_ptr_array_unref);
	g_free(self);
}

DnYamlNode *dn_yaml_get(const DnYamlNode *self, const char *key)
{
	if (self == NULL || self->kind != DN_YAML_MAP)
		return NULL;
	for (guint i = 0; i < self->keys->len; i++) {
		const DnYamlNode *name = g_ptr_array_index(self->keys, i);

		if (g_str_equal(name->text, key))
			return g_ptr_array_index(self->items, i);
	}
	return NULL;
}

bool dn_yaml_is_null(const DnYamlNode *self)
{
	return self->kind == DN_YAML_SCALAR && !self->quoted && !self->block &&
	       (self->text[0] == '\0' || g_str_equal(self->text, "~") ||
		g_str_equal(self->text, "null"));
}

size_t dn_yaml_content_end(const DnYamlNode *self)
{
	if (self->kind == DN_YAML_SCALAR || self->flow || self->items->len == 0)
		return self->end;
	return dn_yaml_content_end(g_ptr_array_index(self->items, self->items->len - 1));
}

/* Why a character may not stand in a file of ours, or NULL. */
static const char *refusal(gunichar c)
{
	if (c == '\n')
		return NULL;
	if (c == '\t')
		return "tab; write blanks instead, or \\t in double quotes";
	if (c == '\r')
		return "carriage return; end lines with a line feed only";
	if (g_unichar_iscntrl(c) || (c & 0xfffe) == 0xfffe)
		return "control character";
	if (g_unichar_type(c) == G_UNICODE_FORMAT ||
	    g_unichar_type(c) == G_UNICODE_LINE_SEPARATOR ||
	    g_unichar_type(c) == G_UNICODE_PARAGRAPH_SEPARATOR)
		return "invisible character that can make the text read otherwise than it is";
	return NULL;
}

static bool check_characters(const char *text, size_t length, DnFaults *faults)
{
	const char *end = text + length;
	DnMark at = {1, 1};

	while (text < end) {
		gunichar c = g_utf8_get_char_validated(text, end - text);

		if (*text == '\0') {
			dn_faults_add(faults, at, "NUL byte");
			return false;
		}
		if (c == (gunichar)-1 || c == (gunichar)-2) {
			dn_faults_add(faults, at, "byte \\x%02x is not UTF-8", (guchar)*text);
			return false;
		}
		const char *why = refusal(c);
		if (why != NULL) {
			dn_faults_add(faults, at, "U+%04X: %s", c, why);
			return false;
		}
		if (c == '\n')
			at = (DnMark){at.line + 1, 1};
		else
			at.column++;
		text = g_utf8_next_char(text);
	}
	return true;
}

static bool next(Loader *loader, yaml_event_t *event)
{
	const yaml_parser_t *parser = &loader->parser;

	if (yaml_parser_parse(&loader->parser, event))
		return true;
	dn_faults_add(loader->faults, mark_of(&parser->problem_mark), "%s%s%s",
		      parser->problem != NULL ? parser->problem : "not YAML",
		      parser->context != NULL ? " " : "",
		      parser->context != NULL ? parser->context : "");
	return false;
}

static DnYamlNode *node_new(Loader *loader, DnYamlKind kind, const yaml_event_t *event)
{
	DnYamlNode *node = g_new0(DnYamlNode, 1);

	node->kind = kind;
	node->at = mark_of(&event->start_mark);
	node->begin = byte_of(loader, &event->start_mark);
	node->end = byte_of(loader, &event->end_mark);
	if (kind != DN_YAML_SCALAR)
		node->items = g_ptr_array_new_with_free_func(free_node);
	if (kind == DN_YAML_MAP)
		node->keys = g_ptr_array_new_with_free_func(free_node);
	return node;
}

static void refuse_marks(Loader *loader, const yaml_event_t *event, const void *anchor,
			 const void *tag)
{
	if (anchor != NULL)
		dn_faults_add(loader->faults, mark_of(&event->start_mark),
			      "anchors (&) are not allowed; write the value out");
	if (tag != NULL)
		dn_faults_add(loader->faults, mark_of(&event->start_mark),
			      "tags (!) are not allowed; the schema knows every type");
}

static DnYamlNode *take_scalar(Loader *loader, const yaml_event_t *event)
{
	DnYamlNode *node = node_new(loader, DN_YAML_SCALAR, event);
	const char *value = (const char *)event->data.scalar.value;
	yaml_scalar_style_t style = event->data.scalar.style;

	refuse_marks(loader, event, event->data.scalar.anchor, event->data.scalar.tag);
	node->quoted = style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
		       style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	node->block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
	/* Escapes in double quotes can make what the file itself may not hold. */
	if (!g_utf8_validate_len(value, event->data.scalar.length, NULL))
		dn_faults_add(loader->faults, node->at, "an escape makes a NUL or invalid text");
	node->text = g_utf8_make_valid(value, (gssize)strlen(value));
	return node;
}

static DnYamlNode *take(Loader *loader, const yaml_event_t *event);

/* The next node, or NULL at @closing or at an error; *@closed tells which. */
static DnYamlNode *take_next(Loader *loader, yaml_event_type_t closing, DnYamlNode *parent,
			     bool *closed)
{
	yaml_event_t event;
	DnYamlNode *node = NULL;

	*closed = false;
	if (!next(loader, &event))
		return NULL;
	if (event.type == closing) {
		*closed = true;
		if (parent->flow)
			parent->end = byte_of(loader, &event.end_mark);
	} else
		node = take(loader, &event);
	yaml_event_delete(&event);
	return node;
}

static DnYamlNode *take_list(Loader *loader, const yaml_event_t *event)
{
	g_autoptr(DnYamlNode) list = node_new(loader, DN_YAML_LIST, event);
	bool closed = false;

	refuse_marks(loader, event, event->data.sequence_start.anchor,
		     event->data.sequence_start.tag);
	list->flow = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	for (;;) {
		DnYamlNode *item = take_next(loader, YAML_SEQUENCE_END_EVENT, list, &closed);

		if (item == NULL)
			break;
		g_ptr_array_add(list->items, item);
	}
	return closed ? g_steal_pointer(&list) : NULL;
}

/* Adds @key to @seen and returns true when the map may have it. */
static bool accept_key(Loader *loader, GHashTable *seen, const DnYamlNode *key)
{
	if (key->kind != DN_YAML_SCALAR) {
		dn_faults_add(loader->faults, key->at, "a key must be a word");
		return false;
	}
	if (g_hash_table_add(seen, g_strdup(key->text)))
		return true;
	g_autofree char *quoted = dn_faults_quote(key->text);
	dn_faults_add(loader->faults, key->at, "key %s stands here twice", quoted);
	return false;
}

static DnYamlNode *take_map(Loader *loader, const yaml_event_t *event)
{
	g_autoptr(DnYamlNode) map = node_new(loader, DN_YAML_MAP, event);
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	bool closed = false;

	refuse_marks(loader, event, event->data.mapping_start.anchor,
		     event->data.mapping_start.tag);
	map->flow = event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
	for (;;) {
		g_autoptr(DnYamlNode) key = take_next(loader, YAML_MAPPING_END_EVENT, map, &closed);
		if (key == NULL)
			break;
		g_autoptr(DnYamlNode) value =
			take_next(loader, YAML_MAPPING_END_EVENT, map, &closed);
		if (value == NULL)
			return NULL;
		if (accept_key(loader, seen, key)) {
			g_ptr_array_add(map->keys, g_steal_pointer(&key));
			g_ptr_array_add(map->items, g_steal_pointer(&value));
		}
	}
	return closed ? g_steal_pointer(&map) : NULL;
}

static DnYamlNode *take_collection(Loader *loader, const yaml_event_t *event)
{
	DnYamlNode *node = NULL;

	if (loader->depth >= DN_YAML_DEPTH) {
		dn_faults_add(loader->faults, mark_of(&event->start_mark),
			      "nested deeper than %d levels", DN_YAML_DEPTH);
		return NULL;
	}
	loader->depth++;
	node = event->type == YAML_MAPPING_START_EVENT ? take_map(loader, event)
						       : take_list(loader, event);
	loader->depth--;
	return node;
}

static DnYamlNode *take(Loader *loader, const yaml_event_t *event)
{
	if (++loader->nodes > DN_YAML_NODES) {
		dn_faults_add(loader->faults, mark_of(&event->start_mark),
			      "more than %d values in one file", DN_YAML_NODES);
		return NULL;
	}
	if (event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT)
		return take_collection(loader, event);
	if (event->type == YAML_SCALAR_EVENT)
		return take_scalar(loader, event);
	dn_faults_add(loader->faults, mark_of(&event->start_mark),
		      "aliases (*) are not allowed; write the value out");
	return NULL;
}

/* Take the events that only frame a document, up to one of another kind. */
static bool begin_document(Loader *loader, yaml_event_t *event)
{
	while (next(loader, event)) {
		if (event->type == YAML_STREAM_END_EVENT) {
			dn_faults_add(loader->faults, (DnMark){1, 1}, "the file is empty");
			break;
		}
		if (event->type == YAML_DOCUMENT_START_EVENT &&
		    (event->data.document_start.version_directive != NULL ||
		     event->data.document_start.tag_directives.start !=
			     event->data.document_start.tag_directives.end)) {
			dn_faults_add(loader->faults, mark_of(&event->start_mark),
				      "directives (%%) are not allowed");
			break;
		}
		if (event->type != YAML_STREAM_START_EVENT &&
		    event->type != YAML_DOCUMENT_START_EVENT)
			return true;
		yaml_event_delete(event);
	}
	yaml_event_delete(event);
	return false;
}

static void refuse_second_document(Loader *loader)
{
	yaml_event_t event;

	while (next(loader, &event)) {
		bool end = event.type == YAML_STREAM_END_EVENT;
		bool second = event.type == YAML_DOCUMENT_START_EVENT;

		if (second)
			dn_faults_add(loader->faults, mark_of(&event.start_mark),
				      "a second document begins here; one file holds one");
		yaml_event_delete(&event);
		if (end || second)
			return;
	}
}

static DnYamlNode *load_document(Loader *loader)
{
	yaml_event_t event;

	if (!begin_document(loader, &event))
		return NULL;
	DnYamlNode *root = take(loader, &event);
	yaml_event_delete(&event);
	if (root != NULL)
		refuse_second_document(loader);
	return root;
}

DnYamlNode *dn_yaml_load(GBytes *bytes, DnFaults *faults)
{
	size_t length = 0;
	const char *text = g_bytes_get_data(bytes, &length);
	Loader loader = {.faults = faults, .text = text};

	if (length > DN_YAML_BYTES) {
		dn_faults_add(faults, (DnMark){1, 1},
			      "the file has %zu bytes, more than %d KiB are not read", length,
			      DN_YAML_BYTES / 1024);
		return NULL;
	}
	if (length == 0) {
		dn_faults_add(faults, (DnMark){1, 1}, "the file is empty");
		return NULL;
	}
	if (!check_characters(text, length, faults))
		return NULL;
	if (!yaml_parser_initialize(&loader.parser))
		g_error("out of memory");
	yaml_parser_set_encoding(&loader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&loader.parser, (const unsigned char *)text, length);
	DnYamlNode *root = load_document(&loader);
	yaml_parser_delete(&loader.parser);
	return root;
}
