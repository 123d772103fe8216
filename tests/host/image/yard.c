/* SPDX-License-Identifier: Apache-2.0 */
#include "yard.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/sign.h"
#include "repo/server.h"

struct YardServer {
	GThread *thread;
	GMainContext *context;
	GMainLoop *loop;
	char *repo_path;
	GMutex lock;
	GCond ready;
	uint16_t port;
};

static gpointer serve(gpointer data)
{
	struct YardServer *self = data;

	g_main_context_push_thread_default(self->context);
	{
		g_autoptr(DnRepoServer) server = dn_repo_server_new(
			&(DnRepoServerConfig){.path = self->repo_path, .listen = "127.0.0.1:0"},
			NULL);

		g_mutex_lock(&self->lock);
		self->port = server != NULL ? dn_repo_server_port(server) : 1;
		g_cond_signal(&self->ready);
		g_mutex_unlock(&self->lock);
		g_main_loop_run(self->loop);
	}
	g_main_context_pop_thread_default(self->context);
	return NULL;
}

static struct YardServer *start_server(const char *repo_path)
{
	struct YardServer *self = g_new0(struct YardServer, 1);

	self->repo_path = g_strdup(repo_path);
	self->context = g_main_context_new();
	self->loop = g_main_loop_new(self->context, FALSE);
	g_mutex_init(&self->lock);
	g_cond_init(&self->ready);
	self->thread = g_thread_new("server", serve, self);
	g_mutex_lock(&self->lock);
	while (self->port == 0)
		g_cond_wait(&self->ready, &self->lock);
	g_mutex_unlock(&self->lock);
	return self;
}

static gboolean quit(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void stop_server(struct YardServer *self)
{
	g_main_context_invoke(self->context, quit, self->loop);
	g_thread_join(self->thread);
	/* libsoup lets connections go in idle callbacks of this context. */
	while (g_main_context_iteration(self->context, FALSE))
		;
	g_main_loop_unref(self->loop);
	g_main_context_unref(self->context);
	g_mutex_clear(&self->lock);
	g_cond_clear(&self->ready);
	g_free(self->repo_path);
	g_free(self);
}

void yard_serve(Yard *self, const char *repo_path)
{
	if (self->server != NULL)
		stop_server(self->server);
	g_free(self->url);
	self->server = start_server(repo_path);
	self->url = g_strdup_printf("http://127.0.0.1:%u/repo", self->server->port);
}

void yard_open(Yard *self)
{
	g_autoptr(GError) error = NULL;

	workshop_open(&self->shop);
	self->release = dn_secret_key_generate();
	self->other = dn_secret_key_generate();
	self->trust = workshop_trust("apps/*", DN_KEY_RELEASE, &self->release, 1);
	self->instance.state_dir = g_build_filename(self->shop.directory, "state", NULL);
	self->store = dn_image_store_new(&self->instance, self->trust, &error);
	cr_assert(ne(ptr, self->store, NULL), "%s", error != NULL ? error->message : "no error");
	g_autoptr(DnImageRepo) repo =
		dn_image_repo_create_now(self->shop.repo_path, DN_IMAGE_REPO_ARCHIVE, NULL);
	cr_assert(ne(ptr, repo, NULL));
	yard_serve(self, self->shop.repo_path);
}

void yard_close(Yard *self)
{
	stop_server(self->server);
	dn_image_store_free(self->store);
	dn_trust_policy_free(self->trust);
	dn_secret_key_free(self->release);
	dn_secret_key_free(self->other);
	g_free(self->instance.state_dir);
	g_free(self->url);
	g_free(self->commit);
	workshop_close(&self->shop);
}

void yard_sign(const Yard *self, const char *commit, const DnSecretKey *key)
{
	g_autoptr(DnImageRepo) repo = workshop_repo(&self->shop);

	cr_assert(dn_image_sign_now(repo, commit, key, NULL));
}

/* Text that deflate cannot make much of. */
static char *make_noise(void)
{
	enum { LENGTH = 4096 };
	g_autoptr(GRand) random = g_rand_new_with_seed(7);
	char *noise = g_malloc0(LENGTH + 1);

	for (size_t i = 0; i < LENGTH; i++)
		noise[i] = (char)g_rand_int_range(random, ' ', '~');
	return noise;
}

void yard_image(Yard *self, const DnSecretKey *key)
{
	g_autofree char *noise = make_noise();
	g_autofree char *link = workshop_path(&self->shop, "root/bin/sh");

	workshop_write(&self->shop, "root/bin/app", "#! the program", 0755);
	workshop_write(&self->shop, "root/bin/tool", "#! another", 0755);
	workshop_write(&self->shop, "root/usr/share/noise", noise, 0644);
	workshop_write(&self->shop, "root/etc/app.conf", "key = value\n", 0640);
	workshop_write(&self->shop, "root/usr/share/empty", "", 0644);
	if (symlink("app", link) < 0)
		cr_assert(eq(int, errno, EEXIST));
	if (self->shop.recipe->root == NULL)
		self->shop.recipe->root = g_strdup("root");
	g_free(self->commit);
	self->commit = workshop_build(&self->shop);
	if (key != NULL)
		yard_sign(self, self->commit, key);
}

void yard_ensure(Yard *self)
{
	g_autoptr(GError) error = NULL;
	bool here = dn_image_store_ensure_now(self->store, self->url, "apps/test", self->commit,
					      NULL, &error);

	cr_assert(here, "%s", error != NULL ? error->message : "no error was set");
}

void yard_refuse(Yard *self, DnErrorCode code, const char *why)
{
	g_autoptr(GError) error = NULL;
	bool here = dn_image_store_ensure_now(self->store, self->url, "apps/test", self->commit,
					      NULL, &error);

	cr_assert(not(here), "it was accepted");
	cr_assert(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, why), NULL), "%s", error->message);
	cr_assert(eq(ptr, strchr(error->message, '\n'), NULL), "%s", error->message);
}

