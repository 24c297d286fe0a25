/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record: 32 bytes of header, then [event time], key, headers, value; the same bytes in the
 * ring and in a segment file. shm/FORMAT.md is the normative description.
 *
 * A position is the 64-bit byte address of a record in its shard's log, a multiple of 32.
 */
#ifndef SHM_RECORD_H
#define SHM_RECORD_H

#include "shm/atomic.h"
#include "shm/base.h"
#include "shm/crc32c.h"

enum {
	RECORD_ALIGN = 32,
	RECORD_HEADER_LEN = 32,
	RECORD_EVENT_TIME_LEN = 8,
	RECORD_KEY_MAX = 65535,
	RECORD_HEADERS_MAX = 65535,
	RECORD_LEN_MAX = 16 << 20, /* of one record as a whole, header included */
};

/* What the commit word says of its record. A word of 0 is memory that nobody has reserved. */
enum record_kind {
	RECORD_FREE = 0,
	RECORD_RESERVED = 1,  /* owner and length are known, the content is being written */
	RECORD_COMMITTED = 2, /* a record */
	RECORD_TOMBSTONE = 3, /* a dead or stopped publisher's reservation; see record_tomb_* */
	RECORD_PADDING = 4,   /* discarded by its publisher; nothing to see */
	RECORD_BATCH = 5,     /* header of an atomic batch: its records follow inside its length */
	RECORD_DAMAGED = 6,   /* the daemon found this range unreadable: a gap */
};

/* Flags of the commit word. */
enum {
	RECORD_F_EVENT_TIME = 1, /* 8 bytes of publisher's event time stand before the key */
	RECORD_F_KNOWN = 1,
};

/*
 * The commit word. Bits 0-31 length in bytes, exact, header included; 32-47 owner (publisher
 * slot); 48-55 kind; 56-63 flags. A record takes align_up(length, 32) bytes of the log.
 */
struct record_header {
	_Atomic uint64_t word;
	uint64_t timestamp_ns; /* since 1970, when it was published (or buried) */
	uint32_t crc;          /* CRC-32C, see record_crc(); 0 in a stream without checksums */
	uint16_t key_len;
	uint16_t headers_len;
	uint32_t publisher; /* id the daemon gave; tombstone: pid of the dead */
	uint32_t sequence;  /* the publisher's own count; tombstone: uid of the dead */
};

_Static_assert(sizeof(struct record_header) == 32, "record_header size 32");
_Static_assert(offsetof(struct record_header, word) == 0, "record_header.word 0 8");
_Static_assert(offsetof(struct record_header, timestamp_ns) == 8, "record_header.timestamp_ns 8 8");
_Static_assert(offsetof(struct record_header, crc) == 16, "record_header.crc 16 4");
_Static_assert(offsetof(struct record_header, key_len) == 20, "record_header.key_len 20 2");
_Static_assert(offsetof(struct record_header, headers_len) == 22, "record_header.headers_len 22 2");
_Static_assert(offsetof(struct record_header, publisher) == 24, "record_header.publisher 24 4");
_Static_assert(offsetof(struct record_header, sequence) == 28, "record_header.sequence 28 4");

static inline uint64_t record_word(enum record_kind kind, uint32_t len, uint16_t owner,
				   uint8_t flags)
{
	return (uint64_t)flags << 56 | (uint64_t)kind << 48 | (uint64_t)owner << 32 | len;
}

static inline uint32_t record_word_len(uint64_t word)
{
	return (uint32_t)word;
}

