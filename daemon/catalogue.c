/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/catalogue.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/log.h"

enum {
	CATALOGUE_APPLICATION_ID = 0x6c656174, /* "leat", for file(1) */
	CATALOGUE_BUSY_MS = 2000,              /* an administrator may look with another tool */
};

struct catalogue {
	sqlite3 *db;
	bool in_transaction; /* between catalogue_begin() and catalogue_end() */
	char path[PATH_MAX];
};

/* The keys below are those of a later merge and split: a shard may have one or two parents. */
static const char catalogue_schema[] =
	"CREATE TABLE numbers(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE streams(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" uuid BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, owner INTEGER NOT NULL,"
	" grp INTEGER NOT NULL, mode INTEGER NOT NULL, shards INTEGER NOT NULL,"
	" ring INTEGER NOT NULL, segment INTEGER NOT NULL, retain_ns INTEGER NOT NULL,"
	" retain_len INTEGER NOT NULL, sync TEXT NOT NULL, sync_ns INTEGER NOT NULL,"
	" full TEXT NOT NULL, on_disk_full TEXT NOT NULL, memory INTEGER NOT NULL,"
	" hash TEXT NOT NULL, checksum INTEGER NOT NULL, claim_timeout_ns INTEGER NOT NULL,"
	" rate_limit INTEGER NOT NULL, created INTEGER NOT NULL);"
	"CREATE TABLE shards(stream INTEGER NOT NULL REFERENCES streams(id) ON DELETE CASCADE,"
	" shard INTEGER NOT NULL, parent INTEGER, second_parent INTEGER,"
	" hash_first TEXT NOT NULL, hash_last TEXT NOT NULL, closed_at INTEGER,"
	" PRIMARY KEY(stream, shard)) WITHOUT ROWID;"
	"CREATE TABLE checkpoints(stream INTEGER NOT NULL REFERENCES streams(id)"
	" ON DELETE CASCADE, name TEXT NOT NULL, shard INTEGER NOT NULL,"
	" position INTEGER NOT NULL, changed INTEGER NOT NULL,"
	" PRIMARY KEY(stream, name, shard)) WITHOUT ROWID;"
	"CREATE TABLE closed_segments(stream INTEGER NOT NULL REFERENCES streams(id)"
	" ON DELETE CASCADE, shard INTEGER NOT NULL, base INTEGER NOT NULL,"
	" closed_ns INTEGER NOT NULL, PRIMARY KEY(stream, shard, base)) WITHOUT ROWID;";

