/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "base/file.h"
#include "manifest/effective.h"

TestSuite(examples, .fini = dn_suite_end);

static char *path_of(const char *folder)
{
	return g_build_filename(g_getenv("DNODE_SOURCE_ROOT"), folder, NULL);
}

/* Call @check with every YAML file of @folder; fails when there are fewer than @least. */
static void each(const char *folder, unsigned least, void (*check)(GBytes *bytes, const char *name))
{
	g_autofree char *path = path_of(folder);
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	unsigned files = 0;

	cr_assert(directory != NULL, "%s", path);
	for (const char *name; (name = g_dir_read_name(directory)) != NULL;) {
		g_autofree char *file = g_build_filename(path, name, NULL);
		g_autoptr(GError) error = NULL;

		if (!g_str_has_suffix(name, ".yaml"))
			continue;
		g_autoptr(GBytes) bytes = dn_file_read(file, DN_YAML_BYTES, &error);
		cr_assert(bytes != NULL, "%s", error != NULL ? error->message : name);
		check(bytes, name);
		files++;
	}
	cr_assert(files >= least, "only %u files in %s", files, folder);
}

/* Also when it was rendered and read again. */
static void check_example(GBytes *bytes, const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, name, &error);

	cr_assert(manifest != NULL, "%s", error != NULL ? error->message : name);
	g_autofree char *rendered = dn_manifest_render(manifest, NULL);
	g_autoptr(GBytes) text = bytes_of(rendered);
	g_autoptr(DnManifest) again = dn_manifest_parse(text, name, &error);
	cr_assert(again != NULL, "%s\n%s", error != NULL ? error->message : name, rendered);
	g_autofree char *twice = dn_manifest_render(again, NULL);
	g_auto(GStrv) one = g_regex_split_simple("  # default", rendered, 0, 0);
	g_auto(GStrv) two = g_regex_split_simple("  # default", twice, 0, 0);
	g_autofree char *bare = g_strjoinv("", one);
	g_autofree char *bare_again = g_strjoinv("", two);
	cr_assert_str_eq(bare, bare_again);
}

/* The lines "# error: LINE:COLUMN: TEXT" that @text begins with, as the parser would say them. */
static char *expected_of(const char *text, const char *name)
{
	static const char mark[] = "# error: ";
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	GString *wanted = g_string_new(NULL);

	for (char **line = lines; *line != NULL && g_str_has_prefix(*line, mark); line++)
		g_string_append_printf(wanted, "%s%s:%s", wanted->len > 0 ? "\n" : "", name,
				       *line + strlen(mark));
	return g_string_free(wanted, FALSE);
}

static void check_invalid(GBytes *bytes, const char *name)
{
	g_autofree char *wanted = expected_of(g_bytes_get_data(bytes, NULL), name);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, name, &error);

	cr_assert(manifest == NULL, "%s was accepted", name);
	cr_assert_str_eq(error->message, wanted);
}

Test(examples, every_example_is_a_manifest_and_renders_to_itself)
{
	each("manifests/examples", 5, check_example);
}

Test(examples, every_invalid_file_is_refused_for_just_the_reasons_it_names)
{
	each("manifests/invalid", 10, check_invalid);
}