static GPtrArray *collected;
static const char *wanted_suffix;

static int collect(const char *path, const struct stat *info, int type, struct FTW *where)
{
	if (type != FTW_D && type != FTW_DP && g_str_has_suffix(path, wanted_suffix))
		g_ptr_array_add(collected, g_strdup(path));
	return 0;
}

static int compare_paths(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *yard_find(const char *directory, const char *suffix)
{
	collected = g_ptr_array_new_with_free_func(g_free);
	wanted_suffix = suffix;
	cr_assert(eq(int, nftw(directory, collect, 16, FTW_PHYS), 0));
	g_ptr_array_sort(collected, compare_paths);
	return g_steal_pointer(&collected);
}

GPtrArray *yard_leftovers(const Yard *self, const char *folder)
{
	g_autofree char *path = g_build_filename(self->instance.state_dir, folder, NULL);

	return yard_find(path, "");
}

static void expect_empty(const Yard *self, const char *folder)
{
	g_autoptr(GPtrArray) files = yard_leftovers(self, folder);

	cr_assert(eq(int, (int)files->len, 0), "%s is left behind",
		  files->len > 0 ? (const char *)files->pdata[0] : "");
}

void yard_expect_nothing(const Yard *self)
{
	static const char *const folders[] = {"repo/objects", "repo/state", "repo/tmp", "repo/refs",
					      "checkouts",    "staging",    "damaged"};

	for (size_t i = 0; i < G_N_ELEMENTS(folders); i++)
		expect_empty(self, folders[i]);
}

char *yard_in_checkout(const Yard *self, const char *path)
{
	g_autofree char *checkout = dn_image_store_checkout(self->store, self->commit);

	return g_build_filename(checkout, path, NULL);
}

char *yard_object_of(const Yard *self, const char *path)
{
	g_autofree char *file = yard_in_checkout(self, path);
	g_autofree char *objects = g_build_filename(self->instance.state_dir, "repo/objects", NULL);
	g_autoptr(GPtrArray) found = yard_find(objects, ".file");
	struct stat wanted = {0};

	cr_assert(eq(int, lstat(file, &wanted), 0));
	for (guint i = 0; i < found->len; i++) {
		struct stat info = {0};

		if (lstat(found->pdata[i], &info) == 0 && info.st_ino == wanted.st_ino)
			return g_strdup(found->pdata[i]);
	}
	cr_fatal("%s is no link of an object", path);
	return NULL;
}

char *yard_on_server(const Yard *self, const char *path)
{
	return g_build_filename(self->shop.repo_path, path, NULL);
}

void yard_flip(const char *path, off_t at)
{
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat info = {0};
	unsigned char byte = 0;

	cr_assert(ge(int, fd, 0), "%s", path);
	cr_assert(eq(int, fstat(fd, &info), 0));
	off_t where = at < 0 ? info.st_size + at : at;
	cr_assert(eq(int, (int)pread(fd, &byte, 1, where), 1), "%s", path);
	byte ^= 1;
	cr_assert(eq(int, (int)pwrite(fd, &byte, 1, where), 1));
}
