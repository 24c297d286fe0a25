/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/verify.h"

#include <fcntl.h>

#include "persist/checkpoint.h"
#include "persist/file.h"
#include "persist/reader.h"
#include "persist/recover.h"
#include "persist/segment.h"

struct verify {
	int dir_fd;
	bool has_identity; /* the first sound header says whose the directory is */
	bool has_durable;
	uint64_t durable;
	uint64_t epoch; /* of the segment before */
	struct segment_identity identity;
	struct verify_stats stats;
	void (*found)(void *ctx, const struct verify_finding *finding);
	void *ctx;
};

static void find(struct verify *verify, enum verify_kind kind, uint64_t base, uint64_t from,
		 uint64_t to)
{
	struct verify_finding finding = { .kind = kind, .base = base, .from = from, .to = to };

	if (verify_is_damage(kind))
		verify->stats.n_damaged++;
	if (verify->found)
		verify->found(verify->ctx, &finding);
}

/* An open segment and what its header says; the header of a damaged one is made up. */
struct opened {
	struct reader *reader;
	struct format_segment header;
	bool sound;
};

static void opened_deinit(struct opened *opened)
{
	opened->reader = reader_close(opened->reader);
}

/* 0, 1 for a file that is not this shard's (reported), or negative errno. */
static int open_segment(struct verify *verify, uint64_t base, struct opened *ret_opened)
{
	struct opened opened = { .header = { .base = base, .prev_end = base } };
	struct format_segment *header = &opened.header;
	int r, fd = segment_open(verify->dir_fd, base);

	if (fd < 0)
		return fd;
	r = segment_read_header(fd, verify->has_identity ? &verify->identity : NULL, base, header);
	/* What the disk does not give is damaged as well. */
	if (r == -EIO)
		r = -EBADMSG;
	if (r == -ESTALE || r == -EPROTONOSUPPORT || (r == 0 && header->base != base)) {
		file_close(fd);
		find(verify, VERIFY_FOREIGN, base, base, base);
		return 1;
	}
	opened.sound = r == 0;
	if (r == 0) {
		memcpy(verify->identity.stream_uuid, header->stream_uuid, 16);
		verify->identity.shard = header->shard;
		verify->identity.flags = header->flags;
		verify->identity.crc_seed = header->crc_seed;
		verify->has_identity = true;
	}
	if (r == 0)
		r = reader_open_bare(fd, base, header->flags, header->crc_seed, &opened.reader);
	else if (r == -EBADMSG)
		r = reader_open_bare(fd, base, verify->identity.flags, verify->identity.crc_seed,
				     &opened.reader);
	if (r < 0) {
		file_close(fd);
		return r;
	}
	*ret_opened = opened;
	return 0;
}

/* The next segment of this shard from index *i on; false when there is none. */
static int open_next(struct verify *verify, const uint64_t *bases, size_t n, size_t *i,
		     struct opened *ret_opened)
{
	int r = 1;

	while (*i < n && r == 1) {
		r = open_segment(verify, bases[(*i)++], ret_opened);
		/* Unlinked by the daemon meanwhile. */
		if (r == -ENOENT)
			r = 1;
	}
	return r;
}

/* Everything of one segment below `bound` (UINT64_MAX: the last one). */
static int verify_records(struct verify *verify, struct opened *opened, uint64_t bound)
{
	uint64_t base = opened->header.base, size_end, upto, end, damaged = 0;
	struct recover recover = { .bases = NULL };
	size_t i;
	int r = reader_size_end(opened->reader, &size_end);

	if (r < 0)
		return r;
	upto = min_u64(size_end, bound);
	r = recover_walk(opened->reader, base, upto, true, &recover, &end);
	if (r < 0) {
		recover_deinit(&recover);
		return r;
	}
	for (i = 0; i < recover.n_ranges; i++) {
		/* Above the checkpoint a writer may have several writes under way. */
		bool is_open = bound == UINT64_MAX && verify->has_durable &&
			       recover.ranges[i].from >= verify->durable;

		find(verify, is_open ? VERIFY_TORN : VERIFY_DAMAGE, base, recover.ranges[i].from,
		     recover.ranges[i].to);
		damaged += recover.ranges[i].to - recover.ranges[i].from;
	}
	verify->stats.n_records += recover.n_records;
	verify->stats.n_bytes += end - base - damaged;
	recover_deinit(&recover);
	if (bound != UINT64_MAX) {
		if (end < bound)
			find(verify, VERIFY_DAMAGE, base, end, bound);
		verify->stats.end = bound;
		return 0;
	}
	/* What is durable has to be there; above it, the writer was interrupted, or is at it. */
	if (verify->has_durable && end < verify->durable) {
		find(verify, VERIFY_DAMAGE, base, end, verify->durable);
		end = verify->durable;
	}
	size_end = reader_trim(opened->reader, end, size_end);
	if (end < size_end)
		find(verify, VERIFY_TORN, base, end, size_end);
	verify->stats.end = end;
	return 0;
}

