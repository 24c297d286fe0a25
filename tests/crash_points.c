/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies at each of its test points while a party of publishers and subscribers is under
 * way, and the keeper brings it back; it is stopped at each for longer than the claim time-out; and
 * of those that come back two and three die in a row, at each point of their recovery. Nobody
 * fails, nothing is lost, nothing comes twice. A point that is not reached is a failure.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/testpoint.h"
#include "tests/party.h"
#include "tests/testpoints.h"

enum {
	DEATHS = 3, /* at each point */
	STOPS = 2,
	CLAIM_TIMEOUT_MS = 200,
	RING = 256 << 10,
	ROW = 3,    /* daemons that die before they serve */
	MOVES = 20, /* that are cut off and begun again */
};

static struct party *party;

struct death {
	char path[256]; /* the file that arms the point */
	pid_t pid;      /* of the daemon that is to die */
	unsigned n_looks;
	bool at_start;
	bool provoked;
};

static struct testpoints_provocation provocation;

/* ---- one death ---- */

static bool has_daemon(void *arg)
{
	pid_t *pid = arg;

	*pid = harness_kept_pid(&party->bus);
	return *pid > 0;
}

static pid_t kill_daemon(void)
{
	pid_t pid;

	must(harness_until(has_daemon, &pid, 20), "the keeper has no daemon");
	kill(pid, SIGKILL);
	return pid;
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t len = strlen(text);

	must(fd >= 0 && write(fd, text, len) == (ssize_t)len, "%s: %s", path, strerror(errno));
	close(fd);
}

static bool is_armed(const struct death *death)
{
	return access(death->path, F_OK) == 0;
}

/* Or stands still. */
static bool has_died(void *arg)
{
	struct death *death = arg;

	if (!is_armed(death))
		return true;
	if (++death->n_looks % 25 == 0 && death->provoked)
		testpoints_provoke(&provocation);
	/* Those of the start need a start. One that has just come there need not stay. */
	if (death->n_looks % (death->at_start ? 1000 : 500) == (death->at_start ? 1 : 0)) {
		kill_daemon();
		write_text(death->path, "");
	}
	return !is_armed(death);
}

static bool has_new_daemon(void *arg)
{
	struct death *death = arg;

	return harness_has_other_daemon(&party->bus, death->pid);
}

/* It comes there with that file in the directory of points; whether it dies, the file's name says.
 */
static void come_to(const char *name, const char *suffix, struct death *ret_death)
{
	*ret_death = (struct death){ .pid = harness_daemon_pid(&party->bus),
				     .at_start = testpoints_is_starts(name),
				     .provoked = testpoints_is_provoked(name) };
	snprintf(ret_death->path, sizeof(ret_death->path), "%s/points/%s%s", party->bus.dir, name,
		 suffix);
	write_text(ret_death->path, "");
	must(harness_until(has_died, ret_death, 30), "the daemon never passes %s", name);
}

static void die_once(const char *name)
{
	struct death death;

	come_to(name, "", &death);
	must(harness_until(has_new_daemon, &death, 20), "no daemon came back after %s", name);
	party_wait(party, 200, name);
}

