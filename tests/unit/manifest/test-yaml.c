/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "manifest/yaml.h"

TestSuite(yaml, .fini = dn_suite_end);

/* What the loader says of @length bytes, or "" when it takes them. */
static char *fault_of(const void *text, size_t length)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, length);
	g_autoptr(DnFaults) faults = dn_faults_new("f");
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);
	g_autoptr(GError) error = NULL;

	if (dn_faults_raise(faults, &error)) {
		cr_assert(root != NULL);
		return g_strdup("");
	}
	return g_strdup(error->message);
}

static void says(const char *text, const char *wanted)
{
	g_autofree char *said = fault_of(text, strlen(text));

	cr_assert_str_eq(said, wanted);
}

Test(yaml, every_node_knows_its_place_in_characters_and_in_bytes)
{
	static const char text[] = "# ü\nä: {b: [x, \"é\"]}\n";
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(DnFaults) faults = dn_faults_new("f");
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);
	const DnYamlNode *list = dn_yaml_get(dn_yaml_get(root, "ä"), "b");
	const DnYamlNode *last = g_ptr_array_index(list->items, 1);

	cr_assert(eq(u32, last->at.line, 2));
	cr_assert(eq(u32, last->at.column, 12));
	cr_assert(zero(int, strncmp(text + last->begin, "\"é\"", last->end - last->begin)));
	cr_assert_str_eq(last->text, "é");
	cr_assert(zero(int, strncmp(text + list->begin, "[x, \"é\"]", list->end - list->begin)));
}

Test(yaml, what_makes_a_text_ambiguous_is_refused_with_its_place)
{
	says("a: &x 1\nb: *x\n", "f:1:4: anchors (&) are not allowed; write the value out\n"
				 "f:2:4: aliases (*) are not allowed; write the value out");
	says("a: !!str 1\n", "f:1:4: tags (!) are not allowed; the schema knows every type");
	says("a: ! 1\n", "f:1:4: tags (!) are not allowed; the schema knows every type");
	says("a: !x {}\nb: !y []\n",
	     "f:1:4: tags (!) are not allowed; the schema knows every type\n"
	     "f:2:4: tags (!) are not allowed; the schema knows every type");
	says("%YAML 1.1\n---\na: 1\n", "f:1:1: directives (%) are not allowed");
	says("a: 1\n---\nb: 1\n", "f:2:1: a second document begins here; one file holds one");
	says("a: 1\nb: 2\na: 3\n", "f:3:1: key \"a\" stands here twice");
	says("a: 1\n\"\\x61\": 2\n", "f:2:1: key \"a\" stands here twice");
	says("[a]: 1\n", "f:1:1: a key must be a word");
}

Test(yaml, characters_that_hide_something_are_refused_with_their_place)
{
	says("a:\n\tb: 1\n", "f:2:1: U+0009: tab; write blanks instead, or \\t in double quotes");
	says("a: 1\r\n", "f:1:5: U+000D: carriage return; end lines with a line feed only");
	says("a: \033[2J\n", "f:1:4: U+001B: control character");
	says("\xef\xbb\xbf"
	     "a: 1\n",
	     "f:1:1: U+FEFF: invisible character that can make the text read otherwise than it is");
	says("a: 1 # \xe2\x80\xae\n",
	     "f:1:8: U+202E: invisible character that can make the text read otherwise than it is");
	says("ü: \xff\n", "f:1:4: byte \\xff is not UTF-8");
	says("a: \xed\xa0\x80\n", "f:1:4: byte \\xed is not UTF-8");

	g_autofree char *nul = fault_of("a: b\0c\n", 7);
	cr_assert_str_eq(nul, "f:1:5: NUL byte");
	g_autofree char *wide = fault_of("\xff\xfe"
					 "a\0:\0",
					 6);
	cr_assert_str_eq(wide, "f:1:1: byte \\xff is not UTF-8");
}

