/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/chain.h"

#include <string.h>

#include "base/text.h"
#include "seal/digest.h"

#define OPENING_START "{\"journal\":\"dnode/v1\",\"identity\":\""
#define BATCH_START "{\"batch\":"

enum { SIGNATURE_DIGITS = 2 * DN_SIGNATURE_BYTES, NUMBER_DIGITS = 20 };

const DnJournalHead dn_journal_beginning = {
	.hash = "0000000000000000000000000000000000000000000000000000000000000000"};

bool dn_journal_is_identity(const char *word)
{
	size_t length = strlen(word);

	return length > 0 && length <= DN_JOURNAL_IDENTITY_LIMIT &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-/") == length;
}

/* ---- writing ---- */

static void append_hex(GString *to, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		g_string_append_printf(to, "%02x", bytes[i]);
}

void dn_journal_print_opening(GString *to, const char *identity,
			      const uint8_t key[static DN_PUBLIC_KEY_BYTES], uint64_t segment,
			      const DnJournalHead *before)
{
	g_string_append_printf(to, OPENING_START "%s\",\"key\":\"", identity);
	append_hex(to, key, DN_PUBLIC_KEY_BYTES);
	g_string_append_printf(to,
			       "\",\"segment\":%" G_GUINT64_FORMAT ",\"first\":%" G_GUINT64_FORMAT
			       ",\"previous\":\"%s\"}\n",
			       segment, before->seq + 1, before->hash);
}

static void hash_batch(const char *previous, const char *lines, size_t size,
		       char hash[static DN_JOURNAL_HASH_DIGITS + 1])
{
	g_autoptr(DnDigest) digest = dn_digest_new();
	uint8_t bytes[DN_DIGEST_BYTES];

	dn_digest_add(digest, previous, DN_JOURNAL_HASH_DIGITS);
	dn_digest_add(digest, "\n", 1);
	dn_digest_add(digest, lines, size);
	dn_digest_finish(digest, bytes);
	g_autofree char *text = dn_digest_text(bytes);
	memcpy(hash, text, DN_JOURNAL_HASH_DIGITS + 1);
}

/* What is signed. */
static char *statement(const char *identity, const DnJournalHead *head)
{
	return g_strdup_printf("dnode journal v1\n%s %" G_GUINT64_FORMAT " %s\n", identity,
			       head->seq, head->hash);
}

static void print_batch_line(GString *to, const DnJournalHead *head,
			     const uint8_t signature[static DN_SIGNATURE_BYTES])
{
	g_string_append_printf(to,
			       BATCH_START "%" G_GUINT64_FORMAT ",\"hash\":\"%s\",\"signature\":\"",
			       head->seq, head->hash);
	append_hex(to, signature, DN_SIGNATURE_BYTES);
	g_string_append(to, "\"}\n");
}

void dn_journal_seal(GString *lines, const char *identity, const DnSecretKey *key, uint64_t seq,
		     DnJournalHead *head)
{
	uint8_t signature[DN_SIGNATURE_BYTES];
	DnJournalHead next = {.seq = seq};

	hash_batch(head->hash, lines->str, lines->len, next.hash);
	g_autofree char *signed_text = statement(identity, &next);
	dn_secret_key_sign(key, signed_text, strlen(signed_text), signature);
	print_batch_line(lines, &next, signature);
	*head = next;
}

/* ---- reading lines of our own form ---- */

/* Take @word off the front of *@at. */
static bool eat(const char **at, const char *end, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(end - *at) < length || memcmp(*at, word, length) != 0)
		return false;
	*at += length;
	return true;
}

static bool eat_number(const char **at, const char *end, uint64_t *value)
{
	char digits[NUMBER_DIGITS + 1] = "";
	size_t n = 0;

	while (*at < end && g_ascii_isdigit(**at) && n < NUMBER_DIGITS)
		digits[n++] = *(*at)++;
	return dn_text_parse_u64(digits, G_MAXINT64, value);
}

