/* SPDX-License-Identifier: Apache-2.0 */
/* shm/FORMAT.md, regions: an fd's permission is the access rule, sizes stay, lies are refused. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/ring_bed.h"

static struct region_fds fds;

static const struct region_options options = {
	.stream_uuid = "fifteen letters",
	.shard = 2,
	.generation = 5,
	.ring_len = LAYOUT_RING_MIN,
	.first_pos = LAYOUT_FIRST_POS,
	.flags = GOVERN_F_CHECKSUM,
	.node = -1,
};

static void setup(void)
{
	ck_assert_int_eq(region_create(&options, &fds, NULL), 0);
}

static void teardown(void)
{
	region_fds_close(&fds);
}

static void *map_page(enum region_kind kind, uint64_t len)
{
	void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fds.fd[kind], 0);

	ck_assert_ptr_ne(page, MAP_FAILED);
	return page;
}

START_TEST(a_new_ring_says_who_it_is_and_is_empty)
{
	struct ring *ring;

	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), 0);
	ck_assert_uint_eq(ring->len, LAYOUT_RING_MIN);
	ck_assert_uint_eq(ring->first_pos, LAYOUT_FIRST_POS);
	ck_assert_uint_eq(ring->max_len, LAYOUT_RING_MIN / 4);
	ck_assert_uint_eq(ring->shard, 2);
	ck_assert_uint_eq(ring->generation, 5);
	ck_assert_uint_eq(ring->flags, GOVERN_F_CHECKSUM);
	ck_assert_uint_eq(ring->crc_seed, record_crc_seed(options.stream_uuid, 2));
	ck_assert_mem_eq(ring->stream_uuid, options.stream_uuid, 16);
	ck_assert_uint_eq(ring_tail(ring), LAYOUT_FIRST_POS);
	ck_assert_uint_eq(ring_reclaimed(ring), LAYOUT_FIRST_POS);
	ck_assert_uint_eq(ring_written(ring), LAYOUT_FIRST_POS);
	ck_assert_uint_eq(ring_durable(ring), LAYOUT_FIRST_POS);
	ck_assert_int_eq(ring_state(ring, NULL), GOVERN_OPEN);
	for (uint64_t i = 0; i < ring->len; i++)
		ck_assert_int_eq(ring->data[i], 0);
	ring_close(ring);
}
END_TEST

START_TEST(every_region_is_sealed_private_and_closed_on_exec)
{
	for (int kind = 0; kind < REGION_N; kind++) {
		int seals = fcntl(fds.fd[kind], F_GET_SEALS);
		struct stat st;

		ck_assert_int_eq(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
		ck_assert_int_eq(fstat(fds.fd[kind], &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, 0600);
		ck_assert_int_eq(fcntl(fds.fd[kind], F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(ftruncate(fds.fd[kind], 4096 * 100), -1);
		ck_assert_int_eq(ftruncate(fds.fd[kind], 0), -1);
	}
}
END_TEST

START_TEST(all_memory_is_there_before_anybody_is_told)
{
	for (int kind = 0; kind < REGION_N; kind++) {
		struct stat st;

		ck_assert_int_eq(fstat(fds.fd[kind], &st), 0);
		ck_assert_int_ge(st.st_blocks * 512, st.st_size);
	}
}
END_TEST

/* The table of shm/FORMAT.md: rows are regions, columns enum region_access. */
static const char rights[REGION_N][4] = {
	[REGION_RING] = { 'w', 'w', 'r', '-' },
	[REGION_PUBLISH] = { 'w', 'w', 'r', 'r' },
	[REGION_GOVERN] = { 'w', 'r', 'r', 'r' },
	[REGION_WAIT] = { 'w', 'w', 'w', '-' },
};

START_TEST(an_fd_for_others_has_exactly_the_rights_of_the_table)
{
	enum region_access access = (enum region_access)_i;
	struct region_fds given;

	ck_assert_int_eq(region_reopen(&fds, access, &given), 0);
	for (int kind = 0; kind < REGION_N; kind++) {
		char right = rights[kind][access];
		int fd = given.fd[kind];
		void *p;

		if (right == '-') {
			ck_assert_int_eq(fd, -1);
			continue;
		}
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, right == 'w' ? O_RDWR : O_RDONLY);
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ck_assert_int_eq(p != MAP_FAILED, right == 'w');
	}
	region_fds_close(&given);
}
END_TEST

