/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream is: its options as a client gives them, as the catalogue keeps them and as a
 * description shows them.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <jansson.h>

#include "daemon/config.h"
#include "daemon/names.h"
#include "daemon/permission.h"
#include "daemon/shard.h"

enum {
	OPTIONS_SHARDS_MAX = 128,
	OPTIONS_DETAIL_LEN = 512,
};

struct options {
	uint32_t n_shards;
	struct permission_object access;
	uint64_t ring_len;
	uint64_t segment_len;
	uint64_t retain_ns;
	uint64_t retain_len;
	struct shard_policy policy;
	bool full_fail;
	bool memory;
	bool hash_md5;
	bool no_checksum;
	char owner[NAMES_USER_LEN];
	char group[NAMES_USER_LEN];
};

/* What `set` changed, as a set of bits. */
enum {
	OPTIONS_CHANGED_POLICY = 1, /* give it to the shards */
	OPTIONS_CHANGED_RING = 2,   /* move the shards to successors */
};

/*
 * The options of a `create` request: checked, and with defaults filled in. Asks the name service:
 * not on the control thread. -EINVAL, -EACCES, -ENOENT (owner or group) with a sentence.
 */
int options_parse(const json_t *object, const struct config *config,
		  const struct permission_subject *subject, struct options *ret_options,
		  char *detail, size_t detail_len);
/* One key of `set`; on success *options is changed and *ret_changed says what to do. */
int options_set(struct options *options, const char *key, const char *value,
		const struct permission_subject *subject, unsigned int *ret_changed, char *detail,
		size_t detail_len);
/* Every field, as in a description. NULL without memory. */
json_t *options_to_json(const struct options *options);

/* What the shards of a stream with these options do. */
/* Can a stream be served that has these? Asked of what others may have edited. */
bool options_are_possible(const struct options *options);

struct shard_policy options_shard_policy(const struct options *options);

/* Looks up owner and group; not on the control thread. */
void options_print_names(struct options *options);
/* GOVERN_F_* of the stream's rings. */
uint32_t options_flags(const struct options *options);

const char *options_sync_name(enum shard_sync sync);
int options_parse_sync_name(const char *text, enum shard_sync *ret_sync);
const char *options_disk_full_name(enum shard_disk_full disk_full);
int options_parse_disk_full_name(const char *text, enum shard_disk_full *ret_disk_full);

#endif
