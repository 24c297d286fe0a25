/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records out of segment files, through read-only fds that the daemon gives. Never above what the
 * govern page calls written (or durable), whatever a file's size is; every checksum is checked.
 */
#include "clientlib/source.h"

#define SOURCE_REQUEST_NS NS_PER_S
/* Publishers' clocks and the daemon's differ by less; see next_is_early(). */
#define SOURCE_CLOCKS_NS (2 * NS_PER_S)

void source_disk_close(struct subscribe_disk *disk)
{
	unsigned int i;

	for (i = 0; i < disk->n_segments; i++)
		reader_close(disk->segments[i].reader);
	disk->n_segments = 0;
}

/* ---- the daemon's reply ---- */

static int take_segment(struct subscribe_shard *shard, const json_t *object, int *fd)
{
	struct subscribe_disk *disk = &shard->disk;
	struct reader_log log = {
		.shard = shard->shard,
		.flags = shard->ring->flags & GOVERN_F_CHECKSUM ? FORMAT_F_CHECKSUM : 0,
		.crc_seed = shard->ring->crc_seed,
	};
	struct reader *reader;
	uint64_t base, end = 0;
	int r;

	if (*fd < 0 || !control_get_u64(object, "base", &base))
		return -EBADMSG;
	(void)control_get_u64(object, "end", &end);
	if (end != 0 && (end < base || end >= LAYOUT_POS_END || end % RECORD_ALIGN != 0))
		return -EBADMSG;
	memcpy(log.stream_uuid, shard->ring->stream_uuid, sizeof(log.stream_uuid));
	/* A header that is damaged, or another's, does not take the records behind it along. */
	r = reader_open_of(*fd, &log, base, &reader);
	if (r < 0)
		return r;
	*fd = -1;
	disk->segments[disk->n_segments].reader = reader;
	disk->segments[disk->n_segments].base = base;
	disk->segments[disk->n_segments++].end = end;
	return 0;
}

static int take_reply(struct leat_subscriber *sub, struct subscribe_shard *shard,
		      struct control_reply *reply)
{
	const json_t *array = json_object_get(reply->object, "segments");
	struct subscribe_disk *disk = &shard->disk;
	size_t i;
	int r;

	source_disk_close(disk);
	for (i = 0; i < json_array_size(array) && i < SUBSCRIBE_SEGMENTS && i < reply->n_fds; i++) {
		r = take_segment(shard, json_array_get(array, i), &reply->fds[i]);
		if (r == -EBADMSG && i > 0)
			break; /* it shows again as the first of the next request */
		if (r < 0) {
			source_disk_close(disk);
			sub->failure = sub->detail.text;
			return detail_fail(&sub->detail, r,
					   "a segment of stream '%s' shard %u near position %llu "
					   "cannot be read (%s): `leat verify %s` says more",
					   sub->stream, shard->shard,
					   (unsigned long long)shard->pos, strerror(-r),
					   sub->stream);
		}
	}
	return SOURCE_AGAIN;
}

/* What the daemon says that it keeps: [earliest, end); end 0: it cannot tell now. */
struct kept {
	uint64_t earliest;
	uint64_t end;
};

static int ask(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t pos,
	       struct deadline *deadline, struct kept *ret_kept)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	int r;

	request = json_pack("{s:s, s:s, s:I, s:I}", "op", "segments", "stream", sub->stream,
			    "shard", (json_int_t)shard->shard, "position", (json_int_t)pos);
	if (!request) {
		sub->failure = "no memory to ask for the segments";
		return -ENOMEM;
	}
	r = control_request_once(&sub->bus->control, request, deadline, &reply, &sub->detail);
	if (r == -ENOTCONN || r == -ETIMEDOUT || r == -EAGAIN) {
		shard->later_ns = clock_now_ns(CLOCK_MONOTONIC) + 4 * SOURCE_LATER_NS;
		return SOURCE_LATER;
	}
	if (r < 0) {
		sub->failure = sub->detail.text;
		return r;
	}
	*ret_kept = (struct kept){ .end = 0 };
	(void)control_get_u64(reply.object, "earliest", &ret_kept->earliest);
	(void)control_get_u64(reply.object, "end", &ret_kept->end);
	r = take_reply(sub, shard, &reply);
	control_reply_deinit(&reply);
	return r;
}

/* ---- reading ---- */

