# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
DAEMON_SRCS += \
	# end of DAEMON_SRCS
