/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting, closing, and the sentences about failures. */
#include "clientlib/bus.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum {
	BUS_FAILURES_MAX = 64, /* threads whose last failure is kept */
	BUS_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path),
};

#define BUS_TIMEOUT_NS (5 * NS_PER_S)
#define BUS_SYSTEM_SOCKET "/run/leat/bus.sock"

struct bus_failure {
	struct bus_failure *next;
	pid_t thread;
	struct detail detail;
};

/* ---- failures ---- */

int bus_forked(struct detail *detail)
{
	return detail_fail(detail, -EPERM,
			   "the handle was opened by the parent process: a forked child has to "
			   "call leat_connect() itself");
}

/* NULL: there is none. Locked. */
static struct bus_failure *failure_of(const struct leat_bus *bus, pid_t thread)
{
	struct bus_failure *failure = bus->failures;

	while (failure && failure->thread != thread)
		failure = failure->next;
	return failure;
}

/* Nobody's yet. */
static int add_failure(struct leat_bus *bus)
{
	struct bus_failure *failure = calloc(1, sizeof(*failure));

	if (!failure)
		return -ENOMEM;
	failure->next = bus->failures;
	bus->failures = failure;
	bus->n_failures++;
	return 0;
}

/* The thread's own entry, or a new one; where there is no room or no memory for that, the longest
 * unused one: leat_connect() makes the first. Locked. */
static struct bus_failure *take_failure(struct leat_bus *bus, pid_t thread)
{
	struct bus_failure **at = &bus->failures, *failure;

	if (!failure_of(bus, thread) && (!bus->failures || bus->failures->thread) &&
	    bus->n_failures < BUS_FAILURES_MAX)
		(void)add_failure(bus);
	if (!bus->failures)
		return NULL;
	while ((*at)->thread != thread && (*at)->thread && (*at)->next)
		at = &(*at)->next;
	failure = *at;
	*at = failure->next;
	failure->thread = thread;
	failure->next = bus->failures;
	bus->failures = failure;
	return failure;
}

int bus_done(struct leat_bus *bus, int r, struct detail *detail)
{
	struct bus_failure *failure;

	detail_default(detail, r);
	if (r >= 0 || !bus_alive(bus))
		return r;
	pthread_mutex_lock(&bus->failures_lock);
	failure = take_failure(bus, gettid());
	if (failure)
		failure->detail = *detail;
	pthread_mutex_unlock(&bus->failures_lock);
	return r;
}

const char *leat_detail(const struct leat_bus *bus)
{
	struct leat_bus *own = (struct leat_bus *)bus;
	struct bus_failure *failure;

	if (!bus || !bus_alive(bus))
		return "";
	pthread_mutex_lock(&own->failures_lock);
	failure = failure_of(own, gettid());
	pthread_mutex_unlock(&own->failures_lock);
	return failure ? failure->detail.text : "";
}

const char *leat_version(void)
{
	return LEAT_VERSION;
}

const char *leat_strerror(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ 0, "success" },
		{ EACCES, "permission denied" },
		{ EAGAIN, "no room now, try again" },
		{ EBADMSG, "damaged or malformed data" },
		{ ECONNREFUSED, "no daemon behind the socket" },
		{ EEXIST, "exists already" },
		{ EINTR, "interrupted by a signal" },
		{ EINVAL, "invalid name, option or argument" },
		{ EIO, "input/output error" },
		{ EMFILE, "too many open files" },
		{ EMSGSIZE, "longer than the limit" },
		{ ENAMETOOLONG, "name too long" },
		{ ENOENT, "does not exist" },
		{ ENOMEM, "out of memory" },
		{ ENOSPC, "not enough space" },
		{ ENOTCONN, "the daemon is away" },
		{ EOPNOTSUPP, "not offered by this stream" },
		{ EPERM, "handle of another process" },
		{ EPROTONOSUPPORT, "unknown version" },
		{ ESTALE, "not known whether it counts" },
		{ ETIMEDOUT, "timed out" },
	};
	const char *name;
	size_t i;

	if (error > 0 || error < -4095)
		return "unknown error";
	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (names[i].error == -error)
			return names[i].name;
	}
	/* Of the C library; static also for numbers that it does not know. */
	name = strerrordesc_np(-error);
	return name ? name : "unknown error";
}

int bus_take_options(void *to, size_t to_len, const void *from, const char *what,
		     struct detail *detail)
{
	size_t len;

	if (!from)
		return 0;
	memcpy(&len, from, sizeof(len));
	if (len < sizeof(len) || len > 65536)
		return detail_fail(detail, -EINVAL,
				   "%s: the size field is %zu, set it to sizeof(struct %s)", what,
				   len, what);
	memcpy(to, from, len < to_len ? len : to_len);
	memcpy(to, &to_len, sizeof(to_len));
	return 0;
}

/* ---- connecting ---- */

