/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/quantity.h"

/* The longest time and rate that make sense: sums of them stay far from overflow. */
#define OPTIONS_NS_MAX (UINT64_C(100) * 366 * 86400 * NS_PER_S)
#define OPTIONS_LEN_MAX ((uint64_t)1 << 56)
#define OPTIONS_CLAIM_MIN_NS NS_PER_MS
#define OPTIONS_CLAIM_MAX_NS (86400 * NS_PER_S)

/* Where a sentence goes; every check that fails says one. */
struct options_detail {
	char *text;
	size_t len;
};

static int options_fail(struct options_detail *d, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int options_fail(struct options_detail *d, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->text, d->len, format, args);
	va_end(args);
	return error;
}

const char *options_sync_name(enum shard_sync sync)
{
	return sync == SHARD_SYNC_ALWAYS ? "always" : sync == SHARD_SYNC_NONE ? "none" : "interval";
}

int options_parse_sync_name(const char *text, enum shard_sync *ret_sync)
{
	for (int i = SHARD_SYNC_ALWAYS; i <= SHARD_SYNC_INTERVAL; i++) {
		if (strcmp(text, options_sync_name((enum shard_sync)i)) == 0) {
			*ret_sync = (enum shard_sync)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *options_disk_full_name(enum shard_disk_full disk_full)
{
	return disk_full == SHARD_DISK_FULL_STOP ? "stop" : "drop-oldest";
}

int options_parse_disk_full_name(const char *text, enum shard_disk_full *ret_disk_full)
{
	if (strcmp(text, "stop") == 0)
		*ret_disk_full = SHARD_DISK_FULL_STOP;
	else if (strcmp(text, "drop-oldest") == 0)
		*ret_disk_full = SHARD_DISK_FULL_DROP_OLDEST;
	else
		return -EINVAL;
	return 0;
}

struct shard_policy options_shard_policy(const struct options *options)
{
	struct shard_policy policy = options->policy;

	/* Retention by age is true to an eighth, also for a stream that gets a record a day. */
	policy.roll_ns = options->retain_ns / 8;
	return policy;
}

uint32_t options_flags(const struct options *options)
{
	return (options->no_checksum ? 0u : GOVERN_F_CHECKSUM) |
	       (options->memory ? GOVERN_F_MEMORY : 0u) |
	       (options->full_fail ? GOVERN_F_FULL_FAIL : 0u) |
	       (options->hash_md5 ? GOVERN_F_HASH_MD5 : 0u);
}

void options_print_names(struct options *options)
{
	names_print_user(options->access.owner, options->owner);
	names_print_group(options->access.group, options->group);
}

/* ---- owner and group ---- */

static int options_take_owner(struct options *options, const char *text,
			      const struct permission_subject *subject, struct options_detail *d)
{
	uid_t uid;
	int r = names_parse_user(text, &uid);

	if (r < 0)
		return options_fail(d, r, "there is no user '%.64s'", text);
	if (uid != subject->uid && !permission_is_privileged(subject))
		return options_fail(d, -EACCES,
				    "only root and the daemon's user may make '%.64s' "
				    "the owner of a stream",
				    text);
	options->access.owner = uid;
	return 0;
}

static int options_take_group(struct options *options, const char *text,
			      const struct permission_subject *subject, struct options_detail *d)
{
	gid_t gid;
	int r = names_parse_group(text, &gid);

	if (r < 0)
		return options_fail(d, r, "there is no group '%.64s'", text);
	if (!permission_in_group(subject, gid) && !permission_is_privileged(subject))
		return options_fail(d, -EACCES,
				    "you are not a member of the group '%.64s'; only "
				    "root and the daemon's user may name it",
				    text);
	options->access.group = gid;
	return 0;
}

/* ---- the fields of `create` ---- */

static int options_take_number(const json_t *value, const char *key, uint64_t max, uint64_t *number,
			       struct options_detail *d)
{
	if (!json_is_integer(value))
		return options_fail(d, -EINVAL, "option '%s' must be a whole number", key);
	if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > max)
		return options_fail(d, -EINVAL,
				    "option '%s' is %" JSON_INTEGER_FORMAT
				    "; it must be from 0 to %" PRIu64,
				    key, json_integer_value(value), max);
	*number = (uint64_t)json_integer_value(value);
	return 0;
}

static int options_take_choice(const json_t *value, const char *key, const char *no,
			       const char *yes, bool *is_yes, struct options_detail *d)
{
	const char *text = json_string_value(value);

	if (!text || (strcmp(text, no) != 0 && strcmp(text, yes) != 0))
		return options_fail(d, -EINVAL, "option '%s' must be \"%s\" or \"%s\"", key, no,
				    yes);
	*is_yes = strcmp(text, yes) == 0;
	return 0;
}

static int options_take_bool(const json_t *value, const char *key, bool *is_true,
			     struct options_detail *d)
{
	if (!json_is_boolean(value))
		return options_fail(d, -EINVAL, "option '%s' must be true or false", key);
	*is_true = json_is_true(value);
	return 0;
}

static int options_take_sync(struct options *options, const json_t *value, struct options_detail *d)
{
	struct shard_policy *policy = &options->policy;
	const char *text = json_string_value(value);
	uint64_t ns;
	int r;

	if (text && (strcmp(text, "always") == 0 || strcmp(text, "none") == 0))
		return config_parse_sync(text, &policy->sync, &policy->sync_ns);
	if (!json_is_integer(value))
		return options_fail(d, -EINVAL,
				    "option 'sync' must be \"always\", \"none\" or "
				    "nanoseconds");
	r = options_take_number(value, "sync", OPTIONS_NS_MAX, &ns, d);
	if (r < 0)
		return r;
	policy->sync = ns ? SHARD_SYNC_INTERVAL : SHARD_SYNC_ALWAYS;
	policy->sync_ns = ns;
	return 0;
}

/* Fields that are plain numbers; 0 means the default there. */
static const struct {
	const char *key;
	size_t off;
	uint64_t max;
} options_numbers[] = {
	{ "ring", offsetof(struct options, ring_len), OPTIONS_LEN_MAX },
	{ "segment", offsetof(struct options, segment_len), OPTIONS_LEN_MAX },
	{ "retain_ns", offsetof(struct options, retain_ns), OPTIONS_NS_MAX },
	{ "retain_len", offsetof(struct options, retain_len), OPTIONS_LEN_MAX },
	{ "claim_timeout_ns", offsetof(struct options, policy.claim_timeout_ns),
	  OPTIONS_CLAIM_MAX_NS },
	{ "rate_limit", offsetof(struct options, policy.rate_limit), OPTIONS_LEN_MAX },
};

static int options_take_small_number(struct options *options, const char *key, const json_t *value,
				     struct options_detail *d)
{
	bool is_mode = strcmp(key, "mode") == 0;
	uint64_t number;
	int r = options_take_number(value, key, is_mode ? 0777 : OPTIONS_SHARDS_MAX, &number, d);

	if (r < 0)
		return r;
	if (is_mode)
		options->access.mode = (uint32_t)number;
	else
		options->n_shards = (uint32_t)number;
	return 0;
}

static int options_take(struct options *options, const char *key, const json_t *value,
			const struct permission_subject *subject, struct options_detail *d)
{
	bool flag = false;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(options_numbers); i++)
		if (strcmp(key, options_numbers[i].key) == 0)
			return options_take_number(
				value, key, options_numbers[i].max,
				(uint64_t *)((char *)options + options_numbers[i].off), d);
	if (strcmp(key, "shards") == 0 || strcmp(key, "mode") == 0)
		return options_take_small_number(options, key, value, d);
	if (strcmp(key, "sync") == 0)
		return options_take_sync(options, value, d);
	if (strcmp(key, "full") == 0)
		return options_take_choice(value, key, "block", "fail", &options->full_fail, d);
	if (strcmp(key, "hash") == 0)
		return options_take_choice(value, key, "xxh3", "md5", &options->hash_md5, d);
	if (strcmp(key, "memory") == 0)
		return options_take_bool(value, key, &options->memory, d);
	if (strcmp(key, "checksum") == 0) {
		r = options_take_bool(value, key, &flag, d);
		options->no_checksum = r == 0 && !flag;
		return r;
	}
	if (strcmp(key, "on_disk_full") == 0) {
		r = options_take_choice(value, key, "stop", "drop-oldest", &flag, d);
		options->policy.on_disk_full = r == 0 && flag ? SHARD_DISK_FULL_DROP_OLDEST
							      : SHARD_DISK_FULL_STOP;
		return r;
	}
	if (strcmp(key, "owner") == 0 && json_is_string(value))
		return options_take_owner(options, json_string_value(value), subject, d);
	if (strcmp(key, "group") == 0 && json_is_string(value))
		return options_take_group(options, json_string_value(value), subject, d);
	return options_fail(d, -EINVAL, "'%.64s' is no option, or its value has the wrong type",
			    key);
}

/* ---- what fits together ---- */

/* The least that a segment can have: the largest record of the ring, and some company. */
static uint64_t options_segment_min(const struct options *options)
{
	return align_up(region_max_len(options->ring_len) + 64 * KIB, 4 * KIB);
}

/* A stream whose open segments alone break its limit cannot be kept within it. */
static int options_check_retention(const struct options *options, struct options_detail *d)
{
	uint64_t open_len = (uint64_t)(options->n_shards - 1) * options->segment_len;
	char segment[QUANTITY_LEN], limit[QUANTITY_LEN];

	if (options->retain_len == 0 || open_len <= options->retain_len)
		return 0;
	return options_fail(d, -EINVAL,
			    "retain-size %s is too little for %u shards with segments of %s; a "
			    "smaller ring or segment, fewer shards or more room are needed",
			    quantity_print_len(options->retain_len, limit), options->n_shards,
			    quantity_print_len(options->segment_len, segment));
}

static int options_check_segment(struct options *options, const struct config *config,
				 struct options_detail *d)
{
	uint64_t min = options_segment_min(options), max = OPTIONS_LEN_MAX;
	char least[QUANTITY_LEN], most[QUANTITY_LEN];

	if (options->retain_len)
		max = max_u64(options->retain_len / (2 * options->n_shards), min);
	if (options->segment_len == 0)
		options->segment_len = min_u64(max_u64(config->segment_len, min), max) &
				       ~(4 * KIB - 1);
	else if (options->segment_len < min)
		return options_fail(d, -EINVAL,
				    "a segment must have room for the largest record of the ring: "
				    "at least %s",
				    quantity_print_len(min, least));
	else if (options->segment_len > max)
		return options_fail(d, -EINVAL,
				    "with retain-size %s and %u shards a segment can have at most "
				    "%s",
				    quantity_print_len(options->retain_len, least),
				    options->n_shards, quantity_print_len(max, most));
	return options_check_retention(options, d);
}

static int options_check_claim(const struct options *options, struct options_detail *d)
{
	uint64_t ns = options->policy.claim_timeout_ns;

	if (ns >= OPTIONS_CLAIM_MIN_NS && ns <= OPTIONS_CLAIM_MAX_NS)
		return 0;
	return options_fail(d, -EINVAL, "claim-timeout must be from 1ms to 1d");
}

static int options_check_ring(uint64_t ring_len, struct options_detail *d)
{
	char text[QUANTITY_LEN];

	if (is_power_of_two(ring_len) && ring_len >= LAYOUT_RING_MIN)
		return 0;
	return options_fail(d, -EINVAL,
			    "a ring of %s is not possible: it must be a power of two, at least 64K",
			    quantity_print_len(ring_len, text));
}

bool options_are_possible(const struct options *options)
{
	struct options_detail d;
	char ignored[OPTIONS_DETAIL_LEN];

	d = (struct options_detail){ ignored, sizeof(ignored) };
	if (options->n_shards < 1 || options->n_shards > OPTIONS_SHARDS_MAX ||
	    options->access.mode > 0777 || options->ring_len > OPTIONS_LEN_MAX)
		return false;
	if (options_check_ring(options->ring_len, &d) < 0 || options_check_claim(options, &d) < 0)
		return false;
	return options->memory ||
	       (options->segment_len > 0 && options->segment_len <= OPTIONS_LEN_MAX);
}

/* 0 meant the default. */
static void options_fill_in(struct options *options, const struct config *config)
{
	if (options->n_shards == 0)
		options->n_shards = 1;
	if (options->ring_len == 0)
		options->ring_len = config->ring_len;
	if (options->policy.claim_timeout_ns == 0)
		options->policy.claim_timeout_ns = config->claim_timeout_ns;
}

static int options_check(struct options *options, const struct config *config,
			 struct options_detail *d)
{
	int r;

	options_fill_in(options, config);
	r = options_check_ring(options->ring_len, d);
	if (r == 0)
		r = options_check_claim(options, d);
	if (r < 0)
		return r;
	if (!options->memory)
		return options_check_segment(options, config, d);
	if (options->retain_ns || options->retain_len || options->segment_len)
		return options_fail(d, -EINVAL,
				    "a memory-only stream has no segments: retain-time, "
				    "retain-size and segment do not go with it");
	return 0;
}

int options_parse(const json_t *object, const struct config *config,
		  const struct permission_subject *subject, struct options *ret_options,
		  char *detail, size_t detail_len)
{
	struct options_detail d = { .text = detail, .len = detail_len };
	struct options options = {
		.access = { .owner = subject->uid, .group = subject->gid, .mode = config->mode },
		.policy = { .sync = config->sync, .sync_ns = config->sync_ns },
	};
	const char *key;
	json_t *value;
	int r;

	if (object && !json_is_object(object))
		return options_fail(&d, -EINVAL, "'options' must be an object");
	json_object_foreach((json_t *)object, key, value) {
		r = options_take(&options, key, value, subject, &d);
		if (r < 0)
			return r;
	}
	r = options_check(&options, config, &d);
	if (r < 0)
		return r;
	options_print_names(&options);
	*ret_options = options;
	return 0;
}

/* ---- set ---- */

static int options_set_mode(struct options *options, const char *value, struct options_detail *d)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (value[0] < '0' || value[0] > '7' || *end != '\0' || mode > 0777)
		return options_fail(d, -EINVAL, "mode '%.32s' is not an octal number up to 777",
				    value);
	options->access.mode = (uint32_t)mode;
	return 0;
}

