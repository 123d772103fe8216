/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "base/failpoint.h"
#include "store/backend.h"
#include "store/sqlite-sound.h"

/*
 * entry holds every revision of every key that is still known; the greatest revision of a key is
 * its present, a NULL value its removal. counter holds the last and oldest revision and the term.
 */
static const char schema[] =
	"CREATE TABLE IF NOT EXISTS entry (key TEXT NOT NULL, revision INTEGER NOT NULL, value "
	"BLOB, sum INTEGER,"
	"  PRIMARY KEY (key, revision)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS entry_by_revision ON entry (revision);"
	"CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL,"
	"  note TEXT, sum INTEGER) WITHOUT ROWID;"
	"INSERT OR IGNORE INTO counter VALUES ('last', 0, NULL, NULL), ('oldest', 0, NULL, NULL),"
	"  ('term', 0, NULL, NULL);";
/* Of before there were sums. */
static const char older[] = "ALTER TABLE entry ADD COLUMN sum INTEGER;"
			    "ALTER TABLE counter ADD COLUMN sum INTEGER;";

/* All of it is the worker's alone after opening. */
typedef struct {
	sqlite3 *db;            /* owned */
	uint64_t written_bytes; /* since @marked, or since it was opened */
	uint64_t marked;        /* the revision at which DN_STORE_KEEP_BYTES were; 0: none yet */
} Sqlite;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

/*
 * Why the file system refused. sqlite3_system_errno() is what errno is after the clean-up; each
 * file remembers its own. The log comes first: it is what a transaction writes to.
 */
static int last_errno(sqlite3 *db)
{
	sqlite3_file *file = NULL;
	int errsv = 0;

	if (db == NULL || (sqlite3_extended_errcode(db) & 0xff) != SQLITE_IOERR)
		return db != NULL ? sqlite3_system_errno(db) : 0;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file) == SQLITE_OK &&
	    file != NULL && file->pMethods != NULL)
		(void)file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &errsv);
	if (errsv == 0)
		(void)sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &errsv);
	return errsv;
}

static bool is_no_space(int code, int errsv)
{
	bool by_system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;

	return (code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE ||
	       (by_system && (errsv == ENOSPC || errsv == EDQUOT));
}

static bool is_refusal(int code, int errsv)
{
	int kind = code & 0xff;

	return kind == SQLITE_READONLY || kind == SQLITE_BUSY || kind == SQLITE_LOCKED ||
	       ((kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN) && errsv == EROFS);
}

/* By remedy: after an fsync that has failed nobody knows what is on disk, whatever its errno. */
static bool fail(Sqlite *self, const char *doing, GError **error)
{
	int code = sqlite3_extended_errcode(self->db);
	int errsv = last_errno(self->db);
	bool is_sync = code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;

	if (code == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
		return dn_sqlite_damaged(error, "%s", sqlite3_errmsg(self->db));
	if (!is_sync && is_no_space(code, errsv))
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "store: %s: no space", doing);
	else if (!is_sync && is_refusal(code, errsv))
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "store: %s: %s", doing,
			    errsv == EROFS ? g_strerror(errsv) : sqlite3_errmsg(self->db));
	else
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
			    "store: %s: %s%s%s; what was not acknowledged may be lost, look after "
			    "the disk",
			    doing, sqlite3_errmsg(self->db), errsv != 0 ? ": " : "",
			    errsv != 0 ? g_strerror(errsv) : "");
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
	g_autoptr(sqlite3_stmt) update = prepare(
		self, "UPDATE counter SET value = ?, note = ?, sum = ? WHERE name = ?", error);

	if (update == NULL)
		return false;
	bind_u64(update, 1, value);
	bind_text(update, 2, note);
	sqlite3_bind_int64(update, 3, dn_sqlite_sum_counter(name, value));
	bind_text(update, 4, name);
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
	gsize size = 0;
	const void *data = write->value == NULL ? NULL : g_bytes_get_data(write->value, &size);

	/* A value of no bytes may have no data, and is no removal. */
	if (write->value != NULL && data == NULL)
		data = "";
	sqlite3_reset(statement);
	bind_text(statement, 1, write->key);
	bind_u64(statement, 2, revision);
	if (data == NULL)
		sqlite3_bind_null(statement, 3);
	else if (size == 0)
		sqlite3_bind_zeroblob(statement, 3, 0);
	else
		sqlite3_bind_blob(statement, 3, data, (int)size, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, dn_sqlite_sum(write->key, revision, data, size));
	self->written_bytes += strlen(write->key) + size;
	return run(self, statement, "write", error);
}

