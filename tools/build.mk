# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
TOOLS_SRCS += \
	# end of TOOLS_SRCS