static int options_set_quantity(const char *key, const char *value, bool is_time, uint64_t *number,
				struct options_detail *d)
{
	int r = is_time ? quantity_parse_ns(value, number) : quantity_parse_len(value, number);

	if (r == 0 && *number <= (is_time ? OPTIONS_NS_MAX : OPTIONS_LEN_MAX))
		return 0;
	return options_fail(d, -EINVAL, "%s cannot be '%.64s': %s", key, value,
			    is_time ? "a time is a number with ns, us, ms, s, m, h or d"
				    : "a size is a number with K, M, G or nothing");
}

static int options_set_retention(struct options *options, const char *key, const char *value,
				 struct options_detail *d)
{
	bool is_time = strcmp(key, "retain-time") == 0;
	uint64_t number;
	int r;

	if (options->memory)
		return options_fail(d, -EINVAL,
				    "a memory-only stream has no segments: %s does "
				    "not go with it",
				    key);
	r = options_set_quantity(key, value, is_time, &number, d);
	if (r < 0)
		return r;
	if (is_time)
		options->retain_ns = number;
	else
		options->retain_len = number;
	return options_check_retention(options, d);
}

/* Keys that the shards are told of. */
static int options_set_policy(struct options *options, const char *key, const char *value,
			      struct options_detail *d)
{
	struct shard_policy *policy = &options->policy;
	int r;

