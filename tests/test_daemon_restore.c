/* SPDX-License-Identifier: Apache-2.0 */
/* What a bus serves while its shards come back, one of which has a disk that hangs; and what the
 * next daemon makes of rings that its last one left. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/drain.h"
#include "daemon/protocol.h"
#include "daemon/registry.h"
#include "daemon/restore.h"
#include "daemon/shard.h"
#include "persist/file.h"
#include "shm/ring_publish.h"
#include "shm/wait.h"
#include "tests/daemon_bed.h"

#define ATTACH "{\"op\":\"attach\",\"stream\":\"events\",\"shard\":%d,\"role\":\"subscribe\"}"
#define CREATE "{\"op\":\"create\",\"stream\":\"%s\",\"options\":{\"shards\":3}}"

static struct daemon_bed bed;
static sem_t gate;
static _Atomic uint32_t n_calls, n_elsewhere, refuses;
static pthread_t here;

/* ---- a disk that hangs ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = text ? strlen(text) : 0;

	return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

static int hang_at_shard_one(void *ctx, const struct file_event *event)
{
	(void)ctx;
	if (event->kind == FILE_OPEN && ends_with(event->name, "streams/events/1"))
		while (sem_wait(&gate) < 0)
			;
	return 0;
}

static int count_calls(void *ctx, const struct file_event *event)
{
	(void)ctx;
	(void)event;
	fetch_add_relaxed(&n_calls, 1);
	if (!pthread_equal(pthread_self(), here))
		fetch_add_relaxed(&n_elsewhere, 1);
	return 0;
}

static int refuse_shard_one(void *ctx, const struct file_event *event)
{
	(void)ctx;
	return load_relaxed(&refuses) && event->kind == FILE_OPEN &&
			       ends_with(event->name, "streams/events/1")
		       ? -EIO
		       : 0;
}

static const struct file_hooks hanging = { .before = hang_at_shard_one };
static const struct file_hooks refusing = { .before = refuse_shard_one };
static const struct file_hooks counting = { .before = count_calls };

/* ---- a bus of which all but shard 1 is back ---- */

static struct registry_stream *events(void)
{
	return registry_find(&bed.server->registry, "events");
}

static bool all_but_one_are_back(void *arg)
{
	(void)arg;
	return events()->n_restoring == 1;
}

static bool is_answered(void *arg)
{
	struct daemon_bed_client *client = arg;
	struct pollfd p = { .fd = client->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Sends and goes on; the daemon takes it in. */
static void begin(struct daemon_bed_client *client, const char *text)
{
	daemon_bed_connect(&bed, client);
	ck_assert_int_eq(send(client->fd, text, strlen(text), 0), (ssize_t)strlen(text));
	for (int i = 0; i < 5; i++)
		server_step(bed.server, 1);
}

static void expect(struct daemon_bed_client *client, const char *what)
{
	char text[PROTOCOL_PACKET_MAX];
	ssize_t n;

	daemon_bed_until(&bed, is_answered, client);
	n = recv(client->fd, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_msg(strstr(text, what), "%s, not %s", text, what);
}

static void start_again_with(const struct file_hooks *hooks)
{
	struct daemon_bed_client client;

	ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	ck_assert_int_eq(daemon_bed_ask(&client, CREATE, "events"), 0);
	ck_assert_int_eq(daemon_bed_ask(&client, CREATE, "others"), 0);
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	file_set_hooks(hooks);
	daemon_bed_start(&bed);
	daemon_bed_until(&bed, all_but_one_are_back, NULL);
}

static void setup(void)
{
	start_again_with(&hanging);
}

static void setup_refusing(void)
{
	store_relaxed(&refuses, 1);
	start_again_with(&refusing);
}

static void open_gate(void)
{
	sem_post(&gate);
}

static void teardown(void)
{
	daemon_bed_end(&bed);
	file_set_hooks(NULL);
	sem_destroy(&gate);
}

START_TEST(a_bus_serves_what_is_back_and_the_rest_waits_for_what_it_needs)
{
	struct daemon_bed_client now, one, list, other, make;

	daemon_bed_connect(&bed, &now);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 0), 0);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 2), 0);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 3), -ENOENT);
	ck_assert_int_eq(daemon_bed_ask(&now, "{\"op\":\"checkpoint\",\"stream\":\"events\","
					      "\"name\":\"me\",\"positions\":[[1,64]]}"),
			 0);
	ck_assert_int_eq(daemon_bed_ask(&now, "{\"op\":\"describe\",\"stream\":\"others\"}"), 0);
	begin(&one, "{\"op\":\"attach\",\"stream\":\"events\",\"shard\":1,\"id\":7,"
		    "\"role\":\"subscribe\"}");
	begin(&list, "{\"op\":\"list\"}");
	begin(&other, "{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\",\"value\":\"0640\"}");
	begin(&make, "{\"op\":\"create\",\"stream\":\"new\"}");
	ck_assert(!is_answered(&one) && !is_answered(&list) && !is_answered(&other) &&
		  !is_answered(&make));
	open_gate();
	expect(&one, "\"id\":7");
	expect(&list, "events");
	expect(&other, "\"ok\":true");
	expect(&make, "\"uuid\"");
	daemon_bed_settle(&bed);
	ck_assert(restore_is_over(bed.server));
	ck_assert_int_eq(registry_options(events())->access.mode, 0640);
	daemon_bed_disconnect(&now);
	daemon_bed_disconnect(&one);
	daemon_bed_disconnect(&list);
	daemon_bed_disconnect(&other);
	daemon_bed_disconnect(&make);
}
END_TEST

