/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/attach.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/registry.h"
#include "daemon/shard.h"

enum {
	ATTACH_SEGMENTS_MAX = 8
};

_Static_assert((int)ATTACH_SEGMENTS_MAX <= (int)PROTOCOL_FDS_MAX, "one fd for each segment");

/* What an attach asks for, and what it gets. */
struct attach {
	struct session *session;
	struct registry_stream *stream;
	uint32_t shard;
	enum region_access access;
	uint32_t at_least; /* generation */
	bool reattach;
	uint32_t slot;
	uint32_t had_generation; /* reattach: the ring it holds */
	uint32_t publisher;
	struct dispatch_reply *reply;
};

static struct shard *attach_shard(const struct attach *a)
{
	return a->stream->shards[a->shard].shard;
}

static int attach_get_role(const json_t *request, struct attach *a, unsigned int *ret_rights)
{
	const char *role;
	int r = dispatch_get_string(request, "role", &role, a->reply);

	if (r < 0)
		return r;
	if (strcmp(role, "publish") == 0) {
		a->access = REGION_PUBLISHER;
		*ret_rights = PERMISSION_PUBLISH;
	} else if (strcmp(role, "subscribe") == 0) {
		a->access = REGION_SUBSCRIBER;
		*ret_rights = PERMISSION_SUBSCRIBE;
	} else if (strcmp(role, "monitor") == 0) {
		/* Counters, no records. Where nobody may look at all, neither may a monitor. */
		a->access = REGION_MONITOR;
		*ret_rights = PERMISSION_SUBSCRIBE | PERMISSION_PUBLISH | PERMISSION_ADMINISTER;
	} else {
		return dispatch_fail(a->reply, -EINVAL,
				     "'%.32s' is no role; there are publish, subscribe, monitor",
				     role);
	}
	return 0;
}

static int attach_get_reattach(const json_t *request, struct attach *a)
{
	const json_t *reattach = json_object_get(request, "reattach");
	uint64_t slot, generation;
	int r;

	if (!reattach)
		return 0;
	if (!json_is_object(reattach) || a->access != REGION_PUBLISHER)
		return dispatch_fail(a->reply, -EINVAL,
				     "'reattach' is an object, and for publishers");
	r = dispatch_get_number(reattach, "slot", LAYOUT_PUBLISHER_SLOTS - 1, &slot, a->reply);
	if (r == 0)
		r = dispatch_get_number(reattach, "generation", UINT32_MAX, &generation, a->reply);
	if (r < 0)
		return r;
	a->reattach = true;
	a->slot = (uint32_t)slot;
	a->had_generation = (uint32_t)generation;
	return 0;
}

static int attach_parse(const json_t *request, struct attach *a)
{
	unsigned int rights = 0;
	uint64_t at_least = 0;
	int r = attach_get_role(request, a, &rights);

	if (r == 0)
		r = dispatch_get_stream(a->session, request, rights, &a->stream, a->reply);
	if (r == 0)
		r = dispatch_get_shard(request, a->stream, &a->shard, a->reply);
	if (r == 0 && json_object_get(request, "generation"))
		r = dispatch_get_number(request, "generation", UINT32_MAX, &at_least, a->reply);
	a->at_least = (uint32_t)at_least;
	return r < 0 ? r : attach_get_reattach(request, a);
}

/* ---- publisher slots ---- */

/*
 * True when the slot is the process' own from before; then it keeps it. In a ring that died with
 * its daemon it was another one: its number may be that of another publisher of the process by now.
 */
static bool attach_keeps_slot(struct attach *a, struct process *process)
{
	struct process_slot *slot;

	if (!a->reattach || a->had_generation < shard_origin(attach_shard(a)))
		return false;
	slot = process_find_slot(process, a->stream, a->shard, a->slot);
	if (!slot)
		return false;
	memcpy(slot->client, a->session->client, sizeof(slot->client));
	a->publisher = slot->publisher;
	return true;
}

static int attach_take_slot(struct attach *a, struct process *process)
{
	struct process_slot held = { .stream = a->stream, .shard = a->shard };
	int r = server_take_publisher(a->session->server, &a->publisher);

	if (r < 0)
		return dispatch_fail(a->reply, r,
				     "the catalogue is behind with publisher ids: try "
				     "again in a moment");
	r = shard_slot_take(attach_shard(a), (uint32_t)process->pid, a->session->subject.uid,
			    process->start_time, a->publisher, &a->slot);
	if (r < 0)
		return dispatch_fail(a->reply, r,
				     "stream '%s' shard %u has %d publishers, which "
				     "is the limit",
				     a->stream->name, a->shard, LAYOUT_PUBLISHER_SLOTS);
	held.slot = a->slot;
	held.publisher = a->publisher;
	memcpy(held.client, a->session->client, sizeof(held.client));
	r = process_hold(process, &held);
	if (r < 0)
		shard_slot_gone(attach_shard(a), a->slot);
	return r;
}

