/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NATS JetStream with file storage on a stream without replicas, over loopback with the C client:
 * js_PublishAsync() for throughput, js_Publish() where one acknowledgement is waited for, ordered
 * consumers without acknowledgements for reading; small records are sent at once where latency
 * counts and gathered where it does not. The server is one of its own, in the bench's directory.
 */
#include <dirent.h>
#include <errno.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/peer.h"
#include "tools/tool.h"

enum {
	IN_FLIGHT = 16384, /* publishes that are not acknowledged yet; more gave nothing */
	WAIT_MS = 20 * 1000,
	URL_LEN = 64,
	PATH_LEN = 512,
};

enum way {
	PLAIN,      /* there and back: what comes back says that it was stored */
	IN_ADVANCE, /* acknowledged in the background */
	ONE_BY_ONE, /* each waits for its acknowledgement */
};

struct own {
	natsConnection *connection;
	natsSubscription *subscription;
	jsCtx *js;
	natsMsg *message; /* received last */
};

static const char *const subjects[] = { "there", "back" };
static char version_text[32];

static int fail(struct bench_side *side, const char *what, natsStatus status)
{
	const char *more = nats_GetLastError(NULL);

	return bench_team_fail(side->team, side->me, -EIO, "%s: %s%s%s", what,
			       natsStatus_GetText(status), more && *more ? ": " : "",
			       more ? more : "");
}

static void nats_side_close(struct bench_side *side)
{
	struct own *own = side->own;

	if (!own)
		return;
	natsMsg_Destroy(own->message);
	natsSubscription_Destroy(own->subscription);
	jsCtx_Destroy(own->js);
	natsConnection_Destroy(own->connection);
	free(own);
}

/* The server writes a file with its address as soon as it listens; empty until then. */
static void find_url(const char *dir, char *url)
{
	char path[PATH_LEN], line[512];
	struct dirent *entry;
	DIR *entries = opendir(dir);
	FILE *file = NULL;
	char *at;

	url[0] = '\0';
	while (entries && !file && (entry = readdir(entries))) {
		if (!strstr(entry->d_name, ".ports"))
			continue;
		snprintf(path, sizeof(path), "%.200s/%.255s", dir, entry->d_name);
		file = fopen(path, "re");
	}
	while (file && !url[0] && fgets(line, sizeof(line), file)) {
		at = strstr(line, "nats://");
		if (at)
			snprintf(url, URL_LEN, "%.*s", (int)strcspn(at, "\","), at);
	}
	if (file)
		fclose(file);
	if (entries)
		closedir(entries);
}

static natsStatus connect_to(struct own *own, const char *url, bool at_once)
{
	natsOptions *options = NULL;
	jsOptions js_options;
	natsStatus status = natsOptions_Create(&options);

	if (status == NATS_OK)
		status = natsOptions_SetURL(options, url);
	if (status == NATS_OK)
		status = natsOptions_SetSendAsap(options, at_once);
	if (status == NATS_OK)
		status = natsConnection_Connect(&own->connection, options);
	jsOptions_Init(&js_options);
	js_options.PublishAsync.MaxPending = IN_FLIGHT;
	js_options.PublishAsync.StallWait = WAIT_MS;
	if (status == NATS_OK)
		status = natsConnection_JetStream(&own->js, own->connection, &js_options);
	natsOptions_Destroy(options);
	return status;
}

static natsStatus add_stream(struct own *own, const char *subject)
{
	jsStreamConfig config;

	jsStreamConfig_Init(&config);
	config.Name = subject;
	config.Subjects = &subject;
	config.SubjectsLen = 1;
	config.Storage = js_FileStorage;
	return js_AddStream(NULL, own->js, &config, NULL, NULL);
}

static natsStatus subscribe(struct own *own, const char *subject)
{
	jsSubOptions options;
	natsStatus status;

	jsSubOptions_Init(&options);
	options.Stream = subject;
	options.Ordered = true;
	status = js_SubscribeSync(&own->subscription, own->js, subject, NULL, &options, NULL);
	if (status == NATS_OK)
		status = natsSubscription_SetPendingLimits(own->subscription, -1, -1);
	return status;
}

/* Who receives makes the stream; who is alone makes the one that he sends to. */
static int nats_side_open(struct bench_side *side)
{
	const enum way way = *(const enum way *)side->pair->context;
	const bool receives = side->me == 1 || side->pair->both_ways;
	struct own *own = calloc(1, sizeof(*own));
	char url[URL_LEN];
	natsStatus status;

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	find_url(side->team->env->dir, url);
	status = connect_to(own, url, way != IN_ADVANCE);
	if (status == NATS_OK && (receives || side->team->n == 1))
		status = add_stream(own, subjects[receives ? !side->me : side->me]);
	if (status == NATS_OK && receives)
		status = subscribe(own, subjects[!side->me]);
	return status == NATS_OK ? 0 : fail(side, "cannot open", status);
}

static int nats_side_send(struct bench_side *side, const void *record)
{
	const enum way way = *(const enum way *)side->pair->context;
	const char *subject = subjects[side->me];
	struct own *own = side->own;
	int len = (int)side->len;
	natsStatus status;

	if (way == PLAIN)
		status = natsConnection_Publish(own->connection, subject, record, len);
	else if (way == IN_ADVANCE)
		status = js_PublishAsync(own->js, subject, record, len, NULL);
	else
		status = js_Publish(NULL, own->js, subject, record, len, NULL, NULL);
	return status == NATS_OK ? 0 : fail(side, "cannot publish", status);
}