START_TEST(who_leaves_while_he_waits_is_forgotten)
{
	struct daemon_bed_client client;

	begin(&client, "{\"op\":\"describe\",\"stream\":\"events\"}");
	ck_assert_uint_eq(bed.server->n_sessions, 1);
	client.fd = close_fd(client.fd);
	open_gate();
	daemon_bed_settle(&bed);
	ck_assert_uint_eq(bed.server->n_sessions, 0);
	daemon_bed_disconnect(&client);
}
END_TEST

START_TEST(an_end_that_comes_first_waits_for_the_rest)
{
	struct daemon_bed_client client;

	begin(&client, "{\"op\":\"list\"}");
	server_stop(bed.server);
	for (int i = 0; i < 5; i++)
		server_step(bed.server, 1);
	ck_assert(!restore_is_over(bed.server));
	open_gate();
	daemon_bed_stop(&bed);
	file_set_hooks(NULL);
	daemon_bed_start(&bed);
	daemon_bed_settle(&bed);
	ck_assert_int_eq(events()->shards[1].error, 0);
	ck_assert_ptr_nonnull(events()->shards[1].drain);
	daemon_bed_disconnect(&client);
}
END_TEST

static bool restore_has_ended(void *arg)
{
	(void)arg;
	return restore_is_over(bed.server);
}

/* The disk comes back some time after the daemon. */
START_TEST(a_shard_that_fails_for_a_while_is_said_to_fail_and_comes_back)
{
	struct daemon_bed_client now;

	daemon_bed_connect(&bed, &now);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 1), -EIO);
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&now), "tries again"));
	ck_assert(!restore_is_over(bed.server));
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 2), 0);
	store_relaxed(&refuses, 0);
	daemon_bed_until(&bed, restore_has_ended, NULL);
	ck_assert_int_eq(events()->shards[1].error, 0);
	ck_assert_ptr_nonnull(events()->shards[1].drain);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 1), 0);
	daemon_bed_disconnect(&now);
}
END_TEST

START_TEST(an_end_that_comes_while_a_shard_is_tried_again_does_not_wait_for_it)
{
	struct daemon_bed_client now;

	daemon_bed_connect(&bed, &now);
	ck_assert_int_eq(daemon_bed_ask(&now, ATTACH, 1), -EIO);
	server_stop(bed.server);
	daemon_bed_until(&bed, restore_has_ended, NULL);
	ck_assert_int_eq(events()->shards[1].error, -EIO);
	daemon_bed_disconnect(&now);
}
END_TEST

/* ---- one shard ---- */

