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
	disk->n_gaps = 0;
}

/* ---- the daemon's reply ---- */

static enum leat_gap reason_of(const char *word, enum leat_gap otherwise)
{
	if (!word)
		return otherwise;
	if (strcmp(word, "retention") == 0)
		return LEAT_GAP_RETENTION;
	if (strcmp(word, "damage") == 0)
		return LEAT_GAP_DAMAGE;
	return strcmp(word, "jump") == 0 ? LEAT_GAP_JUMP : otherwise;
}

static void take_gaps(struct subscribe_disk *disk, const json_t *array)
{
	size_t i;

	for (i = 0; i < json_array_size(array) && disk->n_gaps < SUBSCRIBE_GAPS; i++) {
		const json_t *gap = json_array_get(array, i);
		json_int_t from = json_integer_value(json_array_get(gap, 0));
		json_int_t to = json_integer_value(json_array_get(gap, 1));

		if (from < 0 || to <= from || (uint64_t)to >= LAYOUT_POS_END ||
		    to % RECORD_ALIGN != 0)
			continue;
		disk->gaps[disk->n_gaps].from = (uint64_t)from;
		disk->gaps[disk->n_gaps].to = (uint64_t)to;
		disk->gaps[disk->n_gaps++].reason =
			reason_of(json_string_value(json_array_get(gap, 2)), LEAT_GAP_DAMAGE);
	}
}

/* The file is the segment that the daemon said, of this very shard. */
static bool is_as_said(const struct subscribe_shard *shard, const struct reader *reader,
		       uint64_t base, uint64_t end)
{
	const struct format_segment *header = reader_header(reader);

	return header->base == base && header->shard == shard->shard &&
	       memcmp(header->stream_uuid, shard->ring->stream_uuid, 16) == 0 &&
	       (end == 0 || (end >= base && end < LAYOUT_POS_END && end % RECORD_ALIGN == 0));
}

static int take_segment(struct subscribe_shard *shard, const json_t *object, int *fd)
{
	struct subscribe_disk *disk = &shard->disk;
	struct reader *reader;
	uint64_t base, end = 0;
	int r;

	if (*fd < 0 || !control_get_u64(object, "base", &base))
		return -EBADMSG;
	(void)control_get_u64(object, "end", &end);
	r = reader_open(*fd, &reader);
	if (r < 0)
		return r;
	*fd = -1;
	if (!is_as_said(shard, reader, base, end)) {
		reader_close(reader);
		return -EBADMSG;
	}
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
	take_gaps(disk, json_object_get(reply->object, "gaps"));
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

static int ask(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t pos,
	       struct deadline *deadline, enum leat_gap *ret_reason)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	uint64_t earliest = 0;
	int r;

	request = json_pack("{s:s, s:s, s:I, s:I}", "op", "segments", "stream", sub->stream,
			    "shard", (json_int_t)shard->shard, "position", (json_int_t)pos);
	if (!request)
		return -ENOMEM;
	r = control_request_once(&sub->bus->control, request, deadline, &reply, &sub->detail);
	if (r == -ENOTCONN || r == -ETIMEDOUT || r == -EAGAIN) {
		shard->later_ns = clock_now_ns(CLOCK_MONOTONIC) + 4 * SOURCE_LATER_NS;
		return SOURCE_LATER;
	}
	if (r < 0) {
		sub->failure = sub->detail.text;
		return r;
	}
	(void)control_get_u64(reply.object, "earliest", &earliest);
	*ret_reason = reason_of(control_get_string(reply.object, "reason"),
				pos < earliest ? LEAT_GAP_RETENTION : LEAT_GAP_JUMP);
	r = take_reply(sub, shard, &reply);
	control_reply_deinit(&reply);
	return r;
}

int source_disk_ask(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t pos,
		    enum leat_gap *ret_reason)
{
	struct deadline deadline = DEADLINE(SOURCE_REQUEST_NS);

	if (clock_now_ns(CLOCK_MONOTONIC) < shard->later_ns)
		return SOURCE_LATER;
	return ask(sub, shard, pos, &deadline, ret_reason);
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

/* Nothing on disk from pos up to `to`: as far as the ring does not have it. */
static int missing(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t to,
		   enum leat_gap reason)
{
	struct subscribe_disk *disk = &shard->disk;
	unsigned int i;

	for (i = 0; i < disk->n_gaps; i++) {
		if (shard->pos >= disk->gaps[i].from && shard->pos < disk->gaps[i].to) {
			reason = disk->gaps[i].reason;
			to = min_u64(to, disk->gaps[i].to);
		}
	}
	return subscribe_gap(sub, shard, to, reason);
}

/* No segment at hand has pos: asks for more, and finds out about gaps. SOURCE_*. */
static int find_more(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	struct subscribe_disk *disk = &shard->disk;
	uint64_t oldest = ring_reclaimed(subscribe_newest(shard)), to = oldest;
	enum leat_gap reason = LEAT_GAP_JUMP;
	unsigned int i;
	int r;

	/* What is not written yet is nowhere on disk. */
	if (shard->pos >= ring_written(subscribe_newest(shard)))
		return SOURCE_LATER;
	r = source_disk_ask(sub, shard, shard->pos, &reason);
	if (r != SOURCE_AGAIN)
		return r;
	if (find_segment(disk, shard->pos) >= 0)
		return SOURCE_AGAIN;
	for (i = 0; i < disk->n_segments; i++) {
		if (disk->segments[i].base > shard->pos) {
			to = min_u64(oldest, disk->segments[i].base);
			break;
		}
	}
	return to > shard->pos ? missing(sub, shard, to, reason) : SOURCE_LATER;
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

	if (shard->pos >= ring_reclaimed(shard->ring)) {
		shard->on_disk = false;
		source_disk_close(&shard->disk);
		return SOURCE_AGAIN;
	}
	/* Only the newest ring says how far the disk is. */
	if (!shard->next && ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED) {
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
	return i + 1 < disk->n_segments &&
	       reader_header(disk->segments[i + 1].reader)->created_ns + SOURCE_CLOCKS_NS < ns;
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
	enum leat_gap reason;
	int r;

	do {
		before = pos;
		r = ask(sub, shard, pos, deadline, &reason);
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