static int nats_side_flush(struct bench_side *side)
{
	const enum way way = *(const enum way *)side->pair->context;
	struct own *own = side->own;
	natsStatus status = NATS_OK;
	jsPubOptions options;

	if (way == IN_ADVANCE) {
		jsPubOptions_Init(&options);
		options.MaxWait = WAIT_MS;
		status = js_PublishAsyncComplete(own->js, &options);
	}
	return status == NATS_OK ? 0 : fail(side, "not acknowledged", status);
}

static int nats_side_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	struct own *own = side->own;
	natsStatus status;

	natsMsg_Destroy(own->message);
	own->message = NULL;
	status = natsSubscription_NextMsg(&own->message, own->subscription, WAIT_MS);
	if (status != NATS_OK)
		return fail(side, "no message", status);
	*ret_record = natsMsg_GetData(own->message);
	*ret_len = (size_t)natsMsg_GetDataLength(own->message);
	return 0;
}

/* ---- the server ---- */

static bool listens(const struct bench_env *env)
{
	char url[URL_LEN];

	find_url(env->dir, url);
	return url[0] != '\0';
}

static void keep_version(const char *log)
{
	FILE *file = fopen(log, "re");
	char line[512], *at;

	while (file && !version_text[0] && fgets(line, sizeof(line), file)) {
		at = strstr(line, "Version:");
		if (at)
			sscanf(at + 8, " %31s", version_text);
	}
	if (file)
		fclose(file);
}

static int write_configuration(struct bench_env *env, const char *path, bool sync)
{
	FILE *file = fopen(path, "we");

	if (!file) {
		snprintf(env->error, sizeof(env->error), "cannot write nats.conf: %s",
			 strerror(errno));
		return -EIO;
	}
	fprintf(file, "listen: \"127.0.0.1:-1\"\nports_file_dir: \"%s\"\n", env->dir);
	fprintf(file, "jetstream {\n  store_dir: \"%s\"\n  max_file_store: %llu\n", env->dir,
		(unsigned long long)env->disk_len * 4 + (1ull << 30));
	fprintf(file, "%s}\n", sync ? "  sync_interval: always\n" : "");
	return fclose(file) == 0 ? 0 : -EIO;
}

static int start(struct bench_env *env, bool sync, struct bench_server **ret_server)
{
	char program[PATH_LEN], path[PATH_LEN], log[PATH_LEN];
	char *argv[] = { program, "-c", path, NULL };
	int rc = peer_find_server(env, "nats-server", "nats-server", program, sizeof(program));

	if (rc != 0)
		return rc;
	snprintf(path, sizeof(path), "%s/nats.conf", env->dir);
	snprintf(log, sizeof(log), "%s/nats.log", env->dir);
	rc = write_configuration(env, path, sync);
	if (rc == 0)
		rc = bench_server_start(env, argv, log, ret_server);
	if (rc == 0)
		rc = bench_server_await(env, *ret_server, listens);
	keep_version(log);
	if (rc < 0 && sync && strstr(env->error, "sync_interval")) {
		snprintf(env->error, sizeof(env->error),
			 "this nats-server cannot sync each message (2.10 and later can)");
		return BENCH_SKIPPED;
	}
	return rc;
}

typedef int measure_fn(struct bench_env *env, const struct bench_pair *pair, size_t len,
		       struct bench_result *result);

static int with_server(struct bench_env *env, bool sync, enum way way, measure_fn *measure,
		       size_t len, struct bench_result *result)
{
	const struct bench_pair pair = {
		.open = nats_side_open,
		.send = nats_side_send,
		.flush = nats_side_flush,
		.receive = nats_side_receive,
		.close = nats_side_close,
		.context = &way,
		.free = true,
	};
	struct bench_server *server = NULL;
	int rc = start(env, sync, &server);

	if (rc == 0)
		rc = measure(env, &pair, len, result);
	bench_server_stop(server);
	return rc;
}

static int measure_keep(struct bench_env *env, const struct bench_pair *pair, size_t len,
			struct bench_result *result)
{
	char dir[PATH_LEN];

	snprintf(dir, sizeof(dir), "%s/jetstream", env->dir);
	return bench_pair_keep(env, pair, len, dir, result);
}

static int round_trip(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, false, PLAIN, bench_pair_round_trip, len, result);
}

static int rate(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, false, IN_ADVANCE, bench_pair_rate, len, result);
}

static int ack(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, false, ONE_BY_ONE, bench_pair_ack, len, result);
}

static int ack_sync(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, true, ONE_BY_ONE, bench_pair_ack, len, result);
}

static int keep(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, false, IN_ADVANCE, measure_keep, len, result);
}

static int keep_sync(struct bench_env *env, size_t len, struct bench_result *result)
{
	return with_server(env, true, IN_ADVANCE, measure_keep, len, result);
}

static void version(char *buf, size_t len)
{
	snprintf(buf, len, "%s", version_text);
}

static const struct peer_work works[] = {
	{ "round-trip", "publish, ordered push consumer, file storage", round_trip },
	{ "rate", "js_PublishAsync, ordered push consumer, file storage", rate },
	{ "ack", "js_Publish and its acknowledgement, synced every minutes", ack },
	{ "ack-sync", "js_Publish and its acknowledgement, sync_interval always", ack_sync },
	{ "keep", "js_PublishAsync, 16384 in flight, synced at the end", keep },
	{ "keep-sync", "js_PublishAsync, 16384 in flight, sync_interval always", keep_sync },
};

static const struct peer peer = {
	.name = "NATS JetStream",
	.version = version,
	.works = works,
	.n_works = ARRAY_LEN(works),
};

int main(int argc, char **argv)
{
	return peer_main(argc, argv, &peer);
}
