/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage, end to end: files of a stream that the daemon keeps are flipped, zeroed, cut, exchanged,
 * put back, taken away and replaced by what is no file, while it is down and while it runs with a
 * subscriber in the middle of them. Each time: whatever is not damaged comes, in order, once,
 * intact; the rest is a gap that says damage; subscriber, daemon and commands come to an end;
 * publishing goes on; and all of it once more after the next start.
 */
/* TEST_TIMEOUT=900 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "persist/format.h"
#include "tests/damage_bed.h"

enum {
	SECTOR = 512,
	MIDDLE = 2, /* the segment that is damaged, of five at least */
};

static struct damage_bed bed;

/* ---- tools ---- */

static int open_segment(size_t i)
{
	char path[256];
	int fd;

	damage_bed_path(&bed, 0, i, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void flip(size_t segment, off_t off)
{
	int fd = open_segment(segment);
	char byte;

	must(pread(fd, &byte, 1, off) == 1, "nothing at %lld", (long long)off);
	byte ^= 4;
	must(pwrite(fd, &byte, 1, off) == 1, "pwrite: %s", strerror(errno));
	close(fd);
}

static void fill(size_t segment, off_t off, size_t len, int byte)
{
	int fd = open_segment(segment);
	char *bytes = malloc(len);

	must(bytes, "no memory");
	memset(bytes, byte, len);
	must(pwrite(fd, bytes, len, off) == (ssize_t)len, "pwrite: %s", strerror(errno));
	free(bytes);
	close(fd);
}

static void resize(size_t segment, off_t len)
{
	int fd = open_segment(segment);

	must(ftruncate(fd, len) == 0, "ftruncate: %s", strerror(errno));
	close(fd);
}

/* Sector b gets what is in sector a, and with `swap` the other way round. */
static void move_sector(size_t segment, unsigned a, unsigned b, bool swap)
{
	char x[SECTOR], y[SECTOR];
	int fd = open_segment(segment);

	must(pread(fd, x, SECTOR, (off_t)a * SECTOR) == SECTOR, "a sector is missing");
	must(pread(fd, y, SECTOR, (off_t)b * SECTOR) == SECTOR, "a sector is missing");
	must(pwrite(fd, x, SECTOR, (off_t)b * SECTOR) == SECTOR, "pwrite");
	must(!swap || pwrite(fd, y, SECTOR, (off_t)a * SECTOR) == SECTOR, "pwrite");
	close(fd);
}

/* The file of that name has those bytes; whoever has it open sees them, or the old file. */
static void put(const char *from, const char *to, bool in_place)
{
	struct harness_output output;

	if (!in_place)
		must(unlink(to) == 0, "unlink: %s", strerror(errno));
	harness_run(NULL, NULL, &output, (const char *const[]){ "cp", from, to, NULL });
	must(output.status == 0, "cp: %s", output.err);
	harness_output_deinit(&output);
}

static void rename_segment(size_t i, const char *name)
{
	char path[256], to[300];

	damage_bed_path(&bed, 0, i, path);
	damage_bed_dir(&bed, 0, to);
	strncat(to, name, sizeof(to) - strlen(to) - 1);
	must(rename(path, to) == 0, "rename: %s", strerror(errno));
}

/* Takes a segment away, and gives its path. */
static void remove_segment(size_t i, char path[256])
{
	damage_bed_path(&bed, 0, i, path);
	must(unlink(path) == 0, "unlink: %s", strerror(errno));
}

static size_t last(void)
{
	return bed.n_segments[0] - 1;
}

/* Where the first record that begins behind `off` lies in the middle segment. */
static off_t record_off(uint64_t off)
{
	uint64_t base = bed.bases[0][MIDDLE];

	for (size_t i = 0; i < bed.n_entries[0]; i++)
		if (bed.entries[0][i].pos > base + off)
			return (off_t)(bed.entries[0][i].pos - base + FORMAT_SEGMENT_LEN);
	must(false, "no record there");
	return 0;
}

/* ---- kinds of damage ---- */

static void flip_magic(void)
{
	flip(MIDDLE, 3);
}

static void flip_version(void)
{
	flip(MIDDLE, 12);
}

static void flip_prev_end(void)
{
	flip(MIDDLE, 75);
}

static void flip_created(void)
{
	flip(MIDDLE, 86);
}

static void flip_header_crc(void)
{
	flip(MIDDLE, 93);
}

static void flip_ready(void)
{
	flip(MIDDLE, 4090);
}

static void flip_last_header(void)
{
	flip(last(), 60);
}

static void flip_all_headers(void)
{
	for (size_t i = 0; i < bed.n_segments[0]; i++)
		flip(i, 200 + (off_t)i);
}

static void flip_word(void)
{
	flip(MIDDLE, record_off(20000) + 4);
}

static void flip_length(void)
{
	flip(MIDDLE, record_off(20000));
}

static void flip_crc(void)
{
	flip(MIDDLE, record_off(20000) + 17);
}

static void flip_payload(void)
{
	flip(MIDDLE, record_off(20000) + 40);
}

static void flip_a_batch(void)
{
	uint64_t base = bed.bases[0][MIDDLE];
	const struct damage_entry *entry = bed.entries[0];

	while (entry->pos < base || entry->from == entry->pos || entry[1].from != entry->from)
		entry++;
	flip(MIDDLE, (off_t)(entry[1].pos - base + FORMAT_SEGMENT_LEN + 9));
}

static void flip_first_and_last(void)
{
	for (size_t i = 0; i < last(); i++)
		flip(i, FORMAT_SEGMENT_LEN + 3);
	flip(MIDDLE, (off_t)(bed.bases[0][MIDDLE + 1] - bed.bases[0][MIDDLE]) + 4096 - 32);
}

static void flip_the_tail(void)
{
	flip(last(), FORMAT_SEGMENT_LEN + 40);
}

static void zero_sector(void)
{
	fill(MIDDLE, 60 * SECTOR, SECTOR, 0);
}

static void zero_header(void)
{
	fill(MIDDLE, 0, FORMAT_SEGMENT_LEN, 0);
}

static void zero_half(void)
{
	fill(MIDDLE, 40000, 30000, 0);
}

static void zero_all(void)
{
	fill(MIDDLE, 0, 70000, 0);
}

static void garble(void)
{
	fill(MIDDLE, 30000, 5000, 0xa5);
}

static void swap_sectors(void)
{
	move_sector(MIDDLE, 30, 90, true);
}

static void swap_with_header(void)
{
	move_sector(MIDDLE, 0, 90, true);
}

static void double_sector(void)
{
	move_sector(MIDDLE, 31, 33, false);
}

static void cut_in_half(void)
{
	resize(MIDDLE, 40001);
}

static void cut_to_header(void)
{
	resize(MIDDLE, FORMAT_SEGMENT_LEN);
}

static void cut_into_header(void)
{
	resize(MIDDLE, 100);
}

static void cut_to_nothing(void)
{
	resize(MIDDLE, 0);
}

static void cut_last(void)
{
	resize(last(), FORMAT_SEGMENT_LEN + 700);
}

static void cut_last_to_nothing(void)
{
	resize(last(), 0);
}

static void lengthen(void)
{
	resize(MIDDLE, 1 << 30);
}

static void append_garbage(void)
{
	struct stat st;
	char path[256];

	damage_bed_path(&bed, 0, MIDDLE, path);
	must(stat(path, &st) == 0, "stat: %s", strerror(errno));
	fill(MIDDLE, st.st_size, 10000, 0x5a);
}

static void take_from_other_shard(void)
{
	char from[256], to[256];

	damage_bed_good_path(&bed, 1, MIDDLE, from);
	damage_bed_path(&bed, 0, MIDDLE, to);
	put(from, to, true);
	damage_bed_good_path(&bed, 0, MIDDLE, from);
	damage_bed_path(&bed, 1, MIDDLE, to);
	put(from, to, true);
}

static void take_from_other_stream(void)
{
	char from[256], to[256];

	damage_bed_other_path(&bed, from);
	damage_bed_path(&bed, 0, MIDDLE, to);
	put(from, to, false);
}

static void exchange(void)
{
	char from[256], to[256];

	damage_bed_good_path(&bed, 0, MIDDLE + 1, from);
	damage_bed_path(&bed, 0, MIDDLE, to);
	put(from, to, true);
	damage_bed_good_path(&bed, 0, MIDDLE, from);
	damage_bed_path(&bed, 0, MIDDLE + 1, to);
	put(from, to, false);
}

static void put_old_one(void)
{
	char from[256], to[256];
	size_t i;

	damage_bed_old_path(&bed, from);
	for (i = 0; bed.bases[0][i] != bed.old_base; i++)
		must(i < last(), "the old one is of no segment");
	damage_bed_path(&bed, 0, i, to);
	put(from, to, true);
}

/* One that was void, under a name that nothing has any more: in the middle of another. */
static void put_void_one(void)
{
	uint64_t base = bed.bases[0][MIDDLE] + 32768;
	char from[256], to[300], name[FORMAT_NAME_LEN];
	struct harness_output output;

	damage_bed_good_path(&bed, 0, MIDDLE + 1, from);
	damage_bed_dir(&bed, 0, to);
	format_segment_name(base, name);
	strncat(to, name, sizeof(to) - strlen(to) - 1);
	harness_run(NULL, NULL, &output, (const char *const[]){ "cp", from, to, NULL });
	must(output.status == 0, "cp: %s", output.err);
	harness_output_deinit(&output);
	/* A position is in one segment only: the name says in which. */
	bed.hidden_from = base;
	bed.hidden_to = bed.bases[0][MIDDLE + 1];
}

static void remove_middle(void)
{
	char path[256];

	remove_segment(MIDDLE, path);
}

static void remove_two(void)
{
	char path[256];

	remove_segment(MIDDLE, path);
	remove_segment(MIDDLE + 1, path);
}

static void rename_away(void)
{
	rename_segment(MIDDLE, "aside");
}

static void rename_to_a_base(void)
{
	char name[FORMAT_NAME_LEN];

	format_segment_name(bed.bases[0][MIDDLE] + 64, name);
	rename_segment(MIDDLE, name);
}

static void link_to_it(void)
{
	char path[256], good[256];

	remove_segment(MIDDLE, path);
	damage_bed_good_path(&bed, 0, MIDDLE, good);
	must(symlink(good, path) == 0, "symlink: %s", strerror(errno));
}

static void fifo_there(void)
{
	char path[256];

	remove_segment(MIDDLE, path);
	must(mkfifo(path, 0600) == 0, "mkfifo: %s", strerror(errno));
}

static void directory_there(void)
{
	char path[256];

	remove_segment(MIDDLE, path);
	must(mkdir(path, 0700) == 0, "mkdir: %s", strerror(errno));
}

static void fifo_at_the_end(void)
{
	char path[256];

	remove_segment(last(), path);
	must(mkfifo(path, 0600) == 0, "mkfifo: %s", strerror(errno));
}

static void directory_at_the_end(void)
{
	char path[256];

	remove_segment(last(), path);
	must(mkdir(path, 0700) == 0, "mkdir: %s", strerror(errno));
}

static void no_side_files(void)
{
	struct harness_output output;
	char path[256];

	damage_bed_dir(&bed, 0, path);
	harness_run(NULL, NULL, &output,
		    (const char *const[]){ "find", path, "-not", "-name", "*.seg", "-type", "f",
					   "-delete", NULL });
	must(output.status == 0, "find: %s", output.err);
	harness_output_deinit(&output);
}

static void garbage_for_side_files(void)
{
	struct harness_output output;
	char path[256];

	damage_bed_dir(&bed, 0, path);
	harness_run(NULL, NULL, &output,
		    (const char *const[]){ "find", path, "-not", "-name", "*.seg", "-type", "f",
					   "-exec", "cp", "/proc/self/status", "{}", ";", NULL });
	must(output.status == 0, "find: %s", output.err);
	harness_output_deinit(&output);
}

static const struct kind {
	const char *name;
	void (*damage)(void);
	int must_find; /* verify: 1 it has to, 0 nothing is damaged, -1 either */
} kinds[] = {
	{ "a header's magic", flip_magic, 1 },
	{ "a header's version", flip_version, 1 },
	{ "a header's prev_end", flip_prev_end, 1 },
	{ "a header's time", flip_created, 1 },
	{ "a header's crc", flip_header_crc, 1 },
	{ "a header's end", flip_ready, 1 },
	{ "the last header", flip_last_header, 1 },
	{ "all headers", flip_all_headers, 1 },
	{ "a commit word", flip_word, 1 },
	{ "a record's length", flip_length, 1 },
	{ "a record's crc", flip_crc, 1 },
	{ "a value", flip_payload, 1 },
	{ "a record of a batch", flip_a_batch, 1 },
	{ "the first records, and a last one", flip_first_and_last, 1 },
	{ "the last segment's first record", flip_the_tail, 1 },
	{ "a sector of zeros", zero_sector, 1 },
	{ "a header of zeros", zero_header, 1 },
	{ "many zeros", zero_half, 1 },
	{ "zeros alone", zero_all, 1 },
	{ "garbage", garble, 1 },
	{ "two sectors exchanged", swap_sectors, 1 },
	{ "a sector and the header exchanged", swap_with_header, 1 },
	{ "a sector twice", double_sector, 1 },
	{ "half a file", cut_in_half, 1 },
	{ "a header alone", cut_to_header, 1 },
	{ "half a header", cut_into_header, 1 },
	{ "an empty file", cut_to_nothing, 1 },
	{ "half of the last file", cut_last, 1 },
	{ "a last file that is empty", cut_last_to_nothing, 1 },
	{ "a file that is too long", lengthen, 0 },
	{ "garbage behind the end", append_garbage, 0 },
	{ "files of two shards exchanged", take_from_other_shard, 1 },
	{ "a file of another stream", take_from_other_stream, 1 },
	{ "two files exchanged", exchange, 1 },
	{ "an old file put back", put_old_one, -1 }, /* it may have been whole then */
	{ "a file that is of no use any more put back", put_void_one, 1 },
	{ "a file that is missing", remove_middle, 1 },
	{ "two files that are missing", remove_two, 1 },
	{ "a file renamed", rename_away, 1 },
	{ "a file with another's place for a name", rename_to_a_base, 1 },
	{ "a symbolic link", link_to_it, 1 },
	{ "a FIFO", fifo_there, 1 },
	{ "a directory", directory_there, 1 },
	{ "a FIFO for the last", fifo_at_the_end, 1 },
	{ "a directory for the last", directory_at_the_end, 1 },
	{ "no side files", no_side_files, -1 },
	{ "side files of garbage", garbage_for_side_files, -1 },
};

/* ---- what follows ---- */

static void make(void)
{
	memset(&bed, 0, sizeof(bed));
	damage_bed_make(&bed, HARNESS_TESTPOINTS);
}

static void all_is_as_it_must_be(const struct kind *kind, const char *when)
{
	damage_bed_look(&bed);
	damage_bed_read_all(&bed, when);
	damage_bed_seek(&bed);
	damage_bed_run_commands(&bed, kind->must_find);
}

START_TEST(what_is_damaged_while_the_daemon_is_down_is_a_gap_and_no_more)
{
	const struct kind *kind = &kinds[_i];

	printf("down: %s\n", kind->name);
	damage_bed_put_back(&bed);
	kind->damage();
	harness_bus_restart(&bed.bus);
	damage_bed_publish(&bed);
	all_is_as_it_must_be(kind, "after the damage");
	harness_bus_stop(&bed.bus);
	harness_bus_restart(&bed.bus);
	all_is_as_it_must_be(kind, "after the next start");
	harness_bus_stop(&bed.bus);
}
END_TEST

/* One subscriber is in the middle of the segment by then, and gets on. */
START_TEST(what_is_damaged_under_a_subscriber_is_a_gap_and_no_more)
{
	const struct kind *kind = &kinds[_i];
	struct leat_subscriber *subscriber;
	static struct damage_view view;
	struct leat_bus *bus;

	printf("running: %s\n", kind->name);
	damage_bed_put_back(&bed);
	account_clear(bed.fresh);
	harness_bus_restart(&bed.bus);
	bus = harness_connect(&bed.bus);
	subscriber = harness_subscriber(bus, DAMAGE_STREAM);
	damage_view_init(&view, &bed);
	damage_view_read(&view, &bed, subscriber, bed.n_entries[0] / 3);
	kind->damage();
	damage_bed_publish(&bed);
	damage_bed_look(&bed);
	damage_view_read(&view, &bed, subscriber, UINT64_MAX);
	damage_view_check(&view, &bed, "who was there before");
	damage_view_deinit(&view);
	leat_subscriber_close(subscriber);
	leat_close(bus);
	all_is_as_it_must_be(kind, "who came after");
	harness_bus_kill(&bed.bus);
	harness_bus_restart(&bed.bus);
	all_is_as_it_must_be(kind, "after a kill");
	harness_bus_stop(&bed.bus);
}
END_TEST

/* ---- what cannot be opened ---- */

/* Not root, so that a mode counts. */
static void make_as_user(void)
{
	memset(&bed, 0, sizeof(bed));
	damage_bed_make(&bed, HARNESS_TESTPOINTS | (geteuid() == 0 ? HARNESS_USER : 0));
}

static void checkpoint_path(char path[300])
{
	damage_bed_dir(&bed, 0, path);
	strncat(path, FORMAT_CHECKPOINT_NAME, 300 - strlen(path) - 1);
}

static void set_aside(const char *path)
{
	char aside[320];

	snprintf(aside, sizeof(aside), "%s.aside", path);
	must(rename(path, aside) == 0, "rename %s: %s", path, strerror(errno));
}

static void put_again(const char *path)
{
	char aside[320];

	snprintf(aside, sizeof(aside), "%s.aside", path);
	must(remove(path) == 0, "remove %s: %s", path, strerror(errno));
	must(rename(aside, path) == 0, "rename %s: %s", path, strerror(errno));
}

/* The checkpoint, or it is out of the way of what is to be in its place. */
static bool is_put_back(bool back, char ret_path[300])
{
	checkpoint_path(ret_path);
	if (back)
		put_again(ret_path);
	else
		set_aside(ret_path);
	return back;
}

static void checkpoint_is_fifo(bool back)
{
	char path[300];

	if (is_put_back(back, path))
		return;
	must(mkfifo(path, 0666) == 0 && chmod(path, 0666) == 0, "mkfifo: %s", strerror(errno));
}

static void checkpoint_is_directory(bool back)
{
	char path[300];

	if (is_put_back(back, path))
		return;
	must(mkdir(path, 0777) == 0, "mkdir: %s", strerror(errno));
}

static void checkpoint_is_link(bool back)
{
	char path[300];

	if (is_put_back(back, path))
		return;
	must(symlink("checkpoint.aside", path) == 0, "symlink: %s", strerror(errno));
}

static void directory_is_closed(bool back)
{
	char path[256];

	damage_bed_dir(&bed, 0, path);
	must(chmod(path, back ? 0700 : 0) == 0, "chmod: %s", strerror(errno));
}

static void last_is_closed(bool back)
{
	char path[256];

	damage_bed_path(&bed, 0, last(), path);
	must(chmod(path, back ? 0600 : 0) == 0, "chmod: %s", strerror(errno));
}

static const struct refusal {
	const char *name;
	void (*change)(bool back);
} refusals[] = {
	{ "a FIFO for a checkpoint", checkpoint_is_fifo },
	{ "a directory for a checkpoint", checkpoint_is_directory },
	{ "a link for a checkpoint", checkpoint_is_link },
	{ "a directory that may not be read", directory_is_closed },
	{ "a segment that may not be read", last_is_closed },
};

static int open_shard(struct leat_bus *bus, int32_t shard, struct leat_subscriber **ret_subscriber)
{
	struct leat_subscriber_options options;

	leat_subscriber_options_init(&options);
	options.shard = shard;
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	return leat_subscriber_open(bus, DAMAGE_STREAM, &options, ret_subscriber);
}

START_TEST(what_keeps_a_shard_shut_is_said_and_costs_nothing)
{
	struct leat_subscriber *subscriber;
	struct leat_message message;
	struct leat_bus *bus;
	uint64_t n = 0;
	int r;

	printf("shut: %s\n", refusals[_i].name);
	damage_bed_put_back(&bed);
	account_clear(bed.fresh);
	refusals[_i].change(false);
	harness_bus_restart(&bed.bus);
	bus = harness_connect(&bed.bus);
	r = open_shard(bus, 0, &subscriber);
	must(r < 0 && strlen(leat_detail(bus)) > 20, "opening gives %d, %s", r, leat_detail(bus));
	r = open_shard(bus, 1, &subscriber);
	must(r == 0, "the other shard: %s", leat_detail(bus));
	while (leat_next(subscriber, 60 * NS_PER_S, &message) == 1)
		n += message.kind == LEAT_RECORD;
	must(n == bed.n_entries[1], "%llu records of the other shard", (unsigned long long)n);
	leat_subscriber_close(subscriber);
	leat_close(bus);
	harness_bus_stop(&bed.bus);
	refusals[_i].change(true);
	harness_bus_restart(&bed.bus);
	damage_bed_publish(&bed);
	damage_bed_look(&bed);
	damage_bed_read_all(&bed, "when it may be read again");
	harness_bus_stop(&bed.bus);
}
END_TEST

/* LEAT_KIND: for a negative control, which tries one kind and is not to wait for long. */
static void add(Suite *suite, const char *name, void (*fixture)(void), const TTest *test, int n)
{
	const char *given = getenv("LEAT_KIND");
	TCase *tc = tcase_create(name);
	int first = 0;

	tcase_set_timeout(tc, given && *given ? 30 : 300);
	tcase_add_unchecked_fixture(tc, fixture, NULL);
	while (given && *given && first < n - 1 && strcmp(kinds[first].name, given) != 0)
		first++;
	tcase_add_loop_test(tc, test, first, given && *given ? first + 1 : n);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("damage");

	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	add(suite, "shut", make_as_user, what_keeps_a_shard_shut_is_said_and_costs_nothing,
	    (int)ARRAY_LEN(refusals));
	add(suite, "down", make, what_is_damaged_while_the_daemon_is_down_is_a_gap_and_no_more,
	    (int)ARRAY_LEN(kinds));
	add(suite, "running", make, what_is_damaged_under_a_subscriber_is_a_gap_and_no_more,
	    (int)ARRAY_LEN(kinds));
	return harness_main(suite);
}
