/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/directory.h"

static struct config config;
static char detail[512], dir[64], path[128];

static void setup(void)
{
	strcpy(dir, "/tmp/leat-config.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/leatd.conf", dir);
	config_init(&config);
}

static void teardown(void)
{
	config_deinit(&config);
	directory_remove("/tmp", dir + 5);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static int parse(const char *a, const char *b)
{
	char *argv[] = { "leatd", (char *)a, (char *)b, NULL };

	return config_parse_arguments(&config, b ? 3 : a ? 2 : 1, argv, detail, sizeof(detail));
}

START_TEST(the_command_line_is_read)
{
	ck_assert_int_eq(parse(NULL, NULL), 0);
	ck_assert_int_eq(parse("--runtime", "/r"), 0);
	ck_assert_str_eq(config.runtime, "/r");
	ck_assert_int_eq(parse("--data=/d", "--keep"), 0);
	ck_assert_str_eq(config.data, "/d");
	ck_assert(config.keep);
	ck_assert_int_eq(parse("--help", NULL), CONFIG_E_HELP);
	ck_assert_int_eq(parse("--version", NULL), CONFIG_E_VERSION);
	ck_assert_int_eq(parse("--data", NULL), -EINVAL);
	ck_assert_int_eq(parse("--nonsense", NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(detail, "--nonsense"));
	ck_assert_int_eq(parse("more", NULL), -EINVAL);
}
END_TEST

START_TEST(a_file_gives_what_the_command_line_does_not)
{
	write_file("# comment\n\n runtime = /from/file \ndata=/data/file\n"
		   "max-connections-per-user = 7\ndefault-ring = 1M\nlog-level = debug\n"
		   "default-sync = 250ms\ndefault-mode = 0660\ncreate = administrators\n"
		   "io = threads\nstop-timeout = 3s\n");
	ck_assert_int_eq(parse("--config", path), 0);
	ck_assert_int_eq(parse("--runtime", "/from/line"), 0);
	ck_assert_int_eq(config_read(&config, detail, sizeof(detail)), 0);
	ck_assert_str_eq(config.runtime, "/from/line");
	ck_assert_str_eq(config.data, "/data/file");
	ck_assert_uint_eq(config.max_connections_per_user, 7);
	ck_assert_uint_eq(config.ring_len, MIB);
	ck_assert_int_eq(config.log_level, LOG_LEVEL_DEBUG);
	ck_assert_int_eq(config.sync, SHARD_SYNC_INTERVAL);
	ck_assert_uint_eq(config.sync_ns, 250 * NS_PER_MS);
	ck_assert_uint_eq(config.mode, 0660);
	ck_assert(!config.create_everybody);
	ck_assert(config.io_threads);
	ck_assert_uint_eq(config.stop_timeout_ns, 3 * NS_PER_S);
}
END_TEST

START_TEST(a_mistake_is_named_with_its_line)
{
	static const char *const bad[] = {
		"nonsense = 1",
		"max-streams",
		"max-streams = 0",
		"max-streams = many",
		"max-shards = 601",
		"default-ring = 100K",
		"default-ring = 1K",
		"log-level = loud",
		"default-mode = 8",
		"default-mode = 1777",
		"io = disk",
		"create = me",
		"default-sync = sometimes",
	};
	char text[128];

	ck_assert_int_eq(parse("--config", path), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text), "# one\n%s\n", bad[i]);
		write_file(text);
		ck_assert_msg(config_read(&config, detail, sizeof(detail)) < 0, "%s", bad[i]);
		ck_assert_msg(strstr(detail, "line 2") && strstr(detail, "leatd.conf"), "%s",
			      detail);
	}
}
END_TEST

START_TEST(a_file_that_was_asked_for_must_be_there)
{
	ck_assert_int_eq(parse("--config", path), 0);
	ck_assert_int_eq(config_read(&config, detail, sizeof(detail)), -ENOENT);
	setenv("XDG_CONFIG_HOME", dir, 1);
	config_deinit(&config);
	config_init(&config);
	ck_assert_int_eq(config_read(&config, detail, sizeof(detail)), 0);
}
END_TEST

START_TEST(reading_again_keeps_directories_and_bad_files_out)
{
	write_file("max-streams = 5\nruntime = /a\n");
	ck_assert_int_eq(parse("--config", path), 0);
	ck_assert_int_eq(config_read(&config, detail, sizeof(detail)), 0);
	write_file("max-streams = 6\nruntime = /b\ndefault-ring = 2M\n");
	ck_assert_int_eq(config_reload(&config, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(config.max_streams, 6);
	ck_assert_uint_eq(config.ring_len, 2 * MIB);
	ck_assert_str_eq(config.runtime, "/a");
	write_file("max-streams = 9\nbroken\n");
	ck_assert_int_lt(config_reload(&config, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(config.max_streams, 6);
	ck_assert_str_eq(config.runtime, "/a");
	/* A key that is gone from the file has its default again. */
	write_file("");
	ck_assert_int_eq(config_reload(&config, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(config.ring_len, 16 * MIB);
}
END_TEST

START_TEST(every_key_of_the_installed_file_is_known_with_its_default)
{
	FILE *f = fopen("systemd/leatd.conf", "r");
	struct config defaults = config;
	char line[256];
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		char *value = strchr(line, '=');

		if (line[0] != '#' || line[1] == ' ' || line[1] == '\n' || !value)
			continue;
		*value++ = '\0';
		line[strcspn(line, " ")] = '\0';
		value[strcspn(value, "\n")] = '\0';
		ck_assert_msg(config_set(&config, line + 1, value + 1, detail, sizeof(detail)) == 0,
			      "%s: %s", line, detail);
		n++;
	}
	fclose(f);
	ck_assert_int_eq(n, 17);
	config_deinit(&config);
	/* Its default depends on the machine. */
	config.max_memory = defaults.max_memory;
	ck_assert_mem_eq(&config, &defaults, sizeof(config));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_command_line_is_read);
	tcase_add_test(tc, a_file_gives_what_the_command_line_does_not);
	tcase_add_test(tc, a_mistake_is_named_with_its_line);
	tcase_add_test(tc, a_file_that_was_asked_for_must_be_there);
	tcase_add_test(tc, reading_again_keeps_directories_and_bad_files_out);
	tcase_add_test(tc, every_key_of_the_installed_file_is_known_with_its_default);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
