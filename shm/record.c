/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/record.h"

uint32_t record_crc_seed(const uint8_t stream_uuid[16], uint32_t shard)
{
	return crc32c(crc32c(0, stream_uuid, 16), &shard, sizeof(shard));
}

uint32_t record_crc(uint32_t seed, uint64_t pos, uint64_t word, const void *bytes)
{
	return record_crc_of(seed, pos, word, bytes, (const char *)bytes + RECORD_HEADER_LEN);
}

uint32_t record_crc_of(uint32_t seed, uint64_t pos, uint64_t word, const void *header,
		       const void *content)
{
	const char *p = header;
	uint64_t head[5] = { pos, word };
	uint32_t len = RECORD_HEADER_LEN;

	if (likely(crc32c_is_fast()))
		return record_crc_fast(seed, pos, word, header, content);
	memcpy(&head[2], p + offsetof(struct record_header, timestamp_ns), 8);
	memcpy(&head[3], p + offsetof(struct record_header, publisher), 8);
	memcpy(&head[4], p + offsetof(struct record_header, key_len), 4);
	if (record_word_kind(word) == RECORD_COMMITTED)
		len = record_word_len(word);
	return crc32c_pair(seed, head, sizeof(head), content, len - RECORD_HEADER_LEN);
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
