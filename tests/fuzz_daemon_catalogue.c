/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalogue with damage: the input is changes to a good one, 2 bytes place (in units of 2), 1
 * byte how many, then so many bytes; or, when it begins with a zero, the whole file. Everything is
 * read that a daemon reads when it starts; what it would then live by must make sense.
 */
#include <fcntl.h>
#include <stdio.h>

#include "daemon/catalogue.h"
#include "daemon/log.h"

enum {
	FILE_MAX = 1 << 20,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static char dir[] = "/dev/shm/leat-fuzz.XXXXXX", path[64];
static uint8_t good[FILE_MAX], bad[FILE_MAX];
static size_t good_len;
static struct catalogue *open_one;

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

static void clean(void)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
	char name[80];

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
}

static void end(void)
{
	clean();
	rmdir(dir);
}

static void make_streams(struct catalogue *catalogue)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct catalogue_stream stream = {
			.state = CATALOGUE_LIVE,
			.options = { .n_shards = 1 + i,
				     .access = { .mode = 0640 },
				     .ring_len = LAYOUT_RING_MIN,
				     .segment_len = MIB,
				     .policy = { .claim_timeout_ns = NS_PER_S } },
		};
		uint64_t pos[3] = { 1, 2, 3 };
		int64_t id;

		snprintf(stream.name, sizeof(stream.name), "stream%u", i);
		stream.uuid[0] = (uint8_t)i;
		if (catalogue_add_stream(catalogue, &stream, &id) < 0 ||
		    catalogue_set_checkpoint(catalogue, id, "name", pos, 1 + i) < 0 ||
		    catalogue_add_closed(catalogue, id, 0, 4096, 1) < 0)
			fail("no good catalogue");
	}
	if (catalogue_set_number(catalogue, CATALOGUE_CLOCK, 1) < 0)
		fail("no good catalogue");
}

static void begin(void)
{
	char detail[512];
	int fd;

	log_set_level(LOG_LEVEL_ERROR - 1);
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/catalogue.db", dir);
	if (catalogue_open(dir, &open_one, detail, sizeof(detail)) < 0)
		fail(detail);
	make_streams(open_one);
	open_one = catalogue_close(open_one);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	good_len = (size_t)read(fd, good, sizeof(good));
	close(fd);
	if (good_len < 4096 || good_len >= FILE_MAX)
		fail("a catalogue of a strange length");
	atexit(end);
}

static int look_checkpoint(void *ctx, const char *name, uint32_t shard, uint64_t pos)
{
	(void)ctx, (void)shard, (void)pos;
	return name ? 0 : -EBADMSG;
}

static int look_closed(void *ctx, uint32_t shard, uint64_t base, uint64_t closed_ns)
{
	(void)ctx, (void)shard, (void)base, (void)closed_ns;
	return 0;
}

static int look_stream(void *ctx, const struct catalogue_stream *stream)
{
	const struct options *o = &stream->options;
	struct options named = *o;

	(void)ctx;
	if (!names_is_valid(stream->name) || o->n_shards > OPTIONS_SHARDS_MAX)
		fail("a name that is no stream's, or more shards than one can have");
	if (stream->state != CATALOGUE_LIVE)
		return 0;
	if (o->n_shards < 1 || o->n_shards > OPTIONS_SHARDS_MAX || !is_power_of_two(o->ring_len) ||
	    o->ring_len < LAYOUT_RING_MIN || o->access.mode > 0777 ||
	    o->policy.claim_timeout_ns < NS_PER_MS)
		fail("options that nobody can live with");
	if (!o->memory && (o->segment_len == 0 || o->segment_len > (uint64_t)1 << 56))
		fail("a segment of an impossible length");
	json_decref(options_to_json(&named));
	(void)catalogue_each_checkpoint(open_one, stream->id, look_checkpoint, NULL);
	(void)catalogue_each_closed(open_one, stream->id, look_closed, NULL);
	return 0;
}

static size_t damage(const uint8_t *data, size_t data_len)
{
	if (data[0] == 0) {
		memcpy(bad, data + 1, data_len - 1);
		return data_len - 1;
	}
	memcpy(bad, good, good_len);
	data++, data_len--;
	while (data_len >= 4) {
		size_t place = (data[0] | (size_t)data[1] << 8) * 2 % good_len;
		size_t len = min_u64(min_u64(data[2] % 16, data_len - 3), good_len - place);

		memcpy(bad + place, data + 3, len);
		data += 3 + len;
		data_len -= 3 + len;
	}
	return good_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	char detail[512] = "";
	uint64_t number;
	size_t len;
	int fd, r;

	if (data_len < 1 || data_len > FILE_MAX)
		return 0;
	if (!good_len)
		begin();
	clean();
	len = damage(data, data_len);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bad, len) != (ssize_t)len)
		abort();
	close(fd);
	r = catalogue_open(dir, &open_one, detail, sizeof(detail));
	if (r < 0 && detail[0] == '\0')
		fail("an error without a sentence");
	if (r < 0)
		return 0;
	(void)catalogue_each_stream(open_one, look_stream, NULL);
	(void)catalogue_get_number(open_one, CATALOGUE_CLOCK, &number);
	(void)catalogue_get_number(open_one, CATALOGUE_PUBLISHER, &number);
	open_one = catalogue_close(open_one);
	return 0;
}
