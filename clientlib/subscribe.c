/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing out messages: a run of records lies in the buffer, a private copy, and is taken apart
 * here. Nothing in it is believed: a publisher may have written anything.
 */
#include "clientlib/subscribe.h"

#include "clientlib/helper.h"
#include "clientlib/idle.h"
#include "clientlib/source.h"
#include "shm/clock.h"

enum {
	SUBSCRIBE_STEPS = 64,  /* changes of a shard's source in one look at it */
	SUBSCRIBE_MUCH = 16,   /* records of one call that say that more are coming */
	SUBSCRIBE_PAUSES = 16, /* of the processor, to let them be written */
};

#define SUBSCRIBE_VIEW UINT64_C(0x77656976) /* opaque[0] of a message that points into the ring */

int subscribe_done(struct leat_subscriber *sub, int r)
{
	if (r < 0 && sub->failure == sub->detail.text)
		return bus_done(sub->bus, r, &sub->detail);
	return r;
}

int subscribe_forked(struct leat_subscriber *sub)
{
	sub->failure = sub->detail.text;
	return bus_forked(&sub->detail);
}

struct subscribe_shard *subscribe_shard_of(const struct leat_subscriber *sub, int32_t shard)
{
	uint32_t i;

	for (i = 0; i < sub->n_shards; i++) {
		if (shard >= 0 && sub->shards[i].shard == (uint32_t)shard)
			return &sub->shards[i];
	}
	return NULL;
}

void subscribe_drop_run(struct leat_subscriber *sub)
{
	sub->run_shard = NULL;
	sub->run_off = 0;
	sub->run_len = 0;
}

int subscribe_grow(struct leat_subscriber *sub, uint64_t len)
{
	char *buffer;

	subscribe_drop_run(sub);
	if (len <= sub->buffer_len)
		return 0;
	len = align_up(len, 4096);
	buffer = malloc(len);
	if (!buffer) {
		sub->failure = "no memory for a buffer of the next record's length";
		return -ENOMEM;
	}
	free(sub->buffer);
	sub->buffer = buffer;
	sub->buffer_len = len;
	return 0;
}

uint64_t subscribe_upto(const struct leat_subscriber *sub, const struct subscribe_shard *shard)
{
	const struct ring *newest = subscribe_newest(shard);

	if (sub->options.isolation == LEAT_ISOLATION_DURABLE)
		return ring_durable(newest);
	return ring_written(newest);
}

int subscribe_gap(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t to,
		  enum leat_gap reason)
{
	uint64_t from = max_u64(shard->pos, shard->skip_pos);
	uint64_t end = min_u64(to, shard->stop_pos);

	if (to <= shard->pos)
		return SOURCE_LATER;
	shard->pos = to;
	shard->seek = false;
	if (from >= end ||
	    (shard->quiet && (reason == LEAT_GAP_RETENTION || reason == LEAT_GAP_JUMP))) {
		shard->given = max_u64(shard->given, to);
		return SOURCE_AGAIN;
	}
	shard->given = end;
	sub->gap_set = true;
	sub->gap = (struct leat_message){
		.kind = LEAT_GAP,
		.shard = shard->shard,
		.pos = from,
		.next_pos = end,
		.reason = reason,
	};
	return SOURCE_GAP;
}

static int take_gap(struct leat_subscriber *sub, struct leat_message *ret_message)
{
	sub->gap_set = false;
	sub->stats.gaps++;
	*ret_message = sub->gap;
	return 1;
}

static void fill_message(struct leat_subscriber *sub, struct subscribe_shard *shard,
			 const struct record_view *view, uint64_t step,
			 struct leat_message *ret_message)
{
	shard->given = view->pos + step;
	sub->stats.records++;
	sub->stats.bytes += view->len;
	*ret_message = (struct leat_message){
		.kind = LEAT_RECORD,
		.shard = shard->shard,
		.pos = view->pos,
		.next_pos = view->pos + step,
		.timestamp_ns = view->timestamp_ns,
		.event_time_ns = view->event_time_ns,
		.key = view->key,
		.value = view->value,
		.headers = view->headers,
		.key_len = view->key_len,
		.value_len = view->value_len,
		.headers_len = view->headers_len,
		.publisher = view->publisher,
		.sequence = view->sequence,
	};
}

