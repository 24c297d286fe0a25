/* SPDX-License-Identifier: Apache-2.0 */
/* From a key to a shard. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "clientlib/keys.h"
#include "clientlib/md5.h"

keys_hash keys_hash_of(enum keys_kind kind, const void *key, size_t key_len)
{
	uint8_t digest[MD5_LEN];
	keys_hash hash = 0;
	XXH128_hash_t xxh;
	unsigned int i;

	if (kind == KEYS_MD5) {
		md5(key, key_len, digest);
		for (i = 0; i < MD5_LEN; i++)
			hash = hash << 8 | digest[i];
		return hash;
	}
	xxh = XXH3_128bits(key, key_len);
	return (keys_hash)xxh.high64 << 64 | xxh.low64;
}

void keys_map_init(struct keys_map *map, enum keys_kind kind, uint32_t n_shards)
{
	*map = (struct keys_map){ .kind = kind, .n_shards = n_shards };
	if (n_shards <= 1)
		return;
	/* floor(2^128 / n): dividing 2^128 - 1 is one short where n divides 2^128. */
	map->range = ~(keys_hash)0 / n_shards;
	if (is_power_of_two(n_shards))
		map->range++;
}

uint32_t keys_shard_of_hash(const struct keys_map *map, keys_hash hash)
{
	uint32_t n = map->n_shards, shard;
	keys_hash carry;

	if (n <= 1)
		return 0;
	/* hash * n / 2^128 is the shard or, because a range is rounded down, the one before. */
	carry = (keys_hash)(uint64_t)hash * n >> 64;
	shard = (uint32_t)(((hash >> 64) * n + carry) >> 64);
	if (shard + 1 < n && hash >= map->range * (shard + 1))
		shard++;
	return shard;
}

uint32_t keys_shard(const struct keys_map *map, const void *key, size_t key_len)
{
	if (map->n_shards <= 1)
		return 0;
	return keys_shard_of_hash(map, keys_hash_of(map->kind, key, key_len));
}
