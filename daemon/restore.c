/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/restore.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "daemon/directory.h"
#include "daemon/dispatch.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/registry.h"
#include "daemon/shard.h"
#include "daemon/stream.h"
#include "shm/testpoint.h"

/* Attempts to bring a shard back, 9 s in all; after the first, 0.4 s, it is said that they fail. */
enum {
	RESTORE_TRIES = 48,
	RESTORE_TRIES_UNSAID = 8,
	RESTORE_PAUSE_MS = 10,
	RESTORE_PAUSE_MAX_MS = 250
};

/* What is to be deleted once the walk over the catalogue is over. */
struct restore_leftover {
	struct worker_job job;
	struct cds_list_head node;
	struct server *server;
	struct catalogue_stream row;
};

/* A shard on its way back. The pool's while a job of it is under way, else the control thread's. */
struct restore_shard {
	struct worker_job job;
	struct cds_list_head node; /* of todo, before it is submitted */
	struct server *server;
	struct registry_stream *stream;
	uint32_t number;
	struct region_fds *survivors;
	size_t n_survivors;
	unsigned int n_tries;
	bool tries_again;
	bool said; /* that it fails so far; control thread */
	struct shard *shard;
	int result;
	char *detail;
};

/* A request that waits for what is not back yet. */
struct restore_request {
	struct cds_list_head node;
	struct session *session;
	json_t *request;
	enum restore_need need;
};

struct restore {
	struct worker *pool;
	struct cds_list_head todo;
	struct cds_list_head requests;
	struct cds_list_head leftovers;
	uint64_t began_ns;
	unsigned int n_left; /* shards */
	unsigned int n_streams, n_shards, n_failed, n_publishers;
};

/* ---- publishers' slots ---- */

/*
 * A publisher that the last daemon knew: watched if it lives; its slot is given up if it does not,
 * and then alone: one that lives and cannot be watched may still write. Its death is not noticed
 * then, and a record it leaves half made is what a stopped publisher leaves: the shard moves to
 * another ring after the claim time-out.
 */
static void restore_slot(struct server *server, struct registry_stream *stream, uint32_t shard,
			 const struct layout_owner *owner, uint32_t slot)
{
	struct process_slot held = {
		.stream = stream, .shard = shard, .slot = slot, .publisher = owner->publisher
	};
	struct process *process;
	int r = process_get(server, -1, (pid_t)owner->pid, owner->start_time, &process);

	if (r == 0) {
		r = process_hold(process, &held);
		process_put(process);
	}
	if (r == -ESRCH) {
		shard_slot_gone(stream->shards[shard].shard, slot);
		return;
	}
	server->restore->n_publishers++;
	if (r < 0)
		log_limited(LOG_LEVEL_WARNING,
			    "stream %s shard %u: publisher %u, process %u, cannot be watched: %s",
			    stream->name, shard, owner->publisher, owner->pid, strerror(-r));
}

static void restore_slots(struct server *server, struct registry_stream *stream, uint32_t shard)
{
	static struct layout_owner owners[LAYOUT_PUBLISHER_SLOTS];
	static uint32_t slots[LAYOUT_PUBLISHER_SLOTS];
	size_t n = shard_slots(stream->shards[shard].shard, owners, slots, ARRAY_LEN(slots));

	for (size_t i = 0; i < n; i++)
		restore_slot(server, stream, shard, &owners[i], slots[i]);
}

/* ---- a shard ---- */

static bool restore_waits(struct server *server, const json_t *request, enum restore_need need);

/* Who waited for this goes on. */
static void restore_wake(struct server *server)
{
	struct restore_request *r, *next;

	cds_list_for_each_entry_safe(r, next, &server->restore->requests, node) {
		if (restore_waits(server, r->request, r->need))
			continue;
		cds_list_del(&r->node);
		dispatch_again(r->session, r->request);
		json_decref(r->request);
		free(r);
	}
}

/* The others are served all the same; who asks for this one is told why not. */
static void restore_fail(struct restore_shard *s)
{
	struct registry_shard *rs = &s->stream->shards[s->number];

	s->server->restore->n_failed++;
	rs->error = s->result;
	rs->detail = take_ptr(s->detail);
	log_error("Stream %s shard %u cannot be restored: %s", s->stream->name, s->number,
		  rs->detail ? rs->detail : strerror(-s->result));
}

