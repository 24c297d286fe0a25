/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_advise.h"
#include "tools/bench_machine.h"

START_TEST(the_word_in_brackets_is_the_one_chosen)
{
	char word[16];

	advise_look_word("always [madvise] never", word, sizeof(word));
	ck_assert_str_eq(word, "madvise");
	advise_look_word("never", word, sizeof(word));
	ck_assert_str_eq(word, "never");
	advise_look_word("always [madv", word, sizeof(word));
	ck_assert_str_eq(word, "always [madv");
	advise_look_word("", word, sizeof(word));
	ck_assert_str_eq(word, "");
}
END_TEST

START_TEST(a_list_of_processors_is_counted_through)
{
	ck_assert_int_eq(advise_look_nth_cpu("0-3,8,10-11", 0), 0);
	ck_assert_int_eq(advise_look_nth_cpu("0-3,8,10-11", 3), 3);
	ck_assert_int_eq(advise_look_nth_cpu("0-3,8,10-11", 4), 8);
	ck_assert_int_eq(advise_look_nth_cpu("0-3,8,10-11", 6), 11);
	ck_assert_int_eq(advise_look_nth_cpu("0-3,8,10-11", 7), -1);
	ck_assert_int_eq(advise_look_nth_cpu("5", 0), 5);
	ck_assert_int_eq(advise_look_nth_cpu("", 0), -1);
	ck_assert_int_eq(advise_look_nth_cpu("x", 0), -1);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_an_empty_line)
{
	char line[16] = "before";

	advise_look_line("/proc/self/none", line, sizeof(line));
	ck_assert_str_eq(line, "");
	advise_look_line("/proc/self/comm", line, sizeof(line));
	ck_assert_uint_gt(strlen(line), 0);
	ck_assert_ptr_null(strchr(line, '\n'));
}
END_TEST

START_TEST(every_advice_says_what_is_set_and_how_to_change_what_can_be_changed)
{
	struct bench_env env = { 0 };
	struct advice advice;
	size_t i, j;

	bench_machine_choose_cpus(&env);
	for (i = 0; i < bench_advise_rows_len; i++) {
		memset(&advice, 0, sizeof(advice));
		bench_advise_rows[i].look(&env, &advice);
		ck_assert_msg(advice.now[0], "%s does not say what is set",
			      bench_advise_rows[i].name);
		if (advice.state == ADVICE_CHOICE || advice.state == ADVICE_MAY ||
		    advice.state == ADVICE_ROOT)
			ck_assert_msg(advice.how[0], "%s does not say how",
				      bench_advise_rows[i].name);
		/* Where nothing is tried, it says why. */
		if (!bench_advise_rows[i].try && advice.state != ADVICE_GOOD)
			ck_assert_msg(advice.why[0], "%s does not say why",
				      bench_advise_rows[i].name);
		for (j = 0; j < i; j++)
			ck_assert_str_ne(bench_advise_rows[i].name, bench_advise_rows[j].name);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_advise");
	TCase *tc = tcase_create("advise");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_word_in_brackets_is_the_one_chosen);
	tcase_add_test(tc, a_list_of_processors_is_counted_through);
	tcase_add_test(tc, a_file_that_is_not_there_is_an_empty_line);
	tcase_add_test(tc, every_advice_says_what_is_set_and_how_to_change_what_can_be_changed);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