	if (strcmp(key, "sync") == 0) {
		if (config_parse_sync(value, &policy->sync, &policy->sync_ns) < 0)
			return options_fail(d, -EINVAL,
					    "sync must be always, none or a time, not '%.64s'",
					    value);
		return 0;
	}
	if (strcmp(key, "on-disk-full") == 0) {
		if (options_parse_disk_full_name(value, &policy->on_disk_full) < 0)
			return options_fail(d, -EINVAL,
					    "on-disk-full must be stop or drop-oldest, not '%.64s'",
					    value);
		return 0;
	}
	if (strcmp(key, "rate-limit") == 0)
		return options_set_quantity(key, value, false, &policy->rate_limit, d);
	r = options_set_quantity(key, value, true, &policy->claim_timeout_ns, d);
	return r < 0 ? r : options_check_claim(options, d);
}

static bool options_is_policy(const char *key)
{
	return strcmp(key, "sync") == 0 || strcmp(key, "on-disk-full") == 0 ||
	       strcmp(key, "rate-limit") == 0 || strcmp(key, "claim-timeout") == 0;
}

static int options_set_ring(struct options *options, const char *value, struct options_detail *d)
{
	uint64_t ring_len;
	int r = options_set_quantity("ring", value, false, &ring_len, d);

	if (r == 0)
		r = options_check_ring(ring_len, d);
	if (r < 0)
		return r;
	options->ring_len = ring_len;
	if (!options->memory && options->segment_len < options_segment_min(options))
		return options_fail(d, -EINVAL,
				    "the stream's segments are too small for the records of a ring "
				    "of '%.32s'",
				    value);
	return 0;
}