/* A directory in /tmp counts only when nobody else can have made it. */
static bool is_ours(const char *path)
{
	char dir[BUS_PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = 0;
	return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

static int candidate_path(unsigned int i, char path[BUS_PATH_MAX])
{
	const char *env = secure_getenv("LEAT_BUS");
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	int n;

	if (env && *env) {
		if (i > 0)
			return -ENOENT;
		n = snprintf(path, BUS_PATH_MAX, "%s", env);
	} else if (i == 0 && runtime && *runtime) {
		n = snprintf(path, BUS_PATH_MAX, "%s/leat/bus.sock", runtime);
	} else if (i == 0) {
		n = snprintf(path, BUS_PATH_MAX, "/tmp/leat-%u/bus.sock", (unsigned int)geteuid());
		if (n < BUS_PATH_MAX && !is_ours(path))
			path[0] = 0;
	} else if (i == 1) {
		n = snprintf(path, BUS_PATH_MAX, BUS_SYSTEM_SOCKET);
	} else {
		return -ENOENT;
	}
	return n < BUS_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int connect_at(struct control *control, const char *path,
		      const struct leat_connect_options *options, struct detail *detail)
{
	struct deadline deadline = DEADLINE(options->timeout_ns);
	int r = control_init(control, path, options->client, options->timeout_ns);

	if (r == -ENAMETOOLONG)
		return detail_fail(detail, r, "the socket's path is longer than %d bytes: %s",
				   BUS_PATH_MAX - 1, path);
	if (r < 0)
		return r;
	r = control_connect(control, &deadline, detail);
	if (r < 0)
		control_deinit(control);
	return r == -ENOTCONN ? -ECONNREFUSED : r;
}

/* The first bus that answers; otherwise the first one's failure, unless it was not there. */
static int connect_anywhere(struct control *control, const struct leat_connect_options *options,
			    struct detail *detail)
{
	char path[BUS_PATH_MAX], tried[2][BUS_PATH_MAX] = { "", "" };
	int first = -ENOENT, r;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct detail here = { "" };

		r = candidate_path(i, path);
		if (r == -ENOENT)
			break;
		if (r == 0 && path[0])
			r = connect_at(control, path, options, &here);
		else if (r == 0)
			continue;
		if (r == 0)
			return 0;
		if (first == -ENOENT) {
			first = r;
			*detail = here;
		}
		snprintf(tried[i], BUS_PATH_MAX, "%s", path);
	}
	if (first != -ENOENT)
		return first;
	return detail_fail(detail, -ENOENT,
			   "no bus at %s%s%s: start one with `leatd`, or set "
			   "LEAT_BUS to a bus' socket",
			   tried[0], tried[0][0] && tried[1][0] ? " or " : "", tried[1]);
}

static void tell_detail(const struct leat_connect_options *options, const struct detail *detail)
{
	if (options->detail && options->detail_len > 0)
		snprintf(options->detail, options->detail_len, "%s", detail->text);
}

static int bus_new(struct leat_bus **ret_bus)
{
	struct leat_bus *bus = calloc(1, sizeof(*bus));
	void *page;

	if (!bus)
		return -ENOMEM;
	bus->control.fd = -1;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK) < 0) {
		if (page != MAP_FAILED)
			munmap(page, 4096);
		free(bus);
		return -ENOMEM;
	}
	bus->alive = page;
	*bus->alive = 1;
	pthread_mutex_init(&bus->failures_lock, NULL);
	if (add_failure(bus) < 0) {
		leat_close(bus);
		return -ENOMEM;
	}
	*ret_bus = bus;
	return 0;
}

int leat_connect(const char *path, const struct leat_connect_options *options,
		 struct leat_bus **ret_bus)
{
	struct leat_connect_options taken = { .size = sizeof(taken) };
	struct detail detail = { "" };
	struct leat_bus *bus = NULL;
	int r = bus_take_options(&taken, sizeof(taken), options, "leat_connect_options", &detail);

	if (!taken.client)
		taken.client = program_invocation_short_name;
	if (taken.timeout_ns == 0)
		taken.timeout_ns = BUS_TIMEOUT_NS;
	if (r == 0)
		r = bus_new(&bus);
	if (r < 0) {
		detail_default(&detail, r);
		tell_detail(&taken, &detail);
		return r;
	}
	if (path)
		r = connect_at(&bus->control, path, &taken, &detail);
	else
		r = connect_anywhere(&bus->control, &taken, &detail);
	detail_default(&detail, r);
	tell_detail(&taken, &detail);
	if (r < 0) {
		leat_close(bus);
		return r;
	}
	*ret_bus = bus;
	return 0;
}

struct leat_bus *leat_close(struct leat_bus *bus)
{
	struct bus_failure *failure;

	if (!bus)
		return NULL;
	control_deinit(&bus->control);
	munmap((void *)bus->alive, 4096);
	while ((failure = bus->failures)) {
		bus->failures = failure->next;
		free(failure);
	}
	pthread_mutex_destroy(&bus->failures_lock);
	free(bus);
	return NULL;
}