START_TEST(nobody_else_can_reopen_a_read_only_fd_for_writing)
{
	struct region_fds given;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		return; /* somebody else is needed for it */
	ck_assert_int_eq(region_reopen(&fds, REGION_SUBSCRIBER, &given), 0);
	pid = fork();
	if (pid == 0) {
		char path[64];

		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		for (int kind = 0; kind < REGION_N; kind++) {
			snprintf(path, sizeof(path), "/proc/self/fd/%d", given.fd[kind]);
			if (open(path, O_RDWR) >= 0)
				_exit(1);
		}
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	region_fds_close(&given);
}
END_TEST

static void write_to(volatile char *p)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*p = 1;
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

START_TEST(a_subscriber_that_writes_to_the_ring_or_the_pages_dies_of_it)
{
	struct ring *ring;

	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), 0);
	/* The child needs the mapping for this once. */
	ck_assert_int_eq(madvise(ring->data, 2 * ring->len, MADV_DOFORK), 0);
	ck_assert_int_eq(madvise(ring->govern, sizeof(*ring->govern), MADV_DOFORK), 0);
	ck_assert_int_eq(madvise(ring->publish, sizeof(*ring->publish), MADV_DOFORK), 0);
	write_to(ring->data);
	write_to((volatile char *)ring->govern);
	write_to((volatile char *)ring->publish);
	ring_close(ring);
}
END_TEST

