/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon is told: by the command line, by the configuration file, or by nobody. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "daemon/log.h"
#include "daemon/shard.h"
#include "shm/base.h"

#ifndef CONFIG_SYSCONFDIR
#define CONFIG_SYSCONFDIR "/etc"
#endif

/* What config_parse_arguments() asks the caller to do; expected outcomes. */
enum {
	CONFIG_E_HELP = 1,
	CONFIG_E_VERSION = 2,
};

struct config {
	/* From the command line, the file, or the defaults of this user; owned. */
	char *runtime;
	char *data;
	char *file; /* NULL: the usual place, where nothing needs to be */
	bool keep;
	bool io_threads;

	/* What SIGHUP reads again. */
	enum log_level log_level;
	uint32_t max_connections;
	uint32_t max_connections_per_user;
	uint32_t max_streams;
	uint32_t max_shards;
	uint32_t max_checkpoints; /* names of one stream */
	uint64_t max_memory;      /* of all rings, bytes */
	uint64_t stop_timeout_ns;
	bool create_everybody;
	/* Defaults of a new stream. */
	uint64_t ring_len;
	uint64_t segment_len;
	uint64_t claim_timeout_ns;
	uint64_t sync_ns;
	enum shard_sync sync;
	uint32_t mode;
};

void config_init(struct config *config);
void config_deinit(struct config *config);

/* 0, CONFIG_E_*, or -EINVAL with a sentence. */
int config_parse_arguments(struct config *config, int argc, char *const argv[], char *detail,
			   size_t detail_len);
/*
 * Reads config->file, or the usual one if that exists. Directories in it count only where the
 * command line gave none. -EINVAL and others with a sentence that names file and line.
 */
int config_read(struct config *config, char *detail, size_t detail_len);
/* One line of a file; ret is as config_read(). */
int config_set(struct config *config, const char *key, const char *value, char *detail,
	       size_t detail_len);
/* Fills in the directories that are still missing. */
int config_default_directories(struct config *config, char *detail, size_t detail_len);
/* Reads the file again; on success what can change while running is taken over. */
int config_reload(struct config *config, char *detail, size_t detail_len);

/* "always", "none" or a time. */
int config_parse_sync(const char *text, enum shard_sync *ret_sync, uint64_t *ret_ns);

#endif
