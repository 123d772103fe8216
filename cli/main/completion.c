/* SPDX-License-Identifier: Apache-2.0 */
#include "main/manual.h"

#include <string.h>

#include "main/arguments.h"

/* What an operand's name in the help stands for, and who knows the names there are. */
static const struct {
	const char *operand, *command, *member;
} dynamic[] = {
	{"SERVICE", "services", "name"},
	{"NODE", "nodes", "id"},
	{"ID", "incidents", "id"},
	{"HOST", "hosts", "name"},
};

/* bash and zsh read the same tables; each function is plain POSIX shell. */
static const char names_function[] =
	"_dnode_names() {\n"
	"	dnode \"$1\" --json 2>/dev/null | grep -o \"\\\"$2\\\" *: *\\\"[^\\\"]*\\\"\" |\n"
	"		sed 's/.*\"\\([^\"]*\\)\"$/\\1/'\n"
	"}\n"
	"_dnode_keys() {\n"
	"	for key in \"${DNODE_HOME:-/etc/dnode}\"/keys/*.key; do\n"
	"		[ ! -e \"$key\" ] || basename \"$key\" .key\n"
	"	done 2>/dev/null\n"
	"}\n"
	/* What may stand after the option $2, or after the words $1. */
	"_dnode_candidates() {\n"
	"	case $2 in\n"
	"	--key) _dnode_keys; return ;;\n"
	"	--role) echo release deploy responder person; return ;;\n"
	"	esac\n"
	"	! _dnode_takes \"$2\" \"$3\" || return 0\n"
	"	case $3 in\n"
	"	-*) _dnode_options \"$1\"; return ;;\n"
	"	esac\n"
	"	_dnode_words \"$1\"\n"
	"}\n";

static const char bash_tail[] =
	"_dnode() {\n"
	"	local current=${COMP_WORDS[COMP_CWORD]} previous= plain= i\n"
	"	for ((i = 1; i < COMP_CWORD; i++)); do\n"
	"		if ! _dnode_takes \"$previous\" \"${COMP_WORDS[i]}\" &&\n"
	"			[[ ${COMP_WORDS[i]} != -* ]]; then\n"
	"			plain+=${plain:+ }${COMP_WORDS[i]}\n"
	"		fi\n"
	"		previous=${COMP_WORDS[i]}\n"
	"	done\n"
	"	mapfile -t COMPREPLY < <(compgen -W \"$(_dnode_candidates \"$plain\" "
	"\"$previous\" \"$current\")\" -- \"$current\")\n"
	"}\n"
	"complete -o default -F _dnode dnode\n";

static const char zsh_tail[] =
	"_dnode() {\n"
	"	local previous= plain= word found\n"
	"	for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
	"		if ! _dnode_takes \"$previous\" \"$word\" && [[ $word != -* ]]; then\n"
	"			plain+=${plain:+ }$word\n"
	"		fi\n"
	"		previous=$word\n"
	"	done\n"
	"	found=$(_dnode_candidates \"$plain\" \"$previous\" \"${words[CURRENT]}\")\n"
	"	if [[ -n $found ]]; then\n"
	"		compadd -- ${=found}\n"
	"	else\n"
	"		_files\n"
	"	fi\n"
	"}\n"
	"if [ \"${funcstack[1]-}\" = _dnode ]; then\n"
	"	_dnode \"$@\"\n"
	"else\n"
	"	! command -v compdef >/dev/null || compdef _dnode dnode\n"
	"fi\n";

static const char fish_head[] =
	"function __dnode_words\n"
	"	set -l plain\n"
	"	set -l previous ''\n"
	"	for word in (commandline -opc)[2..-1]\n"
	"		if not __dnode_takes $previous $word; and not string match -q -- '-*' "
	"$word\n"
	"			set -a plain $word\n"
	"		end\n"
	"		set previous $word\n"
	"	end\n"
	"	echo \"$plain\"\n"
	"end\n"
	"function __dnode_at\n"
	"	contains -- (__dnode_words) $argv\n"
	"end\n"
	"function __dnode_in\n"
	"	for verb in $argv\n"
	"		string match -q -- \"$verb *\" (__dnode_words)' '; and return 0\n"
	"	end\n"
	"	return 1\n"
	"end\n"
	"function __dnode_keys\n"
	"	set -l home /etc/dnode\n"
	"	set -q DNODE_HOME; and set home $DNODE_HOME\n"
	"	for key in $home/keys/*.key\n"
	"		basename $key .key\n"
	"	end\n"
	"end\n"
	"function __dnode_names\n"
	"	dnode $argv[1] --json 2>/dev/null | string match -ra "
	"\"\\\"$argv[2]\\\" *: *\\\"[^\\\"]*\\\"\" | string replace -r '.*\"([^\"]*)\"$' '$1'\n"
	"end\n";

static bool is_alone(const DnVerb *verb)
{
	return verb->verb == NULL || strcmp(verb->verb, "ls") == 0;
}

