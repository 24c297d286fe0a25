/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and steering subscribers, and their checkpoints. */
#include "clientlib/subscribe.h"

#include "clientlib/helper.h"
#include "clientlib/source.h"
#include "clientlib/start.h"

#define SUBSCRIBER_BUFFER_LEN (256 * KIB)
#define SUBSCRIBER_BUFFER_MIN (4 * KIB)
#define SUBSCRIBER_SPIN_NS (20 * NS_PER_US)

void leat_subscriber_options_init(struct leat_subscriber_options *options)
{
	*options = (struct leat_subscriber_options){
		.size = sizeof(*options),
		.shard = LEAT_SHARD_ANY,
		.start = LEAT_LATEST,
		.stop = LEAT_NEVER,
		/* On a single processor the publisher cannot run while we poll. */
		.spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SUBSCRIBER_SPIN_NS : 0,
		.buffer_len = SUBSCRIBER_BUFFER_LEN,
	};
}

/* ---- checkpoints ---- */

static json_t *checkpoint_request(const struct leat_subscriber *sub, const char *op)
{
	return json_pack("{s:s, s:s, s:s}", "op", op, "stream", sub->stream, "name", sub->name);
}

/* The checkpointed position of a shard; false when there is none. */
static bool checkpoint_of(const json_t *positions, uint32_t shard, uint64_t *ret_pos)
{
	size_t i;

	for (i = 0; i < json_array_size(positions); i++) {
		const json_t *pair = json_array_get(positions, i);
		const json_t *at = json_array_get(pair, 0), *pos = json_array_get(pair, 1);

		if (!json_is_integer(at) || !json_is_integer(pos) || json_integer_value(pos) < 0 ||
		    json_integer_value(at) != (json_int_t)shard)
			continue;
		*ret_pos = (uint64_t)json_integer_value(pos);
		return true;
	}
	return false;
}

/* All of them: one that is left out would be where it was at the last checkpoint. */
static int add_positions(const struct leat_subscriber *sub, json_t *request)
{
	json_t *positions = json_array();
	uint32_t i;
	int bad = json_object_set_new(request, "positions", positions);

	for (i = 0; i < sub->n_shards && !bad; i++)
		bad = json_array_append_new(positions,
					    json_pack("[I, I]", (json_int_t)sub->shards[i].shard,
						      (json_int_t)sub->shards[i].given));
	return bad;
}

int leat_checkpoint(struct leat_subscriber *sub)
{
	struct deadline deadline = DEADLINE(sub->bus->control.timeout_ns);
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	int r;

	if (!bus_alive(sub->bus))
		return subscribe_forked(sub);
	if (!sub->name) {
		sub->failure = "the subscriber has no name to keep a checkpoint under";
		return -EINVAL;
	}
	request = checkpoint_request(sub, "checkpoint");
	if (!request || add_positions(sub, request) < 0) {
		sub->failure = "no memory for a checkpoint";
		return -ENOMEM;
	}
	sub->failure = sub->detail.text;
	r = control_request(&sub->bus->control, request, &deadline, &reply, &sub->detail);
	control_reply_deinit(&reply);
	return subscribe_done(sub, r);
}

/* ---- opening ---- */

static int attach_shard(struct leat_subscriber *sub, uint32_t i, struct deadline *deadline,
			uint32_t *ret_n_shards)
{
	struct subscribe_shard *shard = &sub->shards[i];
	struct attach_request request = { .stream = sub->stream,
					  .shard = shard->shard,
					  .access = REGION_SUBSCRIBER };
	struct attach_reply reply;
	int r;

	if (i > 0)
		request.uuid = sub->shards[0].ring->stream_uuid;
	r = attach(&sub->bus->control, &request, deadline, &reply, &sub->detail);
	if (r < 0)
		return r;
	shard->ring = reply.ring;
	shard->epoch = load_relaxed(&sub->bus->control.epoch);
	*ret_n_shards = reply.n_shards;
	return 0;
}

