/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/journal-book.h"

#include <string.h>

#include "base/file.h"
#include "seal/digest.h"
#include "verbs/named.h"

enum { SEGMENTS_LIMIT = 4096, NAME_DIGITS = 10, WORD_LIMIT = 256 };

static void free_claim(gpointer data)
{
	DnJournalClaim *claim = data;

	g_free(claim->of);
	g_free(claim->of_key);
	g_free(claim);
}

void dn_journal_book_free(DnJournalBook *self)
{
	if (self == NULL)
		return;
	g_free(self->dir);
	g_free(self->why);
	g_array_unref(self->heads);
	g_ptr_array_unref(self->claims);
	g_free(self);
}

/* ---- reading ---- */

typedef struct {
	DnJournalBook *book;
	const DnJournalReader *reader;
} Reading;

static void take_claim(DnJournalBook *book, JsonObject *entry)
{
	g_autoptr(GError) error = NULL;
	DnJournalClaim *claim = g_new0(DnJournalClaim, 1);

	claim->of = dn_json_string(entry, "of", WORD_LIMIT, &error);
	claim->of_key = dn_json_string(entry, "of_key", WORD_LIMIT, &error);
	claim->head.seq = dn_json_u64(entry, "of_seq", G_MAXINT64, &error);
	g_autofree char *hash = dn_json_string(entry, "of_hash", DN_JOURNAL_HASH_DIGITS, &error);
	if (error != NULL) {
		free_claim(claim);
		return;
	}
	g_strlcpy(claim->head.hash, hash, sizeof(claim->head.hash));
	g_ptr_array_add(book->claims, claim);
}

static void on_entry(uint64_t seq, const char *line, size_t length, void *data)
{
	Reading *reading = data;
	bool is_head = memmem(line, length, "\"kind\":\"journal.head\"",
			      strlen("\"kind\":\"journal.head\"")) != NULL;

	if (!is_head && reading->reader == NULL)
		return;
	g_autoptr(GBytes) bytes = g_bytes_new(line, length);
	g_autoptr(JsonObject) entry = dn_json_parse(bytes, DN_JOURNAL_LINE_LIMIT, NULL);
	if (entry == NULL)
		return;
	g_autofree char *kind = dn_json_string_or_null(entry, "kind", WORD_LIMIT, NULL);
	if (g_strcmp0(kind, "journal.head") == 0)
		take_claim(reading->book, entry);
	if (reading->reader != NULL)
		reading->reader->entry(entry, reading->reader->data);
}

static void on_batch(const DnJournalHead *head, void *data)
{
	Reading *reading = data;

	g_array_append_val(reading->book->heads, *head);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names sort like numbers: all have ten digits. */
static GPtrArray *list_segments(const char *dir, GError **error)
{
	g_autoptr(GDir) open = g_dir_open(dir, 0, error);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name = NULL;

	if (open == NULL)
		return NULL;
	while ((name = g_dir_read_name(open)) != NULL)
		if (strspn(name, "0123456789") == NAME_DIGITS &&
		    g_str_equal(name + NAME_DIGITS, ".jsonl") && names->len < SEGMENTS_LIMIT)
			g_ptr_array_add(names, g_build_filename(dir, name, NULL));
	g_ptr_array_sort(names, compare_names);
	if (names->len == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s holds no journal; name a directory with 0000000001.jsonl or the "
			    "state directory above it",
			    dir);
		return NULL;
	}
	return g_steal_pointer(&names);
}

static GPtrArray *find_segments(const char *path, GError **error)
{
	g_autofree char *below = g_build_filename(path, "journal", NULL);

	if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
		GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

		g_ptr_array_add(names, g_strdup(path));
		return names;
	}
	return list_segments(g_file_test(below, G_FILE_TEST_IS_DIR) ? below : path, error);
}

