/* SPDX-License-Identifier: Apache-2.0 */
/* Permission is enforced by the kernel: tried with real different users, so it needs root. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness.h"
#include "tests/raw.h"

/* None of these need to exist in /etc/passwd. */
static const struct harness_user owner = { .uid = 64001, .gid = 64001 };
static const struct harness_user stranger = { .uid = 65534, .gid = 65534 };
static const struct harness_user member = { .uid = 64002, .gid = 64002, .group = 64100 };

static struct harness_bus bus;

/* ---- what somebody who may only read tries ---- */

static int open_again(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	if (again >= 0)
		close(again);
	return again;
}

static bool can_map_for_writing(int fd, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		return true;
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "cannot even be mapped for reading: %s", strerror(errno));
	if (mprotect(p, len, PROT_READ | PROT_WRITE) == 0)
		return true;
	if (madvise(p, len, MADV_REMOVE) == 0)
		return true;
	munmap(p, len);
	return false;
}

/* Everything that would change a byte, the size or the rules of a region. */
static void try_to_write(int fd, const char *name)
{
	struct stat st;

	must(fstat(fd, &st) == 0, "%s: fstat: %s", name, strerror(errno));
	must((st.st_mode & 077) == 0, "%s has mode %o", name, st.st_mode & 0777);
	must(!can_map_for_writing(fd, 4096), "%s can be mapped for writing", name);
	must(open_again(fd, O_RDWR) < 0, "%s can be opened again for writing", name);
	must(open_again(fd, O_WRONLY) < 0, "%s can be opened again for writing", name);
	must(open_again(fd, O_RDONLY | O_TRUNC) < 0, "%s can be truncated by open", name);
	must(pwrite(fd, "x", 1, 0) < 0, "%s can be written", name);
	must(ftruncate(fd, st.st_size) < 0, "%s can be truncated to what it is", name);
	must(ftruncate(fd, st.st_size / 2) < 0, "%s can be truncated", name);
	must(ftruncate(fd, st.st_size * 2) < 0, "%s can be made longer", name);
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0,
	     "a hole can be punched into %s", name);
	must(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096) < 0, "%s can be zeroed", name);
	must(fallocate(fd, 0, st.st_size, 4096) < 0, "%s can be grown", name);
	must(fchmod(fd, 0777) < 0, "the mode of %s can be changed", name);
	must(fchown(fd, getuid(), getgid()) < 0, "the owner of %s can be changed", name);
}

static void try_to_seal(int fd, const char *name)
{
	static const int seals[] = { F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW,
				     F_SEAL_SEAL };

	for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++)
		must(fcntl(fd, F_ADD_SEALS, seals[i]) < 0, "%s can be sealed with %#x", name,
		     (unsigned)seals[i]);
	must((fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) ==
		     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
	     "%s is not sealed against resizing", name);
}

/* The way around a read-only fd that mode 0600 closes does exist for this process. */
static void check_that_the_trick_works(void)
{
	int fd = memfd_create("own", MFD_CLOEXEC | MFD_ALLOW_SEALING), ro;
	char path[64];

	must(fd >= 0 && ftruncate(fd, 8192) == 0, "memfd_create: %s", strerror(errno));
	must(fchmod(fd, 0777) == 0, "fchmod: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	must(ro >= 0, "opening %s again: %s", path, strerror(errno));
	must(!can_map_for_writing(ro, 4096), "a read-only fd maps for writing");
	must(open_again(ro, O_RDWR) >= 0, "a read-only fd cannot be opened again here at all");
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0, "nothing can be sealed here at all");
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0,
	     "no hole can be punched here at all");
	close(fd);
	close(ro);
}

