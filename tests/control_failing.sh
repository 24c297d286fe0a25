#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the gates in which calls fail: a check of a result is taken out.
# TEST_TIMEOUT=1800
set -u

. "$(dirname "$0")/control_common.sh"
if [ ! -e "$build/tests/fail_calls.so" ]; then
	echo 'the sanitizers of this build want to be loaded first'
	exit 77
fi
export LEAT_SEED=1 LEAT_FAIL_BAD=1 LEAT_FAILS=1000

control 'an error of write that nobody looks at' persist/store.c \
	'/^static void write_done/,/^}/s/write->result = result;/write->result = result < 0 ? 0 : result;/' \
	LEAT_FAIL_FN=pwrite sys_failing_daemon
control 'a request for which there is no memory' daemon/stream.c \
	'/^static int stream_job_new/,/^}/s/if (!job)/if (false)/' \
	LEAT_FAIL_FN=calloc sys_failing_daemon
control 'a table that lacks a cell' tools/table.c \
	'/^void table_print/,/^}/s/if (table->failed)/if (false)/' \
	LEAT_FAIL_FN=reallocarray sys_failing_commands

control_end
