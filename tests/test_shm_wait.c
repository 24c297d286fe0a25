/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping and waking, between processes: each sleeper is a child with a read-only mapping. */
#include <check.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shm/wait.h"
#include "tests/ring_bed.h"

enum {
	N_RINGS = 3,
	SLEEPERS_MAX = 16,
};

static struct ring_bed beds[N_RINGS];
static struct ring_publisher publishers[N_RINGS];
static pid_t sleepers[SLEEPERS_MAX];
static int n_sleepers;

static void setup(void)
{
	for (int i = 0; i < N_RINGS; i++) {
		ring_bed_init(&beds[i], LAYOUT_RING_MIN);
		ck_assert_int_eq(ring_publisher_init(&publishers[i], beds[i].writer, 0, -1), 0);
	}
}

static void teardown(void)
{
	for (int i = 0; i < n_sleepers; i++) {
		kill(sleepers[i], SIGKILL);
		waitpid(sleepers[i], NULL, 0);
	}
	for (int i = 0; i < N_RINGS; i++)
		ring_bed_deinit(&beds[i]);
}

static void publish(int ring)
{
	ck_assert_int_eq(ring_bed_publish(&publishers[ring], 1, 1, 16, NULL), 0);
}

/* The protocol of shm/wait.h; the child's exit status is 0 when it was woken, else the errno. */
static int sleep_on(const int *rings, unsigned int n, uint64_t timeout_ns)
{
	struct wait_ticket tickets[N_RINGS];
	int r;

	for (unsigned int i = 0; i < n; i++)
		wait_announce(&tickets[i], ring_bed_open(&beds[rings[i]], REGION_SUBSCRIBER));
	if (!wait_barrier())
		return 98;
	r = wait_sleep(tickets, n, timeout_ns);
	return r < 0 ? -r : r;
}

/* 'S' while a process sleeps in the kernel. */
static char state_of(pid_t pid)
{
	char path[64], text[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	fclose(file);
	return strrchr(text, ')')[2];
}

static bool sleeps_on_futex(pid_t pid)
{
	char path[64];
	int number = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	if (fscanf(file, "%d", &number) != 1)
		number = -1; /* it runs */
	fclose(file);
	return number == SYS_futex && state_of(pid) == 'S';
}

static uint32_t announced(int ring)
{
	return load_relaxed(&beds[ring].daemon->wait->n_sleepers);
}

static void run_on(int cpu, int policy)
{
	static const struct sched_param none;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	bed_must(sched_setaffinity(0, sizeof(set), &set) == 0, "sched_setaffinity");
	bed_must(sched_setscheduler(0, policy, &none) == 0, "sched_setscheduler");
}

/* From now on an attempt to wake others ends this process. */
static void wake_nobody(void)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAKE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(steps), .filter = steps };

	bed_must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
	bed_must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "a filter");
}

static bool may_not_wake; /* the next sleepers */

/* A child that sleeps; it does when this returns. cpu: -1 = any, else that one, of idle class. */
static pid_t sleeper(const int *rings, unsigned int n, uint64_t timeout_ns, int cpu)
{
	uint32_t before = announced(rings[n - 1]);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (cpu >= 0)
			run_on(cpu, SCHED_IDLE);
		if (may_not_wake)
			wake_nobody();
		_exit(sleep_on(rings, n, timeout_ns));
	}
	ck_assert_int_gt(pid, 0);
	sleepers[n_sleepers++] = pid;
	/* After the announcement nothing but the sleep itself can block for long. */
	while (announced(rings[n - 1]) == before || state_of(pid) != 'S') {
		ck_assert_msg(state_of(pid) != 'Z', "it does not sleep");
		sched_yield();
	}
	return pid;
}

/* The exit status of a sleeper that has to end within `seconds`; -1 when it sleeps on. */
static int ends(pid_t pid, unsigned int seconds)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + seconds * NS_PER_S;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_now_ns(CLOCK_MONOTONIC) > end)
			return -1;
		sched_yield();
	}
	for (int i = 0; i < n_sleepers; i++)
		if (sleepers[i] == pid)
			sleepers[i] = sleepers[--n_sleepers];
	return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

