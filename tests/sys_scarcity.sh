#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Little memory, full file systems, a clock that jumps: the daemon lives, says what is missing, and
# is as it was when it is there again. Connections and fds are tried in sys_control_flood.
# TEST_TIMEOUT=300
if [ "${1-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	exec unshare -m "$0" inside
fi
inside=${1-}
. "$(dirname "$0")/harness.sh"

# publish_and_see STREAM FROM TO: numbers, which are then there together with all before them.
publish_and_see()
{
	seq "$2" "$3" | leat pub "$1" || fail "publishing $2 to $3 failed"
	leat sub "$1" -o earliest -e | cmp - <(seq "$3") || fail "not all of 1 to $3 is there"
}

# ---- the clock ------------------------------------------------------------------

# The daemon's wall clock is as many seconds ahead as $dir/offset says.
make_clock()
{
	echo 0 >"$dir/offset"
	"${CC:-cc}" -shared -fPIC -O1 -o "$dir/clock.so" -x c - <<-'END' || skip 'no compiler here'
		#include <fcntl.h>
		#include <stdlib.h>
		#include <sys/syscall.h>
		#include <sys/time.h>
		#include <time.h>
		#include <unistd.h>
		static long long offset(void)
		{
			static int fd = -1;
			char text[32] = "";
			if (fd < 0)
				fd = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
			return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoll(text) : 0;
		}
		int clock_gettime(clockid_t id, struct timespec *ts)
		{
			int r = (int)syscall(SYS_clock_gettime, id, ts);
			if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
				ts->tv_sec += offset();
			return r;
		}
		time_t time(time_t *t)
		{
			struct timespec ts;
			clock_gettime(CLOCK_REALTIME, &ts);
			if (t)
				*t = ts.tv_sec;
			return ts.tv_sec;
		}
		int gettimeofday(struct timeval *tv, void *zone)
		{
			struct timespec ts;
			(void)zone;
			clock_gettime(CLOCK_REALTIME, &ts);
			tv->tv_sec = ts.tv_sec;
			tv->tv_usec = ts.tv_nsec / 1000;
			return 0;
		}
	END
}

# Written in place: it is read all the time.
set_clock()
{
	printf '%-24s' "$1" 1<>"$dir/offset"
}

clock_jumps()
{
	local n=0 pid offset
	make_clock
	export CLOCK_OFFSET=$dir/offset
	LD_PRELOAD=$dir/clock.so bus_start
	pid=$(daemon_pid)
	leat stream create log --retain-time 1h --segment 80K --ring 64K
	leat stream create age --retain-time 1h
	publish_and_see age 1 1000
	for offset in 0 1 -1 0 60 -60 3600 -3600 86400 -86400 31557600 -31557600 \
		3155760000 0 -1577880000 0 3155760000 -1700000000 0; do
		set_clock "$offset"
		publish_and_see log $((n + 1)) $((n + 2000))
		n=$((n + 2000))
		# The daemon looks at its clock once a second at least.
		until_true 20 figure_is_at_least log records "$n" || fail 'the drain stands still'
		sleep 1.2
	done
	equal "$(daemon_pid)" "$pid" 'the daemon'
	leat sub log -o earliest -e | cmp - <(seq "$n") || fail 'a jump of the clock deleted something'
	leat sub age -o earliest -e | cmp - <(seq 1000) || fail 'a jump of the clock deleted something'
	leat verify
	bus_stop
}

# Rings die with their daemon, and the next one's clock is a day behind: who publishes follows it.
clock_set_back()
{
	local pid
	make_clock
	export CLOCK_OFFSET=$dir/offset
	LD_PRELOAD=$dir/clock.so bus_start
	leat stream create log --ring 64K
	mkfifo "$dir/records"
	timeout 30 "$LEAT_BUILD/leat" pub log <"$dir/records" &
	pid=$!
	exec 5>"$dir/records"
	echo 1 >&5
	until_true 10 figure_is_at_least log records 1 || fail 'the first record is not there'
	bus_stop
	set_clock -86400
	LD_PRELOAD=$dir/clock.so bus_start 5>&-
	echo 2 >&5
	exec 5>&-
	wait "$pid" || fail 'the publisher does not come to the new daemon'
	leat sub log -o earliest -e | cmp - <(seq 2) || fail 'not both are there'
	bus_stop
}

# ---- memory ---------------------------------------------------------------------

limit_memory()
{
	local at=/sys/fs/cgroup/memory
	[ -w "$at/memory.limit_in_bytes" ] || [ -e "$at/memory.limit_in_bytes" ] ||
		skip 'no memory controller here'
	group=$at/leat-test-$$-$RANDOM
	mkdir "$group" 2>/dev/null || skip 'no control group can be made here'
	echo "$1" >"$group/memory.limit_in_bytes"
	leatd()
	{
		echo "$BASHPID" >"$group/tasks"
		exec "$LEAT_BUILD/leatd" "$@"
	}
}

is_empty_group()
{
	[ ! -s "$1/tasks" ]
}

little_memory()
{
	local group pid i
	limit_memory 64M
	bus_start
	pid=$(daemon_pid)
	leat stream create small --ring 1M
	publish_and_see small 1 1000
	for i in 1 2 3; do
		refused 1 leat stream create big$i --ring 64M
		grep -q -i 'memory' "$dir/refused" || fail "not a word of memory: $(cat "$dir/refused")"
		publish_and_see small $((i * 1000 + 1)) $((i * 1000 + 1000))
	done
	# Several that do fit fill it up, until one does not.
	for ((i = 0; i < 16; i++)); do
		leat stream create "fill$i" --ring 8M 2>"$dir/refused" || break
	done
	[ "$i" -lt 16 ] || fail 'a hundred and more MiB fit into 64'
	publish_and_see small 4001 50000
	equal "$(daemon_pid)" "$pid" 'the daemon'
	while ((i-- > 0)); do
		leat stream rm "fill$i"
	done
	until_true 20 leat stream create again --ring 8M 2>"$dir/refused" ||
		fail "what was given back is not there: $(cat "$dir/refused")"
	publish_and_see again 1 1000
	equal "$(daemon_pid)" "$pid" 'the daemon'
	bus_stop
	until_true 20 is_empty_group "$group"
	rmdir "$group"
}

# ---- file systems ---------------------------------------------------------------

# fill DIRECTORY: not a byte and not a name fits.
fill()
{
	local i
	dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null && fail "$1 does not get full"
	for ((i = 0; i < 1000; i++)); do
		: 2>/dev/null >"$1/filler.$i" || return 0
	done
	fail "$1 takes any number of files"
}

has_other_daemon()
{
	local now
	now=$(cat "/proc/$bus_pid/task/$bus_pid/children")
	[ -n "$now" ] && [ "$now" != "$1" ]
}

full_run()
{
	local pid
	[ "$inside" ] || skip 'needs a mount namespace'
	mkdir -p "$dir/run"
	mount -t tmpfs -o size=256k,nr_inodes=32,mode=755 none "$dir/run"
	bus_start --keep
	leat stream create log --ring 64K
	publish_and_see log 1 1000
	fill "$dir/run"
	publish_and_see log 1001 2000
	# It dies, and has to be able to come back.
	pid=$(cat "/proc/$bus_pid/task/$bus_pid/children")
	spawn pub leat pub log <(seq 2001 5000)
	kill -KILL $pid
	until_true 20 has_other_daemon "$pid" || fail 'no daemon comes back'
	rm "$dir"/run/filler*
	until_true 20 leat stream ls >/dev/null 2>&1 || fail 'the daemon is not back'
	finish "$spawned" 30 || fail "the publisher: $(cat "$dir/pub.err")"
	leat sub log -o earliest -e | cmp - <(seq 5000) || fail 'something is lost'
	bus_stop
	umount "$dir/run"
}

full_shm()
{
	[ "$inside" ] || skip 'needs a mount namespace'
	mount -t tmpfs -o size=64k,nr_inodes=16 none /dev/shm
	fill /dev/shm
	bus_start
	leat stream create log --ring 1M
	publish_and_see log 1 10000
	bus_stop
	umount /dev/shm
}

harness_case 'a clock that jumps by a second to a century deletes nothing and stops nobody' \
	clock_jumps
harness_case 'a clock that was set back between two daemons keeps no publisher from the second' \
	clock_set_back
harness_case 'in 64 MiB what does not fit is refused and the rest goes on' little_memory
harness_case 'a full runtime directory is nothing, and a daemon comes back to it' full_run
harness_case 'a full /dev/shm is nothing' full_shm
harness_end
