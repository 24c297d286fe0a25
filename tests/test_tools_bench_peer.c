/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tools/bench_peer.h"

static struct bench_env env;
static struct bench_result result;

static void setup(void)
{
	memset(&env, 0, sizeof(env));
	memset(&result, 0, sizeof(result));
}

static int take(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "%s\n", text);
	return bench_peer_take_line(&env, line, &result);
}

START_TEST(figures_arrive_as_the_driver_printed_them)
{
	ck_assert_int_eq(take("about ZeroMQ 4.3.4: REQ and REP"), 0);
	ck_assert_int_eq(take("value 1234.5"), 0);
	ck_assert_int_eq(take("p99 2e3"), 0);
	ck_assert_int_eq(take("p999 3000"), 0);
	ck_assert_int_eq(take("p9999 4000"), 0);
	ck_assert_int_eq(take("max 5000"), 0);
	ck_assert_int_eq(take("samples 77"), 0);
	ck_assert_int_eq(take("curve 1234.5"), 0);
	ck_assert_int_eq(take("curve 1300"), 0);
	ck_assert_int_eq(take("bytes 4096"), 0);
	ck_assert_str_eq(env.about, "ZeroMQ 4.3.4: REQ and REP");
	ck_assert_double_eq(result.value, 1234.5);
	ck_assert_double_eq(result.p99, 2000);
	ck_assert_double_eq(result.p999, 3000);
	ck_assert_double_eq(result.p9999, 4000);
	ck_assert_double_eq(result.max, 5000);
	ck_assert_uint_eq(result.n_samples, 77);
	ck_assert_double_eq(result.curve[0], 1234.5);
	ck_assert_double_eq(result.curve[1], 1300);
	ck_assert_double_eq(result.curve[2], 0);
	ck_assert_uint_eq(result.n_facts, 1);
	ck_assert_double_eq(result.facts[0].value, 4096);
}
END_TEST

START_TEST(a_word_why_there_is_nothing_is_kept)
{
	ck_assert_int_eq(take("skipped nats-server is not installed (apt install nats-server)"),
			 BENCH_SKIPPED);
	ck_assert_str_eq(env.error, "nats-server is not installed (apt install nats-server)");
	ck_assert_int_lt(take("failed no reply"), 0);
	ck_assert_str_eq(env.error, "no reply");
}
END_TEST

START_TEST(other_lines_and_too_many_of_them_do_no_harm)
{
	int i;

	ck_assert_int_eq(take(""), 0);
	ck_assert_int_eq(take("value"), 0);
	ck_assert_int_eq(take("a warning of some library"), 0);
	for (i = 0; i < 100; i++) {
		ck_assert_int_eq(take("curve 7"), 0);
		ck_assert_int_eq(take("bytes 7"), 0);
	}
	ck_assert_double_eq(result.value, 0);
	ck_assert_uint_eq(result.n_facts, BENCH_FACTS_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_peer");
	TCase *tc = tcase_create("peer");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, figures_arrive_as_the_driver_printed_them);
	tcase_add_test(tc, a_word_why_there_is_nothing_is_kept);
	tcase_add_test(tc, other_lines_and_too_many_of_them_do_no_harm);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
