/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leat: a log bus for one Linux host. The whole public interface.
 *
 * Errors: every int-returning call gives 0 or a count on success and a negative errno on failure;
 * leat_strerror() names it and leat_detail() has a sentence with the object and the remedy.
 * Threads: a leat_bus may be used by several threads; a publisher or subscriber by one at a time.
 * fork: a handle is not inherited; used in a child, its calls return -EPERM.
 * The library logs nothing, has no global state and starts no thread, except one for
 * leat_subscriber_fd(), which asks for it.
 *
 * Units: lengths in bytes, times in nanoseconds (timestamps since 1970, UTC). A position is the
 * 64-bit byte address of a record in its shard, strictly increasing.
 */
#ifndef LEAT_H
#define LEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEAT_VERSION_MAJOR 0
#define LEAT_VERSION_MINOR 1
#define LEAT_VERSION_PATCH 0

#define LEAT_FOREVER UINT64_MAX /* as a timeout: wait as long as it takes; 0 does not wait */
#define LEAT_SHARD_ANY (-1)     /* publishing: by key, or round robin; subscribing: all shards */
#define LEAT_MESSAGE_MAX (16u << 20)

struct leat_bus;
struct leat_publisher;
struct leat_subscriber;

/* ---- the bus ---- */

struct leat_connect_options {
	size_t size;         /* sizeof(struct leat_connect_options) */
	const char *client;  /* a name that operators see; NULL = the program's */
	uint64_t timeout_ns; /* for the connection and each request; 0 = 5 s */
	char *detail;        /* gets the sentence when leat_connect() itself fails; may be NULL */
	size_t detail_len;
};

/*
 * Connects to the daemon's socket at `path`; NULL looks at $LEAT_BUS, then the user's bus, then
 * the system's. options may be NULL. The handle belongs to the caller: leat_close().
 * -ENOENT no socket there, -ECONNREFUSED no daemon behind it, -EACCES, -EPROTONOSUPPORT,
 * -ETIMEDOUT, -EMFILE, -ENOMEM, -EAGAIN (the daemon has no room for another client).
 */
int leat_connect(const char *path, const struct leat_connect_options *options,
		 struct leat_bus **ret_bus);

/* Ends the connection; publishers and subscribers opened on it must be closed before. NULL ok. */
struct leat_bus *leat_close(struct leat_bus *bus);

/* A short English name of a negative errno returned by this library. Static. Any thread. */
const char *leat_strerror(int error);

/* The sentence about the last failure on this handle; "" if none. leat_detail() also has those of
 * what was opened on the bus, each thread its own, but for "no room" and "no message" in time.
 * Valid until the next call on the handle from this thread. */
const char *leat_detail(const struct leat_bus *bus);
const char *leat_publisher_detail(const struct leat_publisher *publisher);
const char *leat_subscriber_detail(const struct leat_subscriber *subscriber);

/* "major.minor.patch" of the library at run time. */
const char *leat_version(void);

/* ---- streams ---- */

enum leat_sync {
	LEAT_SYNC_ALWAYS = 0,
	LEAT_SYNC_NONE = 1,
	LEAT_SYNC_INTERVAL = 2
};
enum leat_full {
	LEAT_FULL_BLOCK = 0,
	LEAT_FULL_FAIL = 1
};
enum leat_disk_full {
	LEAT_DISK_FULL_STOP = 0,
	LEAT_DISK_FULL_DROP_OLDEST = 1
};
enum leat_hash {
	LEAT_HASH_XXH3 = 0,
	LEAT_HASH_MD5 = 1
};

/* What a stream is. 0 in a numeric field means the default, except where said. */
struct leat_stream_options {
	size_t size;
	uint32_t n_shards; /* 1..128, default 1 */
	uint32_t mode; /* permission bits as a file's, r = subscribe, w = publish; default 0600 */
	uint64_t ring_len;         /* of each shard, power of two >= 64 KiB; default 16 MiB */
	uint64_t segment_len;      /* default 64 MiB, less when retain_len is small */
	uint64_t retain_ns;        /* 0 = for ever */
	uint64_t retain_len;       /* of the stream as a whole; 0 = no limit */
	uint64_t sync_ns;          /* for LEAT_SYNC_INTERVAL */
	uint64_t claim_timeout_ns; /* how long a stopped publisher may hold a reservation; 10 s */
	uint64_t rate_limit;       /* bytes per second and shard; 0 = none */
	enum leat_sync sync;
	enum leat_full full;
	enum leat_disk_full on_disk_full;
	enum leat_hash hash;
	int memory;        /* nonzero: no segments, the ring is all there is */
	int no_checksum;   /* nonzero: records carry no CRC */
	const char *owner; /* user name or number; NULL = the caller */
	const char *group; /* NULL = the caller's primary group */
};

