/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "shm/atomic.h"

struct job {
	struct worker_job job;
	struct worker *worker;
	pthread_t ran_on;
	int n_more;
	int number;
};

static int event_fd;
static struct worker *worker;
static int order[64], n_done;

static void run(struct worker_job *worker_job)
{
	((struct job *)worker_job)->ran_on = pthread_self();
}

static void done(struct worker_job *worker_job)
{
	struct job *job = (struct job *)worker_job;

	ck_assert(!pthread_equal(job->ran_on, pthread_self()));
	order[n_done++] = job->number;
	if (job->n_more-- > 0)
		worker_submit(job->worker, &job->job);
}

static void setup(void)
{
	event_fd = eventfd(0, EFD_NONBLOCK);
	ck_assert_int_eq(worker_new(event_fd, 1, &worker), 0);
}

START_TEST(jobs_run_elsewhere_in_order_and_end_here)
{
	struct job jobs[32];
	struct pollfd p = { .fd = event_fd, .events = POLLIN };
	uint64_t ignored;

	for (int i = 0; i < 32; i++) {
		jobs[i] = (struct job){ .job = { .run = run, .done = done }, .number = i };
		worker_submit(worker, &jobs[i].job);
	}
	while (worker_pending(worker) > 0) {
		ck_assert_int_eq(poll(&p, 1, 5000), 1);
		ck_assert_int_eq(read(event_fd, &ignored, sizeof(ignored)), sizeof(ignored));
		worker_reap(worker);
	}
	for (int i = 0; i < 32; i++)
		ck_assert_int_eq(order[i], i);
	worker = worker_free(worker);
}
END_TEST

START_TEST(the_end_waits_for_what_was_submitted)
{
	struct job job = {
		.job = { .run = run, .done = done }, .worker = worker, .n_more = 9, .number = 5
	};

	worker_submit(worker, &job.job);
	worker = worker_free(worker);
	ck_assert_int_eq(n_done, 10);
	ck_assert_ptr_null(worker_free(NULL));
}
END_TEST

static _Atomic uint32_t n_waiting, go;

static void run_until_told(struct worker_job *worker_job)
{
	fetch_add_relaxed(&n_waiting, 1);
	while (!load_relaxed(&go))
		sched_yield();
	run(worker_job);
}

static void run_to_the_end(struct worker *w)
{
	struct pollfd p = { .fd = event_fd, .events = POLLIN };
	uint64_t ignored;

	while (worker_pending(w) > 0) {
		ck_assert_int_eq(poll(&p, 1, 5000), 1);
		ck_assert_int_eq(read(event_fd, &ignored, sizeof(ignored)), sizeof(ignored));
		worker_reap(w);
	}
}

START_TEST(several_threads_run_jobs_at_once)
{
	struct worker *several;
	struct job jobs[4];

	ck_assert_int_eq(worker_new(event_fd, 3, &several), 0);
	for (int i = 0; i < 4; i++) {
		jobs[i] =
			(struct job){ .job = { .run = run_until_told, .done = done }, .number = i };
		worker_submit(several, &jobs[i].job);
	}
	while (load_relaxed(&n_waiting) < 3)
		sched_yield();
	store_relaxed(&go, 1);
	run_to_the_end(several);
	ck_assert_int_eq(n_done, 4);
	ck_assert_uint_eq(load_relaxed(&n_waiting), 4);
	worker_free(several);
	worker_free(worker);
}
END_TEST

START_TEST(who_is_in_a_hurry_comes_next_and_the_others_keep_their_order)
{
	static const int want[] = { 0, 6, 1, 2, 3, 4, 5, 7 };
	struct job jobs[8];

	for (int i = 0; i < 8; i++) {
		jobs[i] = (struct job){ .job = { .run = i ? run : run_until_told, .done = done },
					.number = i };
		worker_submit(worker, &jobs[i].job);
	}
	while (load_relaxed(&n_waiting) < 1)
		sched_yield();
	worker_hurry(worker, &jobs[6].job);
	worker_hurry(worker, &jobs[0].job);
	store_relaxed(&go, 1);
	run_to_the_end(worker);
	ck_assert_mem_eq(order, want, sizeof(want));
	worker_hurry(worker, &jobs[3].job);
	ck_assert_uint_eq(worker_reap(worker), 0);
	worker_free(worker);
}
END_TEST

START_TEST(users_take_turns_however_much_each_wants)
{
	static const int want[] = { 0, 1, 4, 6, 2, 5, 3 };
	struct job jobs[7];

	for (int i = 0; i < 7; i++)
		jobs[i] = (struct job){ .job = { .run = i ? run : run_until_told,
						 .done = done,
						 .user = i < 4   ? 1001
							 : i < 6 ? 1002
								 : 1003 },
					.number = i };
	worker_submit(worker, &jobs[0].job);
	while (load_relaxed(&n_waiting) < 1)
		sched_yield();
	for (int i = 1; i < 7; i++)
		worker_submit(worker, &jobs[i].job);
	store_relaxed(&go, 1);
	run_to_the_end(worker);
	ck_assert_mem_eq(order, want, sizeof(want));
	worker_free(worker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("worker");
	TCase *tc = tcase_create("worker");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, jobs_run_elsewhere_in_order_and_end_here);
	tcase_add_test(tc, the_end_waits_for_what_was_submitted);
	tcase_add_test(tc, several_threads_run_jobs_at_once);
	tcase_add_test(tc, who_is_in_a_hurry_comes_next_and_the_others_keep_their_order);
	tcase_add_test(tc, users_take_turns_however_much_each_wants);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
