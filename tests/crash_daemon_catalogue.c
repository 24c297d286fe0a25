/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts of the catalogue: a VFS of SQLite's that logs what is written to which file, and what
 * was synced; at any place in the log the power goes, and of what was not synced any sectors are
 * there. The catalogue that is opened then is as it was after the last change that was answered, or
 * after the one that was under way, and never anything between. LEAT_FULL=1 tries 100,000 states.
 */
/* TEST_TIMEOUT=3600 */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/catalogue.h"
#include "daemon/directory.h"
#include "tests/disk_log.h"

enum {
	SECTOR = 512,
	FILES = 3, /* the database, its journal, its log */
	STEPS = 420,
	STATES = 2500,
	STATES_FULL = 100000,
	DUMP_LEN = 4096,
};

enum kind {
	EVENT_WRITE,
	EVENT_TRUNCATE,
	EVENT_SYNC,
	EVENT_DELETE,
	EVENT_STEP, /* a change was answered */
};

struct event {
	enum kind kind;
	int file;
	uint64_t off;
	uint64_t len;
	char *bytes;
};

static const char *const suffixes[FILES] = { "", "-journal", "-wal" };
static struct event *events;
static size_t n_events, n_allocated;
static char (*dumps)[DUMP_LEN]; /* what the catalogue holds after each step */
static size_t n_steps;
static bool is_logging;
static const char *top; /* in memory where that can be: nothing is to be synced really */
static char dir[64], place[64], detail[512];
static uint64_t chance;

/* ---- the VFS ---- */

struct logged {
	sqlite3_file base;
	int file;
	sqlite3_io_methods methods;
	sqlite3_file real[]; /* szOsFile bytes of the VFS below */
};

static sqlite3_vfs *below, shim;

static void note(enum kind kind, int file, uint64_t off, uint64_t len, const void *bytes)
{
	struct event *event;

	if (!is_logging || file < 0)
		return;
	if (n_events == n_allocated) {
		n_allocated = n_allocated ? n_allocated * 2 : 1024;
		events = realloc(events, n_allocated * sizeof(*events));
		ck_assert_ptr_nonnull(events);
	}
	event = &events[n_events++];
	*event = (struct event){ .kind = kind, .file = file, .off = off, .len = len };
	if (!bytes)
		return;
	event->bytes = malloc(len);
	ck_assert_ptr_nonnull(event->bytes);
	memcpy(event->bytes, bytes, len);
}

static int shim_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 off)
{
	struct logged *logged = (struct logged *)file;
	int r = logged->real->pMethods->xWrite(logged->real, bytes, len, off);

	if (r == SQLITE_OK)
		note(EVENT_WRITE, logged->file, (uint64_t)off, (uint64_t)len, bytes);
	return r;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 len)
{
	struct logged *logged = (struct logged *)file;
	int r = logged->real->pMethods->xTruncate(logged->real, len);

	if (r == SQLITE_OK)
		note(EVENT_TRUNCATE, logged->file, (uint64_t)len, 0, NULL);
	return r;
}

static int shim_sync(sqlite3_file *file, int flags)
{
	struct logged *logged = (struct logged *)file;
	int r = logged->real->pMethods->xSync(logged->real, flags);

	if (r == SQLITE_OK)
		note(EVENT_SYNC, logged->file, 0, 0, NULL);
	return r;
}

static int shim_close(sqlite3_file *file)
{
	struct logged *logged = (struct logged *)file;

	return logged->real->pMethods ? logged->real->pMethods->xClose(logged->real) : SQLITE_OK;
}