static const char *plural_of(const char *noun)
{
	return g_str_has_suffix(noun, "s") ? NULL : "s";
}

/*
 * The ways to type the verb, each between @quote, separated by @between: with its second word, or
 * @bare. Nothing when it cannot be typed so.
 */
static bool append_spellings(GString *text, const DnVerb *verb, bool bare, char quote,
			     const char *between)
{
	bool plural = plural_of(verb->noun) != NULL;
	const char *second = bare ? NULL : verb->verb;

	if (bare ? !is_alone(verb) : verb->verb == NULL)
		return false;
	for (unsigned many = 0; many <= plural; many++)
		g_string_append_printf(text, "%s%c%s%s%s%s%c", many ? between : "", quote,
				       verb->noun, many ? "s" : "", second != NULL ? " " : "",
				       second != NULL ? second : "", quote);
	return true;
}

static void append_flag(GString *text, const DnOption *option)
{
	g_string_append_printf(text, "%s%s", strlen(option->name) > 1 ? "--" : "-", option->name);
}

static void append_flags(GString *text, const DnOption *options, unsigned n)
{
	for (unsigned i = 0; i < n && options[i].name != NULL; i++) {
		g_string_append_c(text, ' ');
		append_flag(text, &options[i]);
	}
}

typedef struct {
	bool optional; /* the value may be left out: it is a path, or stands behind '=' */
	const char *between;
	GHashTable *seen;
} Taking;

static void append_taking_of(GString *text, const DnOption *options, unsigned n,
			     const Taking *taking)
{
	for (unsigned i = 0; i < n && options[i].name != NULL; i++) {
		if (options[i].value == NULL || (options[i].value[0] == '[') != taking->optional ||
		    !g_hash_table_add(taking->seen, (gpointer)options[i].name))
			continue;
		if (g_hash_table_size(taking->seen) > 1)
			g_string_append(text, taking->between);
		append_flag(text, &options[i]);
	}
}

/* Every option after which a value stands, or may stand, whatever the verb. */
static void append_taking(GString *text, bool optional, const char *between)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	const Taking taking = {optional, between, seen};
	unsigned n = 0;
	const DnOption *everywhere = dn_options_everywhere(&n);

	append_taking_of(text, everywhere, n, &taking);
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		append_taking_of(text, dn_verb_table[i]->options, DN_OPTIONS_LIMIT, &taking);
}

/* The row of `dynamic` for an operand of the verb, or for its first one; -1: there is none. */
static int find_dynamic(const DnVerb *verb, bool first)
{
	const char *operands = verb->operands != NULL ? verb->operands : "";
	g_autofree char *known =
		g_strndup(operands, first ? strcspn(operands, " ") : strlen(operands));
	g_auto(GStrv) parts = g_strsplit_set(known, "[]| .", -1);

	for (int i = 0; i < (int)G_N_ELEMENTS(dynamic); i++)
		if (g_strv_contains((const char *const *)parts, dynamic[i].operand))
			return i;
	return -1;
}

static void append_option_rows(GString *text, bool bare)
{
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		g_autoptr(GString) row = g_string_new("\t");
		if (verb->hidden || !append_spellings(row, verb, bare, '"', "' '*|"))
			continue;
		g_string_append(row, "' '*) ");
		if (verb->options[0].name != NULL)
			g_string_append(row, "echo");
		append_flags(row, verb->options, DN_OPTIONS_LIMIT);
		g_string_append_printf(text, "%s ;;\n", row->str);
	}
}

static void append_option_table(GString *text)
{
	unsigned n = 0;
	const DnOption *everywhere = dn_options_everywhere(&n);

	g_string_append(text, "_dnode_options() {\n\techo");
	append_flags(text, everywhere, n);
	g_string_append(text, "\n\tcase \"$1 \" in\n");
	/* "roll status" before "roll", which takes any second word. */
	append_option_rows(text, false);
	append_option_rows(text, true);
	g_string_append(text, "\tesac\n}\n");
}

/* The second words of @noun, and the names its verb without a second word takes. */
static void append_noun_words(GString *text, const char *noun)
{
	const char *plural = plural_of(noun);

	g_string_append_printf(text, "\t%s", noun);
	if (plural != NULL)
		g_string_append_printf(text, "|%ss", noun);
	g_string_append(text, ") ");
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		if (verb->hidden || strcmp(verb->noun, noun) != 0)
			continue;
		int names = is_alone(verb) ? find_dynamic(verb, true) : -1;
		if (verb->verb != NULL)
			g_string_append_printf(text, "echo %s; ", verb->verb);
		if (names >= 0)
			g_string_append_printf(text, "_dnode_names %s %s; ", dynamic[names].command,
					       dynamic[names].member);
	}
	g_string_append(text, ";;\n");
}

