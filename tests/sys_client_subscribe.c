/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers against a real daemon: every start and stop, disk and ring, fd, gaps, checkpoints. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/harness.h"

enum {
	RING = 64 << 10,
	N_RECORDS = 3000,
};

/* Far longer than anything takes here, and short enough to fail before the case is killed. */
#define LONG_NS UINT64_C(20000000000)

/* What was published, to be found again. */
struct known {
	uint64_t pos;
	uint64_t next_pos;
	uint64_t timestamp_ns;
};

static struct harness_bus bus;
static struct leat_bus *handle;
static struct known known[N_RECORDS];

static void setup(void)
{
	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
}

static void teardown(void)
{
	leat_close(handle);
	harness_bus_stop(&bus);
}

static void make_value(uint64_t number, char value[512], size_t *ret_len)
{
	*ret_len = 8 + number * 37 % 400;
	memset(value, (int)(number & 0xff), *ret_len);
	memcpy(value, &number, sizeof(number));
}

static void publish(struct leat_publisher *publisher, uint64_t number, int32_t shard,
		    struct leat_result *ret_result)
{
	char value[512];
	struct leat_record record = { .value = value, .shard = shard };
	int r;

	make_value(number, value, &record.value_len);
	r = leat_publish(publisher, &record, ret_result);
	must(r == 0, "record %llu: %s", (unsigned long long)number,
	     leat_publisher_detail(publisher));
}

static uint64_t check_value(const struct leat_message *message)
{
	char value[512];
	uint64_t number;
	size_t len;

	must(message->kind == LEAT_RECORD, "a gap [%llu, %llu), reason %d",
	     (unsigned long long)message->pos, (unsigned long long)message->next_pos,
	     (int)message->reason);
	must(message->value_len >= sizeof(number), "a short value");
	memcpy(&number, message->value, sizeof(number));
	make_value(number, value, &len);
	must(message->value_len == len && memcmp(message->value, value, len) == 0,
	     "record %llu came damaged", (unsigned long long)number);
	return number;
}

static struct leat_subscriber *open_at(const char *stream, enum leat_where start, uint64_t value,
				       enum leat_where stop, uint64_t stop_value)
{
	struct leat_subscriber_options options;
	struct leat_subscriber *sub = NULL;
	int r;

	leat_subscriber_options_init(&options);
	options.start = start;
	options.start_value = value;
	options.stop = stop;
	options.stop_value = stop_value;
	r = leat_subscriber_open(handle, stream, &options, &sub);
	must(r == 0, "subscribing: %s", leat_detail(handle));
	return sub;
}

/* The next message, which must be a record; its number. */
static uint64_t next_number(struct leat_subscriber *sub)
{
	struct leat_message message;
	int r = leat_next(sub, LONG_NS, &message);

	must(r == 1, "no message: %s (%s)", leat_strerror(r), leat_subscriber_detail(sub));
	return check_value(&message);
}

/* N_RECORDS in a ring that holds a few hundred, in several segments; all are in `known`. */
static void fill(const char *stream)
{
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t i;

	leat_stream_options_init(&options);
	options.segment_len = 128 << 10;
	harness_stream(handle, stream, 1, RING, &options);
	publisher = harness_publisher(handle, stream);
	for (i = 0; i < N_RECORDS; i++)
		publish(publisher, i, 0, NULL);
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_WRITTEN, LONG_NS), 0);
	leat_publisher_close(publisher);
	sub = open_at(stream, LEAT_EARLIEST, 0, LEAT_LATEST, 0);
	for (i = 0; i < N_RECORDS; i++) {
		ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
		ck_assert_uint_eq(check_value(&message), i);
		known[i] = (struct known){ message.pos, message.next_pos, message.timestamp_ns };
	}
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 0);
	leat_subscriber_close(sub);
}

