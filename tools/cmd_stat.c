/* SPDX-License-Identifier: Apache-2.0 */
/* leat stat: the state of the bus and its streams, once. */
#include <stdio.h>
#include <string.h>

#include "tools/state.h"
#include "tools/table.h"
#include "tools/tool.h"
#include "tools/units.h"

static const char help[] =
	"usage: leat stat [--json] [STREAM]\n"
	"\n"
	"Shows the bus and each stream (or one): positions, rates over a fifth of a second,\n"
	"publishers, named subscribers, tombstones, damage and gaps.\n"
	"\n"
	"      --json              one JSON object: that of the daemon and the rates\n"
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"columns: EARLIEST to LATEST is what is kept; WRITTEN is in the page cache, DURABLE on\n"
	"stable storage; TOMBS are records whose publisher died before it finished them.\n"
	"\n"
	"example:\n"
	"  leat stat --json events | jq '.streams[0].shards[0].durable'\n";

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_bus(const json_t *bus)
{
	char uptime[UNITS_TEXT_LEN];

	if (!bus)
		return;
	printf("bus: leatd %s, pid %llu, up %s, %llu client%s, %s, %llu drain thread%s\n",
	       state_text(bus, "version"), (unsigned long long)state_u64(bus, "pid"),
	       units_show_time(state_u64(bus, "uptime_ns"), uptime),
	       (unsigned long long)state_u64(bus, "clients"), plural(state_u64(bus, "clients")),
	       state_text(bus, "io"), (unsigned long long)state_u64(bus, "drain_threads"),
	       plural(state_u64(bus, "drain_threads")));
	printf("     runtime %s, data %s\n", state_text(bus, "runtime"), state_text(bus, "data"));
}

static void print_title(const json_t *stream)
{
	const json_t *options = json_object_get(stream, "options");
	char ring[UNITS_TEXT_LEN], age[UNITS_TEXT_LEN], size[UNITS_TEXT_LEN];
	uint64_t retain_ns = state_u64(options, "retain_ns");
	uint64_t retain_len = state_u64(options, "retain_len");
	size_t n_shards = json_array_size(json_object_get(stream, "shards"));

	printf("\nstream %s: %zu shard%s, ring %s", state_text(stream, "name"), n_shards,
	       plural(n_shards), units_exact_size(state_u64(options, "ring"), ring));
	if (json_is_true(json_object_get(options, "memory")))
		printf(", memory-only");
	else if (!retain_ns && !retain_len)
		printf(", kept for ever");
	if (retain_ns)
		printf(", kept %s", units_exact_time(retain_ns, age));
	if (retain_len)
		printf(", at most %s", units_exact_size(retain_len, size));
	putchar('\n');
}

static void cell_number(struct table *table, const json_t *object, const char *name)
{
	table_cell(table, "%llu", (unsigned long long)state_u64(object, name));
}

static void print_shards(const json_t *stream)
{
	char kept[UNITS_TEXT_LEN], records[UNITS_TEXT_LEN], bytes[UNITS_TEXT_LEN];
	const json_t *shards = json_object_get(stream, "shards");
	struct table table;
	json_t *shard;
	size_t i;

	table_init(&table, "  ",
		   "+SHARD +EARLIEST +LATEST +WRITTEN +DURABLE +KEPT +RECORDS +RECORDS/S "
		   "+BYTES/S +PUBS +TOMBS +DAMAGED +GAPS STATE");
	json_array_foreach(shards, i, shard) {
		cell_number(&table, shard, "shard");
		cell_number(&table, shard, "earliest");
		cell_number(&table, shard, "latest");
		cell_number(&table, shard, "written");
		cell_number(&table, shard, "durable");
		table_cell(&table, "%s", units_show_size(state_u64(shard, "kept_bytes"), kept));
		cell_number(&table, shard, "records");
		table_cell(&table, "%s",
			   units_show_count(state_real(shard, "records_per_s"), records));
		table_cell(&table, "%s",
			   units_show_size((uint64_t)state_real(shard, "bytes_per_s"), bytes));
		cell_number(&table, shard, "publishers");
		cell_number(&table, shard, "tombstones");
		cell_number(&table, shard, "damaged");
		cell_number(&table, shard, "gaps");
		table_cell(&table, "%s", state_text(shard, "state"));
	}
	table_print(&table, stdout);
	table_deinit(&table);
	json_array_foreach(shards, i, shard) {
		if (*state_text(shard, "error"))
			printf("  shard %llu: %s\n", (unsigned long long)state_u64(shard, "shard"),
			       state_text(shard, "error"));
	}
}

static void print_subscribers(const json_t *stream)
{
	const json_t *subscribers = json_object_get(stream, "subscribers");
	char lag[UNITS_TEXT_LEN];
	struct table table;
	json_t *subscriber;
	size_t i;

	if (json_array_size(subscribers) == 0)
		return;
	table_init(&table, "  ", "SUBSCRIBER +SHARD +POSITION +LAG READS-FROM");
	json_array_foreach(subscribers, i, subscriber) {
		table_cell(&table, "%s", state_text(subscriber, "name"));
		cell_number(&table, subscriber, "shard");
		cell_number(&table, subscriber, "position");
		table_cell(&table, "%s", units_show_size(state_u64(subscriber, "lag"), lag));
		table_cell(&table, "%s", state_text(subscriber, "where"));
	}
	table_print(&table, stdout);
	table_deinit(&table);
}

static void print_publishers(const json_t *stream)
{
	const json_t *publishers = json_object_get(stream, "publishers");
	char bytes[UNITS_TEXT_LEN];
	struct table table;
	json_t *publisher;
	size_t i;

	if (json_array_size(publishers) == 0)
		return;
	table_init(&table, "  ", "PUBLISHER +PID +UID +SHARD +SLOT +RECORDS +BYTES");
	json_array_foreach(publishers, i, publisher) {
		table_cell(&table, "%s", state_text(publisher, "client"));
		cell_number(&table, publisher, "pid");
		cell_number(&table, publisher, "uid");
		cell_number(&table, publisher, "shard");
		cell_number(&table, publisher, "slot");
		cell_number(&table, publisher, "records");
		table_cell(&table, "%s", units_show_size(state_u64(publisher, "bytes"), bytes));
	}
	table_print(&table, stdout);
	table_deinit(&table);
}

static void print_state(const struct state *state)
{
	json_t *stream;
	size_t i;

	print_bus(json_object_get(state->root, "bus"));
	json_array_foreach(state->streams, i, stream) {
		print_title(stream);
		print_shards(stream);
		print_subscribers(stream);
		print_publishers(stream);
	}
}

int cmd_stat(int argc, char **argv)
{
	enum {
		OPT_JSON = TOOL_OPTION
	};
	static const struct option options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		TOOL_LONG_OPTIONS,
	};
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	cleanup_with(state_free) struct state state = { 0 };
	bool json = false;
	int c, status;

	while ((c = getopt_long(argc, argv, ":" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = c == OPT_JSON ? -1 : tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
		json |= c == OPT_JSON;
	}
	if (optind + 1 < argc)
		return tool_usage("one stream, or none for all");
	if (tool_connect(&bus) < 0 || state_take_with_rates(bus, argv[optind], &state) < 0)
		return TOOL_FAILED;
	if (json) {
		json_dumpf(state.root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
		putchar('\n');
	} else {
		print_state(&state);
	}
	return tool_flush_stdout(TOOL_OK);
}
