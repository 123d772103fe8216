/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What each file of an image may be used for, for the sensor's allow set: flags of
 * dnode/sensor-abi.h by inode.
 *
 *     EXEC    may be executed: regular, some x bit, and allowed (below)
 *     MAP     an ELF file: may be mapped executable, whether or not it may be executed
 *     LOADER  a dynamic loader: the target of some ELF file's PT_INTERP, or named like one. It
 *             would run whatever it is given: not EXEC unless run.may_exec names it
 *     SHELL   a shell, by one of its names. Not EXEC unless run.may_exec names it or the service's
 *             own program is it, or is a script that names it in its first line: without it the
 *             service could not start
 *     MULTI   one file that is a shell by one name and something else by another, or busybox or
 *             toybox: what it does is told by argv[0], not by the file. EXEC without SHELL: it was
 *             allowed by another name than a shell's, and is none
 *
 * The names of a file are its own, its further ones (hard links), and those of the links of the
 * image that lead to it. Allowed without run.may_exec is every executable file, with it what it
 * names and the files that links it names lead to. A script ("#!") with an x bit is EXEC like any
 * other file.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/listing.h"

typedef struct {
	uint64_t dev; /* as the kernel keys it: major << 20 | minor */
	uint64_t ino;
	uint32_t flags; /* DN_FILE_*, never 0 */
} DnProgramFile;

typedef struct {
	char *const *may_exec; /* or NULL */
	const char *program;   /* run.args[0], or NULL: not known */
	const char *argument;  /* run.args[1], or NULL: what a program of many names is */
	bool jit;              /* memory may be writable and executable */
} DnProgramRules;

/* By inode, each once; DN_ERROR_INVALID: may_exec names no executable file, or the service's own
 * program could not run without drift; DN_ERROR_EXHAUSTED: more than the sensor holds. */
GArray *dn_image_program_files(const DnImageListing *listing, int root_fd,
			       const DnProgramRules *rules,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * What a last part of a path says: 0, DN_FILE_SHELL, DN_FILE_LOADER, DN_FILE_SHELL|DN_FILE_MULTI. A
 * shell's name may have a version behind it, or how it was built (program-name.c).
 */
uint32_t dn_image_program_name(const char *name);

/* The path after "#!" in the first line of a script; false: none. At most 256 bytes are looked at,
 * as the kernel does. */
bool dn_image_program_interpreter(const uint8_t *bytes, size_t size, char path[static 256]);