START_TEST(every_position_leads_to_the_record_at_or_after_it)
{
	uint64_t seed = harness_seed(), n, at, pos;
	struct leat_subscriber *sub;

	fill("log");
	sub = open_at("log", LEAT_EARLIEST, 0, LEAT_NEVER, 0);
	for (n = 0; n < 600; n++) {
		at = harness_random(&seed) % N_RECORDS;
		pos = known[at].pos;
		ck_assert_int_eq(leat_seek(sub, 0, LEAT_POSITION, pos), 0);
		ck_assert_uint_eq(next_number(sub), at);
		if (at + 2 >= N_RECORDS)
			continue;
		pos += 1 + harness_random(&seed) % (known[at].next_pos - pos);
		ck_assert_int_eq(leat_seek(sub, 0, LEAT_POSITION, pos), 0);
		ck_assert_uint_eq(next_number(sub), at + 1);
		ck_assert_int_eq(leat_seek(sub, 0, LEAT_AFTER, known[at].pos), 0);
		ck_assert_uint_eq(next_number(sub), at + 1);
		ck_assert_uint_eq(next_number(sub), at + 2);
	}
	leat_subscriber_close(sub);
}
END_TEST

START_TEST(every_time_leads_to_the_first_record_that_late)
{
	uint64_t seed = harness_seed(), n, at, ns, want;
	struct leat_subscriber *sub;

	fill("log");
	sub = open_at("log", LEAT_TIME, known[N_RECORDS / 2].timestamp_ns, LEAT_NEVER, 0);
	for (n = 0; n < 200; n++) {
		at = harness_random(&seed) % N_RECORDS;
		ns = known[at].timestamp_ns + harness_random(&seed) % 3 - 1;
		for (want = 0; want < N_RECORDS && known[want].timestamp_ns < ns; want++)
			;
		if (want == N_RECORDS)
			continue;
		ck_assert_int_eq(leat_seek(sub, 0, LEAT_TIME, ns), 0);
		ck_assert_uint_eq(next_number(sub), want);
	}
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_TIME, 0), 0);
	ck_assert_uint_eq(next_number(sub), 0);
	leat_subscriber_close(sub);
}
END_TEST

START_TEST(stops_end_where_they_say_on_disk_and_in_the_ring)
{
	static const uint64_t ends[] = { 1, 700, N_RECORDS - 2 };
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t i, n;

	fill("log");
	for (i = 0; i < 3; i++) {
		sub = open_at("log", LEAT_EARLIEST, 0, LEAT_POSITION, known[ends[i]].pos);
		for (n = 0; leat_next(sub, LONG_NS, &message) == 1; n++)
			ck_assert_uint_eq(check_value(&message), n);
		ck_assert_uint_eq(n, ends[i]);
		leat_subscriber_close(sub);
		sub = open_at("log", LEAT_POSITION, known[ends[i] - 1].pos, LEAT_TIME,
			      known[ends[i] + 1].timestamp_ns);
		for (n = ends[i] - 1; leat_next(sub, LONG_NS, &message) == 1; n++)
			ck_assert_uint_eq(check_value(&message), n);
		ck_assert_uint_ge(n, ends[i]);
		ck_assert_uint_le(n, ends[i] + 1);
		leat_subscriber_close(sub);
	}
}
END_TEST

