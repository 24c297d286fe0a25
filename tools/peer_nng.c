/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nng over ipc, as its own perf program drives it: two pair sockets, whole messages handed over
 * without a copy, 128 of them buffered at each side for throughput. Its processes are pinned where
 * ZeroMQ's are, for the same reason.
 */
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/peer.h"
#include "tools/tool.h"

enum {
	BUFFERED = 128
};

struct own {
	nng_socket socket;
	nng_msg *message; /* received last */
	bool is_open;
};

static int fail(struct bench_side *side, const char *what, int error)
{
	return bench_team_fail(side->team, side->me, -EIO, "%s: %s", what, nng_strerror(error));
}

static void nng_side_close(struct bench_side *side)
{
	struct own *own = side->own;

	if (!own)
		return;
	if (own->message)
		nng_msg_free(own->message);
	if (own->is_open)
		nng_close(own->socket);
	free(own);
}

static int nng_side_open(struct bench_side *side)
{
	struct own *own = calloc(1, sizeof(*own));
	char address[sizeof(side->team->env->dir) + 32];
	int error;

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	error = nng_pair1_open(&own->socket);
	if (error)
		return fail(side, "no socket", error);
	own->is_open = true;
	nng_socket_set_int(own->socket, NNG_OPT_SENDBUF, BUFFERED);
	nng_socket_set_int(own->socket, NNG_OPT_RECVBUF, BUFFERED);
	snprintf(address, sizeof(address), "ipc://%s/nng", side->team->env->dir);
	error = side->me ? nng_listen(own->socket, address, NULL, 0)
			 : nng_dial(own->socket, address, NULL, 0);
	return error ? fail(side, address, error) : 0;
}

/* A message that was received and is not needed any more goes out again. */
static int nng_side_send(struct bench_side *side, const void *record)
{
	struct own *own = side->own;
	nng_msg *message = own->message;
	int error = 0;

	own->message = NULL;
	if (!message)
		error = nng_msg_alloc(&message, side->len);
	if (error)
		return fail(side, "no message", error);
	memcpy(nng_msg_body(message), record, side->len);
	error = nng_sendmsg(own->socket, message, 0);
	if (error) {
		nng_msg_free(message);
		return fail(side, "cannot send", error);
	}
	return 0;
}

static int nng_side_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	struct own *own = side->own;
	int error;

	if (own->message)
		nng_msg_free(own->message);
	own->message = NULL;
	error = nng_recvmsg(own->socket, &own->message, 0);
	if (error)
		return fail(side, "cannot receive", error);
	*ret_record = nng_msg_body(own->message);
	*ret_len = nng_msg_len(own->message);
	return 0;
}

static struct bench_pair make_pair(bool free_to_move)
{
	return (struct bench_pair){
		.open = nng_side_open,
		.send = nng_side_send,
		.receive = nng_side_receive,
		.close = nng_side_close,
		.free = free_to_move,
	};
}

static int round_trip(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct bench_pair pair = make_pair(true);

	return bench_pair_round_trip(env, &pair, len, result);
}

static int rate(struct bench_env *env, size_t len, struct bench_result *result)
{
	const struct bench_pair pair = make_pair(false);

	return bench_pair_rate(env, &pair, len, result);
}

static void version(char *buf, size_t len)
{
	snprintf(buf, len, "%s", nng_version());
}

static const struct peer_work works[] = {
	{ "round-trip", "two pair sockets over ipc, messages handed on", round_trip },
	{ "rate", "two pair sockets over ipc, one message a call", rate },
};

static const struct peer peer = {
	.name = "nng",
	.version = version,
	.works = works,
	.n_works = ARRAY_LEN(works),
};

int main(int argc, char **argv)
{
	return peer_main(argc, argv, &peer);
}