#define PASS(name, result, args, ...)                                                              \
	static result shim_##name args                                                             \
	{                                                                                          \
		struct logged *logged = (struct logged *)file;                                     \
                                                                                                   \
		return logged->real->pMethods->name(logged->real, ##__VA_ARGS__);                  \
	}

PASS(xRead, int, (sqlite3_file * file, void *buf, int len, sqlite3_int64 off), buf, len, off)
PASS(xFileSize, int, (sqlite3_file * file, sqlite3_int64 *len), len)
PASS(xLock, int, (sqlite3_file * file, int level), level)
PASS(xUnlock, int, (sqlite3_file * file, int level), level)
PASS(xCheckReservedLock, int, (sqlite3_file * file, int *result), result)
PASS(xFileControl, int, (sqlite3_file * file, int op, void *arg), op, arg)
PASS(xSectorSize, int, (sqlite3_file * file))
PASS(xDeviceCharacteristics, int, (sqlite3_file * file))
PASS(xShmMap, int, (sqlite3_file * file, int page, int len, int extend, void volatile **at), page,
     len, extend, at)
PASS(xShmLock, int, (sqlite3_file * file, int off, int n, int flags), off, n, flags)
PASS(xShmUnmap, int, (sqlite3_file * file, int remove), remove)

static void shim_barrier(sqlite3_file *file)
{
	struct logged *logged = (struct logged *)file;

	logged->real->pMethods->xShmBarrier(logged->real);
}

static int file_of(const char *path)
{
	const char *name = path ? strstr(path, "catalogue.db") : NULL;

	for (int i = 0; name && i < FILES; i++)
		if (strcmp(name + strlen("catalogue.db"), suffixes[i]) == 0)
			return i;
	return -1;
}

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
		     int *ret_flags)
{
	struct logged *logged = (struct logged *)file;
	int r;

	(void)vfs;
	logged->file = file_of(path);
	r = below->xOpen(below, path, logged->real, flags, ret_flags);
	file->pMethods = NULL;
	if (!logged->real->pMethods)
		return r;
	logged->methods = (sqlite3_io_methods){
		.iVersion = 2,
		.xClose = shim_close,
		.xRead = shim_xRead,
		.xWrite = shim_write,
		.xTruncate = shim_truncate,
		.xSync = shim_sync,
		.xFileSize = shim_xFileSize,
		.xLock = shim_xLock,
		.xUnlock = shim_xUnlock,
		.xCheckReservedLock = shim_xCheckReservedLock,
		.xFileControl = shim_xFileControl,
		.xSectorSize = shim_xSectorSize,
		.xDeviceCharacteristics = shim_xDeviceCharacteristics,
		.xShmMap = shim_xShmMap,
		.xShmLock = shim_xShmLock,
		.xShmBarrier = shim_barrier,
		.xShmUnmap = shim_xShmUnmap,
	};
	file->pMethods = &logged->methods;
	return r;
}

static int shim_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
	int r = below->xDelete(below, path, sync_dir);

	(void)vfs;
	/* Whether the name comes back says `off`. */
	if (r == SQLITE_OK)
		note(EVENT_DELETE, file_of(path), (uint64_t)sync_dir, 0, NULL);
	return r;
}

static void install(void)
{
	below = sqlite3_vfs_find(NULL);
	ck_assert_ptr_nonnull(below);
	shim = *below;
	shim.zName = "logged";
	shim.szOsFile = (int)sizeof(struct logged) + below->szOsFile;
	shim.xOpen = shim_open;
	shim.xDelete = shim_delete;
	ck_assert_int_eq(sqlite3_vfs_register(&shim, 1), SQLITE_OK);
}

/* ---- what it holds ---- */

struct text {
	char *buf;
	size_t len;
};

static int print_checkpoint(void *ctx, const char *name, uint32_t shard, uint64_t pos)
{
	struct text *text = ctx;

	text->len += (size_t)snprintf(text->buf + text->len, DUMP_LEN - text->len, " %s/%u=%llu",
				      name, shard, (unsigned long long)pos);
	return 0;
}

static int print_closed(void *ctx, uint32_t shard, uint64_t base, uint64_t closed_ns)
{
	struct text *text = ctx;

	text->len += (size_t)snprintf(text->buf + text->len, DUMP_LEN - text->len, " %u:%llu@%llu",
				      shard, (unsigned long long)base,
				      (unsigned long long)closed_ns);
	return 0;
}

struct dumping {
	struct text text;
	struct catalogue *catalogue;
};

static int print_stream(void *ctx, const struct catalogue_stream *s)
{
	struct dumping *d = ctx;

	d->text.len += (size_t)snprintf(d->text.buf + d->text.len, DUMP_LEN - d->text.len,
					"\n%lld %s %d %u %llu %llu %o", (long long)s->id, s->name,
					(int)s->state, s->options.n_shards,
					(unsigned long long)s->options.ring_len,
					(unsigned long long)s->options.retain_len,
					s->options.access.mode);
	ck_assert_int_eq(catalogue_each_checkpoint(d->catalogue, s->id, print_checkpoint, &d->text),
			 0);
	ck_assert_int_eq(catalogue_each_closed(d->catalogue, s->id, print_closed, &d->text), 0);
	ck_assert_uint_lt(d->text.len, DUMP_LEN);
	return 0;
}

static void dump(struct catalogue *catalogue, char *buf)
{
	struct dumping d = { .text = { .buf = buf }, .catalogue = catalogue };
	uint64_t number;

	ck_assert_int_eq(catalogue_get_number(catalogue, CATALOGUE_PUBLISHER, &number), 0);
	d.text.len = (size_t)snprintf(buf, DUMP_LEN, "%llu", (unsigned long long)number);
	ck_assert_int_eq(catalogue_each_stream(catalogue, print_stream, &d), 0);
}

