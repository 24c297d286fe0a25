/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/stream.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/directory.h"
#include "daemon/drain.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/quantity.h"
#include "daemon/retention.h"
#include "daemon/shard.h"
#include "persist/file.h"

/* What one shard holds open at most: two rings, kick, segment and directory, the next ones. */
enum {
	STREAM_FDS_PER_SHARD = 16,
	STREAM_FDS_SPARE = 256
};

#define STREAM_BARRIER_NS (2 * NS_PER_S)

/* A stream being made or removed, from request to reply. */
struct stream_job {
	struct dispatch_job dispatch;
	struct cds_list_head node; /* of server->stopping_streams */
	struct server *server;
	struct registry_stream *stream;
	struct permission_subject subject;
	json_t *request;      /* create: its options are parsed on a worker */
	struct config config; /* a copy: the defaults as they were */
	struct options options;
	struct catalogue_stream row;
	int error;
	int memory_node;
	bool has_row;
	bool has_directory;
	bool files_left; /* could not be removed: the row stays, so that they are not forgotten */
};

typedef void (*stream_step)(struct worker_job *job);

static void stream_submit(struct stream_job *job, enum server_worker worker, stream_step run,
			  stream_step done)
{
	job->dispatch.job = (struct worker_job){ .run = run, .done = done };
	dispatch_submit(&job->dispatch, worker);
}

static void stream_job_free(struct stream_job *job)
{
	permission_subject_deinit(&job->subject);
	json_decref(job->request);
	free(job);
}

/* The reply, and the end of the job. */
static void stream_job_end(struct stream_job *job)
{
	job->dispatch.result = job->error;
	dispatch_end(&job->dispatch);
	stream_job_free(job);
}

static int stream_job_new(struct session *session, struct stream_job **ret_job)
{
	struct stream_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	r = permission_subject_copy(&job->subject, &session->subject);
	if (r < 0) {
		free(job);
		return r;
	}
	job->server = session->server;
	job->config = *session->server->config;
	*ret_job = job;
	return 0;
}

void stream_path(const struct config *config, const char *name, int shard, char *path, size_t len)
{
	if (shard < 0)
		snprintf(path, len, "%s/streams/%s", config->data, name);
	else
		snprintf(path, len, "%s/streams/%s/%d", config->data, name, shard);
}

/* ---- one shard ---- */

int stream_make_shard(struct server *server, const struct stream_shard *what, char *detail,
		      size_t detail_len, struct shard **ret_shard)
{
	struct registry_stream *stream = what->stream;
	const struct options *o = registry_options(stream);
	char directory[PATH_MAX];
	struct shard_options options = {
		.drain = server_drain_of(server, what->node),
		.stream = stream->name,
		.directory = o->memory ? NULL : directory,
		.shard = what->number,
		.flags = options_flags(o),
		.ring_len = o->ring_len,
		.segment_len = o->segment_len,
		.node = what->node,
		.first_generation = server_first_generation(server),
		.policy = options_shard_policy(o),
		.quota = &stream->quota,
		.keep = { .store = notify_store_ring,
			  .forget = notify_forget_ring,
			  .ctx = server->notify },
		.survivors = what->survivors,
		.n_survivors = what->n_survivors,
	};
	int r = 0;

	memcpy(options.stream_uuid, stream->uuid, sizeof(options.stream_uuid));
	stream_path(server->config, stream->name, (int)what->number, directory, sizeof(directory));
	if (!o->memory)
		r = directory_make(directory, 0700, detail, detail_len);
	return r < 0 ? r : shard_new(&options, detail, detail_len, ret_shard);
}

int stream_start_shard(struct shard *shard, char *detail, size_t detail_len)
{
	int r = shard_start(shard, detail, detail_len);

	if (r < 0)
		return r;
	r = drain_add(shard_drain(shard), shard);
	if (r < 0)
		snprintf(detail, detail_len, "its drain cannot begin: %s", strerror(-r));
	return r;
}

/* Its drain must have stopped it. */
static void stream_free_shard(struct registry_shard *rs)
{
	if (!rs->shard)
		return;
	if (rs->drain)
		drain_remove(rs->drain, rs->shard);
	rs->shard = shard_free(rs->shard);
}

static bool stream_is_stopped(const struct registry_stream *stream)
{
	for (uint32_t i = 0; i < stream->n_shards; i++)
		if (stream->shards[i].shard && !shard_stopped(stream->shards[i].shard))
			return false;
	return true;
}

