/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/record.h"

#include "shm/crc32c.h"

uint32_t record_crc_seed(const uint8_t stream_uuid[16], uint32_t shard)
{
	return crc32c(crc32c(0, stream_uuid, 16), &shard, sizeof(shard));
}

uint32_t record_crc(uint32_t seed, uint64_t pos, uint64_t word, const void *bytes)
{
	const char *p = bytes;
	uint32_t len = RECORD_HEADER_LEN;
	uint64_t head[5], timestamp_ns, who;
	uint32_t lens;

	/* The header's own checksum is left out, so what is covered of it is gathered first, in
	 * whole 8-byte steps because each step of the instruction costs the same. Each field is
	 * read as wide as it was written a moment ago, and head is written once: a wider read
	 * would wait until the store has reached the cache. */
	memcpy(&timestamp_ns, p + 8, 8);
	memcpy(&who, p + 24, 8);
	memcpy(&lens, p + 20, 4);
	head[0] = pos;
	head[1] = word;
	head[2] = timestamp_ns;
	head[3] = who;
	head[4] = lens;
	if (record_word_kind(word) == RECORD_COMMITTED)
		len = record_word_len(word);
	return crc32c_pair(seed, head, sizeof(head), p + RECORD_HEADER_LEN,
			   len - RECORD_HEADER_LEN);
}

int record_headers_next(const void *headers, uint32_t headers_len, uint32_t *off,
			struct record_field *ret_field)
{
	const char *p = headers;
	uint32_t at = *off;
	struct record_field field;

	if (at == headers_len)
		return 0;
	if (at > headers_len || headers_len - at < 4)
		return -EBADMSG;
	memcpy(&field.name_len, p + at, 2);
	memcpy(&field.value_len, p + at + 2, 2);
	at += 4;
	if (headers_len - at < (uint32_t)field.name_len + field.value_len)
		return -EBADMSG;
	field.name = p + at;
	field.value = p + at + field.name_len;
	*off = at + field.name_len + field.value_len;
	*ret_field = field;
	return 1;
}