/* ---- what is done ---- */

static void step_over(struct catalogue *catalogue)
{
	is_logging = false;
	dumps = realloc(dumps, (n_steps + 1) * sizeof(*dumps));
	ck_assert_ptr_nonnull(dumps);
	dump(catalogue, dumps[n_steps++]);
	is_logging = true;
	note(EVENT_STEP, 0, 0, 0, NULL);
}

static uint64_t below_n(uint64_t n)
{
	return disk_log_random(&chance) % n;
}

static int64_t ids[4];

static void add_stream(struct catalogue *catalogue, size_t i)
{
	struct catalogue_stream s = {
		.state = CATALOGUE_MAKING,
		.options = { .n_shards = 1 + (uint32_t)below_n(40),
			     .access = { .owner = 1, .group = 2, .mode = 0600 },
			     .ring_len = 1 << 20,
			     .segment_len = 1 << 24,
			     .policy = { .claim_timeout_ns = 77000000 } },
	};

	snprintf(s.name, sizeof(s.name), "stream%zu", i);
	for (size_t k = 0; k < sizeof(s.uuid); k++)
		s.uuid[k] = (uint8_t)below_n(256);
	ck_assert_int_eq(catalogue_add_stream(catalogue, &s, &ids[i]), 0);
	step_over(catalogue);
	ck_assert_int_eq(catalogue_set_state(catalogue, ids[i], CATALOGUE_LIVE), 0);
	step_over(catalogue);
}

static void remove_stream(struct catalogue *catalogue, size_t i)
{
	ck_assert_int_eq(catalogue_set_state(catalogue, ids[i], CATALOGUE_REMOVING), 0);
	step_over(catalogue);
	ck_assert_int_eq(catalogue_remove_stream(catalogue, ids[i]), 0);
	ids[i] = 0;
	step_over(catalogue);
}

static void change(struct catalogue *catalogue, uint64_t n)
{
	size_t i = (size_t)below_n(ARRAY_LEN(ids));
	const uint64_t pos[2] = { n, UINT64_MAX };

	if (!ids[i]) {
		add_stream(catalogue, i);
		return;
	}
	switch (below_n(6)) {
	case 0:
		remove_stream(catalogue, i);
		return;
	case 1:
		ck_assert_int_eq(catalogue_set_number(catalogue, CATALOGUE_PUBLISHER, n), 0);
		break;
	case 2:
		ck_assert_int_eq(catalogue_begin(catalogue), 0);
		ck_assert_int_eq(catalogue_end(catalogue, catalogue_add_closed(catalogue, ids[i], 0,
									       below_n(4) * 32, n)),
				 0);
		break;
	case 3:
		ck_assert_int_eq(catalogue_remove_closed(catalogue, ids[i], 0, below_n(4) * 32), 0);
		break;
	default:
		ck_assert_int_eq(catalogue_set_checkpoint(catalogue, ids[i], "name", pos, 2), 0);
		break;
	}
	step_over(catalogue);
}

/* ---- what is there afterwards ---- */

struct file {
	char *bytes;
	uint64_t len;
	uint64_t cap;
	bool there;
};

static void write_at(struct file *file, uint64_t off, const char *bytes, uint64_t len)
{
	if (off + len > file->cap) {
		file->bytes = realloc(file->bytes, (off + len) * 2);
		ck_assert_ptr_nonnull(file->bytes);
		file->cap = (off + len) * 2;
	}
	if (off > file->len)
		memset(file->bytes + file->len, 0, off - file->len);
	memcpy(file->bytes + off, bytes, len);
	file->len = max_u64(file->len, off + len);
	file->there = true;
}

/* All of it, or, when it was not synced, any of its sectors. */
static void apply(struct file *file, const struct event *event, bool synced)
{
	uint64_t at, len, style = synced ? 0 : below_n(3);

	if (event->kind == EVENT_TRUNCATE && (synced || below_n(2))) {
		file->len = min_u64(file->len, event->off);
		file->there = true;
	}
	if (event->kind == EVENT_DELETE && (synced || event->off || below_n(2)))
		file->there = false, file->len = 0;
	if (event->kind != EVENT_WRITE || style == 1)
		return;
	for (at = 0; at < event->len; at += len) {
		len = min_u64(SECTOR - (event->off + at) % SECTOR, event->len - at);
		if (style == 0 || below_n(2))
			write_at(file, event->off + at, event->bytes + at, len);
	}
}

