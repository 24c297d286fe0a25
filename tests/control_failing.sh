#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the sys_failing_ programs: a check of a result is taken out.
# TEST_TIMEOUT=1800
set -u

. "$(dirname "$0")/control_common.sh"
if [ ! -e "$build/tests/fail_calls.so" ]; then
	echo 'the sanitizers of this build want to be loaded first'
	exit 77
fi
# Calls of one function each, until the first case fails.
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
control 'a checkpoint that lacks a shard' clientlib/subscriber.c \
	'/^static int add_positions/,/^}/s/bad = json_array_append_new/(void)json_array_append_new/' \
	LEAT_FAIL_FN=malloc LEAT_SCENE=2 sys_failing_clients
control 'a ring that the keeper lets go without a word' daemon/keeper.c \
	'/^static void keeper_store/,/^}/s/log_error("%s is not kept: %s", name, strerror(errno));//' \
	LEAT_FAIL_FN=fstat sys_failing_keeper

control_end
