#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where a subscriber starts, where it stops and what it prints.
. "$(dirname "$0")/harness.sh"

# numbers N [RING]: a stream of one shard with records 1..N.
numbers()
{
	bus_start
	leat stream create numbers --ring "${2-64K}"
	seq "$1" | leat pub numbers
}

starts_earliest()
{
	numbers 10000
	leat sub numbers -o earliest -e >"$dir/out"
	seq 10000 >"$dir/want"
	same "$dir/want" "$dir/out"
	leat sub numbers -o beginning -e >"$dir/out"
	same "$dir/want" "$dir/out"
	bus_stop
}

latest_sees()
{
	[ -s "$dir/live.out" ] || seq 1 | sed 's/^/probe/' | leat pub numbers
	[ -s "$dir/live.out" ]
}

starts_latest()
{
	numbers 1000
	spawn live leat sub numbers
	until_true 20 latest_sees || fail "nothing reaches a subscriber from the latest"
	grep -v '^probe1$' "$dir/live.out" && fail "a record of before came"
	equal "$(leat sub numbers -o latest -e)" '' 'what -o latest -e prints'
	bus_stop
}

starts_at_position()
{
	local pos next
	numbers 10000
	leat sub numbers -o earliest -e -f '%o %s\n' >"$dir/all"
	pos=$(awk '$2 == 7777 { print $1 }' "$dir/all")
	equal "$(leat sub numbers -o "$pos" -c 1)" 7777 'the record at its position'
	leat sub numbers -o "$pos" -e >"$dir/out"
	seq 7777 10000 >"$dir/want"
	same "$dir/want" "$dir/out"
	# Between two records the later one is the first at or after.
	next=$(awk '$2 == 7778 { print $1 }' "$dir/all")
	equal "$(leat sub numbers -o $((pos + 1)) -f '%o %s' -c 1)" "$next 7778"
	leat replay numbers --from "$pos" --to "$next" >"$dir/out"
	equal "$(cat "$dir/out")" 7777 'replay from one to the next, exclusive'
	bus_stop
}

# Positions rise in steps of 32 and the first is near the wrap of 32 bits.
positions()
{
	numbers 1000
	leat sub numbers -o earliest -e -f '%o\n' | awk '
		$1 % 32 || $1 <= last { print "bad position " $1; exit 1 } { last = $1 }'
	bus_stop
}

time_in_ring()
{
	starts_at_time 4M
}

time_on_disk()
{
	starts_at_time 64K
}

starts_at_time()
{
	local middle from ns
	numbers 5000 "$1"
	until_true 20 past_millisecond "$(leat sub numbers -o earliest -e -f '%T\n' | tail -n 1)"
	middle=$(now_ms)
	until_true 20 past_millisecond "$middle"
	seq 5001 10000 | leat pub numbers
	leat sub numbers -o "@$middle" -e >"$dir/out"
	seq 5001 10000 >"$dir/want"
	same "$dir/want" "$dir/out"
	# The very nanosecond of a record finds it, not the one before.
	leat sub numbers -o earliest -e -f '%N %s\n' >"$dir/all"
	ns=$(awk '$2 == 2500 { print $1 }' "$dir/all")
	from=$(awk -v ns="$ns" '$1 "" >= ns "" { print $2; exit }' "$dir/all")
	equal "$(leat sub numbers -o "@$ns" -c 1)" "$from" 'the record of a nanosecond'
	equal "$(leat sub numbers -o @0 -c 1)" 1 'the first record after 1970'
	equal "$(leat sub numbers -o @4102444800000 -e)" '' 'what comes after the year 2100'
	leat sub numbers -o @-1h -e | cmp - <(seq 10000) || fail 'the last hour is not everything'
	# The same from disk.
	bus_stop
	bus_start
	leat sub numbers -o "@$middle" -e >"$dir/out"
	same "$dir/want" "$dir/out"
	equal "$(leat sub numbers -o "@$ns" -c 1)" "$from" 'the record of a nanosecond, from disk'
	bus_stop
}

past_millisecond()
{
	[ "$(now_ms)" -gt "$1" ]
}

counts()
{
	numbers 1000
	equal "$(leat sub numbers -o earliest -c 3 | tr '\n' ' ')" '1 2 3 '
	equal "$(leat sub numbers -o earliest -c 0)" ''
	equal "$(leat sub numbers -o earliest -e -c 5000 | wc -l)" 1000
	bus_stop
}

