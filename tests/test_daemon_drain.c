/* SPDX-License-Identifier: Apache-2.0 */
/* A real shard under a real drain thread, in a temporary directory; publishers in this process. */
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <urcu/urcu-memb.h>

#include "daemon/drain.h"
#include "daemon/shard.h"
#include "persist/file.h"
#include "persist/segment.h"
#include "persist/verify.h"
#include "shm/clock.h"
#include "shm/orphan.h"
#include "shm/ring_publish.h"
#include "shm/wait.h"

static char dir[64];
static struct drain *drain;
static struct shard *shard;
static struct shard_options options;
static int notify_fd;

static struct ring *pub_ring, *sub_ring;
static struct ring_publisher publisher;
static uint32_t slot;

/* The disk does not answer to one fdatasync until it is told to; or it fails and has no room until
 * the first segment is deleted. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool armed;
	bool hangs;
	_Atomic uint32_t is_full;
} disk = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int refuse(const struct file_event *event)
{
	char first[FORMAT_NAME_LEN];

	format_segment_name(LAYOUT_FIRST_POS, first);
	if (event->kind == FILE_UNLINK && strcmp(event->name, first) == 0)
		store_relaxed(&disk.is_full, 0);
	if (!load_relaxed(&disk.is_full))
		return 0;
	if (event->kind == FILE_ALLOCATE || event->kind == FILE_RENAME)
		return -ENOSPC;
	return event->kind == FILE_FDATASYNC ? -EIO : 0;
}

static int hang(void *ctx, const struct file_event *event)
{
	(void)ctx;
	pthread_mutex_lock(&disk.mutex);
	if (disk.armed && event->kind == FILE_FDATASYNC) {
		disk.armed = false;
		disk.hangs = true;
		pthread_cond_broadcast(&disk.changed);
		while (disk.hangs)
			pthread_cond_wait(&disk.changed, &disk.mutex);
	}
	pthread_mutex_unlock(&disk.mutex);
	return refuse(event);
}

static void disk_set(bool armed)
{
	pthread_mutex_lock(&disk.mutex);
	disk.armed = armed;
	disk.hangs = false;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.mutex);
}

static void disk_await(void)
{
	pthread_mutex_lock(&disk.mutex);
	while (!disk.hangs)
		pthread_cond_wait(&disk.changed, &disk.mutex);
	pthread_mutex_unlock(&disk.mutex);
}

static const struct file_hooks hooks = { .before = hang };

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void attach(void)
{
	struct region_fds fds;
	uint32_t generation;

	ck_assert_int_eq(shard_region_fds(shard, REGION_PUBLISHER, 0, &generation, &fds), 0);
	ck_assert_int_eq(ring_open(&fds, REGION_PUBLISHER, &pub_ring), 0);
	region_fds_close(&fds);
	ck_assert_int_eq(shard_region_fds(shard, REGION_SUBSCRIBER, 0, &generation, &fds), 0);
	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &sub_ring), 0);
	region_fds_close(&fds);
	ck_assert_int_eq(
		ring_publisher_init(&publisher, pub_ring, (uint16_t)slot, shard_kick_fd(shard)), 0);
}

static void detach(void)
{
	pub_ring = ring_close(pub_ring);
	sub_ring = ring_close(sub_ring);
}

static void start_shard(void)
{
	char detail[256] = "";

	ck_assert_msg(shard_new(&options, detail, sizeof(detail), &shard) == 0, "%s", detail);
	ck_assert_msg(shard_start(shard, detail, sizeof(detail)) == 0, "%s", detail);
	ck_assert_int_eq(drain_add(drain, shard), 0);
}

static void stop_shard(bool keep)
{
	shard_stop(shard, keep);
	while (!shard_stopped(shard)) {
		uint64_t n;

		ck_assert_int_eq(read(notify_fd, &n, sizeof(n)), sizeof(n));
	}
	drain_remove(drain, shard);
	shard = shard_free(shard);
}

static bool is_mounted;

/* A disk of its own, so small that it gets full. False where we may not mount. */
static bool small_disk(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=2m") < 0)
		return false;
	is_mounted = true;
	return true;
}