/* A stream as it is; strings and arrays belong to the info. */
struct leat_shard_info {
	uint32_t shard;
	uint32_t generation; /* of its ring */
	uint64_t earliest;   /* position of the earliest record kept */
	uint64_t latest;     /* position that the next record gets */
	uint64_t written;
	uint64_t durable;
	uint64_t reclaimed; /* from here on the ring holds it */
};

struct leat_stream_info {
	const char *name;
	char uuid[37];
	char reserved[3];
	int may_subscribe; /* what the caller may do */
	int may_publish;
	int may_administer;
	struct leat_stream_options options; /* size, owner and group set */
	size_t n_shards;
	const struct leat_shard_info *shards;
};

/* Fills in the defaults. Needed before the fields are changed. */
void leat_stream_options_init(struct leat_stream_options *options);

/*
 * Makes a stream; returns when its rings exist. -EINVAL name or option, -EEXIST, -ENOSPC not
 * enough memory or disk (the detail says needed and available), -EACCES, -ENOTCONN.
 */
int leat_stream_create(struct leat_bus *bus, const char *name,
		       const struct leat_stream_options *options);
/* -ENOENT. The info is the caller's: leat_stream_info_free(). */
int leat_stream_describe(struct leat_bus *bus, const char *name,
			 struct leat_stream_info **ret_info);
struct leat_stream_info *leat_stream_info_free(struct leat_stream_info *info);
/* All streams by name; returns their number and an array to be freed by leat_stream_list_free(). */
int leat_stream_list(struct leat_bus *bus, struct leat_stream_info ***ret_list);
struct leat_stream_info **leat_stream_list_free(struct leat_stream_info **list, int n);
/* Changes one property, named and written as on the command line ("retain-size", "1G"; also
 * "ring", which moves every shard to a successor ring of that size). -EINVAL, -ENOENT, -EACCES. */
int leat_stream_alter(struct leat_bus *bus, const char *name, const char *key, const char *value);
/* Deletes the stream and all it keeps. Publishers and subscribers of it get -ENOENT. */
int leat_stream_delete(struct leat_bus *bus, const char *name);
/* One JSON object of the state of one stream, or of the whole bus (stream NULL): the figures of
 * `leat stat --json`. The string is the caller's: free(). */
int leat_stat_json(struct leat_bus *bus, const char *stream, char **ret_json);

/* ---- publishing ---- */

enum leat_ack {
	LEAT_ACK_RING = 0,
	LEAT_ACK_WRITTEN = 1,
	LEAT_ACK_DURABLE = 2
};

struct leat_header {
	const char *name; /* any bytes, up to 65,535 */
	size_t name_len;
	const void *value;
	size_t value_len;
};

/* What is published. All 0 is an empty record without key on any shard when shard is set to
 * LEAT_SHARD_ANY. Nothing is kept of it after the call. */
struct leat_record {
	const void *key; /* up to 65,535 bytes; chooses the shard when shard is LEAT_SHARD_ANY */
	size_t key_len;
	const void *value;
	size_t value_len;
	const struct leat_header *headers;
	size_t n_headers;
	uint64_t event_time_ns; /* the publisher's own time; 0 = none */
	int32_t shard;          /* LEAT_SHARD_ANY, or 0.. */
	uint32_t reserved;      /* 0 */
};

/* Where a record is, or why not. */
struct leat_result {
	uint64_t pos;
	uint32_t shard;
	int32_t error; /* 0 or negative errno */
};

struct leat_publisher_options {
	size_t size;
	uint64_t timeout_ns; /* how long publishing waits for room: default the stream's (block =
				LEAT_FOREVER, fail = 0); set use_timeout */
	int use_timeout;
	int reserved;
};

/* Opens a stream for publishing. -ENOENT, -EACCES (detail: stream and what is needed), -ENOTCONN,
 * -EAGAIN (no free publisher slot), -ENOMEM, -EMFILE. */
int leat_publisher_open(struct leat_bus *bus, const char *stream,
			const struct leat_publisher_options *options,
			struct leat_publisher **ret_publisher);
struct leat_publisher *leat_publisher_close(struct leat_publisher *publisher);

/* Largest length of key + headers + value that one record may have, in bytes. */
size_t leat_publisher_max_len(const struct leat_publisher *publisher);
uint32_t leat_publisher_n_shards(const struct leat_publisher *publisher);
/* The shard a key goes to. */
uint32_t leat_publisher_shard_of(const struct leat_publisher *publisher, const void *key,
				 size_t key_len);

