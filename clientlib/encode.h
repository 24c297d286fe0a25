/* SPDX-License-Identifier: Apache-2.0 */
/* Writes records as they stand in the ring. */
#ifndef CLIENTLIB_ENCODE_H
#define CLIENTLIB_ENCODE_H

#include "clientlib/detail.h"
#include "clientlib/leat.h"
#include "shm/ring.h"

/* What stands in every record's header beside its length. */
struct encode_stamp {
	uint64_t pos;
	uint64_t timestamp_ns;
	uint32_t publisher;
	uint32_t sequence;
	uint16_t owner;
};

/* Exact length of a record, header included; above every limit when a part is out of range. */
uint64_t encode_len(const struct leat_record *record);

/* Says what is wrong with a record whose length is above `max_len`. -EMSGSIZE or -EINVAL. */
int encode_refuse(const struct leat_record *record, uint64_t max_len, struct detail *detail);

/* The word that commits a record of this length. */
uint64_t encode_word(const struct leat_record *record, uint32_t len, uint16_t owner);

/*
 * Writes everything but the commit word at `at`, which has room for it. `value` NULL: the bytes
 * are left alone; *ret_value (may be NULL) gets where they belong. The checksum is not set.
 */
void encode_content(void *at, const struct leat_record *record, const void *value,
		    const struct encode_stamp *stamp, void **ret_value);

/* A header alone, of a batch or of padding. */
void encode_header(void *at, const struct encode_stamp *stamp);

/* Sets the checksum, or 0 in a stream without. */
void encode_seal(const struct ring *ring, void *at, uint64_t pos, uint64_t word);

#endif
