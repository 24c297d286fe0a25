/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands and how to choose from it; each is a file of its own. */
#include "tools/tool.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct command commands[] = {
	{ "stream", cmd_stream, "create, list, describe, change and remove streams" },
	{ "pub", cmd_pub, "publish records from files or standard input" },
	{ "sub", cmd_sub, "follow a stream" },
	{ "replay", cmd_replay, "print history, or publish it again" },
	{ "stat", cmd_stat, "show positions, rates and who is there" },
	{ "top", cmd_top, "the same as it changes" },
	{ "verify", cmd_verify, "check every byte that is kept" },
	{ "dump", cmd_dump, "show a segment file in words" },
	{ "bench", cmd_bench, "measure this machine and leat on it" },
};

static const char help_head[] =
	"usage: leat [-b PATH] COMMAND [OPTION...] [ARGUMENT...]\n"
	"\n"
	"A log bus for one Linux host: records go from program to program through\n"
	"shared memory, to disk, and back out as often as anybody wants.\n"
	"\n"
	"commands:\n";
static const char help_tail[] =
	"  help      explain a command: leat help COMMAND\n"
	"\n"
	"options:\n"
	"  -b, --bus PATH  the daemon's socket (default: $LEAT_BUS, then the user's bus,\n"
	"                  then the system's)\n"
	"  -V, --version   print the version\n"
	"  -h, --help      print this\n"
	"\n"
	"a first look:\n"
	"  leat stream create events --shards 4 --retain-time 7d\n"
	"  journalctl -f | leat pub events &\n"
	"  leat sub events -o earliest\n"
	"\n"
	"exit status: 0 done, 1 failed, 2 wrong usage. More in leat(1).\n";

static int print_help(FILE *to)
{
	size_t i;

	fputs(help_head, to);
	for (i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(to, "  %-8s  %s\n", commands[i].name, commands[i].summary);
	fputs(help_tail, to);
	return to == stdout ? tool_flush_stdout(TOOL_OK) : TOOL_USAGE;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static int run_command(int argc, char **argv)
{
	const struct command *command = find_command(argv[0]);

	if (!command)
		return tool_usage("there is no command \"%s\"", argv[0]);
	tool_set_name(command->name);
	optind = 0;
	return command->run(argc, argv);
}

static int explain(const char *name)
{
	char flag[] = "--help";
	char *argv[] = { (char *)name, flag, NULL };

	return name ? run_command(2, argv) : print_help(stdout);
}

static int print_version(void)
{
	printf("leat %s\n", leat_version());
	return tool_flush_stdout(TOOL_OK);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "version", no_argument, NULL, 'V' },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	/* A reader that goes away is seen as EPIPE and ends things quietly. */
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:V" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		if (c == 'h')
			return print_help(stdout);
		if (c == 'V')
			return print_version();
		status = tool_common_option(c, argv, "");
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return print_help(stderr);
	if (strcmp(argv[optind], "help") == 0)
		return explain(argv[optind + 1]);
	return run_command(argc - optind, argv + optind);
}
