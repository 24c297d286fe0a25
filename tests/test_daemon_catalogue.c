/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/catalogue.h"
#include "daemon/directory.h"

static char dir[64], path[128], detail[512];
static struct catalogue *catalogue;

static void open_it(void)
{
	ck_assert_msg(catalogue_open(dir, &catalogue, detail, sizeof(detail)) == 0, "%s", detail);
}

static void setup(void)
{
	strcpy(dir, "/tmp/leat-catalogue.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/catalogue.db", dir);
	open_it();
}

static void teardown(void)
{
	catalogue = catalogue_close(catalogue);
	directory_remove("/tmp", dir + 5);
}

static struct catalogue_stream make_stream(const char *name, uint32_t n_shards)
{
	struct catalogue_stream s = {
		.state = CATALOGUE_MAKING,
		.options = { .n_shards = n_shards,
			     .access = { .owner = 4000000000u, .group = 7, .mode = 0640 },
			     .ring_len = 1 << 20,
			     .segment_len = 1 << 24,
			     .retain_ns = 1234567890123,
			     .retain_len = (uint64_t)1 << 50,
			     .policy = { .sync = SHARD_SYNC_INTERVAL,
					 .sync_ns = 5000000,
					 .claim_timeout_ns = 77000000,
					 .rate_limit = 99,
					 .on_disk_full = SHARD_DISK_FULL_DROP_OLDEST },
			     .full_fail = true,
			     .hash_md5 = true,
			     .no_checksum = true },
	};

	snprintf(s.name, sizeof(s.name), "%s", name);
	snprintf((char *)s.uuid, sizeof(s.uuid), "%s", name);
	return s;
}

static int64_t add(const char *name)
{
	struct catalogue_stream s = make_stream(name, 4);
	int64_t id = 0;

	ck_assert_int_eq(catalogue_add_stream(catalogue, &s, &id), 0);
	ck_assert_int_gt(id, 0);
	return id;
}

static struct catalogue_stream seen[8];
static int n_seen;

static int see(void *ctx, const struct catalogue_stream *stream)
{
	(void)ctx;
	seen[n_seen++] = *stream;
	return 0;
}

static void look(void)
{
	n_seen = 0;
	ck_assert_int_eq(catalogue_each_stream(catalogue, see, NULL), 0);
}

START_TEST(a_stream_is_read_as_it_was_written)
{
	struct catalogue_stream s = make_stream("events", 4);
	int64_t id = add("events");

	catalogue = catalogue_close(catalogue);
	open_it();
	look();
	ck_assert_int_eq(n_seen, 1);
	s.id = id;
	ck_assert_mem_eq(&seen[0], &s, sizeof(s));
	ck_assert_int_eq(catalogue_set_state(catalogue, id, CATALOGUE_LIVE), 0);
	s.options.ring_len *= 2;
	s.options.policy.sync = SHARD_SYNC_NONE;
	ck_assert_int_eq(catalogue_set_options(catalogue, id, &s.options), 0);
	look();
	ck_assert_int_eq(seen[0].state, CATALOGUE_LIVE);
	ck_assert_mem_eq(&seen[0].options, &s.options, sizeof(s.options));
}
END_TEST

START_TEST(a_name_is_there_once)
{
	struct catalogue_stream s = make_stream("events", 1);
	int64_t id = 0;

	add("events");
	ck_assert_int_eq(catalogue_add_stream(catalogue, &s, &id), -EEXIST);
	ck_assert_int_eq(id, 0);
	look();
	ck_assert_int_eq(n_seen, 1);
}
END_TEST

static int64_t ask(const char *sql)
{
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int64_t value;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	value = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return value;
}

