/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/checkpoint.h"

#include <stdio.h>

#include "daemon/registry.h"
#include "daemon/stream.h"
#include "shm/layout.h"

struct checkpoint_job {
	struct dispatch_job dispatch;
	struct server *server;
	struct registry_stream *stream;
	char name[NAMES_STREAM_MAX + 1];
	uint32_t n_shards;
	bool remove;
	uint64_t pos[OPTIONS_SHARDS_MAX]; /* UINT64_MAX = not given */
};

/* The stream and the subscriber's name, which every request here has. */
static int checkpoint_parse(struct session *session, const json_t *request,
			    struct registry_stream **ret_stream, const char **ret_name,
			    struct dispatch_reply *reply)
{
	int r = dispatch_get_stream(session, request, PERMISSION_SUBSCRIBE, ret_stream, reply);

	if (r == 0)
		r = dispatch_get_string(request, "name", ret_name, reply);
	if (r == 0 && !names_is_valid(*ret_name))
		r = dispatch_fail(reply, -EINVAL,
				  "'%.220s' is no name of a subscriber: " NAMES_RULE, *ret_name);
	return r;
}

/* Not known is not the same as none: who began elsewhere for it would miss what lies between. */
static int checkpoint_check_read(const struct registry_stream *stream, struct dispatch_reply *reply)
{
	int r = stream->checkpoints_error;

	if (r == 0)
		return 0;
	return dispatch_fail(reply, r,
			     "the checkpoints of stream '%s' could not be read when the daemon "
			     "started: %s; they are as they were, start it again",
			     stream->name, strerror(-r));
}

static int checkpoint_parse_positions(const json_t *request, struct checkpoint_job *job,
				      struct dispatch_reply *reply)
{
	const json_t *positions = json_object_get(request, "positions"), *pair;
	size_t i;

	if (!json_is_array(positions))
		return dispatch_fail(reply, -EINVAL,
				     "'positions' is an array of [shard, position]");
	json_array_foreach(positions, i, pair) {
		json_int_t shard = json_integer_value(json_array_get(pair, 0));
		json_int_t pos = json_integer_value(json_array_get(pair, 1));

		if (json_array_size(pair) != 2 || !json_is_integer(json_array_get(pair, 0)) ||
		    !json_is_integer(json_array_get(pair, 1)) || pos < 0 ||
		    (uint64_t)pos > LAYOUT_POS_END)
			return dispatch_fail(reply, -EINVAL,
					     "'positions' is an array of [shard, position]");
		if (shard < 0 || shard >= job->n_shards)
			return dispatch_fail(reply, -ENOENT,
					     "stream '%s' has shards 0 to %u, not "
					     "%" JSON_INTEGER_FORMAT,
					     job->stream->name, job->n_shards - 1, shard);
		job->pos[shard] = (uint64_t)pos;
	}
	return 0;
}

/* ---- set and remove ---- */

static void checkpoint_run(struct worker_job *worker_job)
{
	struct checkpoint_job *job = (struct checkpoint_job *)worker_job;
	struct catalogue *catalogue = job->server->catalogue;
	int r;

	if (job->remove)
		r = catalogue_remove_checkpoint(catalogue, job->stream->id, job->name);
	else
		r = catalogue_set_checkpoint(catalogue, job->stream->id, job->name, job->pos,
					     job->n_shards);
	if (r < 0)
		dispatch_fail(&job->dispatch.reply, r,
			      "the checkpoint '%s' of stream '%s' cannot be stored: %s", job->name,
			      job->stream->name, strerror(-r));
	job->dispatch.result = r;
}

static void checkpoint_apply(struct checkpoint_job *job)
{
	struct registry_checkpoint *checkpoint = registry_find_checkpoint(job->stream, job->name);

	if (job->remove) {
		if (checkpoint)
			registry_remove_checkpoint(job->stream, checkpoint);
		return;
	}
	if (!checkpoint)
		checkpoint = registry_add_checkpoint(job->stream, job->name);
	/* Without memory it is in the catalogue all the same, and is seen after a restart. */
	for (uint32_t i = 0; checkpoint && i < job->n_shards; i++)
		if (job->pos[i] != UINT64_MAX)
			store_relaxed(&checkpoint->pos[i], job->pos[i]);
}

