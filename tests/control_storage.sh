#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the storage gates.
# TEST_TIMEOUT=1800
set -u

. "$(dirname "$0")/control_common.sh"
export LEAT_STATES=2000 LEAT_RESUME=8

control persist/segment.c '/r = file_write(fd, &header/,/file_rename/s/r = file_datasync(fd);/r = 0;/' \
	crash_persist_power power 'a header that is not synced before its name is'
control persist/segment.c 's/r = file_sync_dir(dir_fd);/r = 0;/' \
	crash_persist_power power 'a name that is not synced'
control persist/checkpoint.c 's/r = file_datasync(checkpoint->fd);/r = 0;/' \
	crash_persist_power power 'a checkpoint that is not synced'
control persist/store.c '/^static void sync_done/,/^}/s/if (result < 0)/if (false)/' \
	crash_persist_power power 'an error of fdatasync that nobody looks at'
control persist/store_begin.c 's/store->prev_end = max_u64(recover->end, recover->durable);/store->prev_end = recover->end;/' \
	crash_persist_damage closed-files 'an end that is missing becomes a gap'
control persist/reader.c '/^static int take_unit/,/^}/s/if (record_word_kind(word) == RECORD_BATCH) {/if (false) {/' \
	crash_persist_damage closed-files 'a damaged batch is given in part'
control persist/recover.c 's/scan->is_ours)/false)/' \
	crash_persist_damage closed-files "another shard's file keeps the shard shut"
control persist/store.c '/^static void write_done/,/^}/s/write->result = result;/write->result = result < 0 ? 0 : result;/' \
	sys_disk_faults faults 'an error of write that nobody looks at'
control persist/store.c '/^uint64_t store_room/,/^}/s/if (!store->current)/if (false)/' \
	sys_disk_faults faults 'no segment to write to, and yet one is looked at'
control daemon/main.c 's/signal(SIGXFSZ, SIG_IGN);/signal(SIGXFSZ, SIG_DFL);/' \
	sys_disk_faults limit 'RLIMIT_FSIZE ends the daemon'
control persist/file.c 's/flags |= O_NONBLOCK;/flags |= 0;/' \
	sys_damage running 'a FIFO holds up who opens it' 'a FIFO'
control persist/reader.c '/^static int check_bytes/,/^}/s/crc != record_crc(.*))/false)/' \
	sys_damage down 'a checksum that nobody looks at' 'a value'
control clientlib/source_disk.c 's/LEAT_GAP_RETENTION : LEAT_GAP_DAMAGE/LEAT_GAP_RETENTION : LEAT_GAP_RETENTION/' \
	sys_damage running 'a missing file is taken for one that was deleted' 'a file that is missing'
control clientlib/source_disk.c 's/created_ns != 0 && //' \
	sys_damage down 'a damaged header says 1970' "a header's time"
control daemon/catalogue.c 's/synchronous = FULL/synchronous = NORMAL/' \
	crash_daemon_catalogue power 'a change of the catalogue that is not synced'

control_end