static int catalogue_errno(int r)
{
	switch (r & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_CANTOPEN:
		return -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

/* What SQLite makes of it, and what the system had said: only both together tell what to do. */
static const char *catalogue_why(struct catalogue *c, int r, char *buf, size_t len)
{
	int kind = r & 0xff, error = 0;

	if (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_FULL ||
	    kind == SQLITE_PERM || kind == SQLITE_READONLY || kind == SQLITE_AUTH)
		error = sqlite3_system_errno(c->db);
	snprintf(buf, len, "%s%s%s", sqlite3_errmsg(c->db), error ? ": " : "",
		 error ? strerror(error) : "");
	return buf;
}

/* What SQLite says is for the log; the caller says what could not be done. */
static int catalogue_failed(struct catalogue *c, int r)
{
	int error = catalogue_errno(r);
	char why[256];

	if (error < 0 && error != -EEXIST)
		log_limited(LOG_LEVEL_ERROR, "%s: %s", c->path,
			    catalogue_why(c, r, why, sizeof(why)));
	return error;
}

static int catalogue_exec(struct catalogue *c, const char *sql)
{
	return catalogue_failed(c, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
}

static void catalogue_finalizep(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

/* A transaction that could not be rolled back, for want of memory, is still open: what came next
 * would be part of it, and gone with it. */
static int catalogue_settle(struct catalogue *c)
{
	if (c->in_transaction || sqlite3_get_autocommit(c->db))
		return 0;
	return catalogue_exec(c, "ROLLBACK");
}

/* A statement with integers bound in order; other types are bound by the caller. */
static int catalogue_prepare(struct catalogue *c, sqlite3_stmt **ret_stmt, const char *sql,
			     unsigned int n, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list args;
	int r = catalogue_settle(c);

	if (r < 0)
		return r;
	r = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL);
	va_start(args, n);
	for (unsigned int i = 0; i < n && r == SQLITE_OK; i++)
		r = sqlite3_bind_int64(stmt, (int)i + 1, va_arg(args, int64_t));
	va_end(args);
	if (r != SQLITE_OK) {
		sqlite3_finalize(stmt);
		return catalogue_failed(c, r);
	}
	*ret_stmt = stmt;
	return 0;
}

static int catalogue_bind_text(sqlite3_stmt *stmt, int i, const char *text)
{
	return sqlite3_bind_text(stmt, i, text, -1, SQLITE_TRANSIENT);
}

/* A statement that gives no rows. */
static int catalogue_run(struct catalogue *c, sqlite3_stmt *stmt)
{
	int r = sqlite3_step(stmt);

	return r == SQLITE_DONE ? 0 : catalogue_failed(c, r);
}

int catalogue_begin(struct catalogue *catalogue)
{
	int r = catalogue_settle(catalogue);

	if (r == 0)
		r = catalogue_exec(catalogue, "BEGIN IMMEDIATE");
	catalogue->in_transaction = r == 0;
	return r;
}

int catalogue_end(struct catalogue *catalogue, int r)
{
	if (r == 0)
		r = catalogue_exec(catalogue, "COMMIT");
	catalogue->in_transaction = false;
	(void)catalogue_settle(catalogue);
	return r;
}

/* ---- opening ---- */

static int catalogue_get_pragma(struct catalogue *c, const char *sql, int64_t *ret_value)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(c, &stmt, sql, 0);

	if (r < 0)
		return r;
	r = sqlite3_step(stmt);
	if (r != SQLITE_ROW)
		return r == SQLITE_DONE ? -EBADMSG : catalogue_failed(c, r);
	*ret_value = sqlite3_column_int64(stmt, 0);
	return 0;
}

static int catalogue_make(struct catalogue *c)
{
	char sql[128];
	int r = catalogue_begin(c);

	if (r < 0)
		return r;
	snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 CATALOGUE_APPLICATION_ID, CATALOGUE_VERSION);
	r = catalogue_exec(c, catalogue_schema);
	if (r == 0)
		r = catalogue_exec(c, sql);
	return catalogue_end(c, r);
}

static int catalogue_check_version(struct catalogue *c, char *detail, size_t detail_len)
{
	int64_t version = 0, id = 0;
	int r = catalogue_get_pragma(c, "PRAGMA user_version", &version);

	if (r == 0)
		r = catalogue_get_pragma(c, "PRAGMA application_id", &id);
	if (r < 0)
		return r;
	if (version == 0 && id == 0)
		return catalogue_make(c);
	if (id != CATALOGUE_APPLICATION_ID)
		return -EBADMSG;
	if (version > CATALOGUE_VERSION) {
		snprintf(detail, detail_len,
			 "%s was made by a newer leatd (version %lld, this one knows %d)", c->path,
			 (long long)version, CATALOGUE_VERSION);
		return -EPROTONOSUPPORT;
	}
	return 0;
}

int catalogue_open(const char *directory, struct catalogue **ret_catalogue, char *detail,
		   size_t detail_len)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	struct catalogue *c = calloc(1, sizeof(*c));
	char why[256];
	mode_t mask;
	int r;

	detail[0] = '\0';
	if (!c)
		return -ENOMEM;
	snprintf(c->path, sizeof(c->path), "%s/" CATALOGUE_NAME, directory);
	mask = umask(0077);
	r = sqlite3_open_v2(c->path, &c->db, flags, NULL);
	r = r == SQLITE_OK ? 0 : catalogue_errno(r);
	if (r == 0) {
		sqlite3_busy_timeout(c->db, CATALOGUE_BUSY_MS);
		/* FULL: what was answered with "done" is still there after a power cut. */
		r = catalogue_exec(c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;");
	}
	if (r == 0)
		r = catalogue_check_version(c, detail, detail_len);
	umask(mask);
	if (r < 0) {
		if (detail[0] == '\0')
			snprintf(detail, detail_len,
				 "%s cannot be used as the catalogue: %s; put a copy of it back: "
				 "what is kept in %s/streams is as it was",
				 c->path,
				 c->db ? catalogue_why(c, sqlite3_errcode(c->db), why, sizeof(why))
				       : strerror(-r),
				 directory);
		catalogue_close(c);
		return r;
	}
	*ret_catalogue = c;
	return 0;
}

struct catalogue *catalogue_close(struct catalogue *catalogue)
{
	if (!catalogue)
		return NULL;
	sqlite3_close(catalogue->db);
	free(catalogue);
	return NULL;
}

/* ---- streams ---- */

#define CATALOGUE_OPTIONS                                                                          \
	"owner, grp, mode, shards, ring, segment, retain_ns, retain_len, sync, sync_ns, full, "    \
	"on_disk_full, memory, hash, checksum, claim_timeout_ns, rate_limit"

enum {
	CATALOGUE_N_OPTIONS = 17
};

static bool catalogue_column_is(sqlite3_stmt *stmt, int i, const char *word)
{
	const char *text = (const char *)sqlite3_column_text(stmt, i);

	return text && strcmp(text, word) == 0;
}

/* The columns of CATALOGUE_OPTIONS from `i` on. */
static int catalogue_read_options(sqlite3_stmt *stmt, int i, struct options *o)
{
	const char *sync, *disk_full;
	int r;

	o->access.owner = (uid_t)sqlite3_column_int64(stmt, i++);
	o->access.group = (gid_t)sqlite3_column_int64(stmt, i++);
	o->access.mode = (uint32_t)sqlite3_column_int64(stmt, i++);
	o->n_shards = (uint32_t)sqlite3_column_int64(stmt, i++);
	o->ring_len = (uint64_t)sqlite3_column_int64(stmt, i++);
	o->segment_len = (uint64_t)sqlite3_column_int64(stmt, i++);
	o->retain_ns = (uint64_t)sqlite3_column_int64(stmt, i++);
	o->retain_len = (uint64_t)sqlite3_column_int64(stmt, i++);
	sync = (const char *)sqlite3_column_text(stmt, i++);
	o->policy.sync_ns = (uint64_t)sqlite3_column_int64(stmt, i++);
	o->full_fail = catalogue_column_is(stmt, i++, "fail");
	disk_full = (const char *)sqlite3_column_text(stmt, i++);
	o->memory = sqlite3_column_int64(stmt, i++) != 0;
	o->hash_md5 = catalogue_column_is(stmt, i++, "md5");
	o->no_checksum = sqlite3_column_int64(stmt, i++) == 0;
	o->policy.claim_timeout_ns = (uint64_t)sqlite3_column_int64(stmt, i++);
	o->policy.rate_limit = (uint64_t)sqlite3_column_int64(stmt, i++);
	r = sync ? options_parse_sync_name(sync, &o->policy.sync) : -EBADMSG;
	if (r == 0)
		r = disk_full ? options_parse_disk_full_name(disk_full, &o->policy.on_disk_full)
			      : -EBADMSG;
	/* Somebody may have edited it: what would be fatal later is refused here. */
	if (r < 0 || o->n_shards < 1 || o->n_shards > OPTIONS_SHARDS_MAX ||
	    !is_power_of_two(o->ring_len) || o->ring_len < LAYOUT_RING_MIN)
		return -EBADMSG;
	return 0;
}

static int catalogue_read_stream(sqlite3_stmt *stmt, struct catalogue_stream *s)
{
	const char *name = (const char *)sqlite3_column_text(stmt, 1);
	const void *uuid = sqlite3_column_blob(stmt, 2);
	int r;

	*s = (struct catalogue_stream){ .id = sqlite3_column_int64(stmt, 0) };
	if (!name || !names_is_valid(name) || sqlite3_column_bytes(stmt, 2) != 16)
		return -EBADMSG;
	snprintf(s->name, sizeof(s->name), "%s", name);
	memcpy(s->uuid, uuid, 16);
	s->state = (enum catalogue_state)sqlite3_column_int(stmt, 3);
	r = catalogue_read_options(stmt, 4, &s->options);
	/* What is only to be cleared away need not be fit to be served. */
	if (r == 0 && s->state == CATALOGUE_LIVE && !options_are_possible(&s->options))
		return -EBADMSG;
	return r;
}

int catalogue_each_stream(struct catalogue *catalogue, catalogue_stream_fn fn, void *ctx)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	struct catalogue_stream s;
	int step, r;

	r = catalogue_prepare(catalogue, &stmt,
			      "SELECT id, name, uuid, state, " CATALOGUE_OPTIONS
			      " FROM streams ORDER BY name",
			      0);
	while (r == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			return catalogue_failed(catalogue, step);
		r = catalogue_read_stream(stmt, &s);
		if (r == 0) {
			r = fn(ctx, &s);
			continue;
		}
		/* One bad row must not keep all other streams from being served. */
		log_error("%s: the row of stream %lld makes no sense; it is left out",
			  catalogue->path, (long long)s.id);
		r = 0;
	}
	return r;
}

