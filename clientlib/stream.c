/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: make, list, describe, change, delete. */
#include "clientlib/bus.h"
#include "clientlib/describe.h"

void leat_stream_options_init(struct leat_stream_options *options)
{
	*options = (struct leat_stream_options){
		.size = sizeof(*options),
		.n_shards = 1,
		.mode = 0600,
		.ring_len = 16 * MIB,
		.claim_timeout_ns = 10 * NS_PER_S,
	};
}

/* One request to the daemon. Takes the request, NULL says that it could not be made. */
static int ask(struct leat_bus *bus, json_t *request, struct control_reply *reply,
	       struct detail *detail)
{
	cleanup_with(control_decref) json_t *owned = request;
	struct deadline deadline = DEADLINE(bus->control.timeout_ns);

	if (!bus_alive(bus))
		return bus_forked(detail);
	if (!owned)
		return detail_fail(detail, -EINVAL,
				   "a name or value is missing, or is not valid UTF-8, or "
				   "there is no memory");
	return control_request(&bus->control, owned, &deadline, reply, detail);
}

/* The same where the reply says nothing but yes. */
static int ask_only(struct leat_bus *bus, json_t *request)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	struct detail detail = { "" };
	int r = ask(bus, request, &reply, &detail);

	control_reply_deinit(&reply);
	return bus_done(bus, r, &detail);
}

int leat_stream_create(struct leat_bus *bus, const char *name,
		       const struct leat_stream_options *options)
{
	struct leat_stream_options taken = { .size = sizeof(taken) };
	struct control_reply reply = CONTROL_REPLY_NULL;
	struct detail detail = { "" };
	json_t *fields;
	int r = bus_take_options(&taken, sizeof(taken), options, "leat_stream_options", &detail);

	if (r < 0)
		return bus_done(bus, r, &detail);
	fields = describe_options(&taken, &detail);
	if (!fields)
		return bus_done(bus, -EINVAL, &detail);
	r = ask(bus,
		json_pack("{s:s, s:s, s:o}", "op", "create", "stream", name, "options", fields),
		&reply, &detail);
	control_reply_deinit(&reply);
	return bus_done(bus, r, &detail);
}

int leat_stream_describe(struct leat_bus *bus, const char *name, struct leat_stream_info **ret_info)
{
	struct deadline deadline = DEADLINE(bus->control.timeout_ns);
	struct detail detail = { "" };
	int r;

	if (!bus_alive(bus))
		return -EPERM;
	r = describe(&bus->control, name, &deadline, ret_info, &detail);
	return bus_done(bus, r, &detail);
}

static int by_name(const void *a, const void *b)
{
	const struct leat_stream_info *const *first = a, *const *second = b;

	return strcmp((*first)->name, (*second)->name);
}

static int parse_list(const json_t *array, struct leat_stream_info ***ret_list)
{
	size_t n = json_array_size(array), i;
	struct leat_stream_info **list;
	int r;

	if (n > INT32_MAX)
		return -EBADMSG;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		r = describe_parse(json_array_get(array, i), &list[i]);
		if (r < 0) {
			leat_stream_list_free(list, (int)i);
			return r;
		}
	}
	qsort(list, n, sizeof(*list), by_name);
	*ret_list = list;
	return (int)n;
}

int leat_stream_list(struct leat_bus *bus, struct leat_stream_info ***ret_list)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	struct detail detail = { "" };
	int r = ask(bus, json_pack("{s:s}", "op", "list"), &reply, &detail);

	if (r == 0)
		r = parse_list(json_object_get(reply.object, "streams"), ret_list);
	if (r == -EBADMSG)
		detail_fail(&detail, r, "the daemon's list of streams makes no sense");
	control_reply_deinit(&reply);
	return bus_done(bus, r, &detail);
}

struct leat_stream_info **leat_stream_list_free(struct leat_stream_info **list, int n)
{
	int i;

	for (i = 0; list && i < n; i++)
		leat_stream_info_free(list[i]);
	free(list);
	return NULL;
}

int leat_stream_alter(struct leat_bus *bus, const char *name, const char *key, const char *value)
{
	return ask_only(bus, json_pack("{s:s, s:s, s:s, s:s}", "op", "set", "stream", name, "key",
				       key, "value", value));
}

int leat_stream_delete(struct leat_bus *bus, const char *name)
{
	return ask_only(bus, json_pack("{s:s, s:s}", "op", "remove", "stream", name));
}

int leat_stat_json(struct leat_bus *bus, const char *stream, char **ret_json)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	struct detail detail = { "" };
	json_t *request = stream ? json_pack("{s:s, s:s}", "op", "stat", "stream", stream)
				 : json_pack("{s:s}", "op", "stat");
	char *text = NULL;
	int r = ask(bus, request, &reply, &detail);

	if (r == 0) {
		json_object_del(reply.object, "ok");
		json_object_del(reply.object, "id");
		text = json_dumps(reply.object, JSON_COMPACT);
		r = text ? 0 : -ENOMEM;
	}
	control_reply_deinit(&reply);
	if (r == 0)
		*ret_json = text;
	return bus_done(bus, r, &detail);
}
