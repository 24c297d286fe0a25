/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fail_plan.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/harness.h"

enum {
	BAD_MAX = 30,     /* cases that fail before the rest is given up */
	STEP_MAX_S = 25,  /* of the machine's time, not the clock's */
	CALLS_OF_ALL = 6, /* the N-th call of a place, up to it */
};

static const struct {
	const char *name;
	int errors[FAIL_ERRORS_MAX];
} fns[] = {
#define FAIL_ROW(name, ...) { #name, { __VA_ARGS__ } },
	FAIL_CALLS(FAIL_ROW)
#undef FAIL_ROW
};

const char *fail_fn_name(enum fail_fn fn)
{
	return fns[fn].name;
}

/* ---- the page ---- */

static void so_path(char *path, size_t len)
{
	const char *given = getenv("LEAT_BUILD");

	snprintf(path, len, "%s/tests/fail_calls.so", given ? given : "build/release");
}

bool fail_plan_possible(void)
{
	char path[640];

	so_path(path, sizeof(path));
	return access(path, R_OK) == 0;
}

void fail_plan_init(struct fail_plan *plan, const char *program)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	*plan = (struct fail_plan){ .program = program };
	snprintf(plan->path, sizeof(plan->path), "%s/leat-fail.XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(plan->path);
	must(fd >= 0 && ftruncate(fd, sizeof(*plan->page)) == 0, "%s", plan->path);
	plan->page = mmap(NULL, sizeof(*plan->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(plan->page != MAP_FAILED, "mapping the page");
	close(fd);
	store_release(&plan->page->open, 1);
}

void fail_plan_preload(const struct fail_plan *plan)
{
	char path[640], *whole;

	so_path(path, sizeof(path));
	whole = realpath(path, NULL);
	must(whole, "no %s", path);
	setenv("LD_PRELOAD", whole, 1);
	setenv("LEAT_FAIL_CALLS", plan->path, 1);
	free(whole);
}

void fail_count(struct fail_plan *plan)
{
	store_release(&plan->page->counts, 1);
}

void fail_arm(struct fail_plan *plan, const struct fail_case *one)
{
	struct fail_page *page = plan->page;

	store_relaxed(&page->counts, 0);
	store_relaxed(&page->mode, FAIL_OFF);
	store_relaxed(&page->error, one->error);
	store_relaxed(&page->key, one->key);
	store_relaxed(&page->skip, one->skip);
	store_relaxed(&page->passed, 0);
	store_relaxed(&page->raging, 0);
	store_relaxed(&page->n_hit, 0);
	store_release(&page->mode, one->mode);
}

void fail_disarm(struct fail_plan *plan)
{
	store_release(&plan->page->mode, FAIL_OFF);
	store_release(&plan->page->raging, 0);
}

uint32_t fail_n_hit(const struct fail_plan *plan)
{
	return load_acquire(&plan->page->n_hit);
}

/* ---- the cases ---- */

static void add(struct fail_plan *plan, const struct fail_site *site, int error,
		enum fail_mode mode, uint32_t skip)
{
	struct fail_case *one;

	if (plan->n % 1024 == 0)
		plan->cases = reallocarray(plan->cases, plan->n + 1024, sizeof(*plan->cases));
	must(plan->cases, "no memory for cases");
	one = &plan->cases[plan->n++];
	*one = (struct fail_case){
		.key = load_relaxed(&site->key),
		.fn = site->fn,
		.mode = mode,
		.error = error,
		.skip = skip,
	};
	memcpy(one->frames, site->frames, sizeof(one->frames));
}

static void add_site(struct fail_plan *plan, const struct fail_site *site)
{
	uint32_t n = load_relaxed(&site->n), later = n < CALLS_OF_ALL ? n : CALLS_OF_ALL;
	const int *errors = fns[site->fn].errors;

	int n_errors = 0;

	while (errors[n_errors])
		add(plan, site, errors[n_errors++], FAIL_ONCE, 0);
	/* From then on it is the function that fails, wherever it began: each place has another
	 * errno, and so each errno has many places. */
	for (int i = 0; i < 2 && i < n_errors; i++) {
		int error = errors[(plan->n_sites + (size_t)i * 7) % (size_t)n_errors];

		/* No signal interrupts each call for ever: it is rightly begun again. */
		if (error != EINTR)
			add(plan, site, error, FAIL_FROM_ON, 0);
	}
	/* Which of its errnos a later call has matters less than that it fails there. */
	for (uint32_t skip = 1; skip < later; skip++)
		add(plan, site, errors[0], FAIL_ONCE, skip);
	if (n > 1 && errors[0] != EINTR)
		add(plan, site, errors[0], FAIL_FROM_ON, n / 2);
}

void fail_plan_make(struct fail_plan *plan, bool (*wanted)(enum fail_fn fn), size_t n_by_default)
{
	const char *given = getenv("LEAT_FAILS"), *only = getenv("LEAT_FAIL_FN");
	size_t n = given ? strtoull(given, NULL, 0) : n_by_default;
	uint64_t seed = harness_seed();

	store_relaxed(&plan->page->counts, 0);
	for (size_t i = 0; i < FAIL_SITES; i++) {
		const struct fail_site *site = &plan->page->sites[i];

		if (!load_relaxed(&site->key) || (wanted && !wanted(site->fn)))
			continue;
		if (only && strcmp(only, fns[site->fn].name) != 0)
			continue;
		plan->n_sites++;
		add_site(plan, site);
	}
	must(plan->n > 0, "the victim makes no call");
	printf("%s: %zu places, %zu cases\n", plan->program, plan->n_sites, plan->n);
	fflush(stdout);
	if (getenv("LEAT_FULL") || n >= plan->n)
		return;
	for (size_t i = 0; i < n; i++) {
		size_t other = i + harness_random(&seed) % (plan->n - i);
		struct fail_case one = plan->cases[i];

		plan->cases[i] = plan->cases[other];
		plan->cases[other] = one;
	}
	plan->n = n;
}

/* ---- the run ---- */

static void describe(const struct fail_plan *plan, const struct fail_case *one)
{
	const char *build = getenv("LEAT_BUILD");
	char command[900], line[300];
	size_t len;
	FILE *pipe;

	printf("case: %s, %s, %s, after %u calls from there\n", fail_fn_name(one->fn),
	       one->error == FAIL_SHORT ? "half of it" : strerrorname_np(one->error),
	       one->mode == FAIL_ONCE ? "once" : "from then on", one->skip);
	len = (size_t)snprintf(command, sizeof(command), "addr2line -s -f -p -e %s/%s",
			       build ? build : "build/release", plan->program);
	for (int i = 0; i < FAIL_FRAMES && one->frames[i]; i++)
		len += (size_t)snprintf(command + len, sizeof(command) - len, " %#llx",
					(unsigned long long)one->frames[i] - 1);
	fflush(stdout);
	pipe = popen(command, "re");
	while (pipe && fgets(line, sizeof(line), pipe))
		printf("    from %s", line);
	if (pipe)
		pclose(pipe);
}

/* Its wait status; -1: it stood still. */
static int watch(pid_t pid, struct fail_progress *progress)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t stood_ns = 0, last = harness_now_ns();
	uint32_t step = 0;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		uint64_t now = harness_now_ns();

		if (load_acquire(&progress->n_steps) != step) {
			step = load_acquire(&progress->n_steps);
			stood_ns = 0;
		}
		/* While this process did not run either, it was the machine that stood still. */
		stood_ns += now - last < 100000000 ? now - last : 100000000;
		last = now;
		if (stood_ns > (uint64_t)STEP_MAX_S * 1000000000u) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return -1;
		}
		nanosleep(&pause, NULL);
	}
	return status;
}

