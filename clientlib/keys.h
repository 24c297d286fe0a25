/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shard a key belongs to: a 128-bit hash of the key, and n shards of equal ranges of hashes
 * as Kinesis cuts them: shard i begins at i * floor(2^128 / n), the last one takes the rest.
 */
#ifndef CLIENTLIB_KEYS_H
#define CLIENTLIB_KEYS_H

#include "shm/base.h"

__extension__ typedef unsigned __int128 keys_hash;

enum keys_kind {
	KEYS_XXH3 = 0, /* XXH3, 128 bits, seed 0 */
	KEYS_MD5 = 1,  /* the digest read as a big-endian number */
};

/* The shards of a stream, as far as keys are concerned. */
struct keys_map {
	keys_hash range; /* length of each shard's range but the last's; 0 for a single shard */
	uint32_t n_shards;
	enum keys_kind kind;
};

void keys_map_init(struct keys_map *map, enum keys_kind kind, uint32_t n_shards);

keys_hash keys_hash_of(enum keys_kind kind, const void *key, size_t key_len);
uint32_t keys_shard_of_hash(const struct keys_map *map, keys_hash hash);
uint32_t keys_shard(const struct keys_map *map, const void *key, size_t key_len);

#endif
