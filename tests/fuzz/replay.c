/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A target as a plain test: every file that is named, or is in a directory that is named, once.
 * Each must be done with within a time that no honest input needs.
 */

#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

enum { SECONDS_AN_INPUT = 10 };

static unsigned replayed;

static void replay_file(const char *path)
{
	g_autofree char *data = NULL;
	gsize size = 0;

	if (!g_file_get_contents(path, &data, &size, NULL))
		g_error("cannot read %s", path);
	/* A copy of exactly its size: what is read beyond it is seen by the sanitizers. */
	g_autofree uint8_t *exact = g_memdup2(data, size);
	gint64 began = g_get_monotonic_time();
	(void)LLVMFuzzerTestOneInput(exact, size);
	gint64 took = (g_get_monotonic_time() - began) / G_USEC_PER_SEC;
	if (took >= SECONDS_AN_INPUT)
		g_error("%s took %d s", path, (int)took);
	replayed++;
}

static void replay_all(const char *path)
{
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	const char *name;

	if (directory == NULL) {
		replay_file(path);
		return;
	}
	while ((name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		if (g_file_test(file, G_FILE_TEST_IS_REGULAR))
			replay_file(file);
	}
}

int main(int argc, char **argv)
{
	(void)LLVMFuzzerTestOneInput(NULL, 0);
	for (int i = 1; i < argc; i++)
		replay_all(argv[i]);
	printf("%u inputs replayed\n", replayed);
	return replayed > 0 ? 0 : 1;
}
