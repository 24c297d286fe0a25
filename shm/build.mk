# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
SHM_SRCS += \
	shm/clock.c \
	shm/crc32c.c \
	shm/orphan.c \
	shm/record.c \
	shm/region.c \
	shm/ring.c \
	shm/testpoint.c \
	shm/wait.c \
	# end of SHM_SRCS