static const int first[] = { 0 };
static const int second[] = { 1 };
static const int all[] = { 0, 1, 2 };

START_TEST(a_commit_wakes_a_subscriber_that_sleeps_through_a_read_only_mapping)
{
	pid_t pid = sleeper(first, 1, UINT64_MAX, -1);

	publish(0);
	ck_assert_int_eq(ends(pid, 10), 0);
}
END_TEST

START_TEST(one_commit_wakes_all_who_sleep_by_passing_it_on)
{
	pid_t pids[12];

	for (unsigned int i = 0; i < ARRAY_LEN(pids); i++)
		pids[i] = sleeper(first, 1, UINT64_MAX, -1);
	ck_assert_uint_eq(announced(0), ARRAY_LEN(pids));
	publish(0);
	for (unsigned int i = 0; i < ARRAY_LEN(pids); i++)
		ck_assert_int_eq(ends(pids[i], 10), 0);
	ck_assert_uint_eq(announced(0), 0);
}
END_TEST

START_TEST(who_slept_alone_wakes_nobody_and_makes_no_system_call_for_it)
{
	pid_t pid;

	may_not_wake = true;
	pid = sleeper(first, 1, UINT64_MAX, -1);
	publish(0);
	ck_assert_int_eq(ends(pid, 10), 0);
	pid = sleeper(all, 3, UINT64_MAX, -1);
	publish(1);
	ck_assert_int_eq(ends(pid, 10), 0);
	/* Two: the first one woken ends of its attempt, and may_not_wake is shown to work. */
	pid = sleeper(first, 1, UINT64_MAX, -1);
	(void)sleeper(first, 1, UINT64_MAX, -1);
	publish(0);
	ck_assert_int_eq(ends(pid, 10), -2);
}
END_TEST

START_TEST(who_is_woken_in_place_of_another_passes_it_on)
{
	pid_t stranger, one;

	/* As if a publisher had counted the second sleeper and rung before the first announced
	 * itself: the kernel wakes the first. */
	stranger = sleeper(first, 1, UINT64_MAX, -1);
	one = sleeper(first, 1, UINT64_MAX, -1);
	store_relaxed(&beds[0].daemon->wait->n_sleepers, 1);
	fetch_add_acq_rel(&beds[0].daemon->publish->doorbell, 1);
	wait_futex_wake(&beds[0].daemon->publish->doorbell, 1);
	ck_assert_int_eq(ends(stranger, 10), 0);
	ck_assert_int_eq(ends(one, 10), 0);
}
END_TEST

START_TEST(a_commit_to_any_of_several_rings_wakes)
{
	for (int ring = 0; ring < N_RINGS; ring++) {
		pid_t pid = sleeper(all, 3, UINT64_MAX, -1);

		publish(ring);
		ck_assert_int_eq(ends(pid, 10), 0);
	}
}
END_TEST

START_TEST(who_takes_the_wake_ups_of_two_rings_passes_both_on)
{
	static const int orders[2][2] = { { 0, 1 }, { 1, 0 } };
	cpu_set_t set;
	int cpu = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	run_on(cpu, SCHED_OTHER);
	for (int i = 0; i < 2; i++) {
		/* The first in both queues cannot run before both rings have rung. */
		pid_t both = sleeper(orders[i], 2, UINT64_MAX, cpu), one, other;

		one = sleeper(first, 1, UINT64_MAX, -1);
		other = sleeper(second, 1, UINT64_MAX, -1);
		publish(0);
		publish(1);
		ck_assert_int_eq(ends(both, 10), 0);
		ck_assert_int_eq(ends(one, 10), 0);
		ck_assert_int_eq(ends(other, 10), 0);
	}
}
END_TEST

