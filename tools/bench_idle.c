/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bus costs that has nothing to do: the daemon, a publisher and a subscriber that sleeps.
 * Looked at from outside, by the kernel's own counters, once all have come to rest.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_proc.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	LOOKER,
	PUBLISHER,
	SUBSCRIBER,
	MEMBERS,
	SETTLE_STEP_MS = 50,
	SETTLE_STEPS = 200, /* a bus that does not come to rest in 10 s has no rest */
	SETTLE_STEPS_QUICK = 10,
	CALM_STEPS = 30, /* a second after its last record the daemon has something to do once */
	CALM_SWITCHES = 3,
	LOOK_MS = 2000,
	LOOK_MS_QUICK = 200,
	DEFAULT_SPIN_NS = 20 * 1000,
};

struct idle_figures {
	double wakes;  /* a second, of all */
	double share;  /* of a processor, in percent */
	double memory; /* of the daemon, bytes */
	double daemon_wakes;
	double daemon_threads;
};

struct idle_shared {
	struct bench_cell pids[MEMBERS];
	struct bench_cell received;
	struct bench_cell done;
	struct idle_figures figures;
};

struct idle_setup {
	pid_t daemon;
};

static void look(const struct idle_shared *shared, pid_t daemon, struct bench_proc *ret_daemon,
		 struct bench_proc *ret_sum)
{
	struct bench_proc client;
	int i;

	bench_proc_read(daemon, ret_daemon);
	*ret_sum = *ret_daemon;
	for (i = PUBLISHER; i < MEMBERS; i++) {
		bench_proc_read((pid_t)cell_load(&shared->pids[i].value), &client);
		ret_sum->cpu_ns += client.cpu_ns;
		ret_sum->switches += client.switches;
	}
}

/*
 * Until for a while next to nothing has run: after it was busy the daemon goes on looking for a
 * moment, and writes down what it has.
 */
static void await_rest(const struct bench_team *team, pid_t daemon)
{
	int step, calm = 0, most = team->env->quick ? SETTLE_STEPS_QUICK : SETTLE_STEPS;
	struct bench_proc since, now, ignored;

	look(team->shared, daemon, &ignored, &since);
	for (step = 0; step < most && calm < CALM_STEPS; step++) {
		poll(NULL, 0, SETTLE_STEP_MS);
		look(team->shared, daemon, &ignored, &now);
		calm++;
		if (now.switches - since.switches > CALM_SWITCHES) {
			since = now;
			calm = 0;
		}
	}
}

static int looker(struct bench_team *team, int me, const void *context)
{
	const struct idle_setup *setup = context;
	struct idle_shared *shared = team->shared;
	struct bench_proc before, after, daemon_before, daemon_after;
	uint64_t start;
	double ns;

	(void)me;
	bench_team_ready(team, me);
	while (!cell_load(&shared->received.value))
		poll(NULL, 0, 1);
	await_rest(team, setup->daemon);
	start = bench_clock_ticks();
	look(shared, setup->daemon, &daemon_before, &before);
	poll(NULL, 0, team->env->quick ? LOOK_MS_QUICK : LOOK_MS);
	look(shared, setup->daemon, &daemon_after, &after);
	ns = bench_clock_ns(bench_clock_ticks() - start);
	shared->figures = (struct idle_figures){
		.wakes = (after.switches - before.switches) * 1e9 / ns,
		.share = (after.cpu_ns - before.cpu_ns) * 100 / ns,
		.memory = daemon_after.memory,
		.daemon_wakes = (daemon_after.switches - daemon_before.switches) * 1e9 / ns,
		.daemon_threads = daemon_after.n_threads,
	};
	cell_store(&shared->done.value, 1);
	cell_futex(&shared->done.value, FUTEX_WAKE, 1);
	return 0;
}

static int publish_one(struct bench_link *link)
{
	const char value[BENCH_VALUE_LEN] = { 0 };
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc = leat_publish(link->publisher, &record, NULL);

	if (rc == 0)
		rc = leat_flush(link->publisher, LEAT_ACK_DURABLE, BENCH_STREAM_WAIT_NS);
	return rc < 0 ? bench_stream_fail(link, rc, "cannot publish") : 0;
}

