/* SPDX-License-Identifier: Apache-2.0 */
#include "output/table.h"
#include "seal/digest.h"
#include "verbs/all.h"
#include "verbs/answer.h"
#include "verbs/journal-book.h"
#include "verbs/named.h"

#include "base/text.h"

#define DEFAULT_COUNT "50"
#define SUPERVISOR_STATE "/var/lib/dnode/supervisor"
#define AGENT_STATE "/var/lib/dnode/agent"

enum { COUNT_LIMIT = 1000000, OPERANDS_LIMIT = 4096, PATIENCE = 5, RETRY_US = 100 * 1000 };

/* Where this machine's journals are, unless directories were named. */
static GPtrArray *find_directories(DnCall *call, GError **error)
{
	static const char *const usual[] = {SUPERVISOR_STATE, AGENT_STATE};
	g_autoptr(GPtrArray) directories = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < call->operands->len; i++)
		g_ptr_array_add(directories, g_strdup(g_ptr_array_index(call->operands, i)));
	for (size_t i = 0; call->operands->len == 0 && i < G_N_ELEMENTS(usual); i++) {
		g_autofree char *journal = g_build_filename(usual[i], "journal", NULL);

		if (g_file_test(journal, G_FILE_TEST_IS_DIR))
			g_ptr_array_add(directories, g_steal_pointer(&journal));
	}
	if (directories->len > 0)
		return g_steal_pointer(&directories);
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "no journal in " SUPERVISOR_STATE " or " AGENT_STATE "; name the directories");
	return NULL;
}

/* A daemon may be writing: an end that is not whole yet is looked at again. */
static DnJournalBook *read_settled(const char *directory, GError **error)
{
	for (unsigned left = PATIENCE;; left--) {
		g_autoptr(DnJournalBook) book = dn_journal_book_read(directory, NULL, error);

		if (book == NULL || book->verdict != DN_JOURNAL_TORN || left == 0)
			return g_steal_pointer(&book);
		g_usleep(RETRY_US);
	}
}

static void free_book(gpointer book)
{
	dn_journal_book_free(book);
}

static GPtrArray *read_all(const GPtrArray *directories, GError **error)
{
	g_autoptr(GPtrArray) books = g_ptr_array_new_with_free_func(free_book);

	for (guint i = 0; i < directories->len; i++) {
		DnJournalBook *book = read_settled(g_ptr_array_index(directories, i), error);

		if (book == NULL)
			return NULL;
		g_ptr_array_add(books, book);
	}
	return g_steal_pointer(&books);
}

/* ---- verify ---- */

static const char *verdict_name(DnJournalVerdict verdict)
{
	static const char *const names[] = {
		[DN_JOURNAL_WHOLE] = "whole",
		[DN_JOURNAL_TORN] = "torn",
		[DN_JOURNAL_BROKEN] = "broken",
	};

	return names[verdict];
}

static void judge_alone(const GPtrArray *books, GPtrArray *findings)
{
	for (guint i = 0; i < books->len; i++) {
		const DnJournalBook *book = g_ptr_array_index(books, i);

		if (book->verdict == DN_JOURNAL_TORN)
			g_ptr_array_add(findings,
					g_strdup_printf("%s; the daemon cuts this off when it "
							"starts, and says so",
							book->why));
		else if (book->verdict == DN_JOURNAL_BROKEN)
			g_ptr_array_add(findings, g_strdup(book->why));
	}
}

static unsigned judge_together(const GPtrArray *books, const GPtrArray *keepers,
			       GPtrArray *findings)
{
	unsigned compared = 0;

	for (guint b = 0; b < books->len; b++)
		for (guint k = 0; k < keepers->len; k++)
			if (b != k)
				compared += dn_journal_book_compare(g_ptr_array_index(books, b),
								    g_ptr_array_index(keepers, k),
								    findings);
	return compared;
}

static bool add_keys(GHashTable *keys, const char *directory, GError **error)
{
	g_autoptr(GDir) dir = g_dir_open(directory, 0, error);
	const char *name = NULL;

	while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		uint8_t key[DN_PUBLIC_KEY_BYTES];

		if (!g_str_has_suffix(name, ".pub"))
			continue;
		if (!dn_public_key_load(path, key, error))
			return false;
		g_hash_table_add(keys, dn_digest_text(key));
	}
	if (dir == NULL)
		dn_named_blame(error, "name a directory of .pub files with --keys");
	return dir != NULL;
}