static int catalogue_bind_options(sqlite3_stmt *stmt, int i, const struct options *o)
{
	const int64_t numbers[8] = {
		(int64_t)o->access.owner, (int64_t)o->access.group, (int64_t)o->access.mode,
		(int64_t)o->n_shards,     (int64_t)o->ring_len,     (int64_t)o->segment_len,
		(int64_t)o->retain_ns,    (int64_t)o->retain_len,
	};
	int r = SQLITE_OK;

	for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
		r |= sqlite3_bind_int64(stmt, i++, numbers[k]);
	r |= catalogue_bind_text(stmt, i++, options_sync_name(o->policy.sync));
	r |= sqlite3_bind_int64(stmt, i++, (int64_t)o->policy.sync_ns);
	r |= catalogue_bind_text(stmt, i++, o->full_fail ? "fail" : "block");
	r |= catalogue_bind_text(stmt, i++, options_disk_full_name(o->policy.on_disk_full));
	r |= sqlite3_bind_int64(stmt, i++, o->memory);
	r |= catalogue_bind_text(stmt, i++, o->hash_md5 ? "md5" : "xxh3");
	r |= sqlite3_bind_int64(stmt, i++, !o->no_checksum);
	r |= sqlite3_bind_int64(stmt, i++, (int64_t)o->policy.claim_timeout_ns);
	r |= sqlite3_bind_int64(stmt, i++, (int64_t)o->policy.rate_limit);
	return r == SQLITE_OK ? 0 : -ENOMEM;
}

