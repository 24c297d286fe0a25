/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

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

#if defined(__x86_64__)
#define CRC32C_TARGET __attribute__((target("sse4.2")))
#define crc32c_step8(c, v) ((uint32_t)_mm_crc32_u64((c), (v)))
#define crc32c_step4(c, v) _mm_crc32_u32((c), (v))
#define crc32c_step2(c, v) _mm_crc32_u16((c), (v))
#define crc32c_step1(c, v) _mm_crc32_u8((c), (v))
#define crc32c_has_hardware() __builtin_cpu_supports("sse4.2")
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#define CRC32C_TARGET
#define crc32c_step8(c, v) __crc32cd((c), (v))
#define crc32c_step4(c, v) __crc32cw((c), (v))
#define crc32c_step2(c, v) __crc32ch((c), (v))
#define crc32c_step1(c, v) __crc32cb((c), (v))
#define crc32c_has_hardware() 1
#endif

#ifdef CRC32C_TARGET
/* Without the inversions at both ends, so that pieces can follow each other. */
CRC32C_TARGET static inline uint32_t crc32c_run(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&v8, p, 8);
		crc = crc32c_step8(crc, v8);
	}
	if (len & 4) {
		memcpy(&v4, p, 4);
		crc = crc32c_step4(crc, v4);
		p += 4;
	}
	if (len & 2) {
		memcpy(&v2, p, 2);
		crc = crc32c_step2(crc, v2);
		p += 2;
	}
	return len & 1 ? crc32c_step1(crc, *p) : crc;
}

CRC32C_TARGET static uint32_t crc32c_hardware(uint32_t crc, const void *first, size_t first_len,
					      const void *second, size_t second_len)
{
	crc = crc32c_run(~crc, first, first_len);
	return ~crc32c_run(crc, second, second_len);
}
#endif

uint32_t crc32c_pair(uint32_t crc, const void *first, size_t first_len, const void *second,
		     size_t second_len)
{
#ifdef CRC32C_TARGET
	if (crc32c_has_hardware())
		return crc32c_hardware(crc, first, first_len, second, second_len);
#endif
	return crc32c_portable(crc32c_portable(crc, first, first_len), second, second_len);
}

uint32_t crc32c(uint32_t crc, const void *buf, size_t len)
{
	return crc32c_pair(crc, buf, len, NULL, 0);
}
