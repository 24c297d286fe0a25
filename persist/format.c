/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/format.h"

#include <stdio.h>

#include "shm/crc32c.h"

/* All three kinds of header begin alike. */
struct format_common {
	uint64_t magic;
	uint32_t order_mark;
	uint16_t major;
	uint16_t minor;
	uint64_t len;
	uint32_t incompat;
	uint32_t compat;
};

_Static_assert(sizeof(struct format_common) == 32, "the common part has no padding");

/* CRC of `len` bytes whose own four bytes at crc_off count as 0. */
static uint32_t crc_without(const void *bytes, uint64_t len, size_t crc_off)
{
	static const uint8_t zero[4];
	const uint8_t *p = bytes;
	uint32_t crc = crc32c(0, p, crc_off);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, p + crc_off + 4, len - crc_off - 4);
}

static void seal(void *header, uint64_t magic, uint64_t len)
{
	struct format_common common = {
		.magic = magic,
		.order_mark = FORMAT_ORDER_MARK,
		.major = FORMAT_MAJOR,
		.minor = FORMAT_MINOR,
		.len = len,
	};

	memcpy(header, &common, sizeof(common));
}

/*
 * Damage is told from a newer version by the CRC, which every version keeps in its place; a newer
 * major version may have another length, which the caller cannot check then.
 */
static int check(const void *header, uint64_t magic, bool is_sound, uint64_t len)
{
	struct format_common common;

	memcpy(&common, header, sizeof(common));
	if (common.magic != magic || common.order_mark != FORMAT_ORDER_MARK || !is_sound)
		return -EBADMSG;
	if (common.major != FORMAT_MAJOR || common.incompat != 0)
		return -EPROTONOSUPPORT;
	return common.len == len ? 0 : -EBADMSG;
}

void format_segment_seal(struct format_segment *segment)
{
	seal(segment, FORMAT_MAGIC_SEGMENT, sizeof(*segment));
	segment->ready = FORMAT_READY;
	segment->crc = crc_without(segment, sizeof(*segment), offsetof(struct format_segment, crc));
}

int format_segment_check(const struct format_segment *segment)
{
	uint32_t crc = crc_without(segment, sizeof(*segment), offsetof(struct format_segment, crc));
	int r = check(segment, FORMAT_MAGIC_SEGMENT,
		      segment->ready == FORMAT_READY && segment->crc == crc, sizeof(*segment));

	if (r < 0)
		return r;
	if ((segment->flags & ~(uint32_t)FORMAT_F_KNOWN) != 0)
		return -EPROTONOSUPPORT;
	if (!format_pos_is_sane(segment->base) || !format_pos_is_sane(segment->prev_end) ||
	    segment->prev_end > segment->base)
		return -EBADMSG;
	return 0;
}

void format_checkpoint_seal(struct format_checkpoint *checkpoint)
{
	seal(checkpoint, FORMAT_MAGIC_CHECKPOINT, sizeof(*checkpoint));
	checkpoint->ready = FORMAT_READY;
	checkpoint->crc = crc_without(checkpoint, sizeof(*checkpoint),
				      offsetof(struct format_checkpoint, crc));
}

int format_checkpoint_check(const struct format_checkpoint *checkpoint)
{
	uint32_t crc = crc_without(checkpoint, sizeof(*checkpoint),
				   offsetof(struct format_checkpoint, crc));
	int r = check(checkpoint, FORMAT_MAGIC_CHECKPOINT,
		      checkpoint->ready == FORMAT_READY && checkpoint->crc == crc,
		      sizeof(*checkpoint));

	if (r < 0)
		return r;
	if (checkpoint->sequence == 0 || !format_pos_is_sane(checkpoint->durable) ||
	    !format_pos_is_sane(checkpoint->reserved_until) ||
	    checkpoint->durable > checkpoint->reserved_until)
		return -EBADMSG;
	return 0;
}

static uint64_t index_len(const struct format_index *index)
{
	return sizeof(*index) + index->n_entries * sizeof(struct format_index_entry);
}

void format_index_seal(struct format_index *index)
{
	uint64_t len = index_len(index);

	seal(index, FORMAT_MAGIC_INDEX, len);
	index->ready = FORMAT_READY;
	index->crc = crc_without(index, len, offsetof(struct format_index, crc));
}

int format_index_check(const struct format_index *index, uint64_t len)
{
	uint32_t crc;

	if (len < sizeof(*index) || index->n_entries > len / sizeof(struct format_index_entry) ||
	    index_len(index) != len)
		return -EBADMSG;
	crc = crc_without(index, len, offsetof(struct format_index, crc));
	return check(index, FORMAT_MAGIC_INDEX, index->ready == FORMAT_READY && index->crc == crc,
		     len);
}

void format_segment_name(uint64_t base, char ret_name[FORMAT_NAME_LEN])
{
	snprintf(ret_name, FORMAT_NAME_LEN, "%020llu.seg", (unsigned long long)base);
}

void format_index_name(uint64_t base, char ret_name[FORMAT_NAME_LEN])
{
	snprintf(ret_name, FORMAT_NAME_LEN, "%020llu.idx", (unsigned long long)base);
}

bool format_segment_base(const char *name, uint64_t *ret_base)
{
	uint64_t base = 0;
	size_t i;

	for (i = 0; i < 20; i++) {
		unsigned int digit = (unsigned int)(name[i] - '0');

		if (digit > 9 || base > FORMAT_POS_END / 10)
			return false;
		base = base * 10 + digit;
	}
	if (strcmp(name + 20, ".seg") != 0 || !format_pos_is_sane(base))
		return false;
	*ret_base = base;
	return true;
}
