/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/program.h"
#include "runtime/ring.h"

enum { START_TIMEOUT_MS = 10000, READ_TRIES = 3, GONE_BYTES = 128 };

typedef struct {
	uint64_t start;
	GBytes *bytes; /* owned */
} Segment;

static void segment_clear(gpointer data)
{
	Segment *segment = data;

	g_bytes_unref(segment->bytes);
}

bool dn_logs_make_pipes(DnLogPipes *pipes, GError **error)
{
	*pipes = (DnLogPipes){.out = {-1, -1}, .err = {-1, -1}};
	if (pipe2(pipes->out, O_CLOEXEC) == 0 && pipe2(pipes->err, O_CLOEXEC) == 0)
		return true;
	dn_throw_errno(error, errno, "pipe");
	dn_logs_close_pipes(pipes);
	return false;
}

void dn_logs_close_pipes(DnLogPipes *pipes)
{
	for (int end = 0; end < 2; end++) {
		dn_fd_clear(&pipes->out[end]);
		dn_fd_clear(&pipes->err[end]);
	}
}

DnProgramRun *dn_logs_begin(const char *libexec_dir, const char *log_dir, int nice,
			    DnLogPipes *pipes, GError **error)
{
	g_autofree char *path = g_build_filename(libexec_dir, "dnode-log", NULL);
	const char *argv[] = {path, log_dir, NULL};
	DnProgram program = DN_PROGRAM(argv, START_TIMEOUT_MS);

	if (!dn_file_make_directory(log_dir, 0700, error))
		return NULL;
	program.extra_fds[0] = pipes->out[0];
	program.extra_fds[1] = pipes->err[0];
	program.nice = nice;
	DnProgramRun *run = dn_program_begin(&program, error);
	/* With a reading end of ours open, a node whose reader died would wait for ever. */
	dn_fd_clear(&pipes->out[0]);
	dn_fd_clear(&pipes->err[0]);
	return run;
}

bool dn_logs_open_now(const char *libexec_dir, const char *log_dir, int *stdout_fd, int *stderr_fd,
		      GError **error)
{
	DnLogPipes pipes;

	if (!dn_logs_make_pipes(&pipes, error))
		return false;
	DnProgramRun *run = dn_logs_begin(libexec_dir, log_dir, 0, &pipes, error);
	bool reads = run != NULL && dn_program_end_now(run, NULL, error);
	if (reads) {
		*stdout_fd = g_steal_fd(&pipes.out[1]);
		*stderr_fd = g_steal_fd(&pipes.err[1]);
	}
	dn_logs_close_pipes(&pipes);
	return reads;
}

static int by_start(gconstpointer a, gconstpointer b)
{
	const Segment *left = a;
	const Segment *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* G_IO_ERROR_NOT_FOUND: a segment went away between listing and reading; look again. */
static bool read_segments(const char *log_dir, GArray *segments, GError **error)
{
	DIR *directory = opendir(log_dir);
	const struct dirent *entry;
	bool whole = true;

	if (directory == NULL)
		return dn_throw_errno(error, errno, "open log %s", log_dir);
	while (whole && (entry = readdir(directory)) != NULL) {
		g_autofree char *path = g_build_filename(log_dir, entry->d_name, NULL);
		Segment segment;

		if (!dn_ring_parse_name(entry->d_name, &segment.start))
			continue;
		segment.bytes = dn_file_read(path, DN_LOG_SEGMENT_BYTES, error);
		whole = segment.bytes != NULL;
		if (whole)
			g_array_append_val(segments, segment);
	}
	(void)closedir(directory);
	g_array_sort(segments, by_start);
	return whole;
}

/* The bytes of all segments in one piece; *@start is the position of the first. */
static GString *join(const GArray *segments, uint64_t *start)
{
	GString *text = g_string_new(NULL);

	*start = segments->len > 0 ? g_array_index(segments, Segment, 0).start : 0;
	for (guint i = 0; i < segments->len; i++) {
		const Segment *segment = &g_array_index(segments, Segment, i);
		gsize size;
		const char *bytes = g_bytes_get_data(segment->bytes, &size);

		/* Rotated between two reads: begin again after the hole. */
		if (segment->start != *start + text->len) {
			g_string_truncate(text, 0);
			*start = segment->start;
		}
		g_string_append_len(text, bytes, (gssize)size);
	}
	return text;
}

static GString *read_ring(const char *log_dir, uint64_t *start, GError **error)
{
	for (int try = 0; try < READ_TRIES; try++) {
		g_autoptr(GArray) segments = g_array_new(FALSE, FALSE, sizeof(Segment));
		g_autoptr(GError) local = NULL;

		g_array_set_clear_func(segments, segment_clear);
		if (read_segments(log_dir, segments, &local))
			return join(segments, start);
		if (try == READ_TRIES - 1 ||
		    !g_error_matches(local, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&local));
			return NULL;
		}
	}
	return NULL;
}

