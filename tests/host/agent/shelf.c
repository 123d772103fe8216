/* SPDX-License-Identifier: Apache-2.0 */
#include "shelf.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "image/build.h"
#include "image/objects.h"
#include "image/sign.h"
#include "support/forge.h"

enum { NOISE_BYTES = 4096, FILE_LIMIT = 64 << 20 };

/* A directory's mode has an object of its own: no two images have the same. */
static const unsigned modes[] = {0700, 0701, 0704, 0705, 0710, 0711, 0714, 0715,
				 0740, 0741, 0744, 0745, 0750, 0751, 0754};

static void must(bool done, const GError *error)
{
	if (!done)
		g_error("%s", error != NULL ? error->message : "no error was set");
}

static GBytes *read_file(const char *path)
{
	g_autoptr(GError) error = NULL;
	GBytes *bytes = dn_file_read(path, FILE_LIMIT, &error);

	must(bytes != NULL, error);
	return bytes;
}

static void write_file(const char *path, GBytes *bytes, unsigned mode)
{
	g_autoptr(GError) error = NULL;

	must(dn_file_replace(path, bytes, mode, &error), error);
}

void shelf_open(Shelf *self, const char *folder)
{
	g_autoptr(GError) error = NULL;

	*self = (Shelf){.folder = g_build_filename(folder, "shelf", NULL)};
	self->sources = g_build_filename(self->folder, "sources", NULL);
	self->repo = g_build_filename(self->folder, "repo", NULL);
	self->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->originals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						(GDestroyNotify)g_bytes_unref);
	must(dn_file_make_directory(self->sources, 0755, &error), error);
	g_autoptr(DnImageRepo) repo =
		dn_image_repo_create_now(self->repo, DN_IMAGE_REPO_ARCHIVE, &error);
	must(repo != NULL, error);
	self->server = dn_repo_server_new(
		&(DnRepoServerConfig){.path = self->repo, .listen = "127.0.0.1:0"}, &error);
	must(self->server != NULL, error);
	self->url = g_strdup_printf("http://127.0.0.1:%u/repo", dn_repo_server_port(self->server));
}

void shelf_close(Shelf *self)
{
	dn_repo_server_free(self->server);
	g_hash_table_unref(self->known);
	g_hash_table_unref(self->originals);
	g_free(self->folder);
	g_free(self->sources);
	g_free(self->repo);
	g_free(self->url);
}

static DnImageRepo *open_repo(const Shelf *self)
{
	g_autoptr(GError) error = NULL;
	DnImageRepo *repo = dn_image_repo_open_now(self->repo, &error);

	must(repo != NULL, error);
	return repo;
}

static ShelfImage *image_new(Shelf *self, char *commit)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnImageRepo) repo = open_repo(self);
	g_autoptr(GPtrArray) names = dn_image_objects_now(repo, commit, &error);
	ShelfImage *image = g_new0(ShelfImage, 1);

	must(names != NULL, error);
	image->commit = commit;
	image->own = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < names->len; i++)
		if (g_hash_table_add(self->known, g_strdup(names->pdata[i])))
			g_ptr_array_add(image->own, g_strdup(names->pdata[i]));
	return image;
}

void shelf_image_free(ShelfImage *image)
{
	if (image == NULL)
		return;
	g_free(image->commit);
	g_ptr_array_unref(image->own);
	g_free(image);
}

/* Text that deflate cannot make much of, another for each image. */
static GBytes *make_noise(unsigned seed)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(seed);
	char *noise = g_malloc(NOISE_BYTES);

	for (size_t i = 0; i < NOISE_BYTES; i++)
		noise[i] = (char)g_rand_int_range(random, ' ', '~');
	return g_bytes_new_take(noise, NOISE_BYTES);
}

static void fill_root(const Shelf *self)
{
	g_autofree char *bin = g_build_filename(self->sources, "root", "bin", NULL);
	g_autofree char *odd = g_build_filename(self->sources, "root", "odd", NULL);
	g_autofree char *hello = g_build_filename(bin, "hello", NULL);
	g_autofree char *file = g_build_filename(odd, "noise", NULL);
	g_autoptr(GBytes) program = read_file(TEST_HELLO);
	g_autoptr(GBytes) noise = make_noise(self->built);
	g_autoptr(GError) error = NULL;

	g_assert_cmpuint(self->built, <, G_N_ELEMENTS(modes));
	must(dn_file_make_directory(bin, 0755, &error) && dn_file_make_directory(odd, 0755, &error),
	     error);
	write_file(hello, program, 0755);
	write_file(file, noise, 0644);
	must(g_chmod(odd, (int)modes[self->built]) == 0, NULL);
}

