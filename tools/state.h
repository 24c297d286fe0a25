/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of itself and its streams (daemon/PROTOCOL.md, stat), sampled. */
#ifndef TOOLS_STATE_H
#define TOOLS_STATE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct leat_bus;

struct state {
	json_t *root;
	json_t *streams; /* borrowed from root: an array, also for one stream */
	uint64_t taken_ns;
};

/* stream NULL: all. -EPROTO when what came is no JSON, otherwise as leat_stat_json(). */
int state_try(struct leat_bus *bus, const char *stream, struct state *ret_state);
/* The same; on failure it has said why. */
int state_take(struct leat_bus *bus, const char *stream, struct state *ret_state);
void state_free(struct state *state);
/* Gives each shard of `now` "records_per_s" and "bytes_per_s" since `before`. */
void state_add_rates(const struct state *before, struct state *now);
/* Two samples a short time apart, for the rates. */
int state_take_with_rates(struct leat_bus *bus, const char *stream, struct state *ret_state);

uint64_t state_u64(const json_t *object, const char *name);
double state_real(const json_t *object, const char *name);
/* "" when it is not there. */
const char *state_text(const json_t *object, const char *name);
/* Bytes of [from, to), 0 when they are the wrong way round. */
uint64_t state_between(const json_t *object, const char *from, const char *to);

#endif
