/* SPDX-License-Identifier: Apache-2.0 */
/* Retention on real segments; time passes by moving the clock's base. */
#include <check.h>
#include <stdio.h>

#include "daemon/retention.h"
#include "daemon/shard.h"
#include "persist/file.h"
#include "shm/clock.h"
#include "shm/ring_publish.h"
#include "tests/daemon_bed.h"

enum {
	VALUE_LEN = 8192,
	SEGMENT_LEN = 128 << 10,
	SAME_LOOKS = 40, /* with nothing new: it cannot be done */
};

static struct daemon_bed bed;
static struct daemon_bed_client client;
static struct ring_publisher publisher;
static struct ring *ring;

#define ask(...) daemon_bed_ask(&client, __VA_ARGS__)

/* Are segments' files refused to be deleted, and how many were? */
static _Atomic uint32_t refuses, n_refused;

static int refuse_unlink(void *ctx, const struct file_event *event)
{
	(void)ctx;
	if (load_relaxed(&refuses) == 0 || event->kind != FILE_UNLINK ||
	    !strstr(event->name, ".seg"))
		return 0;
	fetch_add_relaxed(&n_refused, 1);
	return -EIO;
}

static const struct file_hooks hooks = { .before = refuse_unlink };

static void setup(void)
{
	file_set_hooks(&hooks);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
}

static void let_go(void)
{
	ring = ring_close(ring);
	close_fd(publisher.kick_fd);
	publisher.kick_fd = -1;
}

static void teardown(void)
{
	let_go();
	daemon_bed_disconnect(&client);
	daemon_bed_end(&bed);
}

static void create(const char *options)
{
	ck_assert_msg(ask("{\"op\":\"create\",\"stream\":\"events\",\"options\":"
			  "{\"ring\":65536,\"segment\":%d,\"sync\":\"none\"%s}}",
			  SEGMENT_LEN, options) == 0,
		      "%s", daemon_bed_sentence(&client));
}

static void attach(int shard)
{
	static const char *const names[REGION_N] = { "ring", "publish", "govern", "wait" };
	struct region_fds fds;

	let_go();
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":%d,"
			     "\"role\":\"publish\"}",
			     shard),
			 0);
	for (int k = 0; k < REGION_N; k++)
		fds.fd[k] = daemon_bed_take_fd(&client, names[k]);
	ck_assert_int_eq(ring_open(&fds, REGION_PUBLISHER, &ring), 0);
	region_fds_close(&fds);
	ck_assert_int_eq(ring_publisher_init(&publisher, ring,
					     (uint16_t)daemon_bed_number(&client, "slot"),
					     daemon_bed_take_fd(&client, "kick")),
			 0);
}

static void publish_one(uint64_t timestamp_ns)
{
	uint32_t len = RECORD_HEADER_LEN + VALUE_LEN;
	uint64_t word = record_word(RECORD_COMMITTED, len, publisher.owner, 0), pos = 0;
	struct record_header *record;

	while (ring_reserve(&publisher, len, &pos) == RING_E_FULL) {
		/* A stream that is over its limit waits for retention, which is the loop's. */
		ring_kick_drain(&publisher, true);
		server_step(bed.server, 1);
	}
	record = ring_at(ring, pos);
	record->timestamp_ns = timestamp_ns;
	record->key_len = record->headers_len = 0;
	record->publisher = record->sequence = 1;
	memset((char *)record + RECORD_HEADER_LEN, 1, VALUE_LEN);
	record->crc = record_crc(ring->crc_seed, pos, word, record);
	ck_assert_int_eq(ring_commit(&publisher, pos, word, 1), 0);
}

/* Fills so many segments, and waits until they are written. */
static void fill(int shard, int n_segments, uint64_t timestamp_ns)
{
	attach(shard);
	for (int i = 0; i < n_segments * SEGMENT_LEN / VALUE_LEN; i++)
		publish_one(timestamp_ns ? timestamp_ns : clock_ns(ring->govern));
	for (int i = 0; i < 2000 && ring_written(ring) < ring_tail(ring); i++) {
		ring_kick_drain(&publisher, true);
		server_step(bed.server, 1);
	}
	ck_assert_uint_eq(ring_written(ring), ring_tail(ring));
}

static struct shard *shard_of(int shard)
{
	return registry_find(&bed.server->registry, "events")->shards[shard].shard;
}

static size_t count_closed(int shard)
{
	struct shard_closed_segment segments[256];

	return shard_closed_segments(shard_of(shard), segments, ARRAY_LEN(segments));
}

static size_t n_closed_in_all(void)
{
	struct registry_stream *stream = registry_find(&bed.server->registry, "events");
	size_t n = 0;

	for (uint32_t i = 0; i < stream->n_shards; i++)
		n += count_closed((int)i);
	return n;
}