static void stream_stop(struct registry_stream *stream, bool keep_rings)
{
	for (uint32_t i = 0; i < stream->n_shards; i++)
		if (stream->shards[i].shard)
			shard_stop(stream->shards[i].shard, keep_rings);
}

void stream_set_live(struct server *server, struct registry_stream *stream)
{
	registry_set_live(&server->registry, stream);
	server->tick_ns = 0;
	/* The end began while it was being made. */
	if (load_relaxed(&server->stopping))
		stream_stop(stream, server->keep_rings);
}

/* ---- taking a stream apart: a removal, or a creation that failed ---- */

static void stream_removed_row(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	struct registry_stream *stream = job->stream;

	if (job->error == 0)
		log_limited(LOG_LEVEL_INFO, "Stream %s was removed by user %u", stream->name,
			    job->subject.uid);
	registry_remove(&job->server->registry, stream);
	stream->retention = retention_free(stream->retention);
	registry_stream_free(stream);
	stream_job_end(job);
}

/* On the catalogue's worker. */
static void stream_remove_row(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	int r = 0;

	if (job->has_row && job->files_left)
		r = catalogue_set_state(job->server->catalogue, job->row.id, CATALOGUE_REMOVING);
	else if (job->has_row)
		r = catalogue_remove_stream(job->server->catalogue, job->row.id);
	/* The row says "removing": the next daemon tries again, or who wants the name again. */
	if (r < 0 && job->error == 0)
		job->error = dispatch_fail(&job->dispatch.reply, r,
					   "stream '%s' is gone but for its row in the catalogue: "
					   "%s",
					   job->stream->name, strerror(-r));
}

static void stream_took_apart(struct worker_job *worker_job)
{
	stream_submit((struct stream_job *)worker_job, SERVER_WORKER_CATALOGUE, stream_remove_row,
		      stream_removed_row);
}

/* On the build worker: memory and files. */
static void stream_take_apart(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	char base[PATH_MAX];
	int r = 0;

	for (uint32_t i = 0; i < job->stream->n_shards; i++)
		stream_free_shard(&job->stream->shards[i]);
	snprintf(base, sizeof(base), "%s/streams", job->config.data);
	if (job->has_directory)
		r = directory_remove(base, job->stream->name);
	job->files_left = r < 0;
	if (r < 0 && job->error == 0)
		job->error = dispatch_fail(&job->dispatch.reply, r,
					   "the files of stream '%s' in %s cannot be removed: %s",
					   job->stream->name, base, strerror(-r));
	else if (r < 0)
		log_error("The files of stream %s in %s cannot be removed: %s", job->stream->name,
			  base, strerror(-r));
}

void stream_check_stopping(struct server *server)
{
	struct stream_job *job, *next;

	cds_list_for_each_entry_safe(job, next, &server->stopping_streams, node) {
		if (!stream_is_stopped(job->stream))
			continue;
		cds_list_del(&job->node);
		stream_submit(job, SERVER_WORKER_BUILD, stream_take_apart, stream_took_apart);
	}
}

/* Lets the shards finish, then frees everything. */
static void stream_dismantle(struct stream_job *job)
{
	stream_stop(job->stream, false);
	cds_list_add_tail(&job->node, &job->server->stopping_streams);
	stream_check_stopping(job->server);
}

/* ---- create ---- */

static void stream_created_row(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;

	if (job->error < 0) {
		stream_dismantle(job);
		return;
	}
	stream_set_live(job->server, job->stream);
	log_limited(LOG_LEVEL_INFO,
		    "Stream %s was made by user %u: shards: %u, rings of %" PRIu64 " bytes",
		    job->stream->name, job->subject.uid, job->stream->n_shards,
		    job->options.ring_len);
	stream_job_end(job);
}

static void stream_set_row_live(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	int r = catalogue_set_state(job->server->catalogue, job->row.id, CATALOGUE_LIVE);

	if (r < 0)
		job->error = dispatch_fail(&job->dispatch.reply, r,
					   "stream '%s' cannot be written to the catalogue: %s",
					   job->stream->name, strerror(-r));
}

static void stream_built(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;

	if (job->error < 0)
		stream_dismantle(job);
	else
		stream_submit(job, SERVER_WORKER_CATALOGUE, stream_set_row_live,
			      stream_created_row);
}

