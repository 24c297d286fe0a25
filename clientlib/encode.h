/* SPDX-License-Identifier: Apache-2.0 */
/* Writes records as they stand in the ring. Inline what every record needs. */
#ifndef CLIENTLIB_ENCODE_H
#define CLIENTLIB_ENCODE_H

#include "clientlib/detail.h"
#include "clientlib/leat.h"
#include "shm/ring.h"

/* What stands in every record's header beside its length. */
struct encode_stamp {
	uint64_t timestamp_ns;
	uint64_t who; /* record_who() */
};

/* Of a record with headers or event time, or with a part that is out of range; see encode_len(). */
uint64_t encode_len_all(const struct leat_record *record);
/* Writes event time, key and headers of such a record; returns where its value belongs. */
char *encode_extras(void *at, const struct leat_record *record);

/* Says what is wrong with a record whose length is above `max_len`. -EMSGSIZE or -EINVAL. */
int encode_refuse(const struct leat_record *record, uint64_t max_len, struct detail *detail);

/* Key and value and nothing else, as most records are. */
static inline bool encode_is_plain(const struct leat_record *record)
{
	return (record->event_time_ns | record->n_headers) == 0;
}

/* Exact length of a record, header included; above every limit when a part is out of range. */
static inline uint64_t encode_len(const struct leat_record *record)
{
	if (likely(encode_is_plain(record) && record->key_len <= RECORD_KEY_MAX &&
		   record->value_len <= RECORD_LEN_MAX))
		return RECORD_HEADER_LEN + record->key_len + record->value_len;
	return encode_len_all(record);
}

/* The word that commits a record of this length. */
static inline uint64_t encode_word(const struct leat_record *record, uint32_t len, uint16_t owner)
{
	return record_word(RECORD_COMMITTED, len, owner,
			   record->event_time_ns ? RECORD_F_EVENT_TIME : 0);
}

/*
 * Copies what is short, where the call of memcpy() costs more than the copy, and goes on with the
 * checksum: of what was copied, because the user may change his own copy meanwhile.
 */
static inline_always uint64_t encode_short(uint64_t crc, char *to, const char *from, size_t len)
{
	for (; len >= 64; len -= 64, to += 64, from += 64) {
		memcpy(to, from, 64);
		crc = crc32c_at64(crc, to);
		compiler_keep(len);
	}
	if (len == 0)
		return crc;
	for (; len >= 8; len -= 8, to += 8, from += 8) {
		memcpy(to, from, 8);
		crc = crc32c_at8(crc, to);
	}
	for (; len > 0; len--, to++, from++) {
		*to = *from;
		crc = crc32c_step1(crc, (uint8_t)*to);
	}
	return crc;
}

/*
 * A header: all but the word and the checksum. Stored as wide as record_crc_fast() reads it back:
 * two narrow stores are not forwarded to one wide load, which then waits for the cache line.
 */
static inline void encode_header(void *at, const struct encode_stamp *stamp, uint32_t key_len)
{
	char *p = at;

	memcpy(p + offsetof(struct record_header, timestamp_ns), &stamp->timestamp_ns, 8);
	memcpy(p + offsetof(struct record_header, key_len), &key_len, 4);
	memcpy(p + offsetof(struct record_header, publisher), &stamp->who, 8);
}

/*
 * Writes everything but the commit word, the checksum and the value at `at`, which has room for it
 * all. Returns where the value belongs.
 */
static inline char *encode_front(void *at, const struct leat_record *record,
				 const struct encode_stamp *stamp)
{
	char *p = (char *)at + RECORD_HEADER_LEN;

	encode_header(at, stamp, (uint32_t)record->key_len);
	if (unlikely(!encode_is_plain(record)))
		return encode_extras(at, record);
	if (record->key_len > 0)
		memcpy(p, record->key, record->key_len);
	return p + record->key_len;
}

/* Sets the checksum, or 0 in a stream without. */
static inline void encode_seal(const struct ring *ring, void *at, uint64_t pos, uint64_t word)
{
	uint32_t crc = 0;

	if (likely(ring->flags & GOVERN_F_CHECKSUM))
		crc = record_crc(ring->crc_seed, pos, word, at);
	memcpy((char *)at + offsetof(struct record_header, crc), &crc, 4);
}

/* All of a record but its commit word. */
static inline void encode_record(const struct ring *ring, void *at, uint64_t pos, uint64_t word,
				 const struct leat_record *record, const struct encode_stamp *stamp)
{
	char *value = encode_front(at, record, stamp);

	if (record->value_len > 0)
		memcpy(value, record->value, record->value_len);
	encode_seal(ring, at, pos, word);
}

/* Keys and values that are shorter than this, together, can take the short way. */
enum {
	ENCODE_SHORT_LEN = 512
};

/* What the short way needs to know of a ring; none: it cannot be taken. */
struct encode_quick {
	uint32_t short_len; /* ENCODE_SHORT_LEN, or 0 */
	uint32_t crc_begin;
	bool checksum;
};

void encode_quick_init(struct encode_quick *quick, const struct ring *ring);

static inline bool encode_is_quick(const struct encode_quick *quick,
				   const struct leat_record *record)
{
	return encode_is_plain(record) && (record->key_len | record->value_len) < quick->short_len;
}

/* As encode_record(), for a record that encode_is_quick(). `who` as record_who(). */
static inline_always void encode_quickly(const struct encode_quick *quick, void *at, uint64_t pos,
					 uint64_t word, const struct leat_record *record,
					 uint64_t timestamp_ns, uint64_t who)
{
	char *p = at;
	size_t key_len = record->key_len, value_len = record->value_len;
	const void *value = record->value;
	uint64_t crc = quick->crc_begin;
	uint32_t lens = (uint32_t)key_len;

	memcpy(p + offsetof(struct record_header, timestamp_ns), &timestamp_ns, 8);
	memcpy(p + offsetof(struct record_header, key_len), &lens, 4);
	memcpy(p + offsetof(struct record_header, publisher), &who, 8);
	crc = crc32c_step8(crc, pos);
	crc = crc32c_step8(crc, word);
	crc = crc32c_step8(crc, timestamp_ns);
	crc = crc32c_step8(crc, who);
	crc = crc32c_step8(crc, key_len);
	p += RECORD_HEADER_LEN;
	if (key_len > 0) {
		crc = encode_short(crc, p, record->key, key_len);
		p += key_len;
	}
	crc = ~encode_short(crc, p, value, value_len);
	if (unlikely(!quick->checksum))
		crc = 0;
	memcpy((char *)at + offsetof(struct record_header, crc), &crc, 4);
}

#endif