/*
 * Up to where the past may go: few revisions can be much, if their writer likes. Then all goes that
 * was written before the last DN_STORE_KEEP_BYTES.
 */
static uint64_t compact_until(Sqlite *self, uint64_t oldest, uint64_t last)
{
	uint64_t until = 0;

	if (last >= oldest + 2 * (uint64_t)DN_STORE_KEEP)
		until = last - DN_STORE_KEEP;
	if (self->written_bytes >= DN_STORE_KEEP_BYTES) {
		until = MAX(until, self->marked);
		self->marked = last;
		self->written_bytes = 0;
	}
	return until;
}

/* Drop what was superseded, or removed, long enough ago. */
static bool compact(Sqlite *self, uint64_t last, GError **error)
{
	uint64_t oldest = 0;

	if (!read_counter(self, "oldest", &oldest, error))
		return false;
	uint64_t keep = compact_until(self, oldest, last);
	if (keep <= oldest)
		return true;
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
		prepare(self, "INSERT INTO entry VALUES (?, ?, ?, ?)", error);

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

/* Has it tables, and have they sums? One that was just made has none. */
static bool look(Sqlite *self, bool *has_tables, bool *has_sums, GError **error)
{
	g_autoptr(sqlite3_stmt) query =
		prepare(self,
			"SELECT count(*), (SELECT count(*) FROM pragma_table_info('entry') WHERE "
			"name = 'sum') FROM sqlite_schema WHERE name = 'entry'",
			error);

	if (query == NULL)
		return false;
	if (sqlite3_step(query) != SQLITE_ROW)
		return fail(self, "read", error);
	*has_tables = sqlite3_column_int64(query, 0) > 0;
	*has_sums = sqlite3_column_int64(query, 1) > 0;
	return true;
}

static bool is_known_empty(const DnStoreFloor *floor)
{
	return floor == NULL || floor->term == 0;
}

/* Judge what is there before a byte of it is changed. */
static bool begin(Sqlite *self, const DnStoreFloor *floor, GError **error)
{
	bool has_tables = false, has_sums = false;

	if (!execute(self, "PRAGMA busy_timeout = 2000; PRAGMA trusted_schema = OFF;", error) ||
	    !look(self, &has_tables, &has_sums, error))
		return false;
	if (!has_tables && !is_known_empty(floor))
		return dn_sqlite_damaged(error, "it has no tables");
	if (has_tables && has_sums && !dn_sqlite_is_sound(self->db, floor, error))
		return false;
	return execute(self, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", error) &&
	       (!has_tables || has_sums || execute(self, older, error)) &&
	       execute(self, schema, error);
}

/*
 * The log may hold pages that reached memory and not the disk: the fsync of whoever died may have
 * failed, and the next one would not tell. Copied into the database they are written anew. A full
 * disk has not failed, only refused.
 */
static bool settle(Sqlite *self, GError **error)
{
	GError *failed = NULL;

	if (execute(self, "PRAGMA wal_checkpoint(TRUNCATE)", &failed))
		return true;
	if (failed->domain == DN_ERROR && failed->code == DN_ERROR_EXHAUSTED) {
		g_error_free(failed);
		return true;
	}
	g_propagate_error(error, failed);
	return false;
}

DnStore *dn_store_open_sqlite(const char *path, const DnStoreFloor *floor, GError **error)
{
	Sqlite *self = g_new0(Sqlite, 1);
	bool there = dn_sqlite_is_there(path, floor, error);

	if (there && sqlite3_open_v2(path, &self->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
				     NULL) != SQLITE_OK) {
		fail(self, "open", error);
		there = false;
	}
	/* What is refused is left as it is, its log included. */
	if (there)
		sqlite3_db_config(self->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (there && begin(self, floor, error) && settle(self, error)) {
		sqlite3_db_config(self->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
		return dn_store_new(&ops, self);
	}
	g_prefix_error(error, "%s: ", path);
	sqlite_close(self);
	return NULL;
}