/* Where the last @lines lines of @text begin. */
static size_t last_lines(const GString *text, size_t end, unsigned lines)
{
	size_t at = end;

	while (at > 0) {
		if (text->str[at - 1] == '\n' && at != end && --lines == 0)
			return at;
		at--;
	}
	return 0;
}

/* The first @lines lines of @text, as far as they fit; *@length is how much of it that is. */
static GString *print_first(const char *text, size_t *length, unsigned lines)
{
	GString *printed = g_string_new(NULL);
	size_t done = 0;

	while (done < *length && lines-- > 0) {
		const char *newline = memchr(text + done, '\n', *length - done);
		size_t size = newline != NULL ? (size_t)(newline - (text + done)) : *length - done;
		g_autofree char *line = dn_text_printable(text + done, size);

		if (printed->len + strlen(line) + 1 > DN_LOG_TEXT_BYTES - GONE_BYTES)
			break;
		g_string_append(printed, line);
		g_string_append_c(printed, '\n');
		done = MIN(done + size + 1, *length);
	}
	*length = done;
	return printed;
}

static GString *print_last(const char *text, size_t length)
{
	GString *printed = g_string_new(NULL);

	while (length > 0) {
		const char *newline = memchr(text, '\n', length);
		size_t size = newline != NULL ? (size_t)(newline - text) : length;
		g_autofree char *line = dn_text_printable(text, size);

		g_string_append(printed, line);
		g_string_append_c(printed, '\n');
		text += size + 1;
		length -= MIN(length, size + 1);
	}
	if (printed->len > DN_LOG_TEXT_BYTES) {
		const char *cut = printed->str + printed->len - DN_LOG_TEXT_BYTES;

		g_string_erase(printed, 0, strchr(cut, '\n') + 1 - printed->str);
	}
	return printed;
}

/* What comes after *@offset, which an earlier call told. */
static GString *follow(const GString *text, uint64_t start, size_t end, unsigned lines,
		       uint64_t *offset)
{
	size_t from = *offset > start ? (size_t)MIN(*offset - start, (uint64_t)end) : 0;
	size_t length = end - from;
	GString *printed = print_first(text->str + from, &length, lines);

	if (*offset < start) {
		g_autofree char *gone = g_strdup_printf(
			"(%" G_GUINT64_FORMAT " bytes are gone: the node wrote faster than it was "
			"read)\n",
			start - *offset);

		g_string_prepend(printed, gone);
	}
	*offset = start + from + length;
	return printed;
}

char *dn_logs_read_now(const char *log_dir, unsigned lines, uint64_t *offset, GError **error)
{
	uint64_t start = 0;
	GString *text = read_ring(log_dir, &start, error);
	GString *printed = NULL;

	if (text == NULL)
		return NULL;
	/* A record that is still being written has no newline yet: it belongs to the next call. */
	const char *newline = g_strrstr_len(text->str, (gssize)text->len, "\n");
	size_t end = newline != NULL ? (size_t)(newline - text->str) + 1 : 0;

	if (offset != NULL && *offset > 0) {
		printed = follow(text, start, end, lines, offset);
	} else {
		size_t from = lines > 0 ? last_lines(text, end, lines) : end;

		printed = print_last(text->str + from, end - from);
		if (offset != NULL)
			*offset = start + end;
	}
	g_string_free(text, TRUE);
	return g_string_free(printed, FALSE);
}
