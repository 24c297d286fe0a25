/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/tool.h"

enum {
	LOOK_STEP = 64,  /* records between two looks at the clock, */
	LOOK_LEN = 4096, /* unless they are so long */
};

#define PATIENCE_NS (30 * UINT64_C(1000000000))

static const uint64_t last_word = UINT64_MAX;

struct job {
	const struct bench_pair *pair;
	size_t len;
	const char *dir;
	int opened; /* an eventfd: side 1 can be connected to */
	int done;   /* another: side 1 has had the last word */
};

struct shared {
	double rate;
	double bytes;
	struct bench_laps laps;
};

typedef int body_fn(struct bench_side *side, char *record, const struct job *job);

static void tell(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void await(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

/* Who receives first listens first: one that connects to nobody may sleep before it tries again. */
static int open_in_turn(struct bench_side *side, const struct job *job)
{
	int rc;

	if (side->me == 0 && side->team->n == 2)
		await(job->opened);
	rc = side->pair->open(side);
	if (side->me == 1)
		tell(job->opened);
	return rc;
}

/* Opens the side, waits for the other one, does the work. */
static int be_side(struct bench_team *team, int me, const struct job *job, body_fn *body)
{
	struct bench_side side = {
		.pair = job->pair,
		.team = team,
		.me = me,
		.len = job->len,
	};
	char *record = calloc(1, job->len);
	int rc;

	if (!record)
		return bench_team_fail(team, me, -ENOMEM, "no memory for a record");
	memset(record, 'x', job->len);
	rc = open_in_turn(&side, job);
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = body(&side, record, job);
	}
	job->pair->close(&side);
	free(record);
	return rc;
}

/*
 * Some peers lose what they have not sent yet when they are closed: side 0 stays until side 1 has
 * everything.
 */
static void part(const struct bench_side *side, const struct job *job)
{
	if (side->me)
		tell(job->done);
	else
		await(job->done);
}

static int send_word(struct bench_side *side, char *record, uint64_t word)
{
	memcpy(record, &word, sizeof(word));
	return side->pair->send(side, record);
}

static int flush(struct bench_side *side)
{
	return side->pair->flush ? side->pair->flush(side) : 0;
}

static int send_last(struct bench_side *side, char *record, const struct job *job)
{
	int rc = send_word(side, record, last_word);

	if (rc == 0)
		rc = flush(side);
	if (rc == 0)
		part(side, job);
	return rc;
}

/* The word at the start of the next record; its last byte must have come as well. */
static int receive_word(struct bench_side *side, uint64_t *ret_word)
{
	const char *record;
	const void *found;
	size_t len;
	int rc = side->pair->receive(side, &found, &len);

	if (rc < 0)
		return rc;
	record = found;
	if (len != side->len || (len > sizeof(*ret_word) && record[len - 1] != 'x'))
		return bench_team_fail(side->team, side->me, -EBADMSG, "not the record awaited");
	memcpy(ret_word, record, sizeof(*ret_word));
	return 0;
}

/* ---- round trips ---- */

static int ping_body(struct bench_side *side, char *record, const struct job *job)
{
	uint64_t start = bench_clock_ticks(), run_ns = side->team->env->run_ns;
	uint64_t end = start + bench_clock_from_ns(run_ns), word, i;
	struct shared *shared = side->team->shared;
	struct bench_laps *laps = &shared->laps;
	int rc = 0;

	laps->warm = start + bench_clock_from_ns(run_ns / 10);
	for (i = 1; rc == 0 && laps->last < end; i++) {
		rc = send_word(side, record, i);
		if (rc == 0)
			rc = flush(side);
		if (rc == 0)
			rc = receive_word(side, &word);
		if (rc == 0 && word != i)
			rc = bench_team_fail(side->team, side->me, -EBADMSG, "a wrong answer");
		bench_hist_lap(laps, bench_clock_ticks());
	}
	return rc == 0 ? send_last(side, record, job) : rc;
}

static int pong_body(struct bench_side *side, char *record, const struct job *job)
{
	uint64_t word;
	int rc;

	for (;;) {
		rc = receive_word(side, &word);
		if (rc == 0 && word == last_word)
			break;
		if (rc == 0)
			rc = send_word(side, record, word);
		if (rc == 0)
			rc = flush(side);
		if (rc < 0)
			return rc;
	}
	part(side, job);
	return 0;
}

static int ping(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, ping_body);
}

static int pong(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, pong_body);
}

/* ---- rates ---- */

static bool looks_at_the_clock(const struct bench_side *side, uint64_t n)
{
	return n % LOOK_STEP == 0 || side->len >= LOOK_LEN;
}

static int send_body(struct bench_side *side, char *record, const struct job *job)
{
	uint64_t now = bench_clock_ticks(), sent = 0;
	uint64_t end = now + bench_clock_from_ns(side->team->env->run_ns);
	int rc = 0;

	while (rc == 0 && now < end) {
		rc = send_word(side, record, sent++);
		if (looks_at_the_clock(side, sent))
			now = bench_clock_ticks();
	}
	return rc == 0 ? send_last(side, record, job) : rc;
}