/*
 * Publishes one record; on 0 it is acknowledged at level ring. ret_result (may be NULL) says
 * where it is. -EAGAIN the ring is full and the timeout is 0, -ETIMEDOUT still full at its end,
 * -EMSGSIZE (detail: the limit), -EINVAL, -ENOENT the stream was deleted, -ENOSPC or -EIO the
 * shard is stopped by a disk error, -EACCES the stream moved and its mode forbids publishing now,
 * -EPERM after fork, -ESTALE not known whether it counts.
 */
int leat_publish(struct leat_publisher *publisher, const struct leat_record *record,
		 struct leat_result *ret_result);
int leat_publish_timed(struct leat_publisher *publisher, const struct leat_record *record,
		       uint64_t timeout_ns, struct leat_result *ret_result);
/* Publishes n records, each on its own; results[n] says what became of each. Returns how many
 * were published; one bad record does not hide the others. Those of one shard keep their order and
 * are written together, which costs less than one call each; of those that neither name a shard nor
 * have a key, neighbours stay together. */
int leat_publish_many(struct leat_publisher *publisher, const struct leat_record *records, size_t n,
		      struct leat_result *results);
/* Publishes n records to one shard (of the first one's key or shard) as one: subscribers see all
 * or none. results[n] may be NULL. Returns 0. Errors as leat_publish(). */
int leat_publish_batch(struct leat_publisher *publisher, const struct leat_record *records,
		       size_t n, struct leat_result *results);

/* A record being written in place. Fill value[0 .. value_len). */
struct leat_claim {
	void *value;
	size_t value_len;
	uint64_t pos;
	uint32_t shard;
	uint32_t reserved;
	uint64_t opaque[4];
};

/* Reserves a record in the ring: key, headers and event time of `record` are stored, its value
 * pointer is ignored, value_len bytes are the caller's to fill until leat_commit() or
 * leat_discard(). Errors as leat_publish(). One claim at a time for each shard of a publisher. */
int leat_reserve(struct leat_publisher *publisher, const struct leat_record *record,
		 struct leat_claim *ret_claim);
/* -ESTALE: held longer than the stream's claim timeout, or the daemon has come back without the
 * ring; the record was not published. */
int leat_commit(struct leat_publisher *publisher, struct leat_claim *claim,
		struct leat_result *ret_result);
void leat_discard(struct leat_publisher *publisher, struct leat_claim *claim);

/* Waits until the shard has reached `level` beyond pos (a position that leat_publish() returned).
 * 0, -ETIMEDOUT, -EOPNOTSUPP (a memory-only stream has no written and durable), -EIO, -ENOSPC,
 * -ENOENT, -ESTALE not known: the daemon died with its rings. */
int leat_wait(struct leat_publisher *publisher, uint32_t shard, uint64_t pos, enum leat_ack level,
	      uint64_t timeout_ns);
/* The same for everything published through this publisher so far; -ESTALE is said once. */
int leat_flush(struct leat_publisher *publisher, enum leat_ack level, uint64_t timeout_ns);

/* ---- subscribing ---- */

enum leat_where {
	LEAT_LATEST = 0,
	LEAT_EARLIEST = 1,
	LEAT_POSITION = 2, /* the first record at or after it */
	LEAT_AFTER = 3,    /* the first record after it */
	LEAT_TIME = 4,     /* the first record with that timestamp or later */
	LEAT_NEVER = 5,    /* as a stop: follow for ever */
};

enum leat_isolation {
	LEAT_ISOLATION_RING = 0,
	LEAT_ISOLATION_WRITTEN = 1,
	LEAT_ISOLATION_DURABLE = 2,
};

struct leat_subscriber_options {
	size_t size;
	int32_t shard; /* LEAT_SHARD_ANY = all */
	enum leat_where start;
	uint64_t start_value; /* position or nanoseconds */
	enum leat_where stop; /* LEAT_LATEST: the end as it is when opened */
	enum leat_isolation isolation;
	uint64_t stop_value; /* exclusive */
	const char *name;    /* keeps a checkpoint: goes on where leat_checkpoint() last was; start
				counts the first time only; 1..200 of [A-Za-z0-9._-] */
	uint64_t spin_ns; /* how long to poll before sleeping; default 20 us on more than one CPU */
	size_t buffer_len; /* copy buffer, bytes; default 256 KiB, grows to the largest record */
};

enum leat_kind {
	LEAT_RECORD = 1,
	LEAT_GAP = 2, /* [pos, next_pos) cannot be given: see reason */
};

enum leat_gap {
	LEAT_GAP_RETENTION = 1, /* deleted by retention */
	LEAT_GAP_DAMAGE = 2,    /* unreadable */
	LEAT_GAP_LAPPED = 3,    /* a memory-only ring moved on */
	LEAT_GAP_JUMP = 4,      /* positions never used: after a recovery without the ring */
};

