# SPDX-License-Identifier: Apache-2.0
# One source a line, sorted; the comment that closes the list keeps every line alike.
CLIENTLIB_SRCS += \
	# end of CLIENTLIB_SRCS

# What the library takes from persist: only what a reader of segments needs.
CLIENTLIB_PERSIST_SRCS += \
	# end of CLIENTLIB_PERSIST_SRCS
