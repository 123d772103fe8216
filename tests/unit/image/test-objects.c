/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#include "image/objects.h"
#include "image/sign.h"
#include "support/suite.h"
#include "workshop.h"

static Workshop shop;
static DnImageRepo *from, *to;
static char *commit;

static void setup(void)
{
	g_autofree char *link = NULL;

	workshop_open(&shop);
	link = workshop_path(&shop, "root/bin/sh");
	workshop_write(&shop, "root/bin/app", "the program", 0755);
	cr_assert(eq(int, symlink("app", link), 0));
	shop.recipe->root = g_strdup("root");
	commit = workshop_build(&shop);
	from = workshop_repo(&shop);
	g_autofree char *other = g_build_filename(shop.directory, "other", NULL);
	to = dn_image_repo_create_now(other, DN_IMAGE_REPO_ARCHIVE, NULL);
	cr_assert(ne(ptr, to, NULL));
}

static void teardown(void)
{
	dn_image_repo_free(from);
	dn_image_repo_free(to);
	g_free(commit);
	workshop_close(&shop);
	dn_suite_end();
}

TestSuite(objects, .init = setup, .fini = teardown);

static void copy_object(const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = dn_image_object_read_now(from, name, &error);

	cr_assert(ne(ptr, bytes, NULL), "%s", error != NULL ? error->message : "");
	cr_assert(dn_image_object_write_now(to, name, bytes, &error), "%s", error->message);
}

static void expect_conflict(const char *name)
{
	g_autoptr(GError) error = NULL;

	/* Who only looks changes nothing: the second look finds the same. */
	cr_assert(not(dn_image_objects_verify_now(to, commit, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, name), NULL), "%s", error->message);
	g_autofree char *first = g_strdup(error->message);
	g_clear_error(&error);
	cr_assert(not(dn_image_objects_verify_now(to, commit, &error)));
	cr_assert_str_eq(error->message, first);
	g_clear_error(&error);
	cr_assert(not(dn_image_objects_accept_now(to, commit, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, name), NULL), "%s", error->message);
}

Test(objects, an_image_copied_object_by_object_is_the_image)
{
	g_autoptr(GPtrArray) names = dn_image_objects_now(from, commit, NULL);

	cr_assert(ge(u32, names->len, 8));
	g_ptr_array_add(names, NULL);
	g_auto(GStrv) before =
		dn_image_objects_missing_now(to, (const char *const *)names->pdata, NULL);
	cr_assert(eq(u32, g_strv_length(before), names->len - 1));
	for (guint i = 0; i + 1 < names->len; i++) {
		expect_conflict(names->pdata[i]);
		copy_object(names->pdata[i]);
	}
	g_auto(GStrv) after =
		dn_image_objects_missing_now(to, (const char *const *)names->pdata, NULL);
	cr_assert(eq(u32, g_strv_length(after), 0));
	cr_assert(dn_image_objects_verify_now(to, commit, NULL));
}

/* @bytes with the byte at @at changed, or cut there, or with one more. */
static GBytes *spoil(GBytes *bytes, gsize at, int how)
{
	gsize size = g_bytes_get_size(bytes);
	guint8 *copy = g_malloc0(size + 1);

	memcpy(copy, g_bytes_get_data(bytes, NULL), size);
	if (how == 0)
		copy[at] ^= 1;
	return g_bytes_new_take(copy, how == 0 ? size : how == 1 ? at : size + 1);
}

static void expect_refused(const char *name, GBytes *bytes, gsize at, int how)
{
	const char *const one[] = {name, NULL};
	g_autoptr(GBytes) spoilt = spoil(bytes, at, how);
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_image_object_write_now(to, name, spoilt, &error)), "%s at %zu, %d", name,
		  at, how);
	cr_assert(error->domain == DN_ERROR, "%s", error->message);
	g_auto(GStrv) missing = dn_image_objects_missing_now(to, one, NULL);
	cr_assert(eq(u32, g_strv_length(missing), 1));
}

Test(objects, any_changed_byte_any_cut_and_any_added_byte_is_refused)
{
	g_autoptr(GPtrArray) names = dn_image_objects_now(from, commit, NULL);

	for (guint i = 0; i < names->len; i++) {
		g_autoptr(GBytes) bytes = dn_image_object_read_now(from, names->pdata[i], NULL);
		bool file = g_str_has_suffix(names->pdata[i], ".file");
		gsize size = g_bytes_get_size(bytes);

		/* In a deflated stream the padding bits of its last byte carry nothing. */
		for (gsize at = 0; at < (file ? MIN(size, 40) : size); at++)
			expect_refused(names->pdata[i], bytes, at, 0);
		for (gsize at = 0; at < size; at++)
			expect_refused(names->pdata[i], bytes, at, 1);
		expect_refused(names->pdata[i], bytes, 0, 2);
	}
}

