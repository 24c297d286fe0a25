/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ledger.h"

#include <stdlib.h>

#include "persist/file.h"
#include "persist/reader.h"

#define POS(pos) ((unsigned long long)(pos))

uint64_t ledger_hash(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint32_t content_len(uint64_t word)
{
	return record_word_kind(word) == RECORD_COMMITTED ? record_word_len(word)
							  : RECORD_HEADER_LEN;
}

void ledger_add(struct ledger *ledger, const struct persist_log *log, uint64_t pos)
{
	uint64_t word, batch_end = 0;

	while (pos < persist_log_end(log)) {
		const char *bytes = log->bytes + (pos - log->base);
		struct ledger_entry *entry;

		if (ledger->n == ledger->n_allocated) {
			ledger->n_allocated = ledger->n_allocated * 2 + 64;
			ledger->entries = realloc(ledger->entries,
						  ledger->n_allocated * sizeof(*ledger->entries));
			ck_assert_ptr_nonnull(ledger->entries);
		}
		entry = &ledger->entries[ledger->n++];
		memcpy(&word, bytes, sizeof(word));
		if (record_word_kind(word) == RECORD_BATCH)
			batch_end = pos + record_span(record_word_len(word));
		*entry = (struct ledger_entry){
			.pos = pos,
			.span = (uint32_t)record_step(word),
			.kind = record_word_kind(word),
			.len = content_len(word),
			.batch_end = pos < batch_end ? batch_end : 0,
		};
		entry->hash = ledger_hash(bytes, entry->len);
		memcpy(&entry->publisher, bytes + offsetof(struct record_header, publisher), 4);
		memcpy(&entry->sequence, bytes + offsetof(struct record_header, sequence), 4);
		pos += entry->span;
	}
}

void ledger_deinit(struct ledger *ledger)
{
	free(ledger->entries);
	memset(ledger, 0, sizeof(*ledger));
}

void ledger_acknowledge(struct ledger *ledger, uint64_t pos, enum ledger_level level)
{
	size_t i = ledger->n;

	while (i > 0 && ledger->entries[i - 1].pos >= pos)
		i--;
	while (i-- > 0 && ledger->entries[i].level < level)
		ledger->entries[i].level = level;
}

void ledger_acknowledge_from(struct ledger *ledger, size_t first, enum ledger_level level)
{
	for (; first < ledger->n; first++)
		ledger->entries[first].level = level;
}

struct ledger_entry *ledger_at(const struct ledger *ledger, uint64_t pos)
{
	size_t low = 0, high = ledger->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ledger->entries[middle].pos < pos)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ledger->n && ledger->entries[low].pos == pos ? &ledger->entries[low] : NULL;
}

/* ---- reading ---- */

struct walk {
	const struct ledger *ledger;
	struct store *store;
	struct ledger_view *view;
	struct reader *reader; /* of the segment [base, end) */
	uint64_t base;
	uint64_t end;
	uint64_t pos;
	uint64_t batch_end; /* of the batch that was begun */
};

static void add_gap(struct walk *walk, uint64_t to, enum ledger_gap reason)
{
	struct ledger_view *view = walk->view;

	ck_assert_uint_gt(to, walk->pos);
	ck_assert_msg(walk->pos >= walk->batch_end || reason == LEDGER_GAP_DAMAGE,
		      "a batch ends in the middle, at %llu", POS(walk->pos));
	if (view->n_gaps > 0 && view->gaps[view->n_gaps - 1].to == walk->pos &&
	    view->gaps[view->n_gaps - 1].reason == reason) {
		view->gaps[view->n_gaps - 1].to = to;
	} else {
		ck_assert_uint_lt(view->n_gaps, LEDGER_GAPS_MAX);
		view->gaps[view->n_gaps].reason = reason;
		view->gaps[view->n_gaps].from = walk->pos;
		view->gaps[view->n_gaps++].to = to;
	}
	walk->pos = to;
}

/* One unit, as it came. */
static void see(struct walk *walk, const char *bytes, uint64_t pos)
{
	const struct ledger_entry *entry = ledger_at(walk->ledger, pos);
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	ck_assert_msg(entry != NULL, "nobody published what stands at %llu", POS(pos));
	ck_assert_int_eq(record_word_kind(word), entry->kind);
	ck_assert_msg(content_len(word) == entry->len &&
			      ledger_hash(bytes, entry->len) == entry->hash,
		      "the record at %llu (publisher %u, number %u) is not as it was published",
		      POS(pos), entry->publisher, entry->sequence);
	ck_assert(!walk->view->seen[entry - walk->ledger->entries]);
	walk->view->seen[entry - walk->ledger->entries] = true;
	if (entry->kind == RECORD_BATCH)
		walk->batch_end = entry->batch_end;
}

