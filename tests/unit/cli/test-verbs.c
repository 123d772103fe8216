/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "main/arguments.h"
#include "support/suite.h"

TestSuite(verbs, .fini = dn_suite_end);

static DnArguments *parse(const char *line, GError **error)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);

	if (line[0] == '\0')
		g_clear_pointer(&words[0], g_free);
	return dn_arguments_parse((const char *const *)words, error);
}

/* The row that @line runs. */
static const DnVerb *verb_of(const char *line)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) arguments = parse(line, &error);

	cr_assert_not_null(arguments, "%s: %s", line, error != NULL ? error->message : "");
	return arguments->verb;
}

/* The message with which @line is refused. */
static char *refusal(const char *line)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) arguments = parse(line, &error);

	cr_assert_null(arguments, "'%s' was taken", line);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	return g_strdup(error->message);
}

static const DnVerb *find_row(const char *noun, const char *verb)
{
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		if (strcmp(dn_verb_table[i]->noun, noun) == 0 &&
		    g_strcmp0(dn_verb_table[i]->verb, verb) == 0)
			return dn_verb_table[i];
	cr_assert_fail("no row %s %s", noun, verb != NULL ? verb : "");
	return NULL;
}

Test(verbs, a_noun_works_in_singular_and_plural_and_alone_lists)
{
	const DnVerb *ls = find_row("node", "ls");

	cr_assert_eq(verb_of("node ls"), ls);
	cr_assert_eq(verb_of("nodes ls"), ls);
	cr_assert_eq(verb_of("node"), ls);
	cr_assert_eq(verb_of("nodes"), ls);
	cr_assert_eq(verb_of("nodes web"), ls);
	cr_assert_eq(verb_of("incidents"), find_row("incident", "ls"));
	cr_assert_eq(verb_of("images"), find_row("image", "ls"));
}

Test(verbs, every_command_of_the_contract_has_its_row)
{
	static const char *const commands[][2] = {
		{"cluster", "init"},     {"key", "gen"},        {"key", "show"},
		{"trust", "show"},       {"trust", "check"},    {"image", "build"},
		{"image", "push"},       {"image", "ls"},       {"image", "show"},
		{"image", "verify"},     {"manifest", "check"}, {"manifest", "sign"},
		{"manifest", "show"},    {"apply", NULL},       {"service", "ls"},
		{"node", "ls"},          {"host", "ls"},        {"logs", NULL},
		{"audit", NULL},         {"event", "ls"},       {"roll", NULL},
		{"roll", "status"},      {"remove", NULL},      {"quarantine", NULL},
		{"drill", NULL},         {"incident", "ls"},    {"incident", "show"},
		{"incident", "destroy"}, {"host", "token"},     {"lab", "up"},
		{"lab", "down"},         {"lab", "status"},     {"scale", NULL},
		{"host", "cordon"},      {"host", "uncordon"},  {"journal", "show"},
		{"journal", "verify"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
		(void)find_row(commands[i][0], commands[i][1]);
}

Test(verbs, a_noun_with_and_without_a_second_word_is_told_apart)
{
	cr_assert_eq(verb_of("roll web"), find_row("roll", NULL));
	cr_assert_eq(verb_of("roll status web"), find_row("roll", "status"));
}

Test(verbs, a_misspelt_command_gets_a_suggestion)
{
	g_autofree char *noun = refusal("serivces");
	g_autofree char *verb = refusal("image bild x");
	g_autofree char *option = refusal("drill --lst");
	g_autofree char *nothing = refusal("zzzzzzzz");

	cr_assert_str_eq(noun, "unknown command 'serivces', did you mean 'services'?");
	cr_assert_str_eq(verb, "unknown verb 'bild' of image, did you mean 'build'?");
	cr_assert_str_eq(option, "unknown option '--lst', did you mean '--list'?");
	cr_assert_str_eq(nothing, "unknown command 'zzzzzzzz'; see 'dnode --help'");
}

Test(verbs, a_misspelt_second_word_is_no_operand_where_too_many_would_follow)
{
	g_autofree char *token = refusal("host tokn edge-1");
	g_autofree char *status = refusal("roll sttus web");
	g_autofree char *many = refusal("hosts a b");

	cr_assert_str_eq(token, "unknown verb 'tokn' of host, did you mean 'token'?");
	cr_assert_str_eq(status, "unknown verb 'sttus' of roll, did you mean 'status'?");
	cr_assert_str_eq(many, "too many operands; usage: dnode host ls [HOST]");
	cr_assert_eq(verb_of("host tokn"), find_row("host", "ls"));
}

Test(verbs, what_a_later_version_brings_is_refused_as_that_and_offered_nowhere)
{
	static const char *const lines[] = {
		"evidence",          "evidence ls --json",       "evidence export x --output y",
		"evidence show",     "evidence verify x",        "host drain edge-1 --wait",
		"roll abort --help", "roll abort web --key ops",
	};
	g_autofree char *help = dn_help_all();
	g_autofree char *near = refusal("evidnce");

	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(DnArguments) arguments = parse(lines[i], &error);
		cr_assert_null(arguments, "'%s' was taken", lines[i]);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNSUPPORTED));
		cr_assert_not_null(strstr(error->message, "not in this version"));
	}
	cr_assert_null(strstr(help, "evidence "));
	cr_assert_null(strstr(near, "did you mean"), "%s", near);
}

Test(verbs, help_about_a_verb_without_a_second_word_has_its_options_and_its_siblings)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) roll = parse("roll --help", &error);
	g_autoptr(DnArguments) image = parse("image --help", &error);

	cr_assert(roll->full);
	cr_assert_not(image->full);
	g_autofree char *help = dn_help_verb(roll->verb);
	cr_assert_not_null(strstr(help, "--image"));
	cr_assert_not_null(strstr(help, "roll status SERVICE"));
	cr_assert_null(strstr(help, "abort"));
}

