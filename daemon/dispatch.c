/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/dispatch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/alter.h"
#include "daemon/attach.h"
#include "daemon/checkpoint.h"
#include "daemon/log.h"
#include "daemon/restore.h"
#include "daemon/stats.h"
#include "daemon/stream.h"

static int dispatch_hello(struct session *session, const json_t *request,
			  struct dispatch_reply *reply);

static const struct {
	const char *op;
	dispatch_fn fn;
	enum restore_need need;
} dispatch_ops[] = {
	{ "hello", dispatch_hello, RESTORE_NOTHING },
	/* Whether there is memory for it is known when all rings are back. */
	{ "create", stream_op_create, RESTORE_STREAMS },
	{ "remove", stream_op_remove, RESTORE_STREAM },
	{ "set", alter_op_set, RESTORE_STREAM },
	{ "list", stats_op_list, RESTORE_STREAMS },
	{ "describe", stats_op_describe, RESTORE_STREAM },
	{ "stat", stats_op_stat, RESTORE_STREAM },
	{ "attach", attach_op_attach, RESTORE_RING },
	{ "detach", attach_op_detach, RESTORE_RING },
	{ "segments", attach_op_segments, RESTORE_SHARD },
	{ "sync", attach_op_sync, RESTORE_SHARD },
	{ "checkpoint", checkpoint_op_set, RESTORE_NOTHING },
	{ "checkpoint-get", checkpoint_op_get, RESTORE_NOTHING },
	{ "checkpoint-remove", checkpoint_op_remove, RESTORE_NOTHING },
};

/* ---- replies ---- */

int dispatch_fail(struct dispatch_reply *reply, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reply->detail, sizeof(reply->detail), format, args);
	va_end(args);
	return error;
}

int dispatch_no_stream(struct dispatch_reply *reply, const struct registry *registry,
		       const char *name)
{
	char others[256];

	registry_print_names(registry, others, sizeof(others));
	return dispatch_fail(reply, -ENOENT, "there is no stream '%s'%s", name, others);
}

int dispatch_add_fd(struct dispatch_reply *reply, const char *name, int fd, bool owned)
{
	json_t *names;
	size_t n = reply->fds.n;

	if (fd < 0 || n >= PROTOCOL_FDS_MAX) {
		if (owned)
			close_fd(fd);
		return fd < 0 ? -EMFILE : -E2BIG;
	}
	/* In the reply first: whatever happens next, it is closed if it is to be. */
	reply->fds.fd[n] = fd;
	reply->owned[n] = owned;
	reply->fds.n++;
	names = json_object_get(reply->object, "fds");
	if (!names) {
		names = json_array();
		if (json_object_set_new(reply->object, "fds", names) < 0)
			return -ENOMEM;
	}
	return json_array_append_new(names, json_string(name)) < 0 ? -ENOMEM : 0;
}

static void dispatch_reply_deinit(struct dispatch_reply *reply)
{
	for (size_t i = 0; i < reply->fds.n; i++)
		if (reply->owned[i])
			close(reply->fds.fd[i]);
	reply->fds.n = 0;
	json_decref(reply->object);
	reply->object = NULL;
	protocol_packet_deinit(&reply->packet);
}

static json_t *dispatch_finish(struct session *session, int r, struct dispatch_reply *reply)
{
	json_t *object;

	if (r < 0)
		object = protocol_error(r, reply->detail[0] ? reply->detail : strerror(-r));
	else
		object = reply->object ? json_incref(reply->object) : json_object();
	if (object && r == 0 && json_object_set_new(object, "ok", json_true()) < 0) {
		json_decref(object);
		return NULL;
	}
	if (object && session->id)
		json_object_set(object, "id", session->id);
	return object;
}

static int dispatch_encode(struct session *session, int r, struct dispatch_reply *reply)
{
	json_t *object = dispatch_finish(session, r, reply);
	int encoded = object ? protocol_encode(object, &reply->packet) : -ENOMEM;

	json_decref(object);
	return encoded;
}

static bool dispatch_carries_fds(int r, const struct dispatch_reply *reply)
{
	return (r == 0 && reply->fds.n > 0) || reply->packet.body >= 0;
}