static struct drain *drain;
static struct shard *shard;
static struct shard_options options;
static char dir[80], detail[256];

static void stop_shard(void)
{
	uint64_t n;

	shard_stop(shard, true);
	while (!shard_stopped(shard))
		ck_assert_int_eq(read(bed.server->drained.source.fd, &n, sizeof(n)) < 0, 0);
	drain_remove(drain, shard);
	shard = shard_free(shard);
}

START_TEST(a_ring_that_survived_is_there_before_the_disk_is_looked_at)
{
	struct region_fds fds, again;
	uint32_t generation;

	here = pthread_self();
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	file_set_hooks(&counting);
	ck_assert_int_eq(shard_start(shard, detail, sizeof(detail)), 0);
	/* The drain has no part in it: it would keep other shards waiting. */
	ck_assert_uint_gt(load_relaxed(&n_calls), 0);
	ck_assert_uint_eq(load_relaxed(&n_elsewhere), 0);
	file_set_hooks(NULL);
	ck_assert_int_eq(drain_add(drain, shard), 0);
	ck_assert_int_eq(shard_region_fds(shard, REGION_DAEMON, 0, &generation, &fds), 0);
	stop_shard();

	options.survivors = &fds;
	options.n_survivors = 1;
	store_relaxed(&n_calls, 0);
	file_set_hooks(&counting);
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	ck_assert_int_eq(shard_region_fds(shard, REGION_PUBLISHER, generation, &generation, &again),
			 0);
	region_fds_close(&again);
	ck_assert_uint_eq(load_relaxed(&n_calls), 0);
	ck_assert_int_eq(shard_start(shard, detail, sizeof(detail)), 0);
	ck_assert_uint_gt(load_relaxed(&n_calls), 0);
	file_set_hooks(NULL);
	ck_assert_int_eq(drain_add(drain, shard), 0);
	stop_shard();
}
END_TEST

START_TEST(a_new_ring_says_where_the_log_begins_before_the_drain_has_looked)
{
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	ck_assert_int_eq(shard_start(shard, detail, sizeof(detail)), 0);
	ck_assert_int_eq(drain_add(drain, shard), 0);
	stop_shard();

	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	ck_assert(!shard_knows_earliest(shard));
	ck_assert_int_eq(shard_start(shard, detail, sizeof(detail)), 0);
	ck_assert(shard_knows_earliest(shard));
	ck_assert_int_eq(drain_add(drain, shard), 0);
	stop_shard();
}
END_TEST

/* ---- where subscribers are ---- */

#define CHECKPOINT_GET "{\"op\":\"checkpoint-get\",\"stream\":\"events\",\"name\":\"me\"}"

static void change_catalogue(const char *sql)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/catalogue.db", bed.dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void connect_again(struct daemon_bed_client *client)
{
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, client);
}

static void stop_again(struct daemon_bed_client *client)
{
	daemon_bed_disconnect(client);
	daemon_bed_stop(&bed);
}

/* Who is told of no checkpoint begins somewhere else, and misses what lies between. */
START_TEST(a_checkpoint_that_cannot_be_read_is_not_called_none)
{
	struct daemon_bed_client client;

	connect_again(&client);
	ck_assert_int_eq(daemon_bed_ask(&client, CREATE, "events"), 0);
	ck_assert_int_eq(daemon_bed_ask(&client, "{\"op\":\"checkpoint\",\"stream\":\"events\","
						 "\"name\":\"me\",\"positions\":[[1,4293918720]]}"),
			 0);
	stop_again(&client);

	change_catalogue("ALTER TABLE checkpoints RENAME TO elsewhere");
	connect_again(&client);
	ck_assert_int_lt(daemon_bed_ask(&client, CHECKPOINT_GET), 0);
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&client), "'events'"));
	ck_assert_int_ne(daemon_bed_ask(&client, "{\"op\":\"checkpoint-remove\",\"stream\":"
						 "\"events\",\"name\":\"me\"}"),
			 -ENOENT);
	stop_again(&client);

	change_catalogue("ALTER TABLE elsewhere RENAME TO checkpoints");
	connect_again(&client);
	ck_assert_int_eq(daemon_bed_ask(&client, CHECKPOINT_GET), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "positions")), 1);
	daemon_bed_disconnect(&client);
	daemon_bed_end(&bed);
}
END_TEST

