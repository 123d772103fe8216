/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/text.h"

#include <string.h>

/* What is left of a line. */
typedef struct {
	const char *at, *end;
} Rest;

/* Digits of @base, at least one, that fit 64 bits. */
static bool take_number(Rest *rest, unsigned base, uint64_t *value)
{
	const char *begin = rest->at;

	*value = 0;
	for (; rest->at < rest->end; rest->at++) {
		int digit = g_ascii_xdigit_value(*rest->at);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		if (*value > (UINT64_MAX - (unsigned)digit) / base)
			return false;
		*value = *value * base + (unsigned)digit;
	}
	return rest->at > begin;
}

static bool take_char(Rest *rest, char c)
{
	if (rest->at == rest->end || *rest->at != c)
		return false;
	rest->at++;
	return true;
}

static void skip_blanks(Rest *rest)
{
	while (rest->at < rest->end && (*rest->at == ' ' || *rest->at == '\t'))
		rest->at++;
}

static void take_text(const Rest *rest, char *text, size_t size)
{
	size_t length = MIN((size_t)(rest->end - rest->at), size - 1);

	memcpy(text, rest->at, length);
	text[length] = '\0';
}

static bool take_permissions(Rest *rest, DnMapping *mapping)
{
	const char *at = rest->at;

	if (rest->end - at < 4 || strchr("r-", at[0]) == NULL || strchr("w-", at[1]) == NULL ||
	    strchr("x-", at[2]) == NULL || strchr("ps", at[3]) == NULL ||
	    memchr(at, '\0', 4) != NULL)
		return false;
	mapping->writable = at[1] == 'w';
	mapping->executable = at[2] == 'x';
	mapping->shared = at[3] == 's';
	rest->at += 4;
	return true;
}

bool dn_mapping_parse(const char *line, size_t length, DnMapping *mapping)
{
	Rest rest = {line, line + length};
	uint64_t major = 0, minor = 0;

	if (!take_number(&rest, 16, &mapping->start) || !take_char(&rest, '-') ||
	    !take_number(&rest, 16, &mapping->end) || !take_char(&rest, ' ') ||
	    !take_permissions(&rest, mapping) || !take_char(&rest, ' ') ||
	    !take_number(&rest, 16, &mapping->offset) || !take_char(&rest, ' ') ||
	    !take_number(&rest, 16, &major) || !take_char(&rest, ':') ||
	    !take_number(&rest, 16, &minor) || !take_char(&rest, ' ') ||
	    !take_number(&rest, 10, &mapping->ino))
		return false;
	if (mapping->start >= mapping->end || major >= 1 << 12 || minor >= 1 << 20)
		return false;
	mapping->dev = major << 20 | minor;
	skip_blanks(&rest);
	take_text(&rest, mapping->name, sizeof(mapping->name));
	return true;
}

bool dn_mapping_is_data(const char *line, size_t length)
{
	enum { EXECUTABLE = 3, PERMISSIONS = 4 };
	const char *blank = memchr(line, ' ', length);

	return blank != NULL && line + length - blank > PERMISSIONS && blank[EXECUTABLE] == '-';
}

bool dn_mapping_is_kernel(const DnMapping *mapping)
{
	static const char *const names[] = {"[vdso]", "[vsyscall]", "[uprobes]", NULL};

	/* A file's path begins with a slash or tells its file system: no node can choose these. */
	return mapping->dev == 0 && mapping->ino == 0 && g_strv_contains(names, mapping->name);
}

typedef enum {
	LINE_NAME,
	LINE_STATE,
	LINE_TRACER,
	LINE_UID,
	LINE_GID,
	LINE_THREADS,
	LINE_CAP_INH,
	LINE_CAP_PRM,
	LINE_CAP_EFF,
	LINE_CAP_BND,
	LINE_CAP_AMB,
	LINE_NO_NEW_PRIVS,
	LINE_SECCOMP,
	N_LINES
} StatusLine;

static const char *const status_keys[] = {
	[LINE_NAME] = "Name:\t",        [LINE_STATE] = "State:\t",
	[LINE_TRACER] = "TracerPid:\t", [LINE_UID] = "Uid:\t",
	[LINE_GID] = "Gid:\t",          [LINE_THREADS] = "Threads:\t",
	[LINE_CAP_INH] = "CapInh:\t",   [LINE_CAP_PRM] = "CapPrm:\t",
	[LINE_CAP_EFF] = "CapEff:\t",   [LINE_CAP_BND] = "CapBnd:\t",
	[LINE_CAP_AMB] = "CapAmb:\t",   [LINE_NO_NEW_PRIVS] = "NoNewPrivs:\t",
	[LINE_SECCOMP] = "Seccomp:\t",
};
_Static_assert(G_N_ELEMENTS(status_keys) == N_LINES, "every line needs its key");

static bool take_u32(Rest *rest, uint32_t *value)
{
	uint64_t wide = 0;

	if (!take_number(rest, 10, &wide) || wide > UINT32_MAX)
		return false;
	*value = (uint32_t)wide;
	return true;
}

static bool take_four(Rest *rest, uint32_t values[4])
{
	for (int i = 0; i < 4; i++)
		if ((i > 0 && !take_char(rest, '\t')) || !take_u32(rest, &values[i]))
			return false;
	return true;
}