/* Between its two records it sleeps in the kernel until the looker has finished. */
static int publisher(struct bench_team *team, int me, const void *context)
{
	struct idle_shared *shared = team->shared;
	struct bench_link link;
	int rc;

	(void)context;
	cell_store(&shared->pids[me].value, (uint64_t)getpid());
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "idle");
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = publish_one(&link);
	}
	while (rc == 0 && !cell_load(&shared->done.value))
		cell_futex(&shared->done.value, FUTEX_WAIT, 0);
	if (rc == 0)
		rc = publish_one(&link);
	bench_stream_close(&link);
	return rc;
}

static int subscriber(struct bench_team *team, int me, const void *context)
{
	struct idle_shared *shared = team->shared;
	struct leat_message message;
	struct bench_link link;
	int rc;

	(void)context;
	cell_store(&shared->pids[me].value, (uint64_t)getpid());
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "idle", DEFAULT_SPIN_NS);
	if (rc == 0)
		bench_team_ready(team, me);
	while (rc >= 0 && !cell_load(&shared->done.value)) {
		rc = leat_next(link.subscriber, LEAT_FOREVER, &message);
		if (rc < 0 && rc != -EINTR)
			rc = bench_stream_fail(&link, rc, "cannot receive");
		cell_store(&shared->received.value, 1);
	}
	bench_stream_close(&link);
	return rc < 0 ? rc : 0;
}

static int run_idle(struct bench_env *env, struct idle_figures *ret_figures)
{
	struct idle_setup setup = { 0 };
	const struct bench_member members[MEMBERS] = {
		[LOOKER] = { .run = looker, .context = &setup, .cpu = -1 },
		[PUBLISHER] = { .run = publisher, .cpu = -1 },
		[SUBSCRIBER] = { .run = subscriber, .cpu = -1 },
	};
	struct leat_stream_options options;
	struct idle_shared *shared;
	struct bench_team team;
	int rc = bench_team_init(&team, env, sizeof(*shared));

	if (rc < 0)
		return rc;
	shared = team.shared;
	leat_stream_options_init(&options);
	rc = bench_stream_create(env, "idle", &options);
	if (rc == 0)
		rc = bench_proc_daemon(env, &setup.daemon);
	if (rc == 0)
		rc = bench_team_run(&team, members, MEMBERS, BENCH_TEAM_WAIT_NS);
	*ret_figures = shared->figures;
	bench_stream_delete(env, "idle");
	bench_team_deinit(&team);
	return rc;
}

enum idle_row {
	IDLE_WAKES = 1,
	IDLE_CPU = 2,
	IDLE_MEMORY = 4,
};

/* Coming to rest takes seconds, so that one look serves each of the rows once. */
static int take_look(struct bench_env *env, enum idle_row row, struct idle_figures *ret_figures,
		     struct bench_result *result)
{
	static struct idle_figures figures;
	static unsigned int unused;
	int rc = 0;

	if (!(unused & row)) {
		unused = 0;
		rc = run_idle(env, &figures);
	}
	if (rc < 0)
		return rc;
	unused = (unused ? unused : IDLE_WAKES | IDLE_CPU | IDLE_MEMORY) & ~(unsigned int)row;
	*ret_figures = figures;
	bench_add_fact(result, "daemon_wakes", figures.daemon_wakes);
	bench_add_fact(result, "daemon_threads", figures.daemon_threads);
	return 0;
}

int bench_idle_wakes(struct bench_env *env, struct bench_result *result)
{
	struct idle_figures figures = { 0 };
	int rc = take_look(env, IDLE_WAKES, &figures, result);

	result->value = figures.wakes;
	return rc;
}

int bench_idle_cpu(struct bench_env *env, struct bench_result *result)
{
	struct idle_figures figures = { 0 };
	int rc = take_look(env, IDLE_CPU, &figures, result);

	result->value = figures.share;
	return rc;
}

int bench_idle_memory(struct bench_env *env, struct bench_result *result)
{
	struct idle_figures figures = { 0 };
	int rc = take_look(env, IDLE_MEMORY, &figures, result);

	result->value = figures.memory;
	return rc;
}