/* What the headers of two neighbours say of each other; returns where the first one ends. */
static uint64_t verify_link(struct verify *verify, const struct opened *a, const struct opened *b)
{
	uint64_t bound = b->header.prev_end;

	if (!b->sound)
		return b->header.base;
	if (bound < a->header.base || b->header.epoch < verify->epoch)
		find(verify, VERIFY_CHAIN, b->header.base, a->header.base, b->header.base);
	bound = max_u64(bound, a->header.base);
	if (bound < b->header.base)
		find(verify, VERIFY_GAP, b->header.base, bound, b->header.base);
	return bound;
}

static int verify_segments(struct verify *verify, const uint64_t *bases, size_t n)
{
	cleanup_with(opened_deinit) struct opened opened = { .reader = NULL };
	size_t i = 0;
	int r = open_next(verify, bases, n, &i, &opened);

	if (r == 0)
		verify->stats.earliest = opened.header.base;
	while (r == 0) {
		cleanup_with(opened_deinit) struct opened next = { .reader = NULL };
		uint64_t bound = UINT64_MAX;
		int more;

		verify->stats.n_segments++;
		if (!opened.sound)
			find(verify, VERIFY_HEADER, opened.header.base, opened.header.base,
			     opened.header.base);
		else
			verify->epoch = opened.header.epoch;
		more = open_next(verify, bases, n, &i, &next);
		if (more < 0)
			return more;
		if (more == 0)
			bound = verify_link(verify, &opened, &next);
		r = verify_records(verify, &opened, bound);
		if (r < 0 || more == 1)
			return r;
		opened_deinit(&opened);
		opened = next;
		next.reader = NULL;
	}
	return r < 0 ? r : 0;
}

/* That it cannot be opened for want of something else is not said of the checkpoint. */
static int read_checkpoint(struct verify *verify)
{
	struct format_checkpoint slot;
	int r = checkpoint_read(verify->dir_fd, &slot);

	if (r == -ENOENT || r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EIO) {
		find(verify, VERIFY_CHECKPOINT, 0, 0, 0);
		return 0;
	}
	if (r < 0)
		return r;
	verify->has_durable = true;
	verify->durable = slot.durable;
	/* Whose the directory is, also when every segment's header is damaged. */
	memcpy(verify->identity.stream_uuid, slot.stream_uuid, 16);
	verify->identity.shard = slot.shard;
	verify->identity.flags = FORMAT_F_CHECKSUM;
	verify->identity.crc_seed = record_crc_seed(slot.stream_uuid, slot.shard);
	verify->has_identity = true;
	return 0;
}

int verify_dir(const char *path, void (*found)(void *ctx, const struct verify_finding *finding),
	       void *ctx, struct verify_stats *ret_stats)
{
	cleanup_with(file_closep) int dir_fd = -1;
	cleanup_with(free_ptr) uint64_t *bases = NULL;
	struct verify verify = { .found = found, .ctx = ctx };
	size_t n = 0;
	int r;

	dir_fd = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir_fd < 0)
		return dir_fd;
	verify.dir_fd = dir_fd;
	/* The checkpoint first: the segments that it speaks of are there then. */
	r = read_checkpoint(&verify);
	if (r == 0)
		r = segment_list(dir_fd, &bases, &n);
	if (r == 0 && n > 0)
		r = verify_segments(&verify, bases, n);
	if (r < 0)
		return r;
	*ret_stats = verify.stats;
	return 0;
}
