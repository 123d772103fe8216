/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>
#include <string.h>

#include "base/failpoint.h"
#include "store/backend.h"

/*
 * entry holds every revision of every key that is still known; the greatest revision of a key is
 * its present, a NULL value its removal. counter holds the last and oldest revision and the term.
 */
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS entry (key TEXT NOT NULL, revision INTEGER NOT NULL, value "
	"BLOB,"
	"  PRIMARY KEY (key, revision)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS entry_by_revision ON entry (revision);"
	"CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL,"
	"  note TEXT) WITHOUT ROWID;"
	"INSERT OR IGNORE INTO counter VALUES ('last', 0, NULL), ('oldest', 0, NULL),"
	"  ('term', 0, NULL);";

typedef struct {
	sqlite3 *db; /* owned; the worker's alone after opening */
} Sqlite;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

static bool fail(Sqlite *self, const char *doing, GError **error)
{
	int code = sqlite3_errcode(self->db);

	g_set_error(error, DN_ERROR,
		    code == SQLITE_FULL ? DN_ERROR_EXHAUSTED : DN_ERROR_UNAVAILABLE,
		    "store: %s: %s", doing, sqlite3_errmsg(self->db));
	return false;
}

static bool execute(Sqlite *self, const char *sql, GError **error)
{
	return sqlite3_exec(self->db, sql, NULL, NULL, NULL) == SQLITE_OK || fail(self, sql, error);
}

static sqlite3_stmt *prepare(Sqlite *self, const char *sql, GError **error)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(self->db, sql, -1, &statement, NULL) != SQLITE_OK)
		fail(self, "prepare", error);
	return statement;
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	sqlite3_bind_text(statement, index, text, -1, SQLITE_TRANSIENT);
}

static void bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
	sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
}

static bool run(Sqlite *self, sqlite3_stmt *statement, const char *doing, GError **error)
{
	return sqlite3_step(statement) == SQLITE_DONE || fail(self, doing, error);
}

static bool read_counter(Sqlite *self, const char *name, uint64_t *value, GError **error)
{
	g_autoptr(sqlite3_stmt) query =
		prepare(self, "SELECT value FROM counter WHERE name = ?", error);

	if (query == NULL)
		return false;
	bind_text(query, 1, name);
	if (sqlite3_step(query) != SQLITE_ROW)
		return fail(self, "read counter", error);
	*value = (uint64_t)sqlite3_column_int64(query, 0);
	return true;
}

static bool write_counter(Sqlite *self, const char *name, uint64_t value, const char *note,
			  GError **error)
{
	g_autoptr(sqlite3_stmt) update =
		prepare(self, "UPDATE counter SET value = ?, note = ? WHERE name = ?", error);

	if (update == NULL)
		return false;
	bind_u64(update, 1, value);
	bind_text(update, 2, note);
	bind_text(update, 3, name);
	return run(self, update, "write counter", error);
}

static bool sqlite_revisions(gpointer backend, uint64_t *last, uint64_t *oldest, GError **error)
{
	return read_counter(backend, "last", last, error) &&
	       read_counter(backend, "oldest", oldest, error);
}

static bool read_entries(Sqlite *self, sqlite3_stmt *query, GPtrArray *entries, GError **error)
{
	int code;

	while ((code = sqlite3_step(query)) == SQLITE_ROW) {
		g_autoptr(GBytes) value = NULL;

		/* A value of no bytes is no NULL pointer to us: the type tells. */
		if (sqlite3_column_type(query, 2) != SQLITE_NULL)
			value = g_bytes_new(sqlite3_column_blob(query, 2),
					    (gsize)sqlite3_column_bytes(query, 2));
		g_ptr_array_add(entries, dn_store_entry_new(
						 (const char *)sqlite3_column_text(query, 0), value,
						 (uint64_t)sqlite3_column_int64(query, 1)));
	}
	return code == SQLITE_DONE || fail(self, "read", error);
}

