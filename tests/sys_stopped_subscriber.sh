#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A subscriber that is stopped while several times the ring goes by misses nothing, and nobody
# notices.
. "$(dirname "$0")/harness.sh"

# lines FROM TO: lines of about 200 bytes.
lines()
{
	seq "$1" "$2" | awk '{ printf "%08d %190s\n", $1, "" }'
}

stop()
{
	local pid
	for pid; do
		kill -STOP "$pid"
		until_true 20 state_is "$pid" T || fail "process $pid does not stop"
	done
}

misses_nothing()
{
	local stopped other total=100 i
	bus_start
	leat stream create events --ring 64K
	spawn stopped leat sub events -o earliest -f '%o %s\n'
	stopped=$spawned
	spawn other leat sub events -o earliest -f '%o %s\n'
	other=$spawned
	lines 1 100 | leat pub events
	until_true 20 has_lines "$dir/stopped.out" 100 || fail 'nothing arrives'
	# Three times: stopped while 300 rings go by, and live again.
	for i in 1 2 3; do
		stop "$stopped"
		lines $((total + 1)) $((total + 100000)) | leat pub events
		total=$((total + 100000))
		until_true 20 has_lines "$dir/other.out" "$total" ||
			fail 'the other subscriber is held up'
		state_is "$stopped" T || fail 'it did not stay stopped'
		kill -CONT "$stopped"
		until_true 20 has_lines "$dir/stopped.out" "$total" || fail 'it does not catch up'
		lines $((total + 1)) $((total + 100)) | leat pub events
		total=$((total + 100))
		until_true 20 has_lines "$dir/stopped.out" "$total" || fail 'it does not go on live'
	done
	kill -TERM "$stopped" "$other"
	finish "$stopped" 20 || fail "status $? of the subscriber that was stopped"
	finish "$other" 20 || fail "status $? of the other subscriber"
	same "$dir/other.out" "$dir/stopped.out"
	[ ! -s "$dir/stopped.err" ] || fail "it complains: $(cat "$dir/stopped.err")"
	cut -d' ' -f2- "$dir/stopped.out" | cmp - <(lines 1 "$total") || fail 'records are missing'
	leat replay events -f '%o %s\n' >"$dir/replay"
	same "$dir/replay" "$dir/stopped.out"
	bus_stop
}

# median_ms N COMMAND...: of N runs.
median_ms()
{
	local n=$1 i begin
	shift
	for ((i = 0; i < n; i++)); do
		begin=$(now_ms)
		"$@"
		echo $(($(now_ms) - begin))
	done | sort -n | sed -n "$((n / 2 + 1))p"
}

publish_all()
{
	leat pub -q --ack written events "$dir/in"
}

# stopped_subscribers N: as many, each of which has read something.
stopped_subscribers()
{
	local i
	pids=()
	for ((i = 0; i < $1; i++)); do
		spawn "sub.$i" leat sub events -o earliest
		pids+=("$spawned")
		until_true 20 has_lines "$dir/sub.$i.out" 1 || fail 'nothing arrives'
	done
	stop "${pids[@]}"
}

# Ten stopped subscribers against none: the medians of several runs. Twice as long would be an
# effect; noise of this size does not survive the repetition.
costs_publishers_nothing()
{
	local without with i pids
	bus_start
	leat stream create events --ring 256K --retain-size 64M --sync none
	lines 1 150000 >"$dir/in"
	publish_all
	for i in 1 2 3; do
		stopped_subscribers 10
		with=$(median_ms 5 publish_all)
		kill -KILL "${pids[@]}"
		until_true 20 are_gone "${pids[@]}" || fail "they do not end"
		without=$(median_ms 5 publish_all)
		echo "    $with ms with ten stopped subscribers, $without ms without"
		[ "$with" -le $((without * 2)) ] && break
		[ "$i" -lt 3 ] || fail 'stopped subscribers hold up the publisher, three times'
	done
	bus_stop
}

harness_case 'a stopped subscriber delivers everything from disk and then live' misses_nothing
harness_case 'ten stopped subscribers cost a publisher nothing' costs_publishers_nothing
harness_end
