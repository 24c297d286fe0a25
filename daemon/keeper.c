/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keeper.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/directory.h"
#include "daemon/log.h"

enum {
	KEEPER_FDS_MAX = 8192,
	KEEPER_NAMES_MAX = 120 << 10, /* of all fds: one environment string has 128 KiB at most */
	KEEPER_NAME_MAX = 255,
	KEEPER_MESSAGE_MAX = 4096,
	KEEPER_SCM_MAX = 253,
	KEEPER_TRIES = 5,    /* of a daemon that dies before it was ever ready */
	KEEPER_FIRST_FD = 3, /* SD_LISTEN_FDS_START */
	KEEPER_EXEC_FAILED = 127,
	KEEPER_AGAIN_MS = 100, /* until what failed is tried again */
};

#define KEEPER_WATCHDOG_NS (30 * NS_PER_S)
#define KEEPER_LATE_NS NS_PER_S
#define KEEPER_ABORT_NS (10 * NS_PER_S) /* from SIGABRT to SIGKILL */
#define KEEPER_CALM_NS NS_PER_S         /* a child that served so long was not started in vain */
#define KEEPER_DELAY_MIN_NS (100 * NS_PER_MS)
#define KEEPER_DELAY_MAX_NS (5 * NS_PER_S)

struct keeper_fd {
	char *name;
	int fd;
	dev_t dev; /* what file it is */
	ino_t ino;
};

struct keeper {
	struct keeper_fd *fds;
	size_t n_fds;
	size_t names_len;
	char socket_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char exe[PATH_MAX];
	char *const *argv;
	int socket;
	int signals;
	pid_t child;             /* 0 = none runs now */
	uint64_t ready_ns;       /* since when this child has been ready */
	uint64_t start_at_ns;    /* no child: when to start the next */
	uint64_t watchdog_at_ns; /* 0 = not armed */
	unsigned int n_quick;    /* children in a row that died soon */
	bool aborted;
	bool to_reap;   /* a child may have ended */
	bool deaf;      /* what the daemon sends cannot be had now */
	bool ready;     /* this child was ready */
	bool was_ready; /* one was */
	bool stopping;
};

static void keeper_close_fd(struct keeper *k, size_t i)
{
	k->names_len -= strlen(k->fds[i].name) + 1;
	close(k->fds[i].fd);
	free(k->fds[i].name);
	k->fds[i] = k->fds[--k->n_fds];
}

/* Takes over the fd. */
static void keeper_store(struct keeper *k, const char *name, int fd)
{
	struct keeper_fd *fds;
	struct stat st;
	char *copy;

	if (fstat(fd, &st) < 0) {
		log_error("%s is not kept: %s", name, strerror(errno));
		close(fd);
		return;
	}
	for (size_t i = 0; i < k->n_fds; i++) {
		if (k->fds[i].dev == st.st_dev && k->fds[i].ino == st.st_ino) {
			close(fd);
			return;
		}
	}
	if (k->n_fds >= KEEPER_FDS_MAX || k->names_len + strlen(name) + 1 > KEEPER_NAMES_MAX) {
		log_limited(LOG_LEVEL_ERROR, "%s is not kept: there is room for %zu fds", name,
			    k->n_fds);
		close(fd);
		return;
	}
	fds = realloc(k->fds, (k->n_fds + 1) * sizeof(*fds));
	if (fds)
		k->fds = fds;
	copy = strdup(name);
	if (!fds || !copy) {
		log_error("%s is not kept: no memory", name);
		free(copy);
		close(fd);
		return;
	}
	k->fds[k->n_fds++] =
		(struct keeper_fd){ .name = copy, .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	k->names_len += strlen(name) + 1;
}

static void keeper_forget(struct keeper *k, const char *name)
{
	for (size_t i = k->n_fds; i-- > 0;)
		if (strcmp(k->fds[i].name, name) == 0)
			keeper_close_fd(k, i);
}

/* A name that LISTEN_FDNAMES can carry. */
static bool keeper_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (name[i] <= 0x20 || name[i] >= 0x7f || name[i] == ':')
			return false;
	return len > 0 && len <= KEEPER_NAME_MAX;
}

struct keeper_message {
	char text[KEEPER_MESSAGE_MAX + 1];
	int fds[KEEPER_SCM_MAX];
	size_t n_fds;
	pid_t pid;
};

