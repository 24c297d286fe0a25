#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of the storage gates: in a copy of the tree a guard is taken out, the gate
# is built again and has to fail. A guard that is not where it was is a failure too.
# TEST_TIMEOUT=1800
set -u

here=$(cd "$(dirname "$0")/.." && pwd) || exit 2
build=$(cd "${LEAT_BUILD-$here/build/release}" && pwd) || exit 2
variant=$(basename "$build")
top=$(mktemp -d "${TMPDIR:-/tmp}/leat-control.XXXXXX") || exit 2
trap 'rm -rf "$top"' EXIT
n_good=0
n_bad=0

# Objects and sources keep their times, so that only what is changed is compiled.
mkdir "$top/src" "$top/o" || exit 2
cp -a "$here"/{Makefile,shm,persist,daemon,clientlib,tools,tests} "$top/src/" || exit 2
cp -a "$build" "$top/o/$variant" || exit 2

build_it()
{
	make -C "$top/src" -s O="$top/o" VARIANT="$variant" -j2 \
		"$top/o/$variant/tests/$1" "$top/o/$variant/tests/leatd" >"$top/make.log" 2>&1
}

# control FILE SED PROGRAM CASE WHY [KIND]: KIND is one of those of sys_damage.
control()
{
	local file=$top/src/$1 program=$3 status=0
	cp -a "$file" "$top/kept"
	sed -i "$2" "$file"
	if cmp -s "$file" "$top/kept"; then
		echo "FAILED  $5: the guard in $1 is not where it was"
		n_bad=$((n_bad + 1))
		return
	fi
	if build_it "$program"; then
		(cd "$top/src" && LEAT_BUILD=$top/o/$variant LEAT_STATES=2000 LEAT_RESUME=8 LEAT_KIND=${6-} \
			CK_RUN_CASE=$4 "$top/o/$variant/tests/$program") >"$top/log" 2>&1 || status=$?
	else
		cat "$top/make.log"
		status=build
	fi
	if [ "$status" = 1 ] && grep -q '^[0-9]*%: Checks: [1-9]' "$top/log"; then
		echo "ok      $5"
		n_good=$((n_good + 1))
	else
		echo "FAILED  $5: $program ends with $status"
		n_bad=$((n_bad + 1))
	fi
	cp -a "$top/kept" "$file"
	touch "$file"
}

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

echo "$n_good hold, $n_bad do not"
[ "$n_bad" -eq 0 ] && [ "$n_good" -gt 0 ]