/* Sends, frees what the reply holds. The session may be gone afterwards. */
static void dispatch_answer(struct session *session, int r, struct dispatch_reply *reply)
{
	int sent = 0;

	if (session->closed) {
		dispatch_reply_deinit(reply);
		return;
	}
	if (!reply->packet.text)
		sent = dispatch_encode(session, r, reply);
	/* fds on their way count against our own limit, and a body against our memory: never more
	 * than one reply of them. */
	if (sent == 0 && dispatch_carries_fds(r, reply) &&
	    protocol_has_unread(session->source.fd)) {
		dispatch_reply_deinit(reply);
		session_end(session, -EPROTO,
			    "a request came before the reply to the one before was read");
		return;
	}
	if (sent == 0)
		sent = protocol_send_packet(session->source.fd, &reply->packet,
					    r == 0 ? &reply->fds : NULL);
	dispatch_reply_deinit(reply);
	if (sent < 0) {
		/* Who leaves without waiting does nothing wrong; who does not read does. */
		if (sent != -EPIPE && sent != -ECONNRESET)
			log_limited(LOG_LEVEL_INFO,
				    "Process %d (%s) is disconnected: a reply cannot be sent: %s",
				    session->pid, session->client, strerror(-sent));
		session_end(session, 0, NULL);
	}
}

void dispatch_begin(struct dispatch_job *job, struct session *session)
{
	job->session = session;
	session_begin_job(session);
}

void dispatch_submit(struct dispatch_job *job, enum server_worker worker)
{
	job->job.user = job->session->subject.uid;
	server_submit(job->session->server, worker, &job->job);
}

void dispatch_prepare(struct dispatch_job *job)
{
	int r = dispatch_encode(job->session, job->result, &job->reply);

	json_decref(job->reply.object);
	job->reply.object = NULL;
	if (r < 0)
		job->result =
			dispatch_fail(&job->reply, r, "the reply cannot be made: %s", strerror(-r));
}

void dispatch_end(struct dispatch_job *job)
{
	struct session *session = job->session;

	/* Answered while it still counts as busy: it cannot vanish under us. */
	dispatch_answer(session, job->result, &job->reply);
	session_end_job(session);
}

/* ---- fields ---- */

int dispatch_get_string(const json_t *request, const char *key, const char **ret_text,
			struct dispatch_reply *reply)
{
	const char *text = json_string_value(json_object_get(request, key));

	if (!text)
		return dispatch_fail(reply, -EINVAL, "the request needs '%s', a string", key);
	*ret_text = text;
	return 0;
}

int dispatch_get_number(const json_t *request, const char *key, uint64_t max, uint64_t *ret_number,
			struct dispatch_reply *reply)
{
	const json_t *value = json_object_get(request, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > max)
		return dispatch_fail(reply, -EINVAL,
				     "the request needs '%s', a whole number from 0 to %" PRIu64,
				     key, max);
	*ret_number = (uint64_t)json_integer_value(value);
	return 0;
}

static const char *dispatch_rights_name(unsigned int rights)
{
	if (rights & PERMISSION_ADMINISTER)
		return "be its owner";
	return rights & PERMISSION_PUBLISH ? "have permission to publish (w)"
					   : "have permission to subscribe (r)";
}

int dispatch_get_stream(struct session *session, const json_t *request, unsigned int rights,
			struct registry_stream **ret_stream, struct dispatch_reply *reply)
{
	struct registry_stream *stream;
	const struct options *options;
	const char *name = NULL;
	int r = dispatch_get_string(request, "stream", &name, reply);

	if (r < 0)
		return r;
	if (!names_is_valid(name))
		return dispatch_fail(reply, -EINVAL, "'%.220s' is no name of a stream: " NAMES_RULE,
				     name);
	stream = registry_find(&session->server->registry, name);
	/* What it needs of one that is being restored is back: restore_delays(). */
	if (!stream || (registry_state_of(stream) != REGISTRY_LIVE &&
			registry_state_of(stream) != REGISTRY_RESTORING))
		return dispatch_no_stream(reply, &session->server->registry, name);
	options = registry_options(stream);
	if (rights && !(permission_rights(&session->subject, &options->access) & rights))
		return dispatch_fail(reply, -EACCES,
				     "stream '%s' belongs to %s:%s with mode %04o; you need to %s",
				     name, options->owner, options->group, options->access.mode,
				     dispatch_rights_name(rights));
	*ret_stream = stream;
	return 0;
}

