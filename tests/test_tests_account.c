/* SPDX-License-Identifier: Apache-2.0 */
/* The account is what other tests believe: each thing that it is there to find is planted once. */
#include <check.h>
#include <string.h>

#include "tests/account.h"
#include "tests/harness.h"

enum {
	N = 6, /* records; those from BATCH on are a batch */
	BATCH = 3,
};

static struct account *account;
static struct account_reader *reader;
static struct leat_message messages[N];
static char values[N][32];

/* As if they had been published, record i at position 1000 + 100 i. */
static void setup(void)
{
	struct leat_record records[N] = { 0 };

	account = account_new(NULL, 2, 100);
	reader = account_reader_new(account);
	for (int i = 0; i < N; i++) {
		account_fill(values[i], sizeof(values[i]), (uint64_t)i);
		records[i].value = values[i];
		records[i].value_len = (size_t)i * 5;
		records[i].key = values[i];
		records[i].key_len = (size_t)i;
	}
	for (int i = 0; i < BATCH; i++)
		ck_assert_uint_eq(account_try(account, 1, &records[i], 1), (uint64_t)i);
	ck_assert_uint_eq(account_try(account, 1, &records[BATCH], N - BATCH), BATCH);
	for (int i = 0; i < N; i++) {
		struct leat_result result = { .pos = 1000 + 100 * (uint64_t)i };

		account_told(account, 1, (uint64_t)i, &result, LEAT_ACK_RING);
		messages[i] = (struct leat_message){
			.kind = LEAT_RECORD,
			.pos = result.pos,
			.next_pos = result.pos + 100,
			.event_time_ns = records[i].event_time_ns,
			.key = values[i],
			.key_len = (uint32_t)i,
			.value = values[i],
			.value_len = (uint32_t)i * 5,
		};
	}
}

static void teardown(void)
{
	reader = account_reader_free(reader);
	account = account_free(account);
}

static bool take(int i)
{
	return account_reader_take(reader, &messages[i]);
}

/* All but those from `first` to before `end` are read. */
static bool all_but(int first, int end)
{
	for (int i = 0; i < N; i++)
		if ((i < first || i >= end) && !take(i))
			return false;
	return account_reader_check(reader, &(struct account_terms){ 0 });
}

static bool complains(const char *word)
{
	return strstr(account_reader_complaint(reader), word) != NULL;
}

START_TEST(what_is_whole_is_found_to_be)
{
	ck_assert(all_but(N, N));
	ck_assert_uint_eq(account_reader_n(reader), N);
}
END_TEST

START_TEST(a_lost_record_is_found)
{
	ck_assert(!all_but(_i, _i + 1));
	ck_assert(complains("is lost") || complains("half a batch"));
}
END_TEST

START_TEST(a_record_that_comes_twice_is_found)
{
	ck_assert(take(0) && take(1));
	messages[1].pos = 1200;
	ck_assert(!take(1));
	ck_assert(complains("told position"));
	ck_assert(!take(0));
}
END_TEST

/* Nobody told where it is: then it is the reader that knows. */
START_TEST(an_unacknowledged_record_that_comes_twice_is_found)
{
	struct leat_record record = { .value = "x", .value_len = 1 };

	account_try(account, 0, &record, 1);
	messages[0] = (struct leat_message){ .kind = LEAT_RECORD,
					     .pos = 10,
					     .next_pos = 20,
					     .event_time_ns = record.event_time_ns,
					     .value = "x",
					     .value_len = 1 };
	ck_assert(take(0));
	messages[0].pos = 20;
	messages[0].next_pos = 30;
	ck_assert(!take(0));
	ck_assert(complains("came before"));
}
END_TEST

START_TEST(records_in_the_wrong_order_are_found)
{
	ck_assert(take(1));
	ck_assert(!take(0));
}
END_TEST

START_TEST(a_changed_byte_is_found)
{
	char changed[sizeof(values[2])];

	memcpy(changed, values[2], sizeof(changed));
	changed[9] ^= 1;
	messages[2].value = changed;
	ck_assert(take(0) && take(1) && !take(2));
	ck_assert(complains("not the bytes"));
}
END_TEST

START_TEST(a_short_record_is_found)
{
	messages[2].value_len--;
	ck_assert(take(0) && take(1) && !take(2));
	ck_assert(complains("bytes instead of"));
}
END_TEST

START_TEST(half_a_batch_is_found)
{
	account_refused(account, 1, 0, BATCH);
	messages[BATCH + 1].pos = messages[BATCH].next_pos;
	ck_assert(take(BATCH));
	ck_assert(!account_reader_check(reader, &(struct account_terms){ 0 }));
	ck_assert(complains("half a batch"));
}
END_TEST

START_TEST(a_record_that_was_refused_is_found)
{
	account_refused(account, 1, 1, 1);
	ck_assert(take(0) && !take(1));
	ck_assert(complains("not published"));
}
END_TEST

START_TEST(a_gap_excuses_only_the_levels_that_it_may)
{
	struct account_terms terms = { .gaps = { 1u << LEAT_GAP_JUMP, 1u << LEAT_GAP_JUMP, 0 } };
	struct leat_message gap = {
		.kind = LEAT_GAP, .reason = LEAT_GAP_JUMP, .pos = 1100, .next_pos = 1200
	};

	ck_assert(take(0) && account_reader_take(reader, &gap));
	for (int i = 2; i < N; i++)
		ck_assert(take(i));
	ck_assert(account_reader_check(reader, &terms));
	terms.gaps[LEAT_ACK_RING] = 1u << LEAT_GAP_RETENTION;
	ck_assert(!account_reader_check(reader, &terms));
	terms.gaps[LEAT_ACK_RING] = 1u << LEAT_GAP_JUMP;
	account_flushed(account, 1, 0, LEAT_ACK_DURABLE);
	ck_assert(!account_reader_check(reader, &terms));
	ck_assert(complains("acknowledged as durable"));
}
END_TEST

START_TEST(who_resumes_further_on_than_he_read_is_found)
{
	ck_assert(take(0) && take(1));
	ck_assert(account_reader_rewind(reader, 0, 1100));
	ck_assert(take(1) && take(2));
	ck_assert(!account_reader_rewind(reader, 0, 1400));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tests_account");
	TCase *tcase = tcase_create("account");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_is_whole_is_found_to_be);
	tcase_add_loop_test(tcase, a_lost_record_is_found, 0, N);
	tcase_add_test(tcase, a_record_that_comes_twice_is_found);
	tcase_add_test(tcase, an_unacknowledged_record_that_comes_twice_is_found);
	tcase_add_test(tcase, records_in_the_wrong_order_are_found);
	tcase_add_test(tcase, a_changed_byte_is_found);
	tcase_add_test(tcase, a_short_record_is_found);
	tcase_add_test(tcase, half_a_batch_is_found);
	tcase_add_test(tcase, a_record_that_was_refused_is_found);
	tcase_add_test(tcase, a_gap_excuses_only_the_levels_that_it_may);
	tcase_add_test(tcase, who_resumes_further_on_than_he_read_is_found);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
