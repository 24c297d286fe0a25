/* SPDX-License-Identifier: Apache-2.0 */
/* Cases about one ring: publishing, the dead, reclaiming, reading. */
#include "tests/weak/bed.h"

/* ---- a record and two ways of reading it ---- */

static void publish_init(void)
{
	bed_init(&ring_case_publish, 1);
}

static void publish_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[0];
	uint64_t pos;

	for (int i = 0; i < 2; i++)
		bed_publish(&publisher, 64, &pos);
}

static void publish_reader(void)
{
	uint64_t pos = BED_FIRST, limit = 0;
	struct bed_log got = { 0 };

	while (pos < BED_FIRST + 128)
		if (bed_read(&bed_ring[0], &pos, &limit, &got) != 0)
			weak_pause();
}

static void publish_short_reader(void)
{
	char buf[RING_SHORT_LEN];
	uint64_t pos = BED_FIRST, word;

	while (pos < BED_FIRST + 128) {
		if (ring_read_short(&bed_ring[0], pos, buf, &word)) {
			bed_check(pos, word, buf);
			pos += 64;
		} else {
			weak_pause();
		}
	}
}

const struct weak_case ring_case_publish = {
	.name = "publish",
	.init = publish_init,
	.begin = bed_begin,
	.party = { publish_publisher, publish_reader },
	.depth = 3,
	.ring_len = 256,
};

const struct weak_case ring_case_short = {
	.name = "short",
	.init = publish_init,
	.begin = bed_begin,
	.party = { publish_publisher, publish_short_reader },
	.depth = 3,
	.ring_len = 256,
};

/* ---- publishers that die anywhere, and the drain ---- */

static unsigned int holes_over;

static void holes_init(void)
{
	bed_init(&ring_case_holes, 2);
}

static void holes_begin(void)
{
	bed_begin();
	holes_over = 0;
}

static void holes_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[weak_self()];
	uint64_t pos;

	bed_publish(&publisher, 64, &pos);
	holes_over |= 1u << weak_self();
}

static void holes_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	for (;;) {
		bool over = true;

		for (unsigned int i = 0; i < 2; i++) {
			if (weak_is_dead(i) && !drain.dead[i]) {
				drain.dead[i] = true;
				store_relaxed(&bed_ring[0].govern->owners[i].state, OWNER_DEAD);
			}
			over &= drain.dead[i] || (holes_over >> i & 1);
		}
		while (bed_drain_step(&drain))
			continue;
		if (over && drain.pos == weak_peek(&bed_ring[0].publish->tail, 8))
			return;
		weak_pause();
	}
}

const struct weak_case ring_case_holes = {
	.name = "holes",
	.init = holes_init,
	.begin = holes_begin,
	.party = { holes_publisher, holes_publisher, holes_drain },
	.end = bed_end,
	.depth = 3,
	.mortal = 3,
	.ring_len = 256,
};

/* ---- a tombstone and who reads it ---- */

static void bury_init(void)
{
	bed_init(&ring_case_bury, 1);
	store_relaxed((_Atomic uint64_t *)ring_at(&bed_ring[0], BED_FIRST),
		      record_word(RECORD_RESERVED, 32, 0, 0));
	store_relaxed(&bed_ring[0].publish->tail, BED_FIRST + 32);
}

static void bury_drain(void)
{
	struct orphan_dead dead = { .pid = 77, .uid = 78 };

	orphan_bury(&bed_ring[0], BED_FIRST, 32, RECORD_TOMBSTONE, &dead, 79, true);
}

static void bury_reader(void)
{
	struct record_view view;
	char buf[64];
	uint64_t len, limit = 0, word;

	while (ring_read(&bed_ring[0], BED_FIRST, UINT64_MAX, &limit, buf, sizeof(buf), &len) != 0)
		weak_pause();
	memcpy(&word, buf, 8);
	weak_must(record_parse(word, buf, BED_FIRST, &view) == 0 && view.publisher == 77 &&
			  view.sequence == 78 && view.timestamp_ns == 79,
		  "a tombstone without its content");
}

const struct weak_case ring_case_bury = {
	.name = "bury",
	.init = bury_init,
	.begin = bed_begin,
	.party = { bury_drain, bury_reader },
	.depth = 3,
	.ring_len = 64,
};

/* ---- several laps ---- */

enum {
	LAPS_N = 4, /* records, of a ring that holds two */
	LAPS_END = 32 * LAPS_N,
};

static void laps_init(void)
{
	bed_init(&ring_case_laps, 1);
}