/* The shard's part of the 128-bit hash range, as 32 hexadecimal digits each. */
static void catalogue_hash_range(uint32_t shard, uint32_t n, char first[33], char last[33])
{
	unsigned __int128 all = ~(unsigned __int128)0, part = all / n + (all % n == n - 1);
	unsigned __int128 from = part * shard;
	unsigned __int128 to = shard == n - 1 ? all : part * (shard + 1) - 1;

	snprintf(first, 33, "%016llx%016llx", (unsigned long long)(from >> 64),
		 (unsigned long long)from);
	snprintf(last, 33, "%016llx%016llx", (unsigned long long)(to >> 64),
		 (unsigned long long)to);
}

static int catalogue_add_shard(struct catalogue *c, int64_t id, uint32_t shard, uint32_t n)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	char first[33], last[33];
	int r = catalogue_prepare(c, &stmt,
				  "INSERT INTO shards(stream, shard, hash_first, hash_last) "
				  "VALUES(?, ?, ?, ?)",
				  2, id, (int64_t)shard);

	if (r < 0)
		return r;
	catalogue_hash_range(shard, n, first, last);
	if (catalogue_bind_text(stmt, 3, first) != SQLITE_OK ||
	    catalogue_bind_text(stmt, 4, last) != SQLITE_OK)
		return -ENOMEM;
	return catalogue_run(c, stmt);
}

