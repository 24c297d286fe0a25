/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leat_subscriber: for each shard a place in its log and where it is read from.
 *
 * subscribe.c hands out messages; source_ring.c and source_disk.c fill the buffer with a run of
 * records of one shard; start.c finds places; idle.c waits; helper.c is the thread behind
 * leat_subscriber_fd(). One run is in the buffer at a time and is used up before another is read.
 */
#ifndef CLIENTLIB_SUBSCRIBE_H
#define CLIENTLIB_SUBSCRIBE_H

#include "clientlib/attach.h"
#include "clientlib/bus.h"
#include "clientlib/leat.h"
#include "persist/reader.h"
#include "shm/ring_read.h"

struct helper;

enum {
	SUBSCRIBE_SEGMENTS = 8, /* the daemon gives at most so many at once */
};

/* What a source found. */
enum {
	SOURCE_NONE = 0,  /* nothing new: the shard's bell will ring */
	SOURCE_RUN = 1,   /* a run is in the buffer */
	SOURCE_GAP = 2,   /* sub->gap is set */
	SOURCE_AGAIN = 3, /* something changed: ask once more */
	SOURCE_LATER = 4, /* nothing now, and no bell tells when: look again soon */
	SOURCE_END = 5,   /* the shard's stop is reached */
};

/* Segments as the daemon gave them, in order. */
struct subscribe_disk {
	struct {
		struct reader *reader;
		uint64_t base;
		uint64_t end; /* 0: it is being written */
	} segments[SUBSCRIBE_SEGMENTS];
	unsigned int n_segments;
	uint64_t asked_pos; /* where the record did not validate, and segments were asked for */
};

struct subscribe_shard {
	struct ring *ring; /* that is read */
	struct ring *next; /* its successor, where the progress is told, once it is known */
	uint32_t shard;
	bool seek;    /* pos need not be a record's beginning */
	bool on_disk; /* the ring does not hold pos, or makes no sense below disk_upto */
	bool paused;
	bool ended;
	bool quiet;     /* what is missing before the first record is no news: from the earliest */
	bool damaged;   /* the ring made no sense at pos when it was looked at last */
	bool senseless; /* told by who took a copy of it apart */
	uint64_t pos;   /* next to be read; of the run in the buffer: next to be handed out */
	uint64_t given; /* position after the last message; where it began before that */
	uint64_t limit; /* cached for ring_read() */
	uint64_t stop_pos; /* exclusive; UINT64_MAX = none */
	uint64_t skip_pos; /* records below are not handed out */
	uint64_t skip_ns;  /* nor those before the first with this timestamp or later */
	uint64_t later_ns; /* CLOCK_MONOTONIC: no request to the daemon before */
	uint64_t damaged_ns;
	uint64_t damaged_pos; /* where that was */
	uint64_t disk_upto;   /* the ring is not believed below it */
	uint32_t epoch;       /* of the connection when the ring was last known to be the newest */
	struct subscribe_disk disk;
};

struct leat_subscriber {
	/* The run in the buffer; first, because every message comes from here. */
	char *buffer;
	uint64_t run_off;
	uint64_t run_len;
	struct subscribe_shard *run_shard; /* NULL = no run */
	/* Next to be read from its ring as subscribe_quickly() does; NULL = not so simple. Set by
	 * who has looked, cleared by whatever changes where reading goes on. */
	struct subscribe_shard *quick;
	bool run_from_disk;
	bool run_simple; /* of its shard everything is wanted as it is, and nothing stops it */
	bool gap_set;
	bool zero_copy;   /* in leat_view() */
	bool much;        /* the last leat_poll() gave so much that more is coming */
	uint64_t stop_ns; /* exclusive; UINT64_MAX = none */
	struct leat_subscriber_stats stats;

	struct leat_bus *bus;
	const volatile uint32_t *alive; /* of the bus */
	struct subscribe_shard *shards;
	uint32_t n_shards; /* read by this subscriber */
	uint32_t turn;     /* where the next look over all shards begins */
	uint64_t buffer_len;
	uint64_t check_ns; /* CLOCK_MONOTONIC: when the connection is looked at again */
	uint64_t rest_ns;  /* since when nothing has come, as far as waiting knows, and how many */
	uint64_t rest_records; /* records had come then */
	uint64_t n_moves; /* how often a shard's ring was replaced: bells noted before are void */
	struct leat_message gap;
	struct leat_subscriber_options options;
	struct helper *helper;
	const char *failure;
	struct detail detail;
	char *stream;
	char *name;
};

