/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_proc.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

enum {
	PATH_LEN = 128,
};

/* The sum of the numbers behind these words in a file of lines such as "Word: 12 kB". */
static double sum_of(const char *path, const char *const *words)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0, i, len;
	double sum = 0;

	while (file && getline(&line, &cap, file) > 0) {
		for (i = 0; words[i]; i++) {
			len = strlen(words[i]);
			if (strncmp(line, words[i], len) == 0 && line[len] == ':')
				sum += strtod(line + len + 1, NULL);
		}
	}
	free(line);
	if (file)
		fclose(file);
	return sum;
}

static void read_task(const char *dir, const char *task, struct bench_proc *proc)
{
	static const char *const switches[] = { "voluntary_ctxt_switches",
						"nonvoluntary_ctxt_switches", NULL };
	char path[PATH_LEN];
	double cpu_ns = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%.64s/%.16s/schedstat", dir, task);
	file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%lf", &cpu_ns) == 1)
			proc->cpu_ns += cpu_ns;
		fclose(file);
	}
	snprintf(path, sizeof(path), "%.64s/%.16s/status", dir, task);
	proc->switches += sum_of(path, switches);
	proc->n_threads++;
}

void bench_proc_read(pid_t pid, struct bench_proc *ret_proc)
{
	static const char *const memory[] = { "RssAnon", "RssFile", NULL };
	char path[PATH_LEN];
	struct dirent *entry;
	DIR *dir;

	*ret_proc = (struct bench_proc){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	ret_proc->memory = sum_of(path, memory) * 1024;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			read_task(path, entry->d_name, ret_proc);
	}
	if (dir)
		closedir(dir);
}

double bench_proc_dirty(void)
{
	static const char *const words[] = { "Dirty", "Writeback", NULL };

	return sum_of("/proc/meminfo", words) * 1024;
}

/* What `leat stat --json` says of the bus; the caller's. */
static int stat_bus(struct bench_env *env, json_t **ret_bus)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	cleanup_with(tool_free) char *text = NULL;
	json_t *root, *object;
	int rc = leat_connect(env->bus, NULL, &bus);

	if (rc == 0)
		rc = leat_stat_json(bus, NULL, &text);
	if (rc < 0) {
		snprintf(env->error, sizeof(env->error), "no statistics of the bus: %s",
			 leat_strerror(rc));
		return rc;
	}
	root = json_loads(text, 0, NULL);
	object = json_incref(json_object_get(root, "bus"));
	json_decref(root);
	if (!object)
		return -EPROTO;
	*ret_bus = object;
	return 0;
}

int bench_proc_daemon(struct bench_env *env, pid_t *ret_pid)
{
	json_t *bus;
	int rc = stat_bus(env, &bus);

	if (rc < 0)
		return rc;
	*ret_pid = (pid_t)json_integer_value(json_object_get(bus, "pid"));
	json_decref(bus);
	return *ret_pid > 0 ? 0 : -EPROTO;
}

int bench_proc_data_dir(struct bench_env *env, char *path, size_t len)
{
	const char *text;
	json_t *bus;
	int rc = stat_bus(env, &bus);

	if (rc < 0)
		return rc;
	text = json_string_value(json_object_get(bus, "data"));
	if (!text || snprintf(path, len, "%s", text) >= (int)len)
		rc = -EPROTO;
	json_decref(bus);
	return rc;
}
