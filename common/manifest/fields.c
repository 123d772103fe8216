/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/fields.h"

#include <string.h>

#include "base/text.h"
#include "manifest/grammar.h"

enum { TEXT_LIMIT = 4096, TEXTS_LIMIT = 256 };

static bool is_text_kind(DnFieldKind kind)
{
	return kind <= DN_FIELD_URL_PATH;
}

static void *member(const DnField *field, void *into)
{
	return (char *)into + field->offset;
}

static void store(const DnField *field, void *into, uint64_t value)
{
	void *where = member(field, into);

	switch (field->width) {
	case 0:
		return;
	case sizeof(uint8_t):
		*(uint8_t *)where = (uint8_t)value;
		return;
	case sizeof(uint16_t):
		*(uint16_t *)where = (uint16_t)value;
		return;
	case sizeof(uint32_t):
		*(uint32_t *)where = (uint32_t)value;
		return;
	default:
		g_assert(field->width == sizeof(uint64_t));
		*(uint64_t *)where = value;
	}
}

static uint64_t limit_of(const DnField *field, uint64_t usual)
{
	return field->max != 0 ? field->max : usual;
}

/* What is to be stored for @text, newly allocated, or NULL when @field does not take it. */
static char *take_text(const DnField *field, DnFieldKind kind, const char *text)
{
	bool good = false;

	if (kind == DN_FIELD_CIDR)
		return dn_grammar_cidr(text);
	if (kind == DN_FIELD_TEXT)
		good = strlen(text) <= limit_of(field, TEXT_LIMIT) && strlen(text) >= field->min;
	else if (kind == DN_FIELD_NAME)
		good = dn_text_is_name(text);
	else if (kind == DN_FIELD_PATH)
		good = dn_grammar_is_path(text);
	else if (kind == DN_FIELD_RELATIVE)
		good = dn_grammar_is_relative(text);
	else if (kind == DN_FIELD_HEX)
		good = dn_text_is_hex(text, field->max);
	else if (kind == DN_FIELD_REF)
		good = dn_grammar_is_ref(text);
	else if (kind == DN_FIELD_CIDR4)
		good = dn_grammar_cidr4(text, &(uint32_t){0}, &(unsigned){0});
	else if (kind == DN_FIELD_ADDRESS || kind == DN_FIELD_ENDPOINT)
		good = dn_grammar_is_endpoint(text, kind == DN_FIELD_ENDPOINT);
	else if (kind == DN_FIELD_URL_PATH)
		good = dn_grammar_is_url_path(text);
	return good ? g_strdup(text) : NULL;
}

static bool take_word(const char *const *words, const char *text, uint64_t *value)
{
	for (uint64_t i = 0; words[i] != NULL; i++)
		if (g_str_equal(words[i], text)) {
			*value = i;
			return true;
		}
	return false;
}

static bool take_number(const DnField *field, const char *text, uint64_t *value)
{
	static const char *const truth[] = {"false", "true", NULL};
	bool good = false;
	int number = 0;

	if (field->kind == DN_FIELD_BOOL)
		return take_word(truth, text, value);
	if (field->kind == DN_FIELD_WORD)
		return take_word(field->words, text, value);
	if (field->kind == DN_FIELD_TIME)
		return dn_grammar_time(text, value);
	if (field->kind == DN_FIELD_SIGNAL) {
		good = dn_grammar_signal(text, &number);
		*value = (uint64_t)number;
		return good;
	}
	if (field->kind == DN_FIELD_UINT)
		good = dn_text_parse_u64(text, UINT64_MAX, value);
	else if (field->kind == DN_FIELD_DURATION)
		good = dn_grammar_duration(text, value);
	else if (field->kind == DN_FIELD_SIZE)
		good = dn_grammar_size(text, value);
	else if (field->kind == DN_FIELD_CPU)
		good = dn_grammar_cpu(text, value);
	return good && *value >= field->min && *value <= limit_of(field, UINT64_MAX);
}

static void refuse(const DnYamlNode *node, const DnField *field, const char *of, DnFaults *faults)
{
	g_autofree char *wanted = dn_field_describe(field);

	if (node->kind != DN_YAML_SCALAR)
		dn_faults_add(faults, node->at, "\"%s\" must be %s%s, not a %s", field->key, of,
			      wanted, node->kind == DN_YAML_MAP ? "map" : "list");
	else if (dn_yaml_is_null(node))
		dn_faults_add(faults, node->at, "\"%s\" has no value; it must be %s%s", field->key,
			      of, wanted);
	else {
		g_autofree char *quoted = dn_faults_quote(node->text);
		dn_faults_add(faults, node->at, "\"%s\" must be %s%s, not %s", field->key, of,
			      wanted, quoted);
	}
}