/* Ends a call: keeps the sentence for leat_subscriber_detail() and leat_detail(). */
int subscribe_done(struct leat_subscriber *sub, int r);
/* -EPERM: this is a forked child. */
int subscribe_forked(struct leat_subscriber *sub);

/* The shard as read by this subscriber, or NULL. */
struct subscribe_shard *subscribe_shard_of(const struct leat_subscriber *sub, int32_t shard);

/*
 * Looks once at every shard: 1 with a message, 0 when all have reached their stop, -EAGAIN when
 * there is nothing now, or what a source gave. *ret_later: some shard has to be looked at again
 * although no bell rings for it.
 */
int subscribe_scan(struct leat_subscriber *sub, struct leat_message *ret_message, bool *ret_later);

/* Forgets the run in the buffer; what was not handed out of it is read again. */
void subscribe_drop_run(struct leat_subscriber *sub);

/* A buffer of at least len bytes; the run in it is lost. -ENOMEM. */
int subscribe_grow(struct leat_subscriber *sub, uint64_t len);

/* A gap becomes the next message; the shard goes on behind it. Returns SOURCE_GAP. */
int subscribe_gap(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t to,
		  enum leat_gap reason);

/* Up to where the isolation lets records be handed out; from the disk never above written. */
uint64_t subscribe_upto(const struct leat_subscriber *sub, const struct subscribe_shard *shard);

/* Makes a message of the record at shard->pos that lies in the ring at `bytes`; 1, or 0. */
int subscribe_view(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t word,
		   const void *bytes, struct leat_message *ret_message);

/*
 * Makes a message of the record at shard->pos, copied to `bytes`, whose word has no flags; false
 * when it has headers, or does not fit its length.
 */
static inline_always bool subscribe_fill(struct leat_subscriber *sub, struct subscribe_shard *shard,
					 const char *bytes, uint64_t word,
					 struct leat_message *ret_message)
{
	uint32_t len = record_word_len(word) - RECORD_HEADER_LEN, key_len;
	uint64_t pos = shard->pos, next = pos + align_up(len, RECORD_ALIGN) + RECORD_HEADER_LEN;
	uint64_t timestamp_ns, who;

	/* Together with the length of the headers, which makes it too long if there are any. */
	memcpy(&key_len, bytes + offsetof(struct record_header, key_len), 4);
	if (unlikely(key_len > len))
		return false;
	memcpy(&timestamp_ns, bytes + offsetof(struct record_header, timestamp_ns), 8);
	memcpy(&who, bytes + offsetof(struct record_header, publisher), 8);
	shard->pos = next;
	shard->given = next;
	sub->stats.records++;
	sub->stats.bytes += len + RECORD_HEADER_LEN;
	ret_message->kind = LEAT_RECORD;
	ret_message->shard = shard->shard;
	ret_message->pos = pos;
	ret_message->next_pos = next;
	ret_message->timestamp_ns = timestamp_ns;
	ret_message->event_time_ns = 0;
	ret_message->key = bytes + RECORD_HEADER_LEN;
	ret_message->value = bytes + RECORD_HEADER_LEN + key_len;
	ret_message->headers = ret_message->value;
	ret_message->key_len = key_len;
	ret_message->value_len = len - key_len;
	ret_message->headers_len = 0;
	ret_message->publisher = (uint32_t)who;
	ret_message->sequence = (uint32_t)(who >> 32);
	ret_message->reason = 0;
	ret_message->opaque[0] = 0;
	ret_message->opaque[1] = 0;
	return true;
}

/*
 * The next record of sub->quick, where it is short and has no headers; false: look in full. There
 * is no run in the buffer then, so that the record has its place there.
 */
static inline_always bool subscribe_quickly(struct leat_subscriber *sub,
					    struct leat_message *ret_message)
{
	struct subscribe_shard *shard = sub->quick;
	uint64_t word;

	return likely(shard->pos < shard->limit) &&
	       ring_read_short(shard->ring, shard->pos, sub->buffer, &word) &&
	       subscribe_fill(sub, shard, sub->buffer, word, ret_message);
}

/* The ring that tells the progress. */
static inline struct ring *subscribe_newest(const struct subscribe_shard *shard)
{
	return shard->next ? shard->next : shard->ring;
}

#endif