static void laps_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[0];
	uint64_t pos;

	for (int i = 0; i < LAPS_N; i++)
		bed_publish(&publisher, 32, &pos);
}

static void laps_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	while (drain.pos < BED_FIRST + LAPS_END) {
		if (bed_drain_step(&drain))
			ring_reclaim(&bed_ring[0], drain.pos);
		else
			weak_pause();
	}
}

/* Looks from the first position until it has seen what it can. */
static void laps_reader(void)
{
	uint64_t pos = BED_FIRST, limit = 0;
	struct bed_log got = { 0 };

	for (int i = 0; i < 3; i++)
		if (bed_read(&bed_ring[0], &pos, &limit, &got) == RING_E_LAPPED)
			pos = ring_reclaimed(&bed_ring[0]);
}

static void laps_short_reader(void)
{
	char buf[RING_SHORT_LEN];
	uint64_t pos = BED_FIRST, word;

	for (int i = 0; i < 3; i++) {
		if (pos < ring_limit(&bed_ring[0]) &&
		    ring_read_short(&bed_ring[0], pos, buf, &word)) {
			bed_check(pos, word, buf);
			pos += 32;
		} else {
			pos = max_u64(pos, ring_reclaimed(&bed_ring[0]));
		}
	}
}

/* In place: what was seen counts if ring_still_valid() says so afterwards. */
static void laps_peeker(void)
{
	uint64_t pos = BED_FIRST, limit = 0, word;
	const void *bytes;
	char buf[64];

	for (int i = 0; i < 3; i++) {
		bytes = pos < limit ? ring_view_plain(&bed_ring[0], pos, &word) : NULL;
		if (!bytes && ring_peek(&bed_ring[0], pos, &limit, &word, &bytes) != 0) {
			if (ring_seek(&bed_ring[0], pos, &pos) == RING_E_LAPPED)
				pos = ring_reclaimed(&bed_ring[0]);
			continue;
		}
		memcpy(buf, bytes, 32);
		if (ring_still_valid(&bed_ring[0], pos)) {
			bed_check(pos, word, buf);
			pos += 32;
		}
	}
}

const struct weak_case ring_case_laps = {
	.name = "laps",
	.init = laps_init,
	.begin = bed_begin,
	.party = { laps_publisher, laps_drain, laps_reader },
	.end = bed_end,
	.depth = 2,
	.ring_len = 64,
};

const struct weak_case ring_case_laps_short = {
	.name = "laps-short",
	.init = laps_init,
	.begin = bed_begin,
	.party = { laps_publisher, laps_drain, laps_short_reader },
	.end = bed_end,
	.depth = 2,
	.ring_len = 64,
};

const struct weak_case ring_case_laps_peek = {
	.name = "laps-peek",
	.init = laps_init,
	.begin = bed_begin,
	.party = { laps_publisher, laps_drain, laps_peeker },
	.end = bed_end,
	.depth = 2,
	.ring_len = 64,
};

/* ---- batches, several laps of them ---- */

static void batch_init(void)
{
	bed_init(&ring_case_batch, 1);
}

static void batch_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[0];

	for (int i = 0; i < 3; i++)
		bed_publish_batch(&publisher);
}

static void batch_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	while (drain.pos < BED_FIRST + 3 * 64) {
		if (!bed_drain_step(&drain))
			weak_pause();
		else if (drain.pos % 64 == 0)
			ring_reclaim(&bed_ring[0], drain.pos);
	}
}

/* One record after the other, as clientlib does while a stream flows. */
static void batch_reader(void)
{
	char buf[RING_SHORT_LEN];
	uint64_t pos = BED_FIRST, word;

	for (int i = 0; i < 4; i++) {
		if (pos < ring_limit(&bed_ring[0]) && ring_at_batch(&bed_ring[0], pos)) {
			pos += RECORD_HEADER_LEN;
		} else if (pos < ring_limit(&bed_ring[0]) &&
			   ring_read_short(&bed_ring[0], pos, buf, &word)) {
			weak_must(pos % 64 == 32, "a batch's header was taken for a record");
			bed_check(pos, word, buf);
			pos += 32;
		} else {
			pos = max_u64(pos, ring_reclaimed(&bed_ring[0]));
		}
	}
}

const struct weak_case ring_case_batch = {
	.name = "batch",
	.init = batch_init,
	.begin = bed_begin,
	.party = { batch_publisher, batch_drain, batch_reader },
	.end = bed_end,
	.depth = 2,
	.ring_len = 128,
};