/* Another segment, as the daemon's reply to a subscriber opens one. */
static void open_next(struct walk *walk, uint64_t to)
{
	struct reader_log log = {
		.shard = PERSIST_LOG_SHARD,
		.flags = FORMAT_F_CHECKSUM,
		.crc_seed = record_crc_seed(persist_log_uuid, PERSIST_LOG_SHARD),
	};
	uint64_t base, end, prev_end;
	bool closed;
	int fd, r;

	memcpy(log.stream_uuid, persist_log_uuid, sizeof(log.stream_uuid));
	walk->reader = reader_close(walk->reader);
	r = store_open_segment(walk->store, walk->pos, &base, &end, &closed, &fd);
	if (r == STORE_E_END) {
		add_gap(walk, to, LEDGER_GAP_DELETED);
		return;
	}
	ck_assert_int_eq(r, 0);
	r = reader_open_of(fd, &log, base, &walk->reader);
	ck_assert_int_eq(r, 0);
	walk->base = base;
	walk->end = min_u64(end, to);
	if (walk->pos >= base)
		return;
	prev_end = reader_header(walk->reader)->prev_end;
	if (walk->pos < prev_end)
		add_gap(walk, min_u64(prev_end, to), LEDGER_GAP_DELETED);
	else
		add_gap(walk, min_u64(base, to), LEDGER_GAP_JUMP);
}

static void read_run(struct walk *walk)
{
	static char buf[256 * KIB];
	struct reader_run run;
	uint64_t at, word, to;
	int r = reader_read(walk->reader, walk->pos, walk->end, buf, sizeof(buf), &run);

	if (r == -EBADMSG) {
		ck_assert_int_eq(reader_resync(walk->reader, walk->pos, walk->end, &to), 0);
		add_gap(walk, to, LEDGER_GAP_DAMAGE);
		return;
	}
	ck_assert_int_eq(r, 0);
	for (at = 0; at < run.len; at += record_step(word)) {
		see(walk, buf + at, walk->pos + at);
		memcpy(&word, buf + at, sizeof(word));
	}
	walk->pos = run.next_pos;
}

/* Who sees one record of a batch sees all; a damaged header leaves its records on their own. */
static void check_batches(const struct ledger *ledger, const struct ledger_view *view)
{
	size_t i, k;

	for (i = 0; i < ledger->n; i++) {
		if (ledger->entries[i].kind != RECORD_BATCH || !view->seen[i])
			continue;
		for (k = i + 1;
		     k < ledger->n && ledger->entries[k].batch_end == ledger->entries[i].batch_end;
		     k++)
			ck_assert_msg(view->seen[k], "the batch at %llu came in part",
				      POS(ledger->entries[i].pos));
	}
}

void ledger_read(const struct ledger *ledger, struct store *store, uint64_t from, uint64_t to,
		 struct ledger_view *ret_view)
{
	struct walk walk = { .ledger = ledger, .store = store, .view = ret_view, .pos = from };
	uint64_t before;

	memset(ret_view, 0, sizeof(*ret_view));
	ret_view->n = ledger->n;
	ret_view->seen = calloc(ledger->n + 1, sizeof(bool));
	ck_assert_ptr_nonnull(ret_view->seen);
	while (walk.pos < to) {
		before = walk.pos;
		if (!walk.reader || walk.pos < walk.base || walk.pos >= walk.end)
			open_next(&walk, to);
		if (walk.reader && walk.pos >= walk.base && walk.pos < walk.end)
			read_run(&walk);
		ck_assert_msg(walk.pos > before || walk.reader, "stuck at %llu", POS(before));
	}
	reader_close(walk.reader);
	check_batches(ledger, ret_view);
}

void ledger_view_deinit(struct ledger_view *view)
{
	free(view->seen);
	view->seen = NULL;
}

int ledger_gap_at(const struct ledger_view *view, uint64_t pos)
{
	size_t i;

	for (i = 0; i < view->n_gaps; i++)
		if (pos >= view->gaps[i].from && pos < view->gaps[i].to)
			return (int)i;
	return -1;
}