static void read_scalar(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults)
{
	bool plain = node->kind == DN_YAML_SCALAR && !dn_yaml_is_null(node);
	uint64_t value = 0;

	/* Only free text may be written as a block: the editor replaces everything else in place.
	 */
	if (!plain || (node->block && field->kind != DN_FIELD_TEXT)) {
		refuse(node, field, "", faults);
	} else if (is_text_kind(field->kind)) {
		g_autofree char *text = take_text(field, field->kind, node->text);

		if (text == NULL)
			refuse(node, field, "", faults);
		else if (field->width != 0) {
			char **where = member(field, into);

			g_free(*where);
			*where = g_steal_pointer(&text);
		}
	} else if (take_number(field, node->text, &value))
		store(field, into, value);
	else
		refuse(node, field, "", faults);
}

static void read_texts(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults)
{
	DnField item = {.key = field->key, .kind = field->item};
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	char ***where = member(field, into);

	if (node->kind != DN_YAML_LIST) {
		refuse(node, field, "", faults);
		return;
	}
	if (node->items->len > limit_of(field, TEXTS_LIMIT) || node->items->len < field->min) {
		dn_faults_add(faults, node->at, "\"%s\" has %u items, from %u to %u are allowed",
			      field->key, node->items->len, (unsigned)field->min,
			      (unsigned)limit_of(field, TEXTS_LIMIT));
		return;
	}
	for (guint i = 0; i < node->items->len; i++) {
		const DnYamlNode *value = g_ptr_array_index(node->items, i);
		g_autofree char *text = NULL;

		if (value->kind == DN_YAML_SCALAR && !dn_yaml_is_null(value))
			text = take_text(&item, item.kind, value->text);
		if (text == NULL)
			refuse(value, &item, "a list, each item ", faults);
		else
			g_strv_builder_add(builder, text);
	}
	g_strfreev(*where);
	*where = g_strv_builder_end(builder);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The value as NAME=VALUE, or NULL after a fault. */
static char *take_variable(const DnYamlNode *name, const DnYamlNode *value, DnFaults *faults)
{
	g_autofree char *quoted = dn_faults_quote(name->text);

	if (!dn_grammar_is_variable(name->text))
		dn_faults_add(faults, name->at,
			      "%s is no name of a variable: letters, digits and _ only", quoted);
	else if (value->kind != DN_YAML_SCALAR || dn_yaml_is_null(value))
		dn_faults_add(faults, value->at, "variable %s needs a text, \"\" for none", quoted);
	else if (strlen(value->text) > TEXT_LIMIT)
		dn_faults_add(faults, value->at, "variable %s is longer than %d bytes", quoted,
			      TEXT_LIMIT);
	else
		return g_strconcat(name->text, "=", value->text, NULL);
	return NULL;
}

static void read_env(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults)
{
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	char ***where = member(field, into);

	if (node->kind != DN_YAML_MAP) {
		refuse(node, field, "", faults);
		return;
	}
	if (node->keys->len > TEXTS_LIMIT) {
		dn_faults_add(faults, node->at, "\"%s\" has %u variables, at most %d are allowed",
			      field->key, node->keys->len, TEXTS_LIMIT);
		return;
	}
	for (guint i = 0; i < node->keys->len; i++) {
		g_autofree char *text = take_variable(g_ptr_array_index(node->keys, i),
						      g_ptr_array_index(node->items, i), faults);
		if (text != NULL)
			g_strv_builder_add(builder, text);
	}
	g_strfreev(*where);
	*where = g_strv_builder_end(builder);
	qsort(*where, g_strv_length(*where), sizeof(**where), compare_texts);
}

static void read_list(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults)
{
	GArray **where = member(field, into);

	if (node->kind != DN_YAML_LIST) {
		refuse(node, field, "", faults);
		return;
	}
	if (node->items->len > field->max) {
		dn_faults_add(faults, node->at, "\"%s\" has %u items, at most %u are allowed",
			      field->key, node->items->len, (unsigned)field->max);
		return;
	}
	g_array_set_size(*where, 0);
	for (guint i = 0; i < node->items->len; i++) {
		const DnYamlNode *value = g_ptr_array_index(node->items, i);
		unsigned before = dn_faults_count(faults);

		g_array_set_size(*where, i + 1);
		char *item = (*where)->data + (size_t)i * field->size;
		dn_fields_read(value, field->fields, item, faults);
		if (field->check_item != NULL && dn_faults_count(faults) == before)
			field->check_item(value, item, faults);
	}
}

/* Whether @node says the same as the neutral text of a reserved key. */
static bool is_neutral(const DnYamlNode *node, const DnField *field)
{
	uint64_t said = 0, neutral = 0;

	if (field->neutral == NULL)
		return false;
	if (g_str_equal(field->neutral, "[]"))
		return node->kind == DN_YAML_LIST && node->items->len == 0;
	if (g_str_equal(field->neutral, "{}"))
		return node->kind == DN_YAML_MAP && node->items->len == 0;
	if (node->kind != DN_YAML_SCALAR)
		return false;
	if (g_str_equal(field->neutral, node->text))
		return true;
	return take_number(field, node->text, &said) &&
	       take_number(field, field->neutral, &neutral) && said == neutral;
}

static void read_reserved(const DnYamlNode *node, const DnField *field, DnFaults *faults)
{
	if (is_neutral(node, field))
		return;
	if (field->neutral == NULL)
		dn_faults_add(faults, node->at,
			      "\"%s\" is reserved and not available yet; leave it out", field->key);
	else
		dn_faults_add(faults, node->at,
			      "\"%s\" is reserved and not available yet; leave it out or write %s",
			      field->key, field->neutral);
}

void dn_field_read(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults)
{
	unsigned before = dn_faults_count(faults);

	if ((field->flags & DN_FIELD_RESERVED) != 0)
		read_reserved(node, field, faults);
	else if (field->kind == DN_FIELD_MAP && node->kind != DN_YAML_MAP)
		refuse(node, field, "", faults);
	else if (field->kind == DN_FIELD_MAP)
		dn_fields_read(node, field->fields, into, faults);
	else if (field->kind == DN_FIELD_LIST)
		read_list(node, field, into, faults);
	else if (field->kind == DN_FIELD_TEXTS)
		read_texts(node, field, into, faults);
	else if (field->kind == DN_FIELD_ENV)
		read_env(node, field, into, faults);
	else if (field->kind != DN_FIELD_OTHER)
		read_scalar(node, field, into, faults);
	if (field->check != NULL && dn_faults_count(faults) == before)
		field->check(node, into, faults);
}

static const DnField *find(const DnField *table, const char *key)
{
	for (; table->key != NULL; table++)
		if (g_str_equal(table->key, key))
			return table;
	return NULL;
}

static void refuse_key(const DnYamlNode *key, const DnField *table, DnFaults *faults)
{
	g_autoptr(GPtrArray) known = g_ptr_array_new();
	g_autofree char *quoted = dn_faults_quote(key->text);

	/* A hostile file has thousands of them: look for a suggestion only if it will be read. */
	if (dn_faults_count(faults) >= DN_FAULTS_SHOWN) {
		dn_faults_add(faults, key->at, "unknown key %s", quoted);
		return;
	}
	for (; table->key != NULL; table++)
		g_ptr_array_add(known, (gpointer)table->key);
	g_ptr_array_add(known, NULL);
	const char *near = dn_text_suggest(key->text, (const char *const *)known->pdata);
	if (near != NULL)
		dn_faults_add(faults, key->at, "unknown key %s, did you mean \"%s\"?", quoted,
			      near);
	else {
		known->pdata[known->len - 1] = NULL;
		g_autofree char *all = g_strjoinv(", ", (char **)known->pdata);
		dn_faults_add(faults, key->at, "unknown key %s, known are: %s", quoted, all);
	}
}

void dn_fields_read(const DnYamlNode *node, const DnField *table, void *into, DnFaults *faults)
{
	if (node->kind != DN_YAML_MAP) {
		dn_faults_add(faults, node->at, "a map of keys is wanted here, such as {%s: …}",
			      table->key);
		return;
	}
	for (guint i = 0; i < node->keys->len; i++) {
		const DnYamlNode *key = g_ptr_array_index(node->keys, i);
		const DnField *field = find(table, key->text);

		if (field == NULL)
			refuse_key(key, table, faults);
		else
			dn_field_read(g_ptr_array_index(node->items, i), field, into, faults);
	}
	for (; table->key != NULL; table++)
		if ((table->flags & DN_FIELD_REQUIRED) != 0 &&
		    dn_yaml_get(node, table->key) == NULL)
			dn_faults_add(faults, node->at, "key \"%s\" is missing", table->key);
}

bool dn_fields_parse(GBytes *bytes, const char *file, const DnField *table, void *into,
		     GError **error)
{
	g_autoptr(DnFaults) faults = dn_faults_new(file);
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);

	if (root != NULL)
		dn_fields_read(root, table, into, faults);
	return dn_faults_raise(faults, error);
}
