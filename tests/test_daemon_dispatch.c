/* SPDX-License-Identifier: Apache-2.0 */
/* The control protocol, request by request, against a whole daemon in this process. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/process.h"
#include "daemon/protocol.h"
#include "daemon/shard.h"
#include "tests/daemon_bed.h"

static struct daemon_bed bed;
static struct daemon_bed_client client;

static void setup(void)
{
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
}

static void teardown(void)
{
	daemon_bed_disconnect(&client);
	daemon_bed_end(&bed);
}

#define ask(...) daemon_bed_ask(&client, __VA_ARGS__)

static void create(const char *name)
{
	int r = ask("{\"op\":\"create\",\"stream\":\"%s\",\"options\":{\"shards\":2}}", name);

	ck_assert_msg(r == 0, "%s", daemon_bed_sentence(&client));
}

static bool exists(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", bed.dir, name);
	return access(path, F_OK) == 0;
}

/* From now on the client counts as another user. */
static void become(uid_t uid, gid_t gid)
{
	client.session->subject.uid = uid;
	client.session->subject.gid = gid;
	client.session->subject.n_groups = 0;
}

/* ---- hello and what is no request ---- */

START_TEST(hello_comes_first_and_says_who_serves)
{
	static const char hello[] = "{\"op\":\"hello\",\"version\":1,\"id\":5}";
	struct daemon_bed_client other;
	int pair[2];

	other = (struct daemon_bed_client){ .bed = &bed };
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	other.fd = pair[0];
	ck_assert_int_eq(session_new(bed.server, pair[1], &other.session), 0);
	ck_assert_int_eq(daemon_bed_ask(&other, "{\"op\":\"list\"}"), -EPROTO);
	ck_assert_int_eq(daemon_bed_ask(&other, "{\"op\":\"hello\",\"version\":2}"),
			 -EPROTONOSUPPORT);
	ck_assert_int_eq(daemon_bed_ask(&other, "{\"op\":\"hello\"}"), -EINVAL);
	ck_assert(daemon_bed_send(&other, hello, strlen(hello)));
	ck_assert_int_eq(daemon_bed_number(&other, "id"), 5);
	ck_assert_int_eq(daemon_bed_number(&other, "version"), 1);
	ck_assert_int_eq(daemon_bed_number(&other, "pid"), getpid());
	ck_assert_uint_eq(strlen(json_string_value(json_object_get(other.reply, "instance"))), 32);
	daemon_bed_disconnect(&other);
}
END_TEST

START_TEST(nonsense_gets_an_error_and_the_connection_goes_on)
{
	static char big[PROTOCOL_REQUEST_MAX + 10];
	static const char *const bad[] = { "x",
					   "[]",
					   "{}",
					   "{\"op\":5}",
					   "{\"op\":\"fly\"}",
					   "{\"op\":\"create\"}",
					   "{\"op\":\"attach\"}",
					   "{\"op\":\"checkpoint\",\"stream\":\"s\"}" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(ask("%s", bad[i]) < 0, "%s", bad[i]);
	ck_assert(daemon_bed_send(&client, big, sizeof(big)));
	ck_assert_int_eq(daemon_bed_number(&client, "errno"), EMSGSIZE);
	ck_assert_int_eq(ask("{\"op\":\"list\"}"), 0);
	ck_assert(!daemon_bed_send(&client, "", 0));
	ck_assert_uint_eq(bed.server->n_sessions, 0);
}
END_TEST

/* ---- streams ---- */

START_TEST(a_stream_is_made_listed_described_and_removed)
{
	const json_t *shard, *may;

	create("events");
	ck_assert_uint_eq(strlen(json_string_value(json_object_get(client.reply, "uuid"))), 36);
	ck_assert(exists("streams/events/1"));
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"events\"}"), -EEXIST);
	ck_assert_int_eq(ask("{\"op\":\"list\"}"), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "streams")), 1);
	ck_assert_int_eq(ask("{\"op\":\"describe\",\"stream\":\"events\"}"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(client.reply, "name")), "events");
	shard = json_array_get(json_object_get(client.reply, "shards"), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(shard, "shard")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(shard, "latest")), LAYOUT_FIRST_POS);
	may = json_object_get(client.reply, "may");
	ck_assert_uint_eq(json_array_size(may), 3);
	ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"events\"}"), 0);
	ck_assert(!exists("streams/events"));
	ck_assert_int_eq(ask("{\"op\":\"describe\",\"stream\":\"events\"}"), -ENOENT);
	/* The name can be used again as soon as the reply is there. */
	create("events");
}
END_TEST