static int attach_all(struct leat_subscriber *sub, struct deadline *deadline)
{
	int32_t only = sub->options.shard;
	struct subscribe_shard *shards;
	uint32_t n = 0, i;
	int r;

	sub->shards = calloc(1, sizeof(*sub->shards));
	if (!sub->shards)
		return -ENOMEM;
	sub->n_shards = 1;
	sub->shards[0].shard = only >= 0 ? (uint32_t)only : 0;
	r = attach_shard(sub, 0, deadline, &n);
	if (r < 0 || only >= 0 || n <= 1)
		return r;
	shards = realloc(sub->shards, n * sizeof(*shards));
	if (!shards)
		return -ENOMEM;
	memset(shards + 1, 0, (n - 1) * sizeof(*shards));
	sub->shards = shards;
	sub->n_shards = n;
	for (i = 1; i < n; i++)
		shards[i].shard = i;
	for (i = 1; i < n && r == 0; i++)
		r = attach_shard(sub, i, deadline, &n);
	return r;
}

static int check_options(struct leat_subscriber *sub)
{
	struct leat_subscriber_options *options = &sub->options;

	if (options->shard < LEAT_SHARD_ANY)
		return detail_fail(&sub->detail, -EINVAL, "there is no shard %d", options->shard);
	if ((unsigned int)options->isolation > LEAT_ISOLATION_DURABLE)
		return detail_fail(&sub->detail, -EINVAL, "there is no isolation %d",
				   (int)options->isolation);
	options->buffer_len = max_u64(options->buffer_len, SUBSCRIBER_BUFFER_MIN);
	if (options->buffer_len > GIB)
		return detail_fail(&sub->detail, -EINVAL, "buffer_len: %zu is above 1 GiB",
				   options->buffer_len);
	sub->buffer = malloc(options->buffer_len);
	if (!sub->buffer)
		return -ENOMEM;
	sub->buffer_len = options->buffer_len;
	return 0;
}

/* Each shard goes to its checkpoint, or to the start that was asked for. */
static int start_all(struct leat_subscriber *sub, struct deadline *deadline)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	const json_t *positions = NULL;
	uint32_t i;
	int r = 0;

	if (sub->name) {
		request = checkpoint_request(sub, "checkpoint-get");
		if (!request)
			return detail_fail(&sub->detail, -EINVAL,
					   "the subscriber's name is not valid UTF-8, or "
					   "there is no memory");
		r = control_request(&sub->bus->control, request, deadline, &reply, &sub->detail);
		if (r < 0)
			return r;
		positions = json_object_get(reply.object, "positions");
	}
	for (i = 0; i < sub->n_shards && r == 0; i++) {
		struct subscribe_shard *shard = &sub->shards[i];
		uint64_t pos;

		r = start_stop_at(sub, shard, sub->options.stop, sub->options.stop_value);
		if (r < 0)
			break;
		if (checkpoint_of(positions, shard->shard, &pos))
			r = start_at(sub, shard, LEAT_POSITION, pos, deadline);
		else
			r = start_at(sub, shard, sub->options.start, sub->options.start_value,
				     deadline);
	}
	control_reply_deinit(&reply);
	return r;
}

static int subscriber_open(struct leat_subscriber *sub)
{
	struct deadline deadline = DEADLINE(sub->bus->control.timeout_ns);
	int r = check_options(sub);

	if (r == 0)
		r = attach_all(sub, &deadline);
	if (r < 0)
		return r;
	if (sub->options.isolation != LEAT_ISOLATION_RING &&
	    (sub->shards[0].ring->flags & GOVERN_F_MEMORY))
		return detail_fail(&sub->detail, -EINVAL,
				   "stream '%s' is memory-only: nothing of "
				   "it is ever written or durable",
				   sub->stream);
	return start_all(sub, &deadline);
}

int leat_subscriber_open(struct leat_bus *bus, const char *stream,
			 const struct leat_subscriber_options *options,
			 struct leat_subscriber **ret_subscriber)
{
	struct detail detail = { "" };
	struct leat_subscriber *sub;
	int r;