START_TEST(a_start_that_is_still_to_come_is_waited_for)
{
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	struct leat_result result;

	harness_stream(handle, "log", 1, RING, NULL);
	publisher = harness_publisher(handle, "log");
	publish(publisher, 0, 0, &result);
	/* Behind the second record, which is 96 bytes long. */
	sub = open_at("log", LEAT_POSITION, result.pos + 64 + 1, LEAT_NEVER, 0);
	ck_assert_int_eq(leat_next(sub, 1000000, &message), -ETIMEDOUT);
	publish(publisher, 1, 0, &result);
	ck_assert_int_eq(leat_next(sub, 1000000, &message), -ETIMEDOUT);
	publish(publisher, 2, 0, &result);
	ck_assert_uint_eq(next_number(sub), 2);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_position_that_retention_deleted_is_a_gap_up_to_the_earliest)
{
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	struct leat_stream_info *info;
	struct leat_subscriber *sub;
	struct leat_message message;
	struct leat_result first;
	uint64_t i = 0, n, earliest;

	leat_stream_options_init(&options);
	options.segment_len = 128 << 10;
	options.retain_len = 512 << 10;
	harness_stream(handle, "log", 1, RING, &options);
	publisher = harness_publisher(handle, "log");
	publish(publisher, i++, 0, &first);
	do {
		must(i < 10000000, "nothing is ever deleted");
		for (n = 0; n < 1000; n++)
			publish(publisher, i++, 0, NULL);
		ck_assert_int_eq(leat_stream_describe(handle, "log", &info), 0);
		earliest = info->shards[0].earliest;
		leat_stream_info_free(info);
	} while (earliest == first.pos);
	sub = open_at("log", LEAT_POSITION, first.pos, LEAT_NEVER, 0);
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
	ck_assert_int_eq(message.kind, LEAT_GAP);
	ck_assert_int_eq(message.reason, LEAT_GAP_RETENTION);
	ck_assert_uint_eq(message.pos, first.pos);
	ck_assert_uint_ge(message.next_pos, earliest);
	/* Retention may overtake again; either way each position is a record's or in a gap. */
	for (n = 0; n != i - 1;) {
		earliest = message.next_pos;
		ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
		ck_assert_uint_eq(message.pos, earliest);
		if (message.kind == LEAT_GAP)
			ck_assert_int_eq(message.reason, LEAT_GAP_RETENTION);
		else
			n = check_value(&message);
	}
	leat_subscriber_close(sub);
	/* To begin at the earliest is not to miss anything. */
	sub = open_at("log", LEAT_EARLIEST, 0, LEAT_NEVER, 0);
	next_number(sub);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_memory_only_subscriber_that_falls_behind_is_told_what_it_missed)
{
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	struct leat_result first, last;
	uint64_t i, pos;

	leat_stream_options_init(&options);
	options.memory = 1;
	harness_stream(handle, "log", 1, RING, &options);
	publisher = harness_publisher(handle, "log");
	sub = open_at("log", LEAT_LATEST, 0, LEAT_NEVER, 0);
	publish(publisher, 0, 0, &first);
	for (i = 1; i < N_RECORDS; i++)
		publish(publisher, i, 0, &last);
	/* Records and gaps together are the whole log. */
	for (pos = first.pos; pos <= last.pos; pos = message.next_pos) {
		ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
		ck_assert_uint_eq(message.pos, pos);
		if (message.kind == LEAT_GAP)
			ck_assert_int_eq(message.reason, LEAT_GAP_LAPPED);
		else
			i = check_value(&message);
	}
	ck_assert_uint_eq(i, N_RECORDS - 1);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(views_and_copies_give_the_same)
{
	struct leat_subscriber_stats stats = { .size = sizeof(stats) };
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t i, n_invalid = 0, n;
	char value[512];
	size_t len;

	harness_stream(handle, "log", 1, RING, NULL);
	publisher = harness_publisher(handle, "log");
	sub = open_at("log", LEAT_LATEST, 0, LEAT_NEVER, 0);
	for (i = 0, n = 0; i < N_RECORDS; i++) {
		/* Now in step, now so far behind that what is looked at is overwritten. */
		while (n < N_RECORDS && n < (i % 1000 < 500 ? i + 1 : i - i % 1000 + 1000))
			publish(publisher, n++, 0, NULL);
		for (;;) {
			ck_assert_int_eq(leat_view(sub, LONG_NS, &message), 1);
			ck_assert_int_eq(message.kind, LEAT_RECORD);
			make_value(i, value, &len);
			len = message.value_len == len && memcmp(message.value, value, len) == 0;
			if (i % 700 == 3 && n_invalid < i / 700 + 1)
				for (n = i + 1; n < i + 1000; n++)
					publish(publisher, n, 0, NULL);
			if (leat_view_valid(sub, &message) == 1)
				break;
			n_invalid++;
		}
		ck_assert_uint_eq(len, 1);
		if (i % 700 == 3)
			break;
	}
	/* After a view that was overwritten the same record comes again, as a copy. */
	ck_assert_uint_eq(n_invalid, 1);
	for (i++; i < 1000; i++)
		ck_assert_uint_eq(next_number(sub), i);
	ck_assert_int_eq(leat_subscriber_statistics(sub, &stats), 0);
	ck_assert_uint_gt(stats.from_disk, 0);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_name_goes_on_where_it_was)
{
	struct leat_subscriber_options options;
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t i, pos;
	int round, r;

	harness_stream(handle, "log", 2, RING, NULL);
	publisher = harness_publisher(handle, "log");
	for (i = 0; i < 100; i++)
		publish(publisher, i, (int32_t)(i % 2), NULL);
	leat_subscriber_options_init(&options);
	options.name = "worker-1";
	options.start = LEAT_EARLIEST;
	for (round = 0, i = 0; round < 5; round++) {
		ck_assert_int_eq(leat_subscriber_open(handle, "log", &options, &sub), 0);
		for (r = 0; r < 20; r++, i++)
			(void)next_number(sub);
		ck_assert_int_eq(leat_checkpoint(sub), 0);
		/* Read and not checkpointed: comes again. */
		if (round < 4)
			(void)next_number(sub);
		ck_assert_int_eq(leat_subscriber_position(sub, 1, &pos), 0);
		leat_subscriber_close(sub);
	}
	ck_assert_int_eq(leat_subscriber_open(handle, "log", &options, &sub), 0);
	ck_assert_int_eq(leat_next(sub, 1000000, &message), -ETIMEDOUT);
	leat_subscriber_close(sub);
	options.name = "not a name";
	ck_assert_int_eq(leat_subscriber_open(handle, "log", &options, &sub), -EINVAL);
	options.name = NULL;
	ck_assert_int_eq(leat_subscriber_open(handle, "log", &options, &sub), 0);
	ck_assert_int_eq(leat_checkpoint(sub), -EINVAL);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

struct feeder {
	uint64_t n;
	uint64_t seed;
	uint32_t n_shards;
};

static int feed(void *arg)
{
	struct feeder *feeder = arg;
	struct leat_bus *own = harness_connect(&bus);
	struct leat_publisher *publisher = harness_publisher(own, "log");
	uint64_t i;

	for (i = 0; i < feeder->n; i++) {
		publish(publisher, i, (int32_t)(i % feeder->n_shards), NULL);
		/* Bursts with pauses in between, in which the other side falls asleep. */
		if (harness_random(&feeder->seed) % 50 == 0)
			usleep((useconds_t)(harness_random(&feeder->seed) % 2000));
	}
	leat_publisher_close(publisher);
	leat_close(own);
	return 0;
}

START_TEST(an_fd_is_readable_whenever_there_is_something_to_read)
{
	struct feeder feeder = { .n = 20000, .seed = harness_seed(), .n_shards = 3 };
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t n = 0, next[3] = { 0, 1, 2 };
	struct pollfd pollfd = { .events = POLLIN };
	pid_t pid;
	int r;

	harness_stream(handle, "log", 3, RING, NULL);
	sub = open_at("log", LEAT_EARLIEST, 0, LEAT_NEVER, 0);
	pollfd.fd = leat_subscriber_fd(sub);
	ck_assert_int_ge(pollfd.fd, 0);
	ck_assert_int_eq(leat_subscriber_fd(sub), pollfd.fd);
	pid = harness_fork(feed, &feeder);
	while (n < feeder.n) {
		uint64_t begun = harness_now_ns(), number;

		/* The helper looks by itself every 2 s: sooner means that a bell was heard. */
		must(poll(&pollfd, 1, 1500) == 1, "not readable after record %llu",
		     (unsigned long long)n);
		must(harness_now_ns() - begun < 1400000000, "the bell was not heard");
		while ((r = leat_next(sub, 0, &message)) == 1) {
			number = check_value(&message);
			ck_assert_uint_eq(number, next[message.shard]);
			next[message.shard] += 3;
			n++;
		}
		ck_assert_int_eq(r, -ETIMEDOUT);
	}
	harness_reap_ok(pid, 10, "the publisher");
	/* Nothing more: it falls silent, once the daemon has made sure that nobody overslept. */
	for (r = 1, n = 0; r == 1 && n < 20; n++) {
		ck_assert_int_eq(leat_next(sub, 0, &message), -ETIMEDOUT);
		r = poll(&pollfd, 1, 300);
	}
	ck_assert_int_eq(r, 0);
	leat_subscriber_close(sub);
}
END_TEST

START_TEST(sleepers_are_woken_under_each_isolation)
{
	struct leat_subscriber_options options;
	struct leat_subscriber *sub;
	struct feeder feeder = { .n = 2000, .seed = harness_seed(), .n_shards = 2 };
	struct leat_message message;
	uint64_t n, begun, longest = 0;
	pid_t pid;

	harness_stream(handle, "log", 2, RING, NULL);
	leat_subscriber_options_init(&options);
	options.isolation = (enum leat_isolation)_i;
	options.spin_ns = 0;
	ck_assert_int_eq(leat_subscriber_open(handle, "log", &options, &sub), 0);
	pid = harness_fork(feed, &feeder);
	for (n = 0; n < feeder.n; n++) {
		begun = harness_now_ns();
		ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
		if (n > 0 && harness_now_ns() - begun > longest)
			longest = harness_now_ns() - begun;
		(void)check_value(&message);
	}
	harness_reap_ok(pid, 10, "the publisher");
	/* A wake-up that is missed shows after the 2 s of one sleep. */
	ck_assert_uint_lt(longest, 1000000000);
	leat_subscriber_close(sub);
}
END_TEST

static void *drop_stream(void *arg)
{
	struct leat_bus *own = harness_connect(&bus);

	(void)arg;
	usleep(50000);
	must(leat_stream_delete(own, "log") == 0, "deleting: %s", leat_detail(own));
	leat_close(own);
	return NULL;
}

START_TEST(a_sleeping_subscriber_learns_that_its_stream_was_deleted)
{
	struct leat_subscriber *sub;
	struct leat_message message;
	uint64_t begun = harness_now_ns();
	pthread_t thread;

	harness_stream(handle, "log", 2, RING, NULL);
	sub = open_at("log", LEAT_EARLIEST, 0, LEAT_NEVER, 0);
	pthread_create(&thread, NULL, drop_stream, NULL);
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), -ENOENT);
	ck_assert_ptr_nonnull(strstr(leat_subscriber_detail(sub), "'log'"));
	ck_assert_uint_lt(harness_now_ns() - begun, 1500000000);
	pthread_join(thread, NULL);
	leat_subscriber_close(sub);
	ck_assert_int_eq(leat_subscriber_open(handle, "log", NULL, &sub), -ENOENT);
}
END_TEST

