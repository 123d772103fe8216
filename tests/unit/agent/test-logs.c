/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "runtime/logs.h"
#include "runtime/program.h"
#include "runtime/ring.h"
#include "support/suite.h"

enum { WAIT_S = 10, SMALL = 100 };

static char *directory;

static void setup(void)
{
	directory = g_dir_make_tmp("dnode-logs-XXXXXX", NULL);
}

static void teardown(void)
{
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_free(directory);
	dn_suite_end();
}

TestSuite(logs, .init = setup, .fini = teardown, .timeout = 60);

static unsigned count_segments(void)
{
	g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
	const char *name;
	unsigned count = 0;
	uint64_t start;

	while ((name = g_dir_read_name(dir)) != NULL)
		count += dn_ring_parse_name(name, &start);
	return count;
}

static void append_lines(DnRing *ring, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		g_autofree char *line = g_strdup_printf("line %04u\n", i);

		cr_assert(dn_ring_append(ring, line, strlen(line)));
	}
}

static char *read_log(unsigned lines, uint64_t *offset)
{
	g_autoptr(GError) error = NULL;
	char *text = dn_logs_read_now(directory, lines, offset, &error);

	cr_assert(ne(ptr, text, NULL), "%s", error != NULL ? error->message : "");
	return text;
}

Test(logs, the_ring_keeps_two_segments_of_whole_lines_within_the_limit)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	DnRing ring;

	cr_assert(dn_ring_open(&ring, fd, SMALL));
	append_lines(&ring, 0, 1000);
	dn_ring_close(&ring);
	cr_expect(eq(int, (int)count_segments(), 2));
	g_autofree char *text = read_log(1000, NULL);
	cr_expect(strlen(text) > SMALL && strlen(text) <= 2 * SMALL);
	cr_expect(g_str_has_prefix(text, "line 0980\nline 0981\n"), "%s", text);
	cr_expect(g_str_has_suffix(text, "line 0998\nline 0999\n"), "%s", text);
}

Test(logs, a_ring_goes_on_where_it_was_left)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	uint64_t offset = 0;
	DnRing ring;

	for (unsigned i = 0; i < 25; i++) {
		cr_assert(dn_ring_open(&ring, fd, SMALL));
		append_lines(&ring, i, i + 1);
		dn_ring_close(&ring);
	}
	cr_expect(eq(int, (int)count_segments(), 2));
	g_autofree char *text = read_log(1000, &offset);
	cr_expect(g_str_has_prefix(text, "line 0010\n"), "%s", text);
	cr_expect(g_str_has_suffix(text, "line 0024\n"), "%s", text);
	cr_expect(eq(int, (int)offset, 250));
}

Test(logs, a_record_larger_than_a_segment_is_refused)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	char record[SMALL + 1];
	DnRing ring;

	memset(record, 'x', sizeof(record));
	cr_assert(dn_ring_open(&ring, fd, SMALL));
	cr_expect(not(dn_ring_append(&ring, record, sizeof(record))));
	cr_expect(eq(int, errno, EFBIG));
	dn_ring_close(&ring);
}

Test(logs, following_sees_every_line_once)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	g_autoptr(GString) seen = g_string_new(NULL);
	g_autoptr(GString) all = g_string_new(NULL);
	uint64_t offset = 0;
	DnRing ring;

	cr_assert(dn_ring_open(&ring, fd, SMALL));
	for (unsigned i = 0; i < 50; i++) {
		append_lines(&ring, i * 5, i * 5 + 5);
		g_autofree char *text = read_log(1000, &offset);
		g_string_append(seen, text);
	}
	for (unsigned i = 0; i < 250; i++)
		g_string_append_printf(all, "line %04u\n", i);
	dn_ring_close(&ring);
	cr_expect_str_eq(seen->str, all->str);
	g_autofree char *nothing = read_log(1000, &offset);
	cr_expect_str_eq(nothing, "");
}

Test(logs, who_follows_a_few_lines_at_a_time_misses_none_and_hears_what_is_gone)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	g_autoptr(GString) seen = g_string_new(NULL);
	uint64_t offset = 0;
	DnRing ring;

	cr_assert(dn_ring_open(&ring, fd, SMALL));
	append_lines(&ring, 0, 1);
	g_autofree char *first = read_log(1, &offset);
	cr_expect_str_eq(first, "line 0000\n");
	append_lines(&ring, 1, 8);
	for (unsigned i = 0; i < 4; i++) {
		g_autofree char *text = read_log(2, &offset);
		g_string_append(seen, text);
	}
	cr_expect_str_eq(seen->str, "line 0001\nline 0002\nline 0003\nline 0004\nline 0005\n"
				    "line 0006\nline 0007\n");
	append_lines(&ring, 8, 1000);
	dn_ring_close(&ring);
	g_autofree char *late = read_log(1, &offset);
	cr_expect_str_eq(late, "(9720 bytes are gone: the node wrote faster than it was read)\n"
			       "line 0980\n");
}

