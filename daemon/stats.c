/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/stats.h"

#include <stdio.h>

#include "daemon/drain.h"
#include "daemon/process.h"
#include "daemon/registry.h"
#include "daemon/shard.h"
#include "daemon/stream.h"

/* A publisher's name, which only the control thread knows; copied for the worker. */
struct stats_client {
	const struct registry_stream *stream;
	uint32_t shard;
	uint32_t slot;
	char name[NAMES_CLIENT_LEN];
};

enum stats_kind {
	STATS_LIST,
	STATS_DESCRIBE,
	STATS_STAT,
};

struct stats_job {
	struct dispatch_job dispatch;
	struct server *server;
	struct permission_subject subject;
	enum stats_kind kind;
	char stream[NAMES_STREAM_MAX + 1]; /* "" = all */
	unsigned int n_sessions;
	struct stats_client *clients;
	size_t n_clients;
};

/* ---- descriptions ---- */

static json_t *stats_may(const struct stats_job *job, const struct options *options)
{
	static const struct {
		unsigned int right;
		const char *name;
	} rights[] = {
		{ PERMISSION_SUBSCRIBE, "subscribe" },
		{ PERMISSION_PUBLISH, "publish" },
		{ PERMISSION_ADMINISTER, "administer" },
	};
	unsigned int have = permission_rights(&job->subject, &options->access);
	json_t *may = json_array();

	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		if (have & rights[i].right)
			json_array_append_new(may, json_string(rights[i].name));
	return may;
}

static json_t *stats_shard(uint32_t number, const struct shard_stats *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "shard", (json_int_t)number,
			 "generation", (json_int_t)s->generation, "earliest",
			 (json_int_t)s->earliest, "latest", (json_int_t)s->tail, "written",
			 (json_int_t)s->written, "durable", (json_int_t)s->durable, "reclaimed",
			 (json_int_t)s->reclaimed);
}

/* The state of a shard in words, and what is wrong with it. */
static json_t *stats_state(const struct registry_shard *rs, const struct shard_stats *s)
{
	if (rs->error < 0)
		return json_pack("{s:s, s:s}", "state", "failed", "error",
				 rs->detail ? rs->detail : "it could not be restored");
	if (s->state == GOVERN_FAILED)
		return json_pack("{s:s, s:s}", "state", "failed", "error", strerror(abs(s->error)));
	return json_pack("{s:s, s:s}", "state", "open", "error", "");
}

static json_t *stats_counters(const struct registry_shard *rs, const struct shard_stats *s)
{
	json_t *state = stats_state(rs, s);
	json_t *object = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I}",
		"limit", (json_int_t)s->limit, "ring", (json_int_t)s->ring_len, "tail",
		(json_int_t)s->tail, "publishers", (json_int_t)s->n_publishers, "records",
		(json_int_t)s->records, "bytes", (json_int_t)s->bytes, "tombstones",
		(json_int_t)s->tombstones, "tombstone_bytes", (json_int_t)s->tombstone_bytes,
		"damaged", (json_int_t)s->damaged, "damaged_bytes", (json_int_t)s->damaged_bytes,
		"gaps", (json_int_t)s->gaps, "disk_errors", (json_int_t)s->disk_errors, "syncs",
		(json_int_t)s->syncs, "segments", (json_int_t)s->segments, "kept_bytes",
		(json_int_t)s->kept_bytes, "full_waits", (json_int_t)s->full_waits, "successors",
		(json_int_t)s->successors, "latest_ns", (json_int_t)s->latest_ns);

	if (object && state)
		json_object_update(object, state);
	json_decref(state);
	return object;
}

/* ---- who publishes and who subscribes ---- */

/* There can be as many as all shards of the bus have slots. */
static int stats_by_slot(const void *a, const void *b)
{
	const struct stats_client *x = a, *y = b;

	if (x->stream != y->stream)
		return (uintptr_t)x->stream < (uintptr_t)y->stream ? -1 : 1;
	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static const char *stats_client_name(const struct stats_job *job,
				     const struct registry_stream *stream, uint32_t shard,
				     uint32_t slot)
{
	const struct stats_client wanted = { .stream = stream, .shard = shard, .slot = slot };
	const struct stats_client *found = NULL;

	if (job->n_clients > 0)
		found = bsearch(&wanted, job->clients, job->n_clients, sizeof(wanted),
				stats_by_slot);
	return found ? found->name : "";
}

static void stats_add_publishers(const struct stats_job *job, const struct registry_stream *stream,
				 uint32_t shard, json_t *publishers)
{
	struct shard_slot_stats slots[LAYOUT_PUBLISHER_SLOTS];
	size_t n = shard_slot_statistics(stream->shards[shard].shard, slots, ARRAY_LEN(slots));

	for (size_t i = 0; i < n; i++) {
		const struct shard_slot_stats *s = &slots[i];

		json_array_append_new(
			publishers,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}", "shard",
				  (json_int_t)shard, "slot", (json_int_t)s->slot, "pid",
				  (json_int_t)s->pid, "uid", (json_int_t)s->uid, "publisher",
				  (json_int_t)s->publisher, "client",
				  stats_client_name(job, stream, shard, s->slot), "records",
				  (json_int_t)s->records, "bytes", (json_int_t)s->bytes));
	}
}

