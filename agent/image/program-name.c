/* SPDX-License-Identifier: Apache-2.0 */
#include "image/program.h"

#include <string.h>

#include <dnode/sensor-abi-user.h>

/*
 * Shells by name: what Debian's packages put into /etc/shells and leads to a shell, what their
 * programs are called on other systems, and the names by which busybox and toybox become one. Not
 * here: programs that only start the user's shell (screen, tmux), and interpreters of languages
 * that nobody logs in to (perl, python, tclsh).
 *
 * An @exact one is two letters that much begins with: it counts only as it is.
 */
static const struct {
	const char *name;
	bool exact;
	uint32_t flags;
} programs[] = {
	{"ash", false, DN_FILE_SHELL},
	{"bash", false, DN_FILE_SHELL},
	{"bosh", false, DN_FILE_SHELL},
	{"bsd-csh", false, DN_FILE_SHELL},
	{"busybox", false, DN_FILE_SHELL | DN_FILE_MULTI},
	{"csh", false, DN_FILE_SHELL},
	{"dash", false, DN_FILE_SHELL},
	{"elvish", false, DN_FILE_SHELL},
	{"es", true, DN_FILE_SHELL},
	{"fish", false, DN_FILE_SHELL},
	{"fizsh", false, DN_FILE_SHELL},
	{"hush", false, DN_FILE_SHELL},
	{"jsh", false, DN_FILE_SHELL},
	{"ksh", false, DN_FILE_SHELL},
	{"ksh93u+m", false, DN_FILE_SHELL},
	{"lash", false, DN_FILE_SHELL},
	{"lksh", false, DN_FILE_SHELL},
	{"loksh", false, DN_FILE_SHELL},
	{"mksh", false, DN_FILE_SHELL},
	{"mrsh", false, DN_FILE_SHELL},
	{"msh", false, DN_FILE_SHELL},
	{"nu", true, DN_FILE_SHELL},
	{"nushell", false, DN_FILE_SHELL},
	{"oksh", false, DN_FILE_SHELL},
	{"osh", false, DN_FILE_SHELL},
	{"pbosh", false, DN_FILE_SHELL},
	{"pdksh", false, DN_FILE_SHELL},
	{"posh", false, DN_FILE_SHELL},
	{"psh", false, DN_FILE_SHELL},
	{"pwsh", false, DN_FILE_SHELL},
	{"rbash", false, DN_FILE_SHELL},
	{"rc", true, DN_FILE_SHELL},
	{"rdash", false, DN_FILE_SHELL},
	{"rksh", false, DN_FILE_SHELL},
	{"rlksh", false, DN_FILE_SHELL},
	{"rmksh", false, DN_FILE_SHELL},
	{"rssh", false, DN_FILE_SHELL},
	{"rush", false, DN_FILE_SHELL},
	{"rzsh", false, DN_FILE_SHELL},
	{"sash", false, DN_FILE_SHELL},
	{"scsh", false, DN_FILE_SHELL},
	{"sh", false, DN_FILE_SHELL},
	{"static-sh", false, DN_FILE_SHELL},
	{"tcsh", false, DN_FILE_SHELL},
	{"toybox", false, DN_FILE_SHELL | DN_FILE_MULTI},
	{"xonsh", false, DN_FILE_SHELL},
	{"yash", false, DN_FILE_SHELL},
	{"ysh", false, DN_FILE_SHELL},
	{"zsh", false, DN_FILE_SHELL},
};

/* How a package calls one of several builds of the same program. */
static const char *const builds[] = {"",         "-static",  ".static", ".shared",
				     "-minimal", ".distrib", ".real"};

static bool is_build(const char *rest)
{
	for (size_t i = 0; i < G_N_ELEMENTS(builds); i++)
		if (strcmp(rest, builds[i]) == 0)
			return true;
	return false;
}

/* What is behind "5", "-5.9", "93", "-R59c"; NULL: @rest does not begin with a version. */
static const char *skip_version(const char *rest)
{
	if (*rest == '-' || *rest == '.')
		rest++;
	if (*rest == 'R')
		rest++;
	if (!g_ascii_isdigit(*rest))
		return NULL;
	rest += strspn(rest, "0123456789.");
	return g_ascii_islower(*rest) ? rest + 1 : rest;
}

static bool is_called(const char *name, const char *known, bool exact)
{
	size_t length = strlen(known);

	if (exact)
		return strcmp(name, known) == 0;
	if (strncmp(name, known, length) != 0)
		return false;
	const char *behind = skip_version(name + length);
	return is_build(name + length) || (behind != NULL && is_build(behind));
}

uint32_t dn_image_program_name(const char *name)
{
	static const char *const loaders[] = {"ld-*.so*", "ld.so*", "ld64.so*"};

	for (size_t i = 0; i < G_N_ELEMENTS(programs); i++)
		if (is_called(name, programs[i].name, programs[i].exact))
			return programs[i].flags;
	for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++)
		if (g_pattern_match_simple(loaders[i], name))
			return DN_FILE_LOADER;
	return 0;
}