/* Each byte that cannot be printed becomes four, and five in JSON. */
Test(logs, whatever_a_node_writes_an_answer_is_bounded_and_following_misses_nothing)
{
	enum { LINES = 60, WIDE = DN_LOG_LINE_BYTES - 8 };
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	uint64_t offset = 1;
	unsigned seen = 0;
	DnRing ring;

	cr_assert(dn_ring_open(&ring, fd, DN_LOG_SEGMENT_BYTES));
	for (unsigned i = 0; i < LINES; i++) {
		g_autofree char *rest = g_strnfill(WIDE, '\001');
		g_autofree char *line = g_strdup_printf("%04u%s\n", i, rest);

		cr_assert(dn_ring_append(&ring, line, strlen(line)));
	}
	dn_ring_close(&ring);
	g_autofree char *last = read_log(1000, NULL);
	cr_expect(le(u64, strlen(last), DN_LOG_TEXT_BYTES));
	cr_expect(g_str_has_prefix(g_strrstr(last, "\n0") + 1, "0059"));
	for (;;) {
		g_autofree char *text = read_log(1000, &offset);

		cr_assert(le(u64, strlen(text), DN_LOG_TEXT_BYTES));
		if (*text == '\0')
			break;
		for (const char *at = strchr(text, '\n'); at != NULL; at = strchr(at + 1, '\n'))
			seen++;
	}
	cr_expect(eq(uint, seen, LINES));
}

Test(logs, the_last_lines_are_the_last_ones)
{
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	DnRing ring;

	cr_assert(dn_ring_open(&ring, fd, SMALL));
	append_lines(&ring, 0, 14);
	cr_assert(dn_ring_append(&ring, "half", 4));
	dn_ring_close(&ring);
	g_autofree char *two = read_log(2, NULL);
	cr_expect_str_eq(two, "line 0012\nline 0013\n", "a line without its end is not shown");
	g_autofree char *none = read_log(0, NULL);
	cr_expect_str_eq(none, "");
	g_autofree char *all = read_log(100, NULL);
	cr_expect(g_str_has_prefix(all, "line 0000\n"));
}

Test(logs, files_that_are_no_segments_are_not_read)
{
	static const char *const names[] = {"x.log",
					    "000000000000000G.log",
					    "0000000000000000.logs",
					    "00000000000000000.log",
					    "0000000000000000",
					    NULL};
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY);
	DnRing ring;

	for (size_t i = 0; names[i] != NULL; i++) {
		g_autofree char *path = g_build_filename(directory, names[i], NULL);

		cr_assert(g_file_set_contents(path, "foreign\n", -1, NULL));
	}
	cr_assert(dn_ring_open(&ring, fd, SMALL));
	append_lines(&ring, 0, 1);
	dn_ring_close(&ring);
	g_autofree char *text = read_log(100, NULL);
	cr_expect_str_eq(text, "line 0000\n");
}

/* Read until @text is in the log. */
static char *wait_for(const char *text)
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + WAIT_S * DN_NS_PER_S;

	while (dn_clock_monotonic_ns() < deadline_ns) {
		g_autofree char *said = read_log(100000, NULL);

		if (strstr(said, text) != NULL)
			return g_steal_pointer(&said);
		g_usleep(1000);
	}
	cr_assert(false, "the log never had '%s'", text);
	return NULL;
}

static void say(int fd, const char *text)
{
	cr_assert(eq(int, (int)write(fd, text, strlen(text)), (int)strlen(text)));
}

Test(logs, both_streams_are_told_apart_and_every_line_has_its_time)
{
	g_autoptr(GError) error = NULL;
	dn_autofd int out = -1;
	dn_autofd int err = -1;
	uint64_t before = dn_clock_realtime_ns();
	uint64_t at = 0;

	cr_assert(dn_logs_open_now(TEST_LIBEXEC_DIR, directory, &out, &err, &error), "%s",
		  error != NULL ? error->message : "");
	say(out, "one\n");
	g_autofree char *first = wait_for(" o one\n");
	say(err, "two\n");
	g_free(wait_for(" e two\n"));
	first[strcspn(first, " ")] = '\0';
	cr_expect(dn_clock_parse(first, &at), "%s", first);
	cr_expect(at >= before && at <= dn_clock_realtime_ns());
	cr_expect(eq(int, (int)strlen(first), 30));
}