START_TEST(bad_names_and_options_leave_nothing_behind)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "a b" };
	int fds = daemon_bed_count_fds();

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"%s\"}", bad[i]), -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s\",\"options\":{\"ring\":1}}"),
			 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s\",\"options\":[]}"), -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s\",\"options\":"
			     "{\"ring\":1099511627776}}"),
			 -ENOSPC);
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&client), "1099511627776"));
	ck_assert_uint_eq(bed.server->registry.n_streams, 0);
	ck_assert_uint_eq(bed.server->registry.n_shards, 0);
	ck_assert(!exists("streams/s"));
	ck_assert_int_eq(daemon_bed_count_fds(), fds);
	create("s");
}
END_TEST

START_TEST(a_directory_in_the_way_is_not_taken_over)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/streams/s", bed.dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s\"}"), -EEXIST);
	ck_assert(exists("streams/s"));
	ck_assert_int_eq(rmdir(path), 0);
	create("s");
}
END_TEST

START_TEST(the_bus_has_limits)
{
	bed.config.max_shards = 3;
	create("one");
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"two\",\"options\":{\"shards\":2}}"),
			 -ENOSPC);
	bed.config.max_shards = 100;
	bed.config.max_streams = 1;
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"two\"}"), -ENOSPC);
	bed.config.max_streams = 100;
	bed.config.max_memory = 192 << 10;
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"two\",\"options\":{\"shards\":2}}"),
			 -ENOSPC);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"one\",\"key\":\"ring\","
			     "\"value\":\"128K\"}"),
			 -ENOSPC);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"two\"}"), 0);
	bed.config.create_everybody = false;
	become(4711, 4711);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"two\"}"), -EACCES);
}
END_TEST

START_TEST(streams_come_back_after_a_restart)
{
	create("events");
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"cache\",\"options\":"
			     "{\"memory\":true}}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"me\","
			     "\"positions\":[[1,4293918720]]}"),
			 0);
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	ck_assert_int_eq(ask("{\"op\":\"list\"}"), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "streams")), 2);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-get\",\"stream\":\"events\",\"name\":\"me\"}"),
			 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "positions")), 1);
}
END_TEST

/* What a daemon that died between two steps leaves. */
static void leave_half(const char *name, enum catalogue_state state)
{
	struct catalogue_stream row = {
		.state = state,
		.options = { .n_shards = 1, .ring_len = 65536, .segment_len = 1 << 20 }
	};
	char path[256], detail[256];
	struct catalogue *catalogue;
	int64_t id;

	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf((char *)row.uuid, sizeof(row.uuid), "%s", name);
	ck_assert_int_eq(catalogue_open(bed.dir, &catalogue, detail, sizeof(detail)), 0);
	ck_assert_int_eq(catalogue_add_stream(catalogue, &row, &id), 0);
	catalogue_close(catalogue);
	snprintf(path, sizeof(path), "%s/streams/%s", bed.dir, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/streams/%s/0", bed.dir, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

START_TEST(half_made_streams_are_cleaned_away_at_the_start)
{
	create("whole");
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	leave_half("making", CATALOGUE_MAKING);
	leave_half("removing", CATALOGUE_REMOVING);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	daemon_bed_settle(&bed);
	ck_assert(!exists("streams/making"));
	ck_assert(!exists("streams/removing"));
	ck_assert(exists("streams/whole/0"));
	create("making");
}
END_TEST

/* One bit of the catalogue, or an old copy of it, says so. */
START_TEST(a_stream_with_records_is_not_taken_for_half_made)
{
	char path[256];
	int fd;

	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	leave_half("making", CATALOGUE_MAKING);
	snprintf(path, sizeof(path), "%s/streams/making/0/%020d.seg", bed.dir, 4096);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(ftruncate(fd, 4096 + 64), 0);
	close(fd);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	daemon_bed_settle(&bed);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"making\"}"), -EEXIST);
	ck_assert(access(path, F_OK) == 0);
}
END_TEST

START_TEST(what_a_removal_could_not_take_away_does_not_keep_the_name)
{
	create("whole");
	leave_half("removing", CATALOGUE_REMOVING);
	create("removing");
	ck_assert(exists("streams/removing/1"));
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"whole\"}"), -EEXIST);
	/* What is whole is nobody's leftover, whoever has forgotten it. */
	leave_half("forgotten", CATALOGUE_LIVE);
	ck_assert_int_lt(ask("{\"op\":\"create\",\"stream\":\"forgotten\"}"), 0);
	ck_assert(exists("streams/forgotten/0"));
}
END_TEST