/*
 * The state at event `cut`; returns how many steps were answered by then. A name that is gone comes
 * back until its directory was synced: SQLite does so with the first sync of a new log or journal.
 */
static size_t build(size_t cut, struct file files[FILES])
{
	size_t synced[FILES] = { 0 }, names_synced = 0, i, n = 0;
	bool is_new[FILES] = { false, true, true };

	for (i = 0; i < cut; i++) {
		const struct event *event = &events[i];

		n += event->kind == EVENT_STEP;
		is_new[event->file] |= event->kind == EVENT_DELETE;
		if (event->kind != EVENT_SYNC)
			continue;
		synced[event->file] = i;
		if (is_new[event->file])
			names_synced = i;
		is_new[event->file] = false;
	}
	for (i = 0; i < FILES; i++)
		files[i].len = 0, files[i].there = false;
	for (i = 0; i < cut; i++)
		if (events[i].kind != EVENT_STEP && events[i].kind != EVENT_SYNC)
			apply(&files[events[i].file], &events[i],
			      i < (events[i].kind == EVENT_DELETE ? names_synced
								  : synced[events[i].file]));
	return n;
}

static void put(const struct file files[FILES])
{
	char path[128];

	directory_remove(top, place + strlen(top) + 1);
	ck_assert_int_eq(mkdir(place, 0700), 0);
	for (int i = 0; i < FILES; i++) {
		int fd;

		if (!files[i].there)
			continue;
		snprintf(path, sizeof(path), "%s/catalogue.db%s", place, suffixes[i]);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, files[i].bytes, files[i].len), (ssize_t)files[i].len);
		close(fd);
	}
}

static void try_cut(size_t cut, struct file files[FILES])
{
	struct catalogue *catalogue = NULL;
	size_t n = build(cut, files);
	char now[DUMP_LEN];
	int r;

	put(files);
	r = catalogue_open(place, &catalogue, detail, sizeof(detail));
	ck_assert_msg(r == 0, "cut at %zu, after step %zu: %s", cut, n, detail);
	dump(catalogue, now);
	catalogue_close(catalogue);
	ck_assert_msg((n == 0 && strcmp(now, "0") == 0) || (n > 0 && !strcmp(now, dumps[n - 1])) ||
			      (n < n_steps && strcmp(now, dumps[n]) == 0),
		      "cut at %zu, after step %zu:\n%s\ninstead of\n%s\nor\n%s", cut, n, now,
		      n ? dumps[n - 1] : "nothing", n < n_steps ? dumps[n] : "nothing");
}

START_TEST(a_power_cut_leaves_the_catalogue_before_or_after_a_change)
{
	const char *given = getenv("LEAT_STATES"), *seed = getenv("LEAT_SEED");
	size_t n = getenv("LEAT_FULL") ? STATES_FULL : STATES, i, n_moved = 0;
	struct file files[FILES] = { { .len = 0 } };
	struct catalogue *catalogue;

	chance = seed ? strtoull(seed, NULL, 10) : clock_now_ns(CLOCK_MONOTONIC);
	printf("LEAT_SEED=%llu\n", (unsigned long long)chance);
	install();
	is_logging = true;
	ck_assert_int_eq(catalogue_open(dir, &catalogue, detail, sizeof(detail)), 0);
	step_over(catalogue);
	for (i = 0; i < STEPS; i++)
		change(catalogue, i + 1);
	catalogue_close(catalogue);
	is_logging = false;
	for (i = 0; i < n_events; i++)
		n_moved += i > 0 && events[i].kind == EVENT_WRITE && events[i].file == 0;
	/* Otherwise what comes from the log into the database was not tried. */
	ck_assert_uint_gt(n_moved, 10);
	n = given ? min_u64(strtoull(given, NULL, 10), n) : n;
	for (i = 0; i < n; i++)
		try_cut((size_t)below_n(n_events + 1), files);
	printf("%zu states of %zu operations, %zu changes\n", n, n_events, n_steps);
	for (i = 0; i < FILES; i++)
		free(files[i].bytes);
}
END_TEST

static void setup(void)
{
	top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(dir, sizeof(dir), "%s/leat-catalogue.XXXXXX", top);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(place, sizeof(place), "%s/leat-catalogue.XXXXXX", top);
	ck_assert_ptr_nonnull(mkdtemp(place));
}

static void teardown(void)
{
	directory_remove(top, dir + strlen(top) + 1);
	directory_remove(top, place + strlen(top) + 1);
}

int main(void)
{
	Suite *suite = suite_create("catalogue");
	TCase *tc = tcase_create("power");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 3000);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_power_cut_leaves_the_catalogue_before_or_after_a_change);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