START_TEST(the_daemon_can_wake_all_whatever_became_of_the_announcements)
{
	pid_t pids[5];

	for (unsigned int i = 0; i < ARRAY_LEN(pids); i++)
		pids[i] = sleeper(first, 1, UINT64_MAX, -1);
	/* A hostile subscriber wipes them: commits do not ring any more. */
	store_relaxed(&beds[0].reader->wait->n_sleepers, 0);
	publish(0);
	ck_assert_int_eq(state_of(pids[0]), 'S');
	ring_wake_subscribers(beds[0].daemon);
	for (unsigned int i = 0; i < ARRAY_LEN(pids); i++)
		ck_assert_int_eq(ends(pids[i], 10), 0);
}
END_TEST

START_TEST(a_bell_between_announcement_and_sleep_is_not_missed)
{
	struct wait_ticket tickets[2];

	wait_announce(&tickets[0], beds[0].reader);
	wait_announce(&tickets[1], beds[1].reader);
	publish(1);
	ck_assert_int_eq(wait_sleep(tickets, 2, UINT64_MAX), 0);
	ck_assert_int_eq(wait_sleep(&tickets[1], 1, UINT64_MAX), 0);
	/* The other ring is quiet still. */
	ck_assert_int_eq(wait_sleep(&tickets[0], 1, NS_PER_MS), -ETIMEDOUT);
}
END_TEST

START_TEST(with_nobody_asleep_a_commit_rings_nothing)
{
	uint32_t bell = load_relaxed(&beds[0].reader->publish->doorbell);

	publish(0);
	ck_assert_uint_eq(load_relaxed(&beds[0].reader->publish->doorbell), bell);
}
END_TEST

START_TEST(any_number_in_the_wait_page_costs_a_publisher_one_wake_up)
{
	uint32_t bell = load_relaxed(&beds[0].reader->publish->doorbell);

	store_relaxed(&beds[0].reader->wait->n_sleepers, UINT32_MAX);
	for (int i = 0; i < 10; i++)
		publish(0);
	ck_assert_uint_eq(load_relaxed(&beds[0].reader->publish->doorbell), bell + 2);
	ck_assert_uint_eq(announced(0), 0);
}
END_TEST

START_TEST(a_sleep_ends_after_its_time_and_not_before)
{
	struct wait_ticket tickets[2];

	for (unsigned int n = 1; n <= 2; n++) {
		uint64_t start = clock_now_ns(CLOCK_MONOTONIC);

		for (unsigned int i = 0; i < n; i++)
			wait_announce(&tickets[i], beds[i].reader);
		ck_assert_int_eq(wait_sleep(tickets, n, 20 * NS_PER_MS), -ETIMEDOUT);
		ck_assert_uint_ge(clock_now_ns(CLOCK_MONOTONIC) - start, 20 * NS_PER_MS);
		ck_assert_int_eq(wait_sleep(tickets, n, 0), -ETIMEDOUT);
	}
}
END_TEST

START_TEST(a_time_out_of_centuries_is_not_over_at_once)
{
	static const uint64_t times[] = { UINT64_MAX - 1, UINT64_MAX / 2, (uint64_t)INT64_MAX };

	for (unsigned int i = 0; i < ARRAY_LEN(times); i++) {
		pid_t one = sleeper(first, 1, times[i], -1);
		pid_t several = sleeper(all, 3, times[i], -1);

		publish(0);
		ck_assert_int_eq(ends(one, 10), 0);
		ck_assert_int_eq(ends(several, 10), 0);
	}
}
END_TEST

static void on_signal(int number)
{
	(void)number;
}

START_TEST(a_signal_ends_a_sleep_with_eintr)
{
	static const struct sigaction action = { .sa_handler = on_signal };
	pid_t one, several;

	sigaction(SIGUSR1, &action, NULL);
	one = sleeper(first, 1, UINT64_MAX, -1);
	several = sleeper(all, 3, UINT64_MAX, -1);
	kill(one, SIGUSR1);
	kill(several, SIGUSR1);
	ck_assert_int_eq(ends(one, 10), EINTR);
	ck_assert_int_eq(ends(several, 10), EINTR);
}
END_TEST