START_TEST(a_shard_that_cannot_be_restored_hides_no_other)
{
	char path[256];
	int fd;

	create("good");
	create("bad");
	daemon_bed_disconnect(&client);
	daemon_bed_stop(&bed);
	snprintf(path, sizeof(path), "rm -rf %s/streams/bad/1", bed.dir);
	ck_assert_int_eq(system(path), 0);
	snprintf(path, sizeof(path), "%s/streams/bad/1", bed.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"bad\",\"shard\":1,"
			     "\"role\":\"subscribe\"}"),
			 -EIO);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"bad\",\"shard\":0,"
			     "\"role\":\"subscribe\"}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"good\",\"shard\":1,"
			     "\"role\":\"subscribe\"}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"stat\",\"stream\":\"bad\"}"), 0);
	ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"bad\"}"), 0);
}
END_TEST

/* ---- permission ---- */

START_TEST(others_may_do_what_the_mode_says)
{
	create("events");
	become(4711, 4711);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"subscribe\"}"),
			 -EACCES);
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&client), "'events'"));
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&client), "subscribe"));
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"monitor\"}"),
			 -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"segments\",\"stream\":\"events\",\"shard\":0,"
			     "\"position\":0}"),
			 -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"sync\",\"stream\":\"events\",\"shard\":0}"), -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-get\",\"stream\":\"events\",\"name\":\"n\"}"),
			 -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"events\"}"), -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\","
			     "\"value\":\"666\"}"),
			 -EACCES);
	ck_assert_int_eq(ask("{\"op\":\"describe\",\"stream\":\"events\"}"), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "may")), 0);
	become(geteuid(), getegid());
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"mode\","
			     "\"value\":\"604\"}"),
			 0);
	become(4711, 4711);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"subscribe\"}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 -EACCES);
}
END_TEST

static int access_of(int fd)
{
	return fcntl(fd, F_GETFL) & O_ACCMODE;
}

START_TEST(each_role_gets_the_regions_it_may_have)
{
	static const struct {
		const char *role;
		int ring, publish, govern, wait;
	} roles[] = {
		{ "publish", O_RDWR, O_RDWR, O_RDONLY, O_RDWR },
		{ "subscribe", O_RDONLY, O_RDONLY, O_RDONLY, O_RDWR },
		{ "monitor", -1, O_RDONLY, O_RDONLY, -1 },
	};
	static const char *const names[] = { "ring", "publish", "govern", "wait" };

	create("events");
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		const int want[4] = { roles[i].ring, roles[i].publish, roles[i].govern,
				      roles[i].wait };

		ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":1,"
				     "\"role\":\"%s\"}",
				     roles[i].role),
				 0);
		for (int k = 0; k < 4; k++) {
			int fd = daemon_bed_take_fd(&client, names[k]);

			ck_assert_msg((fd < 0 ? -1 : access_of(fd)) == want[k], "%s %s",
				      roles[i].role, names[k]);
			close_fd(fd);
		}
		ck_assert_int_eq(json_integer_value(json_object_get(client.reply, "shards")), 2);
	}
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":2,"
			     "\"role\":\"publish\"}"),
			 -ENOENT);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"king\"}"),
			 -EINVAL);
}
END_TEST

/* ---- slots ---- */

static int64_t attach(const char *more)
{
	int r = ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,\"role\":\"publish\"%s}",
		    more);

	ck_assert_msg(r == 0, "%s", daemon_bed_sentence(&client));
	return daemon_bed_number(&client, "slot");
}

static unsigned int taken(void)
{
	struct registry_stream *stream = registry_find(&bed.server->registry, "events");
	static struct layout_owner owners[LAYOUT_PUBLISHER_SLOTS];
	uint32_t slots[LAYOUT_PUBLISHER_SLOTS];

	return (unsigned int)shard_slots(stream->shards[0].shard, owners, slots,
					 LAYOUT_PUBLISHER_SLOTS);
}

