/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the cases on the weak machine, and the controls: each ordering call of shm/ made to order
 * nothing, which a case has to notice. See README.md in this folder.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/weak/bed.h"
#include "tests/weak/controls.h"

#undef memcpy

enum {
	MAIN_SITES_MAX = 128,
	MAIN_NAME_MAX = 96,
};

static unsigned int main_deeper; /* than a usual run */
static unsigned int main_passed, main_failed;

static const struct weak_case *main_case(const char *name)
{
	for (size_t i = 0; weak_cases[i]; i++)
		if (strcmp(weak_cases[i]->name, name) == 0)
			return weak_cases[i];
	fprintf(stderr, "weak: there is no case '%s'\n", name);
	exit(2);
}

/* ---- sites ---- */

/* A call in a header has a site in each file that includes it; they are one. */
struct main_site {
	struct weak_site *of[16];
	unsigned int n;
	bool controlled;
	char name[MAIN_NAME_MAX]; /* function/call, #2 for the second such call in the function */
};
static struct main_site main_sites[MAIN_SITES_MAX];
static unsigned int main_n_sites;
static struct main_site *main_marked; /* the last one */

static bool main_same(const struct weak_site *a, const struct weak_site *b)
{
	return a->line == b->line && strcmp(a->file, b->file) == 0 && strcmp(a->op, b->op) == 0;
}

static void main_add_site(struct weak_site *site)
{
	for (unsigned int i = 0; i < main_n_sites; i++) {
		struct main_site *known = &main_sites[i];

		if (main_same(known->of[0], site)) {
			known->of[known->n++] = site;
			return;
		}
	}
	main_sites[main_n_sites++] = (struct main_site){ .of = { site }, .n = 1 };
}

static void main_name_site(struct main_site *site)
{
	const struct weak_site *me = site->of[0];
	unsigned int nth = 1;

	for (unsigned int i = 0; i < main_n_sites; i++) {
		const struct weak_site *other = main_sites[i].of[0];

		nth += strcmp(other->func, me->func) == 0 && strcmp(other->op, me->op) == 0 &&
		       other->line < me->line;
	}
	snprintf(site->name, sizeof(site->name), nth > 1 ? "%s/%s#%u" : "%s/%s", me->func, me->op,
		 nth);
}

static void main_gather(void)
{
	size_t n;
	struct weak_site *sites = weak_sites(&n);

	/* The litmus programs are about the machine, not about shm/. */
	for (size_t i = 0; i < n; i++)
		if (!strstr(sites[i].file, "litmus"))
			main_add_site(&sites[i]);
	for (unsigned int i = 0; i < main_n_sites; i++)
		main_name_site(&main_sites[i]);
}

/* ---- running ---- */

static void main_report(const char *what, const struct weak_result *result, bool good)
{
	printf("%s  %s: %llu executions, %llu steps, %s\n", good ? "pass" : "FAIL", what,
	       (unsigned long long)result->executions, (unsigned long long)result->steps,
	       result->failure[0] ? result->failure : "holds");
	fflush(stdout);
	main_passed += good;
	main_failed += !good;
}

static void main_run_case(const struct weak_case *one)
{
	struct weak_result result;

	weak_explore(one, one->depth + main_deeper, &result);
	main_report(one->name, &result, (result.failure[0] != 0) == one->fails);
}

static bool main_passes(const struct weak_case *one, const struct main_site *site)
{
	struct weak_result result;
	bool passed = false;

	for (unsigned int i = 0; i < site->n; i++)
		site->of[i]->passed = false;
	weak_explore(one, 1, &result);
	for (unsigned int i = 0; i < site->n; i++)
		passed |= site->of[i]->passed;
	return passed;
}

/* Whether the case fails with at most so many surprises; the fewest are tried first. */
static bool main_find(const struct weak_case *one, unsigned int depth,
		      struct weak_result *ret_result)
{
	for (unsigned int d = 1; d <= depth; d++) {
		weak_explore(one, d, ret_result);
		if (ret_result->failure[0])
			return true;
	}
	return false;
}

/* ---- controls ---- */

/* The sites of a control, each with a call; exits where one is not to be found. */
static void main_each(const struct weak_control *control, void (*call)(struct main_site *, bool),
		      bool arg)
{
	const char *at = control->sites;

	while (*at) {
		size_t len = strcspn(at, " ");
		unsigned int i = 0;

		while (i < main_n_sites && (strncmp(main_sites[i].name, at, len) != 0 ||
					    main_sites[i].name[len] != '\0'))
			i++;
		if (i == main_n_sites) {
			fprintf(stderr, "weak: there is no ordering call '%.*s'\n", (int)len, at);
			exit(2);
		}
		call(&main_sites[i], arg);
		at += len;
		at += strspn(at, " +");
	}
}