static void checkpoint_done(struct worker_job *worker_job)
{
	struct checkpoint_job *job = (struct checkpoint_job *)worker_job;

	job->stream->n_checkpoint_jobs--;
	if (job->dispatch.result == 0)
		checkpoint_apply(job);
	dispatch_end(&job->dispatch);
	stream_put(job->server, job->stream);
	free(job);
}

static int checkpoint_begin(struct session *session, struct registry_stream *stream,
			    const char *name, struct checkpoint_job **ret_job)
{
	struct checkpoint_job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->dispatch.job = (struct worker_job){ .run = checkpoint_run, .done = checkpoint_done };
	job->server = session->server;
	job->stream = stream;
	job->n_shards = stream->n_shards;
	snprintf(job->name, sizeof(job->name), "%s", name);
	for (size_t i = 0; i < ARRAY_LEN(job->pos); i++)
		job->pos[i] = UINT64_MAX;
	*ret_job = job;
	return 0;
}

static int checkpoint_submit(struct session *session, struct checkpoint_job *job)
{
	job->stream->n_jobs++;
	job->stream->n_checkpoint_jobs++;
	dispatch_begin(&job->dispatch, session);
	dispatch_submit(&job->dispatch, SERVER_WORKER_CATALOGUE);
	return DISPATCH_E_LATER;
}

int checkpoint_op_set(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	const struct config *config = session->server->config;
	struct registry_stream *stream;
	struct checkpoint_job *job;
	const char *name;
	int r = checkpoint_parse(session, request, &stream, &name, reply);

	if (r < 0)
		return r;
	/* Those under way count as new ones: the limit is never passed. */
	if (!registry_find_checkpoint(stream, name) &&
	    stream->n_checkpoints + stream->n_checkpoint_jobs >= config->max_checkpoints)
		return dispatch_fail(reply, -ENOSPC,
				     "stream '%s' has %u named subscribers, which is the limit "
				     "(max-checkpoints)",
				     stream->name, stream->n_checkpoints);
	r = checkpoint_begin(session, stream, name, &job);
	if (r < 0)
		return r;
	r = checkpoint_parse_positions(request, job, reply);
	if (r < 0) {
		free(job);
		return r;
	}
	return checkpoint_submit(session, job);
}

int checkpoint_op_remove(struct session *session, const json_t *request,
			 struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	struct checkpoint_job *job;
	const char *name;
	int r = checkpoint_parse(session, request, &stream, &name, reply);

	if (r == 0)
		r = checkpoint_check_read(stream, reply);
	if (r < 0)
		return r;
	if (!registry_find_checkpoint(stream, name))
		return dispatch_fail(reply, -ENOENT, "stream '%s' has no subscriber named '%s'",
				     stream->name, name);
	r = checkpoint_begin(session, stream, name, &job);
	if (r < 0)
		return r;
	job->remove = true;
	return checkpoint_submit(session, job);
}

/* ---- get ---- */

int checkpoint_op_get(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	const struct registry_checkpoint *checkpoint;
	struct registry_stream *stream;
	json_t *positions;
	const char *name;
	int r = checkpoint_parse(session, request, &stream, &name, reply);

	if (r == 0)
		r = checkpoint_check_read(stream, reply);
	if (r < 0)
		return r;
	positions = json_array();
	checkpoint = registry_find_checkpoint(stream, name);
	for (uint32_t i = 0; checkpoint && i < checkpoint->n_shards; i++) {
		uint64_t pos = load_relaxed(&checkpoint->pos[i]);

		if (pos != UINT64_MAX)
			json_array_append_new(positions,
					      json_pack("[I, I]", (json_int_t)i, (json_int_t)pos));
	}
	reply->object = json_pack("{s:o}", "positions", positions);
	return reply->object ? 0 : -ENOMEM;
}
