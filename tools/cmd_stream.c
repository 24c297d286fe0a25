/* SPDX-License-Identifier: Apache-2.0 */
/* leat stream: create, ls, describe, set, rm. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/state.h"
#include "tools/table.h"
#include "tools/tool.h"
#include "tools/units.h"

static const char help[] =
	"usage: leat stream create [OPTION...] NAME\n"
	"       leat stream ls [--json]\n"
	"       leat stream describe [--json] NAME\n"
	"       leat stream set NAME KEY=VALUE...\n"
	"       leat stream rm NAME...\n"
	"\n"
	"Sizes take K, M, G (powers of 1024), times ns, us, ms, s, m, h, d.\n"
	"\n"
	"options of create:\n"
	"      --shards N          1 (default) to 128\n"
	"      --ring SIZE         of each shard, a power of two (default 16M)\n"
	"      --segment SIZE      of the files on disk (default 64M)\n"
	"      --retain-time T     delete what is older (default: keep)\n"
	"      --retain-size SIZE  delete the oldest beyond this (default: keep)\n"
	"      --sync POLICY       always (default), none, or a time: sync so often\n"
	"      --full POLICY       block (default) or fail when a ring is full\n"
	"      --on-disk-full P    stop (default) or drop-oldest\n"
	"      --memory            keep nothing on disk: the ring is all there is\n"
	"      --hash H            xxh3 (default) or md5: how keys choose shards\n"
	"      --checksum on|off   default on\n"
	"      --owner USER        default you\n"
	"      --group GROUP       default yours\n"
	"      --mode OCTAL        read = subscribe, write = publish (default 0600)\n"
	"      --claim-timeout T   how long a stopped publisher may hold a record (10s)\n"
	"      --rate-limit SIZE   bytes per second and shard (default: no limit)\n"
	"\n"
	"keys of set: retain-time, retain-size, sync, full, on-disk-full, ring, owner, group,\n"
	"mode, claim-timeout, rate-limit; values as above.\n"
	"\n"
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"examples:\n"
	"  leat stream create orders --shards 4 --retain-time 7d --retain-size 10G\n"
	"  leat stream set orders retain-time=30d mode=0640\n";

enum {
	OPT_SHARDS = TOOL_OPTION,
	OPT_RING,
	OPT_SEGMENT,
	OPT_RETAIN_TIME,
	OPT_RETAIN_SIZE,
	OPT_SYNC,
	OPT_FULL,
	OPT_ON_DISK_FULL,
	OPT_MEMORY,
	OPT_HASH,
	OPT_CHECKSUM,
	OPT_OWNER,
	OPT_GROUP,
	OPT_MODE,
	OPT_CLAIM_TIMEOUT,
	OPT_RATE_LIMIT,
	OPT_JSON,
};

static const char *const full_names[] = { "block", "fail", NULL };
static const char *const disk_full_names[] = { "stop", "drop-oldest", NULL };
static const char *const hash_names[] = { "xxh3", "md5", NULL };
static const char *const checksum_names[] = { "on", "off", NULL };

/* ---- create ---- */

static int bad_value(const char *option, const char *arg, const char *wanted)
{
	return tool_usage("--%s \"%s\" is not %s", option, arg, wanted);
}

/* The index of the word in names, which is also its value in leat.h. */
static int take_word(const char *option, const char *arg, const char *const *names, int *ret)
{
	char wanted[80] = "";
	int i;

	for (i = 0; names[i]; i++) {
		if (strcmp(arg, names[i]) == 0) {
			*ret = i;
			return -1;
		}
		snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "%s%s",
			 i > 0 ? " or " : "", names[i]);
	}
	return bad_value(option, arg, wanted);
}

static int take_size(const char *option, const char *arg, uint64_t *ret)
{
	if (units_parse_size(arg, ret) == 0)
		return -1;
	return bad_value(option, arg, "a size such as 64K, 16M or 1G");
}

static int take_time(const char *option, const char *arg, uint64_t *ret)
{
	if (units_parse_time(arg, ret) == 0)
		return -1;
	return bad_value(option, arg, "a time such as 100ms, 30s or 7d");
}

