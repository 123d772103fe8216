/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/recipe.h"

#include <string.h>

#include "manifest/fields.h"
#include "manifest/grammar.h"

enum { FILES_LIMIT = 1000, DIRECTORIES_LIMIT = 256, PORTS_LIMIT = 16, MODE_LIMIT = 0777 };

/* One entry of "files" before its mode is read. */
typedef struct {
	char *source;
	char *path;
	char *mode;
} Entry;

static void entry_clear(Entry *entry)
{
	g_free(entry->source);
	g_free(entry->path);
	g_free(entry->mode);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Entry, entry_clear)

static void read_files(const DnYamlNode *node, void *into, DnFaults *faults);
static void read_directories(const DnYamlNode *node, void *into, DnFaults *faults);
static void read_ports(const DnYamlNode *node, void *into, DnFaults *faults);

static const char *const versions[] = {"image/v1", NULL};

static const DnField file_fields[] = {
	{"source", DN_FIELD_RELATIVE, DN_FIELD_REQUIRED, DN_MEMBER(Entry, source)},
	{"path", DN_FIELD_PATH, DN_FIELD_REQUIRED, DN_MEMBER(Entry, path)},
	{"mode", DN_FIELD_TEXT, 0, DN_MEMBER(Entry, mode), .min = 1, .max = 8},
	{0},
};

static const DnField run_fields[] = {
	{"args", DN_FIELD_TEXTS, 0, DN_MEMBER(DnRecipe, run.args), .item = DN_FIELD_TEXT, .min = 1,
	 .max = 256},
	{"env", DN_FIELD_ENV, 0, DN_MEMBER(DnRecipe, run.env)},
	{"cwd", DN_FIELD_PATH, 0, DN_MEMBER(DnRecipe, run.cwd)},
	{"user", DN_FIELD_UINT, 0, DN_MEMBER(DnRecipe, run.uid), .max = 65534},
	{0},
};

static const DnField recipe_fields[] = {
	{"dnode", DN_FIELD_WORD, DN_FIELD_REQUIRED, .words = versions},
	{"ref", DN_FIELD_REF, DN_FIELD_REQUIRED, DN_MEMBER(DnRecipe, ref)},
	{"root", DN_FIELD_RELATIVE, 0, DN_MEMBER(DnRecipe, root)},
	{"files", DN_FIELD_OTHER, .check = read_files},
	{"directories", DN_FIELD_OTHER, .check = read_directories},
	{"run", DN_FIELD_MAP, .fields = run_fields},
	{"ports", DN_FIELD_OTHER, .check = read_ports},
	{0},
};

/* Three or four octal digits, permission bits only. */
static bool parse_mode(const char *text, uint32_t *mode)
{
	size_t length = strlen(text);
	uint32_t value = 0;

	if (length < 3 || length > 4 || strspn(text, "01234567") != length)
		return false;
	for (; *text != '\0'; text++)
		value = value * 8 + (uint32_t)(*text - '0');
	if (value > MODE_LIMIT)
		return false;
	*mode = value;
	return true;
}

static bool is_list(const DnYamlNode *node, const char *what, guint limit, DnFaults *faults)
{
	if (node->kind == DN_YAML_LIST && node->items->len <= limit)
		return true;
	dn_faults_add(faults, node->at, "\"%s\" must be a list of at most %u items", what, limit);
	return false;
}

/* The root itself is always there. */
static void refuse_root(const char *path, const DnYamlNode *node, DnFaults *faults)
{
	if (path != NULL && g_str_equal(path, "/"))
		dn_faults_add(faults, node->at, "\"/\" is the image itself; name a path in it");
}

static void read_files(const DnYamlNode *node, void *into, DnFaults *faults)
{
	DnRecipe *recipe = into;
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	if (!is_list(node, "files", FILES_LIMIT, faults))
		return;
	for (guint i = 0; i < node->items->len; i++) {
		const DnYamlNode *item = g_ptr_array_index(node->items, i);
		unsigned before = dn_faults_count(faults);
		g_auto(Entry) entry = {0};
		uint32_t mode = 0644;

		dn_fields_read(item, file_fields, &entry, faults);
		if (dn_faults_count(faults) != before)
			continue;
		if (entry.mode != NULL && !parse_mode(entry.mode, &mode))
			dn_faults_add(
				faults, dn_yaml_get(item, "mode")->at,
				"\"mode\" must be octal permission bits from \"0000\" to "
				"\"0777\"; set-id and sticky bits are not taken into an image");
		refuse_root(entry.path, dn_yaml_get(item, "path"), faults);
		DnRecipeFile *file = g_new0(DnRecipeFile, 1);
		file->source = g_steal_pointer(&entry.source);
		file->path = g_steal_pointer(&entry.path);
		file->mode = mode;
		g_ptr_array_add(recipe->files, file);
		if (!g_hash_table_add(seen, file->path))
			dn_faults_add(faults, dn_yaml_get(item, "path")->at,
				      "another file has this path");
	}
}

static void read_directories(const DnYamlNode *node, void *into, DnFaults *faults)
{
	DnRecipe *recipe = into;
	static const DnField field = {"directories", DN_FIELD_PATH, .width = sizeof(char *)};

	if (!is_list(node, "directories", DIRECTORIES_LIMIT, faults))
		return;
	for (guint i = 0; i < node->items->len; i++) {
		const DnYamlNode *item = g_ptr_array_index(node->items, i);
		char *path = NULL;

		dn_field_read(item, &field, &path, faults);
		refuse_root(path, item, faults);
		if (path != NULL)
			g_ptr_array_add(recipe->directories, path);
	}
}

static void read_ports(const DnYamlNode *node, void *into, DnFaults *faults)
{
	DnRecipe *recipe = into;
	static const DnField field = {"ports", DN_FIELD_UINT, .width = sizeof(uint16_t), .min = 1,
				      .max = UINT16_MAX};

	if (!is_list(node, "ports", PORTS_LIMIT, faults))
		return;
	for (guint i = 0; i < node->items->len; i++) {
		uint16_t port = 0;

		dn_field_read(g_ptr_array_index(node->items, i), &field, &port, faults);
		g_array_append_val(recipe->ports, port);
	}
}

DnRecipe *dn_recipe_parse(GBytes *bytes, const char *name, GError **error)
{
	g_autoptr(DnRecipe) recipe = dn_recipe_new();
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);

	if (root != NULL)
		dn_fields_read(root, recipe_fields, recipe, faults);
	if (root != NULL && dn_faults_count(faults) == 0 && recipe->root == NULL &&
	    recipe->files->len == 0)
		dn_faults_add(faults, root->at,
			      "nothing to build from: give \"root\", \"files\" or both");
	return dn_faults_raise(faults, error) ? g_steal_pointer(&recipe) : NULL;
}