static void set_up(int force_threads)
{
	struct drain_options drain_options = { .node = -1, .force_threads = force_threads };

	urcu_memb_register_thread();
	membarrier_register();
	file_set_hooks(&hooks);
	strcpy(dir, "/tmp/leat-drain-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	notify_fd = eventfd(0, EFD_CLOEXEC);
	drain_options.notify_fd = notify_fd;
	ck_assert_int_eq(drain_start(&drain_options, &drain), 0);
	options = (struct shard_options){
		.drain = drain,
		.stream = "test",
		.directory = dir,
		.stream_uuid = "0123456789abcde",
		.flags = GOVERN_F_CHECKSUM,
		.ring_len = LAYOUT_RING_MIN,
		.segment_len = 256 * KIB,
		.node = -1,
		.policy = { .claim_timeout_ns = 200 * NS_PER_MS },
	};
	start_shard();
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 1, &slot), 0);
	attach();
}

static void setup(void)
{
	set_up(0);
}

/* A hook that waits must not be called by who submits to io_uring. */
static void setup_threads(void)
{
	set_up(1);
}

static void teardown(void)
{
	detach();
	stop_shard(false);
	drain = drain_stop(drain);
	close(notify_fd);
	if (is_mounted)
		ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	urcu_memb_unregister_thread();
}

static int publish_at(uint32_t value_len, uint32_t sequence, uint64_t *ret_pos)
{
	uint32_t len = RECORD_HEADER_LEN + value_len;
	uint64_t word = record_word(RECORD_COMMITTED, len, publisher.owner, 0), pos;
	struct record_header *record;
	int r;

	while ((r = ring_reserve(&publisher, len, &pos)) == RING_E_FULL) {
		uint32_t bell = ring_bell(&pub_ring->govern->limit_bell);

		ring_kick_drain(&publisher, true);
		r = ring_reserve(&publisher, len, &pos);
		if (r != RING_E_FULL)
			break;
		(void)wait_bell(&pub_ring->govern->limit_bell, bell, NS_PER_S);
	}
	if (r != 0)
		return r;
	record = ring_at(pub_ring, pos);
	record->timestamp_ns = clock_ns(pub_ring->govern);
	record->key_len = record->headers_len = 0;
	record->publisher = 1;
	record->sequence = sequence;
	memset((char *)record + RECORD_HEADER_LEN, (int)sequence, value_len);
	record->crc = record_crc(pub_ring->crc_seed, pos, word, record);
	*ret_pos = pos;
	return ring_commit(&publisher, pos, word, 1);
}

static void publish(uint32_t value_len, uint32_t sequence)
{
	uint64_t pos;

	ck_assert_int_eq(publish_at(value_len, sequence, &pos), 0);
}

static void wait_for(uint64_t (*progress)(const struct ring *ring))
{
	uint64_t end = ring_tail(pub_ring);

	const _Atomic uint32_t *bell = progress == ring_written ? &pub_ring->govern->written_bell
								: &pub_ring->govern->durable_bell;

	for (;;) {
		uint32_t rung = ring_bell(bell);

		if (progress(pub_ring) >= end)
			return;
		ring_kick_drain(&publisher, true);
		ck_assert_int_ne(wait_bell(bell, rung, 5 * NS_PER_S), -ETIMEDOUT);
	}
}

static void wait_durable(void)
{
	wait_for(ring_durable);
}

START_TEST(records_become_durable_and_the_ring_is_reused)
{
	struct shard_stats stats;
	struct verify_stats verified;

	for (uint32_t i = 0; i < 20000; i++)
		publish(i % 200, i);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_eq(stats.records, 20000);
	ck_assert_uint_eq(stats.tombstones, 0);
	ck_assert_uint_eq(stats.damaged, 0);
	ck_assert_uint_gt(stats.segments, 4);
	detach();
	stop_shard(false);
	ck_assert_int_eq(verify_dir(dir, NULL, NULL, &verified), 0);
	ck_assert_uint_eq(verified.n_damaged, 0);
	ck_assert_uint_eq(verified.n_records, 20000);
	start_shard();
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 1, &slot), 0);
	attach();
	/* A clean stop leaves no gap: the log goes on where it ended. */
	ck_assert_uint_eq(ring_tail(pub_ring), stats.tail);
	publish(10, 1);
	wait_durable();
}
END_TEST

