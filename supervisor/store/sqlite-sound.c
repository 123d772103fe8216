/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite-sound.h"

#include <string.h>
#include <sys/stat.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

bool dn_sqlite_damaged(GError **error, const char *what, ...)
{
	va_list args;

	va_start(args, what);
	g_autofree char *text = g_strdup_vprintf(what, args);
	va_end(args);
	g_set_error(
		error, DN_ERROR, DN_ERROR_UNTRUSTED,
		"the state is damaged: %s; keep the files and restore the whole state directory "
		"from a backup, or, to begin an empty cluster that its hosts have to join anew, "
		"move it away",
		text);
	return false;
}

static int64_t sum_of(const char *name, uint64_t number, const void *value, size_t size)
{
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	uint64_t big_endian = GUINT64_TO_BE(number);
	guint8 digest[32];
	gsize length = sizeof(digest);
	int64_t sum = 0;

	/* The name's NUL keeps it apart from what follows. */
	g_checksum_update(checksum, (const guchar *)name, (gssize)strlen(name) + 1);
	g_checksum_update(checksum, (const guchar *)&big_endian, sizeof(big_endian));
	g_checksum_update(checksum, (const guchar *)(value != NULL ? "=" : "-"), 1);
	if (value != NULL && size > 0)
		g_checksum_update(checksum, value, (gssize)size);
	g_checksum_get_digest(checksum, digest, &length);
	memcpy(&sum, digest, sizeof(sum));
	return GINT64_FROM_BE(sum);
}

int64_t dn_sqlite_sum(const char *key, uint64_t revision, const void *value, size_t size)
{
	return sum_of(key, revision, value, size);
}

int64_t dn_sqlite_sum_counter(const char *name, uint64_t value)
{
	return sum_of(name, value, NULL, 0);
}

bool dn_sqlite_is_there(const char *path, const DnStoreFloor *floor, GError **error)
{
	struct stat info;
	bool there = stat(path, &info) == 0;

	if (floor == NULL || floor->term == 0 || (there && info.st_size > 0))
		return true;
	return dn_sqlite_damaged(error,
				 "the file is %s, and the journal beside it tells of a term before",
				 there ? "empty" : "missing");
}

/* A failure while everything is read says what is damaged in SQLite's words. */
static bool read_failed(sqlite3 *db, GError **error)
{
	return dn_sqlite_damaged(error, "%s", sqlite3_errmsg(db));
}

static bool is_intact(sqlite3 *db, GError **error)
{
	g_autoptr(sqlite3_stmt) check = NULL;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &check, NULL) != SQLITE_OK ||
	    sqlite3_step(check) != SQLITE_ROW)
		return read_failed(db, error);
	const char *found = (const char *)sqlite3_column_text(check, 0);
	if (g_strcmp0(found, "ok") == 0)
		return true;
	g_autofree char *line = g_strdelimit(g_strdup(found != NULL ? found : ""), "\n", ' ');
	return dn_sqlite_damaged(error, "%s", line);
}

static bool has_sum(sqlite3_stmt *row, int column, int64_t sum)
{
	return sqlite3_column_type(row, column) == SQLITE_NULL ||
	       sqlite3_column_int64(row, column) == sum;
}

static bool are_entries_sound(sqlite3 *db, uint64_t *greatest, GError **error)
{
	g_autoptr(sqlite3_stmt) rows = NULL;
	int code = sqlite3_prepare_v2(db, "SELECT key, revision, value, sum FROM entry", -1, &rows,
				      NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(rows, 0);
		uint64_t revision = (uint64_t)sqlite3_column_int64(rows, 1);
		bool removed = sqlite3_column_type(rows, 2) == SQLITE_NULL;
		const void *value = removed ? NULL : sqlite3_column_blob(rows, 2);
		size_t size = (size_t)sqlite3_column_bytes(rows, 2);

		/* A value of no bytes is no NULL pointer to us: the type tells. */
		if (!removed && value == NULL)
			value = "";
		if (key == NULL || !has_sum(rows, 3, dn_sqlite_sum(key, revision, value, size)))
			return dn_sqlite_damaged(error,
						 "revision %" G_GUINT64_FORMAT
						 " of %.64s is not what was written",
						 revision, key != NULL ? key : "?");
		*greatest = MAX(*greatest, revision);
		code = SQLITE_OK;
	}
	return code == SQLITE_DONE || read_failed(db, error);
}

static bool read_counters(sqlite3 *db, uint64_t *last, uint64_t *term, GError **error)
{
	g_autoptr(sqlite3_stmt) rows = NULL;
	int code = sqlite3_prepare_v2(db, "SELECT name, value, sum FROM counter", -1, &rows, NULL);

	while (code == SQLITE_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(rows, 0);
		uint64_t value = (uint64_t)sqlite3_column_int64(rows, 1);

		if (name == NULL || !has_sum(rows, 2, dn_sqlite_sum_counter(name, value)))
			return dn_sqlite_damaged(error, "counter %.64s is not what was written",
						 name != NULL ? name : "?");
		if (g_str_equal(name, "last"))
			*last = value;
		else if (g_str_equal(name, "term"))
			*term = value;
		code = SQLITE_OK;
	}
	return code == SQLITE_DONE || read_failed(db, error);
}

/* Whoever has taken a term or stored a revision tells of it only afterwards. */
static bool is_newest(const DnStoreFloor *floor, uint64_t last, uint64_t term, GError **error)
{
	if (floor == NULL || (term >= floor->term && last >= floor->revision))
		return true;
	return dn_sqlite_damaged(error,
				 "it is at term %" G_GUINT64_FORMAT ", revision %" G_GUINT64_FORMAT
				 ", and the journal beside it tells of term %" G_GUINT64_FORMAT
				 ", revision %" G_GUINT64_FORMAT ": what came after is lost",
				 term, last, floor->term, floor->revision);
}

bool dn_sqlite_is_sound(sqlite3 *db, const DnStoreFloor *floor, GError **error)
{
	uint64_t greatest = 0, last = 0, term = 0;

	if (!is_intact(db, error) || !are_entries_sound(db, &greatest, error) ||
	    !read_counters(db, &last, &term, error))
		return false;
	if (greatest > last)
		return dn_sqlite_damaged(error,
					 "revision %" G_GUINT64_FORMAT
					 " comes after the last, %" G_GUINT64_FORMAT,
					 greatest, last);
	return is_newest(floor, last, term, error);
}
