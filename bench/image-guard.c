/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What guarding an image costs: image-guard ROUNDS [PROGRAM]. Over trees made by hand it times
 *
 *     runs     dn_image_probe_runs(): all that can be executed, read from the page cache; for
 *              PROGRAM alone and for 200 libraries of 100 KiB
 *     told     from a write(2) of another process to the verdict on the file, fork not counted
 *     sweep    one round of stamps over 1,000 and 10,000 files
 *     memory   of the watch a path: ours, and the kernel's by its slabs
 *
 * and prints medians and the 99th percentile, one JSON object a line.
 */

#include <fcntl.h>
#include <glib.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "image/probe.h"
#include "image/watch.h"

#define NO_COMMIT "0000000000000000000000000000000000000000000000000000000000000000"

static void check(bool done, const char *what)
{
	if (done)
		return;
	(void)fprintf(stderr, "image-guard: %s failed\n", what);
	exit(1);
}

static void enter(DnImageListing *listing, int root_fd, const char *path)
{
	g_autoptr(DnDigest) digest = dn_digest_new();
	dn_autofd int fd = dn_image_open_inside(root_fd, path, O_RDONLY | O_DIRECTORY);
	DnImageFacts facts = {0};
	g_autofree char *checksum =
		fd >= 0 ? dn_image_directory_identity(fd, path, &facts, NULL)
			: dn_image_identity(root_fd, path, &(DnImageReader){.digest = digest},
					    &facts, NULL);

	check(checksum != NULL && dn_image_listing_add(listing, path, checksum, &facts), path);
	dn_image_facts_clear(&facts);
}

/* @n files of @bytes noise, in directories of 100. */
static DnImageListing *make_tree(const char *root, guint n, size_t bytes)
{
	DnImageListing *listing = dn_image_listing_new(NO_COMMIT);
	g_autoptr(GRand) random = g_rand_new_with_seed(1);
	g_autofree guint32 *noise = g_malloc(bytes + sizeof(guint32));

	check(mkdir(root, 0755) == 0, root);
	dn_autofd int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (guint i = 0; i < n; i++) {
		g_autofree char *directory = g_strdup_printf("d%u", i / 100);
		g_autofree char *path = g_strdup_printf("d%u/f%u", i / 100, i);

		if (i % 100 == 0) {
			check(mkdirat(root_fd, directory, 0755) == 0, directory);
			enter(listing, root_fd, directory);
		}
		for (size_t w = 0; w < bytes / sizeof(*noise); w++)
			noise[w] = g_rand_int(random);
		dn_autofd int fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
		check(fd >= 0 && write(fd, noise, bytes) == (ssize_t)bytes, path);
		enter(listing, root_fd, path);
	}
	enter(listing, root_fd, "");
	dn_image_listing_seal(listing);
	return listing;
}

static int compare(gconstpointer a, gconstpointer b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

static double at(GArray *times, double share)
{
	g_array_sort(times, compare);
	return g_array_index(times, double, (guint)(share * (times->len - 1)));
}

/* Processor time: what a busy machine does not distort. */
static double cpu_ms(void)
{
	struct rusage usage = {0};

	(void)getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void time_runs(const char *what, const DnImageListing *listing, const char *root,
		      uint64_t rounds)
{
	dn_autofd int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const DnImageProbe probe = {.listing = listing, .root_fd = root_fd};
	g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(double));
	DnImageMeasure measure = {0};
	double cpu = cpu_ms();

	for (uint64_t i = 0; i < rounds; i++) {
		g_autoptr(GPtrArray) damages = dn_damages_new();

		check(dn_image_probe_runs(&probe, damages, &measure, NULL) && damages->len == 0,
		      "verification");
		double ms = (double)measure.took_ns / (double)DN_NS_PER_MS;
		g_array_append_val(times, ms);
	}
	double median = at(times, 0.5);
	cpu = (cpu_ms() - cpu) / (double)rounds;
	(void)printf("{\"what\": \"runs: %s\", \"files\": %u, \"bytes\": %" G_GUINT64_FORMAT
		     ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"cpu_ms\": %.3f, \"mb_s\": %.0f}\n",
		     what, measure.files, measure.bytes, median, at(times, 0.99), cpu,
		     (double)measure.bytes / 1e3 / median);
}

/* Bytes in the kernel's slabs, marks and inodes among them: a trend, since others use them too. */
static int64_t slab_bytes(void)
{
	g_autofree char *text = dn_file_read_kernel("/proc/meminfo", 1 << 16, NULL);
	const char *at = text != NULL ? strstr(text, "\nSlab:") : NULL;

	return at != NULL ? (int64_t)g_ascii_strtoull(at + strlen("\nSlab:"), NULL, 10) * 1024 : 0;
}

static int64_t own_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return (int64_t)(info.uordblks + info.hblkhd);
}

static void look_once(DnImageWatch *watch)
{
	DnImageSuspect suspect = {0};

	while (dn_image_watch_next(watch, &suspect))
		dn_image_suspect_clear(&suspect);
}