Test(verbs, a_noun_that_needs_a_verb_says_which_there_are)
{
	g_autofree char *message = refusal("key");

	cr_assert_str_eq(message, "key needs a verb: one of gen, show");
}

Test(verbs, hidden_verbs_are_neither_suggested_nor_listed)
{
	g_autofree char *message = refusal("lab");
	g_autofree char *help = dn_help_all();

	cr_assert_null(strstr(message, "monitor"), "%s", message);
	cr_assert_null(strstr(help, "monitor"));
}

Test(verbs, options_stand_anywhere_and_take_their_value_either_way)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) a =
		parse("--json quarantine --reason=because web-1 --supervisor unix:/x", &error);

	cr_assert_not_null(a);
	cr_assert(a->call->json);
	cr_assert_str_eq(a->call->supervisor, "unix:/x");
	cr_assert_str_eq(dn_call_option(a->call, "reason"), "because");
	cr_assert_str_eq(dn_call_operand(a->call, 0), "web-1");
	cr_assert_null(dn_call_operand(a->call, 1));
}

static void agent_is(const char *line, const char *agent, const char *operand)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) a = parse(line, &error);

	cr_assert_not_null(a, "%s: %s", line, error != NULL ? error->message : "");
	cr_assert_str_eq(a->call->agent, agent, "%s", line);
	cr_assert_str_eq(dn_call_operand(a->call, 0), operand);
}

Test(verbs, an_agent_is_named_by_its_path_or_not_at_all)
{
	agent_is("--agent nodes web", "", "web");
	agent_is("nodes web --agent", "", "web");
	agent_is("--agent /run/x/agent.sock nodes web", "/run/x/agent.sock", "web");
	agent_is("nodes --agent=/run/x web", "/run/x", "web");
}

Test(verbs, what_an_agent_cannot_answer_is_refused_before_it_is_asked)
{
	g_autofree char *scale = refusal("--agent scale web 3");
	g_autofree char *both = refusal("--agent --supervisor unix:/x nodes");

	cr_assert_str_eq(scale, "scale is for the supervisor; with --agent there are nodes, "
				"incidents, logs, audit, quarantine, events and hosts");
	cr_assert(g_str_has_prefix(both, "node: --agent and --supervisor"), "%s", both);
}

Test(verbs, after_two_dashes_everything_is_an_operand)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) a = parse("logs -- --json", &error);

	cr_assert_not_null(a);
	cr_assert_not(a->call->json);
	cr_assert_str_eq(dn_call_operand(a->call, 0), "--json");
}

Test(verbs, wrong_usage_is_refused_by_name)
{
	g_autofree char *few = refusal("quarantine");
	g_autofree char *many = refusal("logs a b");
	g_autofree char *twice = refusal("logs a -n 1 -n 2");
	g_autofree char *missing = refusal("logs a -n");
	g_autofree char *extra = refusal("nodes --json=yes");

	cr_assert_str_eq(few, "usage: dnode quarantine NODE");
	cr_assert_str_eq(many, "too many operands; usage: dnode logs NODE");
	cr_assert_str_eq(twice, "-n is given twice");
	cr_assert_str_eq(missing, "-n needs a value: LINES");
	cr_assert_str_eq(extra, "--json takes no value");
}

Test(verbs, a_key_may_be_given_again_where_more_than_one_has_to_sign)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) a = parse("scale web 2 --key ann --key=bob", &error);
	g_autofree char *once = refusal("manifest sign x --key ann --key bob");

	cr_assert_not_null(a);
	const GPtrArray *keys = g_hash_table_lookup(a->call->options, "key");
	cr_assert_eq(keys->len, 2);
	cr_assert_str_eq(keys->pdata[0], "ann");
	cr_assert_str_eq(keys->pdata[1], "bob");
	cr_assert_str_eq(dn_call_option(a->call, "key"), "ann");
	cr_assert_str_eq(once, "--key is given twice");
}

Test(verbs, nothing_at_all_is_a_call_for_help)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnArguments) a = parse("", &error);

	cr_assert(a->help);
	cr_assert_null(a->call);
}

Test(verbs, every_row_has_help_with_all_its_options)
{
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		g_autofree char *help = dn_help_verb(verb);
		cr_assert_not_null(verb->help);
		cr_assert(verb->least <= verb->most);
		cr_assert(verb->most == 0 || verb->operands != NULL, "%s", verb->noun);
		cr_assert(strstr(help, verb->help) != NULL);
		for (unsigned k = 0; k < DN_OPTIONS_LIMIT && verb->options[k].name != NULL; k++)
			cr_assert(strstr(help, verb->options[k].help) != NULL);
	}
}

Test(verbs, an_option_takes_a_value_everywhere_or_nowhere)
{
	/* The first pass over the words does not know the verb yet. */
	g_autoptr(GHashTable) values = g_hash_table_new(g_str_hash, g_str_equal);

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		for (unsigned k = 0; k < DN_OPTIONS_LIMIT; k++) {
			const DnOption *option = &dn_verb_table[i]->options[k];
			gpointer before = NULL;
			gpointer takes = GINT_TO_POINTER(option->value != NULL);
			if (option->name == NULL)
				break;
			if (g_hash_table_lookup_extended(values, option->name, NULL, &before))
				cr_assert_eq(before, takes, "--%s", option->name);
			g_hash_table_insert(values, (gpointer)option->name, takes);
		}
}
