/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/effective.h"

#include <string.h>

#include "manifest/manifest.h"

/* One value of a manifest under its whole name, such as "run.stop.grace". */
typedef struct {
	char *key;            /* owned */
	char *text;           /* owned */
	const char *fallback; /* of the schema, or NULL */
} Row;

static void free_row(gpointer data)
{
	Row *row = data;

	g_free(row->key);
	g_free(row->text);
	g_free(row);
}

static void collect(GPtrArray *rows, const char *prefix, const DnField *table,
		    const DnManifest *manifest)
{
	for (; table->key != NULL; table++) {
		g_autofree char *key = g_strconcat(prefix, table->key, NULL);
		g_autofree char *text = NULL;

		if (table->kind == DN_FIELD_MAP) {
			g_autofree char *below = g_strconcat(key, ".", NULL);
			collect(rows, below, table->fields, manifest);
			continue;
		}
		text = dn_field_print(table, manifest);
		if (text == NULL)
			continue;
		Row *row = g_new0(Row, 1);
		row->key = g_steal_pointer(&key);
		row->text = g_steal_pointer(&text);
		row->fallback = table->fallback;
		g_ptr_array_add(rows, row);
	}
}

/* Every value that is set, in the order of the schema. */
static GPtrArray *rows_of(const DnManifest *manifest)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(free_row);

	collect(rows, "", dn_manifest_fields(), manifest);
	return rows;
}

static const Row *find(const GPtrArray *rows, const char *key)
{
	for (guint i = 0; i < rows->len; i++) {
		const Row *row = g_ptr_array_index(rows, i);

		if (g_str_equal(row->key, key))
			return row;
	}
	return NULL;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* @env of NAME=VALUE over @defaults, sorted. */
static char **merge_env(char *const *env, char *const *defaults)
{
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
		g_strv_builder_add(builder, env[i]);
		g_hash_table_add(named, g_strndup(env[i], strcspn(env[i], "=")));
	}
	for (size_t i = 0; defaults != NULL && defaults[i] != NULL; i++) {
		g_autofree char *name = g_strndup(defaults[i], strcspn(defaults[i], "="));

		if (!g_hash_table_contains(named, name))
			g_strv_builder_add(builder, defaults[i]);
	}
	char **merged = g_strv_builder_end(builder);
	qsort(merged, g_strv_length(merged), sizeof(*merged), compare_texts);
	return merged;
}

void dn_run_effective(const DnRun *manifest, const DnRun *defaults, DnRun *result)
{
	const DnRun none = {.uid = -1};

	if (defaults == NULL)
		defaults = &none;
	dn_run_copy(manifest, result);
	if (result->args == NULL)
		result->args = g_strdupv(defaults->args);
	if (result->cwd == NULL)
		result->cwd = g_strdup(defaults->cwd != NULL ? defaults->cwd : "/");
	if (result->uid < 0)
		result->uid = defaults->uid >= 0 ? defaults->uid : DN_RUN_FALLBACK_UID;
	g_strfreev(result->env);
	result->env = merge_env(manifest->env, defaults->env);
}

static const char *origin_of(const Row *row, const GPtrArray *said, const GPtrArray *given)
{
	const Row *mine = find(said, row->key);

	if (mine != NULL && g_str_equal(mine->text, row->text))
		return g_strcmp0(row->text, row->fallback) == 0 ? "default" : NULL;
	if (mine != NULL)
		return "manifest and image";
	return find(given, row->key) != NULL ? "image" : "default";
}

/* Write the keys of "a.b.c" that the last row did not have in common, each on a line. */
static void open_maps(GString *text, char **last, const char *key)
{
	g_auto(GStrv) parts = g_strsplit(key, ".", -1);
	guint depth = g_strv_length(parts) - 1;
	guint same = 0;

	while (*last != NULL && same < depth && last[same] != NULL &&
	       g_str_equal(last[same], parts[same]))
		same++;
	for (guint i = same; i < depth; i++)
		g_string_append_printf(text, "%*s%s:\n", (int)i * 2, "", parts[i]);
	g_string_append_printf(text, "%*s%s: ", (int)depth * 2, "", parts[depth]);
}

char *dn_manifest_render(const DnManifest *self, const DnRun *image)
{
	g_autoptr(GPtrArray) said = rows_of(self);
	DnManifest whole = *self;
	DnManifest only_image = {.run = {.uid = -1}};
	g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, 1);
	GString *text = g_string_new("dnode: v1\n");
	g_auto(GStrv) last = g_new0(char *, 1);

	dn_run_effective(&self->run, image, &whole.run);
	only_image.listen = only_image.egress = only_image.writable = nothing;
	if (image != NULL)
		only_image.run = *image;
	g_autoptr(GPtrArray) rows = rows_of(&whole);
	g_autoptr(GPtrArray) given = rows_of(&only_image);
	for (guint i = 0; i < rows->len; i++) {
		const Row *row = g_ptr_array_index(rows, i);
		const char *origin = origin_of(row, said, given);

		open_maps(text, last, row->key);
		g_string_append_printf(text, "%s%s%s\n", row->text, origin != NULL ? "  # " : "",
				       origin != NULL ? origin : "");
		g_strfreev(last);
		last = g_strsplit(row->key, ".", -1);
	}
	dn_run_clear(&whole.run);
	return g_string_free(text, FALSE);
}

GPtrArray *dn_manifest_changes(const DnManifest *before, const DnManifest *after)
{
	GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) new_rows = rows_of(after);
	g_autoptr(GPtrArray) old_rows =
		before != NULL ? rows_of(before) : g_ptr_array_new_with_free_func(free_row);

	for (guint i = 0; i < new_rows->len; i++) {
		const Row *row = g_ptr_array_index(new_rows, i);
		const Row *old = find(old_rows, row->key);

		if (before == NULL && g_strcmp0(row->text, row->fallback) == 0)
			continue;
		if (before == NULL)
			g_ptr_array_add(lines, g_strdup_printf("%s: %s", row->key, row->text));
		else if (old == NULL || !g_str_equal(old->text, row->text))
			g_ptr_array_add(lines, g_strdup_printf("%s: %s -> %s", row->key,
							       old != NULL ? old->text : "none",
							       row->text));
	}
	for (guint i = 0; i < old_rows->len; i++) {
		const Row *row = g_ptr_array_index(old_rows, i);

		if (find(new_rows, row->key) == NULL)
			g_ptr_array_add(lines,
					g_strdup_printf("%s: %s -> none", row->key, row->text));
	}
	return lines;
}