/* A ring as a daemon that died would have left it. */
static struct ring *leave_ring(uint32_t generation, enum govern_state state,
			       struct region_fds *ret_fds)
{
	struct region_options ring_options = {
		.shard = options.shard,
		.generation = generation,
		.ring_len = options.ring_len,
		.first_pos = LAYOUT_FIRST_POS,
		.flags = options.flags,
		.node = -1,
	};
	uint64_t available;
	struct ring *ring;

	memcpy(ring_options.stream_uuid, options.stream_uuid, sizeof(options.stream_uuid));
	ck_assert_int_eq(region_create(&ring_options, ret_fds, &available), 0);
	ck_assert_int_eq(ring_open(ret_fds, REGION_DAEMON, &ring), 0);
	store_relaxed(&ring->govern->close_pos, LAYOUT_FIRST_POS);
	store_relaxed(&ring->govern->state, state);
	return ring;
}

static void count_forgotten(void *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	fetch_add_relaxed(&n_calls, 1);
}

/* Their fds stay with the keeper: the next daemon may be able to. */
START_TEST(rings_that_cannot_be_looked_at_now_are_not_given_up)
{
	struct region_fds fds;
	struct ring *ring = leave_ring(1, GOVERN_OPEN, &fds);

	ring_close(ring);
	/* The kernel does not give the region, which says nothing of the ring. */
	fds.fd[REGION_PUBLISH] = close_fd(fds.fd[REGION_PUBLISH]);
	options.directory = NULL;
	options.survivors = &fds;
	options.n_survivors = 1;
	options.keep.forget = count_forgotten;
	store_relaxed(&n_calls, 0);
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), -EBADF);
	ck_assert_msg(strstr(detail, "cannot be mapped"), "%s", detail);
	ck_assert_uint_eq(load_relaxed(&n_calls), 0);
}
END_TEST

/* Nobody has been told yet that the old ring is closed: its daemon died over it. */
START_TEST(a_closing_that_a_daemon_died_over_is_said_again)
{
	struct region_fds fds[2];
	struct ring *old = leave_ring(1, GOVERN_SUCCEEDED, &fds[0]);
	struct ring *new = leave_ring(2, 0, &fds[1]);
	struct ring_publisher stopped;
	uint64_t pos;

	ck_assert_int_eq(ring_publisher_init(&stopped, old, 0, -1), 0);
	ck_assert_int_eq(ring_reserve(&stopped, RECORD_HEADER_LEN, &pos), 0);
	(void)ring_close_tail(old);
	options.directory = NULL;
	options.survivors = fds;
	options.n_survivors = ARRAY_LEN(fds);
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	ck_assert_int_eq(ring_state(new, NULL), GOVERN_OPEN);
	ck_assert_int_eq(record_word_kind(ring_word_at(new, pos)), RECORD_TOMBSTONE);
	/* It goes on, and is not told that its record counts. */
	ck_assert_int_eq(ring_commit(&stopped, pos,
				     ring_committed_word(&stopped, RECORD_HEADER_LEN), 1),
			 RING_E_CLOSED);
	shard = shard_free(shard);
	ring_close(old);
	ring_close(new);
}
END_TEST

struct sleeper {
	pthread_t thread;
	const _Atomic uint32_t *bell;
	uint32_t rung;
	int result;
};

static void *sleep_on_bell(void *arg)
{
	struct sleeper *sleeper = arg;

	sleeper->result = wait_bell(sleeper->bell, sleeper->rung, 10 * NS_PER_S);
	return NULL;
}

/* Its daemon died when the new ring was open and the old one's sleepers were not woken yet; or
 * when a position was raised and nobody told. */