/* The segment that holds pos, of those at hand; -1 when there is none. */
static int find_segment(const struct subscribe_disk *disk, uint64_t pos)
{
	unsigned int i;

	for (i = 0; i < disk->n_segments; i++) {
		if (pos >= disk->segments[i].base &&
		    (disk->segments[i].end == 0 || pos < disk->segments[i].end))
			return (int)i;
	}
	return -1;
}

static uint64_t as_pos(uint64_t pos)
{
	return align_up(min_u64(pos, LAYOUT_POS_END), RECORD_ALIGN);
}

/*
 * Up to where there is nothing from pos on, and why. Below the earliest it was deleted; above that
 * a file is missing, up to where the next one says that the one before it ended; positions between
 * that and its base were never used.
 */
static uint64_t find_gap(const struct subscribe_disk *disk, uint64_t pos, const struct kept *kept,
			 enum leat_gap *ret_reason)
{
	uint64_t earliest = as_pos(kept->earliest), prev_end;

	*ret_reason = pos < earliest ? LEAT_GAP_RETENTION : LEAT_GAP_DAMAGE;
	if (disk->n_segments == 0 || disk->segments[0].base <= pos)
		return pos < earliest ? earliest : as_pos(kept->end);
	prev_end = reader_header(disk->segments[0].reader)->prev_end;
	if (pos >= prev_end) {
		*ret_reason = LEAT_GAP_JUMP;
		return disk->segments[0].base;
	}
	return pos < earliest ? min_u64(earliest, prev_end) : prev_end;
}

/* No segment at hand has pos: asks for more, and finds out about gaps. SOURCE_*. */
static int find_more(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	struct subscribe_disk *disk = &shard->disk;
	struct deadline deadline = DEADLINE(SOURCE_REQUEST_NS);
	uint64_t to = max_u64(ring_reclaimed(subscribe_newest(shard)), shard->disk_upto);
	enum leat_gap reason;
	struct kept kept;
	int r;

	/* What is not written yet is nowhere on disk. */
	if (shard->pos >= ring_written(subscribe_newest(shard)) ||
	    clock_now_ns(CLOCK_MONOTONIC) < shard->later_ns)
		return SOURCE_LATER;
	r = ask(sub, shard, shard->pos, &deadline, &kept);
	if (r != SOURCE_AGAIN || find_segment(disk, shard->pos) >= 0)
		return r;
	/* A daemon that comes up or goes down has none to show: no reason to believe a loss. */
	if (disk->n_segments == 0 && max_u64(kept.earliest, kept.end) <= shard->pos) {
		shard->later_ns = clock_now_ns(CLOCK_MONOTONIC) + SOURCE_LATER_NS;
		return SOURCE_LATER;
	}
	/* The ring may have the rest. */
	to = min_u64(to, find_gap(disk, shard->pos, &kept, &reason));
	return subscribe_gap(sub, shard, to, reason);
}

/* The record at pos does not validate: maybe the file ends there by now, else it is damaged. */
static int judge_damage(struct leat_subscriber *sub, struct subscribe_shard *shard,
			struct reader *reader, uint64_t upto)
{
	uint64_t to;
	int r;

	if (shard->disk.asked_pos != shard->pos) {
		shard->disk.asked_pos = shard->pos;
		source_disk_close(&shard->disk);
		return SOURCE_AGAIN;
	}
	r = reader_resync(reader, shard->pos, upto, &to);
	if (r < 0)
		return r;
	return subscribe_gap(sub, shard, to, LEAT_GAP_DAMAGE);
}

static int place(struct subscribe_shard *shard, struct reader *reader, uint64_t upto)
{
	int r = reader_seek_pos(reader, shard->pos, upto, &shard->pos);

	if (r < 0)
		return r;
	shard->seek = false;
	return 0;
}

static int fail(struct leat_subscriber *sub, const struct subscribe_shard *shard, int r)
{
	sub->failure = sub->detail.text;
	if (r != -EIO && r != -ENOMEM)
		r = -EIO;
	return detail_fail(&sub->detail, r,
			   "stream '%s' shard %u cannot be read at position %llu: "
			   "%s",
			   sub->stream, shard->shard, (unsigned long long)shard->pos, strerror(-r));
}