START_TEST(a_forked_child_does_not_get_the_mapping)
{
	struct ring *ring;
	int status;
	pid_t pid;

	ck_assert_int_eq(ring_open(&fds, REGION_PUBLISHER, &ring), 0);
	pid = fork();
	if (pid == 0) {
		unsigned char there;
		int missing = mincore(ring->data, 4096, &there) < 0 && errno == ENOMEM &&
			      mincore(ring->publish, 4096, &there) < 0 && errno == ENOMEM &&
			      mincore(ring->govern, 4096, &there) < 0 && errno == ENOMEM &&
			      mincore(ring->wait, 4096, &there) < 0 && errno == ENOMEM;

		/* Closing the inherited handle touches nothing. */
		ring_close(ring);
		_exit(missing ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ring_close(ring);
}
END_TEST

START_TEST(the_ring_is_mapped_twice_back_to_back)
{
	struct ring *ring;

	ck_assert_int_eq(ring_open(&fds, REGION_PUBLISHER, &ring), 0);
	for (uint64_t i = 0; i < ring->len; i += 4096) {
		ring->data[i] = (char)(i / 4096 + 1);
		ck_assert_int_eq(ring->data[ring->len + i], (char)(i / 4096 + 1));
	}
	ring_close(ring);
}
END_TEST

START_TEST(sizes_out_of_range_are_invalid)
{
	struct region_options bad = options;
	struct region_fds none = REGION_FDS_NULL;

	for (uint64_t len = 0; len < LAYOUT_RING_MIN; len = len ? len * 2 : 1) {
		bad.ring_len = len;
		ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	}
	bad.ring_len = LAYOUT_RING_MIN + 4096;
	ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	bad = options;
	bad.first_pos = LAYOUT_FIRST_POS + 1;
	ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	bad.first_pos = LAYOUT_POS_END;
	ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	bad = options;
	bad.max_len = LAYOUT_RING_MIN / 4 + 1;
	ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	bad.max_len = 31;
	ck_assert_int_eq(region_create(&bad, &none, NULL), -EINVAL);
	for (int kind = 0; kind < REGION_N; kind++)
		ck_assert_int_eq(none.fd[kind], -1);
}
END_TEST

START_TEST(a_ring_larger_than_memory_is_refused_with_what_is_available)
{
	struct region_options bad = options;
	struct region_fds none = REGION_FDS_NULL;
	uint64_t available;

	for (unsigned int shift = 50; shift < 64; shift++) {
		available = UINT64_MAX;
		bad.ring_len = UINT64_C(1) << shift;
		ck_assert_int_eq(region_create(&bad, &none, &available), -ENOSPC);
		ck_assert_uint_gt(available, 0);
		ck_assert_uint_lt(available, bad.ring_len);
		ck_assert_int_eq(none.fd[REGION_RING], -1);
	}
}
END_TEST

START_TEST(a_lack_of_fds_is_called_that_and_gives_back_what_was_made)
{
	struct region_fds made = REGION_FDS_NULL;
	struct rlimit limit;
	int held[64], n = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = ARRAY_LEN(held);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((held[n] = fcntl(fds.fd[0], F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	ck_assert_int_gt(n, REGION_N);
	/* Each of the fds that a ring needs is the one that is not to be had. */
	for (int spare = 0; spare < REGION_N; spare++) {
		ck_assert_int_eq(region_create(&options, &made, NULL), -EMFILE);
		ck_assert_int_eq(made.fd[0], -1);
		close(held[--n]);
	}
	ck_assert_int_eq(region_create(&options, &made, NULL), 0);
	ck_assert_int_eq(fcntl(fds.fd[0], F_DUPFD_CLOEXEC, 0), -1);
	region_fds_close(&made);
	while (n > 0)
		close(held[--n]);
}
END_TEST

static int count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "/memfd:leat-") != NULL;
	fclose(maps);
	return n;
}

START_TEST(a_ring_of_which_one_region_is_not_right_is_not_opened_and_leaves_nothing_mapped)
{
	static const enum region_access all[] = { REGION_PUBLISHER, REGION_SUBSCRIBER,
						  REGION_DAEMON };
	struct region_options half = options;
	struct region_fds other, mixed;
	struct ring *ring;

	half.ring_len = 2 * LAYOUT_RING_MIN;
	ck_assert_int_eq(region_create(&half, &other, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		for (int kind = 0; kind < REGION_N; kind++) {
			mixed = fds;
			mixed.fd[kind] = -1;
			ck_assert_int_eq(ring_open(&mixed, all[i], &ring), -EBADF);
			/* Another region in its place has another length. */
			mixed.fd[kind] = other.fd[REGION_RING];
			ck_assert_int_eq(ring_open(&mixed, all[i], &ring), -EBADMSG);
		}
		ck_assert_int_eq(count_mappings(), 0);
	}
	region_fds_close(&other);
}
END_TEST

START_TEST(what_is_closed_cannot_be_reopened_and_nothing_stays_open)
{
	struct region_fds reopened = REGION_FDS_NULL;
	int lowest;

	fds.fd[REGION_WAIT] = close_fd(fds.fd[REGION_WAIT]);
	lowest = fcntl(fds.fd[0], F_DUPFD_CLOEXEC, 0);
	close(lowest);
	ck_assert_int_eq(region_reopen(&fds, REGION_PUBLISHER, &reopened), -ENOENT);
	ck_assert_int_eq(reopened.fd[REGION_RING], -1);
	ck_assert_int_eq(fcntl(fds.fd[0], F_DUPFD_CLOEXEC, 0), lowest);
	close(lowest);
	/* A monitor does not ask for it. */
	ck_assert_int_eq(region_reopen(&fds, REGION_MONITOR, &reopened), 0);
	region_fds_close(&reopened);
}
END_TEST

START_TEST(a_region_of_the_wrong_size_or_without_seals_is_refused)
{
	struct region region = { .len = 77 };
	int fd = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING), blind;
	char path[64];

	ck_assert_int_eq(ftruncate(fd, LAYOUT_RING_MIN), 0);
	ck_assert_int_eq(region_map(fd, REGION_RING, REGION_SUBSCRIBER, LAYOUT_RING_MIN, &region),
			 -EBADMSG);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	ck_assert_int_eq(region_map(fd, REGION_RING, REGION_SUBSCRIBER, LAYOUT_RING_MIN, &region),
			 -EBADMSG);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	ck_assert_int_eq(region_map(fd, REGION_RING, REGION_SUBSCRIBER, 2 * LAYOUT_RING_MIN,
				    &region),
			 -EBADMSG);
	ck_assert_int_eq(region_map(fd, REGION_RING, REGION_SUBSCRIBER, 0, &region), -EBADMSG);
	ck_assert_int_eq(region_map(fd, REGION_GOVERN, REGION_SUBSCRIBER, 0, &region), -EBADMSG);
	ck_assert_uint_eq(region.len, 77);
	ck_assert_int_eq(region_map(fd, REGION_RING, REGION_SUBSCRIBER, LAYOUT_RING_MIN, &region),
			 0);
	region_unmap(&region, REGION_RING);
	ck_assert_ptr_null(region.base);
	/* That it cannot be asked for its seals does not make it a bad one. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	blind = open(path, O_PATH | O_CLOEXEC);
	ck_assert_int_eq(region_map(blind, REGION_RING, REGION_SUBSCRIBER, LAYOUT_RING_MIN,
				    &region),
			 -EBADF);
	close(blind);
	close(fd);
	fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ck_assert_int_lt(region_map(fd, REGION_WAIT, REGION_SUBSCRIBER, 0, &region), 0);
	ck_assert_int_lt(region_map(-1, REGION_WAIT, REGION_SUBSCRIBER, 0, &region), 0);
	close(fd);
}
END_TEST

/* Changes one byte of a page's header, tries to map it, puts it back. */
static int with_byte(enum region_kind kind, uint64_t off, enum region_access access)
{
	uint64_t len = kind == REGION_GOVERN ? LAYOUT_GOVERN_LEN : LAYOUT_PUBLISH_LEN;
	uint8_t *page = map_page(kind, len);
	struct region region;
	int r;

	page[off] ^= 0x40;
	r = region_map(fds.fd[kind], kind, access, 0, &region);
	if (r == 0)
		region_unmap(&region, kind);
	page[off] ^= 0x40;
	munmap(page, len);
	return r;
}

START_TEST(a_header_that_is_not_right_is_refused)
{
	static const struct {
		uint64_t off;
		int result;
	} bytes[] = {
		{ offsetof(struct layout_header, magic), -EBADMSG },
		{ offsetof(struct layout_header, magic) + 7, -EBADMSG },
		{ offsetof(struct layout_header, order_mark) + 2, -EBADMSG },
		{ offsetof(struct layout_header, major), -EPROTONOSUPPORT },
		{ offsetof(struct layout_header, minor), 0 },
		{ offsetof(struct layout_header, len) + 1, -EBADMSG },
		{ offsetof(struct layout_header, incompat) + 3, -EPROTONOSUPPORT },
		{ offsetof(struct layout_header, compat) + 3, 0 },
		{ offsetof(struct layout_header, ready), -EBADMSG },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(bytes); i++) {
		ck_assert_int_eq(with_byte(REGION_GOVERN, bytes[i].off, REGION_SUBSCRIBER),
				 bytes[i].result);
		/* Whatever publishers have made of their page, nobody is kept out by it. */
		ck_assert_int_eq(with_byte(REGION_PUBLISH, bytes[i].off, REGION_SUBSCRIBER), 0);
		ck_assert_int_eq(with_byte(REGION_PUBLISH, bytes[i].off, REGION_PUBLISHER), 0);
		ck_assert_int_eq(with_byte(REGION_PUBLISH, bytes[i].off, REGION_DAEMON), 0);
	}
}
END_TEST

START_TEST(a_page_is_not_used_before_its_ready_word)
{
	struct layout_govern *govern = map_page(REGION_GOVERN, LAYOUT_GOVERN_LEN);
	struct ring *ring;

	store_relaxed(&govern->header.ready, 0);
	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), -EBADMSG);
	ck_assert_int_eq(ring_open(&fds, REGION_DAEMON, &ring), -EBADMSG);
	store_relaxed(&govern->header.ready, LAYOUT_READY);
	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), 0);
	ring_close(ring);
	munmap(govern, LAYOUT_GOVERN_LEN);
}
END_TEST

