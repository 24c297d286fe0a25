/* SPDX-License-Identifier: Apache-2.0 */
/* Stream options and descriptions, to JSON and back. */
#include "clientlib/describe.h"

#include "clientlib/attach.h"

/* The info and everything it points to, freed as one. */
struct description {
	struct leat_stream_info info;
	char *name;
	char *owner;
	char *group;
	struct leat_shard_info *shards;
};

static bool is_string(const json_t *object, const char *key, const char *wanted)
{
	const char *value = control_get_string(object, key);

	return value && strcmp(value, wanted) == 0;
}

static void parse_options(const json_t *from, struct leat_stream_options *to)
{
	const json_t *sync = json_object_get(from, "sync");

	to->size = sizeof(*to);
	(void)control_get_u32(from, "shards", &to->n_shards);
	(void)control_get_u32(from, "mode", &to->mode);
	(void)control_get_u64(from, "ring", &to->ring_len);
	(void)control_get_u64(from, "segment", &to->segment_len);
	(void)control_get_u64(from, "retain_ns", &to->retain_ns);
	(void)control_get_u64(from, "retain_len", &to->retain_len);
	(void)control_get_u64(from, "claim_timeout_ns", &to->claim_timeout_ns);
	(void)control_get_u64(from, "rate_limit", &to->rate_limit);
	if (json_is_integer(sync)) {
		to->sync = LEAT_SYNC_INTERVAL;
		to->sync_ns = (uint64_t)json_integer_value(sync);
	} else {
		to->sync = is_string(from, "sync", "none") ? LEAT_SYNC_NONE : LEAT_SYNC_ALWAYS;
	}
	to->full = is_string(from, "full", "fail") ? LEAT_FULL_FAIL : LEAT_FULL_BLOCK;
	to->on_disk_full = is_string(from, "on_disk_full", "drop-oldest")
				   ? LEAT_DISK_FULL_DROP_OLDEST
				   : LEAT_DISK_FULL_STOP;
	to->hash = is_string(from, "hash", "md5") ? LEAT_HASH_MD5 : LEAT_HASH_XXH3;
	to->memory = control_get_bool(from, "memory");
	to->no_checksum = json_is_false(json_object_get(from, "checksum"));
}

static int parse_shards(const json_t *array, struct description *to)
{
	size_t n = json_array_size(array), i;

	if (n == 0 || n > ATTACH_SHARDS_MAX)
		return -EBADMSG;
	to->shards = calloc(n, sizeof(*to->shards));
	if (!to->shards)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		const json_t *from = json_array_get(array, i);
		struct leat_shard_info *shard = &to->shards[i];

		if (!control_get_u32(from, "shard", &shard->shard))
			return -EBADMSG;
		(void)control_get_u32(from, "generation", &shard->generation);
		(void)control_get_u64(from, "earliest", &shard->earliest);
		(void)control_get_u64(from, "latest", &shard->latest);
		(void)control_get_u64(from, "written", &shard->written);
		(void)control_get_u64(from, "durable", &shard->durable);
		(void)control_get_u64(from, "reclaimed", &shard->reclaimed);
	}
	to->info.shards = to->shards;
	to->info.n_shards = n;
	return 0;
}

static void parse_may(const json_t *array, struct leat_stream_info *info)
{
	size_t i;

	for (i = 0; i < json_array_size(array); i++) {
		const char *what = json_string_value(json_array_get(array, i));

		if (!what)
			continue;
		info->may_subscribe |= strcmp(what, "subscribe") == 0;
		info->may_publish |= strcmp(what, "publish") == 0;
		info->may_administer |= strcmp(what, "administer") == 0;
	}
}

static char *copy_string(const json_t *object, const char *key)
{
	const char *value = control_get_string(object, key);

	return strdup(value ? value : "");
}

int describe_parse(const json_t *object, struct leat_stream_info **ret_info)
{
	const json_t *options = json_object_get(object, "options");
	const char *uuid = control_get_string(object, "uuid");
	struct description *to = calloc(1, sizeof(*to));
	int r;

	if (!to)
		return -ENOMEM;
	parse_options(options, &to->info.options);
	parse_may(json_object_get(object, "may"), &to->info);
	if (uuid)
		strncpy(to->info.uuid, uuid, sizeof(to->info.uuid) - 1);
	to->name = copy_string(object, "name");
	to->owner = copy_string(options, "owner");
	to->group = copy_string(options, "group");
	r = to->name && to->owner && to->group ? 0 : -ENOMEM;
	if (r == 0)
		r = parse_shards(json_object_get(object, "shards"), to);
	to->info.name = to->name;
	to->info.options.owner = to->owner;
	to->info.options.group = to->group;
	if (r < 0) {
		leat_stream_info_free(&to->info);
		return r;
	}
	*ret_info = &to->info;
	return 0;
}

