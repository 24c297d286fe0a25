/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

static int saved, reading;

static void setup(void)
{
	int pair[2];

	saved = dup(STDERR_FILENO);
	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	dup2(pair[1], STDERR_FILENO);
	close(pair[1]);
	reading = pair[0];
	fcntl(reading, F_SETFL, O_NONBLOCK);
	unsetenv("JOURNAL_STREAM");
	log_init("test");
	log_set_level(LOG_LEVEL_INFO);
}

static void teardown(void)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(reading);
}

static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(reading, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

START_TEST(a_line_says_who_and_what)
{
	log_info("Stream %s was made", "s");
	ck_assert_str_eq(logged(), "test: Stream s was made\n");
	log_debug("not now");
	ck_assert_str_eq(logged(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("now");
	ck_assert_str_eq(logged(), "test: now\n");
}
END_TEST

START_TEST(a_journal_gets_levels)
{
	struct stat st;
	char stream[64];

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("test");
	log_error("bad");
	ck_assert_str_eq(logged(), "<3>bad\n");
	/* Somebody who redirects standard error gets plain lines. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("test");
	log_error("bad");
	ck_assert_str_eq(logged(), "test: bad\n");
}
END_TEST

START_TEST(what_a_client_wrote_stays_in_its_line)
{
	log_info("client %s", "a\nroot: all is lost\033[2J");
	ck_assert_str_eq(logged(), "test: client a?root: all is lost?[2J\n");
}
END_TEST

START_TEST(a_reader_that_has_stopped_holds_up_nobody)
{
	char word[1024];

	memset(word, 'x', sizeof(word));
	word[sizeof(word) - 1] = '\0';
	alarm(20);
	for (int i = 0; i < 1000; i++)
		log_info("%s", word);
	alarm(0);
	/* And a long line is cut, not lost. */
	while (read(reading, word, sizeof(word)) > 0)
		;
	word[sizeof(word) - 1] = '\0';
	log_info("%s", word);
	ck_assert_str_ne(logged(), "");
}
END_TEST

START_TEST(what_clients_can_cause_is_limited)
{
	int n = 0;

	for (int i = 0; i < 100; i++)
		log_limited(LOG_LEVEL_INFO, "again");
	for (const char *p = logged(); (p = strstr(p, "again")); p++)
		n++;
	ck_assert_int_eq(n, LOG_RATE_BURST);
}
END_TEST

START_TEST(levels_have_names)
{
	enum log_level level;

	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		ck_assert_int_eq(log_parse_level(log_level_name((enum log_level)i), &level), 0);
		ck_assert_int_eq((int)level, i);
	}
	ck_assert_int_eq(log_parse_level("loud", &level), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_line_says_who_and_what);
	tcase_add_test(tc, a_journal_gets_levels);
	tcase_add_test(tc, what_a_client_wrote_stays_in_its_line);
	tcase_add_test(tc, a_reader_that_has_stopped_holds_up_nobody);
	tcase_add_test(tc, what_clients_can_cause_is_limited);
	tcase_add_test(tc, levels_have_names);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
