/* SPDX-License-Identifier: Apache-2.0 */
/* From a leat_record to the bytes in the ring. */
#include "clientlib/encode.h"

enum {
	ENCODE_FIELD_LEN = 4
}; /* before each header: length of its name and of its value */

#define ENCODE_TOO_LONG UINT64_MAX

/* Length of the encoded headers, or ENCODE_TOO_LONG. */
static uint64_t headers_len(const struct leat_record *record)
{
	uint64_t len = 0;
	size_t i;

	for (i = 0; i < record->n_headers; i++) {
		const struct leat_header *header = &record->headers[i];

		if (header->name_len > UINT16_MAX || header->value_len > UINT16_MAX)
			return ENCODE_TOO_LONG;
		len += ENCODE_FIELD_LEN + header->name_len + header->value_len;
		if (len > RECORD_HEADERS_MAX)
			return ENCODE_TOO_LONG;
	}
	return len;
}

uint64_t encode_len_all(const struct leat_record *record)
{
	uint64_t len = RECORD_HEADER_LEN;

	if (unlikely(record->key_len > RECORD_KEY_MAX || record->value_len > RECORD_LEN_MAX))
		return ENCODE_TOO_LONG;
	if (record->event_time_ns)
		len += RECORD_EVENT_TIME_LEN;
	if (unlikely(record->n_headers > 0)) {
		uint64_t headers = headers_len(record);

		if (headers == ENCODE_TOO_LONG)
			return headers;
		len += headers;
	}
	return len + record->key_len + record->value_len;
}

int encode_refuse(const struct leat_record *record, uint64_t max_len, struct detail *detail)
{
	uint64_t len = encode_len(record);

	if (record->key_len > RECORD_KEY_MAX)
		return detail_fail(detail, -EMSGSIZE, "the key has %zu bytes, the limit is %d",
				   record->key_len, RECORD_KEY_MAX);
	if (record->value_len > RECORD_LEN_MAX)
		return detail_fail(detail, -EMSGSIZE,
				   "the value has %zu bytes, the limit of a record in this stream "
				   "is %llu with key and headers",
				   record->value_len,
				   (unsigned long long)(max_len - RECORD_HEADER_LEN));
	if (len == ENCODE_TOO_LONG)
		return detail_fail(detail, -EMSGSIZE,
				   "the headers have more than %d bytes together, with 4 for each",
				   RECORD_HEADERS_MAX);
	return detail_fail(detail, -EMSGSIZE,
			   "the record has %llu bytes of key, headers and value, the limit in this "
			   "stream is %llu (a quarter of its ring, at most 16 MiB)",
			   (unsigned long long)(len - RECORD_HEADER_LEN),
			   (unsigned long long)(max_len - RECORD_HEADER_LEN));
}

static char *put(char *at, const void *bytes, size_t len)
{
	if (len > 0)
		memcpy(at, bytes, len);
	return at + len;
}

static char *put_headers(char *at, const struct leat_record *record)
{
	size_t i;

	for (i = 0; i < record->n_headers; i++) {
		const struct leat_header *header = &record->headers[i];
		uint16_t lens[2] = { (uint16_t)header->name_len, (uint16_t)header->value_len };

		at = put(at, lens, sizeof(lens));
		at = put(at, header->name, header->name_len);
		at = put(at, header->value, header->value_len);
	}
	return at;
}

char *encode_extras(void *at, const struct leat_record *record)
{
	struct record_header *header = at;
	char *p = (char *)at + RECORD_HEADER_LEN, *end;

	if (record->event_time_ns)
		p = put(p, &record->event_time_ns, RECORD_EVENT_TIME_LEN);
	p = put(p, record->key, record->key_len);
	end = put_headers(p, record);
	header->headers_len = (uint16_t)(end - p);
	return end;
}

void encode_quick_init(struct encode_quick *quick, const struct ring *ring)
{
	bool fits = ring->max_len >= RECORD_HEADER_LEN + 2 * ENCODE_SHORT_LEN;

	*quick = (struct encode_quick){
		.short_len = fits && crc32c_is_fast() ? ENCODE_SHORT_LEN : 0,
		.crc_begin = ~ring->crc_seed,
		.checksum = (ring->flags & GOVERN_F_CHECKSUM) != 0,
	};
}
