/* SPDX-License-Identifier: Apache-2.0 */
#include "main/arguments.h"

#include <string.h>

#include "base/text.h"

static const DnOption everywhere[] = {
	{"json", NULL, "print one JSON document"},
	{"supervisor", "URL",
	 "unix:PATH or http://HOST:PORT; else $DNODE_SUPERVISOR, else the local socket"},
	{"agent", "[PATH]", "ask this machine's agent, as root; PATH: its socket"},
	{"home", "DIR", "the cluster's directory; else $DNODE_HOME, else /etc/dnode"},
	{"help", NULL, "what a command does and takes"},
	{"version", NULL, "print the version"},
};

const DnOption *dn_options_everywhere(unsigned *n)
{
	*n = G_N_ELEMENTS(everywhere);
	return everywhere;
}

static void call_free(DnCall *call)
{
	if (call == NULL)
		return;
	g_clear_pointer(&call->operands, g_ptr_array_unref);
	g_clear_pointer(&call->options, g_hash_table_unref);
	g_free(call->supervisor);
	g_free(call->home);
	g_free(call->agent);
	g_free(call);
}

void dn_arguments_free(DnArguments *self)
{
	if (self == NULL)
		return;
	call_free(self->call);
	g_free(self->about);
	g_free(self);
}

static const DnOption *find_in(const DnOption *options, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n && options[i].name != NULL; i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static const DnOption *find_option(const DnVerb *verb, const char *name)
{
	const DnOption *found = find_in(everywhere, G_N_ELEMENTS(everywhere), name);

	if (found == NULL && verb != NULL)
		found = find_in(verb->options, DN_OPTIONS_LIMIT, name);
	return found;
}

/* Whether @name takes a value, by the verbs it may belong to: needed before the verb is known. */
static bool takes_value(const DnVerb *verb, const char *name)
{
	const DnOption *option = find_option(verb, name);

	for (unsigned i = 0; option == NULL && verb == NULL && dn_verb_table[i] != NULL; i++)
		option = find_option(dn_verb_table[i], name);
	return option != NULL && option->value != NULL && option->value[0] != '[';
}

/* A value that may be left out: it stands behind '=', or is a path that nothing else could be. */
static bool may_take(const DnOption *option, const char *word)
{
	return option != NULL && option->value != NULL && option->value[0] == '[' && word != NULL &&
	       word[0] == '/';
}

/* What stands before @name on a line. */
static const char *dashes(const char *name)
{
	return strlen(name) == 1 ? "-" : "--";
}

static void refuse_option(const DnVerb *verb, const char *name, GError **error)
{
	const char *names[G_N_ELEMENTS(everywhere) + DN_OPTIONS_LIMIT + 1] = {NULL};
	unsigned n = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(everywhere); i++)
		names[n++] = everywhere[i].name;
	for (unsigned i = 0; verb != NULL && i < DN_OPTIONS_LIMIT && verb->options[i].name; i++)
		names[n++] = verb->options[i].name;
	const char *near = strlen(name) > 1 ? dn_text_suggest(name, names) : NULL;
	if (near != NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown option '--%s', did you mean '--%s'?", name, near);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "unknown option '%s%s'; see --help",
			    dashes(name), name);
}

static bool store(DnCall *call, const DnOption *option, const char *value, GError **error)
{
	char **place = strcmp(option->name, "supervisor") == 0 ? &call->supervisor
		       : strcmp(option->name, "home") == 0     ? &call->home
		       : strcmp(option->name, "agent") == 0    ? &call->agent
							       : NULL;
	GPtrArray *values = g_hash_table_lookup(call->options, option->name);

	if (values != NULL && g_strcmp0(option->name, call->verb->many) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s%s is given twice",
			    dashes(option->name), option->name);
		return false;
	}
	if (strcmp(option->name, "json") == 0)
		call->json = true;
	if (place != NULL)
		*place = g_strdup(value != NULL ? value : "");
	if (values == NULL) {
		values = g_ptr_array_new_with_free_func(g_free);
		g_hash_table_insert(call->options, g_strdup(option->name), values);
	}
	g_ptr_array_add(values, g_strdup(value != NULL ? value : ""));
	return true;
}

static char *name_of(const char *word)
{
	const char *begin = word + (word[1] == '-' ? 2 : 1);
	const char *end = strchrnul(begin, '=');

	return g_strndup(begin, (size_t)(end - begin));
}

/*
 * One option at words[*i]; a value that stands apart is stepped over. With @call NULL nothing is
 * stored: that pass only finds the words of the verb.
 */
static bool take_option(const char *const *words, unsigned *i, const DnVerb *verb, DnCall *call,
			GError **error)
{
	const char *word = words[*i];
	const char *equals = strchr(word, '=');
	g_autofree char *name = name_of(word);
	const DnOption *option = find_option(verb, name);
	const char *value = equals != NULL ? equals + 1 : NULL;
	bool wanted = takes_value(verb, name);

	if (wanted && value == NULL && words[*i + 1] != NULL)
		value = words[++*i];
	else if (value == NULL && may_take(option, words[*i + 1]))
		value = words[++*i];
	if (call == NULL)
		return true;
	if (option == NULL) {
		refuse_option(verb, name, error);
		return false;
	}
	if (wanted && value == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s%s needs a value: %s",
			    dashes(name), name, option->value);
		return false;
	}
	if (option->value == NULL && value != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s%s takes no value", dashes(name),
			    name);
		return false;
	}
	return store(call, option, value, error);
}