/* One line of a message. */
static void keeper_handle_line(struct keeper *k, const char *line)
{
	if (strcmp(line, "READY=1") == 0) {
		if (!k->ready)
			k->ready_ns = clock_now_ns(CLOCK_MONOTONIC);
		k->ready = true;
		k->was_ready = true;
	} else if (strcmp(line, "STOPPING=1") == 0) {
		k->watchdog_at_ns = 0;
		k->stopping = true;
		return;
	} else if (strcmp(line, "WATCHDOG=1") != 0) {
		return;
	}
	if (!k->stopping && !k->aborted)
		k->watchdog_at_ns = clock_now_ns(CLOCK_MONOTONIC) + KEEPER_WATCHDOG_NS;
}

static void keeper_handle(struct keeper *k, struct keeper_message *m)
{
	const char *name = "stored";
	bool store = false, forget = false;
	char *save = NULL;

	for (char *line = strtok_r(m->text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (strcmp(line, "FDSTORE=1") == 0)
			store = true;
		else if (strcmp(line, "FDSTOREREMOVE=1") == 0)
			forget = true;
		else if (strncmp(line, "FDNAME=", 7) == 0 && keeper_name_is_valid(line + 7))
			name = line + 7;
		else
			keeper_handle_line(k, line);
	}
	if (forget)
		keeper_forget(k, name);
	for (size_t i = 0; i < m->n_fds; i++) {
		if (store)
			keeper_store(k, name, m->fds[i]);
		else
			close(m->fds[i]); /* BARRIER=1: closing it is the answer */
	}
}

static void keeper_take_control(struct msghdr *msg, struct keeper_message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			m->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			m->pid = cred.pid;
		}
	}
}

