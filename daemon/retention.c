/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/retention.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/log.h"
#include "daemon/shard.h"
#include "daemon/stream.h"
#include "persist/format.h"

/* A shard unlinks one segment at a time, in the background: so long a pass waits for it. */
enum {
	RETENTION_TRIES = 100,
	RETENTION_WAIT_US = 500,
	RETENTION_DROPS_MAX = 4096
};

/* How often the catalogue is told, of a stream's segments and of the time. */
#define RETENTION_SAVE_NS NS_PER_S
#define RETENTION_AGAIN_NS NS_PER_S /* what was begun, or could not be done, is looked at again */
#define RETENTION_CLOCK_NS (60 * NS_PER_S)

struct retention_segment {
	uint64_t base;
	uint64_t bytes;
	uint64_t last_ns;   /* of its last record: by publishers' clocks */
	uint64_t closed_ns; /* by our clock; 0 = not known yet */
	bool dropped;       /* on its way out: not what it was, for its unlink may fail */
};

struct retention_shard {
	struct retention_segment *segments; /* closed ones, oldest first */
	size_t n;
};

/* What the catalogue is to be told: closed_ns 0 = the segment is gone. */
struct retention_change {
	uint64_t base;
	uint64_t closed_ns;
	uint32_t shard;
};

struct retention_changes {
	struct retention_change *list;
	size_t n;
	size_t cap;
};

/* Of one stream. The worker's while `running`, else the control thread's. */
struct retention {
	struct worker_job job;
	struct server *server;
	struct registry_stream *stream;
	struct options options;
	struct retention_shard *shards;
	uint32_t n_shards;
	bool loaded; /* what the catalogue knew is in shards */
	bool running;
	bool again; /* kicked while it ran */
	struct retention_changes changes;
	uint64_t saved_ns; /* when changes were last given to the catalogue */
	uint64_t due_ns;   /* by the bus' clock: when time alone makes another look worth it */
};

/* Writes to the catalogue, which may take its time: on the catalogue's worker. */
struct retention_save {
	struct worker_job job;
	struct server *server;
	struct registry_stream *stream; /* NULL: the clock alone */
	struct retention_changes changes;
	uint64_t clock_ns; /* 0 = leave it */
};

/* ---- the clock ---- */

uint64_t retention_clock_ns(const struct server *server)
{
	return server->clock_base_ns + clock_now_ns(CLOCK_BOOTTIME) - server->started_ns;
}

int retention_open_clock(struct server *server)
{
	int r = catalogue_get_number(server->catalogue, CATALOGUE_CLOCK, &server->clock_base_ns);

	/* 0 stands for "not known yet". */
	if (r == 0 && server->clock_base_ns == 0)
		server->clock_base_ns = NS_PER_S;
	server->clock_saved_ns = server->clock_base_ns;
	return r;
}

int retention_save_clock(struct server *server)
{
	uint64_t now = retention_clock_ns(server);
	int r = catalogue_set_number(server->catalogue, CATALOGUE_CLOCK, now);

	if (r == 0)
		server->clock_saved_ns = now;
	return r;
}

/* ---- what is there ---- */

struct retention *retention_free(struct retention *retention)
{
	if (!retention)
		return NULL;
	for (uint32_t i = 0; retention->shards && i < retention->n_shards; i++)
		free(retention->shards[i].segments);
	free(retention->shards);
	free(retention->changes.list);
	free(retention);
	return NULL;
}

static int retention_new(struct server *server, struct registry_stream *stream)
{
	struct retention *retention = calloc(1, sizeof(*retention));

	if (!retention)
		return -ENOMEM;
	retention->shards = calloc(stream->n_shards, sizeof(*retention->shards));
	if (!retention->shards) {
		free(retention);
		return -ENOMEM;
	}
	retention->server = server;
	retention->stream = stream;
	retention->n_shards = stream->n_shards;
	stream->retention = retention;
	return 0;
}

/* Without memory the catalogue is not told: after a restart the segment counts as younger. */
static void retention_change(struct retention *retention, uint32_t shard, uint64_t base,
			     uint64_t closed_ns)
{
	struct retention_changes *c = &retention->changes;

	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		struct retention_change *more = realloc(c->list, cap * sizeof(*more));

		if (!more)
			return;
		c->list = more;
		c->cap = cap;
	}
	c->list[c->n++] =
		(struct retention_change){ .base = base, .closed_ns = closed_ns, .shard = shard };
}