/* Where each named subscriber stands in one shard. */
static void stats_add_subscribers(const struct registry_stream *stream, uint32_t shard,
				  const struct shard_stats *s, json_t *subscribers)
{
	struct registry_checkpoint *c;

	cds_list_for_each_entry_rcu(c, &stream->checkpoints, node) {
		uint64_t pos = load_relaxed(&c->pos[shard]);

		if (pos == UINT64_MAX)
			continue;
		json_array_append_new(subscribers,
				      json_pack("{s:s, s:I, s:I, s:I, s:s}", "name", c->name,
						"shard", (json_int_t)shard, "position",
						(json_int_t)pos, "lag",
						(json_int_t)(s->tail > pos ? s->tail - pos : 0),
						"where", pos >= s->reclaimed ? "ring" : "disk"));
	}
}

/* One stream as a description, with counters and people for `stat`. Inside of RCU. */
static json_t *stats_stream(const struct stats_job *job, const struct registry_stream *stream)
{
	bool full = job->kind == STATS_STAT;
	const struct options *options = registry_options(stream);
	json_t *shards = json_array(), *publishers = json_array(), *subscribers = json_array();
	char uuid[NAMES_UUID_LEN];
	json_t *object;

	for (uint32_t i = 0; i < stream->n_shards; i++) {
		struct shard_stats s = { 0 };
		json_t *shard, *counters;

		if (stream->shards[i].shard)
			shard_statistics(stream->shards[i].shard, &s);
		shard = stats_shard(i, &s);
		if (full && shard) {
			counters = stats_counters(&stream->shards[i], &s);
			if (counters)
				json_object_update(shard, counters);
			json_decref(counters);
			stats_add_subscribers(stream, i, &s, subscribers);
		}
		if (full && stream->shards[i].shard)
			stats_add_publishers(job, stream, i, publishers);
		json_array_append_new(shards, shard);
	}
	names_print_uuid(stream->uuid, uuid);
	object = json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o}", "name", stream->name, "uuid",
			   uuid, "options", options_to_json(options), "owner", options->owner,
			   "group", options->group, "may", stats_may(job, options), "shards",
			   shards);
	if (object && full) {
		json_object_set(object, "publishers", publishers);
		json_object_set(object, "subscribers", subscribers);
	}
	json_decref(publishers);
	json_decref(subscribers);
	return object;
}

static json_t *stats_bus(const struct stats_job *job)
{
	const struct server *server = job->server;
	const struct server_features *f = &server->features;
	const char *io = drain_io_name(server->drains[0]);
	json_t *features = json_pack("{s:b, s:b, s:b, s:b, s:b, s:I}", "io_uring",
				     (int)(strcmp(io, "io_uring") == 0), "peer_pidfd",
				     (int)f->peer_pidfd, "refuses_fds", (int)f->refuses_fds,
				     "membarrier", (int)f->membarrier, "fd_store",
				     (int)notify_has_store(server->notify), "nodes",
				     (json_int_t)server->n_drains);

	return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:s, s:o}", "version", LEAT_VERSION,
			 "pid", (json_int_t)getpid(), "uptime_ns",
			 (json_int_t)(clock_now_ns(CLOCK_BOOTTIME) - server->started_ns), "clients",
			 (json_int_t)job->n_sessions, "data", server->config->data, "runtime",
			 server->config->runtime, "drain_threads", (json_int_t)server->n_drains,
			 "io", io, "features", features);
}

/* ---- the job ---- */

static int stats_by_name(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;

	return strcmp(json_string_value(json_object_get(*x, "name")),
		      json_string_value(json_object_get(*y, "name")));
}

