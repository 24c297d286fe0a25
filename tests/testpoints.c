/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/testpoints.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/harness.h"

bool testpoints_has(const struct testpoints *points, const char *name)
{
	for (size_t i = 0; i < points->n; i++)
		if (strcmp(points->names[i], name) == 0)
			return true;
	return false;
}

void testpoints_add(struct testpoints *points, const char *name)
{
	if (testpoints_has(points, name))
		return;
	must(points->n < TESTPOINTS_MAX, "more test points than this test was made for");
	must(strlen(name) < TESTPOINTS_NAME_LEN, "a long name: %s", name);
	strcpy(points->names[points->n], name);
	points->n++;
}

bool testpoints_is_publishers(const char *name)
{
	return strncmp(name, "reserve-", 8) == 0 || strncmp(name, "commit-", 7) == 0;
}

bool testpoints_is_subscribers(const char *name)
{
	return strncmp(name, "read-", 5) == 0 || strncmp(name, "sleep-", 6) == 0;
}

bool testpoints_is_daemons(const char *name)
{
	return !testpoints_is_publishers(name) && !testpoints_is_subscribers(name);
}

bool testpoints_is_starts(const char *name)
{
	return strncmp(name, "restore-", 8) == 0;
}

/* ---- what comes up when it is provoked ---- */

bool testpoints_is_provoked(const char *name)
{
	return strncmp(name, "succeed-", 8) == 0 || strncmp(name, "bury-", 5) == 0;
}

/* The daemon may die or stop under one's hands: then that has done its work already. */
static int connect_shortly(const struct testpoints_provocation *provocation,
			   struct leat_bus **ret_bus)
{
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "provocation",
						.timeout_ns = 300000000u };

	return leat_connect(provocation->bus->sock, &options, ret_bus);
}

static int publish_and_die_with_claim(void *arg)
{
	struct testpoints_provocation *provocation = arg;
	struct leat_record record = { .shard = (int32_t)(provocation->turn %
							 provocation->n_shards) };
	struct leat_publisher *publisher;
	struct leat_claim claim;
	struct leat_bus *bus;

	if (connect_shortly(provocation, &bus) == 0 &&
	    leat_publisher_open(bus, provocation->stream, NULL, &publisher) == 0 &&
	    leat_reserve(publisher, &record, &claim) == 0)
		kill(getpid(), SIGKILL);
	return 0;
}

static int move_to_other_rings(void *arg)
{
	struct testpoints_provocation *provocation = arg;
	struct leat_bus *bus;
	char len[24];

	if (connect_shortly(provocation, &bus) < 0)
		return 0;
	for (int twice = 1; twice >= 0; twice--) {
		snprintf(len, sizeof(len), "%" PRIu64, provocation->ring_len << twice);
		leat_stream_alter(bus, provocation->stream, "ring", len);
	}
	return 0;
}

void testpoints_provoke(struct testpoints_provocation *provocation)
{
	harness_reap(harness_fork(publish_and_die_with_claim, provocation), 20);
	provocation->turn++;
	harness_reap(harness_fork(move_to_other_rings, provocation), 20);
}

/* ---- which there are ---- */

static void add_those_of(struct testpoints *points, const char *path)
{
	char line[256], name[TESTPOINTS_NAME_LEN];
	FILE *file = fopen(path, "re");

	must(file, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, "TESTPOINT(\"");

		if (at && sscanf(at, "TESTPOINT(\"%39[^\"]\")", name) == 1)
			testpoints_add(points, name);
	}
	fclose(file);
}

void testpoints_of_sources(struct testpoints *ret_points)
{
	static const char *const patterns[] = { "shm/*.[ch]", "persist/*.[ch]", "daemon/*.[ch]",
						"clientlib/*.[ch]" };
	glob_t paths;

	ret_points->n = 0;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		must(glob(patterns[i], 0, NULL, &paths) == 0, "no %s: run it from the root",
		     patterns[i]);
		for (size_t j = 0; j < paths.gl_pathc; j++)
			add_those_of(ret_points, paths.gl_pathv[j]);
		globfree(&paths);
	}
	must(ret_points->n > 0, "no test points in the sources");
}

void testpoints_those(bool (*are)(const char *name), struct testpoints *ret_points)
{
	struct testpoints known;

	testpoints_of_sources(&known);
	ret_points->n = 0;
	for (size_t i = 0; i < known.n; i++)
		if (are(known.names[i]))
			testpoints_add(ret_points, known.names[i]);
	must(ret_points->n > 0, "no such test points");
}