Test(objects, names_that_are_no_objects_are_refused)
{
	g_autofree char *hex = g_strnfill(64, 'a');
	g_autofree char *upper = g_strnfill(64, 'A');
	g_auto(GStrv) names = g_new0(char *, 8);
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

	names[0] = g_strconcat(hex, ".filez", NULL);
	names[1] = g_strconcat(hex, ".commitmeta", NULL);
	names[2] = g_strconcat(upper, ".commit", NULL);
	names[3] = g_strconcat("../", hex, ".commit", NULL);
	names[4] = g_strdup(hex);
	names[5] = g_strconcat(hex, ".commit/..", NULL);
	names[6] = g_strdup("");
	for (size_t i = 0; names[i] != NULL; i++) {
		const char *const one[] = {names[i], NULL};
		g_autoptr(GError) error = NULL;

		cr_assert(not(dn_image_is_object_name(names[i])));
		cr_assert(eq(ptr, dn_image_objects_missing_now(to, one, &error), NULL));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
		cr_assert(not(dn_image_object_write_now(to, names[i], nothing, NULL)));
		cr_assert(eq(ptr, dn_image_object_read_now(to, names[i], NULL), NULL));
	}
}

Test(objects, a_damaged_object_is_found_removed_and_can_be_written_again)
{
	g_autoptr(GPtrArray) names = dn_image_objects_now(from, commit, NULL);

	for (guint i = 0; i < names->len; i++)
		copy_object(names->pdata[i]);
	for (guint i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		bool file = g_str_has_suffix(name, ".file");
		g_autofree char *path =
			g_strdup_printf("%s/objects/%.2s/%s%s", dn_image_repo_path(to), name,
					name + 2, file ? "z" : "");
		g_autoptr(GError) error = NULL;

		cr_assert(g_file_set_contents(path, "damaged", -1, &error), "%s", error->message);
		expect_conflict(name);
		copy_object(name);
		cr_assert(dn_image_objects_verify_now(to, commit, NULL));
	}
}

/* A stream whose header promises @promised bytes of content but that inflates to @real zeros. */
static GBytes *make_bomb(guint64 promised, gsize real)
{
	g_autoptr(GConverter) zlib =
		G_CONVERTER(g_zlib_compressor_new(G_ZLIB_COMPRESSOR_FORMAT_RAW, 9));
	g_autoptr(GVariant) header =
		g_variant_ref_sink(g_variant_new("(tuuuusa(ayay))", GUINT64_TO_BE(promised), 0, 0,
						 GUINT32_TO_BE(0100644u), 0, "", NULL));
	g_autoptr(GOutputStream) memory = g_memory_output_stream_new_resizable();
	guint32 prefix[2] = {GUINT32_TO_BE((guint32)g_variant_get_size(header)), 0};
	g_autofree guint8 *zeros = g_malloc0(real);

	g_output_stream_write_all(memory, prefix, sizeof(prefix), NULL, NULL, NULL);
	g_output_stream_write_all(memory, g_variant_get_data(header), g_variant_get_size(header),
				  NULL, NULL, NULL);
	{
		g_autoptr(GOutputStream) deflated = g_converter_output_stream_new(memory, zlib);
		g_output_stream_write_all(deflated, zeros, real, NULL, NULL, NULL);
		g_output_stream_close(deflated, NULL, NULL);
	}
	return g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(memory));
}

Test(objects, a_stream_that_inflates_past_what_it_promises_or_past_the_limit_is_refused)
{
	g_autofree char *hex = g_strnfill(64, 'a');
	g_autofree char *name = g_strconcat(hex, ".file", NULL);
	g_autoptr(GBytes) liar = make_bomb(10, 8 << 20);
	g_autoptr(GBytes) large = make_bomb((guint64)DN_IMAGE_FILE_LIMIT + 1, 1);
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_image_object_write_now(to, name, liar, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	g_clear_error(&error);
	cr_assert(not(dn_image_object_write_now(to, name, large, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED), "%s", error->message);
}