Test(logs, an_endless_line_is_cut_and_a_last_one_needs_no_end)
{
	g_autofree char *part = g_strnfill(DN_LOG_LINE_BYTES, 'x');
	dn_autofd int out = -1;
	dn_autofd int err = -1;

	cr_assert(dn_logs_open_now(TEST_LIBEXEC_DIR, directory, &out, &err, NULL));
	say(out, part);
	say(out, part);
	say(out, "rest");
	dn_fd_clear(&out);
	dn_fd_clear(&err);
	g_autofree char *text = wait_for(" o rest\n");
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	cr_assert(eq(int, (int)g_strv_length(lines), 4));
	for (int i = 0; i < 2; i++)
		cr_expect(eq(int, (int)strlen(lines[i]), 33 + DN_LOG_LINE_BYTES));
}

Test(logs, a_flood_stays_within_two_segments_and_its_end_is_kept)
{
	g_autoptr(GString) flood = g_string_new(NULL);
	dn_autofd int out = -1;
	dn_autofd int err = -1;
	uint64_t total = 0;

	for (int i = 0; i < 1000; i++)
		g_string_append_printf(flood, "some line of the flood number %d\n", i);
	cr_assert(dn_logs_open_now(TEST_LIBEXEC_DIR, directory, &out, &err, NULL));
	for (int i = 0; i < 64; i++)
		say(out, flood->str);
	say(out, "last words\n");
	g_free(wait_for(" o last words\n"));
	g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
	const char *name;
	while ((name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		GStatBuf info;

		cr_assert(eq(int, g_stat(path, &info), 0));
		cr_expect(info.st_size <= DN_LOG_SEGMENT_BYTES);
		total += (uint64_t)info.st_size;
	}
	cr_expect(eq(int, (int)count_segments(), 2));
	cr_expect(total > DN_LOG_SEGMENT_BYTES);
}

Test(logs, a_program_past_its_deadline_is_killed_and_its_words_are_in_the_error)
{
	const char *argv[] = {"sh", "-c", "echo began; exec sleep 60", NULL};
	DnProgram program = DN_PROGRAM(argv, 200);
	g_autoptr(GError) error = NULL;
	uint64_t begin = dn_clock_monotonic_ns();

	cr_expect(not(dn_program_run_now(&program, NULL, &error)));
	cr_expect(dn_clock_monotonic_ns() - begin < 10 * DN_NS_PER_S);
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
	cr_expect(ne(ptr, strstr(error->message, "began"), NULL), "%s", error->message);
}

Test(logs, a_program_gets_the_named_descriptors_and_no_other)
{
	const char *argv[] = {"sh", "-c", "ls -l /proc/self/fd | grep -c /dev/null; cat <&4", NULL};
	DnProgram program = DN_PROGRAM(argv, 10000);
	dn_autofd int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC on purpose */
	g_autofree char *file = g_build_filename(directory, "file", NULL);
	g_autofree char *output = NULL;

	cr_assert(leak >= 0);
	cr_assert(g_file_set_contents(file, "from four", -1, NULL));
	dn_autofd int four = open(file, O_RDONLY | O_CLOEXEC);
	program.extra_fds[0] = four;
	program.extra_fds[1] = four;
	cr_assert(dn_program_run_now(&program, &output, NULL));
	cr_expect_str_eq(output, "1\nfrom four", "stdin alone is /dev/null");
}

Test(logs, a_failed_program_says_why_and_a_missing_one_is_named)
{
	const char *failing[] = {"sh", "-c", "echo reason >&2; exit 3", NULL};
	const char *missing[] = {"/no/such/program", NULL};
	DnProgram program = DN_PROGRAM(failing, 10000);
	g_autoptr(GError) error = NULL;

	cr_expect(not(dn_program_run_now(&program, NULL, &error)));
	cr_expect_str_eq(error->message, "sh failed with status 3: reason");
	g_clear_error(&error);
	program.argv = missing;
	cr_expect(not(dn_program_run_now(&program, NULL, &error)));
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_UNSUPPORTED));
}
