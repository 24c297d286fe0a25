#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A bus with nothing to do does nothing: wake-ups of all its threads are counted, not timed.
# TEST_TIMEOUT=180
. "$(dirname "$0")/harness.sh"

# How often the threads of the processes have gone to sleep.
switches()
{
	local pid sum
	sum=$(for pid in "$@"; do
		cat /proc/"$pid"/task/*/status
	done | sed -n 's/^voluntary_ctxt_switches:[[:blank:]]*//p')
	echo $((${sum//$'\n'/ + }))
}

# At most LIMIT in the next SECONDS; says who if not.
sleeps_no_more_than()
{
	local limit=$1 seconds=$2 before after pid
	local -A each
	shift 2
	for pid in "$@"; do
		each[$pid]=$(switches "$pid")
	done
	before=$(switches "$@")
	sleep "$seconds"
	after=$(switches "$@")
	# Its own look between the two is not counted by what it looks at.
	[ $((after - before)) -le "$limit" ] && return 0
	for pid in "$@"; do
		echo "$(($(switches "$pid") - each[$pid])) $(process_name "$pid")"
	done >"$dir/who"
	n_wakes=$((after - before))
	return 1
}

an_idle_bus()
{
	local i pids=() options
	bus_start --keep
	for i in 1 2 3 4; do
		options=(--shards 4 --ring 64K)
		case $i in
		2) options+=(--sync 50ms --retain-time 1d) ;;
		3) options+=(--memory) ;;
		4) options+=(--sync none --retain-size 1G --segment 1M) ;;
		esac
		leat stream create "s$i" "${options[@]}"
		mkfifo "$dir/in$i"
		spawn "pub$i" leat pub "s$i" "$dir/in$i"
		pids+=("$spawned")
		# Open for as long as the case runs.
		eval "exec $((20 + i))>\"$dir/in$i\""
		spawn "sub$i" leat sub "s$i" -o earliest --name "reader$i"
		pids+=("$spawned")
		echo something >&$((20 + i))
		until_true 20 has_lines "$dir/sub$i.out" 1 || fail "stream s$i carries nothing"
	done
	pids+=("$bus_pid" "$(daemon_pid)")
	# What they have begun comes to its end first.
	until_true 40 sleeps_no_more_than 4 1 "${pids[@]}" ||
		fail "the bus does not come to rest: $(cat "$dir/who")"
	# Two a second, and each subscriber once more while its sleeps still grow. Others on the
	# machine can make a thread wait here and there, so one quiet stretch is enough: with a
	# timer that ticks there is none.
	until_true 60 sleeps_no_more_than 16 6 "${pids[@]}" ||
		fail "$n_wakes wake-ups in 6 seconds: $(cat "$dir/who")"
	bus_stop
}

# KiB that are resident in the daemon and belong to no ring.
resident()
{
	awk '/^[0-9a-f]+-[0-9a-f]+ / { ring = /memfd:leat-/ } /^Rss:/ && !ring { sum += $2 }
		END { print sum }' "/proc/$1/smaps"
}

a_small_daemon()
{
	local pid kib
	! ldd "$LEAT_BUILD/leatd" | grep -q 'lib[at]san' || skip 'a sanitizer has memory of its own'
	bus_start
	leat stream create many --shards 64 --ring 64K --segment 1M
	seq 20000 | leat pub many
	kill -KILL "$bus_pid"
	finish "$bus_pid" 20 && fail "a killed daemon ends well"
	bus_start
	seq 20000 | leat pub many
	equal "$(leat replay many -q 2>/dev/null | wc -l)" 40000
	leat stat many >/dev/null
	pid=$(daemon_pid)
	kib=$(resident "$pid")
	[ "$kib" -gt 1000 ] || fail "$kib KiB is too good to be true"
	[ "$kib" -lt 12288 ] || fail "$kib KiB are resident besides the rings"
	bus_stop
}

harness_case 'a bus with nothing to do wakes up twice a second at most' an_idle_bus
harness_case 'a daemon with 64 shards has less than 12 MiB besides the rings' a_small_daemon
harness_end
