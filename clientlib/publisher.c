/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and asking about publishers. */
#include "clientlib/describe.h"
#include "clientlib/publish.h"
#include "shm/clock.h"

static int attach_shard(struct leat_publisher *publisher, uint32_t i, struct deadline *deadline)
{
	struct publish_shard *shard = &publisher->shards[i];
	struct control *control = &publisher->bus->control;
	struct attach_request request = { .stream = publisher->stream,
					  .shard = i,
					  .access = REGION_PUBLISHER };
	struct attach_reply reply;
	int r;

	shard->shard = i;
	shard->epoch = load_relaxed(&control->epoch);
	if (i > 0)
		request.uuid = publisher->shards[0].ring->stream_uuid;
	r = attach(control, &request, deadline, &reply, &publisher->detail);
	if (r < 0)
		return r;
	/* A connection that was made on the way is the one that the daemon knows us by. */
	shard->epoch = load_relaxed(&control->epoch);
	shard->ring = reply.ring;
	encode_quick_init(&shard->quick, reply.ring);
	shard->kick_fd = reply.kick_fd;
	shard->who = record_who(reply.publisher, 0);
	shard->checked_ns = clock_ns(reply.ring->govern);
	r = ring_publisher_init(&shard->rp, reply.ring, (uint16_t)reply.slot, reply.kick_fd);
	if (r < 0)
		return detail_fail(&publisher->detail, -EBADMSG,
				   "the daemon gave publisher slot %u, which does not exist",
				   reply.slot);
	return 0;
}

static int take_stream(struct leat_publisher *publisher, struct deadline *deadline)
{
	struct leat_stream_info *info;
	uint32_t i;
	int r = describe(&publisher->bus->control, publisher->stream, deadline, &info,
			 &publisher->detail);

	if (r < 0)
		return r;
	publisher->n_shards = (uint32_t)info->n_shards;
	publisher->sync = info->options.sync;
	publisher->sync_ns = info->options.sync_ns;
	keys_map_init(&publisher->keys, info->options.hash == LEAT_HASH_MD5 ? KEYS_MD5 : KEYS_XXH3,
		      publisher->n_shards);
	leat_stream_info_free(info);
	publisher->shards = calloc(publisher->n_shards, sizeof(*publisher->shards));
	if (!publisher->shards)
		return -ENOMEM;
	publisher->only = publisher->n_shards == 1 ? publisher->shards : NULL;
	for (i = 0; i < publisher->n_shards; i++)
		publisher->shards[i].kick_fd = -1;
	/* All at once: publishing then goes on without a daemon, whatever the keys. */
	for (i = 0; i < publisher->n_shards && r == 0; i++)
		r = attach_shard(publisher, i, deadline);
	return r;
}

int leat_publisher_open(struct leat_bus *bus, const char *stream,
			const struct leat_publisher_options *options,
			struct leat_publisher **ret_publisher)
{
	struct leat_publisher_options taken = { .size = sizeof(taken) };
	struct deadline deadline = DEADLINE(bus->control.timeout_ns);
	struct leat_publisher *publisher;
	struct detail detail = { "" };
	int r = bus_take_options(&taken, sizeof(taken), options, "leat_publisher_options", &detail);

	if (!bus_alive(bus))
		return -EPERM;
	if (r < 0)
		return bus_done(bus, r, &detail);
	publisher = calloc(1, sizeof(*publisher));
	if (!publisher)
		return bus_done(bus, -ENOMEM, &detail);
	publisher->bus = bus;
	publisher->alive = bus->alive;
	publisher->failure = publisher->detail.text;
	publisher->stream = strdup(stream);
	r = publisher->stream ? take_stream(publisher, &deadline) : -ENOMEM;
	if (r < 0) {
		bus_done(bus, r, &publisher->detail);
		leat_publisher_close(publisher);
		return r;
	}
	if (taken.use_timeout)
		publisher->timeout_ns = taken.timeout_ns;
	else if (publisher->shards[0].ring->flags & GOVERN_F_FULL_FAIL)
		publisher->timeout_ns = 0;
	else
		publisher->timeout_ns = LEAT_FOREVER;
	*ret_publisher = publisher;
	return 0;
}

/* Gives back what the daemon holds for the shard; false when it is no use to go on asking. */
static bool end_shard(struct leat_publisher *publisher, struct publish_shard *shard)
{
	int r = attach_end(&publisher->bus->control, publisher->stream, shard->shard,
			   shard->rp.owner);

	return r != -ENOTCONN && r != -ETIMEDOUT;
}

struct leat_publisher *leat_publisher_close(struct leat_publisher *publisher)
{
	bool ours, tell;
	uint32_t i;

	if (!publisher)
		return NULL;
	/* In a forked child the slots and open claims are the parent's. */
	ours = bus_alive(publisher->bus);
	tell = ours;
	for (i = 0; publisher->shards && i < publisher->n_shards; i++) {
		struct publish_shard *shard = &publisher->shards[i];

		if (!shard->ring)
			continue;
		if (ours)
			claim_drop(publisher, shard);
		if (tell)
			tell = end_shard(publisher, shard);
		ring_close(shard->claimed_ring);
		ring_close(shard->ring);
		close_fd(shard->kick_fd);
	}
	free(publisher->shards);
	free(publisher->stream);
	free(publisher);
	return NULL;
}

const char *leat_publisher_detail(const struct leat_publisher *publisher)
{
	return publisher ? publisher->failure : "";
}

size_t leat_publisher_max_len(const struct leat_publisher *publisher)
{
	uint32_t least = publisher->shards[0].ring->max_len, i;

	for (i = 1; i < publisher->n_shards; i++) {
		if (publisher->shards[i].ring->max_len < least)
			least = publisher->shards[i].ring->max_len;
	}
	return least - RECORD_HEADER_LEN;
}

uint32_t leat_publisher_n_shards(const struct leat_publisher *publisher)
{
	return publisher->n_shards;
}

uint32_t leat_publisher_shard_of(const struct leat_publisher *publisher, const void *key,
				 size_t key_len)
{
	return keys_shard(&publisher->keys, key, key_len);
}
