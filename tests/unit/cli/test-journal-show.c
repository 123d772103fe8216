/* SPDX-License-Identifier: Apache-2.0 */

/* A journal as the daemons write it, told by the program itself. */

#include <criterion/criterion.h>
#include <gio/gio.h>
#include <string.h>

#include "base/file.h"
#include "journal/journal.h"
#include "support/suite.h"

static char *directory;

static void setup(void)
{
	directory = g_dir_make_tmp("dnode-journal-XXXXXX", NULL);
}

static void teardown(void)
{
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

TestSuite(journal_show, .init = setup, .fini = teardown, .timeout = 60);

static char *show(void)
{
	g_autoptr(GError) error = NULL;
	char *said = NULL;
	g_autoptr(GSubprocess) process = g_subprocess_new(
		G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, DNODE, "journal", "show", directory, NULL);

	cr_assert_not_null(process);
	cr_assert(g_subprocess_communicate_utf8(process, NULL, NULL, &said, NULL, &error));
	cr_assert_eq(g_subprocess_get_exit_status(process), 0);
	return said;
}

Test(journal_show, every_value_is_told_as_it_was_written)
{
	g_autoptr(DnSecretKey) key = dn_secret_key_generate();
	g_autoptr(GError) error = NULL;
	DnJournal *journal = dn_journal_open(
		&(DnJournalConfig){.dir = directory, .identity = "supervisor", .key = key}, &error);
	cr_assert_not_null(journal, "%s", error != NULL ? error->message : "");
	DnJournalEntry *entry = dn_journal_entry_new("order.sent", 1);
	g_autofree char *text = g_strnfill(DN_JOURNAL_TEXT_LIMIT, 'x');

	dn_journal_entry_text(entry, "node", "web-1");
	dn_journal_entry_number(entry, "epoch", 7);
	/* More than a line takes: what is left out is told by a boolean. */
	for (unsigned i = 0; i < DN_JOURNAL_LINE_LIMIT / DN_JOURNAL_TEXT_LIMIT + 1; i++)
		dn_journal_entry_text(entry, "more", text);
	dn_journal_add(journal, entry, NULL, NULL);
	dn_journal_flush(journal);
	dn_journal_close(journal);
	g_autofree char *said = show();
	cr_assert_not_null(strstr(said, " node=web-1"), "%s", said);
	cr_assert_not_null(strstr(said, " epoch=7"), "%s", said);
	cr_assert_not_null(strstr(said, " shortened=true"), "%s", said);
}