static int retention_restored(void *ctx, uint32_t shard, uint64_t base, uint64_t closed_ns)
{
	struct registry_stream *stream = ctx;
	struct retention_segment *more;
	struct retention_shard *rs;

	if (shard >= stream->n_shards)
		return 0;
	rs = &stream->retention->shards[shard];
	more = realloc(rs->segments, (rs->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	rs->segments = more;
	rs->segments[rs->n++] = (struct retention_segment){ .base = base, .closed_ns = closed_ns };
	return 0;
}

/* All closed segments of a shard: a new array, oldest first. */
static int retention_list(struct shard *shard, struct shard_closed_segment **ret_list,
			  size_t *ret_n)
{
	for (size_t cap = 64;; cap *= 4) {
		struct shard_closed_segment *list = calloc(cap, sizeof(*list));
		size_t n;

		if (!list)
			return -ENOMEM;
		n = shard_closed_segments(shard, list, cap);
		if (n < cap) {
			*ret_list = list;
			*ret_n = n;
			return 0;
		}
		free(list);
	}
}

/* What was known of the segment at `base`; both lists ascend, *i goes on in the old one. */
static void retention_recall(struct retention *retention, uint32_t shard, size_t *i,
			     struct retention_segment *segment)
{
	struct retention_shard *rs = &retention->shards[shard];

	for (; *i < rs->n && rs->segments[*i].base <= segment->base; (*i)++) {
		const struct retention_segment *old = &rs->segments[*i];

		if (old->base == segment->base)
			segment->closed_ns = old->closed_ns;
		else
			retention_change(retention, shard, old->base, 0);
	}
}

/* Brings one shard's list up to date. */
static int retention_look(struct retention *retention, uint32_t shard, uint64_t now)
{
	struct retention_shard *rs = &retention->shards[shard];
	struct retention_segment past = { .base = UINT64_MAX }, *segments;
	cleanup_with(free_ptr) struct shard_closed_segment *list = NULL;
	size_t n, old = 0;
	int r = retention_list(retention->stream->shards[shard].shard, &list, &n);

	segments = r == 0 ? calloc(n + 1, sizeof(*segments)) : NULL;
	if (!segments)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		segments[i] = (struct retention_segment){ .base = list[i].base,
							  .bytes = list[i].bytes,
							  .last_ns = list[i].last_ns,
							  .dropped = list[i].going };
		retention_recall(retention, shard, &old, &segments[i]);
		if (segments[i].closed_ns != 0)
			continue;
		segments[i].closed_ns = now;
		retention_change(retention, shard, segments[i].base, now);
	}
	retention_recall(retention, shard, &old, &past);
	free(rs->segments);
	rs->segments = segments;
	rs->n = n;
	return 0;
}

/* ---- what is too much ---- */

static struct retention_segment *retention_oldest_of(const struct retention_shard *rs)
{
	for (size_t i = 0; i < rs->n; i++)
		if (!rs->segments[i].dropped)
			return &rs->segments[i];
	return NULL;
}

/* The oldest closed segment of the stream. Those seen closed together go by their records' time. */
static struct retention_segment *retention_oldest(const struct retention *retention,
						  uint32_t *ret_shard)
{
	struct retention_segment *oldest = NULL;

	for (uint32_t i = 0; i < retention->n_shards; i++) {
		struct retention_segment *s = retention_oldest_of(&retention->shards[i]);

		if (s && (!oldest || s->closed_ns < oldest->closed_ns ||
			  (s->closed_ns == oldest->closed_ns && s->last_ns < oldest->last_ns))) {
			oldest = s;
			*ret_shard = i;
		}
	}
	return oldest;
}

static uint64_t retention_bytes(const struct retention *retention)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < retention->n_shards; i++) {
		const struct retention_shard *rs = &retention->shards[i];

		/* As struct shard_quota: what is being written counts as full. */
		bytes += retention->options.segment_len + FORMAT_SEGMENT_LEN;
		for (size_t k = 0; k < rs->n; k++)
			bytes += rs->segments[k].dropped ? 0 : rs->segments[k].bytes;
	}
	return bytes;
}

static int retention_drop(struct retention *retention, uint32_t shard,
			  struct retention_segment *segment)
{
	struct shard *s = retention->stream->shards[shard].shard;
	int r = shard_drop_segment(s, segment->base);

	/* The one before is still on its way out, or this one is not durable yet. */
	for (int i = 0; (r == -EAGAIN || r == -ENOENT) && i < RETENTION_TRIES; i++) {
		usleep(RETENTION_WAIT_US);
		r = shard_drop_segment(s, segment->base);
	}
	if (r == 0) {
		segment->dropped = true;
		log_debug("Stream %s shard %u: segment %" PRIu64 " was deleted by retention",
			  retention->stream->name, shard, segment->base);
	} else if (r != -EAGAIN && r != -ENOENT) {
		log_limited(LOG_LEVEL_ERROR,
			    "Stream %s shard %u: segment %" PRIu64 " cannot be deleted: %s",
			    retention->stream->name, shard, segment->base, strerror(-r));
	}
	return r;
}