static int attack_as_reader(void *arg)
{
	static const char *const read_only[] = { "ring", "publish", "govern" };
	struct raw_reply reply;
	int fd, wait;

	(void)arg;
	harness_become(&member);
	check_that_the_trick_works();
	fd = raw_hello(&bus);
	raw_request(fd,
		    "{\"op\":\"attach\",\"stream\":\"guarded\",\"shard\":0,\"role\":\"publish\"}",
		    &reply);
	must(!raw_ok(&reply), "a reader may attach as a publisher");
	must(reply.n_fds == 0, "a refusal came with fds");
	json_decref(reply.json);
	raw_request(fd,
		    "{\"op\":\"attach\",\"stream\":\"guarded\",\"shard\":0,\"role\":\"subscribe\"}",
		    &reply);
	must(raw_ok(&reply), "a member of the group may not subscribe");
	must(raw_fd(&reply, "kick") < 0, "a subscriber gets the drain's eventfd");
	for (size_t i = 0; i < 3; i++) {
		int region = raw_fd(&reply, read_only[i]);

		must(region >= 0, "no fd of %s", read_only[i]);
		try_to_write(region, read_only[i]);
		try_to_seal(region, read_only[i]);
	}
	/* The wait page is for everybody to write, but its size and its rules are fixed. */
	wait = raw_fd(&reply, "wait");
	must(ftruncate(wait, 0) < 0 && ftruncate(wait, 1 << 20) < 0, "wait can be resized");
	must(fchmod(wait, 0777) < 0, "the mode of wait can be changed");
	try_to_seal(wait, "wait");
	json_decref(reply.json);
	close(fd);
	return 0;
}

static int attack_segments(void *arg)
{
	struct raw_reply reply;
	int fd;

	(void)arg;
	harness_become(&member);
	fd = raw_hello(&bus);
	raw_request(fd, "{\"op\":\"segments\",\"stream\":\"guarded\",\"shard\":0,\"position\":0}",
		    &reply);
	must(raw_ok(&reply) && reply.n_fds > 0, "no segments for somebody who may read");
	for (size_t i = 0; i < reply.n_fds; i++)
		try_to_write(reply.fds[i], "a segment");
	json_decref(reply.json);
	close(fd);
	return 0;
}

static int attack_as_publisher(void *arg)
{
	struct raw_reply reply;
	int fd;

	(void)arg;
	harness_become(&member);
	fd = raw_hello(&bus);
	raw_request(fd,
		    "{\"op\":\"attach\",\"stream\":\"dropbox\",\"shard\":0,\"role\":\"subscribe\"}",
		    &reply);
	must(!raw_ok(&reply) && reply.n_fds == 0, "who may only publish can subscribe");
	json_decref(reply.json);
	raw_request(fd, "{\"op\":\"segments\",\"stream\":\"dropbox\",\"shard\":0,\"position\":0}",
		    &reply);
	must(!raw_ok(&reply) && reply.n_fds == 0, "who may only publish gets segments");
	json_decref(reply.json);
	raw_request(fd,
		    "{\"op\":\"attach\",\"stream\":\"dropbox\",\"shard\":0,\"role\":\"publish\"}",
		    &reply);
	must(raw_ok(&reply), "a member of the group may not publish");
	try_to_write(raw_fd(&reply, "govern"), "govern");
	try_to_seal(raw_fd(&reply, "govern"), "govern");
	must(ftruncate(raw_fd(&reply, "ring"), 4096) < 0, "a publisher can resize the ring");
	try_to_seal(raw_fd(&reply, "ring"), "ring");
	try_to_seal(raw_fd(&reply, "publish"), "publish");
	json_decref(reply.json);
	close(fd);
	return 0;
}

/* ---- cases ---- */

static void start(void)
{
	harness_bus_start(&bus, HARNESS_PUBLIC);
	harness_reap_ok(harness_fork(raw_make_streams, &bus), 20, "making streams");
}

static void check_untouched(void)
{
	struct harness_output output;

	harness_run(&bus, NULL, &output,
		    (const char *[]){ "leat", "sub", "guarded", "-o", "earliest", "-e", NULL });
	ck_assert_int_eq(output.status, 0);
	ck_assert_str_eq(output.out, "secret\n");
	harness_output_deinit(&output);
	harness_bus_stop(&bus);
}

START_TEST(a_reader_cannot_map_reopen_truncate_seal_or_punch_any_region_for_writing)
{
	start();
	harness_reap_ok(harness_fork(attack_as_reader, NULL), 20, "the reader");
	check_untouched();
}
END_TEST

START_TEST(a_reader_cannot_write_a_segment)
{
	start();
	harness_reap_ok(harness_fork(attack_segments, NULL), 20, "the reader");
	check_untouched();
}
END_TEST