/* As if the daemon had been killed with two writes under way, of which only the later one, that
 * of [from, to), got to the segment. */
static void write_to_segment(uint64_t from, uint64_t to)
{
	int dir_fd = open(dir, O_DIRECTORY | O_CLOEXEC), fd;
	char name[FORMAT_NAME_LEN];
	uint64_t *bases;
	size_t n;

	ck_assert_int_eq(segment_list(dir_fd, &bases, &n), 0);
	format_segment_name(bases[n - 1], name);
	fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, ring_at(pub_ring, from), to - from,
				(off_t)(FORMAT_SEGMENT_LEN + from - bases[n - 1])),
			 (ssize_t)(to - from));
	free(bases);
	close(fd);
	close(dir_fd);
}

START_TEST(a_write_that_did_not_get_there_is_made_good_from_the_ring)
{
	struct verify_stats verified;
	struct region_fds fds;
	uint32_t generation;
	uint64_t pos[4];

	ck_assert_int_eq(publish_at(100, 0, &pos[0]), 0);
	wait_durable();
	ck_assert_int_eq(shard_region_fds(shard, REGION_DAEMON, 0, &generation, &fds), 0);
	stop_shard(true);
	publisher.kick_fd = -1;
	for (uint32_t i = 1; i < 4; i++)
		ck_assert_int_eq(publish_at(100, i, &pos[i]), 0);
	write_to_segment(pos[2], ring_tail(pub_ring));
	options.survivors = &fds;
	options.n_survivors = 1;
	start_shard();
	options.n_survivors = 0;
	publisher.kick_fd = shard_kick_fd(shard);
	wait_durable();
	ck_assert_int_eq(verify_dir(dir, NULL, NULL, &verified), 0);
	ck_assert_uint_eq(verified.n_damaged, 0);
	ck_assert_uint_eq(verified.n_records, 4);
}
END_TEST

START_TEST(largest_records_go_round_the_ring)
{
	for (uint32_t i = 0; i < 200; i++)
		publish(pub_ring->max_len - RECORD_HEADER_LEN, i);
	wait_durable();
}
END_TEST

START_TEST(a_dead_publishers_reservation_becomes_a_tombstone)
{
	struct shard_stats stats;
	uint64_t pos;

	publish(10, 1);
	ck_assert_int_eq(ring_reserve(&publisher, 100, &pos), 0);
	shard_slot_gone(shard, slot);
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 2, &slot), 0);
	ck_assert_int_eq(
		ring_publisher_init(&publisher, pub_ring, (uint16_t)slot, shard_kick_fd(shard)), 0);
	publish(10, 2);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_eq(stats.tombstones, 1);
	ck_assert_uint_eq(stats.tombstone_bytes, 100);
	ck_assert_uint_eq(stats.records, 2);
	ck_assert_int_eq(record_word_kind(ring_word_at(sub_ring, pos)), RECORD_TOMBSTONE);
}
END_TEST

START_TEST(a_hole_without_owner_becomes_a_tombstone)
{
	struct shard_stats stats;
	uint64_t tail;

	/* What a publisher killed between the tail and the word leaves behind. */
	store_relaxed(&publisher.slot->claim, publisher.claim + 1);
	tail = load_relaxed(&pub_ring->publish->tail);
	store_relaxed(&pub_ring->publish->tail, tail + 128);
	shard_slot_gone(shard, slot);
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 2, &slot), 0);
	ck_assert_int_eq(
		ring_publisher_init(&publisher, pub_ring, (uint16_t)slot, shard_kick_fd(shard)), 0);
	publish(10, 2);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_eq(stats.tombstones, 1);
	ck_assert_uint_eq(stats.tombstone_bytes, 128);
}
END_TEST

