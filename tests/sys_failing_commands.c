/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the leat command makes of the C library fails, at every place, with every errno
 * of its man page, once and from then on: no command crashes or stands still, one that ends with
 * 0 has done and printed all that it is there for, and one that does not says why. The library is
 * part of the command, as its users have it. See tests/fail_plan.h.
 */
/* TEST_TIMEOUT=14400 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fail_plan.h"
#include "tests/harness.h"

enum {
	LINES = 40,
	WORDS_MAX = 10,
	CASES = 4, /* of each command, in `make check` */
};

struct command {
	const char *words[WORDS_MAX];
	void (*before)(void);      /* what it needs */
	void (*after)(int status); /* what 0 promises besides the output of a run without fault */
	bool output_varies;
};

static struct fail_progress *progress;
static struct fail_plan plan;
static struct harness_bus bus;
static struct harness_output expected;
static const struct command *command;
static struct leat_bus *handle;
static struct leat_subscriber *durable;
static char lines_path[128], segment_path[256];

/* ---- what is there before, and what has to be afterwards ---- */

static bool stream_exists(const char *name)
{
	struct leat_stream_info *info;
	int r = leat_stream_describe(handle, name, &info);

	if (r == 0)
		leat_stream_info_free(info);
	must(r == 0 || r == -ENOENT, "describing %s: %s", name, leat_detail(handle));
	return r == 0;
}

static void create(const char *name)
{
	harness_stream(handle, name, 1, 64 << 10, NULL);
}

static void want_no_stream(void)
{
	if (stream_exists("made"))
		must(leat_stream_delete(handle, "made") == 0, "%s", leat_detail(handle));
}

static void want_stream(void)
{
	if (!stream_exists("made"))
		create("made");
}

static void is_made(int status)
{
	must(status != 0 || stream_exists("made"), "0, and there is no stream");
}

static void is_removed(int status)
{
	must(status != 0 || !stream_exists("made"), "0, and the stream is there");
}

/* Sees what is durable, and from now on only. */
static void follow_durable(void)
{
	struct leat_subscriber_options options;

	leat_subscriber_options_init(&options);
	options.isolation = LEAT_ISOLATION_DURABLE;
	must(leat_subscriber_open(handle, "into", &options, &durable) == 0, "%s",
	     leat_detail(handle));
}

static void all_is_durable(int status)
{
	struct leat_message message;
	char line[32];

	for (int i = 0; i < LINES && status == 0; i++) {
		snprintf(line, sizeof(line), "line %d", i);
		must(leat_next(durable, 0, &message) == 1, "0, and line %d is not durable", i);
		must(message.value_len == strlen(line) &&
			     memcmp(message.value, line, strlen(line)) == 0,
		     "0, and line %d is not what came", i);
	}
	must(status != 0 || leat_next(durable, 0, &message) == -ETIMEDOUT, "more than there was");
	durable = leat_subscriber_close(durable);
}

static const struct command commands[] = {
	{ { "leat", "pub", "into", lines_path }, follow_durable, all_is_durable, false },
	{ { "leat", "pub", "--ack", "written", "-k", "key", "into", lines_path },
	  NULL,
	  NULL,
	  false },
	{ { "leat", "sub", "from", "-o", "earliest", "-e" }, NULL, NULL, false },
	{ { "leat", "sub", "from", "-J", "-o", "earliest", "-c", "5" }, NULL, NULL, false },
	{ { "leat", "replay", "from" }, NULL, NULL, false },
	{ { "leat", "replay", "from", "--into", "into" }, follow_durable, all_is_durable, false },
	{ { "leat", "stream", "create", "made", "--ring", "64K" }, want_no_stream, is_made, false },
	{ { "leat", "stream", "rm", "made" }, want_stream, is_removed, false },
	{ { "leat", "stream", "ls" }, NULL, NULL, true },
	{ { "leat", "stream", "describe", "from" }, NULL, NULL, true },
	{ { "leat", "stream", "set", "from", "retain-size=1G" }, NULL, NULL, false },
	{ { "leat", "stat" }, NULL, NULL, true },
	{ { "leat", "stat", "from", "--json" }, NULL, NULL, true },
	{ { "leat", "verify", "from" }, NULL, NULL, true },
	{ { "leat", "dump", segment_path }, NULL, NULL, false },
};

/* ---- the run ---- */