START_TEST(of_the_wait_page_only_the_size_is_checked)
{
	struct layout_wait *wait = map_page(REGION_WAIT, LAYOUT_WAIT_LEN);
	struct ring *ring;

	memset((void *)wait, 0xff, sizeof(*wait));
	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), 0);
	ring_close(ring);
	munmap(wait, LAYOUT_WAIT_LEN);
}
END_TEST

START_TEST(a_govern_page_that_makes_no_sense_is_refused)
{
	struct layout_govern *govern = map_page(REGION_GOVERN, LAYOUT_GOVERN_LEN);
	struct layout_govern good;
	struct ring *ring;

	memcpy((void *)&good, (void *)govern, sizeof(good));
	for (int i = 0; i < 9; i++) {
		memcpy((void *)govern, (void *)&good, sizeof(good));
		govern->ring_len = i == 0   ? 0
				   : i == 1 ? 4096
				   : i == 2 ? LAYOUT_RING_MIN + 32
				   : i == 3 ? UINT64_C(1) << 63
					    : good.ring_len;
		govern->max_len = i == 4 ? 31 : i == 5 ? LAYOUT_RING_MIN / 4 + 1 : good.max_len;
		govern->first_pos = i == 8 ? LAYOUT_POS_END : good.first_pos + (i == 6);
		govern->n_slots -= i == 7;
		ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), -EBADMSG);
	}
	munmap(govern, LAYOUT_GOVERN_LEN);
}
END_TEST

