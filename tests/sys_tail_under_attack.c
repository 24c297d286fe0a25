/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others' attacks on the daemon cost an honest user: a record there and back, one until it is
 * written, one until it is durable, a question to the daemon. Everything is measured in turns of a
 * moment each: nobody attacks; the same attack goes to another bus on this machine, which takes the
 * same processor, memory and disk from everybody; it goes to this bus. What the third costs more
 * than the second is what sharing a daemon costs. The attackers are two other users.
 *
 * Always: nothing honest fails, and the daemon is as it was afterwards. LEAT_FULL=1 prints a table:
 * for each attack and each honest deed the times in microseconds, and the ratios of the third to
 * the second. LEAT_ATTACK=name tries one of them.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	N_ATTACKERS = 2,
	N_CONNECTIONS = 120, /* of each attacker: all that one user may have, but for some */
	N_SAMPLES = 40000,
	BIG = 60000,
	TURN_MS = 100,
	TURNS_FULL = 9,
	TURNS_SHORT = 1,
	N_STREAMS = 16, /* that the attackers have made before */
};

#define PATIENCE UINT64_C(20000000000)

enum phase {
	PHASE_QUIET,
	PHASE_ELSEWHERE,
	PHASE_HERE,
	N_PHASES,
	PHASE_OVER,
};

enum deed {
	DEED_ROUND,
	DEED_WRITTEN,
	DEED_DURABLE,
	DEED_ASK,
	N_DEEDS,
};

static const char *const deed_names[N_DEEDS] = { "there and back", "written", "durable",
						 "describe" };

struct shared {
	_Atomic uint32_t phase;
	_Atomic uint32_t n_ready;
	_Atomic uint64_t n_blows[N_PHASES];
};

struct samples {
	uint64_t ns[N_SAMPLES];
	size_t n;
};

static struct harness_bus here, elsewhere;
static struct shared *shared;
static struct samples samples[N_DEEDS][N_PHASES];

/* ---- an attacker ---- */

struct attacker;

struct attack {
	const char *name;
	void (*step)(struct attacker *a);
	const char *request; /* of a flood; %d is another number each time */
	int n_connections;   /* of each attacker */
};

/* One attacker's hold on one bus. */
struct attacker {
	const struct harness_bus *bus;
	const struct attack *attack;
	int number;
	int fds[N_CONNECTIONS];
	unsigned int turn;
	struct leat_bus *handle;
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
};

static int attack_connect(const struct harness_bus *bus)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, bus->sock);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* What came is taken and thrown away, fds with it. False at the end of the connection. */
static bool attack_read(int fd)
{
	static char bytes[1 << 16];
	char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n_fds; i++)
			close(((int *)(void *)CMSG_DATA(c))[i]);
	}
	return true;
}

static const char hello[] = "{\"op\":\"hello\",\"version\":1,\"client\":\"attack\"}";

static void attack_send(struct attacker *a, int i, const char *text, size_t len)
{
	if (send(a->fds[i], text, len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
		fetch_add_relaxed(&shared->n_blows[load_relaxed(&shared->phase) % N_PHASES], 1);
	} else if (errno != EAGAIN) {
		close(a->fds[i]);
		a->fds[i] = -1;
	}
}

/* All connections ask, and ask again as soon as they are answered. */
static void attack_flood(struct attacker *a)
{
	struct pollfd p[N_CONNECTIONS];
	char text[512];

	for (int i = 0; i < a->attack->n_connections; i++) {
		if (a->fds[i] < 0 && (a->fds[i] = attack_connect(a->bus)) >= 0)
			attack_send(a, i, hello, strlen(hello));
		p[i] = (struct pollfd){ .fd = a->fds[i], .events = POLLIN };
	}
	if (poll(p, (nfds_t)a->attack->n_connections, 1) <= 0)
		return;
	for (int i = 0; i < a->attack->n_connections; i++) {
		if (a->fds[i] < 0 || p[i].revents == 0)
			continue;
		if (!attack_read(a->fds[i])) {
			close(a->fds[i]);
			a->fds[i] = -1;
			continue;
		}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), a->attack->request, (int)(a->turn++ % N_STREAMS),
			 a->number * N_CONNECTIONS + i);
#pragma GCC diagnostic pop
		attack_send(a, i, text, strlen(text));
	}
}

