/* SPDX-License-Identifier: Apache-2.0 */
/* MD5 (RFC 1321), for the choice of a shard as Kinesis makes it; not for anything secret. */
#ifndef CLIENTLIB_MD5_H
#define CLIENTLIB_MD5_H

#include "shm/base.h"

enum {
	MD5_LEN = 16
};

void md5(const void *data, size_t len, uint8_t ret_digest[MD5_LEN]);

#endif