START_TEST(a_monitor_sees_the_pages_and_not_the_records)
{
	struct region_fds given;
	struct ring_publisher publisher;
	struct ring *ring;

	ck_assert_int_eq(region_reopen(&fds, REGION_MONITOR, &given), 0);
	ck_assert_int_eq(ring_open(&given, REGION_MONITOR, &ring), 0);
	ck_assert_ptr_null(ring->data);
	ck_assert_ptr_null(ring->wait);
	ck_assert_uint_eq(ring_tail(ring), LAYOUT_FIRST_POS);
	ck_assert_int_eq(ring_publisher_init(&publisher, ring, 0, -1), -EINVAL);
	ring_close(ring);
	region_fds_close(&given);
}
END_TEST

static int placed_node;
static uint64_t placed_len;

static void place(void *base, uint64_t len, int node)
{
	unsigned char there = 1;

	/* Before it is populated. */
	ck_assert_int_eq(mincore(base, 1, &there), 0);
	ck_assert_int_eq(there & 1, 0);
	if (len > placed_len) {
		placed_len = len;
		placed_node = node;
	}
}

START_TEST(memory_is_placed_before_it_is_populated)
{
	struct region_options here = options;
	struct region_fds made;

	here.node = 3;
	region_place_hook = place;
	ck_assert_int_eq(region_create(&here, &made, NULL), 0);
	ck_assert_uint_eq(placed_len, LAYOUT_RING_MIN);
	ck_assert_int_eq(placed_node, 3);
	region_fds_close(&made);
}
END_TEST

START_TEST(an_offset_from_outside_becomes_a_pointer_only_inside_its_region)
{
	char memory[100];
	struct region region = { .base = memory, .len = sizeof(memory) };

	ck_assert_ptr_eq(region_at(&region, 0, 100), memory);
	ck_assert_ptr_eq(region_at(&region, 100, 0), memory + 100);
	ck_assert_ptr_eq(region_at(&region, 99, 1), memory + 99);
	ck_assert_ptr_null(region_at(&region, 99, 2));
	ck_assert_ptr_null(region_at(&region, 101, 0));
	ck_assert_ptr_null(region_at(&region, UINT64_MAX, 2));
	ck_assert_ptr_null(region_at(&region, 2, UINT64_MAX));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/region");
	TCase *tcase = tcase_create("region");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_new_ring_says_who_it_is_and_is_empty);
	tcase_add_test(tcase, every_region_is_sealed_private_and_closed_on_exec);
	tcase_add_test(tcase, all_memory_is_there_before_anybody_is_told);
	tcase_add_loop_test(tcase, an_fd_for_others_has_exactly_the_rights_of_the_table, 0, 4);
	tcase_add_test(tcase, nobody_else_can_reopen_a_read_only_fd_for_writing);
	tcase_add_test(tcase, a_subscriber_that_writes_to_the_ring_or_the_pages_dies_of_it);
	tcase_add_test(tcase, a_forked_child_does_not_get_the_mapping);
	tcase_add_test(tcase, the_ring_is_mapped_twice_back_to_back);
	tcase_add_test(tcase, sizes_out_of_range_are_invalid);
	tcase_add_test(tcase, a_ring_larger_than_memory_is_refused_with_what_is_available);
	tcase_add_test(tcase, a_lack_of_fds_is_called_that_and_gives_back_what_was_made);
	tcase_add_test(
		tcase,
		a_ring_of_which_one_region_is_not_right_is_not_opened_and_leaves_nothing_mapped);
	tcase_add_test(tcase, what_is_closed_cannot_be_reopened_and_nothing_stays_open);
	tcase_add_test(tcase, a_region_of_the_wrong_size_or_without_seals_is_refused);
	tcase_add_test(tcase, a_header_that_is_not_right_is_refused);
	tcase_add_test(tcase, a_page_is_not_used_before_its_ready_word);
	tcase_add_test(tcase, of_the_wait_page_only_the_size_is_checked);
	tcase_add_test(tcase, a_govern_page_that_makes_no_sense_is_refused);
	tcase_add_test(tcase, a_monitor_sees_the_pages_and_not_the_records);
	tcase_add_test(tcase, memory_is_placed_before_it_is_populated);
	tcase_add_test(tcase, an_offset_from_outside_becomes_a_pointer_only_inside_its_region);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