/* Unlinking goes on in the background. */
static bool nothing_is_going(void *arg)
{
	struct registry_stream *stream = registry_find(&bed.server->registry, "events");
	struct shard_closed_segment segments[256];

	(void)arg;
	for (uint32_t i = 0; i < stream->n_shards; i++) {
		size_t n = shard_closed_segments(stream->shards[i].shard, segments,
						 ARRAY_LEN(segments));

		for (size_t k = 0; k < n; k++)
			if (segments[k].going)
				return false;
	}
	return true;
}

/* Nothing was begun, or could not be done: that would be looked at again in a second. */
static bool nothing_is_left(void)
{
	retention_tick(bed.server);
	daemon_bed_settle(&bed);
	return bed.server->tick_ns > clock_now_ns(CLOCK_MONOTONIC) + 2 * NS_PER_S;
}

/* As often as it is of use: a pass that waits for the disk for too long leaves the rest. */
static void look(void)
{
	size_t before = SIZE_MAX;

	for (int n_same = 0; n_same < SAME_LOOKS;) {
		size_t n;

		retention_kick(bed.server);
		daemon_bed_settle(&bed);
		daemon_bed_until(&bed, nothing_is_going, NULL);
		n = n_closed_in_all();
		n_same = n == before ? n_same + 1 : 0;
		before = n;
		if (n_same > 0 && nothing_is_left())
			return;
	}
}

static void let_time_pass(uint64_t ns)
{
	bed.server->clock_base_ns += ns;
}

START_TEST(without_retention_everything_stays)
{
	create("");
	fill(0, 6, 0);
	let_time_pass(1000000 * NS_PER_S);
	ck_assert(!retention_is_wanted(bed.server));
	look();
	ck_assert_uint_ge(count_closed(0), 5);
}
END_TEST

START_TEST(age_deletes_closed_segments_and_nothing_before_its_time)
{
	size_t before;

	create(",\"retain_ns\":60000000000");
	ck_assert(retention_is_wanted(bed.server));
	fill(0, 6, 0);
	before = count_closed(0);
	ck_assert_uint_ge(before, 5);
	look();
	let_time_pass(50 * NS_PER_S);
	look();
	ck_assert_uint_eq(count_closed(0), before);
	let_time_pass(11 * NS_PER_S);
	look();
	ck_assert_uint_eq(count_closed(0), 0);
}
END_TEST

START_TEST(what_publishers_say_of_the_time_deletes_nothing)
{
	size_t before;

	create(",\"retain_ns\":60000000000");
	/* Records of 1970, and of far ahead. */
	fill(0, 3, 1);
	fill(0, 3, UINT64_C(1) << 62);
	before = count_closed(0);
	look();
	ck_assert_uint_eq(count_closed(0), before);
}
END_TEST

START_TEST(age_goes_on_after_a_restart_where_it_was)
{
	create(",\"retain_ns\":60000000000");
	fill(0, 6, 0);
	look();
	/* The catalogue is told once a second at most. */
	let_time_pass(40 * NS_PER_S);
	look();
	let_go();
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	look();
	ck_assert_uint_ge(count_closed(0), 5);
	let_time_pass(21 * NS_PER_S);
	look();
	/* The one that was open when the daemon stopped is younger. */
	ck_assert_uint_le(count_closed(0), 1);
}
END_TEST

START_TEST(size_keeps_the_newest_segments)
{
	struct shard_closed_segment kept[64];
	size_t n;

	create(",\"retain_len\":1048576");
	fill(0, 30, 0);
	look();
	ck_assert_uint_le(shard_kept_bytes(shard_of(0)), 1048576 + SEGMENT_LEN);
	n = shard_closed_segments(shard_of(0), kept, ARRAY_LEN(kept));
	ck_assert_uint_ge(n, 4);
	ck_assert_uint_gt(kept[0].base, LAYOUT_FIRST_POS + 20 * SEGMENT_LEN);
}
END_TEST

START_TEST(size_counts_all_shards_and_takes_the_oldest)
{
	create(",\"retain_len\":1048576,\"shards\":2");
	fill(0, 6, 0);
	look();
	let_time_pass(NS_PER_S);
	fill(1, 6, 0);
	look();
	ck_assert_uint_le(shard_kept_bytes(shard_of(0)) + shard_kept_bytes(shard_of(1)),
			  1048576 + SEGMENT_LEN);
	/* Shard 0 was written first. */
	ck_assert_uint_lt(count_closed(0), count_closed(1));
}
END_TEST

