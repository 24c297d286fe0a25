#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the storage gates.
# TEST_TIMEOUT=1800
set -u

. "$(dirname "$0")/control_common.sh"
export LEAT_STATES=2000 LEAT_RESUME=8

control 'a header that is not synced before its name is' persist/segment.c \
	'/r = file_write(fd, &header/,/file_rename/s/r = file_datasync(fd);/r = 0;/' \
	CK_RUN_CASE=power crash_persist_power
control 'a name that is not synced' persist/segment.c \
	's/r = file_sync_dir(dir_fd);/r = 0;/' \
	CK_RUN_CASE=power crash_persist_power
control 'a checkpoint that is not synced' persist/checkpoint.c \
	's/r = file_datasync(checkpoint->fd);/r = 0;/' \
	CK_RUN_CASE=power crash_persist_power
control 'an error of fdatasync that nobody looks at' persist/store.c \
	'/^static void sync_done/,/^}/s/if (result < 0)/if (false)/' \
	CK_RUN_CASE=power crash_persist_power
control 'an end that is missing becomes a gap' persist/store_begin.c \
	's/store->prev_end = max_u64(recover->end, recover->durable);/store->prev_end = recover->end;/' \
	CK_RUN_CASE=closed-files crash_persist_damage
control 'a damaged batch is given in part' persist/reader.c \
	'/^static int take_unit/,/^}/s/if (record_word_kind(word) == RECORD_BATCH) {/if (false) {/' \
	CK_RUN_CASE=closed-files crash_persist_damage
control "another shard's file keeps the shard shut" persist/recover.c \
	's/scan->is_ours)/false)/' \
	CK_RUN_CASE=closed-files crash_persist_damage
control 'an error of write that nobody looks at' persist/store.c \
	'/^static void write_done/,/^}/s/write->result = result;/write->result = result < 0 ? 0 : result;/' \
	CK_RUN_CASE=faults sys_disk_faults
control 'no segment to write to, and yet one is looked at' persist/store.c \
	'/^uint64_t store_room/,/^}/s/if (!store->current)/if (false)/' \
	test_persist_store
control 'RLIMIT_FSIZE ends the daemon' daemon/main.c \
	's/signal(SIGXFSZ, SIG_IGN);/signal(SIGXFSZ, SIG_DFL);/' \
	CK_RUN_CASE=limit sys_disk_faults
control 'a FIFO holds up who opens it' persist/file.c \
	's/flags |= O_NONBLOCK;/flags |= 0;/' \
	LEAT_KIND='a FIFO' CK_RUN_CASE=running sys_damage
control 'a checksum that nobody looks at' persist/reader.c \
	'/^static int check_bytes/,/^}/s/crc != record_crc(.*))/false)/' \
	LEAT_KIND='a value' CK_RUN_CASE=down sys_damage
control 'a missing file is taken for one that was deleted' clientlib/source_disk.c \
	's/LEAT_GAP_RETENTION : LEAT_GAP_DAMAGE/LEAT_GAP_RETENTION : LEAT_GAP_RETENTION/' \
	LEAT_KIND='a file that is missing' CK_RUN_CASE=running sys_damage
control 'a damaged header says 1970' clientlib/source_disk.c \
	's/created_ns != 0 && //' \
	LEAT_KIND="a header's time" CK_RUN_CASE=down sys_damage
control 'a change of the catalogue that is not synced' daemon/catalogue.c \
	's/synchronous = FULL/synchronous = NORMAL/' \
	CK_RUN_CASE=power crash_daemon_catalogue

control_end
