/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis Streams over a Unix socket with hiredis: XADD in pipelines, XREAD BLOCK with a large COUNT,
 * which is what its documentation advises. Nothing is rewritten or saved behind the measurement's
 * back. The server is one of its own, in the bench's directory.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/peer.h"
#include "tools/tool.h"

enum {
	COUNT = 1000,     /* records of one XREAD at most */
	CONNECTIONS = 64, /* at most, of one side */
	ID_LEN = 48,
	PATH_LEN = 512,
};

/* How a piece of work is done; the numbers are those that gave most here. */
struct way {
	int n_connections; /* that records are spread over */
	int gathered;      /* commands of one write */
	int window;        /* commands whose replies may be outstanding, of each connection */
	bool trim;         /* keeps a bounded part in memory; the file has everything */
};

struct connection {
	redisContext *redis;
	int n_unsent;
	int n_outstanding;
};

struct own {
	struct connection connections[CONNECTIONS];
	int turn;
	redisReply *reply; /* to the last XREAD */
	size_t at;         /* the record of it that comes next */
	char last_id[ID_LEN];
};

static const char *const keys[] = { "there", "back" };
static char version_text[32];

static void socket_path(const struct bench_env *env, char *path)
{
	snprintf(path, PATH_LEN, "%s/redis", env->dir);
}

static int fail(struct bench_side *side, const struct connection *c, const char *what)
{
	const char *why = c && c->redis && c->redis->err ? c->redis->errstr : "no reply";

	return bench_team_fail(side->team, side->me, -EIO, "%s: %s", what, why);
}

static void redis_close(struct bench_side *side)
{
	struct own *own = side->own;
	int i;

	if (!own)
		return;
	if (own->reply)
		freeReplyObject(own->reply);
	for (i = 0; i < CONNECTIONS; i++) {
		if (own->connections[i].redis)
			redisFree(own->connections[i].redis);
	}
	free(own);
}

static int redis_open(struct bench_side *side)
{
	const struct way *way = side->pair->context;
	struct own *own = calloc(1, sizeof(*own));
	char path[PATH_LEN];
	int i;

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	strcpy(own->last_id, "0");
	socket_path(side->team->env, path);
	for (i = 0; i < way->n_connections; i++) {
		own->connections[i].redis = redisConnectUnix(path);
		if (!own->connections[i].redis || own->connections[i].redis->err)
			return fail(side, &own->connections[i], "cannot connect");
	}
	return 0;
}

/* Reads replies until at most `left` are outstanding. */
static int read_replies(struct bench_side *side, struct connection *c, int left)
{
	redisReply *reply;
	void *found;
	int error;

	c->n_unsent = 0;
	while (c->n_outstanding > left) {
		if (redisGetReply(c->redis, &found) != REDIS_OK)
			return fail(side, c, "XADD");
		reply = found;
		error = reply->type == REDIS_REPLY_ERROR;
		if (error)
			bench_team_fail(side->team, side->me, -EIO, "XADD: %s", reply->str);
		freeReplyObject(reply);
		if (error)
			return -EIO;
		c->n_outstanding--;
	}
	return 0;
}

static int write_out(struct bench_side *side, struct connection *c)
{
	int done = 0;

	c->n_unsent = 0;
	while (!done) {
		if (redisBufferWrite(c->redis, &done) != REDIS_OK)
			return fail(side, c, "cannot write");
	}
	return 0;
}

