/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching where fds or publisher ids are short; and two who change a stream at once. */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/daemon_bed.h"

static struct daemon_bed bed;
static struct daemon_bed_client client;

static void setup(void)
{
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
}

static void teardown(void)
{
	daemon_bed_disconnect(&client);
	daemon_bed_end(&bed);
}

#define ask(...) daemon_bed_ask(&client, __VA_ARGS__)

static void create(const char *options)
{
	int r = ask("{\"op\":\"create\",\"stream\":\"events\",\"options\":%s}", options);

	ck_assert_msg(r == 0, "%s", daemon_bed_sentence(&client));
}

/* The whole process, daemon included, has `n` numbers left above the lowest one that is free. */
static void leave_fds(unsigned int n)
{
	int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct rlimit limit;

	close(lowest);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = n == UINT_MAX ? 1024 : (rlim_t)lowest + n;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Asks with none, one, two, ... fds left until it is granted. */
static void ask_with_few_fds(const char *request)
{
	int before, r = -1;
	unsigned int n;

	daemon_bed_settle(&bed);
	for (n = 0; n < 16 && r != 0; n++) {
		/* Its fds are forgotten with the reply before. */
		ck_assert_int_lt(ask("{\"op\":\"nothing\"}"), 0);
		before = daemon_bed_count_fds();
		leave_fds(n);
		r = ask("%s", request);
		leave_fds(UINT_MAX);
		if (r != 0)
			ck_assert_msg(daemon_bed_count_fds() == before, "%s, %u fds left: %s leaks",
				      request, n, daemon_bed_sentence(&client));
	}
	ck_assert_msg(n > 1 && r == 0, "%s: %u times: %s", request, n,
		      daemon_bed_sentence(&client));
}

START_TEST(a_lack_of_fds_is_told_and_leaves_none_open)
{
	create("{\"shards\":1}");
	ask_with_few_fds("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			 "\"role\":\"subscribe\"}");
	/* From its first slot on the daemon watches the process, with an fd that stays. */
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 0);
	ask_with_few_fds("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			 "\"role\":\"publish\"}");
	ask_with_few_fds("{\"op\":\"segments\",\"stream\":\"events\",\"shard\":0,"
			 "\"position\":64}");
}
END_TEST

START_TEST(who_is_not_given_a_ring_holds_no_slot)
{
	create("{}");
	leave_fds(0);
	for (int i = 0; i < 2 * LAYOUT_PUBLISHER_SLOTS; i++)
		ck_assert_int_lt(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
				     "\"role\":\"publish\"}"),
				 0);
	leave_fds(UINT_MAX);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 0);
}
END_TEST

START_TEST(a_reattach_that_makes_no_sense_is_refused)
{
	static const char *const bad[] = {
		"5",
		"[]",
		"{}",
		"{\"slot\":0}",
		"{\"slot\":256,\"generation\":1}",
		"{\"slot\":-1,\"generation\":1}",
		"{\"slot\":0,\"generation\":\"1\"}",
	};

	create("{}");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
				  "\"role\":\"publish\",\"reattach\":%s}",
				  bad[i]) == -EINVAL,
			      "%s", bad[i]);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"subscribe\",\"reattach\":{\"slot\":0,\"generation\":1}}"),
			 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"subscribe\",\"generation\":-1}"),
			 -EINVAL);
}
END_TEST

static int attach(int64_t *ret_id)
{
	int r = ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,\"role\":\"publish\"}");

	if (r == 0)
		*ret_id = daemon_bed_number(&client, "publisher");
	return r;
}

START_TEST(publisher_ids_are_never_given_twice_also_after_a_restart)
{
	int64_t id, last = 0;

	create("{}");
	/* More than one block of them. */
	for (int i = 0; i < 1500; i++) {
		int r;

		/* The disk may be slower than this. */
		while ((r = attach(&id)) == -EAGAIN)
			daemon_bed_settle(&bed);
		ck_assert_int_eq(r, 0);
		ck_assert_int_gt(id, last);
		last = id;
		ck_assert_int_eq(ask("{\"op\":\"detach\",\"stream\":\"events\",\"shard\":0,"
				     "\"slot\":%d}",
				     (int)daemon_bed_number(&client, "slot")),
				 0);
	}
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	ck_assert_int_eq(attach(&id), 0);
	ck_assert_int_gt(id, last);
}
END_TEST

START_TEST(while_the_catalogue_is_behind_publishers_are_told_to_come_again)
{
	struct server *server = bed.server;
	uint64_t end = server->publisher_end;
	int64_t id;

	create("{}");
	/* As if a block were on its way to a slow disk. */
	server->publisher_next = end;
	server->reserving = true;
	ck_assert_int_eq(attach(&id), -EAGAIN);
	server->reserving = false;
	ck_assert_int_eq(attach(&id), -EAGAIN);
	daemon_bed_settle(&bed);
	ck_assert_int_eq(attach(&id), 0);
	ck_assert_int_ge(id, (int64_t)end);
	/* After four thousand millions they come round, and 0 is nobody. */
	server->publisher_next = UINT64_C(1) << 32;
	server->publisher_end = server->publisher_next + 1024;
	ck_assert_int_eq(attach(&id), 0);
	ck_assert_int_eq(id, 1);
}
END_TEST

START_TEST(of_two_who_change_a_stream_at_once_one_is_told)
{
	static const char text[] = "{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\","
				   "\"value\":\"0644\"}";
	struct daemon_bed_client other;

	create("{}");
	daemon_bed_connect(&bed, &other);
	ck_assert_int_gt(send(other.fd, text, strlen(text), 0), 0);
	/* Taken, and its end not yet seen: that takes a turn of the loop more. */
	while (!other.session->busy)
		server_step(bed.server, 1);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\","
			     "\"value\":\"0666\"}"),
			 -EBUSY);
	daemon_bed_settle(&bed);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\","
			     "\"value\":\"0666\"}"),
			 0);
	daemon_bed_disconnect(&other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach");
	TCase *tc = tcase_create("attach");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_lack_of_fds_is_told_and_leaves_none_open);
	tcase_add_test(tc, who_is_not_given_a_ring_holds_no_slot);
	tcase_add_test(tc, a_reattach_that_makes_no_sense_is_refused);
	tcase_add_test(tc, publisher_ids_are_never_given_twice_also_after_a_restart);
	tcase_add_test(tc, while_the_catalogue_is_behind_publishers_are_told_to_come_again);
	tcase_add_test(tc, of_two_who_change_a_stream_at_once_one_is_told);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
