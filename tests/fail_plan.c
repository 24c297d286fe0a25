/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fail_plan.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

enum {
	BAD_MAX = 30,           /* cases that fail before the rest is given up */
	STEP_MAX_S = 25,        /* of the machine's time, not the clock's */
	CALLS_OF_ALL = 6,       /* the N-th call of a place, up to it */
	OPERATIONS_OF_ALL = 40, /* with io_uring the place is the one that submits for all */
	JOBS_MAX = 64,
	ENOUGH = 40, /* cases, to say that too few of them were reached */
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

static void make_page(struct fail_plan *plan)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	snprintf(plan->path, sizeof(plan->path), "%s/leat-fail.XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(plan->path);
	must(fd >= 0 && ftruncate(fd, sizeof(*plan->page)) == 0, "%s", plan->path);
	plan->page = mmap(NULL, sizeof(*plan->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(plan->page != MAP_FAILED, "mapping the page");
	close(fd);
	store_release(&plan->page->open, 1);
}

void fail_plan_init(struct fail_plan *plan, const char *program)
{
	*plan = (struct fail_plan){ .program = program };
	make_page(plan);
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

void fail_plan_join(struct fail_plan *plan)
{
	const char *path = getenv("LEAT_FAIL_CALLS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	*plan = (struct fail_plan){ 0 };
	must(fd >= 0, "no page");
	plan->page = mmap(NULL, sizeof(*plan->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(plan->page != MAP_FAILED, "mapping %s", path);
	close(fd);
}

void fail_open(struct fail_plan *plan)
{
	fetch_add_acq_rel(&plan->page->open, 1);
}

void fail_close(struct fail_plan *plan)
{
	fetch_add_acq_rel(&plan->page->open, UINT32_MAX);
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

bool fail_is(const struct fail_plan *plan, enum fail_fn fn, int error)
{
	const struct fail_page *page = plan->page;
	uint64_t key = load_relaxed(&page->key);

	for (size_t i = 0; i < FAIL_SITES && load_relaxed(&page->error) == error; i++)
		if (load_relaxed(&page->sites[i].key) == key)
			return page->sites[i].fn == fn;
	return false;
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

/* No signal interrupts each call for ever, and nothing is ready for ever and yet not:
 * that is rightly begun again. */
static bool can_last(enum fail_fn fn, int error)
{
	return error != EINTR && !((fn == FAIL_FN_read || fn == FAIL_FN_write) && error == EAGAIN);
}

static void add_site(struct fail_plan *plan, const struct fail_site *site)
{
	bool is_operation = site->fn >= FAIL_FN_io_uring_write &&
			    site->fn <= FAIL_FN_io_uring_sync_file_range;
	uint32_t n = load_relaxed(&site->n);
	uint32_t later = (uint32_t)min_u64(n, is_operation ? OPERATIONS_OF_ALL : CALLS_OF_ALL);
	const int *errors = fns[site->fn].errors;
	int n_errors = 0;

	while (errors[n_errors])
		add(plan, site, errors[n_errors++], FAIL_ONCE, 0);
	/* From then on it is the function that fails, wherever it began: each place has another
	 * errno, and so each errno has many places. */
	for (int i = 0; i < 2 && i < n_errors; i++) {
		int error = errors[(plan->n_sites + (size_t)i * 7) % (size_t)n_errors];

		if (can_last(site->fn, error))
			add(plan, site, error, FAIL_FROM_ON, 0);
	}
	/* Which of its errnos a later call has matters less than that it fails there. */
	for (uint32_t skip = 1; skip < later; skip++)
		add(plan, site, errors[is_operation ? skip % (uint32_t)n_errors : 0], FAIL_ONCE,
		    skip);
	if (n > 1 && can_last(site->fn, errors[0]))
		add(plan, site, errors[0], FAIL_FROM_ON, n / 2);
}

/* The same for the same build, whatever else is counted. */
static uint64_t id_of(const struct fail_case *one)
{
	uint64_t id = one->key ^ (uint64_t)(uint32_t)one->error << 8 ^ (uint64_t)one->mode << 40 ^
		      (uint64_t)one->skip << 48;

	return harness_random(&id);
}

static bool is_in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (strncmp(list, name, len) == 0 && (list[len] == '\0' || list[len] == ','))
			return true;
	}
	return false;
}

/* Leaves those that the environment asks for. */
static void choose(struct fail_plan *plan)
{
	const char *id = getenv("LEAT_FAIL_CASE"), *slice = getenv("LEAT_FAIL_SLICE");
	unsigned long long k = 0, n = 1;
	size_t n_kept = 0;

	must(!slice || (sscanf(slice, "%llu/%llu", &k, &n) == 2 && k < n), "LEAT_FAIL_SLICE=%s",
	     slice);
	for (size_t i = 0; i < plan->n; i++)
		if (id ? id_of(&plan->cases[i]) == strtoull(id, NULL, 16)
		       : id_of(&plan->cases[i]) % n == k)
			plan->cases[n_kept++] = plan->cases[i];
	plan->n = n_kept;
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
		if (only && !is_in_list(only, fns[site->fn].name))
			continue;
		plan->n_sites++;
		add_site(plan, site);
	}
	must(plan->n > 0, "the victim makes no call");
	printf("%s: %zu places, %zu cases\n", plan->program, plan->n_sites, plan->n);
	fflush(stdout);
	choose(plan);
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

static void describe(FILE *text, const struct fail_plan *plan, const struct fail_case *one)
{
	const char *build = getenv("LEAT_BUILD");
	char command[900], line[300];
	size_t len;
	FILE *pipe;

	fprintf(text, "case: %s, %s, %s, after %u calls from there; LEAT_FAIL_CASE=%016llx\n",
		fail_fn_name(one->fn),
		one->error == FAIL_SHORT ? "half of it" : strerrorname_np(one->error),
		one->mode == FAIL_ONCE ? "once" : "from then on", one->skip,
		(unsigned long long)id_of(one));
	len = (size_t)snprintf(command, sizeof(command), "addr2line -s -f -p -e %s/%s",
			       build ? build : "build/release", plan->program);
	for (int i = 0; i < FAIL_FRAMES && one->frames[i]; i++)
		len += (size_t)snprintf(command + len, sizeof(command) - len, " %#llx",
					(unsigned long long)one->frames[i] - 1);
	pipe = popen(command, "re");
	while (pipe && fgets(line, sizeof(line), pipe))
		fprintf(text, "    from %s", line);
	if (pipe)
		pclose(pipe);
}

/* Its wait status; -1: it stood still. */
static int watch(pid_t pid, struct fail_progress *progress)
{
	struct pollfd pfd = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	uint64_t stood_ns = 0, last = harness_now_ns();
	uint32_t step = 0;
	int status;

	must(pfd.fd >= 0, "pidfd_open");
	while (poll(&pfd, 1, 50) <= 0) {
		uint64_t now = harness_now_ns();

		if (load_acquire(&progress->n_steps) != step) {
			step = load_acquire(&progress->n_steps);
			stood_ns = 0;
		}
		/* While this process did not run either, it was the machine that stood still. */
		stood_ns += now - last < 100000000 ? now - last : 100000000;
		last = now;
		if (stood_ns <= (uint64_t)STEP_MAX_S * 1000000000u)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(pfd.fd);
		return -1;
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	close(pfd.fd);
	return status;
}

/* In one piece: other jobs may have something to say, too. */
static void tell(const struct fail_plan *plan, const struct fail_case *one,
		 const struct fail_progress *progress, int status)
{
	char *whole = NULL;
	size_t len = 0;
	FILE *text = open_memstream(&whole, &len);

	must(text, "no memory for a sentence");
	fprintf(text, "FAILED  (%s) at: %s%s%s\n",
		status < 0            ? "stands still"
		: WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
				      : "checked",
		progress->step, progress->where[0] ? ", in " : "", progress->where);
	describe(text, plan, one);
	fclose(text);
	fflush(stdout);
	must(write(STDOUT_FILENO, whole, len) == (ssize_t)len, "writing to stdout");
	free(whole);
}

static void run_one(struct fail_plan *plan, struct fail_case *one, struct fail_progress *progress,
		    int (*fn)(void *))
{
	pid_t daemon;
	int status;

	store_release(&progress->pid, 0);
	status = watch(harness_fork(fn, one), progress);
	fetch_add_relaxed(&plan->tally->n_run, 1);
	if (fail_n_hit(plan) > 0)
		fetch_add_relaxed(&plan->tally->n_hit, 1);
	if (status == 0)
		return;
	fetch_add_relaxed(&plan->tally->n_bad, 1);
	tell(plan, one, progress, status);
	daemon = (pid_t)load_acquire(&progress->pid);
	if (daemon > 0)
		kill(daemon, SIGKILL);
}

/* Until none is left that nobody has taken. */
static void run_some(struct fail_plan *plan, struct fail_progress *progress, int (*fn)(void *))
{
	const char *given = getenv("LEAT_FAIL_BAD");
	size_t bad_max = given ? strtoull(given, NULL, 0) : BAD_MAX, i;

	while (load_relaxed(&plan->tally->n_bad) < bad_max &&
	       (i = fetch_add_relaxed(&plan->tally->next, 1)) < plan->n)
		run_one(plan, &plan->cases[i], progress, fn);
	unlink(plan->path);
}

static void conclude(struct fail_plan *plan)
{
	uint32_t n_run = load_relaxed(&plan->tally->n_run);
	uint32_t n_hit = load_relaxed(&plan->tally->n_hit);
	uint32_t n_bad = load_relaxed(&plan->tally->n_bad);

	printf("%s: %zu places, %u cases run, %u reached, %u failed\n", plan->program,
	       plan->n_sites, n_run, n_hit, n_bad);
	must(n_bad == 0, "%u of %u cases failed", n_bad, n_run);
	must(n_run < ENOUGH || n_hit * 2 > n_run, "too few calls were reached");
}

void fail_plan_run(struct fail_plan *plan, struct fail_progress *progress, int (*fn)(void *one))
{
	plan->tally = harness_shared(sizeof(*plan->tally));
	run_some(plan, progress, fn);
	conclude(plan);
}

struct job {
	struct fail_plan *plan;
	struct fail_progress *(*begin)(void);
	int (*fn)(void *one);
};

static int run_job(void *arg)
{
	struct job *job = arg;

	make_page(job->plan);
	run_some(job->plan, job->begin(), job->fn);
	return 0;
}

void fail_plan_run_jobs(struct fail_plan *plan, unsigned n_by_default,
			struct fail_progress *(*begin)(void), int (*fn)(void *one))
{
	struct job job = { .plan = plan, .begin = begin, .fn = fn };
	const char *given = getenv("LEAT_FAIL_JOBS");
	unsigned n = given ? (unsigned)strtoul(given, NULL, 0) : n_by_default;
	pid_t pids[JOBS_MAX];
	int status;

	must(n > 0 && n <= JOBS_MAX, "LEAT_FAIL_JOBS=%u", n);
	plan->tally = harness_shared(sizeof(*plan->tally));
	unlink(plan->path);
	for (unsigned i = 0; i < n; i++)
		pids[i] = harness_fork(run_job, &job);
	for (unsigned i = 0; i < n; i++)
		must(waitpid(pids[i], &status, 0) == pids[i] && status == 0, "a job ends");
	conclude(plan);
}