static bool take_value(DnStatus *status, StatusLine which, Rest *rest)
{
	switch (which) {
	case LINE_NAME:
		take_text(rest, status->name, sizeof(status->name));
		return true;
	case LINE_STATE:
		if (rest->at == rest->end || !g_ascii_isalpha(*rest->at))
			return false;
		status->state = *rest->at;
		return true;
	case LINE_TRACER:
		return take_u32(rest, &status->tracer) && rest->at == rest->end;
	case LINE_UID:
		return take_four(rest, status->uid) && rest->at == rest->end;
	case LINE_GID:
		return take_four(rest, status->gid) && rest->at == rest->end;
	case LINE_THREADS:
		return take_u32(rest, &status->threads) && rest->at == rest->end;
	case LINE_CAP_INH:
	case LINE_CAP_PRM:
	case LINE_CAP_EFF:
	case LINE_CAP_BND:
	case LINE_CAP_AMB:
		return take_number(rest, 16, &status->capabilities[which - LINE_CAP_INH]) &&
		       rest->at == rest->end;
	case LINE_NO_NEW_PRIVS:
		return take_u32(rest, &status->no_new_privs) && rest->at == rest->end;
	case LINE_SECCOMP:
		return take_u32(rest, &status->seccomp) && rest->at == rest->end;
	case N_LINES:
		break;
	}
	return false;
}

bool dn_status_take(DnStatus *status, const char *line, size_t length)
{
	for (unsigned i = 0; i < N_LINES; i++) {
		size_t key = strlen(status_keys[i]);
		Rest rest = {line + key, line + length};

		if (length < key || memcmp(line, status_keys[i], key) != 0)
			continue;
		if (status->seen & 1u << i || !take_value(status, (StatusLine)i, &rest))
			return false;
		status->seen |= 1u << i;
		return true;
	}
	return true;
}

bool dn_status_is_whole(const DnStatus *status)
{
	return status->seen == (1u << N_LINES) - 1;
}

static bool take_word(Rest *rest, Rest *word)
{
	const char *blank = memchr(rest->at, ' ', (size_t)(rest->end - rest->at));

	if (rest->at == rest->end)
		return false;
	*word = (Rest){rest->at, blank != NULL ? blank : rest->end};
	rest->at = blank != NULL ? blank + 1 : rest->end;
	return word->end > word->at;
}

static void feed(GChecksum *digest, const Rest *word)
{
	g_checksum_update(digest, (const guchar *)word->at, word->end - word->at);
	g_checksum_update(digest, (const guchar *)" ", 1);
}

void dn_mount_line_digest(GChecksum *digest, const char *line, size_t length)
{
	enum { FIXED = 6, ROOT = 3, POINT = 4, TAIL = 2 };
	static const char unlinked[] = "//deleted";
	const size_t mark = sizeof(unlinked) - 1;
	Rest rest = {line, line + length}, word, words[FIXED + TAIL];
	unsigned n = 0;

	while (n < FIXED && take_word(&rest, &words[n]))
		n++;
	while (n == FIXED && take_word(&rest, &word))
		if (word.end - word.at == 1 && *word.at == '-')
			break;
	while (n >= FIXED && n < FIXED + TAIL && take_word(&rest, &words[n]))
		n++;
	if (n < FIXED + TAIL) {
		g_checksum_update(digest, (const guchar *)line, (gssize)length);
	} else {
		Rest *root = &words[ROOT];
		const Rest *point = &words[POINT];

		if (point->end - point->at == 1 && *point->at == '/')
			root->end = root->at;
		else if ((size_t)(root->end - root->at) > mark &&
			 memcmp(root->end - mark, unlinked, mark) == 0)
			root->end -= mark;
		for (unsigned i = 0; i < n; i++)
			feed(digest, &words[i]);
	}
	g_checksum_update(digest, (const guchar *)"\n", 1);
}

bool dn_cgroup_line_is_below(const char *line, size_t length, const char *path)
{
	static const char v2[] = "0::";
	const size_t head = sizeof(v2) - 1, size = strlen(path);

	if (length < head + size || memcmp(line, v2, head) != 0 ||
	    memcmp(line + head, path, size) != 0)
		return false;
	return length == head + size || line[head + size] == '/';
}

bool dn_namespace_parse(const char *link, size_t length, const char *kind, uint64_t *ino)
{
	size_t head = strlen(kind);
	Rest rest = {link + head, link + length};

	return length > head && memcmp(link, kind, head) == 0 && take_char(&rest, ':') &&
	       take_char(&rest, '[') && take_number(&rest, 10, ino) && take_char(&rest, ']') &&
	       rest.at == rest.end;
}

#define PAGE_PRESENT (UINT64_C(1) << 63)
#define PAGE_SWAPPED (UINT64_C(1) << 62)
#define PAGE_OF_FILE (UINT64_C(1) << 61)
#define PAGE_GUARD (UINT64_C(1) << 58)

bool dn_page_is_copied(uint64_t word)
{
	return word & (PAGE_PRESENT | PAGE_SWAPPED) && !(word & (PAGE_OF_FILE | PAGE_GUARD));
}

bool dn_page_is_of_file(uint64_t word)
{
	return word & PAGE_PRESENT && word & PAGE_OF_FILE;
}