static bool judge_keys(DnCall *call, const GPtrArray *books, GPtrArray *findings, GError **error)
{
	const char *directory = dn_call_option(call, "keys");
	g_autoptr(GHashTable) keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	if (directory == NULL)
		return true;
	if (!add_keys(keys, directory, error))
		return false;
	for (guint i = 0; i < books->len; i++) {
		const DnJournalBook *book = g_ptr_array_index(books, i);
		g_autofree char *key = dn_digest_text(book->walk.key);

		if (!g_hash_table_contains(keys, key))
			g_ptr_array_add(findings, g_strdup_printf("%s: its key is not in %s",
								  book->dir, directory));
	}
	return true;
}

static JsonObject *to_json(const GPtrArray *books, const GPtrArray *findings, unsigned compared)
{
	JsonObject *document = dn_json_document();
	JsonArray *journals = json_array_new(), *lines = json_array_new();

	for (guint i = 0; i < books->len; i++) {
		const DnJournalBook *book = g_ptr_array_index(books, i);
		g_autofree char *fingerprint = dn_public_key_fingerprint(book->walk.key);
		JsonObject *object = json_object_new();

		dn_json_set_string(object, "dir", book->dir);
		dn_json_set_string(object, "identity", book->walk.identity);
		dn_json_set_string(object, "key_fingerprint", fingerprint);
		dn_json_set_string(object, "state", verdict_name(book->verdict));
		json_object_set_int_member(object, "segments", book->segments);
		json_object_set_int_member(object, "batches", (gint64)book->walk.batches);
		json_object_set_int_member(object, "first", (gint64)book->walk.first);
		json_object_set_int_member(object, "last", (gint64)book->walk.head.seq);
		dn_json_set_string(object, "hash", book->walk.head.hash);
		json_array_add_object_element(journals, object);
	}
	for (guint i = 0; i < findings->len; i++)
		json_array_add_string_element(lines, g_ptr_array_index(findings, i));
	json_object_set_array_member(document, "journals", journals);
	json_object_set_int_member(document, "compared", compared);
	json_object_set_array_member(document, "findings", lines);
	return document;
}