static void append_word_table(GString *text)
{
	g_autoptr(GPtrArray) nouns = dn_nouns();

	g_string_append(text, "_dnode_words() {\n\tcase $1 in\n\t'') echo");
	for (unsigned i = 0; i < nouns->len; i++)
		g_string_append_printf(text, " %s", (char *)nouns->pdata[i]);
	g_string_append(text, " ;;\n");
	for (unsigned i = 0; i < nouns->len; i++)
		append_noun_words(text, nouns->pdata[i]);
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		int names = find_dynamic(verb, true);
		if (verb->hidden || verb->verb == NULL || names < 0)
			continue;
		const char *plural = plural_of(verb->noun);
		g_string_append_printf(text, "\t'%s %s'", verb->noun, verb->verb);
		if (plural != NULL)
			g_string_append_printf(text, "|'%ss %s'", verb->noun, verb->verb);
		g_string_append_printf(text, ") _dnode_names %s %s ;;\n", dynamic[names].command,
				       dynamic[names].member);
	}
	/* "drill exec": the second operand is the service. */
	g_string_append(text, "\t'drill '*) _dnode_names services name ;;\n\tesac\n}\n");
}

static char *complete_sh(const char *head, const char *tail)
{
	GString *text = g_string_new(head);

	/* Whether $2 is the value of the option $1. */
	g_string_append(text, "# Generated from dnode's table of verbs.\n"
			      "_dnode_takes() {\n\tcase $1 in\n\t");
	append_taking(text, false, "|");
	g_string_append(text, ") return 0 ;;\n\t");
	append_taking(text, true, "|");
	g_string_append(text, ") case $2 in /*) return 0 ;; esac ;;\n\tesac\n\treturn 1\n}\n");
	append_option_table(text);
	append_word_table(text);
	g_string_append(text, names_function);
	g_string_append(text, tail);
	return g_string_free(text, FALSE);
}

/* Between single quotes fish knows two escapes. */
static void append_fish_help(GString *text, const char *help)
{
	g_string_append(text, " -d '");
	for (const char *c = help; *c != '\0'; c++) {
		if (*c == '\'' || *c == '\\')
			g_string_append_c(text, '\\');
		g_string_append_c(text, *c);
	}
	g_string_append(text, "'\n");
}

static void append_fish_option(GString *text, const char *when, const DnOption *option)
{
	g_string_append_printf(text, "complete -c dnode%s -%c %s%s", when,
			       strlen(option->name) > 1 ? 'l' : 's', option->name,
			       option->value != NULL && option->value[0] != '[' ? " -r" : "");
	if (strcmp(option->name, "role") == 0)
		g_string_append(text, " -x -a 'release deploy responder person'");
	if (strcmp(option->name, "key") == 0)
		g_string_append(text, " -a '(__dnode_keys)'");
	append_fish_help(text, option->help);
}

static void append_fish_verb(GString *text, const DnVerb *verb)
{
	g_autoptr(GString) when = g_string_new(" -n '__dnode_in ");
	int names = find_dynamic(verb, false);

	if (append_spellings(when, verb, false, '"', " "))
		g_string_append_c(when, ' ');
	(void)append_spellings(when, verb, true, '"', " ");
	g_string_append_c(when, '\'');
	if (verb->verb != NULL) {
		const char *plural = plural_of(verb->noun);
		g_string_append_printf(text, "complete -c dnode -n '__dnode_at %s %s%s' -a %s",
				       verb->noun, verb->noun, plural != NULL ? plural : "",
				       verb->verb);
		append_fish_help(text, verb->help);
	}
	for (unsigned i = 0; i < DN_OPTIONS_LIMIT && verb->options[i].name != NULL; i++)
		append_fish_option(text, when->str, &verb->options[i]);
	if (names >= 0)
		g_string_append_printf(text, "complete -c dnode%s -x -a '(__dnode_names %s %s)'\n",
				       when->str, dynamic[names].command, dynamic[names].member);
}

static char *complete_fish(void)
{
	GString *text = g_string_new("# Generated from dnode's table of verbs.\n"
				     "function __dnode_takes\n\tcontains -- \"$argv[1]\" ");
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	unsigned n = 0;
	const DnOption *everywhere = dn_options_everywhere(&n);

	append_taking(text, false, " ");
	g_string_append(text, "; and return 0\n\tcontains -- \"$argv[1]\" ");
	append_taking(text, true, " ");
	g_string_append_printf(text, "; and string match -q -- '/*' \"$argv[2]\"\nend\n%s",
			       fish_head);
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		if (verb->hidden)
			continue;
		if (g_hash_table_add(seen, (gpointer)verb->noun)) {
			g_string_append_printf(text,
					       "complete -c dnode -n '__dnode_at \"\"' -x -a %s",
					       verb->noun);
			append_fish_help(text, verb->help);
		}
		append_fish_verb(text, verb);
	}
	for (unsigned i = 0; i < n; i++)
		append_fish_option(text, "", &everywhere[i]);
	return g_string_free(text, FALSE);
}

char *dn_completion(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		return complete_sh("", bash_tail);
	if (strcmp(shell, "zsh") == 0)
		return complete_sh("#compdef dnode\n", zsh_tail);
	if (strcmp(shell, "fish") == 0)
		return complete_fish();
	return NULL;
}