	if (!bus_alive(bus))
		return -EPERM;
	sub = calloc(1, sizeof(*sub));
	if (!sub)
		return bus_done(bus, -ENOMEM, &detail);
	sub->bus = bus;
	sub->alive = bus->alive;
	sub->stop_ns = UINT64_MAX;
	sub->failure = sub->detail.text;
	leat_subscriber_options_init(&sub->options);
	r = bus_take_options(&sub->options, sizeof(sub->options), options,
			     "leat_subscriber_options", &sub->detail);
	sub->stream = strdup(stream);
	if (sub->options.name)
		sub->name = strdup(sub->options.name);
	if (r == 0 && (!sub->stream || (sub->options.name && !sub->name)))
		r = -ENOMEM;
	sub->options.name = sub->name;
	if (r == 0)
		r = subscriber_open(sub);
	if (r < 0) {
		if (sub->failure != sub->detail.text)
			detail_fail(&sub->detail, r, "%s", sub->failure);
		bus_done(bus, r, &sub->detail);
		leat_subscriber_close(sub);
		return r;
	}
	*ret_subscriber = sub;
	return 0;
}

struct leat_subscriber *leat_subscriber_close(struct leat_subscriber *sub)
{
	uint32_t i;

	if (!sub)
		return NULL;
	sub->helper = helper_stop(sub->helper, !bus_alive(sub->bus));
	for (i = 0; sub->shards && i < sub->n_shards; i++) {
		source_disk_close(&sub->shards[i].disk);
		ring_close(sub->shards[i].ring);
		ring_close(sub->shards[i].next);
	}
	free(sub->shards);
	free(sub->buffer);
	free(sub->stream);
	free(sub->name);
	free(sub);
	return NULL;
}

/* ---- steering ---- */

static int no_shard(struct leat_subscriber *sub, int32_t shard)
{
	sub->failure = sub->detail.text;
	return detail_fail(&sub->detail, -EINVAL, "shard %d of stream '%s' is not subscribed to",
			   shard, sub->stream);
}

int leat_seek(struct leat_subscriber *sub, int32_t shard, enum leat_where where, uint64_t value)
{
	struct deadline deadline = DEADLINE(sub->bus->control.timeout_ns);
	struct subscribe_shard *only = subscribe_shard_of(sub, shard);
	uint32_t i;
	int r = 0;

	if (!bus_alive(sub->bus))
		return subscribe_forked(sub);
	if (shard != LEAT_SHARD_ANY && !only)
		return subscribe_done(sub, no_shard(sub, shard));
	subscribe_drop_run(sub);
	sub->quick = NULL;
	for (i = 0; i < sub->n_shards && r == 0; i++) {
		if (only && only != &sub->shards[i])
			continue;
		r = start_at(sub, &sub->shards[i], where, value, &deadline);
	}
	return subscribe_done(sub, r);
}

int leat_pause(struct leat_subscriber *sub, int32_t shard, int on)
{
	struct subscribe_shard *only = subscribe_shard_of(sub, shard);
	uint32_t i;

	if (!bus_alive(sub->bus))
		return subscribe_forked(sub);
	if (shard != LEAT_SHARD_ANY && !only)
		return subscribe_done(sub, no_shard(sub, shard));
	/* The run may be of a shard that is to be silent; it is read again later. */
	subscribe_drop_run(sub);
	sub->quick = NULL;
	for (i = 0; i < sub->n_shards; i++) {
		if (!only || only == &sub->shards[i])
			sub->shards[i].paused = on != 0;
	}
	return 0;
}

int leat_subscriber_position(const struct leat_subscriber *sub, uint32_t shard, uint64_t *ret_pos)
{
	const struct subscribe_shard *at =
		shard <= INT32_MAX ? subscribe_shard_of(sub, (int32_t)shard) : NULL;

	if (!at)
		return -EINVAL;
	*ret_pos = at->given;
	return 0;
}

int leat_subscriber_fd(struct leat_subscriber *sub)
{
	int r;

	if (!bus_alive(sub->bus))
		return subscribe_forked(sub);
	if (!sub->helper) {
		r = helper_start(&sub->helper);
		if (r < 0) {
			sub->failure = "no memory, fd or thread for the subscriber's helper";
			return r;
		}
	}
	return helper_fd(sub->helper);
}

const char *leat_subscriber_detail(const struct leat_subscriber *sub)
{
	return sub ? sub->failure : "";
}