static int catalogue_insert_stream(struct catalogue *c, const struct catalogue_stream *s)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(
		c, &stmt,
		"INSERT INTO streams(name, uuid, state, created, " CATALOGUE_OPTIONS
		") VALUES(?, ?, ?, ?, "
		"?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		0);

	if (r < 0)
		return r;
	if (catalogue_bind_text(stmt, 1, s->name) != SQLITE_OK ||
	    sqlite3_bind_blob(stmt, 2, s->uuid, 16, SQLITE_TRANSIENT) != SQLITE_OK ||
	    sqlite3_bind_int(stmt, 3, (int)s->state) != SQLITE_OK ||
	    sqlite3_bind_int64(stmt, 4, (int64_t)clock_now_ns(CLOCK_REALTIME)) != SQLITE_OK)
		return -ENOMEM;
	r = catalogue_bind_options(stmt, 5, &s->options);
	return r < 0 ? r : catalogue_run(c, stmt);
}

int catalogue_add_stream(struct catalogue *catalogue, const struct catalogue_stream *stream,
			 int64_t *ret_id)
{
	uint32_t n = stream->options.n_shards;
	int64_t id = 0;
	int r = catalogue_begin(catalogue);

	if (r < 0)
		return r;
	r = catalogue_insert_stream(catalogue, stream);
	if (r == 0)
		id = sqlite3_last_insert_rowid(catalogue->db);
	for (uint32_t shard = 0; r == 0 && shard < n; shard++)
		r = catalogue_add_shard(catalogue, id, shard, n);
	r = catalogue_end(catalogue, r);
	if (r == 0)
		*ret_id = id;
	return r;
}

int catalogue_set_state(struct catalogue *catalogue, int64_t id, enum catalogue_state state)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt, "UPDATE streams SET state = ? WHERE id = ?", 2,
				  (int64_t)state, id);

	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

int catalogue_set_options(struct catalogue *catalogue, int64_t id, const struct options *options)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "UPDATE streams SET (" CATALOGUE_OPTIONS ") = "
				  "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
				  "WHERE id = ?",
				  0);

	if (r < 0)
		return r;
	r = catalogue_bind_options(stmt, 1, options);
	if (r == 0 && sqlite3_bind_int64(stmt, CATALOGUE_N_OPTIONS + 1, id) != SQLITE_OK)
		r = -ENOMEM;
	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

int catalogue_find_leftover(struct catalogue *catalogue, const char *name, int64_t *ret_id,
			    enum catalogue_state *ret_state)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "SELECT id, state FROM streams WHERE name = ? AND state <> ?", 0);

	if (r < 0)
		return r;
	r = catalogue_bind_text(stmt, 1, name);
	if (r == SQLITE_OK)
		r = sqlite3_bind_int64(stmt, 2, CATALOGUE_LIVE);
	if (r == SQLITE_OK)
		r = sqlite3_step(stmt);
	if (r == SQLITE_DONE)
		return -ENOENT;
	if (r != SQLITE_ROW)
		return catalogue_failed(catalogue, r);
	*ret_id = sqlite3_column_int64(stmt, 0);
	*ret_state = (enum catalogue_state)sqlite3_column_int(stmt, 1);
	return 0;
}

int catalogue_remove_stream(struct catalogue *catalogue, int64_t id)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt, "DELETE FROM streams WHERE id = ?", 1, id);

	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

/* ---- checkpoints ---- */

int catalogue_each_checkpoint(struct catalogue *catalogue, int64_t id, catalogue_checkpoint_fn fn,
			      void *ctx)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int step, r;

	r = catalogue_prepare(catalogue, &stmt,
			      "SELECT name, shard, position FROM checkpoints WHERE stream = ? "
			      "ORDER BY name, shard",
			      1, id);
	while (r == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			return catalogue_failed(catalogue, step);
		r = fn(ctx, (const char *)sqlite3_column_text(stmt, 0),
		       (uint32_t)sqlite3_column_int64(stmt, 1),
		       (uint64_t)sqlite3_column_int64(stmt, 2));
	}
	return r;
}