static void restore_shard_over(struct restore_shard *s)
{
	struct server *server = s->server;
	struct registry_stream *stream = s->stream;

	if (s->result < 0)
		restore_fail(s);
	else if (s->said)
		log_notice("Stream %s shard %u is back after all", stream->name, s->number);
	stream->shards[s->number].restoring = NULL;
	free(s->survivors);
	free(s->detail);
	free(s);
	if (--stream->n_restoring == 0) {
		stream_set_live(server, stream);
		server->restore->n_streams++;
	}
	server->restore->n_left--;
	restore_wake(server);
}

static void restore_say(struct restore_shard *s, int r, const char *detail)
{
	s->result = r;
	free(s->detail);
	s->detail = r < 0 ? strdup(detail[0] ? detail : strerror(-r)) : NULL;
}

/* What fails for a moment is tried again, for a while; what is on the disk does not change. False
 * as well when the control thread has to be told before. */
static bool restore_tries_on(struct restore_shard *s, int r)
{
	uint64_t pause_ms = min_u64(RESTORE_PAUSE_MS * ++s->n_tries, RESTORE_PAUSE_MAX_MS);
	struct timespec pause = { .tv_nsec = (long)(pause_ms * NS_PER_MS) };

	s->tries_again = r < 0 && r != -EBADMSG && r != -EPROTONOSUPPORT &&
			 s->n_tries < RESTORE_TRIES && !load_relaxed(&s->server->stopping);
	if (s->tries_again)
		nanosleep(&pause, NULL);
	return s->tries_again && s->n_tries % RESTORE_TRIES_UNSAID != 0;
}

/* On the control thread: others come first, and then this one is tried again. */
static bool restore_goes_on(struct restore_shard *s)
{
	if (!s->tries_again)
		return false;
	if (!s->said)
		log_error("Stream %s shard %u cannot be restored so far: %s", s->stream->name,
			  s->number, s->detail ? s->detail : strerror(-s->result));
	s->said = true;
	worker_submit(s->server->restore->pool, &s->job);
	restore_wake(s->server);
	return true;
}

static void restore_segments(struct worker_job *job)
{
	struct restore_shard *s = (struct restore_shard *)job;
	char detail[OPTIONS_DETAIL_LEN] = "";
	int r;

	do
		r = stream_start_shard(s->shard, detail, sizeof(detail));
	while (restore_tries_on(s, r));
	restore_say(s, r, detail);
	TESTPOINT("restore-segments");
}

static void restore_have_segments(struct worker_job *job)
{
	struct restore_shard *s = (struct restore_shard *)job;

	if (restore_goes_on(s))
		return;
	if (s->result == 0)
		s->stream->shards[s->number].drain = shard_drain(s->shard);
	restore_shard_over(s);
}

static void restore_ring(struct worker_job *job)
{
	struct restore_shard *s = (struct restore_shard *)job;
	struct stream_shard what = {
		.stream = s->stream,
		.number = s->number,
		.node = -1,
		.survivors = s->survivors,
		.n_survivors = s->n_survivors,
	};
	char detail[OPTIONS_DETAIL_LEN] = "";
	int r;

	/* Rings that survived are closed by an attempt that fails: the next daemon gets them. */
	do
		r = stream_make_shard(s->server, &what, detail, sizeof(detail), &s->shard);
	while (s->n_survivors == 0 && restore_tries_on(s, r));
	restore_say(s, r, detail);
	TESTPOINT("restore-ring");
}

static void restore_have_ring(struct worker_job *job)
{
	struct restore_shard *s = (struct restore_shard *)job;

	if (restore_goes_on(s))
		return;
	if (s->result < 0) {
		restore_shard_over(s);
		return;
	}
	s->n_tries = 0;
	s->stream->shards[s->number].shard = s->shard;
	restore_slots(s->server, s->stream, s->number);
	s->job = (struct worker_job){ .run = restore_segments, .done = restore_have_segments };
	worker_submit(s->server->restore->pool, &s->job);
	restore_wake(s->server);
}

static int restore_plan_shard(struct server *server, struct registry_stream *stream,
			      uint32_t number)
{
	struct restore_shard *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = notify_take_rings(server->notify, stream->uuid, number, &s->survivors, &s->n_survivors);
	if (r < 0) {
		free(s);
		return r;
	}
	s->job = (struct worker_job){ .run = restore_ring, .done = restore_have_ring };
	s->server = server;
	s->stream = stream;
	s->number = number;
	cds_list_add_tail(&s->node, &server->restore->todo);
	stream->shards[number].restoring = s;
	stream->n_restoring++;
	server->restore->n_shards++;
	server->restore->n_left++;
	return 0;
}

/* ---- what the catalogue says ---- */

