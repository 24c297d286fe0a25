#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the tests of a whole bus, and of sleeping and waking.
# TEST_TIMEOUT=1800
set -u

[ "$(id -u)" -eq 0 ] || { echo "needs root for other users' ids"; exit 77; }
. "$(dirname "$0")/control_common.sh"

control 'a memfd keeps the mode that it is born with' shm/region.c \
	's/fchmod(fd, 0600) < 0/fchmod(fd, 0777) < 0/' \
	sys_permission
control 'a memfd keeps the mode that it is born with, by the table' shm/region.c \
	's/fchmod(fd, 0600) < 0/fchmod(fd, 0777) < 0/' \
	sys_permission_table
control "a process that has another's pid" daemon/process.c \
	's/start_time != 0 && now_started != start_time/false \&\& &/' \
	sys_pid_reuse
control 'rings that survived are not taken over' daemon/notify.c \
	'/^int notify_take_rings/,/^}/s/at < end;/false;/' \
	LEAT_CASE='memory-only' sys_keeper.sh
control 'rings that survived are not taken over, by the account' daemon/notify.c \
	'/^int notify_take_rings/,/^}/s/at < end;/false;/' \
	CK_RUN_CASE=daemons crash_kills
control 'systemd is given nothing to keep' daemon/notify.c \
	'/^int notify_take_rings/,/^}/s/at < end;/false;/' \
	sys_systemd_user.sh
control 'part of a ring that was let go takes the next of its name with it' daemon/notify.c \
	's/^\tnotify_drop(notify, first, end);/\t(void)first;/' \
	CK_RUN_CASE=twice crash_points
control 'a lock that two daemons can have' daemon/directory.c \
	's/fcntl(fd, F_OFD_SETLK, &lock) == 0/fcntl(fd, F_OFD_SETLK, \&lock) < 1/' \
	LEAT_CASE='on both' sys_second_daemon.sh
control 'a SIGHUP that changes nothing' daemon/server.c \
	's/if (info.ssi_signo == SIGHUP)/if (info.ssi_signo == 0)/' \
	sys_reload.sh
control 'a control loop with a timer of 100 ms' daemon/server.c \
	's/return at <= now ? 0 : (int)min_u64(.*, 60000);/return at <= now ? 0 : (int)min_u64((at - now) \/ NS_PER_MS + 1, 100);/' \
	LEAT_CASE='twice a second' sys_idle.sh
control 'who falls behind gets a gap and not the disk' clientlib/source_ring.c \
	'/^static int judge_lapped/,/^}/s/shard->ring->flags & GOVERN_F_MEMORY/true/' \
	LEAT_CASE='delivers everything' sys_stopped_subscriber.sh
control 'what retention took is called something else' clientlib/source_disk.c \
	's/LEAT_GAP_RETENTION : LEAT_GAP_DAMAGE/LEAT_GAP_DAMAGE : LEAT_GAP_DAMAGE/' \
	LEAT_CASE='is a gap' sys_retention.sh
control 'more than the limit is kept' daemon/retention.c \
	'/^static uint64_t retention_enforce/,/^}/s/much = bytes > limit;/much = false \&\& bytes > limit;/' \
	LEAT_CASE='limit can be changed' sys_retention.sh
control 'retention believes the wall clock' daemon/retention.c \
	'/^uint64_t retention_clock_ns/,/^}/s/CLOCK_BOOTTIME/CLOCK_REALTIME/' \
	LEAT_CASE='a clock that jumps' sys_scarcity.sh
control 'a segment that could not be deleted counts as gone' persist/store_job.c \
	'/^static void unlink_done/,/^}/s/seglist_set_going(&store->list, 0);/(void)base;/' \
	test_daemon_retention
control 'a stream that is to drop its oldest stops' daemon/shard_disk.c \
	'/^static void shard_make_room/,/^}/s/!= SHARD_DISK_FULL_DROP_OLDEST/& || shard/' \
	test_daemon_drain
control 'a full disk is no error' persist/store.c \
	'/^static void write_done/,/^}/s/write->result = result;/write->result = result < 0 ? 0 : result;/' \
	test_persist_store
control 'a record one byte longer than the limit' clientlib/publish.c \
	's/if (len <= shard->ring->max_len)/if (len <= shard->ring->max_len + 1)/' \
	sys_sizes
control 'a dead publisher is waited for' daemon/shard_drain.c \
	'/^static bool shard_owner_lives/,/^}/s/== OWNER_TAKEN/!= OWNER_FREE/' \
	stress_publisher_killed
control 'a hole is buried though somebody alive may own it' shm/orphan.c \
	's/if (scan->n_pending > 0)/if (false)/' \
	crash_ring
control 'a copy that was overwritten is given' shm/ring.c \
	'/^static bool ring_lapped/,/^}/s/return load_relaxed(&ring->govern->reclaimed) > pos;/return false \&\& load_relaxed(\&ring->govern->reclaimed) > pos;/' \
	stress_ring
control 'who is woken wakes nobody else' shm/wait.c \
	's/wait_futex_wake(&ring->publish->doorbell, WAIT_FANOUT);/;/' \
	test_shm_wait
control 'a slot that came with fds there was no room for stays taken' clientlib/control.c \
	'/^static int exchange/,/^}/s/else if (r == -EMFILE)/else if (false)/' \
	sys_client_limits
control 'a slot that came with a ring that cannot be mapped stays taken' clientlib/attach.c \
	's/if (taken.kick_fd >= 0 && (/if (false \&\& (/' \
	sys_client_limits
control 'pub ends before its records are acknowledged' tools/cmd_pub.c \
	's/int flushed = pub->n_published ? wait_for_ack(pub) : 0;/int flushed = pub->n_published ? 0 : wait_for_ack(pub);/' \
	sys_cli_pub.sh
control 'a pipe that is closed is a failure' tools/print.c \
	's/error == 0 || error == -EPIPE/error == 0/' \
	LEAT_CASE='when nobody reads' sys_tools_end.sh
control 'records are replayed without their keys' tools/cmd_replay.c \
	's/\.key = message->key,/.key = NULL,/' \
	LEAT_CASE='--into' sys_replay.sh

control_end