static int catalogue_set_position(struct catalogue *c, int64_t id, const char *name, uint32_t shard,
				  uint64_t pos)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(c, &stmt,
				  "INSERT OR REPLACE INTO checkpoints(stream, shard, position, "
				  "changed, name) VALUES(?, ?, ?, ?, ?)",
				  4, id, (int64_t)shard, (int64_t)pos,
				  (int64_t)clock_now_ns(CLOCK_REALTIME));

	if (r == 0 && catalogue_bind_text(stmt, 5, name) != SQLITE_OK)
		r = -ENOMEM;
	return r < 0 ? r : catalogue_run(c, stmt);
}

int catalogue_set_checkpoint(struct catalogue *catalogue, int64_t id, const char *name,
			     const uint64_t *pos, uint32_t n_shards)
{
	int r = catalogue_begin(catalogue);

	if (r < 0)
		return r;
	for (uint32_t i = 0; r == 0 && i < n_shards; i++)
		if (pos[i] != UINT64_MAX)
			r = catalogue_set_position(catalogue, id, name, i, pos[i]);
	return catalogue_end(catalogue, r);
}

int catalogue_remove_checkpoint(struct catalogue *catalogue, int64_t id, const char *name)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "DELETE FROM checkpoints WHERE stream = ? AND name = ?", 1, id);

	if (r == 0 && catalogue_bind_text(stmt, 2, name) != SQLITE_OK)
		r = -ENOMEM;
	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

/* ---- closed segments ---- */

int catalogue_each_closed(struct catalogue *catalogue, int64_t id, catalogue_closed_fn fn,
			  void *ctx)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int step, r;

	r = catalogue_prepare(catalogue, &stmt,
			      "SELECT shard, base, closed_ns FROM closed_segments "
			      "WHERE stream = ? ORDER BY shard, base",
			      1, id);
	while (r == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			return catalogue_failed(catalogue, step);
		r = fn(ctx, (uint32_t)sqlite3_column_int64(stmt, 0),
		       (uint64_t)sqlite3_column_int64(stmt, 1),
		       (uint64_t)sqlite3_column_int64(stmt, 2));
	}
	return r;
}

int catalogue_add_closed(struct catalogue *catalogue, int64_t id, uint32_t shard, uint64_t base,
			 uint64_t closed_ns)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "INSERT OR IGNORE INTO closed_segments(stream, shard, base, "
				  "closed_ns) VALUES(?, ?, ?, ?)",
				  4, id, (int64_t)shard, (int64_t)base, (int64_t)closed_ns);

	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

int catalogue_remove_closed(struct catalogue *catalogue, int64_t id, uint32_t shard, uint64_t base)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "DELETE FROM closed_segments WHERE stream = ? AND shard = ? AND "
				  "base = ?",
				  3, id, (int64_t)shard, (int64_t)base);

	return r < 0 ? r : catalogue_run(catalogue, stmt);
}

/* ---- numbers ---- */

int catalogue_get_number(struct catalogue *catalogue, const char *key, uint64_t *ret_number)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt, "SELECT value FROM numbers WHERE key = ?", 0);

	if (r < 0)
		return r;
	if (catalogue_bind_text(stmt, 1, key) != SQLITE_OK)
		return -ENOMEM;
	r = sqlite3_step(stmt);
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		return catalogue_failed(catalogue, r);
	*ret_number = r == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
	return 0;
}

int catalogue_set_number(struct catalogue *catalogue, const char *key, uint64_t number)
{
	cleanup_with(catalogue_finalizep) sqlite3_stmt *stmt = NULL;
	int r = catalogue_prepare(catalogue, &stmt,
				  "INSERT OR REPLACE INTO numbers(value, key) VALUES(?, ?)", 1,
				  (int64_t)number);

	if (r == 0 && catalogue_bind_text(stmt, 2, key) != SQLITE_OK)
		r = -ENOMEM;
	return r < 0 ? r : catalogue_run(catalogue, stmt);
}