/* Those asked for, by name; a new array. */
static json_t *stats_streams(const struct stats_job *job)
{
	cleanup_with(free_ptr)
		json_t **all = calloc(job->server->config->max_streams + 1, sizeof(*all));
	struct registry_stream *stream;
	json_t *streams = json_array();
	size_t n = 0;

	if (!all)
		return streams;
	urcu_memb_read_lock();
	cds_list_for_each_entry_rcu(stream, &job->server->registry.streams, node) {
		if (job->stream[0] != '\0' && strcmp(job->stream, stream->name) != 0)
			continue;
		if (n < job->server->config->max_streams)
			all[n] = stats_stream(job, stream);
		n += n < job->server->config->max_streams && all[n] != NULL;
	}
	urcu_memb_read_unlock();
	qsort(all, n, sizeof(*all), stats_by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(streams, all[i]);
	return streams;
}

static void stats_collect(struct stats_job *job)
{
	struct dispatch_reply *reply = &job->dispatch.reply;
	json_t *streams = stats_streams(job);

	if (job->stream[0] != '\0' && json_array_size(streams) == 0) {
		job->dispatch.result =
			dispatch_no_stream(reply, &job->server->registry, job->stream);
		json_decref(streams);
		return;
	}
	if (job->kind == STATS_DESCRIBE) {
		reply->object = json_incref(json_array_get(streams, 0));
		json_decref(streams);
	} else if (job->kind == STATS_LIST) {
		reply->object = json_pack("{s:o}", "streams", streams);
	} else {
		reply->object = json_pack("{s:o, s:o}", "bus", stats_bus(job), "streams", streams);
	}
	job->dispatch.result = reply->object ? 0 : -ENOMEM;
}

static void stats_run(struct worker_job *worker_job)
{
	struct stats_job *job = (struct stats_job *)worker_job;

	if (job->n_clients > 0)
		qsort(job->clients, job->n_clients, sizeof(*job->clients), stats_by_slot);
	stats_collect(job);
	dispatch_prepare(&job->dispatch);
}

static void stats_done(struct worker_job *worker_job)
{
	struct stats_job *job = (struct stats_job *)worker_job;

	dispatch_end(&job->dispatch);
	permission_subject_deinit(&job->subject);
	free(job->clients);
	free(job);
}

static int stats_copy_clients(struct stats_job *job)
{
	const struct process_slot *slot;
	size_t n = 0;

	cds_list_for_each_entry(slot, &job->server->slots, table_node)
		n++;
	job->clients = calloc(n + 1, sizeof(*job->clients));
	if (!job->clients)
		return -ENOMEM;
	cds_list_for_each_entry(slot, &job->server->slots, table_node) {
		struct stats_client *c = &job->clients[job->n_clients];

		if (job->stream[0] != '\0' && strcmp(job->stream, slot->stream->name) != 0)
			continue;
		c->stream = slot->stream;
		c->shard = slot->shard;
		c->slot = slot->slot;
		memcpy(c->name, slot->client, sizeof(c->name));
		job->n_clients++;
	}
	return 0;
}

static int stats_begin(struct session *session, enum stats_kind kind, const char *stream)
{
	struct stats_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->dispatch.job = (struct worker_job){ .run = stats_run, .done = stats_done };
	job->server = session->server;
	job->kind = kind;
	job->n_sessions = session->server->n_sessions;
	if (stream)
		snprintf(job->stream, sizeof(job->stream), "%s", stream);
	r = permission_subject_copy(&job->subject, &session->subject);
	if (r == 0 && kind == STATS_STAT)
		r = stats_copy_clients(job);
	if (r < 0) {
		permission_subject_deinit(&job->subject);
		free(job->clients);
		free(job);
		return r;
	}
	dispatch_begin(&job->dispatch, session);
	dispatch_submit(&job->dispatch, SERVER_WORKER_LOOK);
	return DISPATCH_E_LATER;
}

int stats_op_list(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	(void)request;
	(void)reply;
	return stats_begin(session, STATS_LIST, NULL);
}

int stats_op_describe(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	int r = dispatch_get_stream(session, request, 0, &stream, reply);

	return r < 0 ? r : stats_begin(session, STATS_DESCRIBE, stream->name);
}

int stats_op_stat(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	int r;

	if (!json_object_get(request, "stream"))
		return stats_begin(session, STATS_STAT, NULL);
	r = dispatch_get_stream(session, request, 0, &stream, reply);
	return r < 0 ? r : stats_begin(session, STATS_STAT, stream->name);
}
