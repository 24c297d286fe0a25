#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How small and how large a ring can be.
. "$(dirname "$0")/harness.sh"

smallest()
{
	bus_start
	leat stream create small --ring 64K --shards 2
	seq 200000 >"$dir/in"
	spawn live leat sub small -o earliest -s 1
	leat pub -s 1 small "$dir/in"
	until_true 20 has_lines "$dir/live.out" 200000 || fail 'the live subscriber waits for ever'
	same "$dir/in" "$dir/live.out"
	leat sub small -o earliest -e >"$dir/out"
	same "$dir/in" "$dir/out"
	bus_stop
}

too_small()
{
	local size
	bus_start
	for size in 1 4K 32K 65535; do
		refused 1 leat stream create small --ring "$size"
		has_text "$dir/refused" '64' || fail "the least size is not in: $(cat "$dir/refused")"
	done
	refused 1 leat stream create small --ring 100K
	has_text "$dir/refused" 'power of two' || fail "no remedy in: $(cat "$dir/refused")"
	leat stream ls --json >"$dir/list"
	has_text "$dir/list" small && fail 'half of a stream is left'
	bus_stop
}

memory_kib()
{
	sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" /proc/meminfo
}

too_large()
{
	local before after
	bus_start
	before=$(memory_kib MemAvailable)
	refused 1 leat stream create large --ring 1T
	has_text "$dir/refused" large || fail "the stream is not named in: $(cat "$dir/refused")"
	has_text "$dir/refused" "needs $((1024 ** 4)) " ||
		fail "what is needed is not in: $(cat "$dir/refused")"
	has_text "$dir/refused" 'available.* [0-9][0-9]*' ||
		fail "what is available is not in: $(cat "$dir/refused")"
	leat stream ls --json >"$dir/list"
	has_text "$dir/list" large && fail 'half of a stream is left'
	after=$(memory_kib MemAvailable)
	[ "$after" -gt $((before - 262144)) ] || fail "memory was lost: $before KiB, now $after KiB"
	# The bus is none the worse for it, and the name is free.
	leat stream create large --ring 64K
	echo hello | leat pub large
	equal "$(leat sub large -o earliest -e)" hello
	refused 1 leat stream set large ring=1T
	has_text "$dir/refused" 'available' || fail "growing: $(cat "$dir/refused")"
	echo again | leat pub large
	equal "$(leat sub large -o earliest -e | tail -n 1)" again
	bus_stop
}

grows()
{
	local pub
	bus_start
	leat stream create events --ring 64K
	spawn live leat sub events -o earliest
	mkfifo "$dir/fifo"
	spawn pub leat pub events "$dir/fifo"
	pub=$spawned
	exec 9>"$dir/fifo"
	seq 1000 >&9
	until_true 20 has_lines "$dir/live.out" 1000 || fail 'nothing arrives'
	leat stream set events ring=1M
	until_true 20 ring_is 1048576 || fail 'the ring is as it was'
	seq 1001 50000 >&9
	exec 9>&-
	finish "$pub" 20 || fail "the publisher: $(cat "$dir/pub.err")"
	until_true 20 has_lines "$dir/live.out" 50000 || fail 'the subscriber did not follow'
	seq 50000 | cmp - "$dir/live.out" || fail 'records were lost on the way'
	leat replay events | cmp - <(seq 50000) || fail 'the log is not whole'
	# What is larger than a quarter of the old ring fits now.
	head -c 200000 /dev/zero >"$dir/big"
	leat pub --whole events "$dir/big"
	bus_stop
}

ring_is()
{
	[ "$(figure events ring)" = "$1" ]
}

harness_case 'a ring of 64 KiB works' smallest
harness_case 'a smaller ring is refused with the least size' too_small
harness_case 'a ring larger than memory is refused with needed and available' too_large
harness_case 'a ring grows while it is used' grows
harness_end