/* The same with as much JSON as fits. */
static void attack_big(struct attacker *a)
{
	static char text[BIG + 1];
	struct pollfd p[N_CONNECTIONS];

	for (size_t n = 1; text[0] == '\0' && n + 16 < BIG; n += strlen(text + n))
		snprintf(text + n, 16, "\"%zx\":[],", n);
	text[0] = '{';
	for (int i = 0; i < a->attack->n_connections; i++) {
		if (a->fds[i] < 0 && (a->fds[i] = attack_connect(a->bus)) >= 0)
			attack_send(a, i, text, BIG);
		p[i] = (struct pollfd){ .fd = a->fds[i], .events = POLLIN };
	}
	if (poll(p, (nfds_t)a->attack->n_connections, 1) <= 0)
		return;
	for (int i = 0; i < a->attack->n_connections; i++) {
		if (a->fds[i] < 0 || p[i].revents == 0)
			continue;
		(void)attack_read(a->fds[i]);
		attack_send(a, i, text, BIG);
	}
}

static void attack_connections(struct attacker *a)
{
	for (int i = 0; i < N_CONNECTIONS; i++) {
		if (a->fds[i] >= 0)
			close(a->fds[i]);
		a->fds[i] = attack_connect(a->bus);
		if (a->fds[i] >= 0)
			attack_send(a, i, hello, strlen(hello));
	}
}

static void attack_never_read(struct attacker *a)
{
	static const char request[] =
		"{\"op\":\"attach\",\"stream\":\"their0\",\"shard\":0,\"role\":\"subscribe\"}";

	attack_connections(a);
	for (int i = 0; i < N_CONNECTIONS; i++)
		for (int k = 0; k < 5 && a->fds[i] >= 0; k++)
			attack_send(a, i, request, strlen(request));
}

