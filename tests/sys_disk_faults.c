/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk fails at random times, in every way its calls can, while records are published: what
 * was acknowledged is there afterwards, the other shard goes on meanwhile, and service resumes by
 * itself when the fault ends. What was published, where, and how it was acknowledged is kept
 * outside of leat. The daemon is killed at the end, and everything read from disk. LEAT_FULL=1
 * makes it a thousand faults and a thousand full disks.
 */
/* TEST_TIMEOUT=3600 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "persist/file.h"
#include "tests/fault_file.h"
#include "tests/harness.h"
#include "tests/heartbeat.h"
#include "tests/ledger.h"
#include "tests/stalled.h"

enum {
	SHARDS = 2,
	ENTRIES = 400000,
	BODY_MAX = 3000,
	BURST = 8,
	STALL_S = 90,     /* nobody comes back after that, however busy the machine is */
	RESUME_MS = 5000, /* and what the machine stood still */
};

static const uint64_t ms = 1000000;

struct entry {
	uint64_t pos;
	uint64_t hash;
	enum ledger_level level;
	uint32_t len;
};

/* What a record begins with. */
struct content {
	uint64_t number;
	uint64_t hash; /* of the rest */
};

/* Shared with the publishers; one of them for each shard. */
struct world {
	struct harness_bus bus;
	_Atomic int stop;
	_Atomic uint64_t n_published[SHARDS];
	_Atomic uint64_t n_durable[SHARDS];
	_Atomic uint64_t n_refused[SHARDS];
	_Atomic int last_error[SHARDS];
	struct entry entries[SHARDS][ENTRIES];
	pid_t publishers[SHARDS];
};

static struct world *world;
static struct fault_file *fault;

/* ---- publishing ---- */

static size_t make_record(uint64_t number, char *buf)
{
	struct content content = { .number = number };
	uint64_t seed = number;
	size_t i, len = harness_random(&seed) % BODY_MAX;

	for (i = 0; i < len; i++)
		buf[sizeof(content) + i] = (char)(number * 31 + i * 7);
	content.hash = ledger_hash(buf + sizeof(content), len);
	memcpy(buf, &content, sizeof(content));
	return sizeof(content) + len;
}

/* What a disk that fails may make a call give; anything else is a mistake. */
static bool is_expected(int r)
{
	return r == -ETIMEDOUT || r == -EAGAIN || r == -EIO || r == -ENOSPC || r == -EDQUOT ||
	       r == -EROFS || r == -EFBIG;
}

static void acknowledge(unsigned shard, uint64_t upto, enum ledger_level level)
{
	while (upto-- > 0 && world->entries[shard][upto].level < level)
		world->entries[shard][upto].level = level;
}

static void wait_for(struct leat_publisher *publisher, unsigned shard, uint64_t n)
{
	enum leat_ack ack = n / BURST % 3 == 0 ? LEAT_ACK_WRITTEN : LEAT_ACK_DURABLE;
	uint64_t pos = world->entries[shard][n - 1].pos;
	int r = leat_wait(publisher, shard, pos, ack, 300 * ms);

	if (r == 0) {
		acknowledge(shard, n, ack == LEAT_ACK_DURABLE ? LEDGER_DURABLE : LEDGER_WRITTEN);
		if (ack == LEAT_ACK_DURABLE)
			store_release(&world->n_durable[shard], n);
		return;
	}
	must(is_expected(r), "waiting gives %s", leat_strerror(r));
	must(strlen(leat_publisher_detail(publisher)) > 10, "no sentence for %s", leat_strerror(r));
	store_release(&world->last_error[shard], r);
}