/* The stream's directory must be new: nothing that lies there by chance becomes part of it. */
static int stream_make_directory(struct stream_job *job)
{
	struct dispatch_reply *reply = &job->dispatch.reply;
	char path[PATH_MAX];
	int r;

	stream_path(&job->config, job->stream->name, -1, path, sizeof(path));
	job->has_directory = mkdir(path, 0700) == 0;
	r = job->has_directory ? file_sync_parent(path) : -errno;
	if (r == 0)
		return 0;
	if (r == -EEXIST)
		return dispatch_fail(reply, r,
				     "%.300s exists, though there is no such stream: move it away",
				     path);
	return dispatch_fail(reply, r, "%.300s cannot be made: %s", path, strerror(-r));
}

static int stream_build_shard(struct stream_job *job, uint32_t number)
{
	struct stream_shard what = { .stream = job->stream,
				     .number = number,
				     .node = job->memory_node };
	struct registry_shard *rs = &job->stream->shards[number];
	char *detail = job->dispatch.reply.detail;
	size_t len = sizeof(job->dispatch.reply.detail);
	int r = stream_make_shard(job->server, &what, detail, len, &rs->shard);

	if (r == 0)
		r = stream_start_shard(rs->shard, detail, len);
	if (r == 0)
		rs->drain = shard_drain(rs->shard);
	return r;
}

/* On the build worker: memory, directories, first segments. */
static void stream_build(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	int r = 0;

	if (!job->options.memory)
		r = stream_make_directory(job);
	for (uint32_t i = 0; r == 0 && i < job->stream->n_shards; i++) {
		r = load_relaxed(&job->server->stopping) ? -ESHUTDOWN : 0;
		if (r == 0)
			r = stream_build_shard(job, i);
	}
	if (r == 0 && notify_has_store(job->server->notify) &&
	    notify_barrier(job->server->notify, STREAM_BARRIER_NS) < 0)
		log_limited(LOG_LEVEL_WARNING,
			    "The service manager does not confirm that it keeps "
			    "the rings of stream %s",
			    job->stream->name);
	job->error = r;
}

static void stream_has_row(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;

	if (job->error < 0) {
		registry_remove(&job->server->registry, job->stream);
		registry_stream_free(job->stream);
		stream_job_end(job);
		return;
	}
	job->has_row = true;
	job->stream->id = job->row.id;
	stream_submit(job, SERVER_WORKER_BUILD, stream_build, stream_built);
}

int stream_remove_leftover(struct server *server, const char *name, int64_t id,
			   enum catalogue_state state)
{
	char base[PATH_MAX];
	int r;

	snprintf(base, sizeof(base), "%s/streams", server->config->data);
	if (state == CATALOGUE_MAKING && directory_holds_records(base, name)) {
		log_error("Stream %s has records in %s/%s, though the catalogue says that it was "
			  "never whole: put a catalogue back that knows it, or move them away",
			  name, base, name);
		return -EEXIST;
	}
	r = directory_remove(base, name);
	return r < 0 ? r : catalogue_remove_stream(server->catalogue, id);
}

/* What an earlier creation or removal could not take away then: no stream of that name is known. */
static int stream_clear_leftover(struct stream_job *job)
{
	enum catalogue_state state;
	int64_t id;
	int r = catalogue_find_leftover(job->server->catalogue, job->row.name, &id, &state);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return stream_remove_leftover(job->server, job->row.name, id, state);
}

static void stream_add_row(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;

	job->error = stream_clear_leftover(job);
	if (job->error == 0)
		job->error = catalogue_add_stream(job->server->catalogue, &job->row, &job->row.id);
	if (job->error < 0)
		dispatch_fail(&job->dispatch.reply, job->error,
			      "stream '%s' cannot be written to the catalogue: %s",
			      job->stream->name, strerror(-job->error));
}