START_TEST(a_stopped_publisher_is_left_behind_in_the_old_ring)
{
	struct ring_publisher stopped = publisher;
	uint64_t stuck, pos;
	struct ring *old = pub_ring;
	struct shard_stats stats;
	int r;

	ck_assert_int_eq(ring_reserve(&stopped, 64, &stuck), 0);
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 2, &slot), 0);
	ck_assert_int_eq(
		ring_publisher_init(&publisher, pub_ring, (uint16_t)slot, shard_kick_fd(shard)), 0);
	publish(10, 1);
	while ((r = publish_at(10, 2, &pos)) == 0) {
		uint32_t bell = ring_bell(&pub_ring->govern->durable_bell);

		(void)wait_bell(&pub_ring->govern->durable_bell, bell, 50 * NS_PER_MS);
	}
	ck_assert_int_eq(r, RING_E_CLOSED);
	while (ring_state(old, NULL) != GOVERN_SUCCEEDED)
		(void)wait_bell(&old->govern->durable_bell, ring_bell(&old->govern->durable_bell),
				10 * NS_PER_MS);
	ck_assert_uint_eq(ring_close_pos(old), stuck);
	/* It wakes up, commits, and is told. */
	ck_assert_int_eq(ring_commit(&stopped, stuck,
				     record_word(RECORD_COMMITTED, 64, stopped.owner, 0), 1),
			 RING_E_CLOSED);
	ring_close(sub_ring);
	attach();
	ck_assert_uint_gt(pub_ring->generation, old->generation);
	ck_assert_int_eq(record_word_kind(ring_word_at(pub_ring, stuck)), RECORD_TOMBSTONE);
	publish(10, 3);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_eq(stats.tombstones, 1);
	ck_assert_uint_eq(stats.successors, 1);
	ring_close(old);
}
END_TEST

START_TEST(a_ring_grows_while_it_is_used)
{
	char detail[128];
	struct ring *old = pub_ring;
	uint64_t pos;
	int r;

	publish(100, 1);
	ck_assert_int_eq(shard_succeed(shard, MIB, detail, sizeof(detail)), 0);
	while ((r = publish_at(10, 2, &pos)) == 0)
		;
	ck_assert_int_eq(r, RING_E_CLOSED);
	while (ring_state(old, NULL) != GOVERN_SUCCEEDED)
		(void)wait_bell(&old->govern->durable_bell, ring_bell(&old->govern->durable_bell),
				10 * NS_PER_MS);
	ring_close(sub_ring);
	attach();
	ck_assert_uint_eq(pub_ring->len, MIB);
	for (uint32_t i = 0; i < 5000; i++)
		publish(i % 1000, i);
	wait_durable();
	ring_close(old);
}
END_TEST

/* The shard begins anew on a disk of 2 MiB, with segments of 256 KiB. */
static bool restart_on_small_disk(enum shard_disk_full on_disk_full)
{
	detach();
	stop_shard(false);
	if (!small_disk())
		return false;
	options.policy.on_disk_full = on_disk_full;
	start_shard();
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 1, &slot), 0);
	attach();
	return true;
}

static void after_small_disk(bool was_there)
{
	if (was_there)
		return;
	/* Without the right to mount nothing was shown; teardown wants a shard. */
	options.policy.on_disk_full = SHARD_DISK_FULL_STOP;
	start_shard();
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 1, &slot), 0);
	attach();
}

START_TEST(a_full_disk_stops_the_shard_and_room_lets_it_go_on)
{
	bool mounted = restart_on_small_disk(SHARD_DISK_FULL_STOP);
	struct shard_closed_segment oldest;
	uint32_t n = 0;
	int error = 0;

	after_small_disk(mounted);
	if (!mounted)
		return;
	while (ring_state(pub_ring, &error) == GOVERN_OPEN) {
		uint64_t pos;

		ck_assert_uint_lt(n, 100000);
		if (ring_reserve(&publisher, 1024, &pos) == RING_E_FULL) {
			ring_kick_drain(&publisher, true);
			(void)wait_bell(&pub_ring->govern->limit_bell,
					ring_bell(&pub_ring->govern->limit_bell), NS_PER_MS);
			continue;
		}
		memset((char *)ring_at(pub_ring, pos) + 8, 0, 1016);
		((struct record_header *)ring_at(pub_ring, pos))->crc =
			record_crc(pub_ring->crc_seed, pos,
				   record_word(RECORD_COMMITTED, 1024, publisher.owner, 0),
				   ring_at(pub_ring, pos));
		ring_commit(&publisher, pos,
			    record_word(RECORD_COMMITTED, 1024, publisher.owner, 0), 1);
		n++;
	}
	ck_assert_int_eq(error, -ENOSPC);
	ck_assert_uint_gt(shard_closed_segments(shard, &oldest, 1), 0);
	ck_assert_int_eq(shard_drop_segment(shard, oldest.base), 0);
	wait_durable();
	while (ring_state(pub_ring, NULL) != GOVERN_OPEN)
		(void)wait_bell(&pub_ring->govern->durable_bell,
				ring_bell(&pub_ring->govern->durable_bell), 10 * NS_PER_MS);
	publish(100, 1);
	wait_durable();
}
END_TEST