/* ---- the reply ---- */

static int attach_add_ring(struct attach *a, const struct region_fds *fds)
{
	static const char *const names[REGION_N] = {
		[REGION_RING] = "ring",
		[REGION_PUBLISH] = "publish",
		[REGION_GOVERN] = "govern",
		[REGION_WAIT] = "wait",
	};
	int r = 0;

	/* All are handed over before the first failure counts, so that none is left open. */
	for (int k = 0; k < REGION_N; k++)
		if (fds->fd[k] >= 0)
			r = dispatch_add_fd(a->reply, names[k], fds->fd[k], true) < 0 ? -ENOMEM : r;
	return r;
}

static json_t *attach_describe(const struct attach *a, uint32_t generation)
{
	const struct options *options = registry_options(a->stream);

	return json_pack("{s:I, s:I, s:I, s:s, s:s, s:b}", "generation", (json_int_t)generation,
			 "ring", (json_int_t)options->ring_len, "shards",
			 (json_int_t)a->stream->n_shards, "hash",
			 options->hash_md5 ? "md5" : "xxh3", "full",
			 options->full_fail ? "fail" : "block", "memory", (int)options->memory);
}

static int attach_add_publisher(struct attach *a)
{
	json_t *object = a->reply->object;

	if (json_object_set_new(object, "slot", json_integer(a->slot)) < 0 ||
	    json_object_set_new(object, "publisher", json_integer(a->publisher)) < 0)
		return -ENOMEM;
	return dispatch_add_fd(a->reply, "kick", shard_kick_fd(attach_shard(a)), false);
}

static int attach_give_ring(struct attach *a)
{
	struct region_fds fds = REGION_FDS_NULL;
	uint32_t generation;
	int r = shard_region_fds(attach_shard(a), a->access, a->at_least, &generation, &fds);

	if (r == -EAGAIN)
		return dispatch_fail(a->reply, r,
				     "the ring that follows in stream '%s' shard %u is being made: "
				     "try again in a moment",
				     a->stream->name, a->shard);
	if (r < 0)
		return dispatch_fail(a->reply, r,
				     "the ring of stream '%s' shard %u cannot be "
				     "opened for you: %s",
				     a->stream->name, a->shard, strerror(-r));
	a->reply->object = attach_describe(a, generation);
	if (!a->reply->object) {
		region_fds_close(&fds);
		return -ENOMEM;
	}
	return attach_add_ring(a, &fds);
}

/* A publisher that comes back with its slot and its ring needs a way to kick, nothing else. */
static int attach_welcome_back(struct attach *a)
{
	a->reply->object = attach_describe(a, a->had_generation);
	return a->reply->object ? attach_add_publisher(a) : -ENOMEM;
}

/* The slot first: a slot is good for the ring it was taken in and for all later ones. */
static int attach_newcomer(struct attach *a, struct process *process)
{
	int r = attach_take_slot(a, process);

	if (r < 0)
		return r;
	r = attach_give_ring(a);
	if (r == 0)
		r = attach_add_publisher(a);
	if (r < 0)
		process_release(process_find_slot(process, a->stream, a->shard, a->slot));
	return r;
}

static int attach_publisher(struct attach *a)
{
	struct process *process;
	int r = session_process(a->session, &process, a->reply->detail, sizeof(a->reply->detail));

	if (r < 0)
		return r;
	if (!attach_keeps_slot(a, process))
		return attach_newcomer(a, process);
	if (a->at_least <= a->had_generation)
		return attach_welcome_back(a);
	r = attach_give_ring(a);
	return r < 0 ? r : attach_add_publisher(a);
}

int attach_op_attach(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct attach a = { .session = session, .reply = reply };
	int r = attach_parse(request, &a);

	if (r < 0)
		return r;
	if (a.access == REGION_PUBLISHER)
		return attach_publisher(&a);
	return attach_give_ring(&a);
}

int attach_op_detach(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	struct process_slot *held = NULL;
	uint32_t shard;
	uint64_t slot;
	int r = dispatch_get_stream(session, request, 0, &stream, reply);

	if (r == 0)
		r = dispatch_get_shard(request, stream, &shard, reply);
	if (r == 0)
		r = dispatch_get_number(request, "slot", LAYOUT_PUBLISHER_SLOTS - 1, &slot, reply);
	if (r < 0)
		return r;
	if (session->process)
		held = process_find_slot(session->process, stream, shard, (uint32_t)slot);
	if (!held)
		return dispatch_fail(reply, -ENOENT,
				     "slot %" PRIu64 " of stream '%s' shard %u is not yours", slot,
				     stream->name, shard);
	process_release(held);
	return 0;
}