static void begin(const char *what)
{
	snprintf(progress->step, sizeof(progress->step), "%s of leat %s %s", what,
		 command->words[1], command->words[2]);
	fetch_add_acq_rel(&progress->n_steps, 1);
}

static void run(struct harness_output *ret_output)
{
	begin("preparation");
	if (command->before)
		command->before();
	begin("run");
	fail_plan_preload(&plan);
	harness_run(&bus, NULL, ret_output, command->words);
	unsetenv("LD_PRELOAD");
}

/* What varies has at least as many lines: figures are all that may differ. */
static size_t n_lines(const struct harness_output *output)
{
	size_t n = 0;

	for (size_t i = 0; i < output->out_len; i++)
		n += output->out[i] == '\n';
	return n;
}

/* Who no longer reads need not be told. */
static bool is_for_nobody(const struct fail_case *one)
{
	return one->fn == FAIL_FN_write && one->error == EPIPE;
}

/* On standard error; or in a report, of what the disk does not give or have. */
static bool says_why(const struct fail_case *one, const struct harness_output *output)
{
	return output->err_len > 15 ||
	       ((one->error == EIO || one->error == ENOENT) && strcasestr(output->out, "damaged"));
}

static int run_case(void *arg)
{
	const struct fail_case *one = arg;
	struct harness_output output;

	handle = harness_connect(&bus);
	fail_arm(&plan, one);
	run(&output);
	fail_disarm(&plan);
	begin("result");
	must(output.status < 128, "signal %d: %s", output.status - 128, output.err);
	must(output.status <= 2, "status %d", output.status);
	if (output.status == 0 && is_for_nobody(one))
		;
	else if (output.status == 0 && command->output_varies)
		must(n_lines(&output) >= n_lines(&expected), "0, and not all is printed: %s",
		     output.out);
	else if (output.status == 0)
		must(output.out_len == expected.out_len &&
			     memcmp(output.out, expected.out, expected.out_len) == 0,
		     "0, and printed is: %s", output.out);
	else
		must(says_why(one, &output), "it ends with %d and does not say why: '%s'",
		     output.status, output.err);
	if (command->after)
		command->after(output.status);
	harness_output_deinit(&output);
	leat_close(handle);
	return 0;
}

static void write_lines(void)
{
	FILE *file;

	snprintf(lines_path, sizeof(lines_path), "%s/lines", bus.dir);
	file = fopen(lines_path, "we");
	ck_assert_ptr_nonnull(file);
	for (int i = 0; i < LINES; i++)
		fprintf(file, "line %d\n", i);
	ck_assert_int_eq(fclose(file), 0);
}

static void start(void)
{
	static const char *const words[] = { "leat", "pub", "from", lines_path, NULL };
	struct leat_stream_info *info;
	struct harness_output output;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	create("from");
	create("into");
	write_lines();
	harness_run(&bus, NULL, &output, words);
	ck_assert_msg(output.status == 0, "%s", output.err);
	harness_output_deinit(&output);
	ck_assert_int_eq(leat_stream_describe(handle, "from", &info), 0);
	snprintf(segment_path, sizeof(segment_path), "%s/data/streams/from/0/%020llu.seg", bus.dir,
		 (unsigned long long)info->shards[0].earliest);
	leat_stream_info_free(info);
}

START_TEST(a_command_whose_calls_fail_says_so_or_has_done_all)
{
	command = &commands[_i];
	progress = harness_shared(sizeof(*progress));
	start();
	fail_plan_init(&plan, "leat");
	fail_count(&plan);
	run(&expected);
	ck_assert_msg(expected.status == 0, "status %d: %s", expected.status, expected.err);
	if (command->after)
		command->after(expected.status);
	printf("leat %s %s: ", command->words[1], command->words[2]);
	fail_plan_make(&plan, NULL, CASES);
	/* A handle is not for children. */
	handle = leat_close(handle);
	fail_plan_run(&plan, progress, run_case);
	harness_bus_stop(&bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_failing_commands");
	TCase *calls = tcase_create("calls");

	if (!fail_plan_possible())
		return harness_skip("the sanitizers of this build want to be loaded first");
	tcase_set_timeout(calls, 14000);
	tcase_add_loop_test(calls, a_command_whose_calls_fail_says_so_or_has_done_all, 0,
			    (int)ARRAY_LEN(commands));
	suite_add_tcase(suite, calls);
	return harness_main(suite);
}