START_TEST(publishers_get_slots_and_ids_of_their_own)
{
	int64_t first, second, id;

	create("events");
	first = attach("");
	id = daemon_bed_number(&client, "publisher");
	second = attach("");
	ck_assert_int_ne(first, second);
	ck_assert_int_gt(daemon_bed_number(&client, "publisher"), id);
	ck_assert_uint_eq(taken(), 2);
	ck_assert_int_eq(ask("{\"op\":\"detach\",\"stream\":\"events\",\"shard\":0,\"slot\":%d}",
			     (int)first),
			 0);
	ck_assert_uint_eq(taken(), 1);
	ck_assert_int_eq(ask("{\"op\":\"detach\",\"stream\":\"events\",\"shard\":0,\"slot\":%d}",
			     (int)first),
			 -ENOENT);
	ck_assert_int_eq(ask("{\"op\":\"detach\",\"stream\":\"events\",\"shard\":1,\"slot\":%d}",
			     (int)second),
			 -ENOENT);
}
END_TEST

START_TEST(all_slots_can_be_taken_and_not_one_more)
{
	create("events");
	for (int i = 0; i < LAYOUT_PUBLISHER_SLOTS; i++)
		attach("");
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 -EAGAIN);
	ck_assert_uint_eq(taken(), LAYOUT_PUBLISHER_SLOTS);
}
END_TEST

START_TEST(a_publisher_that_comes_back_keeps_its_slot)
{
	struct daemon_bed_client again;
	int64_t slot, generation, publisher;
	char more[128];

	create("events");
	slot = attach("");
	generation = daemon_bed_number(&client, "generation");
	publisher = daemon_bed_number(&client, "publisher");
	/* The connection goes, the process lives: its slot stays. */
	daemon_bed_disconnect(&client);
	ck_assert_uint_eq(taken(), 1);
	daemon_bed_connect(&bed, &again);
	client = again;
	snprintf(more, sizeof(more), ",\"reattach\":{\"slot\":%d,\"generation\":%lld}", (int)slot,
		 (long long)generation);
	ck_assert_int_eq(attach(more), slot);
	ck_assert_int_eq(daemon_bed_number(&client, "publisher"), publisher);
	ck_assert_uint_eq(client.n_fds, 1);
	ck_assert_uint_eq(taken(), 1);
	/* Somebody else's slot, or none: a newcomer. */
	snprintf(more, sizeof(more), ",\"reattach\":{\"slot\":200,\"generation\":%lld}",
		 (long long)generation);
	ck_assert_int_ne(attach(more), 200);
	ck_assert_uint_eq(client.n_fds, 5);
	ck_assert_uint_eq(taken(), 2);
}
END_TEST

static bool has_generation(void *arg)
{
	struct registry_stream *stream = registry_find(&bed.server->registry, "events");
	struct shard_stats stats;

	shard_statistics(stream->shards[0].shard, &stats);
	return stats.generation >= *(uint32_t *)arg;
}

START_TEST(a_publisher_follows_its_ring_with_its_slot)
{
	int64_t slot, generation;
	uint32_t next;
	char more[128];

	create("events");
	slot = attach("");
	generation = daemon_bed_number(&client, "generation");
	next = (uint32_t)generation + 1;
	snprintf(more, sizeof(more),
		 ",\"generation\":%u,\"reattach\":{\"slot\":%d,\"generation\":%lld}", next,
		 (int)slot, (long long)generation);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"%s}",
			     more),
			 -EAGAIN);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"ring\","
			     "\"value\":\"128K\"}"),
			 0);
	daemon_bed_until(&bed, has_generation, &next);
	ck_assert_int_eq(attach(more), slot);
	ck_assert_uint_eq(client.n_fds, 5);
	ck_assert_int_eq(daemon_bed_number(&client, "generation"), next);
	ck_assert_uint_eq(taken(), 1);
	ck_assert_int_eq(ask("{\"op\":\"describe\",\"stream\":\"events\"}"), 0);
	ck_assert_int_eq(json_integer_value(
				 json_object_get(json_object_get(client.reply, "options"), "ring")),
			 131072);
}
END_TEST

START_TEST(a_process_of_another_namespace_may_not_publish)
{
	create("events");
	client.session->pid = 0;
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"publish\"}"),
			 -EPERM);
	ck_assert_int_eq(ask("{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
			     "\"role\":\"subscribe\"}"),
			 0);
}
END_TEST

START_TEST(slots_of_a_removed_stream_are_forgotten)
{
	create("events");
	attach("");
	ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"events\"}"), 0);
	ck_assert(cds_list_empty(&bed.server->slots));
	create("events");
}
END_TEST

/* ---- the rest ---- */