/* One message; false when there is none. */
static bool keeper_receive(struct keeper *k)
{
	union {
		char bytes[CMSG_SPACE(KEEPER_SCM_MAX * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	static struct keeper_message m;
	struct iovec iov = { .iov_base = m.text, .iov_len = KEEPER_MESSAGE_MAX };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(k->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	k->deaf = n < 0 && errno != EAGAIN && errno != EINTR;
	if (k->deaf)
		log_limited(LOG_LEVEL_ERROR, "the keeper cannot hear the daemon: %s",
			    strerror(errno));
	if (n < 0)
		return errno == EINTR;
	m.text[n] = '\0';
	m.n_fds = 0;
	m.pid = 0;
	keeper_take_control(&msg, &m);
	if (msg.msg_flags & MSG_CTRUNC)
		log_limited(LOG_LEVEL_ERROR,
			    "what the daemon sent is not kept: there was room for %zu of its fds "
			    "(ulimit -n)",
			    m.n_fds);
	if (m.pid != k->child)
		m.text[0] = '\0'; /* not our child: its fds are closed and nothing else */
	keeper_handle(k, &m);
	return true;
}

static int keeper_open_socket(struct keeper *k, const char *runtime)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int one = 1, r, len;

	len = snprintf(k->socket_path, sizeof(k->socket_path), "%s/keeper.sock", runtime);
	if (len < 0 || (size_t)len >= sizeof(k->socket_path)) {
		log_error("%s is too long for the path of a socket", runtime);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, k->socket_path);
	k->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (k->socket < 0)
		return -errno;
	/* A leftover of a keeper that was killed: the lock says that none runs. */
	unlink(k->socket_path);
	mask = umask(0177);
	r = bind(k->socket, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (r < 0 || setsockopt(k->socket, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

/*
 * Nothing is kept from now on: a daemon that is told to stop finds that its rings will not outlive
 * it, and says so to its clients.
 */
static void keeper_close_socket(struct keeper *k)
{
	if (k->socket < 0)
		return;
	while (keeper_receive(k))
		;
	k->socket = close_fd(k->socket);
	unlink(k->socket_path);
}

static int keeper_open_signals(struct keeper *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signals < 0 ? -errno : 0;
}

/* ---- in the child, before exec ---- */

/* Puts the stored fds at 3, 4, ...; every fd in the way is moved first. */
static int keeper_place_fds(struct keeper *k)
{
	int end = KEEPER_FIRST_FD + (int)k->n_fds;

	for (size_t i = 0; i < k->n_fds; i++) {
		int fd = k->fds[i].fd;

		if (fd < end)
			fd = fcntl(fd, F_DUPFD_CLOEXEC, end);
		if (fd < 0)
			return -errno;
		k->fds[i].fd = fd;
	}
	for (size_t i = 0; i < k->n_fds; i++)
		if (dup2(k->fds[i].fd, KEEPER_FIRST_FD + (int)i) < 0)
			return -errno;
	return 0;
}

static int keeper_set_number(const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return setenv(name, text, 1) < 0 ? -errno : 0;
}

static int keeper_set_environment(struct keeper *k)
{
	char *names = calloc(1, k->names_len + 1), *p = names;
	int r = names ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < k->n_fds; i++)
		p += sprintf(p, "%s%s", i ? ":" : "", k->fds[i].name);
	if (r == 0 && k->n_fds > 0) {
		r = setenv("LISTEN_FDNAMES", names, 1) < 0 ? -errno : 0;
		if (r == 0)
			r = keeper_set_number("LISTEN_FDS", k->n_fds);
		if (r == 0)
			r = keeper_set_number("LISTEN_PID", (uint64_t)getpid());
	}
	free(names);
	if (r == 0)
		r = setenv("NOTIFY_SOCKET", k->socket_path, 1) < 0 ? -errno : 0;
	if (r == 0)
		r = keeper_set_number("FDSTORE", KEEPER_FDS_MAX);
	if (r == 0)
		r = keeper_set_number("WATCHDOG_USEC", KEEPER_WATCHDOG_NS / NS_PER_US);
	if (r == 0)
		r = keeper_set_number("WATCHDOG_PID", (uint64_t)getpid());
	return r;
}

static void keeper_child(struct keeper *k, pid_t keeper) __attribute__((noreturn));
static void keeper_child(struct keeper *k, pid_t keeper)
{
	sigset_t none;
	int r;

	/* Of its own process group, so that ^C reaches it through the keeper only; and it stops
	 * cleanly when the keeper is killed: nobody would keep anything for it any more. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != keeper)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	r = keeper_place_fds(k);
	if (r == 0)
		r = keeper_set_environment(k);
	if (r == 0) {
		/* By its path first, so that a daemon that was upgraded is what starts next. */
		execv(k->exe, k->argv);
		execv("/proc/self/exe", k->argv);
		r = -errno;
	}
	log_error("the daemon cannot be started: %s", strerror(-r));
	_exit(KEEPER_EXEC_FAILED);
}

/* ---- in the keeper ---- */

/* A test that kills thousands of daemons has no time to wait. */
static bool keeper_is_eager(void)
{
#ifdef LEAT_TESTPOINTS
	return getenv("LEAT_KEEPER_EAGER") != NULL;
#else
	return false;
#endif
}

static void keeper_plan_restart(struct keeper *k, uint64_t now)
{
	uint64_t delay = 0;

	k->n_quick = k->ready && now - k->ready_ns >= KEEPER_CALM_NS ? 1 : k->n_quick + 1;
	/* The first comes at once; who dies again and again must not burn the machine. */
	if (k->n_quick > 1 && !keeper_is_eager())
		delay = min_u64(KEEPER_DELAY_MIN_NS << min_u64(k->n_quick - 2, 16),
				KEEPER_DELAY_MAX_NS);
	k->start_at_ns = now + delay;
}

static void keeper_start(struct keeper *k)
{
	pid_t keeper = getpid(), pid;

	k->ready = false;
	k->aborted = false;
	k->watchdog_at_ns = 0;
	pid = fork();
	if (pid == 0)
		keeper_child(k, keeper);
	if (pid < 0) {
		log_error("the daemon cannot be started: %s", strerror(errno));
		keeper_plan_restart(k, clock_now_ns(CLOCK_MONOTONIC));
		return;
	}
	k->child = pid;
}

/* The exit status for good, or -1 when the daemon is to be started again. */
static int keeper_child_ended(struct keeper *k, int status)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	pid_t child = k->child;

	k->child = 0;
	k->watchdog_at_ns = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (k->stopping)
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	/* It has said why: a mistake in the configuration, another daemon in the directory. */
	if (WIFEXITED(status) && !k->was_ready)
		return WEXITSTATUS(status);
	keeper_plan_restart(k, now);
	if (!k->was_ready && k->n_quick >= KEEPER_TRIES) {
		log_error("the daemon died %u times before it was ready: giving up", k->n_quick);
		return 1;
	}
	if (WIFSIGNALED(status))
		log_warning("the daemon (process %d) was ended by signal %d; starting it again "
			    "with %zu fds kept",
			    child, WTERMSIG(status), k->n_fds);
	else
		log_warning("the daemon (process %d) ended with status %d; starting it again "
			    "with %zu fds kept",
			    child, WEXITSTATUS(status), k->n_fds);
	return -1;
}

/* Reaps; what the child has sent before it died is handled first. */
static int keeper_reap(struct keeper *k)
{
	pid_t pid;
	int status;

	if (k->child == 0)
		return -1;
	/* The messages must be taken while the pid in them is still the child's own. */
	while (k->socket >= 0 && keeper_receive(k))
		;
	pid = waitpid(k->child, &status, WNOHANG);
	/* No second signal will come: whom the kernel does not tell of is asked for again. */
	k->to_reap = pid < 0;
	if (pid != k->child)
		return -1;
	while (k->socket >= 0 && keeper_receive(k))
		;
	return keeper_child_ended(k, status);
}

static int keeper_handle_signals(struct keeper *k)
{
	struct signalfd_siginfo info;
	int r = -1;

	while (r < 0 && read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			r = keeper_reap(k);
			continue;
		}
		if (info.ssi_signo != SIGHUP) {
			k->stopping = true;
			k->watchdog_at_ns = 0;
			keeper_close_socket(k);
			if (k->child == 0)
				return 0;
		}
		if (k->child > 0)
			kill(k->child, (int)info.ssi_signo);
	}
	return r;
}

/* A child that does not say it lives is aborted, which leaves a core, then killed. */
static void keeper_watch(struct keeper *k, uint64_t now)
{
	if (k->watchdog_at_ns == 0 || now < k->watchdog_at_ns)
		return;
	/* Who wakes up so late has stood still himself, and the daemon with him: a container that
	 * was paused, a machine without processors to spare. It gets its time again. */
	if (now - k->watchdog_at_ns > KEEPER_LATE_NS) {
		k->watchdog_at_ns = now + KEEPER_WATCHDOG_NS;
		return;
	}
	log_error("the daemon (process %d) has not answered for %d s; it gets signal %s", k->child,
		  (int)(KEEPER_WATCHDOG_NS / NS_PER_S), k->aborted ? "KILL" : "ABRT");
	kill(k->child, k->aborted ? SIGKILL : SIGABRT);
	k->aborted = true;
	k->watchdog_at_ns = now + KEEPER_ABORT_NS;
}

static int keeper_timeout_ms(const struct keeper *k, uint64_t now)
{
	uint64_t at = k->child > 0 ? k->watchdog_at_ns : k->start_at_ns;

	if (k->to_reap)
		return KEEPER_AGAIN_MS;
	if (at == 0)
		return -1;
	return at <= now ? 0 : (int)((at - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* Until something is to be done. The rings are worth more than an error of poll(). */
static void keeper_wait(struct keeper *k, uint64_t now)
{
	const struct timespec pause = { .tv_nsec = KEEPER_AGAIN_MS * NS_PER_MS };
	struct pollfd p[2] = {
		{ .fd = k->signals, .events = POLLIN },
		{ .fd = k->socket, .events = POLLIN },
	};

	if (poll(p, 2, keeper_timeout_ms(k, now)) < 0 && errno != EINTR)
		log_limited(LOG_LEVEL_ERROR,
			    "the keeper cannot wait, and looks again and again: %s",
			    strerror(errno));
	else if (!k->deaf)
		return;
	nanosleep(&pause, NULL);
}

static int keeper_loop(struct keeper *k)
{
	for (;;) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
		int status = -1;

		if (k->child == 0 && now >= k->start_at_ns)
			keeper_start(k);
		if (k->child > 0)
			keeper_watch(k, now);
		keeper_wait(k, now);
		while (k->socket >= 0 && keeper_receive(k))
			;
		if (k->to_reap)
			status = keeper_reap(k);
		if (status < 0)
			status = keeper_handle_signals(k);
		if (status >= 0)
			return status;
	}
}

static int keeper_prepare(struct keeper *k, const char *runtime)
{
	struct rlimit limit;
	ssize_t n = readlink("/proc/self/exe", k->exe, sizeof(k->exe) - 1);
	int r;

	if (n < 0)
		return -errno;
	k->exe[n] = '\0';
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	/* A log that nobody reads any more, or that may not grow, is not worth the rings. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	r = keeper_open_signals(k);
	return r < 0 ? r : keeper_open_socket(k, runtime);
}

int keeper_run(const char *runtime, char *const argv[])
{
	struct keeper k = { .argv = argv, .socket = -1, .signals = -1 };
	char detail[256];
	int status = 1, lock = -1;
	int r;

	r = directory_lock(runtime, "keeper.lock", &lock, detail, sizeof(detail));
	if (r < 0) {
		log_error("%s", detail);
		return 1;
	}
	r = keeper_prepare(&k, runtime);
	if (r < 0)
		log_error("the keeper cannot begin: %s", strerror(-r));
	else
		status = keeper_loop(&k);
	keeper_close_socket(&k);
	while (k.n_fds > 0)
		keeper_close_fd(&k, k.n_fds - 1);
	free(k.fds);
	close_fd(k.signals);
	close_fd(lock);
	return status;
}