Test(yaml, an_escape_cannot_bring_in_what_the_file_may_not_hold)
{
	says("a: \"b\\0c\"\n", "f:1:4: an escape makes a NUL or invalid text");
	says("a: \"b\\tc\\n\"\n", "");
}

Test(yaml, a_file_that_is_no_yaml_says_where)
{
	says("a: [1, 2\nb: 3\n",
	     "f:2:2: did not find expected ',' or ']' while parsing a flow sequence");
	says("a: 'x\n", "f:2:1: found unexpected end of stream while scanning a quoted scalar");
	says("", "f:1:1: the file is empty");
	says("# only a comment\n", "f:1:1: the file is empty");
}

Test(yaml, sixteen_levels_are_read_and_no_more)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; i < DN_YAML_DEPTH; i++)
		g_string_append(text, "[");
	for (int i = 0; i < DN_YAML_DEPTH; i++)
		g_string_append(text, "]");
	says(text->str, "");
	g_string_prepend(text, "[");
	g_string_append(text, "]");
	says(text->str, "f:1:17: nested deeper than 16 levels");
}

Test(yaml, a_quarter_mebibyte_of_brackets_is_refused_at_once, .timeout = 5)
{
	static const char *const openings[] = {"[", "{", "{a: ", "- ", "? ", "[{"};

	for (size_t i = 0; i < G_N_ELEMENTS(openings); i++) {
		g_autoptr(GString) text = g_string_new(NULL);

		while (text->len + strlen(openings[i]) <= DN_YAML_BYTES)
			g_string_append(text, openings[i]);
		g_autofree char *said = fault_of(text->str, text->len);
		cr_assert(ne(ptr, strstr(said, "f:1:"), NULL), "%s", openings[i]);
	}
}

Test(yaml, ten_mebibytes_are_refused_unread, .timeout = 5)
{
	size_t length = 10 * 1024 * 1024;
	g_autofree char *text = g_malloc(length);

	memset(text, 'a', length);
	g_autofree char *said = fault_of(text, length);
	cr_assert_str_eq(said,
			 "f:1:1: the file has 10485760 bytes, more than 256 KiB are not read");
}

Test(yaml, more_values_than_any_file_of_ours_has_are_refused, .timeout = 5)
{
	g_autoptr(GString) text = g_string_new("[");

	for (int i = 0; i < DN_YAML_NODES; i++)
		g_string_append(text, "1,");
	g_string_append(text, "1]");
	g_autofree char *said = fault_of(text->str, text->len);
	cr_assert(ne(ptr, strstr(said, "more than 10000 values in one file"), NULL), "%s", said);
}

/* The classic: nine lists of nine references each; expanded, a billion strings. */
Test(yaml, a_bomb_of_aliases_does_not_go_off, .timeout = 5)
{
	g_autoptr(GString) text = g_string_new("a: &a [lol,lol,lol]\n");

	for (char c = 'b'; c <= 'i'; c++)
		g_string_append_printf(text, "%c: &%c [*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1,
				       c - 1, c - 1, c - 1);
	g_autofree char *said = fault_of(text->str, text->len);
	cr_assert(g_str_has_prefix(said, "f:1:4: anchors (&) are not allowed"), "%s", said);
}

Test(yaml, only_the_first_fifty_faults_are_shown_and_the_rest_counted)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; i < 60; i++)
		g_string_append(text, "a: 1\n");
	g_autofree char *said = fault_of(text->str, text->len);
	g_auto(GStrv) lines = g_strsplit(said, "\n", -1);
	cr_assert(eq(uint, g_strv_length(lines), DN_FAULTS_SHOWN + 1));
	cr_assert_str_eq(lines[0], "f:2:1: key \"a\" stands here twice");
	cr_assert_str_eq(lines[DN_FAULTS_SHOWN], "f: 9 more errors are not shown");
}

Test(yaml, a_fault_cannot_steer_the_terminal_it_is_printed_on)
{
	says("\"\\e[2J\": 1\n\"\\e[2J\": 2\n", "f:2:1: key \"\\x1b[2J\" stands here twice");
}