/* The first text after everything that begins with @prefix, in bytes; NULL: there is none. */
static char *end_of(const char *prefix)
{
	char *end = g_strdup(prefix);

	for (size_t i = strlen(end); i-- > 0; end[i] = '\0')
		if ((unsigned char)end[i] < 0x7f) {
			end[i]++;
			return end;
		}
	g_free(end);
	return NULL;
}

static bool sqlite_list(gpointer backend, const char *prefix, bool exact, uint64_t at,
			GPtrArray *entries, GError **error)
{
	g_autofree char *end = exact ? NULL : end_of(prefix);
	g_autoptr(sqlite3_stmt) query =
		prepare(backend,
			exact ? "SELECT key, max(revision), value FROM entry WHERE key = ?1 AND "
				"revision <= ?3 GROUP BY key HAVING value IS NOT NULL"
			      : "SELECT key, max(revision), value FROM entry WHERE key >= ?1 AND "
				"(?2 IS NULL OR key < ?2) AND revision <= ?3 GROUP BY key "
				"HAVING value IS NOT NULL ORDER BY key",
			error);

	if (query == NULL)
		return false;
	bind_text(query, 1, prefix);
	if (!exact)
		bind_text(query, 2, end);
	bind_u64(query, 3, at);
	return read_entries(backend, query, entries, error);
}

static bool sqlite_changes(gpointer backend, const char *prefix, uint64_t since, GPtrArray *entries,
			   GError **error)
{
	g_autofree char *end = end_of(prefix);
	g_autoptr(sqlite3_stmt) query =
		prepare(backend,
			"SELECT key, revision, value FROM entry WHERE revision > ?3 AND key >= ?1 "
			"AND (?2 IS NULL OR key < ?2) ORDER BY revision, key",
			error);

	if (query == NULL)
		return false;
	bind_text(query, 1, prefix);
	bind_text(query, 2, end);
	bind_u64(query, 3, since);
	return read_entries(backend, query, entries, error);
}

static bool compare_holds(Sqlite *self, const DnStoreCompare *compare, uint64_t last, bool *holds,
			  GError **error)
{
	g_autoptr(GPtrArray) entries = g_ptr_array_new();

	if (!sqlite_list(self, compare->key, true, last, entries, error))
		return false;
	DnStoreEntry *entry = entries->len > 0 ? g_ptr_array_index(entries, 0) : NULL;
	*holds = (entry == NULL ? 0 : entry->revision) == compare->revision;
	dn_store_entry_free(entry);
	return true;
}

static bool insert(Sqlite *self, sqlite3_stmt *statement, const DnStoreWrite *write,
		   uint64_t revision, GError **error)
{
	sqlite3_reset(statement);
	bind_text(statement, 1, write->key);
	bind_u64(statement, 2, revision);
	if (write->value == NULL)
		sqlite3_bind_null(statement, 3);
	else if (g_bytes_get_size(write->value) == 0)
		sqlite3_bind_zeroblob(statement, 3, 0);
	else
		sqlite3_bind_blob(statement, 3, g_bytes_get_data(write->value, NULL),
				  (int)g_bytes_get_size(write->value), SQLITE_STATIC);
	return run(self, statement, "write", error);
}

/* Drop what was superseded, or removed, at least DN_STORE_KEEP revisions ago. */
static bool compact(Sqlite *self, uint64_t last, GError **error)
{
	uint64_t oldest = 0;

	if (!read_counter(self, "oldest", &oldest, error))
		return false;
	if (last < oldest + 2 * (uint64_t)DN_STORE_KEEP)
		return true;
	uint64_t keep = last - DN_STORE_KEEP;
	g_autoptr(sqlite3_stmt) superseded = prepare(
		self,
		"DELETE FROM entry WHERE revision <= ?1 AND (value IS NULL OR EXISTS (SELECT 1 "
		"FROM entry AS later WHERE later.key = entry.key AND later.revision > "
		"entry.revision AND later.revision <= ?1))",
		error);
	if (superseded == NULL)
		return false;
	bind_u64(superseded, 1, keep);
	return run(self, superseded, "compact", error) &&
	       write_counter(self, "oldest", keep, NULL, error);
}

