/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/alter.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/log.h"
#include "daemon/retention.h"
#include "daemon/shard.h"
#include "daemon/stream.h"

struct alter_job {
	struct dispatch_job dispatch;
	struct server *server;
	struct registry_stream *stream;
	struct permission_subject subject;
	struct options options;
	unsigned int changed;
	uint64_t memory; /* that its rings may have */
	char key[64];
	char value[256];
};

static void alter_done(struct worker_job *worker_job)
{
	struct alter_job *job = (struct alter_job *)worker_job;
	struct registry_stream *stream = job->stream;
	struct shard_policy policy = options_shard_policy(&job->options);

	if (job->dispatch.result == 0)
		job->dispatch.result =
			registry_set_options(&job->server->registry, stream, &job->options);
	for (uint32_t i = 0; job->dispatch.result == 0 && i < stream->n_shards; i++)
		if (stream->shards[i].shard && (job->changed & OPTIONS_CHANGED_POLICY))
			shard_set_policy(stream->shards[i].shard, &policy);
	if (job->dispatch.result == 0)
		log_limited(LOG_LEVEL_INFO, "Stream %s: %s was set to %s by user %u", stream->name,
			    job->key, job->value, job->subject.uid);
	stream->altering = false;
	retention_kick(job->server);
	dispatch_end(&job->dispatch);
	stream_put(job->server, stream);
	permission_subject_deinit(&job->subject);
	free(job);
}

/* Every shard moves to a ring of the new length, or the first that cannot says why. */
static int alter_rings(struct alter_job *job, char *detail, size_t detail_len)
{
	uint64_t needed = job->stream->n_shards * job->options.ring_len;
	uint64_t available = min_u64(placement_available(), job->memory);
	int r = 0;

	if (!stream_fits_memory(needed, available)) {
		snprintf(detail, detail_len,
			 "stream '%s' needs %" PRIu64 " bytes of memory for its new rings; "
			 "available are %" PRIu64,
			 job->stream->name, needed, available);
		return -ENOSPC;
	}
	for (uint32_t i = 0; r == 0 && i < job->stream->n_shards; i++)
		if (job->stream->shards[i].shard)
			r = shard_succeed(job->stream->shards[i].shard, job->options.ring_len,
					  detail, detail_len);
	return r;
}

/* On the catalogue's worker; the name service may be asked. */
static void alter_run(struct worker_job *worker_job)
{
	struct alter_job *job = (struct alter_job *)worker_job;
	struct dispatch_reply *reply = &job->dispatch.reply;
	int r = options_set(&job->options, job->key, job->value, &job->subject, &job->changed,
			    reply->detail, sizeof(reply->detail));

	if (r == 0 && (job->changed & OPTIONS_CHANGED_RING))
		r = alter_rings(job, reply->detail, sizeof(reply->detail));
	if (r == 0) {
		r = catalogue_set_options(job->server->catalogue, job->stream->id, &job->options);
		if (r < 0)
			dispatch_fail(reply, r,
				      "stream '%s' cannot be changed in the catalogue: "
				      "%s",
				      job->stream->name, strerror(-r));
	}
	job->dispatch.result = r;
}

/* What is left of max-memory, its own rings as they are now not counted. */
static uint64_t alter_memory(const struct server *server, const struct options *options)
{
	uint64_t others = server->registry.ring_len - options->n_shards * options->ring_len;

	return server->config->max_memory > others ? server->config->max_memory - others : 0;
}

int alter_op_set(struct session *session, const json_t *request, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	struct alter_job *job;
	const char *key, *value;
	int r = dispatch_get_stream(session, request, PERMISSION_ADMINISTER, &stream, reply);

	if (r == 0)
		r = dispatch_get_string(request, "key", &key, reply);
	if (r == 0)
		r = dispatch_get_string(request, "value", &value, reply);
	if (r < 0)
		return r;
	/* Two changes at once would each begin from the same options. */
	if (stream->altering)
		return dispatch_fail(reply, -EBUSY, "stream '%s' is being changed by somebody else",
				     stream->name);
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	r = permission_subject_copy(&job->subject, &session->subject);
	if (r < 0) {
		free(job);
		return r;
	}
	snprintf(job->key, sizeof(job->key), "%s", key);
	snprintf(job->value, sizeof(job->value), "%s", value);
	job->server = session->server;
	job->stream = stream;
	job->options = *registry_options(stream);
	job->memory = alter_memory(session->server, &job->options);
	job->dispatch.job = (struct worker_job){ .run = alter_run, .done = alter_done };
	stream->n_jobs++;
	stream->altering = true;
	dispatch_begin(&job->dispatch, session);
	dispatch_submit(&job->dispatch, SERVER_WORKER_CATALOGUE);
	return DISPATCH_E_LATER;
}