static int restore_checkpoint(void *ctx, const char *name, uint32_t shard, uint64_t pos)
{
	struct registry_stream *stream = ctx;
	struct registry_checkpoint *checkpoint = registry_find_checkpoint(stream, name);

	if (shard >= stream->n_shards || !names_is_valid(name))
		return 0;
	if (!checkpoint)
		checkpoint = registry_add_checkpoint(stream, name);
	if (!checkpoint)
		return -ENOMEM;
	store_relaxed(&checkpoint->pos[shard], pos);
	return 0;
}

static int restore_live(struct server *server, const struct catalogue_stream *row)
{
	struct registry_stream *stream = registry_add(&server->registry, row->name);
	struct options options = row->options;
	int r;

	if (!stream)
		return -ENOMEM;
	options_print_names(&options);
	r = registry_define(&server->registry, stream, row->uuid, &options);
	if (r < 0)
		return r;
	registry_set_restoring(stream);
	stream->id = row->id;
	r = catalogue_each_checkpoint(server->catalogue, row->id, restore_checkpoint, stream);
	if (r < 0)
		log_error("The checkpoints of stream %s cannot be read: %s", row->name,
			  strerror(-r));
	stream->checkpoints_error = r;
	r = 0;
	for (uint32_t i = 0; r == 0 && i < stream->n_shards; i++)
		r = restore_plan_shard(server, stream, i);
	return r;
}

static int restore_stream(void *ctx, const struct catalogue_stream *row)
{
	struct server *server = ctx;
	struct restore_leftover *leftover;

	if (row->state == CATALOGUE_LIVE)
		return restore_live(server, row);
	leftover = calloc(1, sizeof(*leftover));
	if (!leftover)
		return -ENOMEM;
	leftover->server = server;
	leftover->row = *row;
	cds_list_add_tail(&leftover->node, &server->restore->leftovers);
	return 0;
}

/* Streams whose creation or removal was cut off: nobody was told that they exist, or do not. */
static void restore_clean(struct worker_job *job)
{
	struct restore_leftover *leftover = (struct restore_leftover *)job;
	struct server *server = leftover->server;
	int r = stream_remove_leftover(server, leftover->row.name, leftover->row.id,
				       leftover->row.state);

	if (r < 0)
		log_error("What is left of stream %s cannot be removed: %s", leftover->row.name,
			  strerror(-r));
	else
		log_notice("Stream %s had been left half-%s; it was cleaned away",
			   leftover->row.name,
			   leftover->row.state == CATALOGUE_MAKING ? "made" : "removed");
}

static void restore_cleaned(struct worker_job *job)
{
	free(job);
}

/* ---- what the catalogue does not say ---- */

struct restore_unknown {
	struct server *server;
	size_t n;
	char name[NAME_MAX + 1]; /* of one of them */
};

static void restore_see_directory(void *ctx, const char *name)
{
	struct restore_unknown *unknown = ctx;
	struct restore_leftover *leftover;

	if (registry_find(&unknown->server->registry, name))
		return;
	cds_list_for_each_entry(leftover, &unknown->server->restore->leftovers, node)
		if (strcmp(leftover->row.name, name) == 0)
			return;
	if (unknown->n++ == 0)
		snprintf(unknown->name, sizeof(unknown->name), "%s", name);
}

/* With a catalogue that is new, or an old one put back, streams are there that nobody serves. */
static void restore_say_unknown(struct server *server)
{
	struct restore_unknown unknown = { .server = server };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/streams", server->config->data);
	directory_each(path, restore_see_directory, &unknown);
	if (unknown.n > 0)
		log_warning("Directories in %s of no stream that the catalogue knows: %zu, one of "
			    "them %s. What is in them is not served: put the catalogue back that "
			    "knows them, or move them away",
			    path, unknown.n, unknown.name);
}

/* ---- beginning and end ---- */

static void restore_end(struct server *server)
{
	struct restore *restore = server->restore;

	TESTPOINT("restore-over");
	worker_free(restore->pool);
	free(restore);
	server->restore = NULL;
}

/* Nothing was begun: there is nothing to wait for. */
static void restore_give_up(struct server *server)
{
	struct restore_shard *s, *next;

	cds_list_for_each_entry_safe(s, next, &server->restore->todo, node) {
		s->result = -ECANCELED;
		restore_shard_over(s);
	}
}