/* True when a record is not to be handed out because the subscription begins behind it. */
static bool is_skipped(struct subscribe_shard *shard, const struct record_view *view)
{
	if (likely((shard->skip_pos | shard->skip_ns) == 0))
		return false;
	if (view->pos < shard->skip_pos || view->timestamp_ns < shard->skip_ns)
		return true;
	shard->skip_pos = 0;
	shard->skip_ns = 0;
	return false;
}

/* Goes on behind the record or other thing at shard->pos. */
static void step_over(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t step)
{
	sub->run_off += min_u64(step, sub->run_len - sub->run_off);
	shard->pos += step;
}

static void end_shard(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	shard->ended = true;
	subscribe_drop_run(sub);
}

/* A publisher can write any timestamp: the highest one ends nothing that has no end. */
static bool is_past_stop(const struct leat_subscriber *sub, const struct record_view *view)
{
	return unlikely(view->timestamp_ns >= sub->stop_ns) && sub->stop_ns != UINT64_MAX;
}

/* What lies at shard->pos says nothing, its length neither: the daemon finds out where it ends. */
static void find_senseless(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	shard->senseless = !sub->run_from_disk;
	sub->quick = NULL;
	subscribe_drop_run(sub);
}

/* A committed record: SOURCE_RUN it is the message, SOURCE_NONE go on, SOURCE_GAP, SOURCE_END. */
static int take_record(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t word,
		       struct leat_message *ret_message)
{
	uint64_t step = record_step(word);
	struct record_view view;

	if (unlikely(step > sub->run_len - sub->run_off)) {
		/* Its length was changed while it was copied: look again, but not for ever. */
		find_senseless(sub, shard);
		return SOURCE_NONE;
	}
	if (unlikely(record_parse(word, sub->buffer + sub->run_off, shard->pos, &view) < 0)) {
		if (!sub->run_from_disk) {
			find_senseless(sub, shard);
			return SOURCE_NONE;
		}
		sub->run_off += step;
		return subscribe_gap(sub, shard, shard->pos + step, LEAT_GAP_DAMAGE);
	}
	if (is_past_stop(sub, &view)) {
		end_shard(sub, shard);
		return SOURCE_END;
	}
	step_over(sub, shard, step);
	if (unlikely(is_skipped(shard, &view)))
		return SOURCE_NONE;
	shard->quiet = false;
	sub->stats.from_disk += sub->run_from_disk;
	fill_message(sub, shard, &view, step, ret_message);
	return SOURCE_RUN;
}

/*
 * By what is no record one steps without looking, and its word may have changed between the walk
 * over the ring and the copy. Who wants only what is written wants it as it was written, too. What
 * comes from the disk has been checked.
 */
static bool is_as_walked(const struct leat_subscriber *sub, const struct subscribe_shard *shard,
			 uint64_t word)
{
	bool is_record = record_word_kind(word) == RECORD_COMMITTED;
	const struct ring *ring = shard->ring;
	const char *bytes = sub->buffer + sub->run_off;
	uint32_t crc;

	if (sub->run_from_disk || (is_record && sub->options.isolation == LEAT_ISOLATION_RING))
		return true;
	if (is_record && record_step(word) > sub->run_len - sub->run_off)
		return false;
	memcpy(&crc, bytes + offsetof(struct record_header, crc), sizeof(crc));
	if (ring->flags & GOVERN_F_CHECKSUM)
		return crc == record_crc(ring->crc_seed, shard->pos, word, bytes);
	return record_step(word) <= ring->len;
}

