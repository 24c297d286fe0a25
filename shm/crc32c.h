/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one. */
#ifndef SHM_CRC32C_H
#define SHM_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Goes on from `crc` (0 at first); crc32c(0, "123456789", 9) is 0xe3069283. Any alignment. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

/* Of two pieces as if they were one. */
uint32_t crc32c_pair(uint32_t crc, const void *first, size_t first_len, const void *second,
		     size_t second_len);

/* The same in plain C; what the tests compare with, and what other processors get. */
uint32_t crc32c_portable(uint32_t crc, const void *buf, size_t len);

/*
 * The instruction itself, for who has little to check and no time for a call: only where
 * crc32c_is_fast(). In assembly, because a function that may use the instruction by its name cannot
 * be inlined into one that may not. The running value is inverted, begin with ~crc and end with ~,
 * and as wide as the register, so that nothing has to be narrowed between two steps.
 */
#if defined(__x86_64__)
static inline bool crc32c_is_fast(void)
{
	return __builtin_cpu_supports("sse4.2") != 0;
}

static inline uint64_t crc32c_step8(uint64_t crc, uint64_t v)
{
	__asm__("crc32q %1, %0" : "+r"(crc) : "rm"(v));
	return crc;
}

static inline uint64_t crc32c_step4(uint64_t crc, uint32_t v)
{
	__asm__("crc32l %1, %k0" : "+r"(crc) : "rm"(v));
	return crc;
}

static inline uint64_t crc32c_step1(uint64_t crc, uint8_t v)
{
	__asm__("crc32b %1, %k0" : "+r"(crc) : "rm"(v));
	return crc;
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

static inline bool crc32c_is_fast(void)
{
	return true;
}

#define crc32c_step8(crc, v) __crc32cd((uint32_t)(crc), (v))
#define crc32c_step4(crc, v) __crc32cw((uint32_t)(crc), (v))
#define crc32c_step1(crc, v) __crc32cb((uint32_t)(crc), (v))
#else
static inline bool crc32c_is_fast(void)
{
	return false;
}

#define crc32c_step8(crc, v) ((void)(v), (crc))
#define crc32c_step4(crc, v) ((void)(v), (crc))
#define crc32c_step1(crc, v) ((void)(v), (crc))
#endif

/* 8 bytes that are not in a register yet. */
static inline uint64_t crc32c_at8(uint64_t crc, const char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return crc32c_step8(crc, v);
}

static inline uint64_t crc32c_at64(uint64_t crc, const char *p)
{
	crc = crc32c_at8(crc, p);
	crc = crc32c_at8(crc, p + 8);
	crc = crc32c_at8(crc, p + 16);
	crc = crc32c_at8(crc, p + 24);
	crc = crc32c_at8(crc, p + 32);
	crc = crc32c_at8(crc, p + 40);
	crc = crc32c_at8(crc, p + 48);
	return crc32c_at8(crc, p + 56);
}

static inline uint64_t crc32c_run(uint64_t crc, const void *buf, size_t len)
{
	const char *p = buf, *end = p + (len & ~(size_t)63);
	uint32_t v4;

	for (; p != end; p += 64)
		crc = crc32c_at64(crc, p);
	len &= 63;
	if (len == 0)
		return crc;
	for (; len >= 8; len -= 8, p += 8)
		crc = crc32c_at8(crc, p);
	if (len & 4) {
		memcpy(&v4, p, 4);
		crc = crc32c_step4(crc, v4);
		p += 4;
	}
	for (len &= 3; len > 0; len--, p++)
		crc = crc32c_step1(crc, (uint8_t)*p);
	return crc;
}

#endif