/* Limits of the bus as a whole; control thread. */
static int stream_check_room(struct stream_job *job)
{
	const struct server *server = job->server;
	struct dispatch_reply *reply = &job->dispatch.reply;
	uint64_t n = (uint64_t)server->registry.n_shards + job->options.n_shards;
	uint64_t needed = job->options.n_shards * job->options.ring_len;
	uint64_t max = server->config->max_memory, used = server->registry.ring_len;
	struct rlimit limit;

	if (used + needed > max)
		return dispatch_fail(reply, -ENOSPC,
				     "stream '%s' needs %" PRIu64 " bytes of memory for its rings; "
				     "available are %" PRIu64 " of the %" PRIu64 " that all rings "
				     "may have (max-memory)",
				     job->stream->name, needed, max > used ? max - used : 0, max);
	if (n > server->config->max_shards)
		return dispatch_fail(reply, -ENOSPC,
				     "the bus has room for %u shards (max-shards); there are %u, "
				     "and %u more are asked for",
				     server->config->max_shards, server->registry.n_shards,
				     job->options.n_shards);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    n * STREAM_FDS_PER_SHARD + STREAM_FDS_SPARE > limit.rlim_cur)
		return dispatch_fail(reply, -EMFILE,
				     "the daemon may have %" PRIu64 " files open, too few for "
				     "%" PRIu64 " shards: raise LimitNOFILE or ulimit -n",
				     (uint64_t)limit.rlim_cur, n);
	return 0;
}

/* What a creation answers, before there is anything that would have to be taken apart. */
static int stream_say_uuid(struct stream_job *job)
{
	char uuid[NAMES_UUID_LEN];

	names_print_uuid(job->row.uuid, uuid);
	job->dispatch.reply.object = json_pack("{s:s}", "uuid", uuid);
	return job->dispatch.reply.object ? 0 : -ENOMEM;
}

/* The options are known: the stream gets its row. */
static void stream_parsed(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	struct registry *registry = &job->server->registry;

	if (job->error == 0)
		job->error = stream_check_room(job);
	if (job->error == 0 &&
	    getrandom(job->row.uuid, sizeof(job->row.uuid), 0) != sizeof(job->row.uuid))
		job->error = -EIO;
	if (job->error == 0)
		job->error = registry_define(registry, job->stream, job->row.uuid, &job->options);
	if (job->error == 0)
		job->error = stream_say_uuid(job);
	if (job->error < 0) {
		registry_remove(registry, job->stream);
		registry_stream_free(job->stream);
		stream_job_end(job);
		return;
	}
	job->row.state = CATALOGUE_MAKING;
	job->row.options = job->options;
	snprintf(job->row.name, sizeof(job->row.name), "%s", job->stream->name);
	stream_submit(job, SERVER_WORKER_CATALOGUE, stream_add_row, stream_has_row);
}

/* All rings together, before the first is made: none is made in vain. */
static int stream_check_memory(const struct stream_job *job, struct dispatch_reply *reply)
{
	uint64_t needed = job->options.n_shards * job->options.ring_len;
	uint64_t available = placement_available();
	char ring[QUANTITY_LEN];

	if (stream_fits_memory(needed, available))
		return 0;
	return dispatch_fail(reply, -ENOSPC,
			     "stream '%s' needs %" PRIu64 " bytes of memory (%u ring%s of %s); "
			     "available are %" PRIu64,
			     job->stream->name, needed, job->options.n_shards,
			     job->options.n_shards == 1 ? "" : "s",
			     quantity_print_len(job->options.ring_len, ring), available);
}

static int stream_check_disk(const struct stream_job *job, struct dispatch_reply *reply)
{
	uint64_t needed = job->options.n_shards * job->options.segment_len;
	uint64_t available = directory_free_len(job->config.data);

	if (job->options.memory || available == 0 || needed <= available)
		return 0;
	return dispatch_fail(reply, -ENOSPC,
			     "stream '%s' needs %" PRIu64 " bytes for the first segments of its "
			     "shards (%u); available in %.200s are %" PRIu64,
			     job->stream->name, needed, job->options.n_shards, job->config.data,
			     available);
}

/* On the build worker: owner and group may come from the network. */
static void stream_parse(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	struct dispatch_reply *reply = &job->dispatch.reply;
	int r = options_parse(json_object_get(job->request, "options"), &job->config, &job->subject,
			      &job->options, reply->detail, sizeof(reply->detail));

	if (r == 0)
		r = stream_check_memory(job, reply);
	if (r == 0)
		r = stream_check_disk(job, reply);
	job->memory_node = placement_node_of(job->dispatch.session->pid);
	job->error = r;
}

static int stream_check_create(struct session *session, const char *name,
			       struct dispatch_reply *reply)
{
	struct server *server = session->server;