static void show_books(DnOutput *output, const GPtrArray *books)
{
	static const char *const titles[] = {"IDENTITY", "STATE", "FIRST",       "LAST",
					     "BATCHES",  "HASH",  "FINGERPRINT", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (guint i = 0; i < books->len; i++) {
		const DnJournalBook *book = g_ptr_array_index(books, i);
		g_autofree char *fingerprint = dn_public_key_fingerprint(book->walk.key);
		g_autofree char *hash = dn_answer_short(book->walk.head.hash);
		g_autofree char *shown = dn_answer_short(fingerprint);

		dn_table_add(table, book->walk.identity);
		dn_table_add(table, verdict_name(book->verdict));
		dn_table_add_format(table, "%" G_GUINT64_FORMAT, book->walk.first);
		dn_table_add_format(table, "%" G_GUINT64_FORMAT, book->walk.head.seq);
		dn_table_add_format(table, "%" G_GUINT64_FORMAT, book->walk.batches);
		dn_table_add(table, hash);
		dn_table_add(table, shown);
	}
	dn_output_table(output, table, "journals");
}

/* Everything is printed before it ends: the findings are the result. */
static bool conclude(DnCall *call, const GPtrArray *books, const GPtrArray *findings,
		     unsigned compared, GError **error)
{
	if (call->json) {
		g_autoptr(JsonObject) document = to_json(books, findings, compared);
		dn_output_json(call->output, document);
	} else {
		show_books(call->output, books);
		for (guint i = 0; i < findings->len; i++)
			dn_output_finding(call->output, g_ptr_array_index(findings, i));
	}
	if (findings->len == 0) {
		if (!call->json)
			dn_output_line(call->output,
				       "whole; %u head%s that they keep of each other %s", compared,
				       compared == 1 ? "" : "s", compared == 1 ? "fits" : "fit");
		return true;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "%u finding%s; keep the journals as they are", findings->len,
		    findings->len == 1 ? "" : "s");
	return false;
}

static bool run_verify(DnCall *call, GError **error)
{
	g_autoptr(GPtrArray) directories = find_directories(call, error);
	/* What is kept of a journal is read before that journal: meanwhile it may have grown. */
	g_autoptr(GPtrArray) keepers = directories != NULL ? read_all(directories, error) : NULL;
	g_autoptr(GPtrArray) books = keepers != NULL ? read_all(directories, error) : NULL;
	g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(g_free);

	if (books == NULL || !judge_keys(call, books, findings, error))
		return false;
	judge_alone(books, findings);
	unsigned compared = judge_together(books, keepers, findings);
	return conclude(call, books, findings, compared, error);
}

const DnVerb dn_verb_journal_verify = {
	.noun = "journal",
	.verb = "verify",
	.operands = "[DIR...]",
	.most = OPERANDS_LIMIT,
	.help = "whether journals are whole and agree with each other",
	.more = "Needs no supervisor: name the journals of supervisor and hosts, or copies of "
		"them.\n"
		"Every hash and signature is checked; then each journal is compared with the "
		"heads\n"
		"that the others have kept of it, so that one whose end was cut off, or that was\n"
		"written anew, is named. Ends with 3 when anything is found.\n"
		"Without DIR: those of this machine.",
	.options = {{"keys", "DIR", "the journals' keys must be among DIR/*.pub"}},
	.run = run_verify,
};

/* ---- show ---- */

typedef struct {
	GQueue last; /* of JsonObject *, at most count */
	uint64_t count;
	const char *kind;
} Shown;

static void keep_entry(JsonObject *entry, void *data)
{
	Shown *shown = data;
	const char *kind = dn_answer_word(entry, "kind");

	if (shown->kind != NULL && !g_str_equal(kind, shown->kind) &&
	    !(g_str_has_prefix(kind, shown->kind) && kind[strlen(shown->kind)] == '.'))
		return;
	g_queue_push_tail(&shown->last, json_object_ref(entry));
	if (shown->last.length > shown->count)
		json_object_unref(g_queue_pop_head(&shown->last));
}

static void print_entry(DnOutput *output, JsonObject *entry)
{
	g_autoptr(GList) names = json_object_get_members(entry);
	g_autoptr(GString) rest = g_string_new(NULL);

	for (GList *i = names; i != NULL; i = i->next) {
		const char *name = i->data;
		const char *text = dn_answer_text(entry, name);

		if (g_str_equal(name, "seq") || g_str_equal(name, "time") ||
		    g_str_equal(name, "kind"))
			continue;
		if (text != NULL)
			g_string_append_printf(rest, " %s=%s", name, text);
		else {
			g_autofree char *value =
				json_to_string(json_object_get_member(entry, name), FALSE);
			g_string_append_printf(rest, " %s=%s", name, value);
		}
	}
	dn_output_line(output, "%s %6" G_GINT64_FORMAT " %s%s", dn_answer_word(entry, "time"),
		       dn_answer_number(entry, "seq", 0), dn_answer_word(entry, "kind"), rest->str);
}

static void print_entries(DnCall *call, GQueue *entries)
{
	JsonArray *array = json_array_new();

	for (GList *i = entries->head; i != NULL; i = i->next) {
		if (call->json)
			json_array_add_object_element(array, json_object_ref(i->data));
		else
			print_entry(call->output, i->data);
	}
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();

		json_object_set_array_member(document, "entries", g_steal_pointer(&array));
		dn_output_json(call->output, document);
	}
	g_clear_pointer(&array, json_array_unref);
}

static bool run_show(DnCall *call, GError **error)
{
	const char *wanted = dn_call_option(call, "n");
	Shown shown = {.last = G_QUEUE_INIT, .kind = dn_call_option(call, "kind")};
	DnJournalReader reader = {.entry = keep_entry, .data = &shown};

	if (!dn_text_parse_u64(wanted != NULL ? wanted : DEFAULT_COUNT, COUNT_LIMIT,
			       &shown.count)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "-n %s: a number up to %d", wanted,
			    COUNT_LIMIT);
		return false;
	}
	g_autoptr(GPtrArray) directories = find_directories(call, error);
	if (directories == NULL)
		return false;
	g_autoptr(DnJournalBook) book =
		dn_journal_book_read(g_ptr_array_index(directories, 0), &reader, error);
	if (book != NULL)
		print_entries(call, &shown.last);
	g_queue_foreach(&shown.last, (GFunc)(void (*)(void))json_object_unref, NULL);
	g_queue_clear(&shown.last);
	if (book == NULL || book->verdict != DN_JOURNAL_BROKEN)
		return book != NULL;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s; nothing from there on is shown",
		    book->why);
	return false;
}

const DnVerb dn_verb_journal_show = {
	.noun = "journal",
	.verb = "show",
	.operands = "[DIR|FILE]",
	.most = 1,
	.help = "the last decisions in a journal",
	.more = "Reads the files, not the supervisor, and shows only what is signed. Without an\n"
		"operand: the supervisor's journal of this machine, else its agent's.",
	.options = {{"n", "COUNT", "show this many last entries (" DEFAULT_COUNT ")"},
		    {"kind", "KIND", "only this kind, or those below it: order, order.sent"}},
	.run = run_show,
};