static bool eat_hex(const char **at, const char *end, uint8_t *bytes, size_t size)
{
	if ((size_t)(end - *at) < 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = g_ascii_xdigit_value((*at)[2 * i]);
		int low = g_ascii_xdigit_value((*at)[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	*at += 2 * size;
	return true;
}

static bool eat_hash(const char **at, const char *end, char hash[static DN_JOURNAL_HASH_DIGITS + 1])
{
	uint8_t bytes[DN_DIGEST_BYTES];

	if (!eat_hex(at, end, bytes, sizeof(bytes)))
		return false;
	g_autofree char *text = dn_digest_text(bytes);
	memcpy(hash, text, DN_JOURNAL_HASH_DIGITS + 1);
	return true;
}

typedef struct {
	char identity[DN_JOURNAL_IDENTITY_LIMIT + 1];
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	uint64_t segment;
	DnJournalHead before;
} Opening;

static bool is_exactly(const GString *expected, const char *line, size_t length)
{
	return expected->len == length && memcmp(expected->str, line, length) == 0;
}

/* @line with its line feed. */
static bool read_opening(const char *line, size_t length, Opening *opening)
{
	const char *at = line, *end = line + length;
	uint64_t first = 0;

	if (!eat(&at, end, OPENING_START))
		return false;
	const char *quote = memchr(at, '"', (size_t)(end - at));
	if (quote == NULL || quote - at > DN_JOURNAL_IDENTITY_LIMIT)
		return false;
	memcpy(opening->identity, at, (size_t)(quote - at));
	opening->identity[quote - at] = '\0';
	at = quote;
	if (!dn_journal_is_identity(opening->identity) || !eat(&at, end, "\",\"key\":\"") ||
	    !eat_hex(&at, end, opening->key, sizeof(opening->key)) ||
	    !eat(&at, end, "\",\"segment\":") || !eat_number(&at, end, &opening->segment) ||
	    !eat(&at, end, ",\"first\":") || !eat_number(&at, end, &first) || first == 0 ||
	    !eat(&at, end, ",\"previous\":\"") || !eat_hash(&at, end, opening->before.hash))
		return false;
	opening->before.seq = first - 1;
	g_autoptr(GString) expected = g_string_new(NULL);
	dn_journal_print_opening(expected, opening->identity, opening->key, opening->segment,
				 &opening->before);
	return opening->segment > 0 && is_exactly(expected, line, length);
}

static bool read_batch_line(const char *line, size_t length, DnJournalHead *head,
			    uint8_t signature[static DN_SIGNATURE_BYTES])
{
	const char *at = line, *end = line + length;

	if (!eat(&at, end, BATCH_START) || !eat_number(&at, end, &head->seq) ||
	    !eat(&at, end, ",\"hash\":\"") || !eat_hash(&at, end, head->hash) ||
	    !eat(&at, end, "\",\"signature\":\"") ||
	    !eat_hex(&at, end, signature, DN_SIGNATURE_BYTES))
		return false;
	g_autoptr(GString) expected = g_string_new(NULL);
	print_batch_line(expected, head, signature);
	return is_exactly(expected, line, length);
}

/* ---- the walk ---- */

/* One segment in memory, and how far it has been read. */
typedef struct {
	const char *data, *end;
	const char *batch; /* where the batch that is being read begins */
	const char *entry; /* its first entry line */
	const char *at;
	char *why;
} Reading;

static bool wrong(Reading *reading, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool wrong(Reading *reading, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_free(reading->why);
	reading->why =
		g_strdup_printf("at byte %zu: %s", (size_t)(reading->at - reading->data), text);
	return false;
}

/* The length of the line at @at with its line feed; 0 when it does not end in time. */
static size_t line_length(const char *at, const char *end)
{
	size_t limit = MIN((size_t)(end - at), (size_t)DN_JOURNAL_LINE_LIMIT);
	const char *feed = memchr(at, '\n', limit);

	return feed == NULL ? 0 : (size_t)(feed - at) + 1;
}

static bool take_opening(DnJournalWalk *walk, Reading *reading)
{
	Opening opening = {0};
	size_t length = line_length(reading->at, reading->end);

	if (!read_opening(reading->at, length, &opening))
		return wrong(reading, "this is not the opening line of a segment");
	if (walk->segment != 0) {
		if (!g_str_equal(opening.identity, walk->identity) ||
		    memcmp(opening.key, walk->key, sizeof(opening.key)) != 0)
			return wrong(reading, "the segment is of another identity or key");
		if (opening.segment != walk->segment + 1 || opening.before.seq != walk->head.seq ||
		    !g_str_equal(opening.before.hash, walk->head.hash))
			return wrong(reading,
				     "the segment does not go on where the one before ended");
	} else {
		memcpy(walk->identity, opening.identity, sizeof(walk->identity));
		memcpy(walk->key, opening.key, sizeof(walk->key));
		walk->first = opening.before.seq + 1;
		walk->head = opening.before;
	}
	walk->segment = opening.segment;
	reading->at += length;
	return true;
}

/* The number an entry line begins with, 0 when it is no entry line. */
static uint64_t entry_number(const char *line, size_t length)
{
	const char *at = line, *end = line + length;
	uint64_t seq = 0;
	char expected[NUMBER_DIGITS + 16];

	if (!eat(&at, end, "{\"seq\":") || !eat_number(&at, end, &seq) ||
	    !eat(&at, end, ",\"time\":\"") || length < 2 || end[-2] != '}')
		return 0;
	g_snprintf(expected, sizeof(expected), "{\"seq\":%" G_GUINT64_FORMAT ",", seq);
	return strncmp(line, expected, strlen(expected)) == 0 ? seq : 0;
}

static void show_entries(const DnJournalWalk *walk, const Reading *reading,
			 const DnJournalVisitor *visitor, void *user)
{
	uint64_t seq = walk->head.seq;
	size_t length = 0;

	for (const char *at = reading->entry; at < reading->at; at += length) {
		length = line_length(at, reading->at);
		visitor->entry(++seq, at, length - 1, user);
	}
}

/* The batch line at @reading->at, after entries up to @seq. */
static bool take_batch_line(DnJournalWalk *walk, Reading *reading, size_t length, uint64_t seq,
			    DnJournalHead *head)
{
	uint8_t signature[DN_SIGNATURE_BYTES];
	char hash[DN_JOURNAL_HASH_DIGITS + 1];

	if (!read_batch_line(reading->at, length, head, signature))
		return wrong(reading, "this is neither an entry nor a batch line");
	if (head->seq != seq || seq == walk->head.seq)
		return wrong(reading,
			     "the batch ends at entry %" G_GUINT64_FORMAT
			     ", the line says %" G_GUINT64_FORMAT,
			     seq, head->seq);
	hash_batch(walk->head.hash, reading->batch, (size_t)(reading->at - reading->batch), hash);
	if (!g_str_equal(hash, head->hash))
		return wrong(reading,
			     "the hash does not fit entries %" G_GUINT64_FORMAT
			     " to %" G_GUINT64_FORMAT,
			     walk->head.seq + 1, seq);
	g_autofree char *signed_text = statement(walk->identity, head);
	if (!dn_public_key_has_signed(walk->key, signed_text, strlen(signed_text), signature))
		return wrong(reading, "the signature is not of the journal's key");
	return true;
}

static bool take_batch(DnJournalWalk *walk, Reading *reading, const DnJournalVisitor *visitor,
		       void *user)
{
	uint64_t seq = walk->head.seq, found = 0;
	DnJournalHead head;
	size_t length = 0;

	for (;;) {
		length = line_length(reading->at, reading->end);
		if (length == 0)
			return wrong(reading, "the line has no end");
		found = entry_number(reading->at, length);
		if (found == 0)
			break;
		if (found != seq + 1)
			return wrong(reading,
				     "entry %" G_GUINT64_FORMAT " follows entry %" G_GUINT64_FORMAT,
				     found, seq);
		seq = found;
		reading->at += length;
	}
	if (!take_batch_line(walk, reading, length, seq, &head))
		return false;
	if (visitor != NULL && visitor->entry != NULL)
		show_entries(walk, reading, visitor, user);
	if (visitor != NULL && visitor->batch != NULL)
		visitor->batch(&head, user);
	reading->at += length;
	walk->head = head;
	walk->batches++;
	walk->good = (size_t)(reading->at - reading->data);
	return true;
}

/*
 * Can what follows the last whole batch be one whose writing was interrupted? Its pages may have
 * reached the disk in any order, so its content tells nothing; but nothing was ever written after
 * it: a second batch line, or a line that is no batch line after one, proves a change.
 */
static bool may_be_torn(const Reading *reading)
{
	const char *tail = reading->batch, *end = reading->end;

	if (tail == end || end - tail > DN_JOURNAL_BATCH_LIMIT)
		return tail == end;
	const char *line =
		memmem(tail, (size_t)(end - tail), "\n" BATCH_START, strlen("\n" BATCH_START));
	if (line == NULL)
		return true;
	const char *feed = memchr(line + 1, '\n', (size_t)(end - line - 1));
	return feed == NULL || feed + 1 == end;
}

DnJournalVerdict dn_journal_walk(DnJournalWalk *walk, const char *data, size_t size,
				 const DnJournalVisitor *visitor, void *user, char **why)
{
	DnJournalWalk before = *walk;
	Reading reading = {.data = data, .end = data + size, .batch = data, .at = data};
	bool whole = true;

	walk->good = 0;
	if (size > DN_JOURNAL_SEGMENT_LIMIT)
		whole = wrong(&reading, "the segment is larger than %d bytes",
			      DN_JOURNAL_SEGMENT_LIMIT);
	else if (size == 0)
		whole = wrong(&reading, "the segment is empty");
	else if (!take_opening(walk, &reading)) {
		whole = false;
		*walk = before;
		walk->good = 0;
	}
	while (whole && reading.at < reading.end) {
		reading.entry = reading.at;
		whole = take_batch(walk, &reading, visitor, user);
		if (whole)
			reading.batch = reading.at;
	}
	if (whole && walk->good == 0)
		whole = wrong(&reading, "the segment has no batch");
	if (whole)
		return DN_JOURNAL_WHOLE;
	*why = g_steal_pointer(&reading.why);
	return size <= DN_JOURNAL_SEGMENT_LIMIT && may_be_torn(&reading) ? DN_JOURNAL_TORN
									 : DN_JOURNAL_BROKEN;
}