int attach_op_sync(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	uint32_t shard;
	int r = dispatch_get_stream(session, request, PERMISSION_PUBLISH, &stream, reply);

	if (r == 0)
		r = dispatch_get_shard(request, stream, &shard, reply);
	if (r < 0)
		return r;
	if (registry_options(stream)->memory)
		return dispatch_fail(reply, -EOPNOTSUPP,
				     "stream '%s' is memory-only: nothing is written",
				     stream->name);
	shard_request_sync(stream->shards[shard].shard);
	return 0;
}

/* ---- segments ---- */

static int attach_add_gap(json_t *gaps, uint64_t from, uint64_t to, const char *reason)
{
	if (from >= to)
		return 0;
	return json_array_append_new(gaps, json_pack("[I, I, s]", (json_int_t)from, (json_int_t)to,
						     reason));
}

/* What cannot be had of [pos, the last segment's end): below the earliest, and between files. */
static json_t *attach_find_gaps(const struct shard_segment *segments, int n, uint64_t pos,
				uint64_t earliest)
{
	json_t *gaps = json_array();
	int bad = gaps == NULL;

	if (!bad && n > 0 && pos < segments[0].base) {
		uint64_t kept = min_u64(earliest, segments[0].base);

		bad |= attach_add_gap(gaps, pos, kept, "retention");
		bad |= attach_add_gap(gaps, max_u64(pos, kept), segments[0].base, "jump");
	}
	for (int i = 1; !bad && i < n; i++) {
		uint64_t end = segments[i].prev_end ? segments[i].prev_end : segments[i - 1].end;

		bad |= attach_add_gap(gaps, end, segments[i].base, "jump");
	}
	if (bad) {
		json_decref(gaps);
		return NULL;
	}
	return gaps;
}

static int attach_add_segment(struct dispatch_reply *reply, const struct shard_segment *s)
{
	json_t *list = json_object_get(reply->object, "segments");
	int r = dispatch_add_fd(reply, "segment", s->fd, true);

	if (r < 0)
		return r;
	return json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I}", "base",
						     (json_int_t)s->base, "end", (json_int_t)s->end,
						     "epoch", (json_int_t)s->epoch, "prev_end",
						     (json_int_t)s->prev_end));
}

static int attach_list_segments(struct registry_stream *stream, uint32_t shard_number, uint64_t pos,
				struct dispatch_reply *reply)
{
	struct shard *shard = stream->shards[shard_number].shard;
	struct shard_segment segments[ATTACH_SEGMENTS_MAX];
	struct shard_stats stats;
	struct shard_kept kept;
	int n = shard_segments(shard, pos, segments, ATTACH_SEGMENTS_MAX, &kept), r = 0;

	if (n < 0)
		return dispatch_fail(reply, n,
				     "the segments of stream '%s' shard %u cannot be "
				     "opened: %s",
				     stream->name, shard_number, strerror(-n));
	shard_statistics(shard, &stats);
	if (kept.end == 0)
		kept.earliest = stats.earliest;
	reply->object = json_pack("{s:I, s:I, s:I, s:I, s:[], s:[], s:o}", "earliest",
				  (json_int_t)kept.earliest, "end", (json_int_t)kept.end, "written",
				  (json_int_t)stats.written, "durable", (json_int_t)stats.durable,
				  "segments", "fds", "gaps",
				  attach_find_gaps(segments, n, pos, kept.earliest));
	for (int i = 0; i < n; i++) {
		if (!reply->object || r < 0)
			close_fd(segments[i].fd);
		else
			r = attach_add_segment(reply, &segments[i]);
	}
	return reply->object ? r : -ENOMEM;
}

int attach_op_segments(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	uint32_t shard;
	uint64_t pos;
	int r = dispatch_get_stream(session, request, PERMISSION_SUBSCRIBE, &stream, reply);

	if (r == 0)
		r = dispatch_get_shard(request, stream, &shard, reply);
	if (r == 0)
		r = dispatch_get_number(request, "position", LAYOUT_POS_END, &pos, reply);
	if (r < 0)
		return r;
	if (registry_options(stream)->memory)
		return dispatch_fail(reply, -EOPNOTSUPP,
				     "stream '%s' is memory-only: it has no segments",
				     stream->name);
	return attach_list_segments(stream, shard, pos, reply);
}
