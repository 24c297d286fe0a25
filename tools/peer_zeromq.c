/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZeroMQ over ipc, as its own perf/ programs drive it: REQ and REP for latency, PUSH and PULL for
 * throughput, one I/O thread for each process, the default high-water marks, which proved the best.
 * It gathers small messages by itself. A round trip is faster when the scheduler may bring threads
 * together, a stream of messages when each process keeps to its processor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tools/peer.h"
#include "tools/tool.h"

enum {
	LINGER_MS = 20 * 1000
};

struct own {
	void *context;
	void *socket;
	zmq_msg_t message;
	bool has_message;
};

struct kinds {
	int first;
	int second;
};

static int fail(struct bench_side *side, const char *what)
{
	return bench_team_fail(side->team, side->me, -EIO, "%s: %s", what,
			       zmq_strerror(zmq_errno()));
}

static void zeromq_close(struct bench_side *side)
{
	struct own *own = side->own;

	if (!own)
		return;
	if (own->has_message)
		zmq_msg_close(&own->message);
	if (own->socket)
		zmq_close(own->socket);
	if (own->context)
		zmq_ctx_term(own->context);
	free(own);
}

static int zeromq_open(struct bench_side *side)
{
	const struct kinds *kinds = side->pair->context;
	const int linger_ms = LINGER_MS;
	struct own *own = calloc(1, sizeof(*own));
	char address[sizeof(side->team->env->dir) + 32];
	int rc;

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	snprintf(address, sizeof(address), "ipc://%s/zeromq", side->team->env->dir);
	own->context = zmq_ctx_new();
	if (own->context)
		own->socket = zmq_socket(own->context, side->me ? kinds->second : kinds->first);
	if (!own->socket)
		return fail(side, "no socket");
	zmq_setsockopt(own->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
	rc = side->me ? zmq_bind(own->socket, address) : zmq_connect(own->socket, address);
	return rc < 0 ? fail(side, address) : 0;
}

static int zeromq_send(struct bench_side *side, const void *record)
{
	struct own *own = side->own;

	if (zmq_send(own->socket, record, side->len, 0) < 0)
		return fail(side, "cannot send");
	return 0;
}

static int zeromq_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	struct own *own = side->own;

	if (own->has_message)
		zmq_msg_close(&own->message);
	zmq_msg_init(&own->message);
	own->has_message = true;
	if (zmq_msg_recv(&own->message, own->socket, 0) < 0)
		return fail(side, "cannot receive");
	*ret_record = zmq_msg_data(&own->message);
	*ret_len = zmq_msg_size(&own->message);
	return 0;
}

static struct bench_pair make_pair(const struct kinds *kinds, bool free_to_move)
{
	return (struct bench_pair){
		.open = zeromq_open,
		.send = zeromq_send,
		.receive = zeromq_receive,
		.close = zeromq_close,
		.context = kinds,
		.free = free_to_move,
	};
}

static int round_trip(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct bench_pair pair = make_pair(&(struct kinds){ ZMQ_REQ, ZMQ_REP }, true);

	return bench_pair_round_trip(env, &pair, len, result);
}

static int rate(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct bench_pair pair = make_pair(&(struct kinds){ ZMQ_PUSH, ZMQ_PULL }, false);

	return bench_pair_rate(env, &pair, len, result);
}

static void version(char *buf, size_t len)
{
	int major, minor, patch;

	zmq_version(&major, &minor, &patch);
	snprintf(buf, len, "%d.%d.%d", major, minor, patch);
}

static const struct peer_work works[] = {
	{ "round-trip", "REQ and REP over ipc, blocking", round_trip },
	{ "rate", "PUSH to PULL over ipc, one message a call", rate },
};

static const struct peer peer = {
	.name = "ZeroMQ",
	.version = version,
	.works = works,
	.n_works = ARRAY_LEN(works),
};

int main(int argc, char **argv)
{
	return peer_main(argc, argv, &peer);
}