/* False when it cannot be read. */
static bool read_segment(DnJournalBook *book, const char *path, bool last,
			 const DnJournalReader *reader, GError **error)
{
	static const DnJournalVisitor visitor = {.entry = on_entry, .batch = on_batch};
	Reading reading = {.book = book, .reader = reader};
	g_autoptr(GBytes) bytes = dn_file_read(path, DN_JOURNAL_SEGMENT_LIMIT, error);
	g_autofree char *why = NULL;
	size_t size = 0;

	if (bytes == NULL)
		return false;
	const char *data = g_bytes_get_data(bytes, &size);
	book->segments++;
	book->verdict = dn_journal_walk(&book->walk, data != NULL ? data : "", size, &visitor,
					&reading, &why);
	if (book->verdict == DN_JOURNAL_TORN && !last)
		book->verdict = DN_JOURNAL_BROKEN;
	if (why != NULL)
		book->why = g_strdup_printf("%s %s", path, why);
	return true;
}

DnJournalBook *dn_journal_book_read(const char *dir, const DnJournalReader *reader, GError **error)
{
	g_autoptr(GPtrArray) paths = find_segments(dir, error);
	g_autoptr(DnJournalBook) book = g_new0(DnJournalBook, 1);

	book->dir = g_strdup(dir);
	book->heads = g_array_new(FALSE, FALSE, sizeof(DnJournalHead));
	book->claims = g_ptr_array_new_with_free_func(free_claim);
	if (paths == NULL) {
		dn_named_blame(error, "name the directory of a journal");
		return NULL;
	}
	for (guint i = 0; i < paths->len && book->verdict == DN_JOURNAL_WHOLE; i++)
		if (!read_segment(book, g_ptr_array_index(paths, i), i + 1 == paths->len, reader,
				  error))
			return NULL;
	return g_steal_pointer(&book);
}

/* ---- comparing ---- */

/* The batch that ends at @seq, or NULL. */
static const DnJournalHead *find_head(const DnJournalBook *book, uint64_t seq)
{
	guint low = 0, high = book->heads->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;
		const DnJournalHead *head = &g_array_index(book->heads, DnJournalHead, middle);

		if (head->seq == seq)
			return head;
		if (head->seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* What one kept head says against @book; NULL: nothing. @cut: its end is missing. */
static char *contradiction(const DnJournalBook *book, const DnJournalClaim *claim,
			   const char *keeper, bool *cut)
{
	const DnJournalHead *head = find_head(book, claim->head.seq);
	g_autofree char *key = dn_digest_text(book->walk.key);

	*cut = false;
	if (!g_str_equal(claim->of_key, key))
		return g_strdup_printf("%s is signed by another key than the one %s knows it by",
				       book->walk.identity, keeper);
	/* Before what is kept of it: there is nothing to compare with. */
	if (claim->head.seq < book->walk.first)
		return NULL;
	if (claim->head.seq > book->walk.head.seq) {
		*cut = true;
		return g_strdup_printf("%s ends at entry %" G_GUINT64_FORMAT
				       ", but %s has kept its head at entry %" G_GUINT64_FORMAT
				       ": its end was cut off",
				       book->walk.identity, book->walk.head.seq, keeper,
				       claim->head.seq);
	}
	if (head != NULL && g_str_equal(head->hash, claim->head.hash))
		return NULL;
	return g_strdup_printf("%s is another one at entry %" G_GUINT64_FORMAT
			       " than the one whose head %s has kept: it was written anew",
			       book->walk.identity, claim->head.seq, keeper);
}

unsigned dn_journal_book_compare(const DnJournalBook *book, const DnJournalBook *keeper,
				 GPtrArray *findings)
{
	unsigned compared = 0;
	g_autofree char *cut_line = NULL;

	for (guint i = 0; i < keeper->claims->len; i++) {
		const DnJournalClaim *claim = g_ptr_array_index(keeper->claims, i);
		bool cut = false;

		if (!g_str_equal(claim->of, book->walk.identity))
			continue;
		compared++;
		g_autofree char *line = contradiction(book, claim, keeper->walk.identity, &cut);
		if (line == NULL)
			continue;
		if (!cut) {
			g_ptr_array_add(findings, g_steal_pointer(&line));
			return compared;
		}
		/* The furthest tells how much is missing. */
		g_free(cut_line);
		cut_line = g_steal_pointer(&line);
	}
	if (cut_line != NULL)
		g_ptr_array_add(findings, g_steal_pointer(&cut_line));
	return compared;
}
