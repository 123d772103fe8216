/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/file.h"

void folder_init(Folder *self)
{
	g_autoptr(GError) error = NULL;

	self->dir = g_dir_make_tmp("dnode-journal-XXXXXX", &error);
	cr_assert(self->dir != NULL);
	self->key = dn_secret_key_generate();
}

void folder_clear(Folder *self)
{
	cr_assert(dn_file_remove_tree(self->dir, NULL));
	g_clear_pointer(&self->dir, g_free);
	g_clear_pointer(&self->key, dn_secret_key_free);
}

static DnJournalConfig fill(const Folder *self, const DnJournalConfig *config)
{
	DnJournalConfig filled = config != NULL ? *config : (DnJournalConfig){0};

	filled.dir = self->dir;
	filled.identity = IDENTITY;
	filled.key = self->key;
	return filled;
}

DnJournal *folder_open(const Folder *self, const DnJournalConfig *config)
{
	g_autoptr(GError) error = NULL;
	DnJournalConfig filled = fill(self, config);
	DnJournal *journal = dn_journal_open(&filled, &error);

	cr_assert(journal != NULL, "%s", error != NULL ? error->message : "");
	return journal;
}

char *folder_refusal(const Folder *self)
{
	g_autoptr(GError) error = NULL;
	DnJournalConfig filled = fill(self, NULL);
	g_autoptr(DnJournal) journal = dn_journal_open(&filled, &error);

	cr_assert(journal == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	return g_strdup(error->message);
}

void folder_add(DnJournal *journal, const char *kind, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		DnJournalEntry *entry = dn_journal_entry_new(kind, dn_clock_realtime_ns());

		dn_journal_entry_number(entry, "number", i);
		dn_journal_add(journal, entry, NULL, NULL);
	}
	dn_journal_flush(journal);
}

static char *segment_path(const Folder *self, unsigned number)
{
	g_autofree char *name = g_strdup_printf("%010u.jsonl", number);

	return g_build_filename(self->dir, name, NULL);
}

GBytes *folder_segment(const Folder *self, unsigned number)
{
	g_autofree char *path = segment_path(self, number);

	return dn_file_read(path, DN_JOURNAL_SEGMENT_LIMIT, NULL);
}

void folder_set_segment(const Folder *self, unsigned number, const void *data, size_t size)
{
	g_autofree char *path = segment_path(self, number);

	cr_assert(g_file_set_contents(path, data, (gssize)size, NULL));
}

static void keep_entry(uint64_t seq, const char *line, size_t length, void *data)
{
	if (data != NULL) {
		g_string_append_len(data, line, (gssize)length);
		g_string_append_c(data, '\n');
	}
}

DnJournalVerdict folder_walk(const Folder *self, DnJournalWalk *walk, GString *entries)
{
	static const DnJournalVisitor visitor = {.entry = keep_entry};
	DnJournalVerdict verdict = DN_JOURNAL_WHOLE;

	*walk = (DnJournalWalk){0};
	for (unsigned number = 1; number < 1000; number++) {
		g_autoptr(GBytes) bytes = folder_segment(self, number);
		g_autofree char *why = NULL;
		size_t size = 0;

		if (bytes == NULL)
			continue;
		const char *data = g_bytes_get_data(bytes, &size);
		verdict = dn_journal_walk(walk, data, size, &visitor, entries, &why);
		if (verdict != DN_JOURNAL_WHOLE)
			break;
	}
	return verdict;
}