/* Go over the words once: plain ones to @plain, options to @call. */
static bool walk(const char *const *words, const DnVerb *verb, DnCall *call, GPtrArray *plain,
		 GError **error)
{
	bool options = true;

	for (unsigned i = 0; words[i] != NULL; i++) {
		if (options && strcmp(words[i], "--") == 0)
			options = false;
		else if (!options || words[i][0] != '-' || words[i][1] == '\0')
			g_ptr_array_add(plain, (gpointer)words[i]);
		else if (!take_option(words, &i, verb, call, error))
			return false;
	}
	return true;
}

static bool is_asked(const char *const *words, const char *option, const char *also)
{
	for (unsigned i = 0; words[i] != NULL && strcmp(words[i], "--") != 0; i++)
		if (strcmp(words[i], option) == 0 || strcmp(words[i], also) == 0)
			return true;
	return false;
}

static bool check_operands(const DnVerb *verb, unsigned n, GError **error)
{
	const char *between = verb->verb != NULL ? " " : "";
	const char *second = verb->verb != NULL ? verb->verb : "";

	if (n < verb->least)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "usage: dnode %s%s%s %s", verb->noun,
			    between, second, verb->operands);
	else if (n > verb->most)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "too many operands; usage: dnode %s%s%s %s", verb->noun, between,
			    second, verb->operands != NULL ? verb->operands : "");
	return n >= verb->least && n <= verb->most;
}

static DnCall *call_new(const DnVerb *verb)
{
	DnCall *call = g_new0(DnCall, 1);

	call->verb = verb;
	call->operands = g_ptr_array_new_with_free_func(g_free);
	call->options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					      (GDestroyNotify)g_ptr_array_unref);
	return call;
}

/* An agent knows its own host only, and takes no orders for the fleet. */
static bool check_agent(const DnCall *call, GError **error)
{
	if (call->agent == NULL)
		return true;
	if (call->verb->on_agent && call->supervisor == NULL)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    call->supervisor != NULL
			    ? "%s: --agent and --supervisor are two to ask; leave one out"
			    : "%s is for the supervisor; with --agent there are nodes, incidents, "
			      "logs, audit, quarantine, events and hosts",
		    call->verb->noun);
	return false;
}

/* The second pass: the verb is known, so its options are. */
static bool fill(DnArguments *self, const char *const *words, unsigned used, GError **error)
{
	g_autoptr(GPtrArray) plain = g_ptr_array_new();

	self->call = call_new(self->verb);
	if (!walk(words, self->verb, self->call, plain, error))
		return false;
	if (!check_agent(self->call, error))
		return false;
	for (unsigned i = used; i < plain->len; i++)
		g_ptr_array_add(self->call->operands, g_strdup(plain->pdata[i]));
	return check_operands(self->verb, self->call->operands->len, error);
}

static void refuse_reserved(const DnVerb *verb, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "'dnode %s %s' is not in this version; see 'dnode --help'", verb->noun,
		    verb->verb);
}

/* Whether @verb is the only one of its noun. */
static bool is_alone(const DnVerb *verb)
{
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		if (dn_verb_table[i] != verb && strcmp(dn_verb_table[i]->noun, verb->noun) == 0)
			return false;
	return true;
}

DnArguments *dn_arguments_parse(const char *const *words, GError **error)
{
	g_autoptr(DnArguments) self = g_new0(DnArguments, 1);
	g_autoptr(GPtrArray) plain = g_ptr_array_new();
	unsigned used = 0;

	if (!walk(words, NULL, NULL, plain, error))
		return NULL;
	g_ptr_array_add(plain, NULL);
	const char *const *named = (const char *const *)plain->pdata;
	self->help = is_asked(words, "--help", "-h") || words[0] == NULL;
	self->version = is_asked(words, "--version", "--version");
	if (named[0] != NULL)
		self->about = g_strdup(named[0]);
	else if (!self->help && !self->version) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID,
				    "no command; see 'dnode --help'");
		return NULL;
	}
	if (named[0] == NULL || self->version)
		return g_steal_pointer(&self);

	/*
	 * "dnode image --help" is about the noun, also where the noun alone lists something; "dnode
	 * roll --help" is about the verb that has no second word.
	 */
	g_autoptr(GError) cause = NULL;
	self->verb = dn_verb_find(named, &used, &cause);
	self->full = self->verb != NULL &&
		     (used == 2 || self->verb->verb == NULL || is_alone(self->verb));
	if (self->verb != NULL && self->verb->reserved) {
		refuse_reserved(self->verb, error);
		return NULL;
	}
	if (self->help)
		return g_steal_pointer(&self);
	if (self->verb == NULL) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return NULL;
	}
	if (!fill(self, words, used, error))
		return NULL;
	return g_steal_pointer(&self);
}