START_TEST(segments_come_with_their_files)
{
	const json_t *segments;
	int fd;

	create("events");
	ck_assert_int_eq(ask("{\"op\":\"segments\",\"stream\":\"events\",\"shard\":0,"
			     "\"position\":%llu}",
			     (unsigned long long)LAYOUT_FIRST_POS),
			 0);
	segments = json_object_get(client.reply, "segments");
	ck_assert_uint_eq(json_array_size(segments), client.n_fds);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "gaps")), 0);
	if (client.n_fds > 0) {
		fd = daemon_bed_take_fd(&client, "segment");
		ck_assert_int_eq(access_of(fd), O_RDONLY);
		close_fd(fd);
	}
	/* Below what is kept: told as a gap of retention. */
	ck_assert_int_eq(ask("{\"op\":\"segments\",\"stream\":\"events\",\"shard\":0,"
			     "\"position\":64}"),
			 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "gaps")),
			  client.n_fds > 0 ? 1 : 0);
	ck_assert_int_eq(ask("{\"op\":\"segments\",\"stream\":\"events\",\"shard\":0,"
			     "\"position\":-1}"),
			 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"sync\",\"stream\":\"events\",\"shard\":0}"), 0);
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"m\",\"options\":{\"memory\":true}}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"segments\",\"stream\":\"m\",\"shard\":0,\"position\":0}"),
			 -EOPNOTSUPP);
	ck_assert_int_eq(ask("{\"op\":\"sync\",\"stream\":\"m\",\"shard\":0}"), -EOPNOTSUPP);
}
END_TEST

START_TEST(checkpoints_are_set_read_and_removed)
{
	const json_t *pair;

	create("events");
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"me\","
			     "\"positions\":[[0,4293918720],[1,4293918752]]}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-get\",\"stream\":\"events\",\"name\":\"me\"}"),
			 0);
	pair = json_array_get(json_object_get(client.reply, "positions"), 1);
	ck_assert_int_eq(json_integer_value(json_array_get(pair, 1)), 4293918752);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-get\",\"stream\":\"events\",\"name\":\"you\"}"),
			 0);
	ck_assert_uint_eq(json_array_size(json_object_get(client.reply, "positions")), 0);
	ck_assert_int_eq(ask("{\"op\":\"stat\",\"stream\":\"events\"}"), 0);
	pair = json_object_get(json_array_get(json_object_get(client.reply, "streams"), 0),
			       "subscribers");
	ck_assert_uint_eq(json_array_size(pair), 2);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-remove\",\"stream\":\"events\","
			     "\"name\":\"me\"}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint-remove\",\"stream\":\"events\","
			     "\"name\":\"me\"}"),
			 -ENOENT);
	bed.config.max_checkpoints = 1;
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"a\","
			     "\"positions\":[]}"),
			 0);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"b\","
			     "\"positions\":[]}"),
			 -ENOSPC);
}
END_TEST

START_TEST(bad_checkpoints_are_refused)
{
	static const char *const bad[] = { "5",
					   "[5]",
					   "[[0]]",
					   "[[0,1,2]]",
					   "[[0,-1]]",
					   "[[\"0\",1]]",
					   "[[0,4611686018427387905]]" };

	create("events");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\","
				     "\"name\":\"me\",\"positions\":%s}",
				     bad[i]),
				 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"me\","
			     "\"positions\":[[2,1]]}"),
			 -ENOENT);
	ck_assert_int_eq(ask("{\"op\":\"checkpoint\",\"stream\":\"events\",\"name\":\"../x\","
			     "\"positions\":[]}"),
			 -EINVAL);
}
END_TEST

START_TEST(statistics_say_what_the_protocol_lists)
{
	static const char *const of_bus[] = { "version",       "pid",  "uptime_ns",
					      "clients",       "data", "runtime",
					      "drain_threads", "io",   "features" };
	static const char *const of_shard[] = {
		"shard",      "generation",    "earliest",   "latest",      "written",
		"durable",    "reclaimed",     "limit",      "ring",        "tail",
		"publishers", "records",       "bytes",      "tombstones",  "tombstone_bytes",
		"damaged",    "damaged_bytes", "gaps",       "disk_errors", "syncs",
		"segments",   "kept_bytes",    "full_waits", "successors",  "latest_ns",
		"state",      "error",
	};
	const json_t *bus, *stream, *shard, *publisher;

	create("events");
	attach("");
	ck_assert_int_eq(ask("{\"op\":\"stat\"}"), 0);
	bus = json_object_get(client.reply, "bus");
	stream = json_array_get(json_object_get(client.reply, "streams"), 0);
	shard = json_array_get(json_object_get(stream, "shards"), 0);
	publisher = json_array_get(json_object_get(stream, "publishers"), 0);
	for (size_t i = 0; i < ARRAY_LEN(of_bus); i++)
		ck_assert_msg(json_object_get(bus, of_bus[i]) != NULL, "%s", of_bus[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_shard); i++)
		ck_assert_msg(json_object_get(shard, of_shard[i]) != NULL, "%s", of_shard[i]);
	ck_assert_str_eq(json_string_value(json_object_get(shard, "state")), "open");
	ck_assert_int_eq(json_integer_value(json_object_get(publisher, "pid")), getpid());
	ck_assert_str_eq(json_string_value(json_object_get(publisher, "client")), "bed");
	ck_assert_int_eq(ask("{\"op\":\"stat\",\"stream\":\"none\"}"), -ENOENT);
}
END_TEST

