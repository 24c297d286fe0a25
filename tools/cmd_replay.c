/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leat replay: history, in the order of its timestamps across shards, as fast as it can or as it
 * happened, printed or published again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/print.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	REPLAY_SLICE_MS = 200
};

static const char help[] =
	"usage: leat replay [OPTION...] STREAM\n"
	"\n"
	"Prints what a stream keeps, several shards in the order of their timestamps, and ends.\n"
	"\n"
	"      --from WHERE        earliest (default), a position, or @TIME: ISO 8601, seconds or\n"
	"                          milliseconds since 1970, @-10m for ten minutes ago\n"
	"      --to WHERE          up to there, itself excluded (default latest, as it is now)\n"
	"      --speed SPEED       max (default), 1x as it happened, 10x ten times as fast\n"
	"      --into STREAM       publish it to STREAM, with key, headers and event time\n"
	/* what sub has as well */ PRINT_OPTIONS_HELP
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"examples:\n"
	"  leat replay events --from @-1h --to @-30m -J\n"
	"  leat replay events --from @2026-01-31T08:00 --speed 10x --into events-test\n";

/* One shard and its next message. */
struct source {
	struct leat_subscriber *subscriber;
	struct leat_message message;
	bool has_message;
	bool ended;
};

struct replay {
	struct print print;
	struct leat_bus *bus;
	struct source *sources;
	size_t n_sources;
	struct units_where from;
	struct units_where to;
	double speed;      /* 0 = max */
	uint64_t first_ns; /* timestamp of the first record */
	uint64_t start_ns; /* when it was given, monotonic */
	const char *into;
	struct leat_publisher *publisher;
	struct leat_header *headers;
	size_t n_headers_cap;
	bool into_memory;
	uint64_t n_published;
};

static int subscriber_error(const struct replay *replay, const struct source *source, int error)
{
	const char *detail = leat_subscriber_detail(source->subscriber);

	out_flush((struct out *)&replay->print.out);
	tool_error("%s: %s", replay->print.stream,
		   detail && *detail ? detail : leat_strerror(error));
	return error;
}

/* Sees to it that the source has a message or has ended. */
static int fill(struct replay *replay, struct source *source)
{
	int rc;

	while (!source->has_message && !source->ended) {
		rc = leat_next(source->subscriber, REPLAY_SLICE_MS * UINT64_C(1000000),
			       &source->message);
		if (tool_stopping())
			return -EINTR;
		if (rc == 1)
			source->has_message = true;
		else if (rc == 0)
			source->ended = true;
		else if (rc != -ETIMEDOUT && rc != -EINTR && rc != -EAGAIN)
			return subscriber_error(replay, source, rc);
	}
	return 0;
}

/* The source whose message is the oldest; NULL when all have ended. */
static int choose(struct replay *replay, struct source **ret_source)
{
	struct source *source, *best = NULL;
	size_t i;
	int rc;

	for (i = 0; i < replay->n_sources; i++) {
		source = &replay->sources[i];
		rc = fill(replay, source);
		if (rc < 0)
			return rc;
		if (!source->ended &&
		    (!best || source->message.timestamp_ns < best->message.timestamp_ns))
			best = source;
	}
	*ret_source = best;
	return 0;
}

