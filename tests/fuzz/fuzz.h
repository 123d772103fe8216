/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the fuzz targets share. A target is one function over one input: libFuzzer and AFL++ call
 * it with what they invent, replay.c with the files of the corpus. Besides not crashing, not
 * leaking and not hanging, what a parser owes is asserted here. docs/testing.md says how to run.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Abort unless @done and @error agree, and the error, which is freed, may go to a terminal and a
 * log: fuzz_judge_text(), and at most 64 KiB.
 */
void fuzz_judge(bool done, GError *error);

/* Abort unless @text is valid UTF-8 without a control character but line feed and tab. */
void fuzz_judge_text(const char *text);

/* A directory of this process, made at the first call and removed when it ends. */
const char *fuzz_directory(void);

/* Put @data into the file @name of it. */
void fuzz_write(const char *name, const void *data, size_t size);

/* @data as a string; what follows a NUL is not part of it. To be freed. */
char *fuzz_text(const uint8_t *data, size_t size);
