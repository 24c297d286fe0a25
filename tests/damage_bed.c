/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/damage_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "persist/format.h"

enum {
	RING_LEN = 64 << 10,
	SEGMENT_LEN = 80 << 10,
	ROUNDS = 180, /* of records, to each shard */
	VALUE_MAX = 6000,
	BATCH = 3,
	RECORD_HEADER = 32,
};

#define READ_NS (60 * NS_PER_S)

/* ---- paths ---- */

static void path_of(const struct damage_bed *bed, const char *top, const char *stream,
		    uint32_t shard, uint64_t base, char path[256])
{
	char name[FORMAT_NAME_LEN] = "";

	if (base)
		format_segment_name(base, name);
	snprintf(path, 256, "%s/%s/streams/%s/%u/%s", bed->bus.dir, top, stream, shard, name);
}

void damage_bed_dir(const struct damage_bed *bed, uint32_t shard, char ret_path[256])
{
	path_of(bed, "data", DAMAGE_STREAM, shard, 0, ret_path);
}

void damage_bed_path(const struct damage_bed *bed, uint32_t shard, size_t i, char ret_path[256])
{
	path_of(bed, "data", DAMAGE_STREAM, shard, bed->bases[shard][i], ret_path);
}

void damage_bed_good_path(const struct damage_bed *bed, uint32_t shard, size_t i,
			  char ret_path[256])
{
	path_of(bed, "good", DAMAGE_STREAM, shard, bed->bases[shard][i], ret_path);
}

void damage_bed_old_path(const struct damage_bed *bed, char ret_path[256])
{
	path_of(bed, "old", DAMAGE_STREAM, 0, bed->old_base, ret_path);
}

void damage_bed_other_path(const struct damage_bed *bed, char ret_path[256])
{
	path_of(bed, "good", DAMAGE_OTHER, 0, bed->other_base, ret_path);
}

static void run(const char *a, const char *b, const char *c, const char *d)
{
	struct harness_output output;

	harness_run(NULL, NULL, &output, (const char *const[]){ a, b, c, d, NULL });
	must(output.status == 0, "%s %s %s: %s", a, b, c, output.err);
	harness_output_deinit(&output);
}

static void copy_data(const struct damage_bed *bed, const char *from, const char *to)
{
	char source[128], target[128];

	snprintf(source, sizeof(source), "%s/%s", bed->bus.dir, from);
	snprintf(target, sizeof(target), "%s/%s", bed->bus.dir, to);
	run("rm", "-rf", target, NULL);
	run("cp", "-a", source, target);
}

void damage_bed_put_back(struct damage_bed *bed)
{
	copy_data(bed, "good", "data");
	bed->hidden_from = bed->hidden_to = 0;
}

/* ---- the data ---- */

static void publish_one(struct account *account, struct leat_publisher *publisher, unsigned writer,
			uint32_t shard, uint64_t *seed, struct leat_result *result)
{
	static char value[VALUE_MAX];
	struct leat_record record = { .key = "key", .key_len = 3, .value = value };
	uint64_t number;
	int r;

	record.shard = (int32_t)shard;
	record.value_len = harness_random(seed) % VALUE_MAX;
	account_fill(value, record.value_len, harness_random(seed));
	number = account_try(account, writer, &record, 1);
	r = leat_publish(publisher, &record, result);
	must(r == 0, "publishing: %s", leat_publisher_detail(publisher));
	account_told(account, writer, number, result, LEAT_ACK_RING);
}

static void publish_batch(struct damage_bed *bed, struct leat_publisher *publisher, uint32_t shard,
			  uint64_t *seed, struct leat_result results[BATCH])
{
	static char values[BATCH][VALUE_MAX];
	struct leat_record records[BATCH];
	uint64_t numbers[BATCH];
	int i, r;

	memset(records, 0, sizeof(records));
	for (i = 0; i < BATCH; i++) {
		records[i].shard = (int32_t)shard;
		records[i].value = values[i];
		records[i].value_len = harness_random(seed) % 500;
		account_fill(values[i], records[i].value_len, harness_random(seed));
		/* One by one: whether all of it has to come is this test's to say. */
		numbers[i] = account_try(bed->account, 0, &records[i], 1);
	}
	r = leat_publish_batch(publisher, records, BATCH, results);
	must(r == 0, "publishing: %s", leat_publisher_detail(publisher));
	for (i = 0; i < BATCH; i++)
		account_told(bed->account, 0, numbers[i], &results[i], LEAT_ACK_RING);
}

