/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/recover.h"

#include <fcntl.h>

#include "persist/file.h"
#include "persist/reader.h"

static int add_range(struct recover *recover, enum recover_kind kind, uint64_t from, uint64_t to)
{
	struct recover_range *grown, *last;

	if (from >= to)
		return 0;
	if (recover->n_ranges == RECOVER_RANGES_MAX) {
		last = &recover->ranges[recover->n_ranges - 1];
		last->to = max_u64(last->to, to);
		return 0;
	}
	grown = reallocarray(recover->ranges, recover->n_ranges + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	recover->ranges = grown;
	grown[recover->n_ranges++] = (struct recover_range){ .kind = kind, .from = from, .to = to };
	return 0;
}

void recover_deinit(struct recover *recover)
{
	free(recover->bases);
	free(recover->ends);
	free(recover->ranges);
	memset(recover, 0, sizeof(*recover));
}

/* Steps over what validates at *pos, a whole batch at once. */
static int walk_one(struct reader *reader, uint64_t upto, struct recover *recover, uint64_t *pos)
{
	uint64_t word, end;
	int r = reader_check(reader, *pos, upto, &word, NULL);

	if (r < 0)
		return r;
	end = *pos + record_span(record_word_len(word));
	if (record_word_kind(word) == RECORD_BATCH) {
		r = reader_check_batch(reader, *pos, end);
		if (r < 0)
			return r;
		/* Its records are counted one by one. */
		end = *pos + RECORD_HEADER_LEN;
	}
	recover->n_records += record_word_kind(word) == RECORD_COMMITTED;
	*pos = end;
	return 0;
}

int recover_walk(struct reader *reader, uint64_t from, uint64_t upto, bool resync,
		 struct recover *recover, uint64_t *ret_end)
{
	uint64_t next, pos = from;
	int r;

	while (pos < upto) {
		r = walk_one(reader, upto, recover, &pos);
		if (r == 0)
			continue;
		if (r != -EBADMSG)
			return r;
		if (!resync || reader_trim(reader, pos, upto) == pos)
			break;
		r = reader_resync(reader, pos, upto, &next);
		if (r < 0)
			return r;
		if (next >= upto)
			break;
		r = add_range(recover, RECOVER_DAMAGE, pos, next);
		if (r < 0)
			return r;
		pos = next;
	}
	*ret_end = pos;
	return 0;
}

/* One segment on the way from the durable position to the end. */
struct scan {
	int dir_fd;
	bool is_ours; /* the checkpoint says so */
	const struct segment_identity *identity;
	struct recover *recover;
	uint64_t durable;
};

/* Opens a segment whose header may be damaged, which is noted; and its header's prev_end. */
static int open_segment(const struct scan *scan, uint64_t base, struct reader **ret_reader,
			uint64_t *ret_prev_end)
{
	cleanup_with(file_closep) int fd = -1;
	struct format_segment header = { .prev_end = base,
					 .flags = scan->identity->flags,
					 .crc_seed = scan->identity->crc_seed };
	int r;

	fd = segment_open(scan->dir_fd, base);
	if (fd < 0)
		return fd;
	r = segment_read_header(fd, scan->identity, base, &header);
	/* In a directory that is ours a file that came from elsewhere is damage like any other. */
	if (r == -EIO || (r == -ESTALE && scan->is_ours))
		r = -EBADMSG;
	if (r < 0 && r != -EBADMSG)
		return r;
	if (r < 0) {
		r = add_range(scan->recover, RECOVER_HEADER, base, base + RECORD_ALIGN);
		if (r < 0)
			return r;
	}
	r = reader_open_bare(fd, base, header.flags, header.crc_seed, ret_reader);
	if (r < 0)
		return r;
	(void)take_fd(fd);
	scan->recover->epoch = max_u64(scan->recover->epoch, header.epoch);
	*ret_prev_end = header.prev_end;
	return 0;
}

/* Makes the page cache agree with the disk: what was never written, or whose writing failed, is
 * not there any more when it is read. */
static void settle(int dir_fd, uint64_t base)
{
	int fd = segment_open(dir_fd, base);

	if (fd < 0)
		return;
	(void)file_datasync(fd);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	file_close(fd);
}

/* Reads from max(base, durable) on what is valid below `bound`; UINT64_MAX: the last segment. */
static int scan_segment(const struct scan *scan, struct reader *reader, uint64_t base,
			uint64_t bound, uint64_t *ret_end)
{
	struct recover *recover = scan->recover;
	uint64_t end, size_end, from = max_u64(base, scan->durable);
	bool resync = reader_header(reader)->flags & FORMAT_F_CHECKSUM;
	int r = reader_size_end(reader, &size_end);

	if (r < 0)
		return r;
	if (bound != UINT64_MAX)
		from = min_u64(from, bound);
	if (size_end < from) {
		/* Missing below what the checkpoint calls durable; the caller sees to the last. */
		*ret_end = bound == UINT64_MAX ? size_end : bound;
		recover->content_end = size_end;
		return bound == UINT64_MAX ? 0
					   : add_range(recover, RECOVER_DAMAGE, size_end, bound);
	}
	r = recover_walk(reader, from, min_u64(size_end, bound), resync, recover, &end);
	if (r < 0)
		return r;
	recover->scanned_len += min_u64(size_end, bound) - from;
	if (bound == UINT64_MAX) {
		recover->content_end = reader_trim(reader, end, size_end);
		r = add_range(recover, RECOVER_TORN, end, recover->content_end);
		*ret_end = end;
	} else {
		/* Later segments exist: what is missing here is in the middle of the log. */
		r = add_range(recover, RECOVER_DAMAGE, end, bound);
		*ret_end = bound;
	}
	return r;
}

/* Scans the segments from the `first`th on. */
static int scan_from(const struct scan *scan, size_t first)
{
	cleanup_with(reader_closep) struct reader *reader = NULL;
	struct recover *recover = scan->recover;
	uint64_t prev_end, bound;
	size_t i;
	int r;

	recover->ends = calloc(recover->n_bases - first, sizeof(*recover->ends));
	if (!recover->ends)
		return -ENOMEM;
	r = open_segment(scan, recover->bases[first], &reader, &prev_end);
	if (r < 0)
		return r;
	for (i = first; i < recover->n_bases; i++) {
		cleanup_with(reader_closep) struct reader *next = NULL;
		uint64_t base = recover->bases[i];

		bound = UINT64_MAX;
		settle(scan->dir_fd, base);
		if (i + 1 < recover->n_bases) {
			r = open_segment(scan, recover->bases[i + 1], &next, &prev_end);
			if (r < 0)
				return r;
			bound = max_u64(prev_end, base);
		}
		r = scan_segment(scan, reader, base, bound, &recover->end);
		if (r == 0 && bound != UINT64_MAX)
			r = add_range(recover, RECOVER_GAP, bound, recover->bases[i + 1]);
		if (r < 0)
			return r;
		recover->ends[recover->n_ends++] = recover->end;
		reader_close(reader);
		reader = take_ptr(next);
	}
	return 0;
}

/* The first segment that has to be looked at. */
static size_t first_to_scan(const struct recover *recover, int have, uint64_t durable)
{
	size_t i = recover->n_bases - 1;

	/* Without a checkpoint the last two: one may have been closed and not be durable yet. */
	if (have != 1)
		return i > 0 ? i - 1 : 0;
	while (i > 0 && recover->bases[i] > durable)
		i--;
	return i;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct recover_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

int recover_scan(int dir_fd, const struct segment_identity *identity,
		 const struct checkpoint *checkpoint, int have, uint64_t first_pos,
		 struct recover *ret_recover)
{
	struct recover recover = { .bases = NULL };
	struct scan scan = { .dir_fd = dir_fd, .identity = identity, .recover = &recover };
	int r = segment_list(dir_fd, &recover.bases, &recover.n_bases);

	if (r < 0)
		return r;
	if (have == 1) {
		scan.is_ours = true;
		scan.durable = checkpoint->durable;
		recover.epoch = checkpoint->epoch;
	}
	recover.end = have == 1 ? checkpoint->durable : first_pos;
	if (recover.n_bases > 0)
		r = scan_from(&scan, first_to_scan(&recover, have, scan.durable));
	/* The log's own end may be missing, not only its middle. */
	if (r == 0)
		r = add_range(&recover, RECOVER_DAMAGE, recover.end, scan.durable);
	if (r < 0) {
		recover_deinit(&recover);
		return r;
	}
	if (recover.n_ranges > 0)
		qsort(recover.ranges, recover.n_ranges, sizeof(*recover.ranges), compare_ranges);
	recover.durable = scan.durable;
	recover.checkpoint_lost = have == -EBADMSG || (have == 0 && recover.n_bases > 0);
	if (have == 1)
		recover.reserved_until = max_u64(checkpoint->reserved_until, recover.end);
	else
		recover.reserved_until = recover.end + (recover.checkpoint_lost ? RECOVER_JUMP : 0);
	*ret_recover = recover;
	return 0;
}
