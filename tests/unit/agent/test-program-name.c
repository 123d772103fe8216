/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include <dnode/sensor-abi-user.h>

#include "image/program.h"
#include "support/suite.h"

/* What the last part of a program's path says of it. */

static void teardown(void)
{
	dn_suite_end();
}

TestSuite(program_name, .fini = teardown);

static void expect(const char *const *names, size_t n, uint32_t flags)
{
	for (size_t i = 0; i < n; i++)
		cr_assert(eq(u32, dn_image_program_name(names[i]), flags), "%s", names[i]);
}

Test(program_name, the_shells_of_debians_packages_are_known)
{
	/* bash bash-static dash zsh zsh-static ksh93u+m mksh tcsh csh fish posh yash sash es rc …
	 */
	static const char *const names[] = {
		"sh",     "bash", "rbash",   "bash-static", "dash",  "sh.distrib", "zsh",
		"zsh5",   "rzsh", "ksh",     "zsh-static",  "ksh93", "rksh93",     "ksh93u+m",
		"mksh",   "lksh", "rmksh",   "mksh-static", "tcsh",  "csh",        "bsd-csh",
		"fish",   "posh", "yash",    "static-sh",   "sash",  "es",         "rc",
		"elvish", "oksh", "loksh",   "nu",          "xonsh", "osh",        "fizsh",
		"ash",    "hush", "nushell", "sh.shared",   "rush",  "pwsh",       "rssh",
	};

	expect(names, G_N_ELEMENTS(names), DN_FILE_SHELL);
}

Test(program_name, a_version_does_not_make_another_program_of_it)
{
	static const char *const names[] = {"bash5",     "zsh-5.9",  "bash-5.2.15",
					    "mksh-R59c", "dash-0.5", "ksh2020",
					    "ksh93u",    "fish3",    "zsh-5.9-static"};
	static const char *const boxes[] = {"busybox", "busybox.static", "busybox-1.36.1", "toybox",
					    "toybox-0.8"};

	expect(names, G_N_ELEMENTS(names), DN_FILE_SHELL);
	expect(boxes, G_N_ELEMENTS(boxes), DN_FILE_SHELL | DN_FILE_MULTI);
}

Test(program_name, what_only_begins_or_ends_like_a_shell_is_none)
{
	static const char *const names[] = {
		"",
		"ssh",
		"mosh",
		"wish",
		"tclsh",
		"guestfish",
		"show",
		"shred",
		"bashbug",
		"fishd",
		"zshdb",
		"rc.local",
		"rc5",
		"es6",
		"null",
		"nu2",
		"push",
		"csh2sh",
		"bash-completion",
		"dashboard",
		"tmux",
		"screen",
		"python3.11",
		"busyboxd",
		"sh-lint",
		"bash.sh",
		"ksh-",
	};

	expect(names, G_N_ELEMENTS(names), 0);
}

/*
 * agent/sensor/exec.bpf.h knows the shells among a program's many names by their end: two to five
 * letters of which the last are "sh". That must hold for whatever such a program is a shell by.
 */
Test(program_name, the_kernel_knows_every_shell_that_a_program_of_many_names_can_be)
{
	static const char *const applets[] = {"sh", "ash", "bash", "hush", "lash", "msh"};

	for (size_t i = 0; i < G_N_ELEMENTS(applets); i++) {
		size_t length = strlen(applets[i]);

		cr_assert(eq(u32, dn_image_program_name(applets[i]), DN_FILE_SHELL), "%s",
			  applets[i]);
		cr_assert(length >= 2 && length <= 5 && strcmp(applets[i] + length - 2, "sh") == 0,
			  "%s", applets[i]);
	}
}

Test(program_name, loaders_are_known)
{
	static const char *const names[] = {"ld-linux-x86-64.so.2", "ld-2.36.so", "ld64.so.2",
					    "ld-musl-aarch64.so.1"};
	static const char *const others[] = {"ld", "libld-x.so"};

	expect(names, G_N_ELEMENTS(names), DN_FILE_LOADER);
	expect(others, G_N_ELEMENTS(others), 0);
}