/* 1 with a message out of the run; 0 when it is used up or its shard has ended. */
static int take(struct leat_subscriber *sub, struct leat_message *ret_message)
{
	struct subscribe_shard *shard = sub->run_shard;

	while (sub->run_len - sub->run_off >= RECORD_HEADER_LEN) {
		uint64_t word;
		int r = SOURCE_NONE;

		if (unlikely(shard->pos >= shard->stop_pos)) {
			end_shard(sub, shard);
			return 0;
		}
		memcpy(&word, sub->buffer + sub->run_off, sizeof(word));
		if (unlikely(!record_word_is_done(word, RECORD_LEN_MAX, UINT64_MAX)) ||
		    unlikely(!is_as_walked(sub, shard, word))) {
			find_senseless(sub, shard);
			return 0;
		}
		switch (record_word_kind(word)) {
		case RECORD_COMMITTED:
			r = take_record(sub, shard, word, ret_message);
			break;
		case RECORD_DAMAGED:
			sub->run_off = sub->run_len;
			r = subscribe_gap(sub, shard, shard->pos + record_step(word),
					  LEAT_GAP_DAMAGE);
			break;
		default:
			sub->stats.tombstones += record_word_kind(word) == RECORD_TOMBSTONE;
			step_over(sub, shard, record_step(word));
			break;
		}
		if (likely(r == SOURCE_RUN))
			return 1;
		if (r == SOURCE_GAP)
			return take_gap(sub, ret_message);
		if (r == SOURCE_END)
			return 0;
	}
	subscribe_drop_run(sub);
	return 0;
}

/* Nothing new in a shard that is to be read up to a time: is that time over? */
static bool time_is_over(const struct leat_subscriber *sub, const struct subscribe_shard *shard)
{
	if (sub->stop_ns == UINT64_MAX || clock_ns(shard->ring->govern) < sub->stop_ns)
		return false;
	/* What is reserved from now on gets a later time; what was before lies below the tail. */
	return !shard->next && shard->pos >= ring_tail(shard->ring);
}

static int scan_shard(struct leat_subscriber *sub, struct subscribe_shard *shard,
		      struct leat_message *ret_message)
{
	int i, r = SOURCE_AGAIN;

	for (i = 0; i < SUBSCRIBE_STEPS; i++) {
		if (shard->pos >= shard->stop_pos && !shard->seek)
			shard->ended = true;
		if (shard->ended)
			return SOURCE_END;
		if (sub->zero_copy && source_ring_view(sub, shard, ret_message) == 1)
			return SOURCE_RUN;
		r = shard->on_disk ? source_disk_fill(sub, shard) : source_ring_fill(sub, shard);
		if (r == SOURCE_RUN && take(sub, ret_message) == 1)
			return SOURCE_RUN;
		if (r == SOURCE_GAP) {
			take_gap(sub, ret_message);
			return SOURCE_RUN;
		}
		if (r == SOURCE_NONE && time_is_over(sub, shard))
			shard->ended = true;
		else if (r != SOURCE_RUN && r != SOURCE_AGAIN)
			return r;
	}
	return SOURCE_LATER;
}

/* True when of a shard every record from pos on is to be handed out. */
static bool is_simple(const struct leat_subscriber *sub, const struct subscribe_shard *shard)
{
	return sub->stop_ns == UINT64_MAX && shard->stop_pos == UINT64_MAX &&
	       (shard->skip_pos | shard->skip_ns) == 0;
}

/* The shard that subscribe_quickly() can read, or NULL. */
static struct subscribe_shard *choose_quick(struct leat_subscriber *sub)
{
	struct subscribe_shard *shard = &sub->shards[0];

	if (sub->n_shards > 1 || sub->options.isolation != LEAT_ISOLATION_RING ||
	    sub->buffer_len < RING_SHORT_LEN || !is_simple(sub, shard) || shard->seek ||
	    shard->on_disk || shard->paused || shard->ended || shard->damaged || shard->senseless)
		return NULL;
	if (shard->pos >= shard->limit)
		shard->limit = ring_limit(shard->ring);
	return shard;
}

static int scan_shards(struct leat_subscriber *sub, struct leat_message *ret_message,
		       bool *ret_later)
{
	uint32_t n_open = 0, i, at = sub->turn;
	int error = 0;

	for (i = 0; i < sub->n_shards; i++) {
		struct subscribe_shard *shard = &sub->shards[at];
		int r;

		at = at + 1 < sub->n_shards ? at + 1 : 0;
		if (shard->ended)
			continue;
		n_open++;
		if (shard->paused)
			continue;
		r = scan_shard(sub, shard, ret_message);
		if (r == SOURCE_RUN) {
			sub->turn = at;
			return 1;
		}
		if (r == SOURCE_END)
			n_open--;
		if (r == SOURCE_LATER)
			*ret_later = true;
		/* The other shards may still have something. */
		if (r < 0)
			error = r;
	}
	if (error < 0)
		return error;
	return n_open > 0 ? -EAGAIN : 0;
}