START_TEST(a_full_disk_drops_the_oldest_where_the_stream_says_so)
{
	bool mounted = restart_on_small_disk(SHARD_DISK_FULL_DROP_OLDEST);
	struct shard_stats stats;

	after_small_disk(mounted);
	if (!mounted)
		return;
	for (uint32_t i = 0; i < 8192; i++)
		publish(992, i);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_gt(stats.earliest, LAYOUT_FIRST_POS);
	ck_assert_uint_eq(stats.records, 8192);
	ck_assert_uint_le(stats.kept_bytes, 2 * MIB);
}
END_TEST

START_TEST(a_sync_that_fails_on_a_full_disk_drops_the_oldest_too)
{
	struct shard_stats stats;

	options.policy.on_disk_full = SHARD_DISK_FULL_DROP_OLDEST;
	shard_set_policy(shard, &options.policy);
	for (uint32_t i = 0; i < 1024; i++)
		publish(992, i);
	wait_durable();
	store_relaxed(&disk.is_full, 1);
	publish(992, 1024);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_gt(stats.earliest, LAYOUT_FIRST_POS);
	ck_assert_uint_eq(stats.records, 1025);
}
END_TEST

START_TEST(garbage_is_marked_and_what_follows_is_kept)
{
	struct shard_stats stats;
	uint64_t pos;

	ck_assert_int_eq(ring_reserve(&publisher, 96, &pos), 0);
	memset((char *)ring_at(pub_ring, pos) + 8, 0x5a, 88);
	ck_assert_int_eq(ring_commit(&publisher, pos, UINT64_C(0xdeadbeefdeadbeef), 1), 0);
	publish(10, 1);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_eq(stats.damaged, 1);
	ck_assert_uint_eq(stats.damaged_bytes, 96);
	ck_assert_uint_eq(stats.records, 1);
}
END_TEST

START_TEST(a_ring_full_of_long_promises_is_given_up_not_searched_for_ever)
{
	uint32_t len = pub_ring->max_len;
	uint64_t promise = record_word(RECORD_COMMITTED, len, publisher.owner, 0), pos;
	struct shard_stats stats;

	/* Each of 500 words says that 16 KiB follow it: 8 MiB to be looked at in 16 KiB. */
	ck_assert_int_eq(ring_reserve(&publisher, len, &pos), 0);
	for (uint32_t at = RECORD_ALIGN; at < len; at += RECORD_ALIGN)
		memcpy((char *)ring_at(pub_ring, pos) + at, &promise, sizeof(promise));
	ck_assert_int_eq(ring_commit(&publisher, pos, promise, 1), 0);
	for (uint32_t i = 0; i < 100; i++)
		publish(1000, i);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_ge(stats.damaged, 1);
	ck_assert_uint_eq(stats.bytes, ring_tail(pub_ring) - LAYOUT_FIRST_POS);
	publish(10, 1);
	wait_durable();
}
END_TEST