static void time_sweep(DnImageListing *listing, const char *root, uint64_t rounds)
{
	g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(double));
	int64_t slabs = slab_bytes();
	int64_t ours = own_bytes();
	DnImageWatchState state;
	bool round = false;

	g_autoptr(DnImageWatch) watch = dn_image_watch_new(root, DN_IMAGE_MARKS_LIMIT);
	uint64_t began_ns = dn_clock_monotonic_ns();
	dn_image_watch_add_now(watch, listing, root);
	double add_ms = (double)(dn_clock_monotonic_ns() - began_ns) / (double)DN_NS_PER_MS;
	dn_image_watch_state(watch, &state);
	ours = own_bytes() - ours;
	slabs = slab_bytes() - slabs;
	g_usleep(100000);
	look_once(watch);
	double cpu = cpu_ms();
	for (uint64_t i = 0; i < rounds; i++) {
		began_ns = dn_clock_monotonic_ns();
		dn_image_watch_sweep_now(watch, G_MAXUINT, &round);
		double ms = (double)(dn_clock_monotonic_ns() - began_ns) / (double)DN_NS_PER_MS;
		g_array_append_val(times, ms);
	}
	cpu = (cpu_ms() - cpu) / (double)rounds;
	(void)printf(
		"{\"what\": \"sweep\", \"paths\": %u, \"marks\": %u, \"p50_ms\": %.3f, "
		"\"p99_ms\": %.3f, \"cpu_ms\": %.3f, \"add_ms\": %.1f, \"own_bytes_a_path\": %.0f, "
		"\"kernel_bytes_a_path\": %.0f}\n",
		state.paths, state.marks, at(times, 0.5), at(times, 0.99), cpu, add_ms,
		(double)ours / state.paths, (double)slabs / state.paths);
}

/* Another process writes; *@when is set before. */
static void write_from_outside(const char *path, uint64_t *when)
{
	pid_t child = fork();

	if (child == 0) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		*when = dn_clock_monotonic_ns();
		_exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
	}
	check(child > 0, "fork");
}

/* Until a verdict names the file. */
static void await_verdict(DnImageWatch *watch, const DnImageProbe *probe, DnImageScan *scan)
{
	struct pollfd told = {.fd = dn_image_watch_fd(watch), .events = POLLIN};
	g_autoptr(GPtrArray) damages = dn_damages_new();

	while (damages->len == 0) {
		DnImageSuspect suspect = {0};
		bool repository = false;

		check(poll(&told, 1, 10000) == 1, "fanotify");
		dn_image_watch_read(watch, &repository);
		while (dn_image_watch_next(watch, &suspect)) {
			const DnImageEntry *entry =
				dn_image_listing_at(suspect.listing, suspect.index);

			check(dn_image_probe_path(probe, scan, entry->path, damages, NULL),
			      entry->path);
			dn_image_suspect_clear(&suspect);
		}
	}
}

static void time_told(DnImageListing *listing, const char *root, uint64_t rounds)
{
	g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(double));
	dn_autofd int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const DnImageProbe probe = {.listing = listing, .root_fd = root_fd};
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	g_autoptr(DnImageWatch) watch = dn_image_watch_new(root, DN_IMAGE_MARKS_LIMIT);
	g_autofree char *path = g_build_filename(root, "d0/f7", NULL);
	uint64_t *when = mmap(NULL, sizeof(*when), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	check(when != MAP_FAILED, "mmap");
	dn_image_watch_add_now(watch, listing, root);
	look_once(watch);
	for (uint64_t i = 0; i < rounds; i++) {
		write_from_outside(path, when);
		await_verdict(watch, &probe, scan);
		double ms = (double)(dn_clock_monotonic_ns() - *when) / (double)DN_NS_PER_MS;
		g_array_append_val(times, ms);
		(void)wait(NULL);
	}
	(void)munmap(when, sizeof(*when));
	(void)printf("{\"what\": \"told\", \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", at(times, 0.5),
		     at(times, 0.99));
}

static void measure_tree(const char *directory, guint files, size_t bytes, uint64_t rounds)
{
	g_autofree char *root = g_strdup_printf("%s/%u", directory, files);
	int64_t before = own_bytes();
	g_autoptr(DnImageListing) listing = make_tree(root, files, bytes);
	int64_t listed = own_bytes() - before;

	if (bytes > 1024)
		time_runs("libraries", listing, root, rounds);
	else {
		time_sweep(listing, root, rounds);
		time_told(listing, root, rounds);
	}
	(void)printf("{\"what\": \"listing\", \"paths\": %u, \"own_bytes_a_path\": %.0f}\n",
		     dn_image_listing_length(listing),
		     (double)listed / dn_image_listing_length(listing));
}

static void measure_program(const char *directory, const char *program, uint64_t rounds)
{
	g_autofree char *root = g_build_filename(directory, "program", NULL);
	g_autofree char *path = g_build_filename(root, "app", NULL);
	g_autofree char *content = NULL;
	gsize size = 0;

	check(g_file_get_contents(program, &content, &size, NULL) && mkdir(root, 0755) == 0 &&
		      g_file_set_contents(path, content, (gssize)size, NULL) &&
		      chmod(path, 0755) == 0,
	      program);
	g_autoptr(DnImageListing) listing = dn_image_listing_new(NO_COMMIT);
	dn_autofd int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enter(listing, root_fd, "");
	enter(listing, root_fd, "app");
	dn_image_listing_seal(listing);
	time_runs("program", listing, root, rounds);
}

int main(int argc, char **argv)
{
	g_autofree char *directory = g_dir_make_tmp("dnode-bench-XXXXXX", NULL);
	uint64_t rounds = 200;

	if (argc > 3 || (argc > 1 && !dn_text_parse_u64(argv[1], 10000, &rounds)) || rounds == 0) {
		(void)fputs("usage: image-guard [ROUNDS [PROGRAM]]\n", stderr);
		return 2;
	}
	if (argc == 3)
		measure_program(directory, argv[2], rounds);
	measure_tree(directory, 200, 100 << 10, rounds);
	measure_tree(directory, 1000, 64, rounds);
	measure_tree(directory, 10000, 64, rounds);
	check(dn_file_remove_tree(directory, NULL), "clean-up");
	return 0;
}