/* Sleeps until the message is due; -EINTR when asked to stop. */
static int pace(struct replay *replay, const struct leat_message *message)
{
	uint64_t now = tool_monotonic_ns(), due, after;
	struct timespec ts;

	if (replay->speed == 0 || message->kind != LEAT_RECORD)
		return 0;
	if (replay->first_ns == 0) {
		replay->first_ns = message->timestamp_ns;
		replay->start_ns = now;
	}
	after = message->timestamp_ns > replay->first_ns ? message->timestamp_ns - replay->first_ns
							 : 0;
	due = replay->start_ns + (uint64_t)((double)after / replay->speed);
	if (due <= now)
		return 0;
	out_flush(&replay->print.out);
	ts.tv_sec = (time_t)(due / 1000000000u);
	ts.tv_nsec = (long)(due % 1000000000u);
	while (!tool_stopping() &&
	       clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
	return tool_stopping() ? -EINTR : 0;
}

static int take_headers(struct replay *replay, const struct leat_message *message,
			struct leat_record *record)
{
	struct leat_header header, *headers;
	uint32_t off = 0;
	size_t n = 0, cap;

	while (message->headers_len > 0 && leat_message_header(message, &off, &header) == 1) {
		if (n == replay->n_headers_cap) {
			cap = n ? 2 * n : 16;
			headers = reallocarray(replay->headers, cap, sizeof(*headers));
			if (!headers)
				return -ENOMEM;
			replay->headers = headers;
			replay->n_headers_cap = cap;
		}
		replay->headers[n++] = header;
	}
	record->headers = replay->headers;
	record->n_headers = n;
	return 0;
}

static int publisher_error(const struct replay *replay, int error)
{
	const char *detail = leat_publisher_detail(replay->publisher);

	tool_error("%s: %s", replay->into, detail && *detail ? detail : leat_strerror(error));
	return error;
}

static int publish(struct replay *replay, const struct leat_message *message)
{
	struct leat_record record = {
		.key = message->key,
		.key_len = message->key_len,
		.value = message->value,
		.value_len = message->value_len,
		.event_time_ns = message->event_time_ns ? message->event_time_ns
							: message->timestamp_ns,
		.shard = LEAT_SHARD_ANY,
	};
	int rc;

	rc = take_headers(replay, message, &record);
	/* Without a key, what was in one shard stays in one, so that its order is kept. */
	if (message->key_len == 0)
		record.shard =
			(int32_t)(message->shard % leat_publisher_n_shards(replay->publisher));
	while (rc == 0) {
		rc = leat_publish_timed(replay->publisher, &record,
					REPLAY_SLICE_MS * UINT64_C(1000000), NULL);
		if (rc >= 0)
			break;
		if (rc != -ETIMEDOUT && rc != -EAGAIN && rc != -EINTR)
			return publisher_error(replay, rc);
		rc = tool_stopping() ? -EINTR : 0;
	}
	if (rc >= 0)
		replay->n_published++;
	return rc;
}

static int handle(struct replay *replay, const struct leat_message *message)
{
	if (!replay->into)
		return print_message(&replay->print, message);
	if (message->kind == LEAT_RECORD) {
		replay->print.n_printed++;
		return publish(replay, message);
	}
	if (!replay->print.quiet)
		tool_error("gap: stream %s shard %u positions %llu..%llu (%s)",
			   replay->print.stream, message->shard, (unsigned long long)message->pos,
			   (unsigned long long)message->next_pos,
			   print_gap_reason(message->reason));
	return 0;
}

/* Returns 0 at the end, or negative errno: -EINTR to stop, others have been told. */
static int play(struct replay *replay)
{
	struct source *source = NULL;
	int rc = 0;

	while (rc == 0 && !print_is_full(&replay->print)) {
		rc = choose(replay, &source);
		if (rc < 0 || !source)
			break;
		rc = pace(replay, &source->message);
		if (rc == 0)
			rc = handle(replay, &source->message);
		source->has_message = false;
		if (tool_stopping())
			rc = -EINTR;
	}
	return rc;
}

/* What was published again is acknowledged before the command ends. */
static int flush_published(struct replay *replay)
{
	enum leat_ack level = replay->into_memory ? LEAT_ACK_RING : LEAT_ACK_DURABLE;
	int rc;

	do {
		rc = leat_flush(replay->publisher, level, REPLAY_SLICE_MS * UINT64_C(1000000));
	} while (rc == -ETIMEDOUT || rc == -EINTR);
	return rc < 0 ? publisher_error(replay, rc) : 0;
}

/* History ends now: what would be waited for is cut to the end as it is. */
static void set_stop(const struct replay *replay, const struct leat_shard_info *shard,
		     struct leat_subscriber_options *options)
{
	options->stop = replay->to.where;
	options->stop_value = replay->to.value;
	if ((options->stop == LEAT_TIME && options->stop_value > tool_now_ns()) ||
	    (options->stop == LEAT_POSITION && options->stop_value > shard->latest))
		options->stop = LEAT_LATEST;
}

static int open_sources(struct replay *replay)
{
	cleanup_with(tool_free_info) struct leat_stream_info *info = NULL;
	struct leat_subscriber_options options;
	const char *stream = replay->print.stream;
	int32_t only = replay->print.shard;
	size_t i, shard;
	int rc;

	rc = leat_stream_describe(replay->bus, stream, &info);
	if (rc < 0)
		return tool_bus_error(replay->bus, rc, stream);
	if (only >= 0 && (size_t)only >= info->n_shards) {
		tool_error("stream \"%s\" has no shard %d, only 0 to %zu", stream, only,
			   info->n_shards - 1);
		return TOOL_FAILED;
	}
	replay->n_sources = only >= 0 ? 1 : info->n_shards;
	replay->sources = calloc(replay->n_sources, sizeof(*replay->sources));
	if (!replay->sources) {
		tool_error("out of memory");
		return TOOL_FAILED;
	}
	for (i = 0; i < replay->n_sources; i++) {
		shard = only >= 0 ? (size_t)only : i;
		leat_subscriber_options_init(&options);
		options.shard = (int32_t)shard;
		options.start = replay->from.where;
		options.start_value = replay->from.value;
		set_stop(replay, &info->shards[shard], &options);
		rc = leat_subscriber_open(replay->bus, stream, &options,
					  &replay->sources[i].subscriber);
		if (rc < 0)
			return tool_bus_error(replay->bus, rc, stream);
	}
	return TOOL_OK;
}

static int open_into(struct replay *replay)
{
	cleanup_with(tool_free_info) struct leat_stream_info *info = NULL;
	int rc;

	if (!replay->into)
		return TOOL_OK;
	rc = leat_stream_describe(replay->bus, replay->into, &info);
	if (rc < 0)
		return tool_bus_error(replay->bus, rc, replay->into);
	replay->into_memory = info->options.memory != 0;
	rc = leat_publisher_open(replay->bus, replay->into, NULL, &replay->publisher);
	return rc < 0 ? tool_bus_error(replay->bus, rc, replay->into) : TOOL_OK;
}

static int run(struct replay *replay)
{
	int status, rc;

	if (tool_connect(&replay->bus) < 0)
		return TOOL_FAILED;
	status = open_into(replay);
	if (status == TOOL_OK)
		status = open_sources(replay);
	if (status != TOOL_OK)
		return status;
	tool_catch_signals();
	rc = play(replay);
	/* An error of standard output is told here, all others have been. */
	status = print_finish(&replay->print, TOOL_OK);
	if (rc < 0 && rc != -EPIPE && rc != -EINTR)
		status = TOOL_FAILED;
	if (replay->n_published > 0 && flush_published(replay) < 0)
		status = TOOL_FAILED;
	return rc == -EINTR ? tool_die_of_signal() : status;
}

enum {
	OPT_FROM = TOOL_OPTION,
	OPT_TO,
	OPT_SPEED,
	OPT_INTO,
};

static int take_where(struct units_where *where, const char *text)
{
	if (units_parse_where(text, tool_now_ns(), where) < 0)
		return tool_usage("\"%s\" is not earliest, latest, a position or @TIME", text);
	return -1;
}

/* One option; -1 when parsing goes on, otherwise the exit status. */
static int take_option(struct replay *replay, int c, char **argv)
{
	int rc;

	switch (c) {
	case OPT_FROM:
		return take_where(&replay->from, optarg);
	case OPT_TO:
		return take_where(&replay->to, optarg);
	case OPT_SPEED:
		if (units_parse_speed(optarg, &replay->speed) == 0)
			return -1;
		return tool_usage("speed \"%s\" is not max or a factor such as 10x", optarg);
	case OPT_INTO:
		replay->into = optarg;
		return -1;
	}
	rc = print_option(&replay->print, c, optarg);
	if (rc == -ENOENT)
		return tool_common_option(c, argv, help);
	return rc < 0 ? TOOL_USAGE : -1;
}

static int parse_and_run(struct replay *replay, int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", required_argument, NULL, OPT_FROM },
		{ "to", required_argument, NULL, OPT_TO },
		{ "speed", required_argument, NULL, OPT_SPEED },
		{ "into", required_argument, NULL, OPT_INTO },
		PRINT_LONG_OPTIONS,
		TOOL_LONG_OPTIONS,
	};
	const struct print *print = &replay->print;
	int c, status;

	while ((c = getopt_long(argc, argv, ":" PRINT_SHORT_OPTIONS TOOL_SHORT_OPTIONS, options,
				NULL)) != -1) {
		status = take_option(replay, c, argv);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return tool_usage("which stream?");
	if (optind + 1 < argc)
		return tool_usage("one stream at a time, \"%s\" is one too many", argv[optind + 1]);
	if (replay->into && (print->json || print->has_format || print->has_delim))
		return tool_usage("--into publishes and prints nothing: leave out -J, -f, -K, -D");
	if (replay->to.where == LEAT_EARLIEST)
		return tool_usage("--to earliest leaves nothing to replay");
	status = print_ready(&replay->print, argv[optind]);
	return status == TOOL_OK ? run(replay) : status;
}

int cmd_replay(int argc, char **argv)
{
	struct replay replay = { .from = { .where = LEAT_EARLIEST },
				 .to = { .where = LEAT_LATEST } };
	int status = TOOL_FAILED;
	size_t i;

	if (print_init(&replay.print) < 0)
		tool_error("out of memory");
	else
		status = parse_and_run(&replay, argc, argv);
	for (i = 0; replay.sources && i < replay.n_sources; i++)
		leat_subscriber_close(replay.sources[i].subscriber);
	leat_publisher_close(replay.publisher);
	leat_close(replay.bus);
	free(replay.sources);
	free(replay.headers);
	print_deinit(&replay.print);
	return status;
}