static int take_sync(const char *arg, struct leat_stream_options *to)
{
	if (strcmp(arg, "always") == 0) {
		to->sync = LEAT_SYNC_ALWAYS;
	} else if (strcmp(arg, "none") == 0) {
		to->sync = LEAT_SYNC_NONE;
	} else {
		if (units_parse_time(arg, &to->sync_ns) < 0)
			return bad_value("sync", arg, "always, none or a time such as 100ms");
		to->sync = to->sync_ns ? LEAT_SYNC_INTERVAL : LEAT_SYNC_ALWAYS;
	}
	return -1;
}

static int take_mode(const char *arg, struct leat_stream_options *to)
{
	char *end;
	unsigned long mode = strtoul(arg, &end, 8);

	if (*arg < '0' || *arg > '7' || *end || mode > 0777)
		return bad_value("mode", arg, "octal permissions such as 0640");
	to->mode = (uint32_t)mode;
	return -1;
}

static int take_shards(const char *arg, struct leat_stream_options *to)
{
	uint64_t n;

	if (units_parse_number(arg, &n) < 0 || n < 1 || n > UINT32_MAX)
		return bad_value("shards", arg, "a number from 1 on");
	to->n_shards = (uint32_t)n;
	return -1;
}

static int take_word_option(int c, struct leat_stream_options *to)
{
	int value = 0, status;

	switch (c) {
	case OPT_FULL:
		status = take_word("full", optarg, full_names, &value);
		to->full = (enum leat_full)value;
		return status;
	case OPT_ON_DISK_FULL:
		status = take_word("on-disk-full", optarg, disk_full_names, &value);
		to->on_disk_full = (enum leat_disk_full)value;
		return status;
	case OPT_HASH:
		status = take_word("hash", optarg, hash_names, &value);
		to->hash = (enum leat_hash)value;
		return status;
	default:
		return take_word("checksum", optarg, checksum_names, &to->no_checksum);
	}
}

/* One option of create; -1 when parsing goes on, otherwise the exit status. */
static int take_create_option(int c, char **argv, struct leat_stream_options *to)
{
	switch (c) {
	case OPT_SHARDS:
		return take_shards(optarg, to);
	case OPT_RING:
		return take_size("ring", optarg, &to->ring_len);
	case OPT_SEGMENT:
		return take_size("segment", optarg, &to->segment_len);
	case OPT_RETAIN_TIME:
		return take_time("retain-time", optarg, &to->retain_ns);
	case OPT_RETAIN_SIZE:
		return take_size("retain-size", optarg, &to->retain_len);
	case OPT_CLAIM_TIMEOUT:
		return take_time("claim-timeout", optarg, &to->claim_timeout_ns);
	case OPT_RATE_LIMIT:
		return take_size("rate-limit", optarg, &to->rate_limit);
	case OPT_SYNC:
		return take_sync(optarg, to);
	case OPT_FULL:
	case OPT_ON_DISK_FULL:
	case OPT_HASH:
	case OPT_CHECKSUM:
		return take_word_option(c, to);
	case OPT_MEMORY:
		to->memory = 1;
		return -1;
	case OPT_OWNER:
		to->owner = optarg;
		return -1;
	case OPT_GROUP:
		to->group = optarg;
		return -1;
	case OPT_MODE:
		return take_mode(optarg, to);
	default:
		return tool_common_option(c, argv, help);
	}
}