START_TEST(a_segment_that_does_not_fill_is_closed_by_age)
{
	struct shard_policy policy = options.policy;
	struct shard_closed_segment closed;

	policy.roll_ns = NS_PER_S / 10;
	shard_set_policy(shard, &policy);
	publish(10, 1);
	wait_durable();
	while (shard_closed_segments(shard, &closed, 1) == 0)
		(void)wait_bell(&pub_ring->govern->durable_bell,
				ring_bell(&pub_ring->govern->durable_bell), 20 * NS_PER_MS);
	ck_assert_uint_eq(closed.base, LAYOUT_FIRST_POS);
}
END_TEST

START_TEST(a_wild_tail_is_repaired)
{
	uint64_t tail;

	publish(10, 1);
	wait_durable();
	tail = load_relaxed(&pub_ring->publish->tail);
	store_relaxed(&pub_ring->publish->tail, tail - 64);
	ring_kick_drain(&publisher, true);
	while (ring_tail(pub_ring) < tail)
		(void)wait_bell(&pub_ring->govern->durable_bell, 0, NS_PER_MS);
	store_relaxed(&pub_ring->publish->tail, UINT64_MAX & ~UINT64_C(31));
	ring_kick_drain(&publisher, true);
	while (load_relaxed(&pub_ring->publish->tail) > LAYOUT_POS_END)
		(void)wait_bell(&pub_ring->govern->limit_bell, 0, NS_PER_MS);
	publish(10, 2);
	wait_durable();
}
END_TEST

START_TEST(a_tail_that_a_publisher_has_closed_is_opened_again)
{
	publish(10, 1);
	store_relaxed(&pub_ring->publish->tail,
		      load_relaxed(&pub_ring->publish->tail) | LAYOUT_TAIL_CLOSED);
	ring_kick_drain(&publisher, true);
	while (load_relaxed(&pub_ring->publish->tail) & LAYOUT_TAIL_CLOSED)
		(void)wait_bell(&pub_ring->govern->durable_bell, 0, NS_PER_MS);
	publish(10, 2);
	wait_durable();
}
END_TEST

/* Moves the tail about until the shard has got a new ring all the same. */
START_TEST(a_wild_tail_does_not_keep_a_shard_from_its_new_ring)
{
	struct ring *old = pub_ring;
	char detail[128];

	publish(10, 1);
	ck_assert_int_eq(shard_succeed(shard, MIB, detail, sizeof(detail)), 0);
	for (uint32_t i = 0; ring_state(old, NULL) != GOVERN_SUCCEEDED; i++)
		store_relaxed(&old->publish->tail, i & 1 ? LAYOUT_POS_END - 64 : 64);
	ring_close(sub_ring);
	attach();
	publish(10, 2);
	wait_durable();
	ring_close(old);
}
END_TEST

/* Each word promises the longest record, so that to check them all takes hours. */
START_TEST(words_that_promise_long_records_do_not_hold_up_the_drain)
{
	struct shard_stats stats;
	struct ring *old = pub_ring;
	char detail[128];
	uint64_t limit;

	ck_assert_int_eq(shard_succeed(shard, 64 * MIB, detail, sizeof(detail)), 0);
	while (ring_state(old, NULL) != GOVERN_SUCCEEDED)
		(void)wait_bell(&old->govern->durable_bell, 0, NS_PER_MS);
	ring_close(sub_ring);
	attach();
	ring_close(old);
	limit = load_relaxed(&pub_ring->govern->limit);
	for (uint64_t pos = ring_tail(pub_ring); pos < limit; pos += RECORD_ALIGN)
		store_relaxed((_Atomic uint64_t *)ring_at(pub_ring, pos),
			      record_word(RECORD_COMMITTED, pub_ring->max_len, 0, 0));
	store_relaxed(&pub_ring->publish->tail, limit);
	ring_kick_drain(&publisher, true);
	publish(10, 1);
	wait_durable();
	shard_statistics(shard, &stats);
	ck_assert_uint_ge(stats.damaged, 1);
	ck_assert_uint_eq(stats.records, 1);
}
END_TEST

