/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing and following make no system call for a record: counted with ptrace. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

enum {
	N_RECORDS = 100000,
	RING = 64 << 20, /* takes them all */
};

static struct harness_bus bus;

/* The counting begins and ends with this call, which nothing else makes. */
static void mark(void)
{
	(void)getppid();
}

static bool untraced;

static void wait_for_tracer(void)
{
	if (untraced)
		return;
	must(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "PTRACE_TRACEME: %s", strerror(errno));
	raise(SIGSTOP);
}

static int publish_one_by_one(void *arg)
{
	const char *stream = arg;
	struct leat_bus *handle = harness_connect(&bus);
	struct leat_publisher *publisher = harness_publisher(handle, stream);
	char value[64] = "64 bytes";
	struct leat_record record = { .value = value, .value_len = sizeof(value), .shard = 0 };
	int r = 0;

	wait_for_tracer();
	mark();
	for (int i = 0; i < N_RECORDS && r == 0; i++)
		r = leat_publish(publisher, &record, NULL);
	mark();
	must(r == 0, "publishing: %s", leat_publisher_detail(publisher));
	leat_publisher_close(publisher);
	leat_close(handle);
	return 0;
}

static int publish_in_place(void *arg)
{
	const char *stream = arg;
	struct leat_bus *handle = harness_connect(&bus);
	struct leat_publisher *publisher = harness_publisher(handle, stream);
	struct leat_record record = { .key = "key", .key_len = 3, .value_len = 64 };
	struct leat_claim claim;
	int r = 0;

	record.shard = LEAT_SHARD_ANY;
	wait_for_tracer();
	mark();
	for (int i = 0; i < N_RECORDS && r == 0; i++) {
		r = leat_reserve(publisher, &record, &claim);
		if (r < 0)
			break;
		memset(claim.value, i, claim.value_len);
		r = leat_commit(publisher, &claim, NULL);
	}
	mark();
	must(r == 0, "publishing in place: %s", leat_publisher_detail(publisher));
	leat_publisher_close(publisher);
	leat_close(handle);
	return 0;
}

/* Takes what is in the ring already. */
static int follow(void *arg)
{
	const char *stream = arg;
	struct leat_bus *handle = harness_connect(&bus);
	struct leat_subscriber *subscriber = harness_subscriber(handle, stream);
	struct leat_message message;
	int r = 1;

	wait_for_tracer();
	mark();
	for (int i = 0; i < N_RECORDS && r == 1; i++)
		r = leat_next(subscriber, LEAT_FOREVER, &message);
	mark();
	must(r == 1, "following: %s", leat_subscriber_detail(subscriber));
	leat_subscriber_close(subscriber);
	leat_close(handle);
	return 0;
}

/* The system calls that a child makes between its two marks. */
static uint64_t count_calls(pid_t pid)
{
	struct __ptrace_syscall_info info;
	uint64_t n = 0;
	int n_marks = 0, status, sig = 0;

	must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "the child does not stop");
	must(ptrace(PTRACE_SETOPTIONS, pid, NULL,
		    (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) == 0,
	     "PTRACE_SETOPTIONS: %s", strerror(errno));
	for (;;) {
		must(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)sig) == 0,
		     "PTRACE_SYSCALL: %s", strerror(errno));
		must(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
		if (WIFEXITED(status) || WIFSIGNALED(status))
			break;
		sig = 0;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			sig = WSTOPSIG(status);
			continue;
		}
		must(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) > 0,
		     "PTRACE_GET_SYSCALL_INFO: %s", strerror(errno));
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if (info.entry.nr == SYS_getppid)
			n_marks++;
		else
			n += n_marks == 1;
	}
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: %#x",
	     (unsigned)status);
	ck_assert_int_eq(n_marks, 2);
	return n;
}

static void make_stream(int memory)
{
	struct leat_stream_options options;
	struct leat_bus *handle;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	leat_stream_options_init(&options);
	options.memory = memory;
	harness_stream(handle, "quiet", 1, RING, &options);
	leat_close(handle);
}

/* What is left is there to wake the drain, now and then: far below one for a record. */
static void expect_few(const char *what, int (*child)(void *))
{
	uint64_t n = count_calls(harness_fork(child, (void *)(uintptr_t) "quiet"));

	printf("%s: %llu system calls for %d records\n", what, (unsigned long long)n, N_RECORDS);
	ck_assert_uint_le(n, N_RECORDS / 100);
}

START_TEST(the_counter_sees_a_system_call_for_each_record_where_there_is_one)
{
	/* A negative control: a child that does make one. */
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		mark();
		for (int i = 0; i < 1000; i++)
			(void)!write(-1, "", 1);
		mark();
		_exit(0);
	}
	ck_assert_uint_ge(count_calls(pid), 1000);
}
END_TEST

START_TEST(publishing_64_bytes_to_memory_makes_no_system_call_per_record)
{
	make_stream(1);
	expect_few("publish, memory-only", publish_one_by_one);
	harness_bus_stop(&bus);
}
END_TEST

START_TEST(publishing_64_bytes_to_disk_makes_no_system_call_per_record)
{
	make_stream(0);
	expect_few("publish, on disk", publish_one_by_one);
	harness_bus_stop(&bus);
}
END_TEST

START_TEST(publishing_in_place_makes_no_system_call_per_record)
{
	make_stream(1);
	expect_few("reserve and commit", publish_in_place);
	harness_bus_stop(&bus);
}
END_TEST

START_TEST(following_makes_no_system_call_per_record)
{
	make_stream(1);
	untraced = true;
	harness_reap_ok(harness_fork(publish_one_by_one, (void *)(uintptr_t) "quiet"), 30,
			"the publisher");
	untraced = false;
	expect_few("follow", follow);
	harness_bus_stop(&bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_no_system_call");
	TCase *tcase = tcase_create("no_system_call");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, the_counter_sees_a_system_call_for_each_record_where_there_is_one);
	tcase_add_test(tcase, publishing_64_bytes_to_memory_makes_no_system_call_per_record);
	tcase_add_test(tcase, publishing_64_bytes_to_disk_makes_no_system_call_per_record);
	tcase_add_test(tcase, publishing_in_place_makes_no_system_call_per_record);
	tcase_add_test(tcase, following_makes_no_system_call_per_record);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