/* What a subscriber gets. Pointers are good until the next call on the subscriber. */
struct leat_message {
	enum leat_kind kind;
	uint32_t shard;
	uint64_t pos;
	uint64_t next_pos;
	uint64_t timestamp_ns;
	uint64_t event_time_ns; /* 0 = none */
	const void *key;
	const void *value;
	const void *headers; /* encoded: leat_message_header() */
	uint32_t key_len;
	uint32_t value_len;
	uint32_t headers_len;
	uint32_t publisher;
	uint32_t sequence;
	enum leat_gap reason;
	uint64_t opaque[2];
};

void leat_subscriber_options_init(struct leat_subscriber_options *options);
/* Opens a stream for reading. options NULL: all shards, from the latest, for ever. -ENOENT,
 * -EACCES, -EINVAL, -ENOTCONN, -ENOMEM, -EMFILE. */
int leat_subscriber_open(struct leat_bus *bus, const char *stream,
			 const struct leat_subscriber_options *options,
			 struct leat_subscriber **ret_subscriber);
struct leat_subscriber *leat_subscriber_close(struct leat_subscriber *subscriber);

/* The next message: 1 with a message, 0 at the stop, -ETIMEDOUT, -EINTR after a signal, -ENOENT
 * the stream was deleted, -EIO, -EACCES the stream moved and its mode forbids subscribing now,
 * -EBADMSG, -ENOMEM, -EMFILE, -EPERM after fork. */
int leat_next(struct leat_subscriber *subscriber, uint64_t timeout_ns,
	      struct leat_message *ret_message);
/* Zero-copy: like leat_next(), but where the record is in the ring the pointers go into it. What
 * was read counts only if leat_view_valid() then returns 1; 0 = it was overwritten: leat_next()
 * gives the same record again. */
int leat_view(struct leat_subscriber *subscriber, uint64_t timeout_ns,
	      struct leat_message *ret_message);
int leat_view_valid(struct leat_subscriber *subscriber, const struct leat_message *message);

/* Called for each message; nonzero stops the poll and is returned. */
typedef int (*leat_handler)(void *context, const struct leat_message *message);
/* Hands at most max messages to the handler, waiting for the first only; having given many, it
 * pauses for a moment before it says that there are no more, so that the publisher can go on in
 * peace. Returns how many, 0 at the stop; errors as leat_next(). */
int leat_poll(struct leat_subscriber *subscriber, leat_handler handler, void *context, size_t max,
	      uint64_t timeout_ns);
/* Steps through a message's headers; *off starts at 0. 1 with a header, 0 at the end. */
int leat_message_header(const struct leat_message *message, uint32_t *off,
			struct leat_header *ret_header);

/* An fd that is readable while there may be messages, for the user's epoll; drain with
 * leat_next(.., 0, ..) until -ETIMEDOUT. Belongs to the subscriber. Starts a helper thread. */
int leat_subscriber_fd(struct leat_subscriber *subscriber);
/* Goes somewhere else in one shard, or all (LEAT_SHARD_ANY). */
int leat_seek(struct leat_subscriber *subscriber, int32_t shard, enum leat_where where,
	      uint64_t value);
/* A paused shard gives no messages until it is resumed (on = 0). */
int leat_pause(struct leat_subscriber *subscriber, int32_t shard, int on);
/* The position after the last message given, of one shard. */
int leat_subscriber_position(const struct leat_subscriber *subscriber, uint32_t shard,
			     uint64_t *ret_pos);
/* Stores the positions under the subscriber's name. -EINVAL without a name, -ENOTCONN. */
int leat_checkpoint(struct leat_subscriber *subscriber);

struct leat_subscriber_stats {
	size_t size;
	uint64_t records;
	uint64_t bytes;
	uint64_t gaps;
	uint64_t tombstones;
	uint64_t from_disk; /* records read from segments */
	uint64_t sleeps;
	uint64_t lapped; /* times a copy was thrown away */
};
int leat_subscriber_statistics(const struct leat_subscriber *subscriber,
			       struct leat_subscriber_stats *ret_stats);
struct leat_publisher_stats {
	size_t size;
	uint64_t records;
	uint64_t bytes;
	uint64_t full_waits;  /* times it had to wait for room */
	uint64_t drain_kicks; /* system calls made to wake the drain */
	uint64_t wakes;       /* system calls made to wake subscribers */
	uint64_t successors;  /* rings followed */
};
int leat_publisher_statistics(const struct leat_publisher *publisher,
			      struct leat_publisher_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