static inline uint16_t record_word_owner(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

static inline enum record_kind record_word_kind(uint64_t word)
{
	return (enum record_kind)((word >> 48) & 0xff);
}

static inline uint8_t record_word_flags(uint64_t word)
{
	return (uint8_t)(word >> 56);
}

/* Bytes of log that a length takes. */
static inline uint64_t record_span(uint32_t len)
{
	return align_up(len, RECORD_ALIGN);
}

/*
 * Bytes of log to go on by after this word when walking record by record. A batch header is
 * stepped *into*: its records follow it at once, and a batch is committed by its own word alone.
 */
static inline uint64_t record_step(uint64_t word)
{
	if (record_word_kind(word) == RECORD_BATCH)
		return RECORD_HEADER_LEN;
	return record_span(record_word_len(word));
}

/*
 * True when a word can stand for something finished that a reader may walk over: a known kind
 * other than free and reserved, a length in range, known flags. max_len bounds records; padding,
 * tombstones, batches and damage can be as long as max_span (the ring's size).
 */
static inline bool record_word_is_done(uint64_t word, uint64_t max_len, uint64_t max_span)
{
	uint32_t len = record_word_len(word);

	if (len < RECORD_HEADER_LEN || (record_word_flags(word) & ~RECORD_F_KNOWN) != 0)
		return false;
	switch (record_word_kind(word)) {
	case RECORD_COMMITTED:
		return len <= max_len;
	case RECORD_TOMBSTONE:
	case RECORD_PADDING:
	case RECORD_BATCH:
	case RECORD_DAMAGED:
		return record_span(len) <= max_span;
	default:
		return false;
	}
}

/* The header's publisher and sequence as they stand side by side in it. */
static inline uint64_t record_who(uint32_t publisher, uint32_t sequence)
{
	return publisher | (uint64_t)sequence << 32;
}

/* A record taken apart. The pointers go into the bytes that were parsed. */
struct record_view {
	uint64_t pos;
	uint64_t timestamp_ns;
	uint64_t event_time_ns; /* 0 when the publisher gave none */
	uint32_t publisher;
	uint32_t sequence;
	const void *key;
	const void *headers; /* encoded, see record_headers_next() */
	const void *value;
	uint32_t key_len;
	uint32_t headers_len;
	uint32_t value_len;
	enum record_kind kind;
	uint32_t len; /* of the whole, as in the word */
};

/*
 * Takes apart the record of `word` (a word that passed record_word_is_done(), loaded once) whose
 * bytes are at `bytes`, private memory or memory checked afterwards. Reads at most
 * record_word_len(word) bytes. Returns 0, or -EBADMSG when key and headers do not fit the length.
 */
static inline int record_parse(uint64_t word, const void *bytes, uint64_t pos,
			       struct record_view *ret_view)
{
	const char *p = bytes;
	uint32_t len = record_word_len(word), off = RECORD_HEADER_LEN;
	struct record_view view = { .pos = pos, .kind = record_word_kind(word), .len = len };
	uint16_t key_len, headers_len;

	shared_load(p + 8, RECORD_HEADER_LEN - 8);
	memcpy(&view.timestamp_ns, p + 8, 8);
	memcpy(&key_len, p + 20, 2);
	memcpy(&headers_len, p + 22, 2);
	memcpy(&view.publisher, p + 24, 4);
	memcpy(&view.sequence, p + 28, 4);
	if (view.kind == RECORD_COMMITTED) {
		if (record_word_flags(word) & RECORD_F_EVENT_TIME) {
			if (len < off + RECORD_EVENT_TIME_LEN)
				return -EBADMSG;
			shared_load(p + off, 8);
			memcpy(&view.event_time_ns, p + off, 8);
			off += RECORD_EVENT_TIME_LEN;
		}
		if ((uint64_t)off + key_len + headers_len > len)
			return -EBADMSG;
		view.key = p + off;
		view.key_len = key_len;
		view.headers = p + off + key_len;
		view.headers_len = headers_len;
		view.value = p + off + key_len + headers_len;
		view.value_len = len - off - key_len - headers_len;
	}
	*ret_view = view;
	return 0;
}

/* The seed of a shard's checksums: binds every record to its stream and shard. */
uint32_t record_crc_seed(const uint8_t stream_uuid[16], uint32_t shard);

/*
 * CRC-32C of a record at `bytes` with the word `word` as committed and position `pos`: over pos,
 * word, the header from timestamp on except crc itself, and for RECORD_COMMITTED the content up
 * to its exact length. Other kinds are covered by their header alone.
 */
uint32_t record_crc(uint32_t seed, uint64_t pos, uint64_t word, const void *bytes);
/* The same of a header that was copied away from its content. */
uint32_t record_crc_of(uint32_t seed, uint64_t pos, uint64_t word, const void *header,
		       const void *content);

/*
 * The same, inline, where crc32c_is_fast(). The header's own checksum is left out, so the rest of
 * the header goes through in whole steps of 8 bytes. Each field is read as wide as it was written a
 * moment ago: a wider read would wait until the stores have reached the cache.
 */
static inline uint32_t record_crc_fast(uint32_t seed, uint64_t pos, uint64_t word,
				       const void *header, const void *content)
{
	const char *p = header;
	uint64_t timestamp_ns, who, crc = (uint32_t)~seed;
	uint32_t lens;

	shared_load(p + 8, RECORD_HEADER_LEN - 8);
	memcpy(&timestamp_ns, p + offsetof(struct record_header, timestamp_ns), 8);
	memcpy(&who, p + offsetof(struct record_header, publisher), 8);
	memcpy(&lens, p + offsetof(struct record_header, key_len), 4);
	crc = crc32c_step8(crc, pos);
	crc = crc32c_step8(crc, word);
	crc = crc32c_step8(crc, timestamp_ns);
	crc = crc32c_step8(crc, who);
	crc = crc32c_step8(crc, lens);
	if (record_word_kind(word) == RECORD_COMMITTED) {
		shared_load(content, record_word_len(word) - RECORD_HEADER_LEN);
		crc = crc32c_run(crc, content, record_word_len(word) - RECORD_HEADER_LEN);
	}
	return ~(uint32_t)crc;
}

/* One header of a record: u16 name length, u16 value length, name, value; packed, unaligned. */
struct record_field {
	const void *name;
	const void *value;
	uint16_t name_len;
	uint16_t value_len;
};

/*
 * Steps through encoded headers: *off starts at 0. Returns 1 with a field, 0 at the end,
 * -EBADMSG when a length runs past the end.
 */
int record_headers_next(const void *headers, uint32_t headers_len, uint32_t *off,
			struct record_field *ret_field);

#endif