static int receive_body(struct bench_side *side, char *record, const struct job *job)
{
	uint64_t begin = bench_clock_ticks(), start = begin, now, word, next, from = 0;
	uint64_t warm = start + bench_clock_from_ns(side->team->env->run_ns / 10);
	struct shared *shared = side->team->shared;
	int rc;

	(void)record;
	for (next = 0;; next++) {
		rc = receive_word(side, &word);
		if (rc < 0)
			return rc;
		if (word == last_word)
			break;
		if (word != next)
			return bench_team_fail(side->team, side->me, -EBADMSG,
					       "a record is missing, double or out of order");
		if (from > 0 || !looks_at_the_clock(side, next))
			continue;
		now = bench_clock_ticks();
		if (now > warm) {
			from = next;
			start = now;
		}
	}
	/* Who was away for most of the time has only the whole of it to divide by. */
	if (next == from) {
		from = 0;
		start = begin;
	}
	shared->rate = (double)(next - from) * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	part(side, job);
	return 0;
}

static int sender(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, send_body);
}

static int receiver(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, receive_body);
}

/* ---- keeping ---- */

static int ack_body(struct bench_side *side, char *record, const struct job *job)
{
	uint64_t last = bench_clock_ticks(), now, i;
	uint64_t end = last + bench_clock_from_ns(side->team->env->run_ns);
	struct shared *shared = side->team->shared;
	int rc;

	(void)job;
	for (i = 0; last < end; i++) {
		rc = send_word(side, record, i);
		if (rc == 0)
			rc = flush(side);
		if (rc < 0)
			return rc;
		now = bench_clock_ticks();
		bench_hist_add(&shared->laps.singles, now - last);
		last = now;
	}
	return 0;
}

static int sync_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
	int fd, rc;

	(void)st;
	(void)where;
	if (type != FTW_F)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Some of a server's files come and go; those that records are in stay. */
	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	rc = fdatasync(fd) < 0 && errno != EINVAL ? errno : 0;
	close(fd);
	return rc;
}

static int keep_body(struct bench_side *side, char *record, const struct job *job)
{
	const struct bench_env *env = side->team->env;
	uint64_t start = bench_clock_ticks(), now = start, n = 0;
	uint64_t end = start + bench_clock_from_ns(env->disk_ns);
	struct shared *shared = side->team->shared;
	int rc = 0;

	while (rc == 0 && n * side->len < env->disk_len && now < end) {
		rc = send_word(side, record, n++);
		if (looks_at_the_clock(side, n))
			now = bench_clock_ticks();
	}
	if (rc == 0)
		rc = flush(side);
	if (rc < 0)
		return rc;
	rc = nftw(job->dir, sync_file, 16, FTW_PHYS);
	if (rc != 0)
		return bench_team_fail(side->team, side->me, -EIO, "cannot sync %s: %s", job->dir,
				       strerror(rc > 0 ? rc : errno));
	shared->bytes = (double)(n * side->len);
	shared->rate = shared->bytes * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	return 0;
}

static int acknowledged(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, ack_body);
}

static int keeper(struct bench_team *team, int me, const void *context)
{
	return be_side(team, me, context, keep_body);
}

/* ---- teams ---- */

typedef int member_fn(struct bench_team *team, int me, const void *context);

static int run(struct bench_env *env, struct job *job, member_fn *first, member_fn *second,
	       struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = first, .context = job, .cpu = job->pair->free ? -1 : env->cpus[0] },
		{ .run = second, .context = job, .cpu = job->pair->free ? -1 : env->cpus[1] },
	};
	const struct shared *shared;
	struct bench_team team;
	int rc;

	job->opened = eventfd(0, EFD_CLOEXEC);
	job->done = eventfd(0, EFD_CLOEXEC);
	rc = job->opened < 0 || job->done < 0 ? -errno : 0;
	if (rc == 0)
		rc = bench_team_init(&team, env, sizeof(struct shared));
	if (rc < 0)
		goto out;
	shared = team.shared;
	rc = bench_team_run(&team, members, second ? 2 : 1,
			    (job->dir ? env->disk_ns : env->run_ns) + PATIENCE_NS);
	if (rc == 0 && shared->laps.singles.n > 0)
		bench_hist_laps_result(&shared->laps, result);
	else if (rc == 0)
		result->value = shared->rate;
	if (rc == 0 && shared->bytes > 0)
		bench_add_fact(result, "bytes", shared->bytes);
	bench_team_deinit(&team);
out:
	if (job->opened >= 0)
		close(job->opened);
	if (job->done >= 0)
		close(job->done);
	return rc;
}

int bench_pair_round_trip(struct bench_env *env, const struct bench_pair *pair, size_t len,
			  struct bench_result *result)
{
	struct bench_pair both_ways = *pair;

	both_ways.both_ways = true;
	return run(env, &(struct job){ .pair = &both_ways, .len = len }, ping, pong, result);
}

int bench_pair_rate(struct bench_env *env, const struct bench_pair *pair, size_t len,
		    struct bench_result *result)
{
	return run(env, &(struct job){ .pair = pair, .len = len }, sender, receiver, result);
}

int bench_pair_ack(struct bench_env *env, const struct bench_pair *pair, size_t len,
		   struct bench_result *result)
{
	return run(env, &(struct job){ .pair = pair, .len = len }, acknowledged, NULL, result);
}

int bench_pair_keep(struct bench_env *env, const struct bench_pair *pair, size_t len,
		    const char *dir, struct bench_result *result)
{
	return run(env, &(struct job){ .pair = pair, .len = len, .dir = dir }, keeper, NULL,
		   result);
}