START_TEST(a_number_of_rings_that_cannot_be_waited_for_is_invalid)
{
	static struct wait_ticket tickets[WAIT_RINGS_MAX + 1];

	for (unsigned int i = 0; i < ARRAY_LEN(tickets); i++)
		wait_announce(&tickets[i], beds[0].reader);
	ck_assert_int_eq(wait_sleep(tickets, 0, 0), -EINVAL);
	ck_assert_int_eq(wait_sleep(tickets, WAIT_RINGS_MAX + 1, 0), -EINVAL);
	ck_assert_int_eq(wait_sleep(tickets, WAIT_RINGS_MAX, 0), -ETIMEDOUT);
}
END_TEST

/* ---- bells of the govern page ---- */

enum bell {
	LIMIT_BELL,
	WRITTEN_BELL,
	DURABLE_BELL,
};

static const _Atomic uint32_t *bell_of(const struct ring *ring, enum bell which)
{
	return which == LIMIT_BELL     ? &ring->govern->limit_bell
	       : which == WRITTEN_BELL ? &ring->govern->written_bell
				       : &ring->govern->durable_bell;
}

/* A child that sleeps on a bell through the publisher's read-only mapping of the govern page. */
static pid_t bell_sleeper(enum bell which)
{
	_Atomic bool *ready =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();

	ck_assert_ptr_ne(ready, MAP_FAILED);
	if (pid == 0) {
		const _Atomic uint32_t *bell;
		uint32_t value;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		bell = bell_of(ring_bed_open(&beds[0], REGION_PUBLISHER), which);
		value = ring_bell(bell);
		store_release(ready, true);
		_exit(-wait_bell(bell, value, UINT64_MAX));
	}
	sleepers[n_sleepers++] = pid;
	while (!load_acquire(ready) || state_of(pid) != 'S')
		sched_yield();
	munmap((void *)ready, 4096);
	return pid;
}

START_TEST(reclaiming_progress_and_a_new_state_each_ring_their_bells)
{
	static const struct {
		enum bell bell;
		int what;
	} cases[] = { { LIMIT_BELL, 0 }, { WRITTEN_BELL, 1 }, { DURABLE_BELL, 3 },
		      { LIMIT_BELL, 2 }, { WRITTEN_BELL, 2 }, { DURABLE_BELL, 2 } };

	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		pid_t pid = bell_sleeper(cases[i].bell);

		if (cases[i].what == 0)
			publish(0);
		if (cases[i].what == 0)
			ring_reclaim(beds[0].daemon, LAYOUT_FIRST_POS + 64);
		if (cases[i].what == 1)
			ring_progress(beds[0].daemon, LAYOUT_FIRST_POS + 64, 0);
		if (cases[i].what == 3)
			ring_progress(beds[0].daemon, 0, LAYOUT_FIRST_POS + 64);
		if (cases[i].what == 2)
			ring_set_state(beds[0].daemon, GOVERN_FAILED, -EIO);
		ck_assert_int_eq(ends(pid, 10), 0);
	}
}
END_TEST

/* A child that waits for the position to be durable. */
static pid_t durable_sleeper(uint64_t pos, uint64_t span)
{
	pid_t pid = fork();

	if (pid == 0) {
		const struct ring *ring = ring_bed_open(&beds[0], REGION_PUBLISHER);
		const _Atomic uint32_t *bell = &ring->govern->durable_bell;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(-wait_futex_bits(bell, ring_bell(bell), ring_ack_bit(pos, span), UINT64_MAX));
	}
	sleepers[n_sleepers++] = pid;
	/* Before the bell rings for the first time. */
	while (!sleeps_on_futex(pid))
		sched_yield();
	return pid;
}

