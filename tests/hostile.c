/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/hostile.h"

#include <stdio.h>

enum {
	HOSTILE_REGIONS = 3,
	HOSTILE_MAPPINGS = 3,
	HOSTILE_WORDS = (LAYOUT_RING_MIN + LAYOUT_PUBLISH_LEN + LAYOUT_WAIT_LEN) / 8,
};

/* A fuzzer that is told of each load of each target looks at little else. */
#ifdef __clang__
#define UNTRACED __attribute__((no_sanitize("coverage")))
#else
#define UNTRACED
#endif

struct hostile_change {
	uint64_t at_load;
	struct hostile_step step;
	bool loaded; /* the word that is being loaded, and after that */
};

/* What was loaded is changed when the next load comes, or at the end of the step. */
static struct {
	struct ring_bed *bed;
	struct hostile_change changes[HOSTILE_CHANGES_MAX];
	unsigned int n_changes;
	uint64_t n_loads;   /* counted while there are changes to come: they name them from there */
	uint64_t last_load; /* no change is to come at a later one */
	_Atomic uint64_t *after; /* to be changed after the load that is under way */
	uint64_t after_value;
	bool counting;
	uintptr_t bases[HOSTILE_MAPPINGS][HOSTILE_REGIONS]; /* of that bed */
	uint16_t counts[HOSTILE_WORDS];
} hostile;

static const uint64_t region_lens[HOSTILE_REGIONS] = { LAYOUT_RING_MIN, LAYOUT_PUBLISH_LEN,
						       LAYOUT_WAIT_LEN };
static const char *const region_names[HOSTILE_REGIONS] = { "ring", "publish page", "wait page" };

static char *base_of(const struct ring *ring, int region)
{
	switch (region) {
	case 0:
		return ring->data;
	case 1:
		return (char *)ring->publish;
	default:
		return (char *)ring->wait;
	}
}

static void set_bed(struct ring_bed *bed)
{
	const struct ring *rings[HOSTILE_MAPPINGS] = { bed->daemon, bed->reader, bed->writer };

	hostile.bed = bed;
	for (int i = 0; i < HOSTILE_MAPPINGS; i++)
		for (int k = 0; k < HOSTILE_REGIONS; k++)
			hostile.bases[i][k] = (uintptr_t)base_of(rings[i], k);
}

/* The region in which an address lies, in whichever mapping, and where in it; -1 = private. */
static UNTRACED int place_of(const volatile void *at, uint64_t *ret_off)
{
	uintptr_t p = (uintptr_t)at;

	for (int i = 0; i < HOSTILE_MAPPINGS; i++) {
		for (int k = 0; k < HOSTILE_REGIONS; k++) {
			uintptr_t base = hostile.bases[i][k];
			uint64_t len = region_lens[k];

			if (p < base || p - base >= (k == 0 ? 2 * len : len))
				continue;
			*ret_off = (p - base) % len;
			return k;
		}
	}
	return -1;
}

static _Atomic uint64_t *word_of(int region, uint64_t off)
{
	return (_Atomic uint64_t *)(base_of(hostile.bed->writer, region) + (off & ~UINT64_C(7)));
}

/* Places beyond those of the ring mean the pages. */
static _Atomic uint64_t *target_of(const struct hostile_step *step)
{
	struct layout_publish *publish = hostile.bed->writer->publish;
	uint64_t off = ((uint64_t)step->place * RECORD_ALIGN + (step->slot & 3) * 8u);

	if (step->place < 0xf000)
		return word_of(0, off % LAYOUT_RING_MIN);
	switch (step->place & 7) {
	case 0:
	case 1:
		return &publish->tail;
	case 2:
		return word_of(1, offsetof(struct layout_publish, doorbell));
	case 3:
		return word_of(1, offsetof(struct layout_publish, drain_kicked));
	case 4:
		return word_of(2, offsetof(struct layout_wait, n_sleepers));
	default:
		return &publish->slots[step->slot].claim;
	}
}

static void set_word(_Atomic uint64_t *word, uint64_t value)
{
	store_relaxed(word, value);
}

static void finish_loaded(void)
{
	if (hostile.after)
		set_word(hostile.after, hostile.after_value);
	hostile.after = NULL;
}

static void change(const struct hostile_change *c, int region, uint64_t off)
{
	if (!c->loaded) {
		set_word(target_of(&c->step), c->step.value);
		return;
	}
	hostile.after = word_of(region, off);
	hostile.after_value = c->step.value;
}

static void count(int region, uint64_t off, uint64_t len)
{
	uint64_t first = off, words;

	for (int k = 0; k < region; k++)
		first += region_lens[k];
	words = (off % 8 + len + 7) / 8;
	for (uint64_t i = 0; i < words; i++)
		hostile.counts[(first / 8 + i) % HOSTILE_WORDS]++;
}

static UNTRACED void on_load(const volatile void *at, uint64_t len)
{
	uint64_t off;
	int region;

	if (hostile.n_loads >= hostile.last_load && !hostile.after && !hostile.counting)
		return;
	region = place_of(at, &off);
	if (region < 0)
		return;
	finish_loaded();
	if (hostile.counting)
		count(region, off, len);
	hostile.n_loads++;
	for (unsigned int i = 0; i < hostile.n_changes; i++) {
		if (hostile.changes[i].at_load != hostile.n_loads)
			continue;
		change(&hostile.changes[i], region, off);
	}
}

