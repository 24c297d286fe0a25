#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `leat stat` shows.
. "$(dirname "$0")/harness.sh"

is()
{
	[ "$(figure "$1" "$2")" = "$3" ]
}

positions_and_counts()
{
	local latest last
	bus_start
	leat stream create events --shards 2 --ring 64K
	leat stat events --json >"$dir/json"
	for last in earliest latest written durable records bytes tombstones damaged gaps \
		kept_bytes segments disk_errors syncs successors full_waits publishers limit \
		records_per_s bytes_per_s; do
		has_text "$dir/json" "\"$last\":[0-9]" || fail "no $last"
	done
	equal "$(figure events earliest)" "$(figure events latest)" 'of an empty stream'
	equal "$(figure events records)" 0
	seq 1000 | leat pub -s 1 events
	leat sub events -o earliest -e -s 1 -f '%o\n' >"$dir/positions"
	equal "$(figures events earliest | sed -n 2p)" "$(head -n 1 "$dir/positions")"
	last=$(tail -n 1 "$dir/positions")
	latest=$(figures events latest | sed -n 2p)
	# The next record comes after the last one, header and value.
	equal "$latest" $((last + 64)) 'the latest position'
	equal "$(figures events written | sed -n 2p)" "$latest" 'written'
	equal "$(figures events durable | sed -n 2p)" "$latest" 'durable'
	until_true 20 is events records 1000 || fail "$(figure events records) records"
	equal "$(figures events records | head -n 1)" 0 'records of the other shard'
	equal "$(figure events tombstones)" 0
	equal "$(figure events gaps)" 0
	equal "$(figure events damaged)" 0
	[ "$(figure events kept_bytes)" -ge 64000 ] || fail 'kept_bytes'
	bus_stop
}

bus_itself()
{
	bus_start
	equal "$(daemon_pid)" "$bus_pid"
	leat stat --json >"$dir/json"
	has_text "$dir/json" "\"data\":\"$dir/data\"" || fail 'the data directory'
	has_text "$dir/json" "\"runtime\":\"$dir/run\"" || fail 'the runtime directory'
	grep -Eq '"io":"(io_uring|threads)"' "$dir/json" || fail 'io'
	leat stat >"$dir/out"
	has_text "$dir/out" "pid $bus_pid" || fail 'the pid is not shown'
	refused 1 leat stat nothing
	has_text "$dir/refused" nothing || fail 'the stream is not named'
	bus_stop
}

rates_are_there()
{
	local rate
	rate=$(leat stat events --json | grep -o '"records_per_s":[0-9.]*' | cut -d: -f2)
	awk -v rate="$rate" 'BEGIN { exit !(rate > 0) }'
}

publishers()
{
	local pub
	bus_start
	leat stream create events --ring 64K
	mkfifo "$dir/fifo"
	spawn pub leat pub events "$dir/fifo"
	pub=$spawned
	exec 9>"$dir/fifo"
	seq 1000 >&9
	until_true 20 is events publishers 1 || fail 'the publisher is not counted'
	leat stat events --json >"$dir/json"
	grep -Eq "\"publishers\":\\[.*\"pid\":${pub}[,}]" "$dir/json" || fail 'its pid is not shown'
	grep -Eq "\"publishers\":\\[.*\"uid\":$(id -u)[,}]" "$dir/json" ||
		fail 'its uid is not shown'
	spawn feed sh -c 'while :; do seq 1000; sleep 0.01; done >&9' 9>&9
	until_true 20 rates_are_there || fail 'no rate is shown'
	kill -KILL "$spawned"
	exec 9>&-
	finish "$pub" 20 || fail 'the publisher failed'
	until_true 20 is events publishers 0 || fail 'the publisher is still counted'
	bus_stop
}

shows_subscriber()
{
	leat stat events --json | tr '{' '\n' | grep "\"name\":\"$1\"" | grep -q "$2"
}

named_subscribers()
{
	bus_start
	leat stream create events --ring 64K
	seq 100000 | leat pub events
	leat sub events -o earliest -c 10 --name slow >"$dir/out"
	leat sub events -o earliest -e --name fast >"$dir/out"
	until_true 20 shows_subscriber slow '"where":"disk"' || fail 'one that is far behind'
	until_true 20 shows_subscriber fast '"where":"ring"' || fail 'one that has kept up'
	until_true 20 shows_subscriber fast '"lag":0[,}]' || fail 'the lag of one that has kept up'
	shows_subscriber slow '"lag":[1-9]' || fail 'the lag of one that is far behind'
	bus_stop
}

harness_case 'positions and counts are what they should be' positions_and_counts
harness_case 'the bus says what it is' bus_itself
harness_case 'publishers and rates are shown while they last' publishers
harness_case 'a named subscriber is shown in the ring or on disk, with its lag' named_subscribers
harness_end
