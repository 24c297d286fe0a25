#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a stream keeps, and what somebody is told who asks for more.
# TEST_TIMEOUT=240
. "$(dirname "$0")/harness.sh"

mib=1048576

# lines MIB: that much text in lines of 1000 bytes that begin with their number.
lines()
{
	seq -f '%09.0f' $(($1 * mib / 1000)) |
		awk '{ printf "%s %989s\n", $1, "" }'
}

# The sizes of the segment files of a stream, summed.
on_disk()
{
	find "$dir/data/streams/$1" -name '*.seg' -size +0 -printf '%b\n' 2>/dev/null |
		awk '{ sum += $1 * 512 } END { print sum + 0 }'
}

# Publishes the input, again and again, until the stream was looked at often enough meanwhile.
watch_while_publishing()
{
	local limit=$1 kept most=0 n=0 publisher
	while [ "$n" -lt 5 ]; do
		spawn pub leat pub -K ' ' -q events "$dir/in"
		publisher=$spawned
		until is_gone "$publisher"; do
			kept=$(figure events kept_bytes)
			most=$((kept > most ? kept : most))
			n=$((n + 1))
		done
		wait "$publisher" || fail "the publisher failed: $(cat "$dir/pub.err")"
	done
	echo "    at most $most bytes kept in $n looks, limit $limit"
	[ "$most" -le "$limit" ] || fail "$most bytes kept, the limit is $limit"
}

keeps_to_its_size()
{
	local shards=$1 kept
	bus_start
	leat stream create events --shards "$shards" --ring 256K --segment 1M --retain-size 8M \
		--sync none
	lines 400 >"$dir/in"
	# One segment more for each shard, since each has one that is being written.
	watch_while_publishing $(((8 + shards) * mib))
	kept=$(figure events kept_bytes)
	[ "$kept" -ge $((8 * mib - (shards + 1) * mib)) ] || fail "only $kept bytes are kept"
	until_true 20 disk_is_at_most events $(((8 + 2 * shards) * mib)) ||
		fail "$(on_disk events) bytes on disk"
	bus_stop
}

disk_is_at_most()
{
	[ "$(on_disk "$1")" -le "$2" ]
}

one_shard()
{
	keeps_to_its_size 1
}

four_shards()
{
	keeps_to_its_size 4
}

gap_is_reported()
{
	local first earliest n
	bus_start
	leat stream create events --ring 64K --segment 256K --retain-size 1M
	lines 1 | leat pub events
	first=$(leat sub events -o earliest -c 1 -f '%o')
	lines 10 | leat pub events
	until_true 20 is_after "$first" || fail 'nothing was deleted'
	leat sub events -o "$first" -e >"$dir/out" 2>"$dir/err"
	earliest=$(figure events earliest)
	equal "$(cat "$dir/err")" \
		"leat: gap: stream events shard 0 positions $first..$earliest (retention)"
	leat sub events -o earliest -e >"$dir/want" 2>"$dir/err"
	[ ! -s "$dir/err" ] || fail "from the earliest there is a gap: $(cat "$dir/err")"
	same "$dir/want" "$dir/out"
	n=$(wc -l <"$dir/out")
	[ "$n" -gt 100 ] && [ "$n" -lt 2000 ] || fail "$n records are kept"
	lines 10 | tail -n "$n" >"$dir/newest"
	same "$dir/newest" "$dir/out"
	leat sub events -o "$first" -e -J 2>"$dir/err" | head -n 1 >"$dir/json"
	equal "$(cat "$dir/json")" "{\"gap\":{\"stream\":\"events\",\"shard\":0,\"from\":$first,\
\"to\":$earliest,\"reason\":\"retention\"}}"
	# The same after a restart.
	bus_stop
	bus_start
	leat sub events -o "$first" -e >"$dir/out" 2>"$dir/err"
	same "$dir/want" "$dir/out"
	has_text "$dir/err" "positions $first\\.\\.$earliest (retention)" ||
		fail "after a restart: $(cat "$dir/err")"
	bus_stop
}

is_after()
{
	[ "$(figure events earliest)" -gt "$1" ]
}

# A subscriber that is overtaken while it is stopped gets the gap in its place.
overtaken()
{
	local n
	bus_start
	leat stream create events --ring 64K --segment 256K --retain-size 1M
	spawn live leat sub events -o earliest
	lines 1 | head -n 10 | leat pub events
	until_true 20 has_lines "$dir/live.out" 10 || fail 'the subscriber gets nothing'
	kill -STOP "$spawned"
	until_true 20 state_is "$spawned" T || fail 'SIGSTOP'
	lines 20 | leat pub events
	until_true 20 kept_is_at_most $((mib + 262144)) || fail 'nothing is deleted'
	kill -CONT "$spawned"
	until_true 20 ends_as_input || fail 'the subscriber does not catch up'
	has_text "$dir/live.err" 'gap: stream events shard 0 .*(retention)' ||
		fail "no gap was reported: $(cat "$dir/live.err")"
	# After the ten and the gap everything is there that is still kept, once.
	n=$(($(wc -l <"$dir/live.out") - 10))
	lines 20 | tail -n "$n" | cmp - <(tail -n "$n" "$dir/live.out") ||
		fail 'records are missing beyond the gap'
	bus_stop
}

ends_as_input()
{
	[ "$(tail -n 1 "$dir/live.out")" = "$(lines 20 | tail -n 1)" ]
}

first_is_gone()
{
	seq 1 | leat pub events
	[ "$(leat sub events -o earliest -c 1)" != "$1" ]
}

deletes_by_time()
{
	local begin
	bus_start
	leat stream create events --ring 64K --segment 256K --retain-time 3s
	begin=$(now_ms)
	lines 1 | sed 's/^/old/' | leat pub events
	until_true 30 first_is_gone "$(lines 1 | sed 's/^/old/' | head -n 1)" ||
		fail 'nothing is deleted'
	[ $(($(now_ms) - begin)) -ge 3000 ] || fail 'it is deleted before its time'
	leat sub events -o earliest -e >"$dir/out"
	has_text "$dir/out" '^1$' || fail 'what is younger is gone too'
	bus_stop
}

# Nothing that is younger than the limit goes, however much there is.
keeps_what_is_young()
{
	bus_start
	leat stream create events --ring 64K --segment 256K --retain-time 1h
	lines 20 >"$dir/in"
	leat pub events "$dir/in"
	leat sub events -o earliest -e >"$dir/out"
	same "$dir/in" "$dir/out"
	bus_stop
}

# A limit that is made smaller takes effect without a restart.
limit_changes()
{
	bus_start
	leat stream create events --ring 64K --segment 256K
	lines 10 | leat pub events
	leat stream set events retain-size=1M
	until_true 20 kept_is_at_most $((mib + 262144)) || fail 'nothing is deleted'
	bus_stop
}

kept_is_at_most()
{
	[ "$(figure events kept_bytes)" -le "$1" ]
}

harness_case 'a stream keeps to its size while it is published to' one_shard
harness_case 'a stream of several shards keeps to its size as a whole' four_shards
harness_case 'a position that is gone is a gap with its range, then comes the earliest' \
	gap_is_reported
harness_case 'a stopped subscriber that retention overtakes is told' overtaken
harness_case 'what is older than the limit is deleted, nothing before its time' deletes_by_time
harness_case 'what is younger than the limit stays, however much' keeps_what_is_young
harness_case 'a limit can be changed while the stream lives' limit_changes
harness_end
