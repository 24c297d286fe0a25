/* SPDX-License-Identifier: Apache-2.0 */
/* From a stream's name to a mapped ring. */
#include "clientlib/attach.h"

static json_t *make_request(const struct attach_request *request)
{
	bool publish = request->access == REGION_PUBLISHER;
	json_t *object = json_pack("{s:s, s:s, s:I, s:s}", "op", "attach", "stream",
				   request->stream, "shard", (json_int_t)request->shard, "role",
				   publish ? "publish" : "subscribe");
	int bad = !object;

	if (!bad && request->at_least)
		bad = json_object_set_new(object, "generation", json_integer(request->at_least));
	if (!bad && request->reattach)
		bad = json_object_set_new(object, "reattach",
					  json_pack("{s:I, s:I}", "slot", (json_int_t)request->slot,
						    "generation", (json_int_t)request->generation));
	if (bad)
		control_decref(&object);
	return object;
}

static int take_slot(struct control_reply *reply, struct attach_reply *taken)
{
	if (!control_get_u32(reply->object, "slot", &taken->slot) ||
	    taken->slot >= LAYOUT_PUBLISHER_SLOTS)
		return -EBADMSG;
	(void)control_get_u32(reply->object, "publisher", &taken->publisher);
	taken->kick_fd = control_take_fd(reply, "kick");
	return taken->kick_fd >= 0 ? 0 : -EBADMSG;
}

/* Maps the ring in the reply, if there is one, and holds it against what was asked for. */
static int take_ring(struct control_reply *reply, const struct attach_request *request,
		     struct ring **ret_ring, struct detail *detail)
{
	struct region_fds fds = {
		{ control_take_fd(reply, "ring"), control_take_fd(reply, "publish"),
		  control_take_fd(reply, "govern"), control_take_fd(reply, "wait") }
	};
	struct ring *ring = NULL;
	int r;

	if (fds.fd[REGION_RING] < 0) {
		region_fds_close(&fds);
		return request->reattach && request->at_least <= request->generation ? 0 : -EAGAIN;
	}
	r = ring_open(&fds, request->access, &ring);
	region_fds_close(&fds);
	if (r < 0)
		return detail_fail(detail, r,
				   "the ring of stream '%s' shard %u cannot be mapped: "
				   "%s",
				   request->stream, request->shard, strerror(-r));
	if (ring->shard != request->shard)
		r = detail_fail(detail, -EBADMSG,
				"the daemon gave shard %u of stream '%s' in the "
				"place of %u",
				ring->shard, request->stream, request->shard);
	else if (request->uuid && memcmp(request->uuid, ring->stream_uuid, 16) != 0)
		r = detail_fail(detail, -ENOENT,
				"stream '%s' was deleted, and another one has its "
				"name: open it again",
				request->stream);
	else if (ring->generation < request->at_least)
		r = -EAGAIN;
	if (r < 0) {
		ring_close(ring);
		return r;
	}
	*ret_ring = ring;
	return 0;
}

static int take_reply(struct control_reply *reply, const struct attach_request *request,
		      struct attach_reply *taken, struct detail *detail)
{
	int r;

	if (!control_get_u32(reply->object, "shards", &taken->n_shards))
		taken->n_shards = 0;
	if (taken->n_shards > ATTACH_SHARDS_MAX)
		return -EBADMSG;
	if (request->access == REGION_PUBLISHER) {
		r = take_slot(reply, taken);
		if (r < 0)
			return detail_fail(detail, r, "the daemon's reply to `attach` has no slot");
	}
	return take_ring(reply, request, &taken->ring, detail);
}

int attach(struct control *control, const struct attach_request *request, struct deadline *deadline,
	   struct attach_reply *ret_reply, struct detail *detail)
{
	struct attach_reply taken = { .kick_fd = -1, .slot = request->slot };
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *object = make_request(request);
	int r;

	if (detail)
		detail_clear(detail);
	if (!object)
		return detail_fail(detail, -EINVAL,
				   "the stream's name is not valid UTF-8, or there is no "
				   "memory");
	if (request->once)
		r = control_request_once(control, object, deadline, &reply, detail);
	else
		r = control_request(control, object, deadline, &reply, detail);
	if (r < 0)
		return r;
	r = take_reply(&reply, request, &taken, detail);
	control_reply_deinit(&reply);
	if (r < 0) {
		/* The slot came, what it is good for did not: it would be taken for ever. */
		if (taken.kick_fd >= 0 && (!request->reattach || taken.slot != request->slot))
			(void)attach_end(control, request->stream, request->shard, taken.slot);
		close_fd(taken.kick_fd);
		return r;
	}
	*ret_reply = taken;
	return 0;
}

int attach_end(struct control *control, const char *stream, uint32_t shard, uint32_t slot)
{
	struct deadline deadline = DEADLINE(NS_PER_S);
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *object = NULL;
	int r;

	object = json_pack("{s:s, s:s, s:I, s:I}", "op", "detach", "stream", stream, "shard",
			   (json_int_t)shard, "slot", (json_int_t)slot);
	if (!object)
		return -ENOMEM;
	r = control_request_once(control, object, &deadline, &reply, NULL);
	control_reply_deinit(&reply);
	return r;
}
