/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the place that a subscription begins at. */
#include "clientlib/start.h"

#include "clientlib/source.h"

static uint64_t earliest_of(const struct subscribe_shard *shard)
{
	const struct ring *ring = shard->ring;
	uint64_t reclaimed = ring_reclaimed(ring);
	uint64_t earliest = load_relaxed(&ring->govern->counters.earliest);

	if ((ring->flags & GOVERN_F_MEMORY) || earliest == 0 || earliest % RECORD_ALIGN != 0)
		return reclaimed;
	return min_u64(earliest, reclaimed);
}

static int start_at_position(struct leat_subscriber *sub, struct subscribe_shard *shard,
			     uint64_t pos)
{
	if (pos >= LAYOUT_POS_END) {
		sub->failure = sub->detail.text;
		return detail_fail(&sub->detail, -EINVAL,
				   "position %llu is beyond every log: "
				   "positions stay below 2^62",
				   (unsigned long long)pos);
	}
	/* No shard begins earlier, so nothing is missing there. */
	shard->pos = align_up(max_u64(pos, LAYOUT_FIRST_POS), RECORD_ALIGN);
	shard->seek = true;
	return 0;
}

int start_at(struct leat_subscriber *sub, struct subscribe_shard *shard, enum leat_where where,
	     uint64_t value, struct deadline *deadline)
{
	int r = 0;

	source_disk_close(&shard->disk);
	shard->seek = false;
	shard->on_disk = false;
	shard->ended = false;
	shard->quiet = false;
	shard->damaged = false;
	shard->skip_pos = 0;
	shard->skip_ns = 0;
	switch (where) {
	case LEAT_LATEST:
		shard->pos = ring_tail(subscribe_newest(shard));
		break;
	case LEAT_EARLIEST:
		shard->pos = earliest_of(shard);
		shard->quiet = true;
		break;
	case LEAT_POSITION:
		r = start_at_position(sub, shard, value);
		break;
	case LEAT_AFTER:
		r = start_at_position(sub, shard, min_u64(value, LAYOUT_POS_END) + 1);
		break;
	case LEAT_TIME:
		shard->pos = earliest_of(shard);
		shard->quiet = true;
		shard->skip_ns = value;
		if (shard->pos < ring_reclaimed(shard->ring))
			r = source_disk_seek_time(sub, shard, value, deadline);
		break;
	default:
		sub->failure = "a subscription cannot start there";
		return -EINVAL;
	}
	shard->given = shard->pos;
	return r;
}

int start_stop_at(struct leat_subscriber *sub, struct subscribe_shard *shard, enum leat_where where,
		  uint64_t value)
{
	shard->stop_pos = UINT64_MAX;
	switch (where) {
	case LEAT_LATEST:
		/* As far as it can be read now, which is less under isolation. */
		shard->stop_pos = ring_tail(shard->ring);
		if (sub->options.isolation != LEAT_ISOLATION_RING)
			shard->stop_pos = min_u64(shard->stop_pos, subscribe_upto(sub, shard));
		return 0;
	case LEAT_POSITION:
		shard->stop_pos = value;
		return 0;
	case LEAT_AFTER:
		shard->stop_pos = value + 1;
		return 0;
	case LEAT_TIME:
		sub->stop_ns = value;
		return 0;
	case LEAT_NEVER:
		return 0;
	default:
		sub->failure = "a subscription cannot stop there";
		return -EINVAL;
	}
}