struct leat_stream_info *leat_stream_info_free(struct leat_stream_info *info)
{
	struct description *description = (struct description *)info;

	if (!info)
		return NULL;
	free(description->name);
	free(description->owner);
	free(description->group);
	free(description->shards);
	free(description);
	return NULL;
}

int describe(struct control *control, const char *stream, struct deadline *deadline,
	     struct leat_stream_info **ret_info, struct detail *detail)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	int r;

	request = json_pack("{s:s, s:s}", "op", "describe", "stream", stream);
	if (!request)
		return detail_fail(detail, -EINVAL,
				   "the stream's name is not valid UTF-8, or there is no "
				   "memory");
	r = control_request(control, request, deadline, &reply, detail);
	if (r < 0)
		return r;
	r = describe_parse(reply.object, ret_info);
	control_reply_deinit(&reply);
	if (r == -EBADMSG)
		detail_fail(detail, r, "the daemon's description of stream '%s' makes no sense",
			    stream);
	return r;
}

/* ---- options ---- */

static int put_number(json_t *object, const char *key, uint64_t value)
{
	if (value == 0)
		return 0;
	if (value > INT64_MAX)
		return -EINVAL;
	return json_object_set_new(object, key, json_integer((json_int_t)value));
}

static int put_string(json_t *object, const char *key, const char *value)
{
	return value ? json_object_set_new(object, key, json_string(value)) : 0;
}

static int put_sync(json_t *object, const struct leat_stream_options *options)
{
	switch (options->sync) {
	case LEAT_SYNC_NONE:
		return put_string(object, "sync", "none");
	case LEAT_SYNC_INTERVAL:
		return options->sync_ns ? put_number(object, "sync", options->sync_ns) : -EINVAL;
	default:
		return put_string(object, "sync", "always");
	}
}

/* The words that say what an enumerator says. */
static int put_words(json_t *object, const struct leat_stream_options *options)
{
	int bad = put_string(object, "full", options->full == LEAT_FULL_FAIL ? "fail" : "block");

	bad |= put_string(object, "on_disk_full",
			  options->on_disk_full == LEAT_DISK_FULL_DROP_OLDEST ? "drop-oldest"
									      : "stop");
	bad |= put_string(object, "hash", options->hash == LEAT_HASH_MD5 ? "md5" : "xxh3");
	bad |= json_object_set_new(object, "memory", json_boolean(options->memory));
	bad |= json_object_set_new(object, "checksum", json_boolean(!options->no_checksum));
	return bad;
}

static int check_options(const struct leat_stream_options *options, struct detail *detail)
{
	if ((unsigned int)options->sync > LEAT_SYNC_INTERVAL)
		return detail_fail(detail, -EINVAL, "sync: %d is no enum leat_sync",
				   (int)options->sync);
	if ((unsigned int)options->full > LEAT_FULL_FAIL)
		return detail_fail(detail, -EINVAL, "full: %d is no enum leat_full",
				   (int)options->full);
	if ((unsigned int)options->on_disk_full > LEAT_DISK_FULL_DROP_OLDEST)
		return detail_fail(detail, -EINVAL, "on_disk_full: %d is no enum leat_disk_full",
				   (int)options->on_disk_full);
	if ((unsigned int)options->hash > LEAT_HASH_MD5)
		return detail_fail(detail, -EINVAL, "hash: %d is no enum leat_hash",
				   (int)options->hash);
	if (options->sync == LEAT_SYNC_INTERVAL && options->sync_ns == 0)
		return detail_fail(detail, -EINVAL, "sync_ns: 0 is no interval");
	return 0;
}

json_t *describe_options(const struct leat_stream_options *options, struct detail *detail)
{
	json_t *object;
	int bad;

	if (check_options(options, detail) < 0)
		return NULL;
	object = json_object();
	if (!object)
		return NULL;
	bad = put_number(object, "shards", options->n_shards);
	bad |= put_number(object, "ring", options->ring_len);
	bad |= put_number(object, "segment", options->segment_len);
	bad |= put_number(object, "retain_ns", options->retain_ns);
	bad |= put_number(object, "retain_len", options->retain_len);
	bad |= put_number(object, "claim_timeout_ns", options->claim_timeout_ns);
	bad |= put_number(object, "rate_limit", options->rate_limit);
	bad |= put_number(object, "mode", options->mode);
	bad |= put_string(object, "owner", options->owner);
	bad |= put_string(object, "group", options->group);
	bad |= put_sync(object, options);
	bad |= put_words(object, options);
	if (bad) {
		detail_fail(detail, -EINVAL,
			    "a number is above 2^63, a name is not valid UTF-8, or there is no "
			    "memory");
		control_decref(&object);
	}
	return object;
}
