/* SPDX-License-Identifier: Apache-2.0 */

/* dnode-sim: seeds in, invariants held or a trace out. */

#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

static int print_invariants(void)
{
	for (TruthKind kind = 0; kind < TRUTH_N; kind++)
		printf("%-24s %s\n", truth_name(kind), truth_sentence(kind));
	return 0;
}

/* True when @seed holds; else the reason and, with @trace, how it came. */
static bool run_seed(uint64_t seed, bool trace, uint64_t *steps)
{
	Sim *sim = sim_new(seed, trace);
	bool held = sim_run(sim);

	*steps += sim->steps;
	if (trace)
		trace_print(sim->trace);
	if (!held)
		printf("seed %" G_GUINT64_FORMAT ": %s\n", seed, sim->failure);
	sim_free(sim);
	return held;
}

static void explain(uint64_t seed)
{
	uint64_t steps = 0;

	printf("---- seed %" G_GUINT64_FORMAT ", from the start ----\n", seed);
	(void)run_seed(seed, true, &steps);
	printf("again: dnode-sim --seed %" G_GUINT64_FORMAT " --trace\n", seed);
}

static bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
	char *end = NULL;

	*first = g_ascii_strtoull(text, &end, 10);
	if (end == text || !g_str_has_prefix(end, ".."))
		return false;
	*last = g_ascii_strtoull(end + 2, &end, 10);
	return *end == '\0' && *last >= *first;
}

/* Every seed of the range that is this worker's; ends at the first that fails. */
static int work(uint64_t first, uint64_t last, uint64_t stride, gint64 until_us)
{
	uint64_t steps = 0;

	for (uint64_t seed = first; seed <= last; seed += stride) {
		if (until_us != 0 && g_get_monotonic_time() > until_us)
			break;
		if (!run_seed(seed, false, &steps)) {
			explain(seed);
			return 1;
		}
	}
	return 0;
}

typedef struct {
	gint64 seed, minutes, jobs;
	gchar *seeds, *file;
	gboolean trace, invariants;
} Options;

static int run_many(const Options *options, uint64_t first, uint64_t last)
{
	gint64 begun_us = g_get_monotonic_time();
	gint64 until_us =
		options->minutes > 0 ? begun_us + options->minutes * 60 * G_USEC_PER_SEC : 0;
	unsigned jobs = (unsigned)MAX(options->jobs, 1);
	int failed = 0;

	fflush(stdout);
	for (unsigned i = 0; i < jobs; i++) {
		pid_t child = fork();

		if (child < 0)
			return 1;
		if (child == 0)
			exit(work(first + i, last, jobs, until_us));
	}
	for (unsigned i = 0; i < jobs; i++) {
		int status = 0;

		if (wait(&status) > 0 && status != 0)
			failed = 1;
	}
	double seconds = (double)(g_get_monotonic_time() - begun_us) / G_USEC_PER_SEC;
	if (failed == 0 && until_us == 0)
		printf("%" G_GUINT64_FORMAT " seeds held every invariant; %.0f seeds a minute\n",
		       last - first + 1, (double)(last - first + 1) / seconds * 60);
	return failed;
}

/* Kept seeds: a number at the start of a line; the rest of it says what it found. */
static int run_file(const char *path)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	uint64_t steps = 0;
	unsigned kept = 0;
	int failed = 0;

	if (!g_file_get_contents(path, &text, NULL, &error)) {
		fprintf(stderr, "dnode-sim: %s\n", error->message);
		return 2;
	}
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (guint i = 0; lines[i] != NULL; i++) {
		if (!g_ascii_isdigit(lines[i][0]))
			continue;
		kept++;
		if (!run_seed(g_ascii_strtoull(lines[i], NULL, 10), false, &steps)) {
			explain(g_ascii_strtoull(lines[i], NULL, 10));
			failed = 1;
		}
	}
	if (failed == 0)
		printf("%u kept seeds held every invariant\n", kept);
	return failed;
}

static int carry_out(const Options *options, uint64_t first, uint64_t last)
{
	uint64_t steps = 0;

	if (options->invariants)
		return print_invariants();
	if (options->file != NULL && run_file(options->file) != 0)
		return 1;
	if (options->seed >= 0)
		return run_seed((uint64_t)options->seed, options->trace, &steps) ? 0 : 1;
	if (options->file != NULL && options->seeds == NULL)
		return 0;
	return run_many(options, first, last);
}

int main(int argc, char **argv)
{
	Options options = {.seed = -1, .jobs = 1};
	const GOptionEntry entries[] = {
		{"seed", 0, 0, G_OPTION_ARG_INT64, &options.seed, "run this seed", "N"},
		{"seeds", 0, 0, G_OPTION_ARG_STRING, &options.seeds, "run these seeds", "A..B"},
		{"file", 0, 0, G_OPTION_ARG_FILENAME, &options.file, "run the kept seeds of FILE",
		 "FILE"},
		{"trace", 0, 0, G_OPTION_ARG_NONE, &options.trace, "show what happens", NULL},
		{"minutes", 0, 0, G_OPTION_ARG_INT64, &options.minutes, "end after so long", "N"},
		{"jobs", 0, 0, G_OPTION_ARG_INT64, &options.jobs, "processes (default 1)", "N"},
		{"invariants", 0, 0, G_OPTION_ARG_NONE, &options.invariants,
		 "list what must always be true", NULL},
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	g_autoptr(GError) error = NULL;
	uint64_t first = 1, last = 10000;

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error) ||
	    (options.seeds != NULL && !parse_range(options.seeds, &first, &last))) {
		fprintf(stderr, "dnode-sim: %s\n",
			error != NULL ? error->message : "--seeds wants A..B");
		return 2;
	}
	int status = carry_out(&options, first, last);
	g_free(options.seeds);
	g_free(options.file);
	return status;
}
