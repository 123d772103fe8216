/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "base/file.h"

TestSuite(manifest_docs, .fini = dn_suite_end);

enum { DOCUMENT_LIMIT = 1024 * 1024 };

static char *document(const char *path)
{
	g_autofree char *file = g_build_filename(g_getenv("DNODE_SOURCE_ROOT"), path, NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = dn_file_read(file, DOCUMENT_LIMIT, &error);

	cr_assert(bytes != NULL, "%s", error != NULL ? error->message : file);
	return g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

/* The columns of the document that the schema decides; what the key means follows them. */
static char *row_of(const DnField *field, const char *name)
{
	g_autofree char *value = dn_field_describe(field);

	if ((field->flags & DN_FIELD_RESERVED) != 0 && field->neutral != NULL)
		return g_strdup_printf("| `%s` | reserved, only `%s` | | ", name, field->neutral);
	if ((field->flags & DN_FIELD_RESERVED) != 0)
		return g_strdup_printf("| `%s` | reserved | | ", name);
	if ((field->flags & DN_FIELD_REQUIRED) != 0)
		return g_strdup_printf("| `%s` | %s | required | ", name, value);
	return g_strdup_printf("| `%s` | %s | %s | ", name, value != NULL ? value : "",
			       field->fallback != NULL ? field->fallback : "");
}

/* Collect the rows of @table that @text lacks. */
static void compare(const DnField *table, const char *prefix, const char *text, GString *missing)
{
	for (; table->key != NULL; table++) {
		g_autofree char *name = g_strconcat(prefix, table->key, NULL);

		if (table->kind != DN_FIELD_MAP) {
			g_autofree char *row = row_of(table, name);
			if (strstr(text, row) == NULL)
				g_string_append_printf(missing, "\n%s", row);
		}
		if (table->fields != NULL) {
			const char *link = table->kind == DN_FIELD_LIST ? "[]." : ".";
			g_autofree char *below = g_strconcat(name, link, NULL);
			compare(table->fields, below, text, missing);
		}
	}
}

Test(manifest_docs, the_document_has_a_row_for_every_key_with_what_the_schema_says)
{
	g_autofree char *text = document("docs/formats/manifest.md");
	g_autoptr(GString) missing = g_string_new(NULL);

	compare(dn_manifest_fields(), "", text, missing);
	cr_assert(zero(sz, missing->len), "docs/formats/manifest.md lacks these rows:%s",
		  missing->str);
}

/* Collect the honoured keys that @text does not show in an example. */
static void look_for(const DnField *table, const char *text, GString *missing)
{
	for (; table->key != NULL; table++) {
		g_autofree char *key = g_strconcat(table->key, ":", NULL);

		/* A map may have nothing but reserved members. */
		if (table->kind != DN_FIELD_MAP && (table->flags & DN_FIELD_RESERVED) == 0 &&
		    strstr(text, key) == NULL)
			g_string_append_printf(missing, " %s", table->key);
		if (table->fields != NULL)
			look_for(table->fields, text, missing);
	}
}

Test(manifest_docs, the_readme_shows_every_key_that_is_honoured)
{
	g_autofree char *text = document("manifests/README.md");
	g_autoptr(GString) missing = g_string_new(NULL);

	look_for(dn_manifest_fields(), text, missing);
	cr_assert(zero(sz, missing->len), "manifests/README.md does not show:%s", missing->str);
}
