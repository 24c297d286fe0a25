/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/crc32c.h"

/* One table row for each half byte: 64 bytes of constants, polynomial 0x82f63b78 reflected. */
static const uint32_t crc32c_nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_portable(uint32_t crc, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	crc = ~crc;
	for (; len > 0; len--, p++) {
		crc ^= *p;
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
	}
	return ~crc;
}

uint32_t crc32c_pair(uint32_t crc, const void *first, size_t first_len, const void *second,
		     size_t second_len)
{
	if (crc32c_is_fast())
		return ~(uint32_t)crc32c_run(crc32c_run(~crc, first, first_len), second,
					     second_len);
	return crc32c_portable(crc32c_portable(crc, first, first_len), second, second_len);
}

uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
	return crc32c_pair(crc, buf, len, "", 0);
}