static int redis_send(struct bench_side *side, const void *record)
{
	static const char *const trimmed[] = { "XADD", "", "MAXLEN", "~", "65536", "*", "v" };
	static const char *const kept[] = { "XADD", "", "*", "v" };
	const struct way *way = side->pair->context;
	const int argc = way->trim ? ARRAY_LEN(trimmed) : ARRAY_LEN(kept);
	struct own *own = side->own;
	struct connection *c = &own->connections[own->turn];
	const char *argv[ARRAY_LEN(trimmed) + 1];
	size_t lens[ARRAY_LEN(trimmed) + 1];
	int i, rc;

	memcpy(argv, way->trim ? trimmed : kept, sizeof(*argv) * (size_t)argc);
	argv[1] = keys[side->me];
	argv[argc] = record;
	for (i = 0; i < argc; i++)
		lens[i] = strlen(argv[i]);
	lens[argc] = side->len;
	if (redisAppendCommandArgv(c->redis, argc + 1, argv, lens) != REDIS_OK)
		return fail(side, c, "XADD");
	c->n_outstanding++;
	if (++c->n_unsent < way->gathered || side->pair->both_ways)
		return 0;
	rc = write_out(side, c);
	if (rc < 0)
		return rc;
	own->turn = (own->turn + 1) % way->n_connections;
	c = &own->connections[own->turn];
	return c->n_outstanding < way->window ? 0
					      : read_replies(side, c, way->window - way->gathered);
}

/* When records go both ways, the answer itself says that the record came; it is not waited for. */
static int redis_flush(struct bench_side *side)
{
	const struct way *way = side->pair->context;
	struct own *own = side->own;
	int i, rc = 0;

	for (i = 0; i < way->n_connections && rc == 0; i++)
		rc = write_out(side, &own->connections[i]);
	for (i = 0; i < way->n_connections && !side->pair->both_ways && rc == 0; i++)
		rc = read_replies(side, &own->connections[i], 0);
	return rc;
}

/* Waits until there is more, and takes a lot of it. */
static int read_more(struct bench_side *side)
{
	struct own *own = side->own;
	struct connection *c = &own->connections[0];
	void *found;
	int rc;

	if (own->reply)
		freeReplyObject(own->reply);
	own->reply = NULL;
	own->at = 0;
	if (redisAppendCommand(c->redis, "XREAD COUNT %d BLOCK 0 STREAMS %s %s", COUNT,
			       keys[!side->me], own->last_id) != REDIS_OK)
		return fail(side, c, "XREAD");
	rc = read_replies(side, c, 0);
	if (rc < 0)
		return rc;
	if (redisGetReply(c->redis, &found) != REDIS_OK)
		return fail(side, c, "XREAD");
	own->reply = found;
	if (own->reply->type != REDIS_REPLY_ARRAY || own->reply->elements != 1 ||
	    own->reply->element[0]->elements != 2)
		return bench_team_fail(side->team, side->me, -EBADMSG, "XREAD: %s",
				       own->reply->str ? own->reply->str : "a strange reply");
	return 0;
}

/* A reply is [[key, [[id, [field, value]], ...]]]. */
static int redis_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	struct own *own = side->own;
	const redisReply *records, *record;
	int rc;

	if (!own->reply || own->at == own->reply->element[0]->element[1]->elements) {
		rc = read_more(side);
		if (rc < 0)
			return rc;
	}
	records = own->reply->element[0]->element[1];
	record = records->element[own->at++];
	if (own->at == records->elements)
		snprintf(own->last_id, sizeof(own->last_id), "%s", record->element[0]->str);
	*ret_record = record->element[1]->element[1]->str;
	*ret_len = record->element[1]->element[1]->len;
	return 0;
}

/* ---- the server ---- */

static void keep_version(redisContext *redis)
{
	redisReply *reply = redisCommand(redis, "INFO server");
	const char *at = reply && reply->str ? strstr(reply->str, "redis_version:") : NULL;

	if (at)
		snprintf(version_text, sizeof(version_text), "%.*s", (int)strcspn(at + 14, "\r\n"),
			 at + 14);
	if (reply)
		freeReplyObject(reply);
}

static bool answers(const struct bench_env *env)
{
	char path[PATH_LEN];
	redisContext *redis;
	bool is_there;

	socket_path(env, path);
	redis = redisConnectUnix(path);
	is_there = redis && !redis->err;
	if (is_there)
		keep_version(redis);
	if (redis)
		redisFree(redis);
	return is_there;
}