int options_set(struct options *options, const char *key, const char *value,
		const struct permission_subject *subject, unsigned int *ret_changed, char *detail,
		size_t detail_len)
{
	struct options_detail d = { .text = detail, .len = detail_len };
	struct options changed = *options;
	unsigned int what = 0;
	int r;

	if (options_is_policy(key)) {
		what = OPTIONS_CHANGED_POLICY;
		r = options_set_policy(&changed, key, value, &d);
	} else if (strcmp(key, "retain-time") == 0 || strcmp(key, "retain-size") == 0) {
		what = OPTIONS_CHANGED_POLICY;
		r = options_set_retention(&changed, key, value, &d);
	} else if (strcmp(key, "ring") == 0) {
		what = OPTIONS_CHANGED_RING;
		r = options_set_ring(&changed, value, &d);
	} else if (strcmp(key, "mode") == 0) {
		r = options_set_mode(&changed, value, &d);
	} else if (strcmp(key, "owner") == 0) {
		r = options_take_owner(&changed, value, subject, &d);
	} else if (strcmp(key, "group") == 0) {
		r = options_take_group(&changed, value, subject, &d);
	} else if (strcmp(key, "full") == 0) {
		if (strcmp(value, "block") != 0 && strcmp(value, "fail") != 0)
			return options_fail(&d, -EINVAL, "full must be block or fail, not '%.64s'",
					    value);
		changed.full_fail = strcmp(value, "fail") == 0;
		r = 0;
	} else {
		r = options_fail(&d, -EINVAL,
				 "'%.64s' cannot be set; what can: retain-time, retain-size, sync, "
				 "full, on-disk-full, ring, owner, group, mode, claim-timeout, "
				 "rate-limit",
				 key);
	}
	if (r < 0)
		return r;
	options_print_names(&changed);
	*options = changed;
	*ret_changed = what;
	return 0;
}

/* ---- as JSON ---- */

json_t *options_to_json(const struct options *o)
{
	const struct shard_policy *p = &o->policy;
	json_t *sync = p->sync == SHARD_SYNC_INTERVAL ? json_integer((json_int_t)p->sync_ns)
						      : json_string(options_sync_name(p->sync));

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:s, s:b, s:s, s:b, s:s, s:s, s:I, "
			 "s:I, s:I}",
			 "shards", (json_int_t)o->n_shards, "ring", (json_int_t)o->ring_len,
			 "segment", (json_int_t)o->segment_len, "retain_ns",
			 (json_int_t)o->retain_ns, "retain_len", (json_int_t)o->retain_len, "sync",
			 sync, "full", o->full_fail ? "fail" : "block", "on_disk_full",
			 options_disk_full_name(p->on_disk_full), "memory", o->memory, "hash",
			 o->hash_md5 ? "md5" : "xxh3", "checksum", !o->no_checksum, "owner",
			 o->owner, "group", o->group, "mode", (json_int_t)o->access.mode,
			 "claim_timeout_ns", (json_int_t)p->claim_timeout_ns, "rate_limit",
			 (json_int_t)p->rate_limit);
}