/* Who shares an open file description shares its flags, and can read first. */
START_TEST(an_eventfd_that_a_publisher_empties_does_not_stop_the_drain)
{
	struct shard_policy policy = { .claim_timeout_ns = 100 * NS_PER_S };
	int fd = shard_kick_fd(shard);
	uint64_t n = 1, pos;
	struct iovec iov = { .iov_base = &n, .iov_len = sizeof(n) };

	/* With a reservation open the drain goes round every few milliseconds. */
	shard_set_policy(shard, &policy);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		n = 1;
		ck_assert_int_eq(write(fd, &n, sizeof(n)), sizeof(n));
		for (uint32_t k = 0; k < i % 500 * 10; k++)
			cpu_relax();
		if (preadv2(fd, &iov, 1, -1, RWF_NOWAIT) != sizeof(n))
			continue;
		for (int k = 0; k < 3000 && drain_last_pass_ns(drain) < now; k++)
			usleep(1000);
		ck_assert_msg(drain_last_pass_ns(drain) >= now, "the drain waits for the eventfd");
	}
	/* The daemon's own requests do not wait for room in it either. */
	n = UINT64_MAX - 1;
	ck_assert_int_eq(write(fd, &n, sizeof(n)), sizeof(n));
	shard_request_sync(shard);
	shard_slot_gone(shard, slot);
}
END_TEST

START_TEST(a_disk_that_does_not_answer_holds_up_no_other_shard)
{
	char second_dir[sizeof(dir) + 8];
	struct shard *first = shard;
	uint32_t first_slot = slot;
	uint64_t before;

	publish(10, 1);
	wait_durable();
	disk_set(true);
	publish(10, 2);
	wait_for(ring_written);
	disk_await();
	/* Its own shard goes on as well, up to where the disk has to answer. */
	before = ring_durable(pub_ring);
	publish(10, 3);
	wait_for(ring_written);
	detach();
	snprintf(second_dir, sizeof(second_dir), "%s/second", dir);
	options.directory = second_dir;
	options.shard = 1;
	start_shard();
	ck_assert_int_eq(shard_slot_take(shard, (uint32_t)getpid(), 0, 0, 1, &slot), 0);
	attach();
	for (uint32_t i = 0; i < 3000; i++)
		publish(100, i);
	wait_durable();
	detach();
	stop_shard(false);
	shard = first;
	slot = first_slot;
	attach();
	ck_assert_uint_eq(ring_durable(pub_ring), before);
	disk_set(false);
	wait_durable();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/drain");
	TCase *tcase = tcase_create("drain");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, records_become_durable_and_the_ring_is_reused);
	tcase_add_test(tcase, a_write_that_did_not_get_there_is_made_good_from_the_ring);
	tcase_add_test(tcase, largest_records_go_round_the_ring);
	tcase_add_test(tcase, a_dead_publishers_reservation_becomes_a_tombstone);
	tcase_add_test(tcase, a_hole_without_owner_becomes_a_tombstone);
	tcase_add_test(tcase, a_stopped_publisher_is_left_behind_in_the_old_ring);
	tcase_add_test(tcase, a_ring_grows_while_it_is_used);
	tcase_add_test(tcase, a_full_disk_stops_the_shard_and_room_lets_it_go_on);
	tcase_add_test(tcase, a_full_disk_drops_the_oldest_where_the_stream_says_so);
	tcase_add_test(tcase, a_sync_that_fails_on_a_full_disk_drops_the_oldest_too);
	tcase_add_test(tcase, garbage_is_marked_and_what_follows_is_kept);
	tcase_add_test(tcase, a_ring_full_of_long_promises_is_given_up_not_searched_for_ever);
	tcase_add_test(tcase, a_segment_that_does_not_fill_is_closed_by_age);
	tcase_add_test(tcase, a_wild_tail_is_repaired);
	tcase_add_test(tcase, a_tail_that_a_publisher_has_closed_is_opened_again);
	tcase_add_test(tcase, a_wild_tail_does_not_keep_a_shard_from_its_new_ring);
	tcase_add_test(tcase, words_that_promise_long_records_do_not_hold_up_the_drain);
	tcase_add_test(tcase, an_eventfd_that_a_publisher_empties_does_not_stop_the_drain);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("threads");
	tcase_add_checked_fixture(tcase, setup_threads, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, records_become_durable_and_the_ring_is_reused);
	tcase_add_test(tcase, a_disk_that_does_not_answer_holds_up_no_other_shard);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
