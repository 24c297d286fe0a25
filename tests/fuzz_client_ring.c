/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library over a ring that hostile publishers write, also between any two of its loads
 * (hostile.h): a subscriber and a publisher, without a daemon to ask. The first byte says what
 * kind of stream and of subscription it is; the rest is as hostile.h says.
 *
 * Whatever is there, messages go upwards, gaps close what they skip, and what a message points to
 * is the subscriber's own memory and stays as it was.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "clientlib/bus.h"
#include "clientlib/publish.h"
#include "clientlib/subscribe.h"
#include "tests/hostile.h"

enum {
	FUZZ_TAKES = 8,
	FUZZ_BUFFER = 4096,
};

static uint32_t alive = 1;
static struct leat_bus bus;
static struct ring_bed bed;
static struct leat_subscriber sub;
static struct subscribe_shard shard;
static struct leat_publisher publisher;
static struct publish_shard out;
static uint64_t next_pos;
static uint8_t kind;
static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

/* Records of a stream without checksums, memory-only or not. */
static void set_flags(uint32_t flags)
{
	bed.reader->flags = flags;
	bed.writer->flags = flags;
	bed.daemon->flags = flags;
}

static void begin_publisher(void)
{
	out = (struct publish_shard){ .ring = bed.writer, .kick_fd = -1 };
	encode_quick_init(&out.quick, bed.writer);
	if (ring_publisher_init(&out.rp, bed.writer, 3, -1) < 0)
		abort();
	/* The connection is looked at once a second, by what the records' timestamps say. */
	out.checked_ns = UINT64_MAX;
	publisher = (struct leat_publisher){ .bus = &bus,
					     .alive = &alive,
					     .shards = &out,
					     .only = &out,
					     .n_shards = 1,
					     .stream = (char *)(uintptr_t) "s" };
	keys_map_init(&publisher.keys, KEYS_XXH3, 1);
}

static void begin(void)
{
	char *buffer = malloc(FUZZ_BUFFER);

	if (!buffer)
		abort();
	if (!bus.alive) {
		if (control_init(&bus.control, "/nonexistent/bus.sock", "fuzz", NS_PER_MS) < 0)
			abort();
		pthread_mutex_init(&bus.failures_lock, NULL);
		bus.alive = &alive;
	}
	set_flags((kind & 1 ? 0 : GOVERN_F_CHECKSUM) | (kind & 2 ? 0 : GOVERN_F_MEMORY));
	next_pos = LAYOUT_FIRST_POS;
	shard = (struct subscribe_shard){ .ring = bed.reader,
					  .shard = 7,
					  .pos = LAYOUT_FIRST_POS,
					  .given = LAYOUT_FIRST_POS,
					  .stop_pos = UINT64_MAX,
					  .seek = (kind & 4) != 0,
					  .later_ns = UINT64_MAX };
	sub = (struct leat_subscriber){ .bus = &bus,
					.alive = &alive,
					.shards = &shard,
					.n_shards = 1,
					.buffer = buffer,
					.buffer_len = FUZZ_BUFFER,
					.stop_ns = UINT64_MAX,
					.check_ns = UINT64_MAX,
					.stream = (char *)(uintptr_t) "s" };
	if (kind & 8)
		sub.options.isolation = LEAT_ISOLATION_WRITTEN;
	begin_publisher();
}

static void touch(const void *at, uint64_t len, bool view)
{
	const uint8_t *p = at;
	bool own = p >= (const uint8_t *)sub.buffer &&
		   p + len <= (const uint8_t *)sub.buffer + sub.buffer_len;
	bool ring = p >= (const uint8_t *)bed.reader->data &&
		    p + len <= (const uint8_t *)bed.reader->data + 2 * bed.reader->len;

	bed_must(len == 0 || own || (view && ring), "a message points elsewhere");
	for (uint64_t i = 0; i < len; i++)
		sink += p[i];
}

static void check_message(const struct leat_message *message, bool view)
{
	struct leat_header header;
	uint32_t off = 0;

	bed_must(message->pos >= next_pos, "a message goes back");
	bed_must(message->next_pos > message->pos, "a message of no length");
	bed_must(message->pos % RECORD_ALIGN == 0 || message->kind == LEAT_GAP,
		 "a record between two places");
	next_pos = message->next_pos;
	if (message->kind != LEAT_RECORD)
		return;
	touch(message->key, message->key_len, view);
	touch(message->headers, message->headers_len, view);
	touch(message->value, message->value_len, view);
	while (leat_message_header(message, &off, &header) == 1) {
		sink += header.name_len + header.value_len;
		/* In place the headers may be others by the time of this look. */
		if (!view) {
			touch(header.name, header.name_len, view);
			touch(header.value, header.value_len, view);
		}
	}
}

static void try_next(const struct hostile_step *step)
{
	struct leat_message message;

	for (int i = 0; i < 1 + step->slot % FUZZ_TAKES; i++) {
		bool view = step->slot & 0x80;
		uint64_t before = next_pos;
		int r = view ? leat_view(&sub, 0, &message) : leat_next(&sub, 0, &message);

		bed_must(r == 1 || r == 0 || r == -ETIMEDOUT || r == -ENOTCONN || r == -ENOENT,
			 "leat_next: %d", r);
		if (r != 1)
			return;
		check_message(&message, view);
		if (view && leat_view_valid(&sub, &message) == 0)
			next_pos = shard.pos == message.pos ? before : next_pos;
	}
}

static void try_publish(const struct hostile_step *step)
{
	static const char bytes[1024];
	struct leat_record records[3];
	struct leat_result results[3];
	size_t n = 1 + step->place % 3;
	int r;

	for (size_t i = 0; i < n; i++)
		records[i] = (struct leat_record){ .value = bytes,
						   .value_len = (step->value >> 8 * i) % 1024,
						   .key = i ? "key" : NULL,
						   .key_len = i ? 3 : 0,
						   .shard = LEAT_SHARD_ANY };
	switch (step->slot % 4) {
	case 0:
		r = leat_publish_many(&publisher, records, n, results);
		r = r > 0 ? 0 : r;
		break;
	case 1:
		r = leat_publish_batch(&publisher, records, n, results);
		break;
	default:
		r = leat_publish(&publisher, records, results);
		break;
	}
	bed_must(r <= 0 && r > -4096, "publishing: %d", r);
}

static void do_step(const struct hostile_step *step)
{
	struct layout_govern *govern = bed.daemon->govern;

	switch (step->what % 9) {
	case 0:
	case 1:
		try_next(step);
		break;
	case 2:
		hostile_publish(step);
		break;
	case 3:
		hostile_poke(step);
		break;
	case 4:
		hostile_arm(step);
		break;
	case 5:
		hostile_arm_loaded(step);
		break;
	case 6:
		/* The daemon gives back what it has drained. */
		ring_reclaim(bed.daemon, min_u64(hostile_pos(step), ring_tail(bed.daemon)));
		break;
	case 7:
		store_relaxed(&govern->written,
			      max_u64(load_relaxed(&govern->written),
				      min_u64(hostile_pos(step), ring_tail(bed.daemon))));
		break;
	default:
		try_publish(step);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	if (data_len < 2)
		return 0;
	kind = data[0];
	hostile_run(&bed, data + 1, data_len - 1, begin, do_step);
	free(sub.buffer);
	return 0;
}
