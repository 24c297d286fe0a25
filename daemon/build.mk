# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
DAEMON_SRCS += \
	daemon/alter.c \
	daemon/attach.c \
	daemon/catalogue.c \
	daemon/checkpoint.c \
	daemon/config.c \
	daemon/directory.c \
	daemon/dispatch.c \
	daemon/drain.c \
	daemon/keeper.c \
	daemon/listener.c \
	daemon/log.c \
	daemon/main.c \
	daemon/names.c \
	daemon/notify.c \
	daemon/options.c \
	daemon/permission.c \
	daemon/placement.c \
	daemon/process.c \
	daemon/protocol.c \
	daemon/quantity.c \
	daemon/registry.c \
	daemon/restore.c \
	daemon/retention.c \
	daemon/server.c \
	daemon/session.c \
	daemon/shard.c \
	daemon/shard_disk.c \
	daemon/shard_drain.c \
	daemon/shard_succeed.c \
	daemon/stats.c \
	daemon/stream.c \
	daemon/user.c \
	daemon/worker.c \
	# end of DAEMON_SRCS