START_TEST(a_publisher_cannot_read_disk_or_govern_where_it_may_only_publish)
{
	start();
	harness_reap_ok(harness_fork(attack_as_publisher, NULL), 20, "the publisher");
	check_untouched();
}
END_TEST

static void refused(const struct harness_user *user, const char *stream, const char *need,
		    const char *const *words)
{
	struct harness_output output;

	harness_run(&bus, user, &output, words);
	must(output.status == 1, "%s %s ended with %d", words[0], words[1], output.status);
	must(output.out_len == 0, "a refusal with output: %s", output.out);
	must(strstr(output.err, stream), "the stream is not named in: %s", output.err);
	must(strstr(output.err, need), "'%s' is not in: %s", need, output.err);
	harness_output_deinit(&output);
}

static void allowed(const struct harness_user *user, const char *const *words)
{
	struct harness_output output;

	harness_run(&bus, user, &output, words);
	must(output.status == 0, "%s %s as %d: %s", words[0], words[1], (int)user->uid, output.err);
	harness_output_deinit(&output);
}

START_TEST(who_may_not_is_told_which_stream_and_what_is_needed)
{
	start();
	refused(&stranger, "guarded", "subscribe",
		(const char *[]){ "leat", "sub", "guarded", "-o", "earliest", "-e", NULL });
	refused(&stranger, "guarded", "publish",
		(const char *[]){ "leat", "pub", "guarded", "/proc/self/comm", NULL });
	refused(&member, "guarded", "publish",
		(const char *[]){ "leat", "pub", "guarded", "/proc/self/comm", NULL });
	refused(&member, "guarded", "own",
		(const char *[]){ "leat", "stream", "rm", "guarded", NULL });
	refused(&member, "guarded", "own",
		(const char *[]){ "leat", "stream", "set", "guarded", "mode=0666", NULL });
	refused(&member, "dropbox", "subscribe",
		(const char *[]){ "leat", "replay", "dropbox", NULL });
	check_untouched();
}
END_TEST

START_TEST(owner_group_and_mode_work_as_a_files)
{
	const char *const sub[] = { "leat", "sub", "guarded", "-o", "earliest", "-e", NULL };
	const char *const pub[] = { "leat", "pub", "dropbox", "/proc/self/comm", NULL };
	const char *const sub_dropbox[] = {
		"leat", "sub", "dropbox", "-o", "earliest", "-e", NULL
	};

	start();
	allowed(&owner, sub);
	allowed(&member, sub);
	refused(&stranger, "guarded", "subscribe", sub);
	allowed(&owner, pub);
	allowed(&member, pub);
	refused(&stranger, "dropbox", "publish", pub);
	allowed(&owner, sub_dropbox);
	refused(&member, "dropbox", "subscribe", sub_dropbox);
	/* The owner opens it to everybody, and closes it again. */
	allowed(&owner, (const char *[]){ "leat", "stream", "set", "guarded", "mode=0644", NULL });
	allowed(&stranger, sub);
	allowed(&owner, (const char *[]){ "leat", "stream", "set", "guarded", "mode=0600", NULL });
	refused(&stranger, "guarded", "subscribe", sub);
	refused(&member, "guarded", "subscribe", sub);
	/* A stranger's own stream is the stranger's. */
	allowed(&stranger,
		(const char *[]){ "leat", "stream", "create", "mine", "--ring", "64K", NULL });
	refused(&owner, "mine", "subscribe",
		(const char *[]){ "leat", "sub", "mine", "-o", "earliest", "-e", NULL });
	allowed(&stranger, (const char *[]){ "leat", "stream", "rm", "mine", NULL });
	check_untouched();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_permission");
	TCase *tcase = tcase_create("permission");

	if (geteuid() != 0)
		return harness_skip("needs root: it becomes several users");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase,
		       a_reader_cannot_map_reopen_truncate_seal_or_punch_any_region_for_writing);
	tcase_add_test(tcase, a_reader_cannot_write_a_segment);
	tcase_add_test(tcase, a_publisher_cannot_read_disk_or_govern_where_it_may_only_publish);
	tcase_add_test(tcase, who_may_not_is_told_which_stream_and_what_is_needed);
	tcase_add_test(tcase, owner_group_and_mode_work_as_a_files);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
