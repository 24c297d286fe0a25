#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of tests that stop and kill.
# TEST_TIMEOUT=1800
set -u

. "$(dirname "$0")/control_common.sh"
export LEAT_STOPS=64 LEAT_RESUME=8

control 'a claim time-out that is not honoured' daemon/shard_drain.c \
	's/> shard->policy.claim_timeout_ns) {/> UINT64_MAX - 1) {/' \
	CK_RUN_CASE=publishers crash_stops
control 'who commits to a ring that is left behind is told that it counts' shm/ring.c \
	's/return attention & GOVERN_CLOSED ? RING_E_CLOSED : 0;/return attention \& GOVERN_CLOSED ? 0 : 0;/' \
	CK_RUN_CASE=publishers crash_stops
control 'a test point of publishers that none comes to' shm/ring_publish.h \
	's/TESTPOINT("reserve-done");/if (0) TESTPOINT("reserve-done");/' \
	CK_RUN_CASE=publishers crash_stops
control 'a test point of the daemon that it does not come to' daemon/restore.c \
	's/TESTPOINT("restore-over");/if (0) TESTPOINT("restore-over");/' \
	CK_RUN_CASE=daemon LEAT_POINT=restore-over crash_points
control 'the next daemon wakes nobody' daemon/shard.c \
	's/^	shard_wake_sleepers(shard);/	(void)shard_wake_sleepers;/' \
	test_daemon_restore
control 'what died with its ring is called durable' clientlib/ack.c \
	's/if (is_lost(wait))/if (is_lost(wait) \&\& false)/' \
	sys_kill_daemon
control 'rings of two daemons within a second are taken for the same' daemon/server.c \
	's/ + n_daemons \* SERVER_GENERATIONS/ + 0 * n_daemons/' \
	sys_kill_daemon
control 'rings are counted by the wall clock' daemon/server.c \
	'/^uint32_t server_first_generation/,/^}/s/CLOCK_BOOTTIME/CLOCK_REALTIME/' \
	LEAT_CASE='a clock that was set back' sys_scarcity.sh
control 'a publisher keeps the slot that it had in a ring that was lost' daemon/attach.c \
	's/ || a->had_generation < shard_origin(attach_shard(a))//' \
	CK_RUN_CASE=slots sys_kill_daemon
control 'a daemon that cannot start says that it stops, and the rings are let go' daemon/server.c \
	's/^		server_begin_end(server, notify_may_keep(server->notify));/		server_stop(server);/' \
	CK_RUN_CASE=starts sys_kill_daemon
control 'a data directory that is not mounted is begun anew' daemon/server.c \
	's/if (!notify_has_rings(server->notify))/if (true)/' \
	CK_RUN_CASE=starts sys_kill_daemon
control 'a death is noticed 15 ms late' daemon/process.c \
	's/^	process->dead = true;/	process->dead = true; poll(NULL, 0, 15);/' \
	CK_RUN_CASE=one stress_publisher_killed

control_end
