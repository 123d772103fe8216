/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A journal in a temporary directory, and what its files say. */

#include "journal/journal.h"

#define IDENTITY "0123456789abcdef/host/h1"

typedef struct {
	char *dir;
	DnSecretKey *key;
} Folder;

void folder_init(Folder *self);
void folder_clear(Folder *self);

/* Opens it or fails the test. */
DnJournal *folder_open(const Folder *self, const DnJournalConfig *config);
/* The line it is refused with. */
char *folder_refusal(const Folder *self);

/* Add @count entries of @kind and wait until they are durable or dropped. */
void folder_add(DnJournal *journal, const char *kind, unsigned count);

/* The bytes of segment @number, NULL when there is none. */
GBytes *folder_segment(const Folder *self, unsigned number);
void folder_set_segment(const Folder *self, unsigned number, const void *data, size_t size);

/* Walk every segment; entry lines are appended to @entries, which may be NULL. */
DnJournalVerdict folder_walk(const Folder *self, DnJournalWalk *walk, GString *entries);
