/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <stdio.h>

#include "base/error.h"
#include "main/arguments.h"

#include <dnode/version.h>

/* 0, unless standard output did not take what was said. */
static int finish(DnOutput *output)
{
	g_autoptr(GError) error = NULL;

	if (dn_output_finish(output, &error))
		return 0;
	dn_output_error(output, error);
	return dn_exit_code(error);
}

/* The help that was asked for; the noun's when the words name only that. */
static int help(DnOutput *output, const DnArguments *arguments)
{
	g_autofree char *text = NULL;

	if (arguments->about == NULL)
		text = dn_help_all();
	else if (arguments->verb != NULL && arguments->full)
		text = dn_help_verb(arguments->verb);
	else
		text = dn_help_noun(arguments->about);
	if (text == NULL) {
		dn_output_note(output, "unknown command '%s'; see 'dnode --help'",
			       arguments->about);
		return 2;
	}
	dn_output_verbatim(output, text);
	return finish(output);
}

static int run(DnOutput *output, const DnArguments *arguments)
{
	g_autoptr(GError) error = NULL;

	arguments->call->output = output;
	bool done = arguments->verb->run(arguments->call, &error);
	if (done)
		done = dn_output_finish(output, &error);
	else
		(void)fflush(stdout);
	if (done)
		return 0;
	dn_output_error(output, error);
	return dn_exit_code(error);
}

int main(int argc, char **argv)
{
	g_autoptr(DnOutput) output = dn_output_new(stdout, stderr);
	g_autoptr(GError) error = NULL;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	(void)argc;
	g_autoptr(DnArguments) arguments =
		dn_arguments_parse((const char *const *)argv + 1, &error);
	if (arguments == NULL) {
		dn_output_error(output, error);
		return dn_exit_code(error);
	}
	if (arguments->help)
		return help(output, arguments);
	if (arguments->version) {
		dn_output_line(output, "dnode %s", DN_VERSION);
		return finish(output);
	}
	return run(output, arguments);
}
