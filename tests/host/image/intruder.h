/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What somebody with root's rights does to a file of an image. Each is a WatcherAct, so that it is
 * another process that does it: the guard believes its own. False: it could not be done.
 */

#include <stdbool.h>
#include <sys/types.h>

/* Content: the first byte is another one. */
bool intruder_flip(const char *path);
/* The same size and times as before, as far as anybody can set them. */
bool intruder_flip_and_hide(const char *path);
/* Through a mapping that is still there when the process ends without unmapping it. */
bool intruder_flip_by_mapping(const char *path);

bool intruder_make_writable(const char *path);
/* To another owner; links are not followed. */
bool intruder_give_away(const char *path);
/* With an extended attribute. */
bool intruder_annotate(const char *path);

bool intruder_make(const char *path);
bool intruder_delete(const char *path);
bool intruder_move(const char *path); /* PATH.moved */
/* A link to a file of the host takes its place. */
bool intruder_relink(const char *path);

/* So many files of @directory that the kernel's queue runs over. */
bool intruder_touch_much(const char *directory);

/* No act: a process that writes to @path without end; to be killed. */
pid_t intruder_flood(const char *path);
