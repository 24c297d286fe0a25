/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of the bench and connections to them. A handle does not survive a fork, so the parent
 * makes and removes streams, and every member of a team opens its own.
 */
#ifndef TOOLS_BENCH_STREAM_H
#define TOOLS_BENCH_STREAM_H

#include "clientlib/leat.h"
#include "tools/bench_team.h"

enum {
	BENCH_STREAM_NAME_LEN = 48,
	BENCH_STREAM_RING_LEN = 16 << 20,
	BENCH_STREAM_SPAN = 96, /* of a small record in the ring: header and value */
};

#define BENCH_STREAM_WAIT_NS (10 * UINT64_C(1000000000))

/* Of a stream in memory that the bench likes. */
void bench_stream_memory(struct leat_stream_options *options);
/* The name on the bus of what this bench calls `what`; in the parent. */
void bench_stream_name(const char *what, char name[BENCH_STREAM_NAME_LEN]);
/* 1 when it is there, 0 when it is not. In the parent. */
int bench_stream_exists(struct bench_env *env, const char *what);
/* In the parent. Removes a stream of that name that an earlier run left, and makes it. */
int bench_stream_create(struct bench_env *env, const char *what,
			const struct leat_stream_options *options);
/* A failure is of no interest: what was measured has been measured. */
void bench_stream_delete(struct bench_env *env, const char *what);

/* What one member has open. Closed with bench_stream_close(), however far it came. */
struct bench_link {
	struct bench_team *team;
	int me;
	struct leat_bus *bus;
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
};

int bench_stream_connect(struct bench_link *link, struct bench_team *team, int me);
int bench_stream_publish_to(struct bench_link *link, const char *what);
/* From the latest record on; polls for spin_ns before it sleeps (LEAT_FOREVER: never sleeps). */
int bench_stream_subscribe_to(struct bench_link *link, const char *what, uint64_t spin_ns);
int bench_stream_subscribe_as(struct bench_link *link, const char *what,
			      const struct leat_subscriber_options *options);
void bench_stream_close(struct bench_link *link);
/* Says what failed, in the library's own words where it has some; returns `error`. */
int bench_stream_fail(struct bench_link *link, int error, const char *what);

#endif