int restore_begin(struct server *server)
{
	struct restore *restore = calloc(1, sizeof(*restore));
	struct restore_leftover *leftover, *next_leftover;
	struct restore_shard *s, *next;
	int r;

	if (!restore)
		return -ENOMEM;
	server->restore = restore;
	restore->began_ns = clock_now_ns(CLOCK_MONOTONIC);
	CDS_INIT_LIST_HEAD(&restore->todo);
	CDS_INIT_LIST_HEAD(&restore->requests);
	CDS_INIT_LIST_HEAD(&restore->leftovers);
	r = catalogue_each_stream(server->catalogue, restore_stream, server);
	if (r == 0)
		restore_say_unknown(server);
	cds_list_for_each_entry_safe(leftover, next_leftover, &restore->leftovers, node) {
		leftover->job =
			(struct worker_job){ .run = restore_clean, .done = restore_cleaned };
		server_submit(server, SERVER_WORKER_CATALOGUE, &leftover->job);
	}
	if (r == 0 && restore->n_shards > 0)
		r = worker_new(server->worked.source.fd, restore->n_shards, &restore->pool);
	if (r < 0) {
		restore_give_up(server);
		restore_end(server);
		return r;
	}
	cds_list_for_each_entry_safe(s, next, &restore->todo, node)
		worker_submit(restore->pool, &s->job);
	TESTPOINT("restore-begun");
	if (restore->n_shards == 0)
		restore_end(server);
	return 0;
}

void restore_let_go(struct server *server)
{
	size_t n_dropped = notify_drop_rest(server->notify);

	if (n_dropped > 0)
		log_notice("%zu fds that were kept are of no use any more; they were let go",
			   n_dropped);
}

void restore_reap(struct server *server)
{
	struct restore *restore = server->restore;

	if (!restore)
		return;
	worker_reap(restore->pool);
	if (restore->n_left > 0)
		return;
	log_info("Streams are back: %u, with %u shards, of which %u failed, after %u ms; "
		 "publishers that live on: %u",
		 restore->n_streams, restore->n_shards, restore->n_failed,
		 (unsigned int)((clock_now_ns(CLOCK_MONOTONIC) - restore->began_ns) / NS_PER_MS),
		 restore->n_publishers);
	restore_let_go(server);
	restore_end(server);
}

/* ---- requests meanwhile ---- */

static void restore_hurry(struct server *server, const struct registry_shard *rs)
{
	if (rs->restoring)
		worker_hurry(server->restore->pool, &rs->restoring->job);
}

/* Of the shard that it names; a request that names none makes no sense, and is told so. */
static const struct registry_shard *restore_named(const struct registry_stream *stream,
						  const json_t *request)
{
	const json_t *number = json_object_get(request, "shard");

	if (!json_is_integer(number) || json_integer_value(number) < 0 ||
	    json_integer_value(number) >= stream->n_shards)
		return NULL;
	return &stream->shards[json_integer_value(number)];
}

/* Is what it needs not back yet? Then that comes next. *ret_said: it has failed so far. */
static bool restore_lacks(struct server *server, const json_t *request, enum restore_need need,
			  bool *ret_said)
{
	const char *name = json_string_value(json_object_get(request, "stream"));
	const struct registry_stream *stream;
	const struct registry_shard *rs;

	if (need == RESTORE_STREAMS || (need == RESTORE_STREAM && !name))
		return server->restore->n_left > 0;
	stream = name ? registry_find(&server->registry, name) : NULL;
	if (!stream || registry_state_of(stream) != REGISTRY_RESTORING)
		return false;
	if (need == RESTORE_STREAM) {
		for (uint32_t i = stream->n_shards; i-- > 0;)
			restore_hurry(server, &stream->shards[i]);
		return true;
	}
	rs = restore_named(stream, request);
	if (!rs || !rs->restoring ||
	    (need == RESTORE_RING && rs->shard && shard_knows_earliest(rs->shard)))
		return false;
	restore_hurry(server, rs);
	*ret_said = rs->restoring->said;
	return true;
}

static bool restore_waits(struct server *server, const json_t *request, enum restore_need need)
{
	bool said = false;

	return restore_lacks(server, request, need, &said) && !said;
}

int restore_delays(struct session *session, const json_t *request, enum restore_need need,
		   struct dispatch_reply *reply)
{
	struct server *server = session->server;
	struct restore_request *r;
	bool said = false;

	if (restore_is_over(server) || need == RESTORE_NOTHING ||
	    !restore_lacks(server, request, need, &said))
		return 0;
	if (said)
		return dispatch_fail(reply, -EIO,
				     "the shard could not be restored so far: the daemon's log "
				     "says why, and it tries again");
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->session = session;
	r->request = json_incref((json_t *)request);
	r->need = need;
	cds_list_add_tail(&r->node, &server->restore->requests);
	session_begin_job(session);
	return DISPATCH_E_LATER;
}