static void stop_once(const char *name)
{
	struct death death;
	pid_t pid;

	come_to(name, ".stop", &death);
	must(harness_until(has_daemon, &pid, 20), "the keeper has no daemon");
	must(harness_until(harness_is_stopped, &pid, 20), "the daemon does not stop at %s", name);
	harness_pause_ns(CLAIM_TIMEOUT_MS * 1500000ull);
	must(kill(pid, SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
	party_wait(party, 200, name);
	must(harness_kept_pid(&party->bus) == pid, "the daemon that stood still at %s is gone",
	     name);
}

static void open_party(uint32_t pause_us)
{
	party = harness_shared(sizeof(*party));
	party->pause_us = pause_us;
	party->claim_timeout_ns = CLAIM_TIMEOUT_MS * 1000000ull;
	provocation = (struct testpoints_provocation){
		.bus = &party->bus,
		.stream = "party",
		.ring_len = RING,
		.n_shards = PARTY_SHARDS,
	};
	/* It would take its time with a daemon that dies again and again. */
	setenv("LEAT_KEEPER_EAGER", "1", 1);
	harness_bus_start(&party->bus, HARNESS_KEEP | HARNESS_TESTPOINTS);
	party_start(party, RING);
	party_wait(party, 200, "at the beginning");
}

static void close_party(const char *after)
{
	struct harness_output output;

	party_end(party);
	harness_run(&party->bus, NULL, &output, (const char *[]){ "leat", "verify", NULL });
	must(output.status == 0, "verify after %s: %s%s", after, output.out, output.err);
	harness_output_deinit(&output);
	harness_bus_stop(&party->bus);
}

/* A party of its own for each point. */
static void try_point(const char *name)
{
	open_party(50);
	for (int i = 0; i < DEATHS; i++)
		die_once(name);
	for (int i = 0; i < STOPS; i++)
		stop_once(name);
	close_party(name);
	printf("%s: %d deaths, %d stops\n", name, DEATHS, STOPS);
	fflush(stdout);
}

static struct testpoints points;

START_TEST(a_daemon_that_dies_at_any_point_is_missed_by_nobody)
{
	try_point(points.names[_i]);
}
END_TEST

/* ---- daemons that die one after the other ---- */

static bool all_of_row_died(void *arg)
{
	return harness_n_killed(&party->bus) >= *(uint64_t *)arg;
}

/* The n-th row of `len` points of a start, each at each place. */
static void die_in_row(const struct testpoints *starts, unsigned len, size_t n)
{
	char path[256], row[ROW * TESTPOINTS_NAME_LEN] = "";
	uint64_t n_killed = harness_n_killed(&party->bus) + 1 + len;
	struct death death;

	for (unsigned i = 0; i < len; i++, n /= starts->n) {
		strcat(row, starts->names[n % starts->n]);
		strcat(row, "\n");
	}
	/* Written in one go, and read by nobody before the daemon of now is dead. */
	snprintf(path, sizeof(path), "%s/points/row", party->bus.dir);
	write_text(path, row);
	death.pid = kill_daemon();
	must(harness_until(all_of_row_died, &n_killed, 30), "not each dies at its point of\n%s",
	     row);
	must(harness_until(has_new_daemon, &death, 30), "no daemon came back after\n%s", row);
	party_wait(party, 20, row);
	must(harness_n_killed(&party->bus) == n_killed, "one more died than those of\n%s", row);
}

START_TEST(daemons_that_die_while_they_recover_are_missed_by_nobody)
{
	struct testpoints starts;
	size_t n_rows = 1, n_in_all = 0;

	testpoints_those(testpoints_is_starts, &starts);
	open_party(500);
	for (unsigned len = 1; len <= ROW; len++) {
		n_rows *= starts.n;
		for (size_t i = 0; len > 1 && i < n_rows; i++, n_in_all++)
			die_in_row(&starts, len, i);
	}
	close_party("rows of deaths");
	printf("%zu rows of 2 and 3 daemons that died while they recovered\n", n_in_all);
}
END_TEST

/*
 * A ring is closed, and its successor is no ring yet when the daemon dies; the next dies while it
 * lets go of that; the third makes one of the same name. What it stores has to be there for the
 * fourth, or the shard's publishers would hear that a ring was lost.
 */
static void cut_off_twice(void)
{
	uint64_t n_killed = harness_n_killed(&party->bus) + 2;
	struct death death;
	char path[256];

	snprintf(path, sizeof(path), "%s/points/row", party->bus.dir);
	write_text(path, "succeed-forgot\n");
	come_to("succeed-closed", "", &death);
	must(harness_until(all_of_row_died, &n_killed, 30), "nobody dies at succeed-forgot");
	must(harness_until(has_new_daemon, &death, 30), "no daemon came back");
	party_wait(party, 20, "after a ring that was made twice");
	death.pid = kill_daemon();
	must(harness_until(has_new_daemon, &death, 30), "no daemon came back");
	party_wait(party, 20, "after the last death");
}

START_TEST(a_ring_that_is_made_twice_is_kept)
{
	open_party(500);
	for (int i = 0; i < MOVES; i++)
		cut_off_twice();
	close_party("rings made twice");
	printf("%d rings made twice\n", MOVES);
}
END_TEST

/* LEAT_POINT chooses one. */
int main(void)
{
	const char *only = getenv("LEAT_POINT");
	Suite *suite = suite_create("crash_points");
	TCase *tcase = tcase_create("daemon");

	if (only)
		testpoints_add(&points, only);
	else
		testpoints_those(testpoints_is_daemons, &points);
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, a_daemon_that_dies_at_any_point_is_missed_by_nobody, 0,
			    (int)points.n);
	suite_add_tcase(suite, tcase);
	harness_add(suite, "twice", a_ring_that_is_made_twice_is_kept, 120);
	harness_add(suite, "rows", daemons_that_die_while_they_recover_are_missed_by_nobody, 240);
	return harness_main(suite);
}