START_TEST(shards_share_the_hash_range_without_gap)
{
	add("events");
	ck_assert_int_eq(ask("SELECT count(*) FROM shards"), 4);
	ck_assert_int_eq(ask("SELECT hash_first = '00000000000000000000000000000000' FROM shards "
			     "WHERE shard = 0"),
			 1);
	ck_assert_int_eq(ask("SELECT hash_last = '3fffffffffffffffffffffffffffffff' FROM shards "
			     "WHERE shard = 0"),
			 1);
	ck_assert_int_eq(ask("SELECT hash_first = '40000000000000000000000000000000' FROM shards "
			     "WHERE shard = 1"),
			 1);
	ck_assert_int_eq(ask("SELECT hash_last = 'ffffffffffffffffffffffffffffffff' FROM shards "
			     "WHERE shard = 3"),
			 1);
}
END_TEST

static uint64_t positions[8];
static int n_positions;

static int take_position(void *ctx, const char *name, uint32_t shard, uint64_t pos)
{
	ck_assert_str_eq(name, ctx);
	positions[shard] = pos;
	n_positions++;
	return 0;
}

START_TEST(checkpoints_are_kept_per_name_and_shard)
{
	uint64_t pos[4] = { 32, UINT64_MAX, (uint64_t)1 << 61, 0 };
	int64_t id = add("events");

	ck_assert_int_eq(catalogue_set_checkpoint(catalogue, id, "me", pos, 4), 0);
	ck_assert_int_eq(catalogue_each_checkpoint(catalogue, id, take_position, "me"), 0);
	ck_assert_int_eq(n_positions, 3);
	ck_assert_uint_eq(positions[2], pos[2]);
	pos[0] = 64;
	pos[2] = UINT64_MAX;
	ck_assert_int_eq(catalogue_set_checkpoint(catalogue, id, "me", pos, 4), 0);
	ck_assert_int_eq(catalogue_each_checkpoint(catalogue, id, take_position, "me"), 0);
	ck_assert_uint_eq(positions[0], 64);
	ck_assert_uint_eq(positions[2], (uint64_t)1 << 61);
	ck_assert_int_eq(catalogue_remove_checkpoint(catalogue, id, "me"), 0);
	n_positions = 0;
	ck_assert_int_eq(catalogue_each_checkpoint(catalogue, id, take_position, "me"), 0);
	ck_assert_int_eq(n_positions, 0);
}
END_TEST

START_TEST(a_removed_stream_leaves_nothing_behind)
{
	uint64_t pos[4] = { 32, 32, 32, 32 };
	int64_t id = add("events");

	ck_assert_int_eq(catalogue_set_checkpoint(catalogue, id, "me", pos, 4), 0);
	ck_assert_int_eq(catalogue_add_closed(catalogue, id, 2, 4096, 99), 0);
	ck_assert_int_eq(catalogue_remove_stream(catalogue, id), 0);
	ck_assert_int_eq(ask("SELECT (SELECT count(*) FROM streams) + "
			     "(SELECT count(*) FROM shards) + "
			     "(SELECT count(*) FROM checkpoints) + "
			     "(SELECT count(*) FROM closed_segments)"),
			 0);
	/* The next stream of that name is another one. */
	ck_assert_int_gt(add("events"), id);
}
END_TEST

START_TEST(what_fails_half_way_did_not_happen)
{
	int64_t id = add("events");

	ck_assert_int_eq(catalogue_begin(catalogue), 0);
	ck_assert_int_eq(catalogue_add_closed(catalogue, id, 0, 1, 2), 0);
	ck_assert_int_eq(catalogue_end(catalogue, -EIO), -EIO);
	ck_assert_int_eq(ask("SELECT count(*) FROM closed_segments"), 0);
	ck_assert_int_eq(catalogue_begin(catalogue), 0);
	ck_assert_int_eq(catalogue_add_closed(catalogue, id, 0, 1, 2), 0);
	ck_assert_int_eq(catalogue_end(catalogue, 0), 0);
	ck_assert_int_eq(ask("SELECT count(*) FROM closed_segments"), 1);
}
END_TEST

