/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/grammar.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

enum { REF_LIMIT = 128, PATH_LIMIT = 1024, PART_LIMIT = 255 };

typedef struct {
	const char *name;
	uint64_t worth;
} Unit;

/* Largest first: printing takes the first that divides. */
static const Unit durations[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const Unit sizes[] = {
	{"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
	{"KiB", 1 << 10},           {"B", 1},         {NULL, 0},
};

static const struct {
	const char *name;
	int number;
} signals[] = {
	{"TERM", SIGTERM}, {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"HUP", SIGHUP},
	{"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}, {"KILL", SIGKILL},
};

/* NUMBER UNIT, where the product fits. */
static bool parse_quantity(const char *text, const Unit *units, uint64_t *value)
{
	size_t digits = strspn(text, "0123456789");
	g_autofree char *number = g_strndup(text, digits);
	uint64_t count = 0;

	for (; units->name != NULL; units++)
		if (g_str_equal(text + digits, units->name))
			break;
	if (units->name == NULL || !dn_text_parse_u64(number, UINT64_MAX / units->worth, &count))
		return false;
	*value = count * units->worth;
	return true;
}

static char *print_quantity(uint64_t value, const Unit *units, const char *zero)
{
	if (value == 0)
		return g_strdup(zero);
	while (value % units->worth != 0)
		units++;
	return g_strdup_printf("%" G_GUINT64_FORMAT "%s", value / units->worth, units->name);
}

bool dn_grammar_duration(const char *text, uint64_t *ms)
{
	return parse_quantity(text, durations, ms);
}

char *dn_grammar_print_duration(uint64_t ms)
{
	return print_quantity(ms, durations, "0s");
}

bool dn_grammar_size(const char *text, uint64_t *bytes)
{
	if (!g_str_equal(text, "0"))
		return parse_quantity(text, sizes, bytes);
	*bytes = 0;
	return true;
}

char *dn_grammar_print_size(uint64_t bytes)
{
	return print_quantity(bytes, sizes, "0");
}

bool dn_grammar_cpu(const char *text, uint64_t *milli)
{
	g_auto(GStrv) parts = g_strsplit(text, ".", 2);
	uint64_t whole = 0, rest = 0;

	if (parts[0] == NULL || !dn_text_parse_u64(parts[0], 1000000, &whole))
		return false;
	if (parts[1] != NULL) {
		size_t digits = strlen(parts[1]);

		if (digits > 3 || !dn_text_parse_u64(parts[1], 999, &rest))
			return false;
		for (; digits < 3; digits++)
			rest *= 10;
	}
	*milli = whole * 1000 + rest;
	return true;
}

char *dn_grammar_print_cpu(uint64_t milli)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT ".%03u", milli / 1000,
						(unsigned)(milli % 1000));
	size_t length = strlen(text);

	while (text[length - 1] == '0')
		length--;
	if (text[length - 1] == '.')
		length--;
	return g_strndup(text, length);
}

bool dn_grammar_time(const char *text, uint64_t *realtime_ns)
{
	/* dn_clock_parse() knows more of ISO 8601, week dates and times without seconds. */
	if (!g_regex_match_simple("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
				  "(\\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
				  text, G_REGEX_DOLLAR_ENDONLY, 0))
		return false;
	return dn_clock_parse(text, realtime_ns);
}

bool dn_grammar_signal(const char *text, int *number)
{
	if (g_str_has_prefix(text, "SIG"))
		text += strlen("SIG");
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		if (g_str_equal(signals[i].name, text)) {
			*number = signals[i].number;
			return true;
		}
	return false;
}

const char *dn_grammar_print_signal(int number)
{
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		if (signals[i].number == number)
			return signals[i].name;
	return NULL;
}

bool dn_grammar_is_ref(const char *text)
{
	bool first = true;

	if (strlen(text) > REF_LIMIT)
		return false;
	for (; *text != '\0'; text++) {
		bool word = g_ascii_islower(*text) || g_ascii_isdigit(*text);

		if (first ? !word : !word && strchr("._-/", *text) == NULL)
			return false;
		first = *text == '/';
	}
	return !first;
}

/* NAME {/ NAME} */
static bool is_plain(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, "/", -1);

	if (strlen(text) > PATH_LIMIT || !g_utf8_validate(text, -1, NULL))
		return false;
	for (char **part = parts; *part != NULL; part++) {
		if (**part == '\0' || g_str_equal(*part, ".") || g_str_equal(*part, "..") ||
		    strlen(*part) > PART_LIMIT)
			return false;
		for (const char *c = *part; *c != '\0'; c = g_utf8_next_char(c))
			if (g_unichar_iscntrl(g_utf8_get_char(c)))
				return false;
	}
	return parts[0] != NULL;
}

bool dn_grammar_is_path(const char *text)
{
	return text[0] == '/' && (text[1] == '\0' || is_plain(text + 1));
}

bool dn_grammar_is_relative(const char *text)
{
	return text[0] != '-' && is_plain(text);
}

bool dn_grammar_is_url_path(const char *text)
{
	if (text[0] != '/' || strlen(text) > PATH_LIMIT)
		return false;
	for (; *text != '\0'; text++)
		if (!g_ascii_isgraph(*text) || *text == '#')
			return false;
	return true;
}

bool dn_grammar_is_below(const char *path, const char *parent)
{
	size_t length = g_str_equal(parent, "/") ? 0 : strlen(parent);

	return strncmp(path, parent, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool dn_grammar_is_variable(const char *text)
{
	if (!g_ascii_isalpha(text[0]) && text[0] != '_')
		return false;
	for (; *text != '\0'; text++)
		if (!g_ascii_isalnum(*text) && *text != '_')
			return false;
	return true;
}

/* Whether every reader of YAML takes @text for the same text when it stands without quotes. */
static bool is_plain_text(const char *text)
{
	static const char *const words[] = {"null", "true", "false", "yes", "no",
					    "on",   "off",  "y",     "n",   NULL};
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._/+@-";
	g_autofree char *lower = g_ascii_strdown(text, -1);
	size_t dashes = MIN(strspn(text, "-"), 2);
	bool starts = g_ascii_isalpha(text[dashes]) ||
		      (dashes == 0 && (g_ascii_isdigit(text[0]) || text[0] == '/'));

	return starts && text[strspn(text, plain)] == '\0' &&
	       text[strspn(text, "0123456789.+-eE")] != '\0' && !g_strv_contains(words, lower);
}

char *dn_grammar_print_text(const char *text)
{
	if (is_plain_text(text))
		return g_strdup(text);
	GString *quoted = g_string_new("\"");
	for (; *text != '\0'; text = g_utf8_next_char(text)) {
		gunichar c = g_utf8_get_char(text);

		if (c == '"' || c == '\\')
			g_string_append_c(quoted, '\\');
		if (c > 0xffff && !g_unichar_isprint(c))
			g_string_append_printf(quoted, "\\U%08X", c);
		else if (c != ' ' && !g_unichar_isprint(c))
			g_string_append_printf(quoted, "\\u%04X", c);
		else
			g_string_append_unichar(quoted, c);
	}
	g_string_append_c(quoted, '"');
	return g_string_free(quoted, FALSE);
}