/*
 * Deletes until nothing is too old and nothing too much. When the next look is worth it: once the
 * oldest segment is too old; soon, if something was left, or is on its way out.
 */
static uint64_t retention_enforce(struct retention *retention, uint64_t now)
{
	const struct options *options = &retention->options;
	uint64_t bytes = retention_bytes(retention), due = UINT64_MAX;
	uint64_t limit = options->retain_len ? options->retain_len : UINT64_MAX;

	for (int i = 0; i < RETENTION_DROPS_MAX; i++) {
		struct retention_segment *oldest;
		uint32_t shard = 0;
		bool old, much;

		oldest = retention_oldest(retention, &shard);
		if (!oldest)
			return due;
		old = options->retain_ns && now - oldest->closed_ns > options->retain_ns;
		much = bytes > limit;
		if (!old && !much)
			return options->retain_ns
				       ? min_u64(due, oldest->closed_ns + options->retain_ns + 1)
				       : due;
		due = now + RETENTION_AGAIN_NS;
		if (retention_drop(retention, shard, oldest) < 0)
			return due;
		bytes -= min_u64(bytes, oldest->bytes);
	}
	return due;
}

/* ---- telling the catalogue ---- */

static void retention_save_run(struct worker_job *job)
{
	struct retention_save *save = (struct retention_save *)job;
	struct catalogue *catalogue = save->server->catalogue;
	int r = catalogue_begin(catalogue);

	if (r < 0)
		return;
	for (size_t i = 0; r == 0 && i < save->changes.n; i++) {
		const struct retention_change *c = &save->changes.list[i];

		if (c->closed_ns)
			r = catalogue_add_closed(catalogue, save->stream->id, c->shard, c->base,
						 c->closed_ns);
		else
			r = catalogue_remove_closed(catalogue, save->stream->id, c->shard, c->base);
	}
	if (r == 0 && save->clock_ns)
		r = catalogue_set_number(catalogue, CATALOGUE_CLOCK, save->clock_ns);
	/* The catalogue has said what is wrong. Segments that it was not told of count as younger
	 * after a restart: nothing is deleted too early. */
	(void)catalogue_end(catalogue, r);
}

static void retention_save_done(struct worker_job *job)
{
	struct retention_save *save = (struct retention_save *)job;

	free(save->changes.list);
	if (save->stream)
		stream_put(save->server, save->stream);
	free(save);
}

/* retention NULL: the clock alone. */
static void retention_save(struct server *server, struct retention *retention)
{
	struct retention_save *save = calloc(1, sizeof(*save));
	uint64_t now = retention_clock_ns(server);

	if (!save)
		return;
	save->job = (struct worker_job){ .run = retention_save_run, .done = retention_save_done };
	save->server = server;
	if (retention) {
		save->stream = retention->stream;
		save->stream->n_jobs++;
		save->changes = retention->changes;
		retention->changes = (struct retention_changes){ 0 };
		retention->saved_ns = now;
	}
	if (now - server->clock_saved_ns >= RETENTION_CLOCK_NS) {
		save->clock_ns = now;
		server->clock_saved_ns = now;
	}
	server_submit(server, SERVER_WORKER_CATALOGUE, &save->job);
}

/* ---- the job ---- */

static void retention_run(struct worker_job *job)
{
	struct retention *retention = (struct retention *)job;
	uint64_t now = retention_clock_ns(retention->server);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < retention->n_shards; i++)
		if (retention->stream->shards[i].shard)
			r = retention_look(retention, i, now);
	retention->due_ns = r < 0 ? now + RETENTION_AGAIN_NS : retention_enforce(retention, now);
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR, "Stream %s: retention cannot look at its segments: %s",
			    retention->stream->name, strerror(-r));
}

/* The control thread looks at the bus' clock no later than then. */
static void retention_set_tick(struct server *server, uint64_t due_ns)
{
	uint64_t now = retention_clock_ns(server), mono = clock_now_ns(CLOCK_MONOTONIC);

	if (due_ns < UINT64_MAX)
		server->tick_ns =
			min_u64(server->tick_ns, mono + (due_ns > now ? due_ns - now : 0));
}

static void retention_begin(struct retention *retention);