int dispatch_get_shard(const json_t *request, struct registry_stream *stream, uint32_t *ret_shard,
		       struct dispatch_reply *reply)
{
	uint64_t shard;
	int r = dispatch_get_number(request, "shard", UINT32_MAX, &shard, reply);

	if (r < 0)
		return r;
	if (shard >= stream->n_shards)
		return dispatch_fail(reply, -ENOENT, "stream '%s' has shards 0 to %u, not %" PRIu64,
				     stream->name, stream->n_shards - 1, shard);
	if (!stream->shards[shard].shard || stream->shards[shard].error < 0)
		return dispatch_fail(reply, -EIO, "stream '%s' shard %u could not be restored: %s",
				     stream->name, (unsigned int)shard,
				     stream->shards[shard].detail ? stream->shards[shard].detail
								  : "see the daemon's log");
	*ret_shard = (uint32_t)shard;
	return 0;
}

/* ---- requests ---- */

static int dispatch_hello(struct session *session, const json_t *request,
			  struct dispatch_reply *reply)
{
	const json_t *version = json_object_get(request, "version");
	const char *client = json_string_value(json_object_get(request, "client"));

	if (!json_is_integer(version))
		return dispatch_fail(reply, -EINVAL, "hello needs 'version', a whole number");
	if (json_integer_value(version) != PROTOCOL_VERSION)
		return dispatch_fail(reply, -EPROTONOSUPPORT,
				     "the daemon speaks version %d of the protocol, the client "
				     "version %" JSON_INTEGER_FORMAT "; use programs and daemon of "
				     "the same release",
				     PROTOCOL_VERSION, json_integer_value(version));
	names_copy_client(session->client, client ? client : "?");
	session->hello = true;
	reply->object = json_pack("{s:i, s:s, s:i, s:s}", "version", PROTOCOL_VERSION, "server",
				  "leat " LEAT_VERSION, "pid", (int)getpid(), "instance",
				  session->server->instance);
	return reply->object ? 0 : -ENOMEM;
}

static int dispatch_call(struct session *session, const json_t *request,
			 struct dispatch_reply *reply)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	int r;

	if (!op)
		return dispatch_fail(reply, -EINVAL, "the request has no 'op'");
	for (size_t i = 0; i < ARRAY_LEN(dispatch_ops); i++) {
		if (strcmp(op, dispatch_ops[i].op) != 0)
			continue;
		if (!session->hello && dispatch_ops[i].fn != dispatch_hello)
			return dispatch_fail(reply, -EPROTO, "the first request must be hello");
		r = restore_delays(session, request, dispatch_ops[i].need, reply);
		return r == 0 ? dispatch_ops[i].fn(session, request, reply) : r;
	}
	return dispatch_fail(reply, -EOPNOTSUPP, "this daemon knows no request '%.64s'", op);
}

void dispatch_request(struct session *session, const void *packet, size_t len)
{
	struct dispatch_reply reply = { 0 };
	json_t *request = NULL;
	int r;

	json_decref(session->id);
	session->id = NULL;
	r = protocol_parse(packet, len, &request, reply.detail, sizeof(reply.detail));
	if (r == 0) {
		json_t *id = json_object_get(request, "id");

		session->id = json_is_integer(id) ? json_incref(id) : NULL;
		r = dispatch_call(session, request, &reply);
		json_decref(request);
	}
	if (r == DISPATCH_E_LATER)
		return;
	dispatch_answer(session, r, &reply);
}

void dispatch_again(struct session *session, const json_t *request)
{
	struct dispatch_reply reply = { 0 };
	bool closed = session->closed;
	int r;

	session_end_job(session);
	if (closed)
		return;
	r = dispatch_call(session, request, &reply);
	if (r != DISPATCH_E_LATER)
		dispatch_answer(session, r, &reply);
}

void dispatch_refuse(struct session *session)
{
	struct dispatch_reply reply = { 0 };

	json_decref(session->id);
	session->id = NULL;
	dispatch_fail(&reply, -EMSGSIZE, "a request has at most %d bytes", PROTOCOL_REQUEST_MAX);
	dispatch_answer(session, -EMSGSIZE, &reply);
}
