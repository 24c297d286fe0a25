/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts, without a power switch. Every call on files is logged; then, for many places in the
 * log, a directory is made as the disk could look if the power had gone there:
 *
 *   - bytes that a successful fdatasync covered are there; of others each 4 KiB page may be there,
 *     or not, or be garbage, in any combination;
 *   - bytes that a failed fdatasync was to cover are gone, whatever a later one says;
 *   - names are there up to the last fsync of the directory; after it, up to any place (metadata
 *     is kept in order by every journaling file system).
 *
 * A store is opened on it. Everything that was called durable must be there, byte for byte, and no
 * position that was handed out may come again. The seed is printed; LEAT_SEED repeats a run.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/reader.h"
#include "persist/verify.h"
#include "tests/persist_log.h"

enum {
	EVENTS_MAX = 20000,
	INODES_MAX = 400,
	FDS_MAX = 256,
	PAGE = 4096,
	N_CUTS = 150,
	MARK = 100, /* an event of the test itself: what the store calls durable */
};

struct event {
	int kind;
	int result;
	int inode;
	uint64_t covers; /* syncs: events before it */
	uint64_t off;
	uint64_t len;
	char *bytes;
	char name[40];
	char to[40];
};

struct name {
	char name[40];
	int inode; /* 0: unlinked */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct event events[EVENTS_MAX];
static uint64_t n_events;
static struct name live[INODES_MAX]; /* the directory as the store sees it */
static int n_inodes;
static int fd_inode[FDS_MAX];
static uint64_t fd_covers[FDS_MAX];
static bool is_logging;
/* Count calls down to the one that fails; 0: none. */
static int fail_sync_in;
static int fail_write_in;

static char dir[64];
static char image[80];
static struct persist_log ring;
static struct store_options options;

static int *find_name(struct name *names, const char *name, bool make)
{
	int i;

	for (i = 0; i < INODES_MAX && names[i].name[0]; i++)
		if (strcmp(names[i].name, name) == 0)
			return &names[i].inode;
	ck_assert_int_lt(i, INODES_MAX);
	if (make)
		snprintf(names[i].name, sizeof(names[i].name), "%s", name);
	return make ? &names[i].inode : NULL;
}

/* Applies a directory event to a directory. */
static void apply_name(struct name *names, const struct event *event)
{
	int *from;

	if (event->kind == FILE_OPEN) {
		*find_name(names, event->name, true) = event->inode;
	} else if (event->kind == FILE_UNLINK) {
		*find_name(names, event->name, true) = 0;
	} else if (event->kind == FILE_RENAME) {
		from = find_name(names, event->name, true);
		*find_name(names, event->to, true) = *from;
		*find_name(names, event->name, true) = 0;
	}
}

static int before(void *ctx, const struct file_event *e)
{
	int r = 0;

	(void)ctx;
	pthread_mutex_lock(&mutex);
	if (is_logging && (e->kind == FILE_FDATASYNC || e->kind == FILE_FSYNC))
		fd_covers[e->fd] = n_events;
	if (is_logging && e->kind == FILE_FDATASYNC && fail_sync_in > 0 && --fail_sync_in == 0)
		r = -EIO;
	if (is_logging && e->kind == FILE_WRITE && fail_write_in > 0 && --fail_write_in == 0)
		r = -ENOSPC;
	pthread_mutex_unlock(&mutex);
	return r;
}

static struct event *push(int kind, int64_t result)
{
	struct event *event;