/* `from` is where its batch begins; its end, and that of the batch, are known when it is read. */
static void add_entry(struct damage_bed *bed, uint32_t shard, uint64_t pos, uint64_t from)
{
	size_t i = bed->n_entries[shard]++;

	must(i < DAMAGE_ENTRIES_MAX, "more records than this test was made for");
	bed->entries[shard][i] = (struct damage_entry){ .pos = pos, .from = from };
}

static void publish_round(struct damage_bed *bed, struct leat_publisher *publisher, uint64_t *seed)
{
	struct leat_result results[BATCH];
	uint32_t shard;
	int i;

	for (shard = 0; shard < DAMAGE_SHARDS; shard++) {
		publish_one(bed->account, publisher, 0, shard, seed, results);
		add_entry(bed, shard, results[0].pos, results[0].pos);
		if (harness_random(seed) % 3)
			continue;
		publish_batch(bed, publisher, shard, seed, results);
		for (i = 0; i < BATCH; i++)
			add_entry(bed, shard, results[i].pos, results[0].pos - RECORD_HEADER);
	}
}

static void flush(struct account *account, struct leat_publisher *publisher, unsigned writer)
{
	int r = leat_flush(publisher, LEAT_ACK_DURABLE, READ_NS);

	must(r == 0, "flushing: %s", leat_publisher_detail(publisher));
	account_flushed(account, writer, 0, LEAT_ACK_DURABLE);
}

