/* SPDX-License-Identifier: Apache-2.0 */
/* leat sub: follows a stream and prints what comes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/print.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	SUB_RUN = 1024,           /* messages taken at once */
	SUB_CHECKPOINT_MS = 1000, /* a named subscriber's position is stored so often */
};

static const char help[] =
	"usage: leat sub [OPTION...] STREAM\n"
	"\n"
	"Follows a stream: prints each record as it comes, until interrupted.\n"
	"\n"
	"  -o, --offset WHERE      earliest, latest (default), a position, or @TIME: ISO 8601,\n"
	"                          seconds or milliseconds since 1970, @-10m for ten minutes ago\n"
	"  -e, --exit              stop at the end as it is now\n"
	"      --isolation LEVEL   only records that are in the ring (default), written or\n"
	"                          durable\n"
	"      --name NAME         go on where NAME last was; -o counts the first time only\n"
	/* what replay has as well */ PRINT_OPTIONS_HELP
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"examples:\n"
	"  leat sub events -o earliest -e -f '%p %o %k %s\\n'\n"
	"  leat sub events -J | jq .value\n"
	"  leat sub events -o @-1h --name nightly-report\n";

struct sub {
	struct print print;
	struct leat_subscriber *subscriber;
	const char *name;
	uint64_t checkpoint_ns; /* when the last one was stored */
	uint64_t n_stored;      /* records printed then */
};

static int handle(void *context, const struct leat_message *message)
{
	struct sub *sub = context;

	return print_message(&sub->print, message) != 0;
}

/* Only what has been written out counts as seen. */
static int checkpoint(struct sub *sub)
{
	int rc;

	if (!sub->name)
		return 0;
	sub->checkpoint_ns = tool_monotonic_ns();
	if (out_flush(&sub->print.out) != 0)
		return 0;
	rc = leat_checkpoint(sub->subscriber);
	if (rc == 0)
		sub->n_stored = sub->print.n_printed;
	return rc;
}

/* How long until the position has to be stored: never, while it does not move. */
static uint64_t checkpoint_due_ns(const struct sub *sub)
{
	uint64_t due = sub->checkpoint_ns + SUB_CHECKPOINT_MS * UINT64_C(1000000);
	uint64_t now = tool_monotonic_ns();

	if (!sub->name || sub->print.n_printed == sub->n_stored)
		return LEAT_FOREVER;
	return due > now ? due - now : 0;
}

static void checkpoint_when_due(struct sub *sub)
{
	/* Without a daemon it fails; the next one comes in a second. */
	if (checkpoint_due_ns(sub) == 0)
		checkpoint(sub);
}

static int take_run(struct sub *sub, uint64_t timeout_ns)
{
	uint64_t left = sub->print.max - sub->print.n_printed;

	return leat_poll(sub->subscriber, handle, sub, left < SUB_RUN ? left : SUB_RUN, timeout_ns);
}

/* Returns 0 when it is done, a negative errno when the stream cannot be followed any more. */
static int follow(struct sub *sub)
{
	struct print *print = &sub->print;
	int rc;

	while (!tool_stopping() && !print_is_full(print)) {
		rc = take_run(sub, 0);
		if (rc == -ETIMEDOUT || rc == -EAGAIN) {
			/* Nothing more right now: whoever reads our output gets what there is. */
			out_flush(&print->out);
			if (out_reader_is_gone(&print->out))
				break;
			rc = take_run(sub, checkpoint_due_ns(sub));
		}
		if (print->out.error || rc == 0)
			break;
		if (rc < 0 && rc != -ETIMEDOUT && rc != -EAGAIN && rc != -EINTR)
			return rc;
		checkpoint_when_due(sub);
	}
	return 0;
}

static int run(struct sub *sub, const struct leat_subscriber_options *options)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	int status = TOOL_OK, rc;

	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	rc = leat_subscriber_open(bus, sub->print.stream, options, &sub->subscriber);
	if (rc < 0)
		return tool_bus_error(bus, rc, sub->print.stream);
	tool_catch_signals();
	tool_watch_reader(sub->print.out.fd);
	sub->checkpoint_ns = tool_monotonic_ns();
	rc = follow(sub);
	tool_calm();
	status = print_finish(&sub->print, TOOL_OK);
	if (rc < 0) {
		const char *detail = leat_subscriber_detail(sub->subscriber);

		tool_error("%s: %s", sub->print.stream,
			   detail && *detail ? detail : leat_strerror(rc));
		status = TOOL_FAILED;
	}
	rc = sub->print.out.error ? 0 : checkpoint(sub);
	if (rc < 0) {
		tool_error("the position of \"%s\" could not be stored: %s", sub->name,
			   leat_strerror(rc));
		status = TOOL_FAILED;
	}
	tool_close_subscriber(&sub->subscriber);
	return status;
}

enum {
	OPT_ISOLATION = TOOL_OPTION,
	OPT_NAME,
};

static int take_where(struct leat_subscriber_options *to, const char *text)
{
	struct units_where where;

	if (units_parse_where(text, tool_now_ns(), &where) < 0)
		return tool_usage("\"%s\" is not earliest, latest, a position or @TIME", text);
	to->start = where.where;
	to->start_value = where.value;
	return -1;
}

static int take_isolation(struct leat_subscriber_options *to, const char *text)
{
	static const char *const names[] = { "ring", "written", "durable" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			to->isolation = (enum leat_isolation)i;
			return -1;
		}
	}
	return tool_usage("--isolation \"%s\" is not ring, written or durable", text);
}

/* One option; -1 when parsing goes on, otherwise the exit status. */
static int take_option(struct sub *sub, struct leat_subscriber_options *to, int c, char **argv)
{
	int rc;

	switch (c) {
	case 'o':
		return take_where(to, optarg);
	case 'e':
		to->stop = LEAT_LATEST;
		return -1;
	case OPT_ISOLATION:
		return take_isolation(to, optarg);
	case OPT_NAME:
		to->name = sub->name = optarg;
		return -1;
	}
	rc = print_option(&sub->print, c, optarg);
	if (rc == -ENOENT)
		return tool_common_option(c, argv, help);
	return rc < 0 ? TOOL_USAGE : -1;
}

static int parse_and_run(struct sub *sub, int argc, char **argv)
{
	static const struct option options[] = {
		{ "offset", required_argument, NULL, 'o' },
		{ "exit", no_argument, NULL, 'e' },
		{ "isolation", required_argument, NULL, OPT_ISOLATION },
		{ "name", required_argument, NULL, OPT_NAME },
		PRINT_LONG_OPTIONS,
		TOOL_LONG_OPTIONS,
	};
	struct leat_subscriber_options to;
	int c, status;

	leat_subscriber_options_init(&to);
	to.stop = LEAT_NEVER;
	while ((c = getopt_long(argc, argv, ":o:e" PRINT_SHORT_OPTIONS TOOL_SHORT_OPTIONS, options,
				NULL)) != -1) {
		status = take_option(sub, &to, c, argv);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return tool_usage("which stream?");
	if (optind + 1 < argc)
		return tool_usage("one stream at a time, \"%s\" is one too many", argv[optind + 1]);
	status = print_ready(&sub->print, argv[optind]);
	if (status != TOOL_OK)
		return status;
	to.shard = sub->print.shard;
	return run(sub, &to);
}

int cmd_sub(int argc, char **argv)
{
	struct sub sub = { 0 };
	int status = TOOL_FAILED;

	if (print_init(&sub.print) < 0)
		tool_error("out of memory");
	else
		status = parse_and_run(&sub, argc, argv);
	print_deinit(&sub.print);
	return status;
}
