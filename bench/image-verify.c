/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How fast a checkout is verified: image-verify ROUNDS. Builds an image of 1,000 files and about
 * 100 MB, puts it into a `bare` repository as a host does, then times
 * dn_image_checkout_verify(), `ostree fsck` and the bare SHA-256 of as many bytes, which is what
 * all processors together can do at best, in turn, and prints medians.
 */

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <ostree.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "image/build.h"
#include "image/checkout.h"
#include "seal/digest.h"

enum { FILES = 1000, FILE_BYTES = 100 * 1024 };

static void check(bool done, GError *error)
{
	if (done)
		return;
	(void)fprintf(stderr, "image-verify: %s\n", error != NULL ? error->message : "failed");
	exit(1);
}

static void write_sources(const char *directory)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(1);
	g_autofree guint32 *noise = g_malloc(FILE_BYTES);

	for (int i = 0; i < FILES; i++) {
		g_autofree char *path = g_strdup_printf("%s/root/d%d/f%d", directory, i % 40, i);
		g_autofree char *parent = g_path_get_dirname(path);
		GError *error = NULL;

		for (size_t n = 0; n < FILE_BYTES / sizeof(*noise); n++)
			noise[n] = g_rand_int(random);
		g_autoptr(GBytes) bytes = g_bytes_new(noise, FILE_BYTES);
		check(dn_file_make_directory(parent, 0755, &error) &&
			      g_file_set_contents(path, g_bytes_get_data(bytes, NULL), FILE_BYTES,
						  &error),
		      error);
	}
}

static int compare(gconstpointer a, gconstpointer b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

static double median(GArray *times)
{
	g_array_sort(times, compare);
	return g_array_index(times, double, times->len / 2);
}

static double since_ms(uint64_t begin)
{
	return (double)(dn_clock_monotonic_ns() - begin) / (double)DN_NS_PER_MS;
}

static void run_fsck(const char *repo_path)
{
	g_autofree char *option = g_strconcat("--repo=", repo_path, NULL);
	char *argv[] = {(char *)"ostree", (char *)"fsck", (char *)"-q", option, NULL};
	GError *error = NULL;
	int status = 0;

	check(g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
			   NULL, NULL, NULL, &status, &error) &&
		      g_spawn_check_wait_status(status, &error),
	      error);
}

/* A file's worth of memory, hashed again and again until all of the image's bytes are shared out.
 */
static gpointer hash_share(gpointer data)
{
	g_autofree uint8_t *bytes = g_malloc0(FILE_BYTES);
	gint *left = data;
	uint8_t digest[DN_DIGEST_BYTES];

	while (g_atomic_int_add(left, -1) > 0)
		dn_digest_of(bytes, FILE_BYTES, digest);
	return NULL;
}

/* As many bytes as the image has, from memory that stays in the caches, on every processor. */
static void run_bare(void)
{
	guint n_threads = g_get_num_processors();
	g_autofree GThread **threads = g_new(GThread *, n_threads);
	gint left = FILES;

	for (guint i = 0; i < n_threads; i++)
		threads[i] = g_thread_new("bare", hash_share, &left);
	for (guint i = 0; i < n_threads; i++)
		g_thread_join(threads[i]);
}