int subscribe_scan(struct leat_subscriber *sub, struct leat_message *ret_message, bool *ret_later)
{
	int r;

	sub->quick = choose_quick(sub);
	if (sub->quick && !sub->zero_copy && subscribe_quickly(sub, ret_message)) {
		sub->quick->quiet = false;
		return 1;
	}
	r = scan_shards(sub, ret_message, ret_later);
	sub->quick = sub->shards[0].quiet ? NULL : choose_quick(sub);
	sub->run_simple = sub->run_shard && is_simple(sub, sub->run_shard) &&
			  (sub->run_from_disk || sub->options.isolation == LEAT_ISOLATION_RING);
	return r;
}

/* ---- calls ---- */

/* As subscribe_quickly(), where a batch begins: for the first record in it. */
static inline_never bool enter_batch(struct leat_subscriber *sub, struct leat_message *ret_message)
{
	struct subscribe_shard *shard = sub->quick;
	uint64_t pos, first, word;

	if (!shard || sub->run_shard || shard->pos >= shard->limit)
		return false;
	pos = shard->pos;
	first = pos + RECORD_HEADER_LEN;
	if (!ring_at_batch(shard->ring, pos) || first >= shard->limit ||
	    !ring_read_short(shard->ring, first, sub->buffer, &word))
		return false;
	shard->pos = first;
	if (subscribe_fill(sub, shard, sub->buffer, word, ret_message))
		return true;
	shard->pos = pos;
	return false;
}

/* The next message, whatever it takes. */
static int next(struct leat_subscriber *sub, uint64_t timeout_ns, struct leat_message *ret_message)
{
	bool later = false;
	int r;

	if (unlikely(!bus_alive(sub->bus)))
		return subscribe_forked(sub);
	if (sub->run_shard && take(sub, ret_message) == 1)
		return 1;
	if (!sub->zero_copy && enter_batch(sub, ret_message))
		return 1;
	r = subscribe_scan(sub, ret_message, &later);
	if (likely(r == 1))
		return 1;
	if (r == -EAGAIN)
		r = idle_wait(sub, timeout_ns, ret_message);
	return subscribe_done(sub, r);
}

/* As take(), for a record without flags and headers in a run of which everything is wanted. */
static inline_always bool take_quickly(struct leat_subscriber *sub,
				       struct leat_message *ret_message)
{
	uint64_t left = sub->run_len - sub->run_off, word, span;
	const char *bytes = sub->buffer + sub->run_off;

	if (!sub->run_simple || unlikely(left < RECORD_HEADER_LEN))
		return false;
	memcpy(&word, bytes, sizeof(word));
	span = record_span(record_word_len(word));
	if (unlikely(word >> 48 != RECORD_COMMITTED || record_word_len(word) < RECORD_HEADER_LEN ||
		     span > left) ||
	    !subscribe_fill(sub, sub->run_shard, bytes, word, ret_message))
		return false;
	sub->run_off += span;
	sub->stats.from_disk += sub->run_from_disk;
	return true;
}

/* Is there a record that can be had without further ado? */
static inline_always bool next_quickly(struct leat_subscriber *sub,
				       struct leat_message *ret_message)
{
	if (sub->run_shard)
		return take_quickly(sub, ret_message);
	return likely(sub->quick != NULL) && subscribe_quickly(sub, ret_message);
}

int leat_next(struct leat_subscriber *sub, uint64_t timeout_ns, struct leat_message *ret_message)
{
	if (likely(*sub->alive != 0) && next_quickly(sub, ret_message))
		return 1;
	return next(sub, timeout_ns, ret_message);
}

