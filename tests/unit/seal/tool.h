/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory of its own for a test, and the real minisign(1) run inside it. */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	char *directory; /* owned */
} Tool;

void tool_init(Tool *self);
void tool_clear(Tool *self); /* removes the directory */

/* The path of @name in the directory; freed by the caller. */
char *tool_path(const Tool *self, const char *name);
void tool_write(const Tool *self, const char *name, const char *text);
GBytes *tool_read(const Tool *self, const char *name);

/* Run minisign with the words of @arguments; true when it exits 0. */
bool tool_minisign(const Tool *self, const char *arguments);