void hostile_calm(void)
{
	shared_load_hook = NULL;
	hostile.n_changes = 0;
	hostile.n_loads = 0;
	hostile.last_load = 0;
	hostile.after = NULL;
}

void hostile_hold(bool hold)
{
	shared_load_hook = hold ? NULL : on_load;
}

bool hostile_is_at_work(void)
{
	return hostile.n_changes > 0;
}

void hostile_begin(struct ring_bed *bed)
{
	struct layout_govern *govern;

	hostile_calm();
	if (!bed->daemon)
		ring_bed_init(bed, LAYOUT_RING_MIN);
	govern = bed->daemon->govern;
	memset(bed->daemon->data, 0, bed->daemon->len);
	memset(bed->daemon->publish->slots, 0, sizeof(bed->daemon->publish->slots));
	memset(govern->owners, 0, sizeof(govern->owners));
	memset(&govern->counters, 0, sizeof(govern->counters));
	store_relaxed(&bed->daemon->publish->tail, LAYOUT_FIRST_POS);
	store_relaxed(&bed->daemon->publish->drain_kicked, 0);
	store_relaxed(&bed->daemon->wait->n_sleepers, 0);
	store_relaxed(&govern->limit, LAYOUT_FIRST_POS + LAYOUT_RING_MIN);
	store_relaxed(&govern->reclaimed, LAYOUT_FIRST_POS);
	store_relaxed(&govern->written, LAYOUT_FIRST_POS);
	store_relaxed(&govern->durable, LAYOUT_FIRST_POS);
	store_relaxed(&govern->close_pos, LAYOUT_POS_END);
	store_relaxed(&govern->attention, 0);
	store_relaxed(&govern->error, 0);
	store_relaxed(&govern->state, GOVERN_OPEN);
	set_bed(bed);
	hostile.counting = false;
	shared_load_hook = on_load;
}

void hostile_poke(const struct hostile_step *step)
{
	set_word(target_of(step), step->value);
}

static void arm(const struct hostile_step *step, bool loaded)
{
	struct hostile_change *c = &hostile.changes[hostile.n_changes % HOSTILE_CHANGES_MAX];

	*c = (struct hostile_change){ .at_load = hostile.n_loads + 1 + step->slot,
				      .step = *step,
				      .loaded = loaded };
	hostile.last_load = max_u64(hostile.last_load, c->at_load);
	if (hostile.n_changes < HOSTILE_CHANGES_MAX)
		hostile.n_changes++;
}

void hostile_arm(const struct hostile_step *step)
{
	arm(step, false);
}

void hostile_arm_loaded(const struct hostile_step *step)
{
	arm(step, true);
}

void hostile_publish(const struct hostile_step *step)
{
	struct ring_publisher publisher;

	bed_must(ring_publisher_init(&publisher, hostile.bed->writer, step->slot, -1) == 0,
		 "no slot");
	(void)ring_bed_publish(&publisher, 1, step->value, 16 + step->value % 1000, NULL);
}

void hostile_run(struct ring_bed *bed, const uint8_t *data, size_t data_len, void (*begin)(void),
		 void (*do_step)(const struct hostile_step *step))
{
	size_t n_steps, memory;

	if (data_len < 1)
		return;
	n_steps = min_u64(data[0] % HOSTILE_STEPS_MAX, (data_len - 1) / HOSTILE_STEP_LEN);
	memory = 1 + n_steps * HOSTILE_STEP_LEN;
	hostile_begin(bed);
	begin();
	memcpy(bed->writer->data, data + memory, min_u64(data_len - memory, LAYOUT_RING_MIN));
	for (size_t i = 0; i < n_steps; i++) {
		const uint8_t *p = data + 1 + i * HOSTILE_STEP_LEN;
		struct hostile_step step = { .what = p[0], .slot = p[1] };

		memcpy(&step.place, p + 2, 2);
		memcpy(&step.value, p + 4, 8);
		do_step(&step);
		finish_loaded();
	}
	hostile_calm();
}

/* ---- counting ---- */

void hostile_count_begin(struct ring_bed *bed)
{
	hostile_calm();
	set_bed(bed);
	hostile.counting = true;
	memset(hostile.counts, 0, sizeof(hostile.counts));
	shared_load_hook = on_load;
}

unsigned int hostile_count_end(char *where, size_t where_len)
{
	unsigned int most = 0;
	uint64_t at = 0;
	int region = 0;

	hostile_calm();
	for (uint64_t i = 0; i < HOSTILE_WORDS; i++) {
		if (hostile.counts[i] <= most)
			continue;
		most = hostile.counts[i];
		at = i * 8;
	}
	for (; region < HOSTILE_REGIONS - 1 && at >= region_lens[region]; region++)
		at -= region_lens[region];
	snprintf(where, where_len, "%s at %llu", region_names[region], (unsigned long long)at);
	return most;
}