ShelfImage *shelf_build(Shelf *self, const char *ref)
{
	static const char *const args[] = {"/bin/hello", "8080", NULL};
	g_autoptr(DnRecipe) recipe = dn_recipe_new();
	g_autoptr(GError) error = NULL;
	char *commit = NULL;

	fill_root(self);
	self->built++;
	recipe->ref = g_strdup(ref);
	recipe->root = g_strdup("root");
	recipe->run.args = g_strdupv((char **)args);
	recipe->run.uid = 1000;
	must(dn_image_build_now(recipe, self->sources, self->repo, &commit, &error), error);
	return image_new(self, commit);
}

ShelfImage *shelf_build_unbound(Shelf *self)
{
	return image_new(self, forge(self->repo, &(Forgery){.ref = NULL}));
}

void shelf_sign(Shelf *self, const ShelfImage *image, const DnSecretKey *key)
{
	g_autoptr(DnImageRepo) repo = open_repo(self);
	g_autoptr(GError) error = NULL;

	must(dn_image_sign_now(repo, image->commit, key, &error), error);
}

/* ---- its files ---- */

static char *object_path(const Shelf *self, const char *checksum, const char *suffix)
{
	return g_strdup_printf("%s/objects/%.2s/%.62s.%s", self->repo, checksum, checksum + 2,
			       suffix);
}

static off_t size_of(const char *path)
{
	struct stat info = {0};

	must(stat(path, &info) == 0, NULL);
	return info.st_size;
}

char *shelf_find(const Shelf *self, const ShelfImage *image, const char *type)
{
	bool is_file = strcmp(type, "file") == 0;
	g_autofree char *largest = NULL;

	for (guint i = 0; i < image->own->len; i++) {
		const char *name = image->own->pdata[i];

		if (strcmp(strrchr(name, '.') + 1, type) != 0)
			continue;
		g_autofree char *path = object_path(self, name, is_file ? "filez" : type);
		if (largest == NULL || size_of(path) > size_of(largest)) {
			g_free(largest);
			largest = g_steal_pointer(&path);
		}
	}
	if (largest == NULL)
		g_error("image %s has no %s of its own", image->commit, type);
	return g_steal_pointer(&largest);
}

char *shelf_signatures(const Shelf *self, const ShelfImage *image)
{
	return object_path(self, image->commit, "commitmeta");
}

static GBytes *keep_original(Shelf *self, const char *path)
{
	GBytes *bytes = read_file(path);

	if (!g_hash_table_contains(self->originals, path))
		g_hash_table_insert(self->originals, g_strdup(path), g_bytes_ref(bytes));
	return bytes;
}

void shelf_flip(Shelf *self, const char *path, size_t at)
{
	gsize size = 0;
	uint8_t *bytes = g_bytes_unref_to_data(keep_original(self, path), &size);

	g_assert_cmpuint(at, <, size);
	bytes[at] ^= 1;
	g_autoptr(GBytes) spoiled = g_bytes_new_take(bytes, size);
	write_file(path, spoiled, 0644);
}

void shelf_lose(Shelf *self, const char *path)
{
	g_bytes_unref(keep_original(self, path));
	must(g_unlink(path) == 0, NULL);
}

void shelf_replace(Shelf *self, const char *path, const char *with)
{
	g_autoptr(GBytes) other = read_file(with);

	g_bytes_unref(keep_original(self, path));
	write_file(path, other, 0644);
}

void shelf_restore(Shelf *self)
{
	GHashTableIter iter;
	gpointer path = NULL, bytes = NULL;

	g_hash_table_iter_init(&iter, self->originals);
	while (g_hash_table_iter_next(&iter, &path, &bytes))
		write_file(path, bytes, 0644);
	g_hash_table_remove_all(self->originals);
}
