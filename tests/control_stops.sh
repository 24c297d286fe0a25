#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of crash_stops.
# TEST_TIMEOUT=900
set -u

. "$(dirname "$0")/control_common.sh"
export LEAT_STOPS=64 LEAT_RESUME=8

control 'a claim time-out that is not honoured' daemon/shard_drain.c \
	's/> shard->policy.claim_timeout_ns) {/> UINT64_MAX - 1) {/' \
	CK_RUN_CASE=publishers crash_stops
control 'who commits to a ring that is left behind is told that it counts' shm/ring.c \
	's/return attention & GOVERN_CLOSED ? RING_E_CLOSED : 0;/return attention \& GOVERN_CLOSED ? 0 : 0;/' \
	CK_RUN_CASE=publishers crash_stops

control_end