START_TEST(what_could_not_be_rolled_back_swallows_nothing_that_comes_later)
{
	int64_t id = add("events");
	uint64_t number = 0;

	ck_assert_int_eq(catalogue_begin(catalogue), 0);
	ck_assert_int_eq(catalogue_add_closed(catalogue, id, 0, 1, 2), 0);
	sqlite3_hard_heap_limit64(1);
	ck_assert_int_eq(catalogue_end(catalogue, -EIO), -EIO);
	ck_assert_int_eq(catalogue_set_number(catalogue, CATALOGUE_CLOCK, 1), -ENOMEM);
	sqlite3_hard_heap_limit64(0);
	ck_assert_int_eq(catalogue_set_number(catalogue, CATALOGUE_CLOCK, 2), 0);
	ck_assert_int_eq(catalogue_begin(catalogue), 0);
	ck_assert_int_eq(catalogue_end(catalogue, 0), 0);
	catalogue = catalogue_close(catalogue);
	open_it();
	ck_assert_int_eq(catalogue_get_number(catalogue, CATALOGUE_CLOCK, &number), 0);
	ck_assert_uint_eq(number, 2);
	ck_assert_int_eq(ask("SELECT count(*) FROM closed_segments"), 0);
}
END_TEST

START_TEST(what_was_answered_survives_the_process)
{
	uint64_t number = 0;
	int status;
	pid_t pid;

	catalogue = catalogue_close(catalogue);
	pid = fork();
	if (pid == 0) {
		open_it();
		if (catalogue_set_number(catalogue, CATALOGUE_CLOCK, 123456789) == 0)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	ck_assert(WIFSIGNALED(status));
	open_it();
	ck_assert_int_eq(catalogue_get_number(catalogue, CATALOGUE_CLOCK, &number), 0);
	ck_assert_uint_eq(number, 123456789);
	ck_assert_int_eq(catalogue_get_number(catalogue, "unknown", &number), 0);
	ck_assert_uint_eq(number, 0);
}
END_TEST

START_TEST(nobody_else_can_read_it)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

static void run_sql(const char *sql)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

START_TEST(a_newer_or_a_strange_file_is_refused)
{
	FILE *f;

	catalogue = catalogue_close(catalogue);
	run_sql("PRAGMA user_version = 2");
	ck_assert_int_eq(catalogue_open(dir, &catalogue, detail, sizeof(detail)), -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(detail, "newer"));
	run_sql("PRAGMA user_version = 1; PRAGMA application_id = 5");
	ck_assert_int_eq(catalogue_open(dir, &catalogue, detail, sizeof(detail)), -EBADMSG);
	f = fopen(path, "w");
	fputs("this is not a database, and long enough to be seen as none by all who look at it "
	      "closely, which is what SQLite does with the first hundred bytes of a file\n",
	      f);
	fclose(f);
	ck_assert_int_eq(catalogue_open(dir, &catalogue, detail, sizeof(detail)), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(detail, "catalogue.db"));
	ck_assert_ptr_null(catalogue);
}
END_TEST

START_TEST(a_row_that_makes_no_sense_hides_no_other)
{
	add("bad");
	add("good");
	run_sql("UPDATE streams SET ring = 12345 WHERE name = 'bad'");
	look();
	ck_assert_int_eq(n_seen, 1);
	ck_assert_str_eq(seen[0].name, "good");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("catalogue");
	TCase *tc = tcase_create("catalogue");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_stream_is_read_as_it_was_written);
	tcase_add_test(tc, a_name_is_there_once);
	tcase_add_test(tc, shards_share_the_hash_range_without_gap);
	tcase_add_test(tc, checkpoints_are_kept_per_name_and_shard);
	tcase_add_test(tc, a_removed_stream_leaves_nothing_behind);
	tcase_add_test(tc, what_fails_half_way_did_not_happen);
	tcase_add_test(tc, what_could_not_be_rolled_back_swallows_nothing_that_comes_later);
	tcase_add_test(tc, what_was_answered_survives_the_process);
	tcase_add_test(tc, nobody_else_can_read_it);
	tcase_add_test(tc, a_newer_or_a_strange_file_is_refused);
	tcase_add_test(tc, a_row_that_makes_no_sense_hides_no_other);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