/* Processor time: what a busy machine does not distort. */
static double cpu_ms(int who)
{
	struct rusage usage = {0};

	(void)getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* Pairwise, so that what else the machine does meets both alike. */
static double median_share(const GArray *part, const GArray *whole)
{
	g_autoptr(GArray) shares = g_array_new(FALSE, FALSE, sizeof(double));

	for (guint i = 0; i < part->len; i++) {
		double share = g_array_index(part, double, i) / g_array_index(whole, double, i);
		g_array_append_val(shares, share);
	}
	return median(shares);
}

static void measure(DnImageRepo *repo, const char *commit, const char *checkout, uint64_t rounds)
{
	g_autoptr(GArray) ours = g_array_new(FALSE, FALSE, sizeof(double));
	g_autoptr(GArray) theirs = g_array_new(FALSE, FALSE, sizeof(double));
	g_autoptr(GArray) bare = g_array_new(FALSE, FALSE, sizeof(double));
	double self = 0, children = cpu_ms(RUSAGE_CHILDREN);
	GError *error = NULL;

	for (uint64_t i = 0; i < rounds; i++) {
		double used = cpu_ms(RUSAGE_SELF);
		uint64_t begin = dn_clock_monotonic_ns();
		check(dn_image_checkout_verify(repo, commit, checkout, &error), error);
		double took = since_ms(begin);
		g_array_append_val(ours, took);
		self += cpu_ms(RUSAGE_SELF) - used;
		begin = dn_clock_monotonic_ns();
		run_bare();
		took = since_ms(begin);
		g_array_append_val(bare, took);
		begin = dn_clock_monotonic_ns();
		run_fsck(dn_image_repo_path(repo));
		took = since_ms(begin);
		g_array_append_val(theirs, took);
	}
	double share = median_share(bare, ours); /* before median() sorts them */
	double mine = median(ours), other = median(theirs), best = median(bare);
	self /= (double)rounds;
	children = (cpu_ms(RUSAGE_CHILDREN) - children) / (double)rounds;
	double megabytes = (double)FILES * FILE_BYTES / 1e6;
	(void)printf("{\"files\": %d, \"megabytes\": %.0f, \"rounds\": %" G_GUINT64_FORMAT
		     ", \"verify_ms\": %.1f, \"ostree_fsck_ms\": %.1f, \"ratio\": %.1f, "
		     "\"verify_mb_s\": %.0f, \"sha256_mb_s\": %.0f, \"share_of_sha256\": %.2f, "
		     "\"verify_cpu_ms\": %.1f, \"ostree_fsck_cpu_ms\": %.1f}\n",
		     FILES, megabytes, rounds, mine, other, other / mine, megabytes / mine * 1000,
		     megabytes / best * 1000, share, self, children);
}

/* As the agent keeps it, without a server between. */
static DnImageRepo *bring(const char *from, const char *to)
{
	GError *error = NULL;
	DnImageRepo *repo = dn_image_repo_create_now(to, DN_IMAGE_REPO_BARE, &error);
	g_autofree char *option = g_strconcat("--repo=", to, NULL);
	char *argv[] = {(char *)"ostree", (char *)"pull-local", option, (char *)from, NULL};
	int status = 0;

	check(repo != NULL, error);
	check(g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
			   NULL, NULL, NULL, &status, &error) &&
		      g_spawn_check_wait_status(status, &error),
	      error);
	return repo;
}

int main(int argc, char **argv)
{
	g_autofree char *directory = g_dir_make_tmp("dnode-bench-XXXXXX", NULL);
	g_autofree char *archive = g_build_filename(directory, "archive", NULL);
	g_autofree char *bare = g_build_filename(directory, "bare", NULL);
	g_autofree char *checkout = g_build_filename(directory, "checkout", NULL);
	g_autoptr(DnRecipe) recipe = dn_recipe_new();
	g_autofree char *commit = NULL;
	uint64_t rounds = 20;
	GError *error = NULL;

	if (argc > 2 || (argc == 2 && !dn_text_parse_u64(argv[1], 10000, &rounds)) || rounds == 0) {
		(void)fputs("usage: image-verify [ROUNDS]\n", stderr);
		return 2;
	}
	write_sources(directory);
	recipe->ref = g_strdup("bench/verify");
	recipe->root = g_strdup("root");
	check(dn_image_build_now(recipe, directory, archive, &commit, &error), error);
	{
		g_autoptr(DnImageRepo) repo = bring(archive, bare);

		check(dn_image_checkout_make(repo, commit, checkout, &error), error);
		measure(repo, commit, checkout, rounds);
	}
	check(dn_file_remove_tree(directory, &error), error);
	return 0;
}