START_TEST(an_acknowledgement_wakes_who_waits_for_it_and_nobody_else)
{
	uint64_t pos = LAYOUT_FIRST_POS, far = pos + 64 * KIB;
	pid_t written = bell_sleeper(WRITTEN_BELL);
	pid_t near_one = durable_sleeper(pos, 64), far_one = durable_sleeper(far, 4128);

	ring_progress(beds[0].daemon, far + 4128, 0);
	ck_assert_int_eq(ends(written, 10), 0);
	ck_assert(sleeps_on_futex(near_one) && sleeps_on_futex(far_one));
	ring_progress(beds[0].daemon, 0, pos + 64);
	ck_assert_int_eq(ends(near_one, 10), 0);
	ck_assert(sleeps_on_futex(far_one));
	ring_progress(beds[0].daemon, 0, far + 4128);
	ck_assert_int_eq(ends(far_one, 10), 0);
}
END_TEST

START_TEST(a_futex_whose_value_differs_is_not_slept_on)
{
	_Atomic uint32_t word = 5;

	ck_assert_int_eq(wait_futex_bits(&word, 4, 1, UINT64_MAX), -EAGAIN);
	ck_assert_int_eq(wait_futex_bits(&word, 5, 1, NS_PER_MS), -ETIMEDOUT);
	ck_assert_int_eq(wait_futex_bits(&word, 4, 1, UINT64_MAX - 1), -EAGAIN);

	ck_assert_int_eq(wait_futex(&word, 4, UINT64_MAX), -EAGAIN);
	ck_assert_int_eq(wait_futex(&word, 5, NS_PER_MS), -ETIMEDOUT);
}
END_TEST

START_TEST(a_kick_does_not_wait_for_a_counter_that_another_publisher_filled)
{
	uint64_t full = UINT64_MAX - 1, read_back;
	int fd = eventfd(0, EFD_CLOEXEC);

	ck_assert_int_eq(write(fd, &full, sizeof(full)), sizeof(full));
	publishers[0].kick_fd = fd;
	/* A call that waited would be ended by the case's time-out. */
	ring_kick_drain(&publishers[0], true);
	ck_assert_int_eq(read(fd, &read_back, sizeof(read_back)), sizeof(read_back));
	ck_assert_uint_eq(read_back, full);
	ring_kick_drain(&publishers[0], true);
	ck_assert_int_eq(read(fd, &read_back, sizeof(read_back)), sizeof(read_back));
	ck_assert_uint_eq(read_back, 1);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/wait");
	TCase *tcase = tcase_create("wait");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_commit_wakes_a_subscriber_that_sleeps_through_a_read_only_mapping);
	tcase_add_test(tcase, one_commit_wakes_all_who_sleep_by_passing_it_on);
	tcase_add_test(tcase, who_slept_alone_wakes_nobody_and_makes_no_system_call_for_it);
	tcase_add_test(tcase, who_is_woken_in_place_of_another_passes_it_on);
	tcase_add_test(tcase, a_commit_to_any_of_several_rings_wakes);
	tcase_add_test(tcase, who_takes_the_wake_ups_of_two_rings_passes_both_on);
	tcase_add_test(tcase, the_daemon_can_wake_all_whatever_became_of_the_announcements);
	tcase_add_test(tcase, a_bell_between_announcement_and_sleep_is_not_missed);
	tcase_add_test(tcase, with_nobody_asleep_a_commit_rings_nothing);
	tcase_add_test(tcase, any_number_in_the_wait_page_costs_a_publisher_one_wake_up);
	tcase_add_test(tcase, a_sleep_ends_after_its_time_and_not_before);
	tcase_add_test(tcase, a_time_out_of_centuries_is_not_over_at_once);
	tcase_add_test(tcase, a_signal_ends_a_sleep_with_eintr);
	tcase_add_test(tcase, a_number_of_rings_that_cannot_be_waited_for_is_invalid);
	tcase_add_test(tcase, reclaiming_progress_and_a_new_state_each_ring_their_bells);
	tcase_add_test(tcase, an_acknowledgement_wakes_who_waits_for_it_and_nobody_else);
	tcase_add_test(tcase, a_futex_whose_value_differs_is_not_slept_on);
	tcase_add_test(tcase, a_kick_does_not_wait_for_a_counter_that_another_publisher_filled);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
