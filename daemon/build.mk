# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
DAEMON_SRCS += \
	daemon/directory.c \
	daemon/drain.c \
	daemon/keeper.c \
	daemon/log.c \
	daemon/names.c \
	daemon/notify.c \
	daemon/permission.c \
	daemon/protocol.c \
	daemon/quantity.c \
	daemon/shard.c \
	daemon/shard_disk.c \
	daemon/shard_drain.c \
	daemon/shard_succeed.c \
	# end of DAEMON_SRCS