static int publish(void *arg)
{
	unsigned shard = (unsigned)(uintptr_t)arg;
	struct leat_bus *bus = harness_connect(&world->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "faults");
	static char buf[sizeof(struct content) + BODY_MAX];
	struct leat_record record = { .value = buf, .shard = shard };
	struct leat_result result;
	uint64_t n = 0;
	int r;

	while (!load_acquire(&world->stop)) {
		must(n < ENTRIES, "the ledger is full");
		record.value_len = make_record(n, buf);
		r = leat_publish_timed(publisher, &record, 50 * ms, &result);
		if (r < 0) {
			must(is_expected(r), "publishing gives %s (%s)", leat_strerror(r),
			     leat_publisher_detail(publisher));
			store_release(&world->last_error[shard], r);
			fetch_add_acq_rel(&world->n_refused[shard], 1);
			harness_pause_ns(2 * ms);
			continue;
		}
		world->entries[shard][n].pos = result.pos;
		world->entries[shard][n].hash = ledger_hash(buf, record.value_len);
		world->entries[shard][n].len = (uint32_t)record.value_len;
		store_release(&world->n_published[shard], ++n);
		if (n % BURST == 0) {
			wait_for(publisher, shard, n);
			harness_pause_ns(ms);
		}
	}
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

static void start(const struct leat_stream_options *more)
{
	struct leat_stream_options options;
	struct leat_bus *bus = harness_connect(&world->bus);
	unsigned i;

	leat_stream_options_init(&options);
	if (more)
		options = *more;
	options.sync = LEAT_SYNC_ALWAYS;
	options.segment_len = 256 << 10;
	harness_stream(bus, "faults", SHARDS, 128 << 10, &options);
	leat_close(bus);
	for (i = 0; i < SHARDS; i++)
		world->publishers[i] = harness_fork(publish, (void *)(uintptr_t)i);
}

/* From now on it is known when the disk, or the machine, stands still. */
static void watch_machine(void)
{
	char data[112];

	snprintf(data, sizeof(data), "%s/data", world->bus.dir);
	heartbeat_start(data);
}

static void stop_publishers(void)
{
	unsigned i;

	store_release(&world->stop, 1);
	for (i = 0; i < SHARDS; i++)
		harness_reap_ok(world->publishers[i], 30, "a publisher");
}

struct goal {
	unsigned shard;
	uint64_t n;
};

static bool is_durable(void *arg)
{
	struct goal *goal = arg;

	return load_acquire(&world->n_durable[goal->shard]) >= goal->n;
}

/* Some more of this shard's records become durable; how long it took, without what the machine
 * stood still. */
static uint64_t wait_on(unsigned shard, const char *when)
{
	struct goal goal = { shard, load_acquire(&world->n_published[shard]) + 1 };
	uint64_t begin = harness_now_ns(), lost = heartbeat_lost_ns(), took;
	bool resumed = harness_until(is_durable, &goal, harness_patience(STALL_S));

	took = harness_now_ns() - begin;
	if (resumed && took < 100 * ms)
		return took;
	heartbeat_settle();
	lost = heartbeat_lost_ns() - lost;
	took = took > lost ? took - lost : 0;
	if (!resumed || took > RESUME_MS * ms)
		stalled_show(&world->bus, world->publishers, SHARDS);
	must(resumed, "shard %u stands still %s (%s)", shard, when,
	     leat_strerror(load_acquire(&world->last_error[shard])));
	must(took <= RESUME_MS * ms,
	     "shard %u resumes after %llu ms, and %llu of a machine that stands still, %s", shard,
	     (unsigned long long)(took / ms), (unsigned long long)(lost / ms), when);
	return took;
}

/* ---- what is there afterwards ---- */

struct reading {
	uint64_t next[SHARDS]; /* number that comes next */
	uint64_t n[SHARDS];
	uint64_t n_gaps;
	uint64_t until_pos[SHARDS]; /* up to here it is worth waiting */
	uint64_t at[SHARDS];
};

/* Nothing acknowledged may be passed over, at this position or by this number. */
static void check_skipped(unsigned shard, uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		must(world->entries[shard][from].level == LEDGER_NONE,
		     "record %llu of shard %u at %llu was acknowledged (%d) and is missing",
		     (unsigned long long)from, shard,
		     (unsigned long long)world->entries[shard][from].pos,
		     world->entries[shard][from].level);
}

static void check_gap(const struct leat_message *message)
{
	uint64_t n = load_acquire(&world->n_published[message->shard]), i;

	for (i = 0; i < n; i++) {
		const struct entry *entry = &world->entries[message->shard][i];

		must(entry->level == LEDGER_NONE || entry->pos < message->pos ||
			     entry->pos >= message->next_pos,
		     "record %llu of shard %u was acknowledged and lies in a gap, reason %d",
		     (unsigned long long)i, message->shard, (int)message->reason);
	}
}

static void check_record(struct reading *reading, const struct leat_message *message)
{
	unsigned shard = message->shard;
	const struct entry *entry;
	struct content content;

	must(message->value_len >= sizeof(content), "a record nobody published");
	memcpy(&content, message->value, sizeof(content));
	must(content.number < load_acquire(&world->n_published[shard]) + 1, "a number not given");
	must(content.number >= reading->next[shard], "record %llu comes twice or out of order",
	     (unsigned long long)content.number);
	check_skipped(shard, reading->next[shard], content.number);
	reading->next[shard] = content.number + 1;
	reading->n[shard]++;
	entry = &world->entries[shard][content.number];
	if (content.number == load_acquire(&world->n_published[shard]))
		return; /* refused, and there all the same: it was the last one tried */
	must(message->pos == entry->pos && message->value_len == entry->len &&
		     ledger_hash(message->value, message->value_len) == entry->hash,
	     "record %llu of shard %u is not as it was", (unsigned long long)content.number, shard);
}

static bool wants_more(const struct reading *reading)
{
	unsigned i;

	for (i = 0; i < SHARDS; i++)
		if (reading->at[i] <= reading->until_pos[i])
			return true;
	return false;
}

static void read_all(bool from_retained)
{
	struct leat_bus *bus = harness_connect(&world->bus);
	struct leat_subscriber *subscriber = harness_subscriber(bus, "faults");
	struct reading reading = { .n_gaps = 0 };
	struct leat_message message;
	unsigned i;
	uint64_t k;
	int r;

	for (i = 0; i < SHARDS; i++)
		for (k = 0; k < load_acquire(&world->n_published[i]); k++)
			if (world->entries[i][k].level > LEDGER_NONE)
				reading.until_pos[i] = world->entries[i][k].pos;
	for (;;) {
		r = leat_next(subscriber, wants_more(&reading) ? 10000 * ms : 200 * ms, &message);
		if (r == -ETIMEDOUT)
			break;
		must(r == 1, "reading back: %s", leat_subscriber_detail(subscriber));
		reading.at[message.shard] = message.next_pos;
		if (message.kind == LEAT_GAP) {
			reading.n_gaps++;
			check_gap(&message);
			continue;
		}
		if (from_retained && reading.n[message.shard] == 0) {
			memcpy(&reading.next[message.shard], message.value, 8);
		}
		check_record(&reading, &message);
	}
	for (i = 0; i < SHARDS; i++) {
		k = load_acquire(&world->n_published[i]);
		check_skipped(i, reading.next[i], k);
		printf("shard %u: %llu published, %llu durable, %llu there, %llu calls refused\n",
		       i, (unsigned long long)k,
		       (unsigned long long)load_acquire(&world->n_durable[i]),
		       (unsigned long long)reading.n[i],
		       (unsigned long long)load_acquire(&world->n_refused[i]));
	}
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

/* ---- faults ---- */

static void open_fault(void)
{
	char path[64] = "/tmp/leat-fault.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, sizeof(*fault)), 0);
	fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert(fault != MAP_FAILED);
	close(fd);
	setenv("LEAT_FAULT_FILE", path, 1);
	world = harness_shared(sizeof(*world));
	harness_bus_start(&world->bus, HARNESS_TESTPOINTS);
	unlink(path);
}

static const uint32_t file_kinds[] = {
	1u << FILE_WRITE,  1u << FILE_FDATASYNC,
	1u << FILE_FSYNC,  1u << FILE_ALLOCATE,
	1u << FILE_RENAME, 1u << FILE_UNLINK,
	1u << FILE_OPEN,   1u << FILE_TRUNCATE,
	1u << FILE_READ,   1u << FILE_WRITE | 1u << FILE_FDATASYNC,
	UINT32_MAX,
};
static const int file_errors[] = { EIO, ENOSPC, EDQUOT, EROFS };

/* One fault on shard 0's files; how long service took to resume afterwards. */
static uint64_t one_fault(uint64_t *seed)
{
	bool for_ever = harness_random(seed) % 2;
	uint32_t kinds = file_kinds[harness_random(seed) % ARRAY_LEN(file_kinds)];
	int error = file_errors[harness_random(seed) % ARRAY_LEN(file_errors)];
	uint64_t took;

	store_relaxed(&fault->error, (uint32_t)error);
	store_relaxed(&fault->one_in, 1 + (uint32_t)(harness_random(seed) % 3));
	store_relaxed(&fault->left,
		      for_ever ? UINT32_MAX : 1 + (uint32_t)(harness_random(seed) % 6));
	store_release(&fault->kinds, kinds);
	harness_pause_ns(harness_random(seed) % (for_ever ? 400 * ms : 60 * ms));
	if (for_ever)
		wait_on(1, "while the other one's disk fails");
	store_release(&fault->kinds, 0);
	took = wait_on(0, "after its disk works again");
	if (took > 500 * ms)
		printf("resumed after %llu ms: calls %#x, errno %d, %s\n",
		       (unsigned long long)(took / ms), kinds, error,
		       for_ever ? "for a while" : "a few");
	return took;
}

static void print_log_sentence(void)
{
	char path[112], line[512];
	FILE *file;
	int n = 0;

	snprintf(path, sizeof(path), "%s/log", world->bus.dir);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, "stream faults shard 0") != NULL;
	fclose(file);
	ck_assert_msg(n > 0, "the log does not say what failed");
}

START_TEST(nothing_acknowledged_is_lost_when_the_disk_fails_at_random_times)
{
	uint64_t seed = harness_seed(), longest = 0, took;
	int i, n_slow = 0, n = getenv("LEAT_FULL") ? 1000 : 60;

	open_fault();
	snprintf(fault->path, sizeof(fault->path), "/faults/0");
	watch_machine();
	start(NULL);
	wait_on(0, "at the beginning");
	for (i = 0; i < n; i++) {
		took = one_fault(&seed);
		longest = took > longest ? took : longest;
		n_slow += took > 1000 * ms;
	}
	printf("%d faults, %u calls failed, longest until service resumed: %llu ms, %d times over "
	       "a second\n",
	       n, load_relaxed(&fault->n_hit), (unsigned long long)(longest / ms), n_slow);
	ck_assert_uint_gt(load_relaxed(&fault->n_hit), (unsigned)n / 4);
	stop_publishers();
	print_log_sentence();
	harness_bus_kill(&world->bus);
	harness_bus_restart(&world->bus);
	read_all(false);
	harness_bus_stop(&world->bus);
}
END_TEST

/* ---- a real full disk ---- */

static bool mount_small(uint64_t len)
{
	char data[112], size[32];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	snprintf(data, sizeof(data), "%s/data", world->bus.dir);
	snprintf(size, sizeof(size), "size=%llu", (unsigned long long)len);
	return mount("leat-small", data, "tmpfs", 0, size) == 0;
}

static bool was_refused(void *arg)
{
	(void)arg;
	return load_acquire(&world->last_error[0]) != 0 && load_acquire(&world->last_error[1]) != 0;
}

/* Takes all the room there is, until publishers are told so. */
static void fill(const char *ballast)
{
	int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static char block[64 << 10];
	off_t at = 0;
	uint64_t begin = harness_now_ns();

	ck_assert_int_ge(fd, 0);
	store_release(&world->last_error[0], 0);
	store_release(&world->last_error[1], 0);
	while (!was_refused(NULL)) {
		ssize_t n = pwrite(fd, block, sizeof(block), at);

		at += n > 0 ? n : 0;
		if (n <= 0)
			harness_pause_ns(ms);
		must(harness_now_ns() - begin < 60000 * ms, "nobody notices the full disk");
	}
	close(fd);
}

START_TEST(a_full_disk_stops_publishers_loses_nothing_and_they_go_on_by_themselves)
{
	int i, n = getenv("LEAT_FULL") ? 1000 : 15;
	uint64_t longest = 0, took;
	struct leat_stream_options options;
	char ballast[128];

	open_fault();
	harness_bus_stop(&world->bus);
	if (!mount_small(6 << 20)) {
		printf("a file system cannot be mounted here\n");
		return;
	}
	harness_bus_restart(&world->bus);
	leat_stream_options_init(&options);
	options.retain_len = 2 << 20;
	watch_machine();
	start(&options);
	snprintf(ballast, sizeof(ballast), "%s/data/ballast", world->bus.dir);
	for (i = 0; i < n; i++) {
		fill(ballast);
		ck_assert_int_eq(unlink(ballast), 0);
		took = wait_on(0, "although there is room again");
		longest = took > longest ? took : longest;
		wait_on(1, "although there is room again");
	}
	printf("%d full disks, longest until service resumed: %llu ms\n", n,
	       (unsigned long long)(longest / ms));
	stop_publishers();
	harness_bus_kill(&world->bus);
	harness_bus_restart(&world->bus);
	read_all(true);
	harness_bus_stop(&world->bus);
}
END_TEST

START_TEST(a_limit_on_the_size_of_files_is_an_error_like_any_other)
{
	struct rlimit limit = { .rlim_cur = 64 << 10, .rlim_max = RLIM_INFINITY }, was;

	open_fault();
	watch_machine();
	start(NULL);
	wait_on(0, "at the beginning");
	must(prlimit(world->bus.pid, RLIMIT_FSIZE, &limit, &was) == 0, "prlimit: %s",
	     strerror(errno));
	must(harness_until(was_refused, NULL, 30), "nobody notices the limit");
	must(prlimit(world->bus.pid, RLIMIT_FSIZE, &was, NULL) == 0, "prlimit: %s",
	     strerror(errno));
	wait_on(0, "although the limit is gone");
	wait_on(1, "although the limit is gone");
	stop_publishers();
	harness_bus_kill(&world->bus);
	harness_bus_restart(&world->bus);
	read_all(false);
	harness_bus_stop(&world->bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_disk_faults");
	TCase *faults = tcase_create("faults"), *full = tcase_create("full"),
	      *limit = tcase_create("limit");

	tcase_set_timeout(faults, 3000);
	tcase_set_timeout(full, 3000);
	tcase_set_timeout(limit, 300);
	tcase_add_test(faults, nothing_acknowledged_is_lost_when_the_disk_fails_at_random_times);
	tcase_add_test(full,
		       a_full_disk_stops_publishers_loses_nothing_and_they_go_on_by_themselves);
	tcase_add_test(limit, a_limit_on_the_size_of_files_is_an_error_like_any_other);
	suite_add_tcase(suite, faults);
	suite_add_tcase(suite, full);
	suite_add_tcase(suite, limit);
	return harness_main(suite);
}