static void attack_fds(struct attacker *a)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(50 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = "{\"op\":\"list\"}", .iov_len = 13 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	attack_connections(a);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(50 * sizeof(int));
	for (int i = 0; i < N_CONNECTIONS; i++) {
		for (int k = 0; k < 50; k++)
			((int *)(void *)CMSG_DATA(&control.header))[k] = STDERR_FILENO;
		if (a->fds[i] >= 0)
			(void)!sendmsg(a->fds[i], &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static void attack_publish(struct attacker *a)
{
	static char value[4096];
	struct leat_record record = { .value = value,
				      .value_len = sizeof(value),
				      .shard = LEAT_SHARD_ANY };

	if (!a->publisher) {
		a->handle = harness_connect(a->bus);
		a->publisher = harness_publisher(a->handle, a->number ? "their1" : "their0");
	}
	for (int i = 0; i < 64; i++)
		(void)leat_publish_timed(a->publisher, &record, 1000000, NULL);
}

/* Goes to sleep before each record, so that the publisher has to wake him. */
static void attack_sleep(struct attacker *a)
{
	struct leat_subscriber_options options;
	struct leat_message message;

	if (!a->subscriber) {
		leat_subscriber_options_init(&options);
		options.spin_ns = 0;
		a->handle = harness_connect(a->bus);
		must(leat_subscriber_open(a->handle, "ping", &options, &a->subscriber) == 0,
		     "ping: %s", leat_detail(a->handle));
	}
	(void)leat_next(a->subscriber, 1000000, &message);
}

static const struct attack attacks[] = {
	{ .name = "connections", .step = attack_connections },
	{ .name = "never-read", .step = attack_never_read },
	{ .name = "fds", .step = attack_fds },
	{ .name = "describe",
	  .step = attack_flood,
	  .request = "{\"op\":\"describe\",\"stream\":\"their%d\"}",
	  .n_connections = N_CONNECTIONS },
	{ .name = "attach",
	  .step = attack_flood,
	  .request = "{\"op\":\"attach\",\"stream\":\"their%d\",\"shard\":0,\"role\":\"publish\"}",
	  .n_connections = N_CONNECTIONS },
	{ .name = "segments",
	  .step = attack_flood,
	  .request = "{\"op\":\"segments\",\"stream\":\"their%d\",\"shard\":0,\"position\":0}",
	  .n_connections = N_CONNECTIONS },
	{ .name = "stat",
	  .step = attack_flood,
	  .request = "{\"op\":\"stat\"}",
	  .n_connections = N_CONNECTIONS },
	{ .name = "big", .step = attack_big, .n_connections = N_CONNECTIONS },
	{ .name = "checkpoint",
	  .step = attack_flood,
	  .request = "{\"op\":\"checkpoint\",\"stream\":\"their%d\",\"name\":\"c%d\","
		     "\"positions\":[[0,0]]}",
	  .n_connections = N_CONNECTIONS },
	{ .name = "create",
	  .step = attack_flood,
	  .request = "{\"op\":\"create\",\"stream\":\"new%d\",\"options\":{\"ring\":4194304,"
		     "\"memory\":true}}",
	  .n_connections = 20 },
	{ .name = "remove",
	  .step = attack_flood,
	  .request = "{\"op\":\"remove\",\"stream\":\"new%d\"}",
	  .n_connections = 20 },
	{ .name = "publish", .step = attack_publish },
	{ .name = "sleep", .step = attack_sleep },
};

static const struct attack *current;
static int current_number;

static int attack_main(void *arg)
{
	const struct harness_user user = { .uid = 4711 + (uid_t)current_number,
					   .gid = 4711 + (gid_t)current_number };
	static struct attacker at[2];
	struct attack mixed = *current;
	uint32_t phase;

	(void)arg;
	/* Who makes streams needs somebody who removes them. */
	if (strcmp(current->name, "create") == 0 && current_number == 1)
		mixed = current[1];
	harness_become(&user);
	signal(SIGPIPE, SIG_IGN);
	for (int k = 0; k < 2; k++) {
		at[k] = (struct attacker){ .bus = k ? &here : &elsewhere,
					   .attack = &mixed,
					   .number = current_number };
		for (int i = 0; i < N_CONNECTIONS; i++)
			at[k].fds[i] = -1;
	}
	fetch_add_relaxed(&shared->n_ready, 1);
	while ((phase = load_relaxed(&shared->phase)) != PHASE_OVER) {
		if (phase == PHASE_QUIET)
			usleep(500);
		else
			mixed.step(&at[phase == PHASE_HERE]);
	}
	return 0;
}

/* ---- the honest ---- */

struct honest {
	struct leat_bus *handle;
	struct leat_publisher *ping, *kept;
	struct leat_subscriber *pong;
};

static struct leat_subscriber *subscribe_from_now(struct leat_bus *handle, const char *stream)
{
	struct leat_subscriber *subscriber;

	must(leat_subscriber_open(handle, stream, NULL, &subscriber) == 0, "%s: %s", stream,
	     leat_detail(handle));
	return subscriber;
}

static int echo_main(void *arg)
{
	struct leat_bus *handle = harness_connect(&here);
	struct leat_subscriber *ping = subscribe_from_now(handle, "ping");
	struct leat_publisher *pong = harness_publisher(handle, "pong");
	struct leat_record record = { .shard = LEAT_SHARD_ANY };
	struct leat_message message;

	(void)arg;
	fetch_add_relaxed(&shared->n_ready, 1);
	while (load_relaxed(&shared->phase) != PHASE_OVER) {
		if (leat_next(ping, 10000000, &message) != 1 || message.kind != LEAT_RECORD)
			continue;
		record.value = message.value;
		record.value_len = message.value_len;
		must(leat_publish(pong, &record, NULL) == 0, "%s", leat_publisher_detail(pong));
	}
	leat_publisher_close(pong);
	leat_subscriber_close(ping);
	leat_close(handle);
	return 0;
}

static void do_round(struct honest *h)
{
	uint64_t now = harness_now_ns(), got;
	struct leat_record record = { .value = &now,
				      .value_len = sizeof(now),
				      .shard = LEAT_SHARD_ANY };
	struct leat_message message;

	must(leat_publish(h->ping, &record, NULL) == 0, "%s", leat_publisher_detail(h->ping));
	do {
		must(leat_next(h->pong, PATIENCE, &message) == 1 && message.kind == LEAT_RECORD,
		     "nothing comes back: %s", leat_subscriber_detail(h->pong));
		memcpy(&got, message.value, sizeof(got));
	} while (got != now);
}

static void do_deed(struct honest *h, enum deed deed)
{
	struct leat_record record = { .value = h, .value_len = 64, .shard = LEAT_SHARD_ANY };
	struct leat_stream_info *info;

	if (deed == DEED_ROUND) {
		do_round(h);
	} else if (deed == DEED_ASK) {
		must(leat_stream_describe(h->handle, "kept", &info) == 0, "describe: %s",
		     leat_detail(h->handle));
		leat_stream_info_free(info);
	} else {
		must(leat_publish(h->kept, &record, NULL) == 0 &&
			     leat_flush(h->kept,
					deed == DEED_DURABLE ? LEAT_ACK_DURABLE : LEAT_ACK_WRITTEN,
					PATIENCE) == 0,
		     "%s", leat_publisher_detail(h->kept));
	}
}

static void play_turn(struct honest *h, enum phase phase)
{
	uint64_t end;

	store_relaxed(&shared->phase, phase);
	/* What was begun before comes to its end. */
	usleep(20000);
	end = harness_now_ns() + TURN_MS * UINT64_C(1000000);
	while (harness_now_ns() < end) {
		for (int deed = 0; deed < N_DEEDS; deed++) {
			struct samples *s = &samples[deed][phase];
			uint64_t begin = harness_now_ns();

			do_deed(h, (enum deed)deed);
			if (s->n < N_SAMPLES)
				s->ns[s->n++] = harness_now_ns() - begin;
		}
	}
}

/* ---- the account ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double at(const struct samples *s, double part)
{
	return s->n ? (double)s->ns[(size_t)((double)(s->n - 1) * part)] / 1000 : 0;
}

static void print_table(const struct attack *attack)
{
	static const double parts[] = { 0.5, 0.99, 0.999 };

	printf("%s: blows elsewhere %llu, here %llu\n", attack->name,
	       (unsigned long long)load_relaxed(&shared->n_blows[PHASE_ELSEWHERE]),
	       (unsigned long long)load_relaxed(&shared->n_blows[PHASE_HERE]));
	for (int deed = 0; deed < N_DEEDS; deed++) {
		struct samples *s = samples[deed];

		printf("  %-15s %5zu %5zu %5zu", deed_names[deed], s[0].n, s[1].n, s[2].n);
		for (int phase = 0; phase < N_PHASES; phase++) {
			qsort(s[phase].ns, s[phase].n, sizeof(s[phase].ns[0]), by_size);
			printf(" |");
			for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
				printf(" %7.0f", at(&s[phase], parts[i]));
		}
		printf(" |");
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
			printf(" %5.2f",
			       at(&s[PHASE_HERE], parts[i]) / at(&s[PHASE_ELSEWHERE], parts[i]));
		printf("\n");
	}
}

/* ---- the whole ---- */

static void make_streams(const struct harness_bus *bus)
{
	static const char *const names[] = { "ping", "pong", "kept" };
	struct leat_stream_options options;
	struct leat_bus *handle = harness_connect(bus);
	char name[24];

	leat_stream_options_init(&options);
	options.mode = 0644;
	options.retain_len = 16 << 20;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		harness_stream(handle, names[i], 1, 1 << 20, &options);
	options.mode = 0666;
	for (int i = 0; i < N_STREAMS; i++) {
		snprintf(name, sizeof(name), "their%d", i);
		harness_stream(handle, name, 2, 256 << 10, &options);
	}
	leat_close(handle);
}

static void try_attack(struct honest *h, const struct attack *attack, int n_turns)
{
	pid_t pids[N_ATTACKERS];

	memset(samples, 0, sizeof(samples));
	current = attack;
	for (current_number = 0; current_number < N_ATTACKERS; current_number++)
		pids[current_number] = harness_fork(attack_main, NULL);
	while (load_relaxed(&shared->n_ready) < N_ATTACKERS + 1)
		usleep(1000);
	for (int i = 0; i < n_turns; i++)
		for (int phase = 0; phase < N_PHASES; phase++)
			play_turn(h, (enum phase)phase);
	for (int i = 0; i < N_ATTACKERS; i++)
		must(samples[0][i].n > 0, "nothing honest was done");
	store_relaxed(&shared->phase, PHASE_OVER);
	for (int i = 0; i < N_ATTACKERS; i++)
		harness_reap_ok(pids[i], 60, "an attacker");
}

START_TEST(others_go_on_whatever_is_done_to_the_daemon)
{
	bool full = getenv("LEAT_FULL") != NULL;
	const char *only = getenv("LEAT_ATTACK");
	struct honest h;
	pid_t echo, daemon;

	shared = harness_shared(sizeof(*shared));
	harness_bus_start(&here, HARNESS_PUBLIC);
	harness_bus_start(&elsewhere, HARNESS_PUBLIC);
	make_streams(&here);
	make_streams(&elsewhere);
	daemon = harness_daemon_pid(&here);
	if (full)
		printf("times in us: p50 p99 p99.9 quiet | attack elsewhere | attack here | "
		       "here to elsewhere\n");
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if ((only && strcmp(only, attacks[i].name) != 0) ||
		    strcmp(attacks[i].name, "remove") == 0)
			continue;
		memset(shared, 0, sizeof(*shared));
		echo = harness_fork(echo_main, NULL);
		h.handle = harness_connect(&here);
		h.pong = subscribe_from_now(h.handle, "pong");
		h.ping = harness_publisher(h.handle, "ping");
		h.kept = harness_publisher(h.handle, "kept");
		try_attack(&h, &attacks[i], full ? TURNS_FULL : TURNS_SHORT);
		if (full)
			print_table(&attacks[i]);
		leat_publisher_close(h.kept);
		leat_publisher_close(h.ping);
		leat_subscriber_close(h.pong);
		leat_close(h.handle);
		harness_reap_ok(echo, 30, "who answers");
		ck_assert_int_eq(harness_daemon_pid(&here), daemon);
	}
	harness_bus_stop(&elsewhere);
	harness_bus_stop(&here);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_tail_under_attack");

	if (geteuid() != 0)
		return harness_skip("only root can be several users");
	harness_add(suite, "attack", others_go_on_whatever_is_done_to_the_daemon, 280);
	return harness_main(suite);
}