/* Reads a run out of one segment. */
static int read_segment(struct leat_subscriber *sub, struct subscribe_shard *shard, int i,
			uint64_t upto)
{
	struct reader *reader = shard->disk.segments[i].reader;
	struct reader_run run;
	int r = 0;

	if (shard->seek)
		r = place(shard, reader, upto);
	if (r == 0)
		r = reader_read(reader, shard->pos, upto, sub->buffer, sub->buffer_len, &run);
	switch (r) {
	case 0:
		sub->run_shard = shard;
		sub->run_off = 0;
		sub->run_len = run.len;
		sub->run_from_disk = true;
		return SOURCE_RUN;
	case READER_E_END:
		return SOURCE_AGAIN;
	case READER_E_SMALL:
		r = subscribe_grow(sub, run.needed);
		return r < 0 ? r : SOURCE_AGAIN;
	case -EBADMSG:
	case -EINVAL:
		r = judge_damage(sub, shard, reader, upto);
		return r < 0 ? fail(sub, shard, r) : r;
	default:
		return fail(sub, shard, r);
	}
}

int source_disk_fill(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	struct ring *newest = subscribe_newest(shard);
	uint64_t upto, end;
	int i;

	if (shard->pos >= max_u64(ring_reclaimed(shard->ring), shard->disk_upto)) {
		shard->on_disk = false;
		source_disk_close(&shard->disk);
		return SOURCE_AGAIN;
	}
	/* Only the newest ring says how far the disk is. */
	if (source_ring_is_behind(shard)) {
		i = source_ring_follow(sub, shard);
		if (i < 0)
			return i;
		newest = subscribe_newest(shard);
	}
	if (ring_state(newest, NULL) == GOVERN_REMOVED) {
		sub->failure = sub->detail.text;
		return detail_fail(&sub->detail, -ENOENT, "stream '%s' was deleted", sub->stream);
	}
	upto = subscribe_upto(sub, shard);
	if (shard->pos >= upto)
		return SOURCE_LATER;
	i = find_segment(&shard->disk, shard->pos);
	if (i < 0)
		return find_more(sub, shard);
	end = shard->disk.segments[i].end;
	return read_segment(sub, shard, i, end ? min_u64(end, upto) : upto);
}

/* ---- by time ---- */

/*
 * True when nothing in segment i can be as late as ns: the one after it was begun before. The
 * daemon's and the publishers' clocks are the same machine's, so this errs only when it is set.
 */
static bool next_is_early(const struct subscribe_disk *disk, unsigned int i, uint64_t ns)
{
	uint64_t created_ns = 0;

	if (i + 1 < disk->n_segments)
		created_ns = reader_header(disk->segments[i + 1].reader)->created_ns;
	/* A damaged header does not say. */
	return created_ns != 0 && created_ns + SOURCE_CLOCKS_NS < ns;
}

/* Walks the segments at hand: SOURCE_RUN found, SOURCE_AGAIN go on from *pos, else an errno. */
static int seek_in_segments(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t ns,
			    uint64_t *pos)
{
	struct subscribe_disk *disk = &shard->disk;
	uint64_t upto, found;
	unsigned int i;
	int r;

	for (i = 0; i < disk->n_segments; i++) {
		upto = subscribe_upto(sub, shard);
		if (disk->segments[i].end)
			upto = min_u64(upto, disk->segments[i].end);
		/* The last one is looked at again as the first of the next ones. */
		if (i > 0 && i + 1 == disk->n_segments && disk->segments[i].end)
			return SOURCE_AGAIN;
		*pos = max_u64(*pos, disk->segments[i].base);
		if (next_is_early(disk, i, ns)) {
			*pos = disk->segments[i + 1].base;
			continue;
		}
		r = reader_seek_time(disk->segments[i].reader, ns, upto, &found);
		if (r < 0)
			return fail(sub, shard, r);
		*pos = max_u64(*pos, found);
		if (r == 0)
			return SOURCE_RUN;
	}
	return SOURCE_AGAIN;
}

int source_disk_seek_time(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t ns,
			  struct deadline *deadline)
{
	uint64_t pos = shard->pos, before;
	struct kept kept;
	int r;

	do {
		before = pos;
		r = ask(sub, shard, pos, deadline, &kept);
		if (r == SOURCE_LATER) {
			sub->failure = sub->detail.text;
			return -ENOTCONN;
		}
		if (r < 0)
			return r;
		r = seek_in_segments(sub, shard, ns, &pos);
		if (r < 0)
			return r;
	} while (r != SOURCE_RUN && pos > before && pos < ring_reclaimed(shard->ring));
	source_disk_close(&shard->disk);
	/* What lies only in the ring is looked at record by record. */
	shard->pos = pos;
	shard->skip_ns = ns;
	return 0;
}