	if (!names_is_valid(name))
		return dispatch_fail(reply, -EINVAL,
				     "'%.220s' cannot be a stream's name: " NAMES_RULE, name);
	if (!server->config->create_everybody && !permission_is_privileged(&session->subject))
		return dispatch_fail(reply, -EACCES,
				     "only root and the daemon's user may make streams here "
				     "(`create` in leatd.conf)");
	if (registry_find(&server->registry, name))
		return dispatch_fail(reply, -EEXIST, "stream '%s' exists", name);
	if (server->registry.n_streams >= server->config->max_streams)
		return dispatch_fail(reply, -ENOSPC,
				     "the bus has %u streams, which is its limit "
				     "(max-streams)",
				     server->registry.n_streams);
	return 0;
}

int stream_op_create(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct stream_job *job;
	const char *name;
	int r = dispatch_get_string(request, "stream", &name, reply);

	if (r == 0)
		r = stream_check_create(session, name, reply);
	if (r == 0)
		r = stream_job_new(session, &job);
	if (r < 0)
		return r;
	job->stream = registry_add(&session->server->registry, name);
	if (!job->stream) {
		stream_job_free(job);
		return -ENOMEM;
	}
	job->request = json_incref((json_t *)request);
	dispatch_begin(&job->dispatch, session);
	stream_submit(job, SERVER_WORKER_BUILD, stream_parse, stream_parsed);
	return DISPATCH_E_LATER;
}

/* ---- remove ---- */

static void stream_marked_removing(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;

	for (uint32_t i = 0; i < job->stream->n_shards; i++)
		if (job->stream->shards[i].shard)
			shard_set_removed(job->stream->shards[i].shard);
	stream_dismantle(job);
}

static void stream_mark_removing(struct worker_job *worker_job)
{
	struct stream_job *job = (struct stream_job *)worker_job;
	int r = catalogue_set_state(job->server->catalogue, job->row.id, CATALOGUE_REMOVING);

	/* Going on all the same is right: it is gone from every view by now. */
	if (r < 0)
		log_error("The removal of stream %s cannot be noted in the catalogue: %s",
			  job->stream->name, strerror(-r));
}

void stream_put(struct server *server, struct registry_stream *stream)
{
	struct worker_job *waiting;

	stream->n_jobs--;
	if (stream->n_jobs > 0 || !stream->waiting)
		return;
	waiting = take_ptr(stream->waiting);
	server_submit(server, SERVER_WORKER_CATALOGUE, waiting);
}

int stream_op_remove(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct server *server = session->server;
	struct registry_stream *stream;
	struct stream_job *job;
	int r = dispatch_get_stream(session, request, PERMISSION_ADMINISTER, &stream, reply);

	if (r == 0)
		r = stream_job_new(session, &job);
	if (r < 0)
		return r;
	job->stream = stream;
	job->row.id = stream->id;
	job->has_row = true;
	job->has_directory = !registry_options(stream)->memory;
	registry_set_removing(&server->registry, stream);
	process_forget_stream(server, stream);
	dispatch_begin(&job->dispatch, session);
	job->dispatch.job = (struct worker_job){ .run = stream_mark_removing,
						 .done = stream_marked_removing,
						 .user = session->subject.uid };
	/* Jobs that use it end first; no new ones begin, since nobody finds it any more. */
	stream->n_jobs++;
	stream->waiting = &job->dispatch.job;
	stream_put(server, stream);
	return DISPATCH_E_LATER;
}

/* ---- all streams ---- */

void stream_stop_all(struct server *server, bool keep_rings)
{
	struct registry_stream *stream;

	cds_list_for_each_entry(stream, &server->registry.streams, node)
		stream_stop(stream, keep_rings);
}

bool stream_all_stopped(struct server *server)
{
	struct registry_stream *stream;

	if (!cds_list_empty(&server->stopping_streams))
		return false;
	cds_list_for_each_entry(stream, &server->registry.streams, node)
		if (!stream_is_stopped(stream))
			return false;
	return true;
}

void stream_free_all(struct server *server)
{
	struct registry_stream *stream, *next;

	cds_list_for_each_entry_safe(stream, next, &server->registry.streams, node) {
		for (uint32_t i = 0; i < stream->n_shards; i++)
			stream_free_shard(&stream->shards[i]);
		registry_remove(&server->registry, stream);
		stream->retention = retention_free(stream->retention);
		registry_stream_free(stream);
	}
}
