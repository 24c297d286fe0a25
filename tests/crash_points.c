/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at each of its test points while a party of publishers and subscribers is under
 * way, and the keeper brings it back. Nobody fails, nothing is lost, nothing comes twice.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/testpoint.h"
#include "tests/party.h"
#include "tests/testpoints.h"

enum {
	DEATHS = 3, /* at each point */
	RING = 256 << 10,
};

static struct party *party;

struct death {
	char path[256]; /* the file that arms the point */
	pid_t pid;      /* of the daemon that is to die */
	unsigned n_looks;
	uint32_t shard;
	bool at_start;
};

/* ---- what makes a daemon pass its points, apart from the party itself ---- */

static int publish_and_die_with_claim(void *arg)
{
	struct leat_bus *bus;
	struct leat_publisher *publisher;
	struct leat_claim claim;
	struct leat_record record = { .shard = (int32_t)(*(uint32_t *)arg % PARTY_SHARDS) };

	/* The daemon may die under this one's hands: then it has done its work already. */
	if (leat_connect(party->bus.sock, NULL, &bus) == 0 &&
	    leat_publisher_open(bus, "party", NULL, &publisher) == 0 &&
	    leat_reserve(publisher, &record, &claim) == 0)
		kill(getpid(), SIGKILL);
	return 0;
}

static int move_to_other_rings(void *arg)
{
	struct leat_bus *bus;

	(void)arg;
	if (leat_connect(party->bus.sock, NULL, &bus) < 0)
		return 0;
	/* Whether there is an answer depends on where the daemon dies. */
	leat_stream_alter(bus, "party", "ring", "512K");
	leat_stream_alter(bus, "party", "ring", "256K");
	return 0;
}

static void provoke(struct death *death)
{
	harness_reap(harness_fork(publish_and_die_with_claim, &death->shard), 20);
	death->shard++;
	harness_reap(harness_fork(move_to_other_rings, NULL), 20);
}

/* ---- one death ---- */

static bool is_armed(const struct death *death)
{
	return access(death->path, F_OK) == 0;
}

static bool has_died(void *arg)
{
	struct death *death = arg;

	if (!is_armed(death))
		return true;
	/* Most points come up by themselves; the rest need something to happen. */
	if (++death->n_looks % 25 == 0)
		provoke(death);
	/* Those of the start need a start. */
	if (death->n_looks % (death->at_start ? 50 : 500) == 0 && is_armed(death))
		kill(harness_daemon_pid(&party->bus), SIGKILL);
	return !is_armed(death);
}

static bool has_new_daemon(void *arg)
{
	struct death *death = arg;
	struct leat_bus *bus;

	if (leat_connect(party->bus.sock, NULL, &bus) < 0)
		return false;
	leat_close(bus);
	return harness_daemon_pid(&party->bus) != death->pid;
}

static void die_once(const char *name)
{
	struct death death = { .pid = harness_daemon_pid(&party->bus),
			       .at_start = testpoints_is_starts(name) };
	int fd;

	snprintf(death.path, sizeof(death.path), "%s/points/%s", party->bus.dir, name);
	fd = open(death.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "%s: %s", death.path, strerror(errno));
	close(fd);
	must(harness_until(has_died, &death, 30), "the daemon never passes %s", name);
	must(harness_until(has_new_daemon, &death, 20), "no daemon came back after %s", name);
	party_wait(party, 200, name);
}

/* A party of its own for each point: a keeper takes its time with a daemon that dies often. */
static void try_point(const char *name)
{
	struct harness_output output;

	party = harness_shared(sizeof(*party));
	party->pause_us = 50;
	harness_bus_start(&party->bus, HARNESS_KEEP | HARNESS_TESTPOINTS);
	party_start(party, RING);
	party_wait(party, 200, "at the beginning");
	for (int i = 0; i < DEATHS; i++)
		die_once(name);
	party_end(party);
	harness_run(&party->bus, NULL, &output, (const char *[]){ "leat", "verify", NULL });
	must(output.status == 0, "verify after %s: %s%s", name, output.out, output.err);
	harness_output_deinit(&output);
	harness_bus_stop(&party->bus);
	printf("%s: %d deaths\n", name, DEATHS);
	fflush(stdout);
}

static struct testpoints points;

START_TEST(a_daemon_that_dies_at_any_point_is_missed_by_nobody)
{
	try_point(points.names[_i]);
}
END_TEST

/* What the daemon passes: all points but those of publishers and subscribers. */
static void list_points(void)
{
	struct testpoints known;

	testpoints_of_sources(&known);
	for (size_t i = 0; i < known.n; i++)
		if (!testpoints_is_publishers(known.names[i]) &&
		    !testpoints_is_subscribers(known.names[i]))
			testpoints_add(&points, known.names[i]);
}

int main(void)
{
	Suite *suite = suite_create("crash_points");
	TCase *tcase = tcase_create("daemon");

	list_points();
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, a_daemon_that_dies_at_any_point_is_missed_by_nobody, 0,
			    (int)points.n);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
