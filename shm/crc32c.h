/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one. */
#ifndef SHM_CRC32C_H
#define SHM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc` (0 at first); crc32c(0, "123456789", 9) is 0xe3069283. Any alignment. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t len);

/* Of two pieces as if they were one. */
uint32_t crc32c_pair(uint32_t crc, const void *first, size_t first_len, const void *second,
		     size_t second_len);

/* The same in plain C; what the tests compare with, and what other processors get. */
uint32_t crc32c_portable(uint32_t crc, const void *buf, size_t len);

#endif