static void retention_done(struct worker_job *job)
{
	struct retention *retention = (struct retention *)job;
	struct registry_stream *stream = retention->stream;
	struct server *server = retention->server;

	retention->running = false;
	if (retention->changes.n > 0 &&
	    retention_clock_ns(server) - retention->saved_ns >= RETENTION_SAVE_NS)
		retention_save(server, retention);
	else if (retention->changes.n > 0)
		retention->due_ns =
			min_u64(retention->due_ns, retention->saved_ns + RETENTION_SAVE_NS);
	retention_set_tick(server, retention->due_ns);
	if (retention->again && registry_state_of(stream) == REGISTRY_LIVE)
		retention_begin(retention);
	stream_put(server, stream);
}

static void retention_submit(struct retention *retention)
{
	retention->job = (struct worker_job){ .run = retention_run, .done = retention_done };
	server_submit(retention->server, SERVER_WORKER_RETENTION, &retention->job);
}

/* The first time: what the last daemon knew. On the catalogue's worker, and not when the daemon
 * starts: the more is kept, the longer it takes. */
static void retention_load(struct worker_job *job)
{
	struct retention *retention = (struct retention *)job;
	struct registry_stream *stream = retention->stream;
	int r = catalogue_each_closed(retention->server->catalogue, stream->id, retention_restored,
				      stream);

	if (r < 0)
		log_error("When segments of stream %s were closed cannot be read: %s; they count "
			  "as new",
			  stream->name, strerror(-r));
}

static void retention_loaded(struct worker_job *job)
{
	struct retention *retention = (struct retention *)job;

	retention->loaded = true;
	retention_submit(retention);
}

static void retention_begin(struct retention *retention)
{
	retention->running = true;
	retention->again = false;
	retention->options = *registry_options(retention->stream);
	retention->stream->n_jobs++;
	if (retention->loaded) {
		retention_submit(retention);
		return;
	}
	retention->job = (struct worker_job){ .run = retention_load, .done = retention_loaded };
	server_submit(retention->server, SERVER_WORKER_CATALOGUE, &retention->job);
}

static bool retention_of(const struct registry_stream *stream)
{
	const struct options *options = registry_options(stream);

	return options->retain_ns || options->retain_len;
}

bool retention_is_wanted(const struct server *server)
{
	const struct registry_stream *stream;

	cds_list_for_each_entry(stream, &server->registry.streams, node)
		if (retention_of(stream))
			return true;
	return false;
}

static void retention_kick_stream(struct server *server, struct registry_stream *stream)
{
	if (!stream->retention && retention_new(server, stream) < 0)
		return;
	if (stream->retention->running)
		stream->retention->again = true;
	else
		retention_begin(stream->retention);
}

static bool retention_always(struct registry_stream *stream, uint64_t now)
{
	(void)stream;
	(void)now;
	return true;
}

static bool retention_has_news(struct registry_stream *stream, uint64_t now)
{
	(void)now;
	if (load_relaxed(&stream->quota.news) == 0)
		return false;
	/* Before the look: it finds what is told from now on, or that is told again. */
	store_relaxed(&stream->quota.news, 0);
	return true;
}

static bool retention_is_due(struct registry_stream *stream, uint64_t now)
{
	const struct retention *retention = stream->retention;

	return !retention || (!retention->running && retention->due_ns <= now);
}

static void retention_kick_those(struct server *server,
				 bool (*wanted)(struct registry_stream *stream, uint64_t now))
{
	uint64_t now = retention_clock_ns(server);
	struct registry_stream *stream;

	if (load_relaxed(&server->stopping))
		return;
	cds_list_for_each_entry(stream, &server->registry.streams, node)
		if (retention_of(stream) && wanted(stream, now))
			retention_kick_stream(server, stream);
}

void retention_kick(struct server *server)
{
	retention_kick_those(server, retention_always);
}

void retention_take_news(struct server *server)
{
	retention_kick_those(server, retention_has_news);
}

void retention_tick(struct server *server)
{
	const struct registry_stream *stream;

	server->tick_ns = UINT64_MAX;
	if (!retention_is_wanted(server))
		return;
	retention_kick_those(server, retention_is_due);
	if (retention_clock_ns(server) - server->clock_saved_ns >= RETENTION_CLOCK_NS)
		retention_save(server, NULL);
	/* Those that run say it when they are done. */
	retention_set_tick(server, server->clock_saved_ns + RETENTION_CLOCK_NS);
	cds_list_for_each_entry(stream, &server->registry.streams, node)
		if (stream->retention && !stream->retention->running)
			retention_set_tick(server, stream->retention->due_ns);
}