START_TEST(a_long_list_is_sent_whole)
{
	json_t *list;
	int64_t len;
	void *text;
	int fd;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s%d\",\"options\":"
				     "{\"shards\":100,\"memory\":true}}",
				     i),
				 0);
	ck_assert_int_eq(ask("{\"op\":\"stat\",\"id\":9}"), 0);
	ck_assert_int_eq(daemon_bed_number(&client, "id"), 9);
	len = daemon_bed_number(&client, "body");
	ck_assert_int_gt(len, PROTOCOL_PACKET_MAX);
	fd = daemon_bed_take_fd(&client, "body");
	text = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
	ck_assert_ptr_ne(text, MAP_FAILED);
	list = json_loadb(text, (size_t)len, 0, NULL);
	ck_assert_uint_eq(json_array_size(json_object_get(list, "streams")), 4);
	json_decref(list);
	munmap(text, (size_t)len);
	close(fd);
}
END_TEST

START_TEST(set_refuses_what_create_would_refuse)
{
	create("events");
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"ring\","
			     "\"value\":\"100K\"}"),
			 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"color\","
			     "\"value\":\"red\"}"),
			 -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"ring\"}"), -EINVAL);
	ck_assert_int_eq(ask("{\"op\":\"set\",\"stream\":\"events\",\"key\":\"retain-size\","
			     "\"value\":\"1G\"}"),
			 0);
	ck_assert(!registry_find(&bed.server->registry, "events")->altering);
}
END_TEST

static TCase *requests(void)
{
	TCase *tc = tcase_create("requests");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, hello_comes_first_and_says_who_serves);
	tcase_add_test(tc, nonsense_gets_an_error_and_the_connection_goes_on);
	tcase_add_test(tc, a_stream_is_made_listed_described_and_removed);
	tcase_add_test(tc, bad_names_and_options_leave_nothing_behind);
	tcase_add_test(tc, a_directory_in_the_way_is_not_taken_over);
	tcase_add_test(tc, the_bus_has_limits);
	tcase_add_test(tc, streams_come_back_after_a_restart);
	tcase_add_test(tc, half_made_streams_are_cleaned_away_at_the_start);
	tcase_add_test(tc, a_stream_with_records_is_not_taken_for_half_made);
	tcase_add_test(tc, what_a_removal_could_not_take_away_does_not_keep_the_name);
	tcase_add_test(tc, a_shard_that_cannot_be_restored_hides_no_other);
	tcase_add_test(tc, others_may_do_what_the_mode_says);
	tcase_add_test(tc, each_role_gets_the_regions_it_may_have);
	tcase_add_test(tc, publishers_get_slots_and_ids_of_their_own);
	tcase_add_test(tc, all_slots_can_be_taken_and_not_one_more);
	tcase_add_test(tc, a_publisher_that_comes_back_keeps_its_slot);
	tcase_add_test(tc, a_publisher_follows_its_ring_with_its_slot);
	tcase_add_test(tc, a_process_of_another_namespace_may_not_publish);
	tcase_add_test(tc, slots_of_a_removed_stream_are_forgotten);
	tcase_add_test(tc, segments_come_with_their_files);
	tcase_add_test(tc, checkpoints_are_set_read_and_removed);
	tcase_add_test(tc, bad_checkpoints_are_refused);
	tcase_add_test(tc, statistics_say_what_the_protocol_lists);
	tcase_add_test(tc, a_long_list_is_sent_whole);
	tcase_add_test(tc, set_refuses_what_create_would_refuse);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("dispatch");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	suite_add_tcase(suite, requests());
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
