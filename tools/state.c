/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/state.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum {
	STATE_APART_MS = 200
};

uint64_t state_u64(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

double state_real(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

const char *state_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

uint64_t state_between(const json_t *object, const char *from, const char *to)
{
	uint64_t a = state_u64(object, from), b = state_u64(object, to);

	return b > a ? b - a : 0;
}

int state_try(struct leat_bus *bus, const char *stream, struct state *ret_state)
{
	cleanup_with(tool_free) char *text = NULL;
	struct state state = { .taken_ns = tool_monotonic_ns() };
	int rc;

	rc = leat_stat_json(bus, stream, &text);
	if (rc < 0)
		return rc;
	state.root = json_loads(text, 0, NULL);
	if (!state.root)
		return -EPROTO;
	state.streams = json_object_get(state.root, "streams");
	*ret_state = state;
	return 0;
}

int state_take(struct leat_bus *bus, const char *stream, struct state *ret_state)
{
	int rc = state_try(bus, stream, ret_state);

	if (rc == -EPROTO)
		tool_error("what the daemon says of its state is not JSON");
	else if (rc < 0)
		tool_bus_error(bus, rc, stream ? stream : "the state of the bus");
	return rc;
}

void state_free(struct state *state)
{
	json_decref(state->root);
	*state = (struct state){ 0 };
}

/* Streams come sorted, so the same place is nearly always right. */
static json_t *find_stream(const struct state *state, size_t hint, const char *name)
{
	json_t *stream = json_array_get(state->streams, hint);
	size_t i;

	if (stream && strcmp(state_text(stream, "name"), name) == 0)
		return stream;
	json_array_foreach(state->streams, i, stream) {
		if (strcmp(state_text(stream, "name"), name) == 0)
			return stream;
	}
	return NULL;
}

static void set_rate(const json_t *before, json_t *now, const char *field, const char *rate,
		     double seconds)
{
	uint64_t a = state_u64(before, field), b = state_u64(now, field);
	double per_s = before && b > a && seconds > 0 ? (double)(b - a) / seconds : 0;

	json_object_set_new(now, rate, json_real(round(per_s * 10) / 10));
}

void state_add_rates(const struct state *before, struct state *now)
{
	double seconds = (double)(now->taken_ns - before->taken_ns) / 1e9;
	json_t *stream, *shard, *old_stream, *old;
	size_t i, k;

	json_array_foreach(now->streams, i, stream) {
		old_stream = find_stream(before, i, state_text(stream, "name"));
		json_array_foreach(json_object_get(stream, "shards"), k, shard) {
			old = json_array_get(json_object_get(old_stream, "shards"), k);
			set_rate(old, shard, "records", "records_per_s", seconds);
			set_rate(old, shard, "bytes", "bytes_per_s", seconds);
		}
	}
}

int state_take_with_rates(struct leat_bus *bus, const char *stream, struct state *ret_state)
{
	cleanup_with(state_free) struct state before = { 0 };
	int rc;

	rc = state_take(bus, stream, &before);
	if (rc < 0)
		return rc;
	poll(NULL, 0, STATE_APART_MS);
	rc = state_take(bus, stream, ret_state);
	if (rc == 0)
		state_add_rates(&before, ret_state);
	return rc;
}
