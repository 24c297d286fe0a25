/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/tool.h"

/* The bench's own process number keeps apart two benches that share a bus. */
static void name_stream(char *name, const char *what, pid_t pid)
{
	snprintf(name, BENCH_STREAM_NAME_LEN, "bench-%d-%s", (int)pid, what);
}

static int connect_bus(struct bench_env *env, struct leat_bus **ret_bus)
{
	struct leat_connect_options options = {
		.size = sizeof(options),
		.client = "leat bench",
		.detail = env->error,
		.detail_len = sizeof(env->error),
	};
	int rc = leat_connect(env->bus, &options, ret_bus);

	if (rc < 0 && !env->error[0])
		snprintf(env->error, sizeof(env->error), "cannot connect to %s: %s", env->bus,
			 leat_strerror(rc));
	return rc;
}

void bench_stream_name(const char *what, char name[BENCH_STREAM_NAME_LEN])
{
	name_stream(name, what, getpid());
}

int bench_stream_exists(struct bench_env *env, const char *what)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	cleanup_with(tool_free_info) struct leat_stream_info *info = NULL;
	char name[BENCH_STREAM_NAME_LEN];
	int rc = connect_bus(env, &bus);

	if (rc < 0)
		return rc;
	name_stream(name, what, getpid());
	rc = leat_stream_describe(bus, name, &info);
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

void bench_stream_memory(struct leat_stream_options *options)
{
	leat_stream_options_init(options);
	options->memory = 1;
	options->ring_len = BENCH_STREAM_RING_LEN;
}

int bench_stream_create(struct bench_env *env, const char *what,
			const struct leat_stream_options *options)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	char name[BENCH_STREAM_NAME_LEN];
	int rc = connect_bus(env, &bus);

	if (rc < 0)
		return rc;
	name_stream(name, what, getpid());
	leat_stream_delete(bus, name);
	rc = leat_stream_create(bus, name, options);
	if (rc < 0)
		snprintf(env->error, sizeof(env->error), "%s", leat_detail(bus));
	return rc;
}

void bench_stream_delete(struct bench_env *env, const char *what)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	char name[BENCH_STREAM_NAME_LEN], error[sizeof(env->error)];

	name_stream(name, what, getpid());
	memcpy(error, env->error, sizeof(error));
	if (connect_bus(env, &bus) >= 0)
		leat_stream_delete(bus, name);
	memcpy(env->error, error, sizeof(error));
}

int bench_stream_fail(struct bench_link *link, int error, const char *what)
{
	const char *detail = "";

	if (link->publisher)
		detail = leat_publisher_detail(link->publisher);
	if (!*detail && link->subscriber)
		detail = leat_subscriber_detail(link->subscriber);
	if (!*detail && link->bus)
		detail = leat_detail(link->bus);
	return bench_team_fail(link->team, link->me, error, "%s: %s%s%s", what,
			       leat_strerror(error), *detail ? ": " : "", detail);
}

int bench_stream_connect(struct bench_link *link, struct bench_team *team, int me)
{
	struct bench_env *env = team->env;
	int rc;

	*link = (struct bench_link){ .team = team, .me = me };
	env->error[0] = '\0';
	rc = connect_bus(env, &link->bus);
	return rc < 0 ? bench_team_fail(team, me, rc, "%s", env->error) : 0;
}

int bench_stream_publish_to(struct bench_link *link, const char *what)
{
	char name[BENCH_STREAM_NAME_LEN];
	int rc;

	name_stream(name, what, getppid());
	rc = leat_publisher_open(link->bus, name, NULL, &link->publisher);
	return rc < 0 ? bench_stream_fail(link, rc, "cannot open a publisher") : 0;
}

int bench_stream_subscribe_to(struct bench_link *link, const char *what, uint64_t spin_ns)
{
	struct leat_subscriber_options options;

	leat_subscriber_options_init(&options);
	options.start = LEAT_LATEST;
	options.spin_ns = spin_ns;
	return bench_stream_subscribe_as(link, what, &options);
}

int bench_stream_subscribe_as(struct bench_link *link, const char *what,
			      const struct leat_subscriber_options *options)
{
	char name[BENCH_STREAM_NAME_LEN];
	int rc;

	name_stream(name, what, getppid());
	rc = leat_subscriber_open(link->bus, name, options, &link->subscriber);
	return rc < 0 ? bench_stream_fail(link, rc, "cannot open a subscriber") : 0;
}

void bench_stream_close(struct bench_link *link)
{
	tool_close_publisher(&link->publisher);
	tool_close_subscriber(&link->subscriber);
	tool_close_bus(&link->bus);
}