static void main_weaken(struct main_site *site, bool weakened)
{
	for (unsigned int i = 0; i < site->n; i++)
		site->of[i]->weakened = weakened;
}

static void main_mark(struct main_site *site, bool controlled)
{
	site->controlled = controlled;
	main_marked = site;
}

/* A case that nothing can be taken away from unnoticed is one that runs through it. */
static void main_run_free(const struct weak_control *control)
{
	struct weak_result result = { 0 };
	char what[2 * MAIN_NAME_MAX];
	unsigned int n = 0;

	main_each(control, main_mark, true);
	for (size_t c = 0; weak_cases[c] && !result.failure[0]; c++) {
		if (!main_passes(weak_cases[c], main_marked))
			continue;
		n++;
		main_each(control, main_weaken, true);
		weak_explore(weak_cases[c], 2, &result);
		main_each(control, main_weaken, false);
	}
	snprintf(what, sizeof(what), "without %s in %u cases", control->sites, n);
	main_report(what, &result, n > 0 && !result.failure[0]);
}

static void main_run_control(const struct weak_control *control)
{
	struct weak_result result;
	char what[3 * MAIN_NAME_MAX];
	bool found;

	if (!control->in) {
		main_run_free(control);
		return;
	}
	main_each(control, main_mark, true);
	main_each(control, main_weaken, true);
	found = main_find(main_case(control->in), main_case(control->in)->depth, &result);
	main_each(control, main_weaken, false);
	snprintf(what, sizeof(what), "without %s: %s", control->sites, control->in);
	main_report(what, &result,
		    found &&
			    strncmp(result.failure, control->result, strlen(control->result)) == 0);
}

static void main_run_controls(void)
{
	for (size_t i = 0; weak_controls[i].sites; i++)
		main_run_control(&weak_controls[i]);
	for (unsigned int i = 0; i < main_n_sites; i++) {
		if (main_sites[i].controlled)
			continue;
		printf("FAIL  %s:%d: %s has no control\n", main_sites[i].of[0]->file,
		       main_sites[i].of[0]->line, main_sites[i].name);
		main_failed++;
	}
}

/* Which case would notice that a call is gone: what the table of controls is made from. */
static void main_matrix(const char *only)
{
	for (unsigned int i = 0; i < main_n_sites; i++) {
		struct main_site *site = &main_sites[i];

		if (only && !strstr(site->name, only))
			continue;
		printf("%s:", site->name);
		for (size_t c = 0; weak_cases[c]; c++) {
			struct weak_result result;

			if (!main_passes(weak_cases[c], site))
				continue;
			main_weaken(site, true);
			if (main_find(weak_cases[c], 2 + main_deeper, &result))
				printf(" %s (%s)", weak_cases[c]->name, result.failure);
			main_weaken(site, false);
			fflush(stdout);
		}
		printf("\n");
	}
}

static void main_list(void)
{
	for (unsigned int i = 0; i < main_n_sites; i++)
		printf("%s:%d %s\n", main_sites[i].of[0]->file, main_sites[i].of[0]->line,
		       main_sites[i].name);
}

static void main_run(const char *what)
{
	if (strcmp(what, "cases") == 0) {
		for (size_t i = 0; weak_cases[i]; i++)
			main_run_case(weak_cases[i]);
	} else if (strcmp(what, "litmus") == 0) {
		for (size_t i = 0; weak_litmus[i].name; i++)
			main_run_case(&weak_litmus[i]);
	} else if (strcmp(what, "controls") == 0) {
		main_run_controls();
	} else {
		main_run_case(main_case(what));
	}
}

int main(int argc, char **argv)
{
	const char *deeper = getenv("LEAT_WEAK_DEEPER");

	if (argc < 2) {
		fprintf(stderr,
			"usage: weak litmus | cases | controls | CASE | sites | matrix [SITE]\n");
		return 2;
	}
	if (deeper)
		main_deeper = (unsigned int)strtoul(deeper, NULL, 10);
	main_gather();
	if (strcmp(argv[1], "sites") == 0) {
		main_list();
		return 0;
	}
	if (strcmp(argv[1], "matrix") == 0) {
		main_matrix(argv[2]);
		return 0;
	}
	main_run(argv[1]);
	printf("%u passed, %u failed\n", main_passed, main_failed);
	return main_failed > 0;
}