static int create(int argc, char **argv)
{
	static const struct option options[] = {
		{ "shards", required_argument, NULL, OPT_SHARDS },
		{ "ring", required_argument, NULL, OPT_RING },
		{ "segment", required_argument, NULL, OPT_SEGMENT },
		{ "retain-time", required_argument, NULL, OPT_RETAIN_TIME },
		{ "retain-size", required_argument, NULL, OPT_RETAIN_SIZE },
		{ "sync", required_argument, NULL, OPT_SYNC },
		{ "full", required_argument, NULL, OPT_FULL },
		{ "on-disk-full", required_argument, NULL, OPT_ON_DISK_FULL },
		{ "memory", no_argument, NULL, OPT_MEMORY },
		{ "hash", required_argument, NULL, OPT_HASH },
		{ "checksum", required_argument, NULL, OPT_CHECKSUM },
		{ "owner", required_argument, NULL, OPT_OWNER },
		{ "group", required_argument, NULL, OPT_GROUP },
		{ "mode", required_argument, NULL, OPT_MODE },
		{ "claim-timeout", required_argument, NULL, OPT_CLAIM_TIMEOUT },
		{ "rate-limit", required_argument, NULL, OPT_RATE_LIMIT },
		TOOL_LONG_OPTIONS,
	};
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	struct leat_stream_options to;
	int c, status, rc;

	leat_stream_options_init(&to);
	while ((c = getopt_long(argc, argv, ":" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = take_create_option(c, argv, &to);
		if (status >= 0)
			return status;
	}
	if (optind + 1 != argc)
		return tool_usage(optind == argc ? "which name?" : "one stream at a time");
	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	rc = leat_stream_create(bus, argv[optind], &to);
	return rc < 0 ? tool_bus_error(bus, rc, argv[optind]) : TOOL_OK;
}

/* ---- ls and describe ---- */

static const char *show_sync(const struct leat_stream_options *options, char text[UNITS_TEXT_LEN])
{
	if (options->sync == LEAT_SYNC_INTERVAL)
		return units_exact_time(options->sync_ns, text);
	return options->sync == LEAT_SYNC_NONE ? "none" : "always";
}

static json_t *json_options(const struct leat_stream_options *options)
{
	json_t *sync = options->sync == LEAT_SYNC_INTERVAL
			       ? json_integer((json_int_t)options->sync_ns)
			       : json_string(options->sync == LEAT_SYNC_NONE ? "none" : "always");

	return json_pack("{sI sI sI sI sI so ss ss sb ss sb ss* ss* sI sI sI}", "shards",
			 (json_int_t)options->n_shards, "ring", (json_int_t)options->ring_len,
			 "segment", (json_int_t)options->segment_len, "retain_ns",
			 (json_int_t)options->retain_ns, "retain_len",
			 (json_int_t)options->retain_len, "sync", sync, "full",
			 full_names[options->full != 0], "on_disk_full",
			 disk_full_names[options->on_disk_full != 0], "memory",
			 options->memory != 0, "hash", hash_names[options->hash != 0], "checksum",
			 !options->no_checksum, "owner", options->owner, "group", options->group,
			 "mode", (json_int_t)options->mode, "claim_timeout_ns",
			 (json_int_t)options->claim_timeout_ns, "rate_limit",
			 (json_int_t)options->rate_limit);
}

static json_t *json_shard(const struct leat_shard_info *shard)
{
	return json_pack("{sI sI sI sI sI sI sI}", "shard", (json_int_t)shard->shard, "generation",
			 (json_int_t)shard->generation, "earliest", (json_int_t)shard->earliest,
			 "latest", (json_int_t)shard->latest, "written", (json_int_t)shard->written,
			 "durable", (json_int_t)shard->durable, "reclaimed",
			 (json_int_t)shard->reclaimed);
}

/* The same object that the daemon gives: see "description" in PROTOCOL.md. */
static int print_json_info(const struct leat_stream_info *info)
{
	json_t *may = json_array(), *shards = json_array(), *root;
	size_t i;

	if (info->may_subscribe)
		json_array_append_new(may, json_string("subscribe"));
	if (info->may_publish)
		json_array_append_new(may, json_string("publish"));
	if (info->may_administer)
		json_array_append_new(may, json_string("administer"));
	for (i = 0; i < info->n_shards; i++)
		json_array_append_new(shards, json_shard(&info->shards[i]));
	root = json_pack("{ss ss so so so}", "name", info->name, "uuid", info->uuid, "options",
			 json_options(&info->options), "may", may, "shards", shards);
	if (!root) {
		tool_error("out of memory");
		return TOOL_FAILED;
	}
	json_dumpf(root, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(root);
	return TOOL_OK;
}

/* Bytes that a stream keeps, by name; positions alone do not say, they jump at a recovery. */
static const char *show_kept(const struct state *state, const char *name, char text[UNITS_TEXT_LEN])
{
	json_t *stream, *shard;
	uint64_t sum = 0;
	size_t i, k;

	json_array_foreach(state->streams, i, stream) {
		if (strcmp(state_text(stream, "name"), name) != 0)
			continue;
		json_array_foreach(json_object_get(stream, "shards"), k, shard)
			sum += state_u64(shard, "kept_bytes");
		return units_show_size(sum, text);
	}
	return "-";
}

static void show_retention(const struct leat_stream_options *options, char *text, size_t size)
{
	char time_text[UNITS_TEXT_LEN], size_text[UNITS_TEXT_LEN];

	if (options->memory)
		snprintf(text, size, "memory");
	else if (!options->retain_ns && !options->retain_len)
		snprintf(text, size, "for ever");
	else
		snprintf(text, size, "%s%s%s",
			 options->retain_ns ? units_exact_time(options->retain_ns, time_text) : "",
			 options->retain_ns && options->retain_len ? ", " : "",
			 options->retain_len ? units_exact_size(options->retain_len, size_text)
					     : "");
}

static void print_list(struct leat_stream_info **list, int n, const struct state *state)
{
	char ring[UNITS_TEXT_LEN], size[UNITS_TEXT_LEN], sync[UNITS_TEXT_LEN], retention[90];
	const struct leat_stream_options *options;
	struct table table;
	int i;

	table_init(&table, "", "NAME +SHARDS +RING RETENTION SYNC MODE OWNER GROUP +KEPT");
	for (i = 0; i < n; i++) {
		options = &list[i]->options;
		show_retention(options, retention, sizeof(retention));
		table_cell(&table, "%s", list[i]->name);
		table_cell(&table, "%zu", list[i]->n_shards);
		table_cell(&table, "%s", units_exact_size(options->ring_len, ring));
		table_cell(&table, "%s", retention);
		table_cell(&table, "%s", options->memory ? "-" : show_sync(options, sync));
		table_cell(&table, "%04o", options->mode);
		table_cell(&table, "%s", options->owner ? options->owner : "?");
		table_cell(&table, "%s", options->group ? options->group : "?");
		table_cell(&table, "%s",
			   options->memory ? "-" : show_kept(state, list[i]->name, size));
	}
	table_print(&table, stdout);
	table_deinit(&table);
}

static void print_info(const struct leat_stream_info *info)
{
	const struct leat_stream_options *options = &info->options;
	char text[UNITS_TEXT_LEN], retention[90];
	struct table table;
	size_t i;

	show_retention(options, retention, sizeof(retention));
	printf("name           %s\nuuid           %s\n", info->name, info->uuid);
	printf("ring           %s\n", units_exact_size(options->ring_len, text));
	if (!options->memory) {
		printf("segment        %s\n", units_exact_size(options->segment_len, text));
		printf("sync           %s\n", show_sync(options, text));
		printf("on-disk-full   %s\n", disk_full_names[options->on_disk_full != 0]);
	}
	printf("retention      %s\n", retention);
	printf("full           %s\n", full_names[options->full != 0]);
	printf("hash           %s\n", hash_names[options->hash != 0]);
	printf("checksum       %s\n", checksum_names[options->no_checksum != 0]);
	printf("owner          %s:%s\n", options->owner ? options->owner : "?",
	       options->group ? options->group : "?");
	printf("mode           %04o\n", options->mode);
	printf("claim-timeout  %s\n", units_exact_time(options->claim_timeout_ns, text));
	if (options->rate_limit)
		printf("rate-limit     %s/s\n", units_exact_size(options->rate_limit, text));
	printf("you may        %s%s%s%s\n", info->may_subscribe ? "subscribe " : "",
	       info->may_publish ? "publish " : "", info->may_administer ? "administer" : "",
	       info->may_subscribe || info->may_publish || info->may_administer ? "" : "nothing");
	table_init(&table, "", "+SHARD +EARLIEST +LATEST +WRITTEN +DURABLE +RING-FROM +GENERATION");
	for (i = 0; i < info->n_shards; i++) {
		table_cell(&table, "%u", info->shards[i].shard);
		table_cell(&table, "%llu", (unsigned long long)info->shards[i].earliest);
		table_cell(&table, "%llu", (unsigned long long)info->shards[i].latest);
		table_cell(&table, "%llu", (unsigned long long)info->shards[i].written);
		table_cell(&table, "%llu", (unsigned long long)info->shards[i].durable);
		table_cell(&table, "%llu", (unsigned long long)info->shards[i].reclaimed);
		table_cell(&table, "%u", info->shards[i].generation);
	}
	putchar('\n');
	table_print(&table, stdout);
	table_deinit(&table);
}

/* The options that all but create take; -1 when the operands begin, otherwise the exit status. */
static int parse_plain(int argc, char **argv, bool *ret_json)
{
	static const struct option with_json[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	while ((c = getopt_long(argc, argv, ":" TOOL_SHORT_OPTIONS,
				ret_json ? with_json : with_json + 1, NULL)) != -1) {
		if (c == OPT_JSON) {
			*ret_json = true;
			continue;
		}
		status = tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
	}
	return -1;
}

static int list(int argc, char **argv)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	cleanup_with(state_free) struct state state = { 0 };
	struct leat_stream_info **streams = NULL;
	bool json = false;
	int status, n, i;

	status = parse_plain(argc, argv, &json);
	if (status >= 0)
		return status;
	if (optind < argc)
		return tool_usage("ls takes no name; there is describe");
	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	n = leat_stream_list(bus, &streams);
	if (n < 0)
		return tool_bus_error(bus, n, "the list of streams");
	status = TOOL_OK;
	if (!json && n > 0 && state_take(bus, NULL, &state) == 0)
		print_list(streams, n, &state);
	else if (!json && n > 0)
		status = TOOL_FAILED;
	for (i = 0; json && i < n && status == TOOL_OK; i++)
		status = print_json_info(streams[i]);
	leat_stream_list_free(streams, n);
	return tool_flush_stdout(status);
}

static int describe(int argc, char **argv)
{
	cleanup_with(tool_free_info) struct leat_stream_info *info = NULL;
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	bool json = false;
	int status, rc;

	status = parse_plain(argc, argv, &json);
	if (status >= 0)
		return status;
	if (optind + 1 != argc)
		return tool_usage(optind == argc ? "which stream?" : "one stream at a time");
	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	rc = leat_stream_describe(bus, argv[optind], &info);
	if (rc < 0)
		return tool_bus_error(bus, rc, argv[optind]);
	if (json)
		status = print_json_info(info);
	else
		print_info(info);
	return tool_flush_stdout(status == TOOL_FAILED ? TOOL_FAILED : TOOL_OK);
}

/* ---- set and rm ---- */

static int set(int argc, char **argv)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	const char *name;
	char *equals;
	int status, rc, i;

	status = parse_plain(argc, argv, NULL);
	if (status >= 0)
		return status;
	if (optind == argc)
		return tool_usage("which stream?");
	name = argv[optind++];
	if (optind == argc)
		return tool_usage("what shall be set? KEY=VALUE");
	for (i = optind; i < argc; i++) {
		equals = strchr(argv[i], '=');
		if (!equals || equals == argv[i])
			return tool_usage("\"%s\" is not KEY=VALUE", argv[i]);
	}
	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	for (i = optind; i < argc; i++) {
		equals = strchr(argv[i], '=');
		*equals = '\0';
		rc = leat_stream_alter(bus, name, argv[i], equals + 1);
		if (rc < 0) {
			tool_bus_error(bus, rc, name);
			if (i > optind)
				tool_error("what stands before %s was set", argv[i]);
			return TOOL_FAILED;
		}
	}
	return TOOL_OK;
}

static int remove_streams(int argc, char **argv)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	int status, rc;

	status = parse_plain(argc, argv, NULL);
	if (status >= 0)
		return status;
	if (optind == argc)
		return tool_usage("which stream?");
	if (tool_connect(&bus) < 0)
		return TOOL_FAILED;
	status = TOOL_OK;
	for (; optind < argc; optind++) {
		rc = leat_stream_delete(bus, argv[optind]);
		if (rc < 0)
			status = tool_bus_error(bus, rc, argv[optind]);
	}
	return status;
}

int cmd_stream(int argc, char **argv)
{
	static const struct option options[] = { TOOL_LONG_OPTIONS };
	int c, status;
	const char *verb;

	while ((c = getopt_long(argc, argv, "+:" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return tool_usage("create, ls, describe, set or rm?");
	argc -= optind;
	argv += optind;
	optind = 0;
	verb = argv[0];
	if (strcmp(verb, "create") == 0)
		return create(argc, argv);
	if (strcmp(verb, "ls") == 0 || strcmp(verb, "list") == 0)
		return list(argc, argv);
	if (strcmp(verb, "describe") == 0)
		return describe(argc, argv);
	if (strcmp(verb, "set") == 0)
		return set(argc, argv);
	if (strcmp(verb, "rm") == 0)
		return remove_streams(argc, argv);
	return tool_usage("stream has no \"%s\", only create, ls, describe, set and rm", verb);
}
