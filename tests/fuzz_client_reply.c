/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon gone mad may answer: the input is one reply, which every request of the library
 * that reads one is given in turn, with fds beside it that are not what they should be.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "clientlib/bus.h"
#include "clientlib/describe.h"
#include "clientlib/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

enum {
	FUZZ_FDS = 5
};

static uint32_t alive = 1;
static struct leat_bus bus;
static int fds[FUZZ_FDS];
static struct ring ring = { .crc_seed = 1 };
static struct layout_govern govern;

static void init(void)
{
	static const char body[] = "{\"ok\":true,\"segments\":[{\"base\":4293918720}]}";
	int i;

	if (bus.alive)
		return;
	if (control_init(&bus.control, "/nowhere/bus.sock", "fuzz", NS_PER_MS) < 0)
		abort();
	pthread_mutex_init(&bus.failures_lock, NULL);
	bus.alive = &alive;
	for (i = 0; i < FUZZ_FDS; i++) {
		fds[i] = memfd_create("fuzz", MFD_ALLOW_SEALING);
		if (fds[i] < 0 || write(fds[i], body, sizeof(body)) < 0 ||
		    ftruncate(fds[i], i % 2 ? 4096 : 12288) < 0 ||
		    fcntl(fds[i], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
			abort();
	}
	ring.govern = &govern;
	store_relaxed(&govern.state, GOVERN_OPEN);
	store_relaxed(&govern.reclaimed, LAYOUT_FIRST_POS + MIB);
	store_relaxed(&govern.written, LAYOUT_FIRST_POS + MIB);
}

/* The next request finds this reply and then the end of the connection. */
static void prepare(const uint8_t *data, size_t data_len)
{
	char room[CMSG_SPACE(sizeof(fds))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = data_len };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = room,
				  .msg_controllen = sizeof(room) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
	int pair[2];

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	close_fd(bus.control.fd);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	(void)!sendmsg(pair[1], &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(pair[1], SHUT_WR);
	bus.control.fd = pair[0];
	bus.control.owes_reply = false;
	bus.control.next_id = 0;
	/* Stays open for what the library sends. */
	dup2(pair[1], 99);
	close(pair[1]);
}

static void fuzz_calls(const uint8_t *data, size_t data_len)
{
	struct leat_stream_info *info, **list;
	char *json;
	int n;

	prepare(data, data_len);
	if (leat_stream_describe(&bus, "s", &info) == 0)
		leat_stream_info_free(info);
	prepare(data, data_len);
	n = leat_stream_list(&bus, &list);
	if (n >= 0)
		leat_stream_list_free(list, n);
	prepare(data, data_len);
	if (leat_stat_json(&bus, NULL, &json) == 0)
		free(json);
}

static void fuzz_attach(const uint8_t *data, size_t data_len)
{
	struct attach_request request = { .stream = "s", .once = true };
	struct attach_reply reply;
	struct detail detail;
	int i;

	for (i = 0; i < 3; i++) {
		struct deadline deadline = DEADLINE(NS_PER_S);

		request.access = i == 0 ? REGION_SUBSCRIBER : REGION_PUBLISHER;
		request.reattach = i == 2;
		prepare(data, data_len);
		if (attach(&bus.control, &request, &deadline, &reply, &detail) < 0)
			continue;
		close_fd(reply.kick_fd);
		ring_close(reply.ring);
	}
}

static void fuzz_segments(const uint8_t *data, size_t data_len)
{
	struct subscribe_shard shard = {
		.ring = &ring, .on_disk = true, .pos = LAYOUT_FIRST_POS, .stop_pos = UINT64_MAX
	};
	struct leat_subscriber sub = { .bus = &bus,
				       .shards = &shard,
				       .n_shards = 1,
				       .stream = (char *)(uintptr_t) "s",
				       .stop_ns = UINT64_MAX };
	struct deadline deadline = DEADLINE(NS_PER_S);
	int i;

	sub.buffer = malloc(4096);
	sub.buffer_len = 4096;
	for (i = 0; i < 4; i++) {
		prepare(data, data_len);
		shard.later_ns = 0;
		(void)source_disk_fill(&sub, &shard);
	}
	prepare(data, data_len);
	shard.pos = LAYOUT_FIRST_POS;
	(void)source_disk_seek_time(&sub, &shard, 1, &deadline);
	source_disk_close(&shard.disk);
	free(sub.buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	init();
	fuzz_calls(data, data_len);
	fuzz_attach(data, data_len);
	fuzz_segments(data, data_len);
	return 0;
}