static bool write_all(Sqlite *self, const DnStoreTxn *txn, uint64_t revision, GError **error)
{
	g_autoptr(sqlite3_stmt) statement =
		prepare(self, "INSERT INTO entry VALUES (?, ?, ?)", error);

	if (statement == NULL)
		return false;
	for (guint i = 0; i < txn->writes->len; i++)
		if (!insert(self, statement, g_ptr_array_index(txn->writes, i), revision, error))
			return false;
	return write_counter(self, "last", revision, NULL, error) && compact(self, revision, error);
}

static bool inside_txn(Sqlite *self, const DnStoreTxn *txn, bool *applied, uint64_t *revision,
		       GError **error)
{
	uint64_t term = 0, last = 0;

	if (!read_counter(self, "term", &term, error) || !read_counter(self, "last", &last, error))
		return false;
	if (txn->term == 0 || txn->term != term)
		return dn_store_lost(error);
	*applied = true;
	*revision = last;
	for (guint i = 0; i < txn->compares->len && *applied; i++)
		if (!compare_holds(self, g_ptr_array_index(txn->compares, i), last, applied, error))
			return false;
	if (!*applied || txn->writes->len == 0)
		return true;
	*revision = last + 1;
	return write_all(self, txn, last + 1, error);
}

/* Returns @done; the failure of a rollback says nothing new. */
static bool end_txn(Sqlite *self, bool done, GError **error)
{
	if (done && dn_failpoint("supervisor.store.commit.before", error) &&
	    execute(self, "COMMIT", error)) {
		dn_failpoint_pass("supervisor.store.commit.after");
		return true;
	}
	sqlite3_exec(self->db, "ROLLBACK", NULL, NULL, NULL);
	return false;
}

static bool sqlite_txn(gpointer backend, const DnStoreTxn *txn, bool *applied, uint64_t *revision,
		       GError **error)
{
	return dn_failpoint("supervisor.store.begin.before", error) &&
	       execute(backend, "BEGIN IMMEDIATE", error) &&
	       end_txn(backend, inside_txn(backend, txn, applied, revision, error), error);
}

static bool sqlite_campaign(gpointer backend, const char *candidate, uint64_t *term, GError **error)
{
	uint64_t last = 0;

	if (!dn_failpoint("supervisor.store.campaign.before", error) ||
	    !execute(backend, "BEGIN IMMEDIATE", error))
		return false;
	bool done = read_counter(backend, "term", &last, error) &&
		    write_counter(backend, "term", last + 1, candidate, error);
	if (!end_txn(backend, done, error))
		return false;
	*term = last + 1;
	return true;
}

static void sqlite_close(gpointer backend)
{
	Sqlite *self = backend;

	sqlite3_close(self->db);
	g_free(self);
}

static const DnStoreBackend ops = {
	.list = sqlite_list,
	.revisions = sqlite_revisions,
	.txn = sqlite_txn,
	.changes = sqlite_changes,
	.campaign = sqlite_campaign,
	.close = sqlite_close,
};

DnStore *dn_store_open_sqlite(const char *path, GError **error)
{
	Sqlite *self = g_new0(Sqlite, 1);
	int code =
		sqlite3_open_v2(path, &self->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (code != SQLITE_OK ||
	    !execute(self,
		     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		     "PRAGMA busy_timeout = 2000; PRAGMA trusted_schema = OFF;",
		     error) ||
	    !execute(self, schema, error)) {
		if (code != SQLITE_OK)
			fail(self, "open", error);
		g_prefix_error(error, "%s: ", path);
		sqlite_close(self);
		return NULL;
	}
	return dn_store_new(&ops, self);
}