	ck_assert_uint_lt(n_events, EVENTS_MAX);
	event = &events[n_events++];
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->result = (int)result;
	return event;
}

static void log_event(const struct file_event *e, int64_t result)
{
	struct event *event;
	int *inode;

	switch (e->kind) {
	case FILE_OPEN:
		if (result < 0 || result >= FDS_MAX || (e->flags & O_DIRECTORY))
			break;
		inode = find_name(live, e->name, false);
		if (!(e->flags & O_CREAT) || (inode && *inode)) {
			fd_inode[result] = inode ? *inode : 0;
			if (e->flags & O_TRUNC)
				push(FILE_TRUNCATE, 0)->inode = fd_inode[result];
			break;
		}
		event = push(FILE_OPEN, result);
		fd_inode[result] = event->inode = ++n_inodes;
		snprintf(event->name, sizeof(event->name), "%s", e->name);
		apply_name(live, event);
		break;
	case FILE_WRITE:
		if (result <= 0)
			break;
		event = push(FILE_WRITE, result);
		event->inode = fd_inode[e->fd];
		event->off = e->off;
		event->len = (uint64_t)result;
		event->bytes = malloc(event->len);
		memcpy(event->bytes, e->buf, event->len);
		break;
	case FILE_FDATASYNC:
	case FILE_FSYNC:
		event = push(e->kind, result);
		event->inode = fd_inode[e->fd];
		event->covers = fd_covers[e->fd];
		break;
	case FILE_RENAME:
	case FILE_UNLINK:
		if (result < 0 || !find_name(live, e->name, false))
			break;
		event = push(e->kind, result);
		snprintf(event->name, sizeof(event->name), "%s", e->name);
		if (e->to)
			snprintf(event->to, sizeof(event->to), "%s", e->to);
		apply_name(live, event);
		break;
	default:
		break;
	}
}

static void after(void *ctx, const struct file_event *e, int64_t result)
{
	(void)ctx;
	pthread_mutex_lock(&mutex);
	if (is_logging)
		log_event(e, result);
	pthread_mutex_unlock(&mutex);
}

static const struct file_hooks hooks = { .before = before, .after = after };

/* What the store promises from here on. */
static void mark(const struct persist_log_store *s)
{
	struct event *event;

	pthread_mutex_lock(&mutex);
	event = push(MARK, 0);
	event->off = store_durable(s->store);
	event->len = store_reserved(s->store);
	pthread_mutex_unlock(&mutex);
}

static uint64_t span_at(uint64_t pos)
{
	uint64_t word;

	memcpy(&word, ring.bytes + (pos - ring.base), 8);
	return record_span(record_word_len(word));
}

/* Publishes the ring: writes of random length, rolls, syncs, and a sync that fails now and then. */
static void work(struct persist_log_store *s)
{
	uint64_t pos = store_next(s->store), len;
	bool is_sync;
	int r;

	while (pos < persist_log_end(&ring)) {
		uint64_t run = (uint64_t)(rand() % 6000);

		for (len = span_at(pos); len < run && pos + len < persist_log_end(&ring);)
			len += span_at(pos + len);
		r = store_write(s->store, pos, ring.bytes + (pos - ring.base), len, 1);
		if (r == STORE_E_ROLL)
			r = store_roll(s->store);
		if (rand() % 8 == 0)
			(void)store_sync(s->store);
		if (rand() % 16 == 0)
			store_tick(s->store);
		if (rand() % 30 == 0 && fail_sync_in == 0)
			fail_sync_in = 1 + rand() % 5;
		if (rand() % 30 == 0 && fail_write_in == 0)
			fail_write_in = 1 + rand() % 5;
		store_reserve(s->store, store_next(s->store) + options.ahead_len / 2);
		if (rand() % 4 == 0 || r == STORE_E_WAIT)
			io_wait(s->io, 20);
		while (store_error(s->store, &is_sync) < 0) {
			if (is_sync)
				(void)store_restart(s->store, store_durable(s->store));
			else
				(void)store_retry(s->store);
			io_wait(s->io, 20);
			store_tick(s->store);
		}
		mark(s);
		pos = store_next(s->store);
	}
	fail_sync_in = fail_write_in = 0;
}

/* Where a write that nothing has made durable before the cut has gone. */
enum fate {
	FATE_DURABLE,
	FATE_OPEN,
	FATE_LOST
};

static enum fate fate_of(uint64_t i, uint64_t cut)
{
	uint64_t k;