static void mark_view(const struct subscribe_shard *shard, struct leat_message *ret_message)
{
	ret_message->opaque[0] = SUBSCRIBE_VIEW;
	ret_message->opaque[1] = shard->ring->generation;
}

/* As next_quickly(), in place. */
static bool view_quickly(struct leat_subscriber *sub, struct leat_message *ret_message)
{
	struct subscribe_shard *shard = sub->quick;
	const char *bytes;
	uint64_t word;

	if (!shard || sub->run_shard || shard->pos >= shard->limit)
		return false;
	bytes = ring_view_plain(shard->ring, shard->pos, &word);
	if (!bytes || !subscribe_fill(sub, shard, bytes, word, ret_message))
		return false;
	mark_view(shard, ret_message);
	return true;
}

int leat_view(struct leat_subscriber *sub, uint64_t timeout_ns, struct leat_message *ret_message)
{
	int r;

	if (likely(*sub->alive != 0) && view_quickly(sub, ret_message))
		return 1;
	sub->zero_copy = true;
	r = next(sub, timeout_ns, ret_message);
	sub->zero_copy = false;
	return r;
}

int subscribe_view(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t word,
		   const void *bytes, struct leat_message *ret_message)
{
	struct record_view view;

	if (record_parse(word, bytes, shard->pos, &view) < 0 || is_past_stop(sub, &view))
		return 0;
	shard->pos += record_step(word);
	shard->quiet = false;
	fill_message(sub, shard, &view, record_step(word), ret_message);
	mark_view(shard, ret_message);
	return 1;
}

int leat_view_valid(struct leat_subscriber *sub, const struct leat_message *message)
{
	struct subscribe_shard *shard;

	if (message->opaque[0] != SUBSCRIBE_VIEW)
		return 1;
	if (!bus_alive(sub->bus))
		return subscribe_forked(sub);
	shard = subscribe_shard_of(sub, (int32_t)message->shard);
	if (!shard)
		return 0;
	if (shard->ring->generation == message->opaque[1] &&
	    ring_still_valid(shard->ring, message->pos))
		return 1;
	sub->stats.lapped++;
	if (shard->pos == message->next_pos) {
		shard->pos = message->pos;
		shard->given = message->pos;
		sub->stats.records--;
	}
	return 0;
}

/*
 * Who takes records as fast as they are written meets the writer at every one of them: the line is
 * taken from him while he writes it, which costs both more than the record. A moment's pause, in a
 * call that has given much already, lets the next ones be written in peace.
 */
static bool pause_behind_writer(struct leat_subscriber *sub, struct leat_message *ret_message)
{
	int i;

	if (sub->run_shard || !sub->quick)
		return false;
	for (i = 0; i < SUBSCRIBE_PAUSES; i++)
		cpu_relax();
	return subscribe_quickly(sub, ret_message);
}

int leat_poll(struct leat_subscriber *sub, leat_handler handler, void *context, size_t max,
	      uint64_t timeout_ns)
{
	struct leat_message message;
	size_t n;
	int r = 0;

	if (unlikely(*sub->alive == 0))
		return subscribe_forked(sub);
	for (n = 0; n < max && n < INT32_MAX; n++) {
		if (unlikely(!next_quickly(sub, &message)) && !enter_batch(sub, &message) &&
		    ((n < SUBSCRIBE_MUCH && !sub->much) || !pause_behind_writer(sub, &message))) {
			r = next(sub, n == 0 ? timeout_ns : 0, &message);
			/* What was handed out before counts; an error shows again next time. */
			if (r <= 0)
				break;
		}
		r = handler(context, &message);
		if (r != 0)
			return r;
	}
	sub->much = n >= SUBSCRIBE_MUCH;
	return n > 0 ? (int)n : r;
}

int leat_message_header(const struct leat_message *message, uint32_t *off,
			struct leat_header *ret_header)
{
	struct record_field field;

	if (message->kind != LEAT_RECORD ||
	    record_headers_next(message->headers, message->headers_len, off, &field) != 1)
		return 0;
	*ret_header = (struct leat_header){
		.name = field.name,
		.name_len = field.name_len,
		.value = field.value,
		.value_len = field.value_len,
	};
	return 1;
}