prints_formats()
{
	local want
	bus_start
	leat stream create "my.stream" --shards 3 --ring 64K
	printf 'a key|the value\n' | leat pub -K '|' -s 2 -H colour=red -H size=12 my.stream
	leat sub my.stream -o earliest -e -f '%s|%S|%k|%K|%t|%p|%h|%%|\x41\t\n' >"$dir/out"
	want=$(printf 'the value|9|a key|5|my.stream|2|colour=red,size=12|%%|A\t')
	equal "$(cat "$dir/out")" "$want"
	leat sub my.stream -o earliest -e -f '%o %T %N\n' | awk '
		NF == 3 && $1 > 4000000000 && int($3 / 1000000) == $2 { good = 1 }
		END { exit !good }' || fail 'position, milliseconds and nanoseconds do not fit'
	equal "$(leat sub my.stream -o earliest -e -D '<>')" 'the value<>'
	leat sub my.stream -o earliest -e -0 | cmp - <(printf 'the value\0')
	equal "$(leat sub my.stream -o earliest -e -s 1)" ''
	equal "$(leat sub my.stream -o earliest -e -s 2)" 'the value'
	refused 2 leat sub my.stream -f '%y'
	bus_stop
}

prints_json()
{
	command -v jq >/dev/null || skip 'jq is not installed'
	bus_start
	leat stream create json --ring 64K
	printf 'k"1\\:va\tlue "quoted"\n\xff\xfe\0\n' | leat pub -K: json
	leat sub json -o earliest -e -J >"$dir/out"
	equal "$(wc -l <"$dir/out")" 2 'one object a line'
	equal "$(jq -r 'select(.key != null) | .key' "$dir/out")" 'k"1\'
	equal "$(jq -r 'select(.key != null) | .value' "$dir/out")" "$(printf 'va\tlue "quoted"')"
	jq -e '.stream == "json" and .shard == 0 and .position > 0 and .ts_ns > .ts' "$dir/out" \
		>/dev/null || fail 'fields are missing'
	equal "$(tail -n 1 "$dir/out" | jq -r '.. | .base64? // empty' | base64 -d | od -An -tx1)" \
		' ff fe 00' 'bytes that are no text'
	bus_stop
}

waits_for_levels()
{
	numbers 100
	equal "$(leat sub numbers -o earliest -e --isolation durable | wc -l)" 100
	equal "$(leat sub numbers -o earliest -e --isolation written | wc -l)" 100
	refused 2 leat sub numbers --isolation none
	bus_stop
}

remembers_names()
{
	numbers 100
	equal "$(leat sub numbers -o earliest -c 30 --name job | tail -n 1)" 30
	equal "$(leat sub numbers -o earliest -c 30 --name job | head -n 1)" 31
	equal "$(leat sub numbers -o earliest -e --name job | wc -l)" 40
	equal "$(leat sub numbers -o earliest -e --name job)" ''
	bus_stop
	bus_start
	equal "$(leat sub numbers -o earliest -e --name job)" ''
	seq 101 110 | leat pub numbers
	equal "$(leat sub numbers -o earliest -e --name job | head -n 1)" 101
	bus_stop
}

wrong_use()
{
	numbers 1
	refused 2 leat sub numbers -o yesterday
	refused 2 leat sub
	refused 2 leat sub numbers --nonsense
	refused 1 leat sub nothing -e
	has_text "$dir/refused" nothing || fail "the stream is not named"
	has_text "$dir/refused" numbers || fail "what there is instead is not in: $(cat "$dir/refused")"
	bus_stop
}

harness_case 'sub -o earliest gives everything' starts_earliest
harness_case 'sub starts with what comes next' starts_latest
harness_case 'sub -o POSITION gives the first record at or after it' starts_at_position
harness_case 'positions are multiples of 32 and rise' positions
harness_case 'sub -o @TIME gives the first record of that time or later' time_on_disk
harness_case 'so it does where all is in the ring' time_in_ring
harness_case 'sub -c N stops after N records' counts
harness_case 'sub -f and -D print as they say' prints_formats
harness_case 'sub -J prints one JSON object a line' prints_json
harness_case 'sub --isolation gives only what has got that far' waits_for_levels
harness_case 'sub --name goes on where it was' remembers_names
harness_case 'wrong use is told apart from failure' wrong_use
harness_end