/* `sync` is a value of appendfsync, NULL for no file at all. */
static int start(struct bench_env *env, const char *sync, struct bench_server **ret_server)
{
	char program[PATH_LEN], path[PATH_LEN], log[PATH_LEN];
	char *argv[] = {
		program,
		"--port",
		"0",
		"--unixsocket",
		path,
		"--dir",
		env->dir,
		"--save",
		"",
		"--appendonly",
		sync ? "yes" : "no",
		"--appendfsync",
		(char *)(sync ? sync : "no"),
		"--auto-aof-rewrite-percentage",
		"0",
		"--daemonize",
		"no",
		NULL,
	};
	int rc = peer_find_server(env, "redis-server", "redis-server", program, sizeof(program));

	if (rc != 0)
		return rc;
	socket_path(env, path);
	snprintf(log, sizeof(log), "%s/redis.log", env->dir);
	rc = bench_server_start(env, argv, log, ret_server);
	return rc < 0 ? rc : bench_server_await(env, *ret_server, answers);
}

typedef int measure_fn(struct bench_env *env, const struct bench_pair *pair, size_t len,
		       struct bench_result *result);

static int with_server(struct bench_env *env, const char *sync, const struct way *way,
		       measure_fn *measure, size_t len, struct bench_result *result)
{
	const struct bench_pair pair = {
		.open = redis_open,
		.send = redis_send,
		.flush = redis_flush,
		.receive = redis_receive,
		.close = redis_close,
		.context = way,
		.free = true,
	};
	struct bench_server *server = NULL;
	int rc = start(env, sync, &server);

	if (rc == 0)
		rc = measure(env, &pair, len, result);
	bench_server_stop(server);
	return rc;
}

static int measure_keep(struct bench_env *env, const struct bench_pair *pair, size_t len,
			struct bench_result *result)
{
	char dir[PATH_LEN];

	snprintf(dir, sizeof(dir), "%s/appendonlydir", env->dir);
	return bench_pair_keep(env, pair, len, dir, result);
}

static const struct way plain = { .n_connections = 1, .gathered = 256, .window = 4096 };

static int round_trip(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, NULL, &plain, bench_pair_round_trip, len, result);
}

static int rate(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, NULL, &plain, bench_pair_rate, len, result);
}

static int ack(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, "everysec", &plain, bench_pair_ack, len, result);
}

static int ack_sync(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, "always", &plain, bench_pair_ack, len, result);
}

static int keep(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct way way = { .n_connections = 8, .gathered = 64, .window = 128, .trim = true };

	return with_server(env, "everysec", &way, measure_keep, len, result);
}

/* It syncs once for all that its connections brought meanwhile: the more, the better. */
static int keep_sync(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct way way = { CONNECTIONS, .gathered = 16, .window = 64, .trim = true };

	return with_server(env, "always", &way, measure_keep, len, result);
}

static void version(char *buf, size_t len)
{
	snprintf(buf, len, "%s", version_text);
}

static const struct peer_work works[] = {
	{ "round-trip", "XADD, then XREAD BLOCK, nothing is kept on disk", round_trip },
	{ "rate", "XADD in pipelines, XREAD COUNT 1000, nothing is kept on disk", rate },
	{ "ack", "XADD and its reply, appendfsync everysec", ack },
	{ "ack-sync", "XADD and its reply, appendfsync always", ack_sync },
	{ "keep", "XADD in pipelines on 8 connections, appendfsync everysec, synced at the end",
	  keep },
	{ "keep-sync", "XADD in pipelines on 64 connections, appendfsync always", keep_sync },
};

static const struct peer peer = {
	.name = "Redis",
	.version = version,
	.works = works,
	.n_works = ARRAY_LEN(works),
};

int main(int argc, char **argv)
{
	return peer_main(argc, argv, &peer);
}