	for (k = i + 1; k < cut; k++)
		if (events[k].kind == FILE_FDATASYNC && events[k].inode == events[i].inode &&
		    events[k].covers > i)
			return events[k].result == 0 ? FATE_DURABLE : FATE_LOST;
	return FATE_OPEN;
}

static void put_write(int fd, const struct event *event, enum fate fate)
{
	static const char garbage[PAGE] = "neither what was there nor what was to be";
	uint64_t at, len;

	if (fate == FATE_LOST)
		return;
	for (at = 0; at < event->len; at += len) {
		len = min_u64(PAGE - (event->off + at) % PAGE, event->len - at);
		if (fate == FATE_OPEN && rand() % 8 == 0)
			ck_assert_int_eq(file_write(fd, garbage, len, event->off + at), 0);
		else if (fate == FATE_DURABLE || rand() % 3 != 0)
			ck_assert_int_eq(file_write(fd, event->bytes + at, len, event->off + at),
					 0);
	}
}

static void put_file(int dir_fd, const struct name *name, uint64_t cut)
{
	int fd = openat(dir_fd, name->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint64_t i;

	ck_assert_int_ge(fd, 0);
	for (i = 0; i < cut; i++) {
		if (events[i].inode != name->inode)
			continue;
		if (events[i].kind == FILE_WRITE)
			put_write(fd, &events[i], fate_of(i, cut));
		else if (events[i].kind == FILE_TRUNCATE)
			ck_assert_int_eq(ftruncate(fd, 0), 0);
	}
	close(fd);
}

/* Makes the disk as it can look when the power goes before event `cut`. */
static void make_image(uint64_t cut)
{
	static struct name names[INODES_MAX];
	uint64_t i, n_names = 0, upto;
	int dir_fd;

	for (i = 0; i < cut; i++)
		if (events[i].kind == FILE_FSYNC && events[i].result == 0)
			n_names = max_u64(n_names, events[i].covers);
	upto = n_names + (uint64_t)rand() % (cut - n_names + 1);
	memset(names, 0, sizeof(names));
	for (i = 0; i < upto; i++)
		apply_name(names, &events[i]);
	persist_log_remove_dir(image);
	ck_assert_int_eq(mkdir(image, 0700), 0);
	dir_fd = open(image, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < INODES_MAX && names[i].name[0]; i++)
		if (names[i].inode)
			put_file(dir_fd, &names[i], cut);
	close(dir_fd);
}

static void check_image(uint64_t cut)
{
	uint64_t i, durable = ring.base, reserved = 0;
	struct persist_log_store s;
	struct verify_stats stats;

	for (i = 0; i < cut; i++) {
		if (events[i].kind == MARK) {
			durable = events[i].off;
			reserved = events[i].len;
		}
	}
	options.path = image;
	persist_log_open(&s, &options, IO_F_THREADS);
	ck_assert_uint_ge(s.recovered.end, durable);
	if (reserved > 0) {
		ck_assert(!s.recovered.checkpoint_lost);
		ck_assert_uint_ge(s.recovered.reserved_until, reserved);
	}
	for (i = 0; i < s.recovered.n_ranges; i++)
		ck_assert_uint_ge(s.recovered.ranges[i].from, durable);
	persist_log_compare(&s, &ring, ring.base, durable);
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	persist_log_compare(&s, &ring, ring.base, durable);
	persist_log_close(&s);
	ck_assert_int_eq(verify_dir(image, NULL, NULL, &stats), 0);
}

static void run(unsigned int io_flags, unsigned int seed)
{
	struct persist_log_store s;
	uint64_t n, cut;
	int i;

	printf("seed %u\n", seed);
	fflush(stdout);
	srand(seed);
	persist_log_make_dir(dir);
	snprintf(image, sizeof(image), "%.60s.image", dir);
	persist_log_options(&options, dir, true);
	options.ahead_len = 64 * KIB;
	options.zero_len = 16 * KIB;
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_fill(&ring, 4000, 1);
	file_set_hooks(&hooks);
	is_logging = true;
	persist_log_open(&s, &options, io_flags);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	mark(&s);
	work(&s);
	is_logging = false;
	n = n_events;
	persist_log_close(&s);
	file_set_hooks(NULL);
	for (i = 0; i < N_CUTS; i++) {
		cut = (uint64_t)rand() % (n + 1);
		make_image(cut);
		check_image(cut);
	}
	persist_log_remove_dir(image);
	persist_log_remove_dir(dir);
	persist_log_deinit(&ring);
}

START_TEST(what_was_called_durable_survives_a_power_cut_anywhere)
{
	const char *seed = getenv("LEAT_SEED");

	run(_i % 2 ? IO_F_THREADS : 0,
	    seed ? (unsigned int)strtoul(seed, NULL, 10)
		 : (unsigned int)clock_now_ns(CLOCK_REALTIME) + (unsigned int)_i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("power");
	TCase *tc = tcase_create("power");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, what_was_called_durable_survives_a_power_cut_anywhere, 0, 4);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