static void run_one(struct fail_plan *plan, struct fail_case *one, struct fail_progress *progress,
		    int (*fn)(void *))
{
	pid_t daemon;
	int status;

	store_release(&progress->pid, 0);
	status = watch(harness_fork(fn, one), progress);
	plan->n_run++;
	plan->n_hit += fail_n_hit(plan) > 0;
	if (status == 0)
		return;
	plan->n_bad++;
	printf("FAILED  (%s) at: %s\n",
	       status < 0            ? "stands still"
	       : WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
				     : "checked",
	       progress->step);
	describe(plan, one);
	fflush(stdout);
	daemon = (pid_t)load_acquire(&progress->pid);
	if (daemon > 0)
		kill(daemon, SIGKILL);
}

void fail_plan_run(struct fail_plan *plan, struct fail_progress *progress, int (*fn)(void *one))
{
	const char *given = getenv("LEAT_FAIL_BAD");
	size_t bad_max = given ? strtoull(given, NULL, 0) : BAD_MAX;

	for (size_t i = 0; i < plan->n && plan->n_bad < bad_max; i++)
		run_one(plan, &plan->cases[i], progress, fn);
	printf("%s: %zu places, %zu cases run, %zu reached, %zu failed\n", plan->program,
	       plan->n_sites, plan->n_run, plan->n_hit, plan->n_bad);
	unlink(plan->path);
	must(plan->n_bad == 0, "%zu of %zu cases failed", plan->n_bad, plan->n_run);
	must(plan->n_hit * 2 > plan->n_run, "too few calls were reached");
}
