#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The keeper brings the daemon back; commands that are running do not notice.
# TEST_TIMEOUT=180
. "$(dirname "$0")/harness.sh"

n_rounds=5
n_lines=20000

# What publisher NAME is fed: a part of its input each time the next round begins.
feed()
{
	local round
	for ((round = 1; round <= n_rounds; round++)); do
		until_true 60 test -e "$dir/round.$round" || return 1
		seq -f "$1-%08.0f" $(((round - 1) * n_lines + 1)) $((round * n_lines))
	done
}

has_another_daemon()
{
	local pid
	pid=$(daemon_pid 2>/dev/null) && [ "$pid" != "$1" ]
}

kill_daemon()
{
	local pid
	pid=$(daemon_pid)
	[ "$pid" != "$bus_pid" ] || fail 'the keeper serves the socket itself'
	kill -KILL "$pid"
	until_true 20 has_another_daemon "$pid" || fail 'no new daemon came'
}

nobody_notices()
{
	local name round pubs=() subs=()
	bus_start --keep
	leat stream create events --shards 2 --ring 128K
	for name in s1 s2; do
		spawn "$name" leat sub events -o earliest -c $((3 * n_rounds * n_lines))
		subs+=("$spawned")
	done
	for name in a b c; do
		mkfifo "$dir/$name"
		feed "$name" >"$dir/$name" &
		started+=("$!")
		spawn "pub.$name" leat pub -K- events "$dir/$name"
		pubs+=("$spawned")
	done
	for ((round = 1; round <= n_rounds; round++)); do
		: >"$dir/round.$round"
		until_true 20 has_lines "$dir/s1.out" $(((round - 1) * 3 * n_lines + round * 500)) ||
			fail "nothing arrives in round $round"
		kill_daemon
	done
	for name in "${pubs[@]}"; do
		finish "$name" 60 || fail "a publisher ended with status $?: $(cat "$dir"/pub.*.err)"
	done
	for name in "${subs[@]}"; do
		finish "$name" 60 || fail "a subscriber ended with status $?"
	done
	for name in a b c; do
		seq -f "%08.0f" $((n_rounds * n_lines))
	done | sort >"$dir/want"
	leat replay events | sort >"$dir/late"
	for name in s1.out s2.out; do
		[ ! -s "$dir/${name%.out}.err" ] || fail "$(cat "$dir/${name%.out}.err")"
		sort "$dir/$name" >"$dir/sorted"
		same "$dir/want" "$dir/sorted"
	done
	same "$dir/want" "$dir/late"
	leat verify events
	bus_stop
}

# What was acknowledged as `ring` and not drained yet is not lost with the daemon.
ring_outlives_the_daemon()
{
	local pid
	bus_start --keep
	leat stream create events --ring 1M
	seq 10 | leat pub events
	pid=$(daemon_pid)
	kill -STOP "$bus_pid"
	kill -STOP "$pid"
	until_true 20 state_is "$pid" T || fail 'SIGSTOP'
	# Nobody drains now, and a new client cannot even be let in.
	kill -KILL "$pid"
	refused 1 leat stream ls
	kill -CONT "$bus_pid"
	until_true 20 has_another_daemon "$pid" || fail 'no new daemon came'
	equal "$(leat sub events -o earliest -e | wc -l)" 10
	seq 11 20 | leat pub events
	leat replay events | cmp - <(seq 20) || fail 'the log is not what it was'
	bus_stop
}

memory_stream_survives()
{
	bus_start --keep
	leat stream create cache --memory --ring 1M
	seq 1000 | leat pub cache
	kill_daemon
	leat sub cache -o earliest -e | cmp - <(seq 1000) || fail 'the ring is not what it was'
	seq 1001 2000 | leat pub cache
	leat sub cache -o earliest -e | cmp - <(seq 2000) || fail 'the ring does not go on'
	bus_stop
}

# Ended properly, the keeper takes the daemon with it and leaves nothing behind.
ends_as_one()
{
	local pid
	bus_start --keep
	leat stream create events
	pid=$(daemon_pid)
	bus_stop
	is_gone "$pid" || fail "the daemon $pid is still there"
	refused 1 leat stream ls
	bus_start --keep
	leat stream describe events >/dev/null
	bus_stop
}

# A stop while publishers are at it drains everything first.
stop_drains_everything()
{
	local n
	bus_start
	leat stream create events --ring 4M --sync none
	seq 100000 | leat pub --ack ring -q events
	bus_stop
	bus_start
	n=$(leat replay events | wc -l)
	equal "$n" 100000 'records after a clean stop'
	bus_stop
}

harness_case 'kill -9 of the daemon is nothing to three publishers and two subscribers' \
	nobody_notices
harness_case 'the rings outlive the daemon' ring_outlives_the_daemon
harness_case 'a memory-only stream survives the daemon' memory_stream_survives
harness_case 'keeper and daemon end together' ends_as_one
harness_case 'a daemon that is asked to end drains everything first' stop_drains_everything
harness_end
