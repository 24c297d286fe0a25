# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
PERSIST_SRCS += \
	persist/checkpoint.c \
	persist/file.c \
	persist/format.c \
	persist/io.c \
	persist/reader.c \
	persist/recover.c \
	persist/segment.c \
	persist/seglist.c \
	persist/store.c \
	persist/store_begin.c \
	persist/store_job.c \
	persist/timeindex.c \
	persist/verify.c \
	# end of PERSIST_SRCS