/* Whether a barrier that somebody else asks for interrupts this process. -1: no kernel's word. */
static int answers_barriers(void)
{
	enum {
		GLOBAL_EXPEDITED_REGISTERED = 1 << 2,
		GET_REGISTRATIONS = 1 << 9
	};
	long mask = syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0);

	return mask < 0 ? -1 : (mask & GLOBAL_EXPEDITED_REGISTERED) != 0;
}

/* Otherwise many who are woken at once interrupt each other as each goes to sleep again. */
START_TEST(only_who_publishes_answers_the_barriers_of_those_who_go_to_sleep)
{
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;

	harness_stream(handle, "log", 1, RING, NULL);
	sub = open_at("log", LEAT_LATEST, 0, LEAT_NEVER, 0);
	ck_assert_int_eq(leat_next(sub, 1000000, &message), -ETIMEDOUT);
	ck_assert_int_le(answers_barriers(), 0);
	publisher = harness_publisher(handle, "log");
	ck_assert_int_ne(answers_barriers(), 0);
	leat_publisher_close(publisher);
	leat_subscriber_close(sub);
}
END_TEST

static void on_alarm(int signal)
{
	(void)signal;
}

START_TEST(a_signal_ends_the_wait)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct leat_subscriber *sub;
	struct leat_message message;

	harness_stream(handle, "log", (uint32_t)_i, RING, NULL);
	sub = open_at("log", LEAT_LATEST, 0, LEAT_NEVER, 0);
	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), -EINTR);
	leat_subscriber_close(sub);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_client_subscribe");
	TCase *tcase = tcase_create("client_subscribe");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, every_position_leads_to_the_record_at_or_after_it);
	tcase_add_test(tcase, every_time_leads_to_the_first_record_that_late);
	tcase_add_test(tcase, stops_end_where_they_say_on_disk_and_in_the_ring);
	tcase_add_test(tcase, a_start_that_is_still_to_come_is_waited_for);
	tcase_add_test(tcase, a_position_that_retention_deleted_is_a_gap_up_to_the_earliest);
	tcase_add_test(tcase, a_memory_only_subscriber_that_falls_behind_is_told_what_it_missed);
	tcase_add_test(tcase, views_and_copies_give_the_same);
	tcase_add_test(tcase, a_name_goes_on_where_it_was);
	tcase_add_test(tcase, an_fd_is_readable_whenever_there_is_something_to_read);
	tcase_add_loop_test(tcase, sleepers_are_woken_under_each_isolation, 0, 3);
	tcase_add_test(tcase, a_sleeping_subscriber_learns_that_its_stream_was_deleted);
	tcase_add_test(tcase, only_who_publishes_answers_the_barriers_of_those_who_go_to_sleep);
	tcase_add_loop_test(tcase, a_signal_ends_the_wait, 1, 3);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