/* Ends and times of the records, as a subscriber is told them while all is well. */
static void note_ends(struct damage_bed *bed, struct leat_bus *bus)
{
	struct leat_subscriber *subscriber = harness_subscriber(bus, DAMAGE_STREAM);
	size_t next[DAMAGE_SHARDS] = { 0 };
	struct leat_message message;

	while (next[0] < bed->n_entries[0] || next[1] < bed->n_entries[1]) {
		struct damage_entry *entry;

		must(leat_next(subscriber, READ_NS, &message) == 1 && message.kind == LEAT_RECORD,
		     "reading while all is well: %s", leat_subscriber_detail(subscriber));
		entry = &bed->entries[message.shard][next[message.shard]++];
		must(entry->pos == message.pos, "a record in the wrong place");
		entry->to = message.next_pos;
		entry->timestamp_ns = message.timestamp_ns;
		/* No two that are not of one batch begin at the same place. */
		for (size_t i = next[message.shard] - 1; i-- > 0;) {
			struct damage_entry *before = &bed->entries[message.shard][i];

			if (before->from != entry->from)
				break;
			before->to = entry->to;
		}
	}
	leat_subscriber_close(subscriber);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static size_t list_segments(const struct damage_bed *bed, const char *stream, uint32_t shard,
			    uint64_t *bases)
{
	struct harness_output output;
	char path[256], *line, *rest = NULL;
	size_t n = 0;

	path_of(bed, "data", stream, shard, 0, path);
	harness_run(NULL, NULL, &output, (const char *const[]){ "ls", path, NULL });
	for (line = strtok_r(output.out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (format_segment_base(line, &bases[n]))
			must(++n < DAMAGE_SEGMENTS_MAX, "more segments than expected");
	harness_output_deinit(&output);
	qsort(bases, n, sizeof(*bases), compare);
	return n;
}

static void publish_other(struct damage_bed *bed, struct leat_bus *bus)
{
	struct leat_publisher *publisher = harness_publisher(bus, DAMAGE_OTHER);
	uint64_t bases[DAMAGE_SEGMENTS_MAX];
	static char value[VALUE_MAX];
	struct leat_record record = { .value = value, .value_len = sizeof(value) };

	/* No writer has that number: who is given this complains. */
	memset(value, 0xff, sizeof(value));
	for (int i = 0; i < 40; i++)
		must(leat_publish(publisher, &record, NULL) == 0, "publishing to the other");
	must(leat_flush(publisher, LEAT_ACK_DURABLE, READ_NS) == 0, "flushing the other");
	leat_publisher_close(publisher);
	must(list_segments(bed, DAMAGE_OTHER, 0, bases) > 1, "the other stream has one segment");
	bed->other_base = bases[0];
}

void damage_bed_make(struct damage_bed *bed, unsigned flags)
{
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	uint64_t bases[DAMAGE_SEGMENTS_MAX], seed = harness_seed();
	struct leat_bus *bus;

	harness_bus_start(&bed->bus, flags);
	bed->account = account_new(NULL, 1, DAMAGE_SHARDS * DAMAGE_ENTRIES_MAX);
	bed->fresh = account_new(NULL, 2, DAMAGE_SHARDS * DAMAGE_FRESH);
	bus = harness_connect(&bed->bus);
	leat_stream_options_init(&options);
	options.segment_len = SEGMENT_LEN;
	harness_stream(bus, DAMAGE_STREAM, DAMAGE_SHARDS, RING_LEN, &options);
	harness_stream(bus, DAMAGE_OTHER, 1, RING_LEN, &options);
	publisher = harness_publisher(bus, DAMAGE_STREAM);
	for (int i = 0; i < ROUNDS; i++) {
		publish_round(bed, publisher, &seed);
		if (i != ROUNDS / 2)
			continue;
		flush(bed->account, publisher, 0);
		bed->old_base = bases[list_segments(bed, DAMAGE_STREAM, 0, bases) - 1];
		copy_data(bed, "data", "old");
	}
	flush(bed->account, publisher, 0);
	publish_other(bed, bus);
	note_ends(bed, bus);
	leat_publisher_close(publisher);
	leat_close(bus);
	harness_bus_stop(&bed->bus);
	for (uint32_t i = 0; i < DAMAGE_SHARDS; i++) {
		bed->n_segments[i] = list_segments(bed, DAMAGE_STREAM, i, bed->bases[i]);
		must(bed->n_segments[i] >= 5, "shard %u has %zu segments", i, bed->n_segments[i]);
	}
	copy_data(bed, "data", "good");
}

/* ---- what is damaged ---- */

/* Bytes of a regular file, as many as there are; anything else has none. */
static char *load(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	enum {
		LOAD_MAX = 1 << 20
	};
	char *bytes = malloc(LOAD_MAX);
	struct stat st;
	ssize_t n = 0;

	must(bytes, "no memory");
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, bytes, LOAD_MAX);
	*ret_len = n > 0 ? (size_t)n : 0;
	if (fd >= 0)
		close(fd);
	return bytes;
}

static void look_at(struct damage_bed *bed, uint32_t shard, size_t segment)
{
	uint64_t base = bed->bases[shard][segment], end = UINT64_MAX;
	size_t len, good_len, i;
	char path[256], *now, *good;

	if (segment + 1 < bed->n_segments[shard])
		end = bed->bases[shard][segment + 1];
	damage_bed_path(bed, shard, segment, path);
	now = load(path, &len);
	damage_bed_good_path(bed, shard, segment, path);
	good = load(path, &good_len);
	for (i = 0; i < bed->n_entries[shard]; i++) {
		struct damage_entry *entry = &bed->entries[shard][i];
		size_t from = (size_t)(entry->from - base + FORMAT_SEGMENT_LEN);
		size_t to = (size_t)(entry->to - base + FORMAT_SEGMENT_LEN);

		if (entry->pos < base || entry->pos >= end)
			continue;
		entry->headless = len < from + RECORD_HEADER ||
				  memcmp(now + from, good + from, RECORD_HEADER) != 0;
		entry->hurt = len < to || memcmp(now + from, good + from, to - from) != 0;
		if (shard == 0 && entry->to > bed->hidden_from && entry->from < bed->hidden_to)
			entry->hurt = true;
	}
	free(now);
	free(good);
}

void damage_bed_look(struct damage_bed *bed)
{
	for (uint32_t shard = 0; shard < DAMAGE_SHARDS; shard++)
		for (size_t i = 0; i < bed->n_segments[shard]; i++)
			look_at(bed, shard, i);
}

void damage_bed_publish(struct damage_bed *bed)
{
	struct leat_bus *bus = harness_connect(&bed->bus);
	struct leat_publisher *publisher = harness_publisher(bus, DAMAGE_STREAM);
	struct leat_result result;
	uint64_t seed = 1;

	account_clear(bed->fresh);
	for (uint32_t i = 0; i < DAMAGE_SHARDS * DAMAGE_FRESH; i++)
		publish_one(bed->fresh, publisher, 1, i % DAMAGE_SHARDS, &seed, &result);
	flush(bed->fresh, publisher, 1);
	leat_publisher_close(publisher);
	leat_close(bus);
}

/* ---- what is given ---- */

void damage_view_init(struct damage_view *view, const struct damage_bed *bed)
{
	memset(view, 0, sizeof(*view));
	view->old = account_reader_new(bed->account);
	view->fresh = account_reader_new(bed->fresh);
}

void damage_view_deinit(struct damage_view *view)
{
	view->old = account_reader_free(view->old);
	view->fresh = account_reader_free(view->fresh);
}

static size_t find(const struct damage_bed *bed, uint32_t shard, uint64_t pos)
{
	size_t low = 0, high = bed->n_entries[shard];

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bed->entries[shard][middle].pos < pos)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void take(struct damage_view *view, const struct damage_bed *bed,
		 const struct leat_message *message)
{
	uint64_t writer = account_writer_of(message);
	size_t i;

	if (message->kind == LEAT_GAP || writer != 1)
		must(account_reader_take(view->old, message), "%s",
		     account_reader_complaint(view->old));
	if (message->kind == LEAT_GAP || writer == 1)
		must(account_reader_take(view->fresh, message), "fresh: %s",
		     account_reader_complaint(view->fresh));
	if (message->kind == LEAT_GAP || writer == 1)
		return;
	i = find(bed, message->shard, message->pos);
	must(i < bed->n_entries[message->shard] &&
		     bed->entries[message->shard][i].pos == message->pos,
	     "a record where none was");
	view->seen[message->shard][i] = true;
}

void damage_view_read(struct damage_view *view, struct damage_bed *bed,
		      struct leat_subscriber *subscriber, uint64_t max)
{
	uint64_t n_fresh = account_n(bed->fresh, 1);
	struct leat_message message;
	int r;

	for (uint64_t i = 0; i < max; i++) {
		if (n_fresh > 0 && account_reader_n(view->fresh) == n_fresh)
			return;
		r = leat_next(subscriber, READ_NS, &message);
		if (r == 0)
			return;
		must(r == 1, "a subscriber: %s (%s)", leat_strerror(r),
		     leat_subscriber_detail(subscriber));
		take(view, bed, &message);
		view->n += message.kind == LEAT_RECORD;
	}
}

/* All of a batch, or none; unless what says that it is one is lost. */
static void check_batches(const struct damage_view *view, const struct damage_bed *bed,
			  uint32_t shard, const char *who)
{
	const struct damage_entry *entries = bed->entries[shard];

	for (size_t i = 1; i < bed->n_entries[shard]; i++)
		must(entries[i].from != entries[i - 1].from || entries[i].headless ||
			     view->seen[shard][i] == view->seen[shard][i - 1],
		     "%s: half of the batch at %llu of shard %u", who,
		     (unsigned long long)entries[i].from, shard);
}

void damage_view_check(struct damage_view *view, const struct damage_bed *bed, const char *who)
{
	struct account_terms terms = { .from_first = false };
	uint32_t shard;
	size_t i;

	for (i = 0; i < ACCOUNT_LEVELS; i++)
		terms.gaps[i] = 1u << LEAT_GAP_DAMAGE;
	must(account_reader_check(view->old, &terms), "%s: %s", who,
	     account_reader_complaint(view->old));
	memset(&terms, 0, sizeof(terms));
	must(account_reader_check(view->fresh, &terms), "%s, fresh: %s", who,
	     account_reader_complaint(view->fresh));
	for (shard = 0; shard < DAMAGE_SHARDS; shard++) {
		check_batches(view, bed, shard, who);
		for (i = 0; i < bed->n_entries[shard]; i++)
			must(view->seen[shard][i] || bed->entries[shard][i].hurt,
			     "%s: the record at %llu of shard %u is not damaged and yet missing",
			     who, (unsigned long long)bed->entries[shard][i].pos, shard);
	}
}

static struct leat_subscriber *subscribe(struct leat_bus *bus, enum leat_where start,
					 uint64_t value, int32_t shard)
{
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	int r;

	leat_subscriber_options_init(&options);
	options.start = start;
	options.start_value = value;
	options.shard = shard;
	options.stop = LEAT_LATEST;
	r = leat_subscriber_open(bus, DAMAGE_STREAM, &options, &subscriber);
	must(r == 0, "subscribing: %s", leat_detail(bus));
	return subscriber;
}

void damage_bed_read_all(struct damage_bed *bed, const char *who)
{
	struct leat_bus *bus = harness_connect(&bed->bus);
	struct leat_subscriber *subscriber = subscribe(bus, LEAT_EARLIEST, 0, LEAT_SHARD_ANY);
	static struct damage_view view;

	damage_view_init(&view, bed);
	damage_view_read(&view, bed, subscriber, UINT64_MAX);
	damage_view_check(&view, bed, who);
	damage_view_deinit(&view);
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

/* The first record not damaged that is as late as entry number i must be the first that comes. */
static void seek_to(const struct damage_bed *bed, struct leat_bus *bus, size_t i)
{
	const struct damage_entry *entries = bed->entries[0];
	uint64_t ns = entries[i].timestamp_ns;
	struct leat_subscriber *subscriber = subscribe(bus, LEAT_TIME, ns, 0);
	struct leat_message message;
	int r;

	while ((r = leat_next(subscriber, READ_NS, &message)) == 1 && message.kind == LEAT_GAP)
		;
	must(r >= 0, "seeking: %s", leat_subscriber_detail(subscriber));
	while (i > 0 && entries[i - 1].timestamp_ns >= ns)
		i--;
	/* What is damaged may still be given: out of the ring. */
	for (; i < bed->n_entries[0]; i++) {
		if (r == 1 && entries[i].pos == message.pos)
			break;
		must(entries[i].hurt,
		     "looking for a time: not the record at %llu, but that at %llu",
		     (unsigned long long)entries[i].pos,
		     (unsigned long long)(r == 1 ? message.pos : 0));
	}
	leat_subscriber_close(subscriber);
}

void damage_bed_seek(const struct damage_bed *bed)
{
	struct leat_bus *bus = harness_connect(&bed->bus);

	for (size_t i = 0; i < bed->n_segments[0]; i++) {
		size_t k = find(bed, 0, bed->bases[0][i]);

		if (k < bed->n_entries[0])
			seek_to(bed, bus, k);
		if (k > 0)
			seek_to(bed, bus, k - 1);
	}
	leat_close(bus);
}

/* ---- the commands ---- */

static int run_leat(const struct damage_bed *bed, const char *const *words, size_t *ret_lines)
{
	struct harness_output output;
	int status;

	harness_run(&bed->bus, NULL, &output, words);
	status = output.status;
	must(status == 0 || status == 1, "leat %s ends with %d: %s", words[1], status, output.err);
	must(status == 0 || output.err_len + output.out_len > 0, "leat %s fails without a word",
	     words[1]);
	*ret_lines = 0;
	for (size_t i = 0; i < output.out_len; i++)
		*ret_lines += output.out[i] == '\n';
	harness_output_deinit(&output);
	return status;
}

void damage_bed_run_commands(struct damage_bed *bed, int must_find)
{
	char data[128], path[256];
	size_t n, n_whole = 0, n_all = 0;
	int status;

	snprintf(data, sizeof(data), "%s/data", bed->bus.dir);
	status = run_leat(bed, (const char *const[]){ "leat", "verify", "--data", data, NULL }, &n);
	must(must_find < 0 || status == must_find, "verify says %d instead of %d", status,
	     must_find);
	for (uint32_t shard = 0; shard < DAMAGE_SHARDS; shard++) {
		n_all += bed->n_entries[shard] + DAMAGE_FRESH;
		for (size_t i = 0; i < bed->n_entries[shard]; i++)
			n_whole += !bed->entries[shard][i].hurt;
	}
	n_whole += DAMAGE_SHARDS * DAMAGE_FRESH;
	status = run_leat(
		bed, (const char *const[]){ "leat", "replay", DAMAGE_STREAM, "-f", "%o\\n", NULL },
		&n);
	must(n >= n_whole && n <= n_all, "replay prints %zu records of %zu to %zu, status %d", n,
	     n_whole, n_all, status);
	for (size_t i = 0; i < bed->n_segments[0]; i++) {
		damage_bed_path(bed, 0, i, path);
		(void)run_leat(bed, (const char *const[]){ "leat", "dump", path, NULL }, &n);
	}
}
