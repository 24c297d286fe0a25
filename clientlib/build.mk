# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
CLIENTLIB_SRCS += \
	clientlib/ack.c \
	clientlib/attach.c \
	clientlib/batch.c \
	clientlib/bus.c \
	clientlib/claim.c \
	clientlib/control.c \
	clientlib/describe.c \
	clientlib/detail.c \
	clientlib/encode.c \
	clientlib/follow.c \
	clientlib/helper.c \
	clientlib/idle.c \
	clientlib/keys.c \
	clientlib/md5.c \
	clientlib/many.c \
	clientlib/publish.c \
	clientlib/publisher.c \
	clientlib/sleep.c \
	clientlib/source_disk.c \
	clientlib/source_ring.c \
	clientlib/start.c \
	clientlib/stats.c \
	clientlib/stream.c \
	clientlib/subscribe.c \
	clientlib/subscriber.c \
	# end of CLIENTLIB_SRCS

# What the library takes from persist: only what a reader of segments needs.
CLIENTLIB_PERSIST_SRCS += \
	persist/file.c \
	persist/format.c \
	persist/reader.c \
	persist/timeindex.c \
	# end of CLIENTLIB_PERSIST_SRCS