START_TEST(who_sleeps_when_a_daemon_dies_is_woken_by_the_next)
{
	struct region_fds fds[2];
	struct ring *old = leave_ring(1, GOVERN_SUCCEEDED, &fds[0]);
	struct ring *new = leave_ring(2, GOVERN_OPEN, &fds[1]);
	struct sleeper sleepers[] = {
		{ .bell = &old->govern->limit_bell },   { .bell = &old->govern->written_bell },
		{ .bell = &old->govern->durable_bell }, { .bell = &old->publish->doorbell },
		{ .bell = &new->govern->limit_bell },   { .bell = &new->govern->written_bell },
		{ .bell = &new->govern->durable_bell }, { .bell = &new->publish->doorbell },
	};

	for (size_t i = 0; i < ARRAY_LEN(sleepers); i++) {
		sleepers[i].rung = load_relaxed(sleepers[i].bell);
		ck_assert_int_eq(
			pthread_create(&sleepers[i].thread, NULL, sleep_on_bell, &sleepers[i]), 0);
	}
	options.directory = NULL;
	options.survivors = fds;
	options.n_survivors = ARRAY_LEN(fds);
	ck_assert_int_eq(shard_new(&options, detail, sizeof(detail), &shard), 0);
	for (size_t i = 0; i < ARRAY_LEN(sleepers); i++) {
		pthread_join(sleepers[i].thread, NULL);
		ck_assert_msg(sleepers[i].result != -ETIMEDOUT, "the sleeper on bell %zu", i);
	}
	shard = shard_free(shard);
	ring_close(old);
	ring_close(new);
}
END_TEST

static void setup_shard(void)
{
	int flags;

	daemon_bed_start(&bed);
	/* Read by hand here, until something comes. */
	flags = fcntl(bed.server->drained.source.fd, F_GETFL);
	ck_assert_int_eq(fcntl(bed.server->drained.source.fd, F_SETFL, flags & ~O_NONBLOCK), 0);
	drain = bed.server->drains[0];
	snprintf(dir, sizeof(dir), "%s/alone", bed.dir);
	options = (struct shard_options){
		.drain = drain,
		.stream = "test",
		.directory = dir,
		.stream_uuid = "0123456789abcde",
		.flags = GOVERN_F_CHECKSUM,
		.ring_len = LAYOUT_RING_MIN,
		.segment_len = 256 * KIB,
		.node = -1,
		.policy = { .claim_timeout_ns = 200 * NS_PER_MS },
	};
}

int main(void)
{
	Suite *suite = suite_create("daemon/restore");
	TCase *bus = tcase_create("bus"), *alone = tcase_create("shard");
	TCase *later = tcase_create("later"), *places = tcase_create("places");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(bus, setup, teardown);
	tcase_set_timeout(bus, 30);
	tcase_add_test(bus, a_bus_serves_what_is_back_and_the_rest_waits_for_what_it_needs);
	tcase_add_test(bus, who_leaves_while_he_waits_is_forgotten);
	tcase_add_test(bus, an_end_that_comes_first_waits_for_the_rest);
	suite_add_tcase(suite, bus);
	tcase_add_checked_fixture(later, setup_refusing, teardown);
	tcase_set_timeout(later, 60);
	tcase_add_test(later, a_shard_that_fails_for_a_while_is_said_to_fail_and_comes_back);
	tcase_add_test(later, an_end_that_comes_while_a_shard_is_tried_again_does_not_wait_for_it);
	suite_add_tcase(suite, later);
	tcase_add_checked_fixture(alone, setup_shard, teardown);
	tcase_set_timeout(alone, 30);
	tcase_add_test(alone, a_ring_that_survived_is_there_before_the_disk_is_looked_at);
	tcase_add_test(alone, rings_that_cannot_be_looked_at_now_are_not_given_up);
	tcase_add_test(alone, a_closing_that_a_daemon_died_over_is_said_again);
	tcase_add_test(alone, who_sleeps_when_a_daemon_dies_is_woken_by_the_next);
	tcase_add_test(alone, a_new_ring_says_where_the_log_begins_before_the_drain_has_looked);
	suite_add_tcase(suite, alone);
	tcase_set_timeout(places, 30);
	tcase_add_test(places, a_checkpoint_that_cannot_be_read_is_not_called_none);
	suite_add_tcase(suite, places);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