START_TEST(a_limit_that_is_set_later_counts)
{
	create("");
	fill(0, 20, 0);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"retain-size\","
			     "\"value\":\"512K\"}"),
			 0);
	look();
	look();
	ck_assert_uint_le(shard_kept_bytes(shard_of(0)), 512 * KIB + SEGMENT_LEN);
}
END_TEST

/* Both count alike: where the drain waits for room, retention makes it. */
START_TEST(a_limit_just_below_what_is_charged_is_seen_by_retention_too)
{
	const struct shard_quota *quota;
	uint64_t limit;

	create("");
	fill(0, 6, 0);
	look();
	quota = &registry_find(&bed.server->registry, "events")->quota;
	limit = load_relaxed(&quota->charged) - 2048;
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"retain-size\","
			     "\"value\":\"%llu\"}",
			     (unsigned long long)limit),
			 0);
	look();
	ck_assert_uint_le(load_relaxed(&quota->charged), limit);
}
END_TEST

/* Files are deleted in the background, and whether that can be done is known later. */
START_TEST(a_segment_that_could_not_be_deleted_is_deleted_later)
{
	create("");
	fill(0, 12, 0);
	store_relaxed(&refuses, 1);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"retain-size\","
			     "\"value\":\"512K\"}"),
			 0);
	look();
	ck_assert_uint_gt(load_relaxed(&n_refused), 0);
	ck_assert_uint_gt(shard_kept_bytes(shard_of(0)), 1024 * KIB);
	store_relaxed(&refuses, 0);
	/* As often as the drain asks for room: the first answer is about what failed. */
	look();
	look();
	ck_assert_uint_le(shard_kept_bytes(shard_of(0)), 512 * KIB + SEGMENT_LEN);
	fill(0, 12, 0);
}
END_TEST

static bool is_at_rest(void *arg)
{
	(void)arg;
	retention_tick(bed.server);
	return worker_pending(bed.server->workers[SERVER_WORKER_RETENTION]) == 0 &&
	       bed.server->tick_ns > clock_now_ns(CLOCK_MONOTONIC) + 20 * NS_PER_S;
}

START_TEST(retention_looks_when_something_is_due_and_not_before)
{
	retention_tick(bed.server);
	ck_assert_uint_eq(bed.server->tick_ns, UINT64_MAX);
	create(",\"retain_ns\":60000000000");
	fill(0, 6, 0);
	daemon_bed_until(&bed, is_at_rest, NULL);
	/* Nothing is new, nothing is old. */
	retention_take_news(bed.server);
	ck_assert_uint_eq(worker_pending(bed.server->workers[SERVER_WORKER_RETENTION]), 0);
	let_time_pass(61 * NS_PER_S);
	retention_tick(bed.server);
	ck_assert_uint_eq(worker_pending(bed.server->workers[SERVER_WORKER_RETENTION]), 1);
	daemon_bed_until(&bed, is_at_rest, NULL);
	ck_assert_uint_eq(count_closed(0), 0);
	/* A segment that is closed is news. */
	fill(0, 2, 0);
	store_relaxed(&registry_find(&bed.server->registry, "events")->quota.news, 1);
	retention_take_news(bed.server);
	ck_assert_uint_eq(worker_pending(bed.server->workers[SERVER_WORKER_RETENTION]), 1);
	daemon_bed_until(&bed, is_at_rest, NULL);
}
END_TEST

START_TEST(a_stream_can_be_removed_while_retention_looks)
{
	create(",\"retain_len\":1048576");
	fill(0, 20, 0);
	retention_tick(bed.server);
	let_go();
	ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"events\"}"), 0);
	ck_assert_uint_eq(bed.server->registry.n_streams, 0);
	ck_assert(!retention_is_wanted(bed.server));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("retention");
	TCase *tc = tcase_create("retention");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	publisher.kick_fd = -1;
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, without_retention_everything_stays);
	tcase_add_test(tc, age_deletes_closed_segments_and_nothing_before_its_time);
	tcase_add_test(tc, what_publishers_say_of_the_time_deletes_nothing);
	tcase_add_test(tc, age_goes_on_after_a_restart_where_it_was);
	tcase_add_test(tc, size_keeps_the_newest_segments);
	tcase_add_test(tc, size_counts_all_shards_and_takes_the_oldest);
	tcase_add_test(tc, a_limit_that_is_set_later_counts);
	tcase_add_test(tc, a_limit_just_below_what_is_charged_is_seen_by_retention_too);
	tcase_add_test(tc, a_segment_that_could_not_be_deleted_is_deleted_later);
	tcase_add_test(tc, retention_looks_when_something_is_due_and_not_before);
	tcase_add_test(tc, a_stream_can_be_removed_while_retention_looks);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
