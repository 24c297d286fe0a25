#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How `leat pub` cuts its input into records, what it refuses, and when it says done.
. "$(dirname "$0")/harness.sh"

# expect WANT: what the stream has, keys included, must be that; the stream is made anew.
expect()
{
	equal "$(leat replay s -f '<%k|%s>')" "$1" 'what was published'
	leat stream rm s
	leat stream create s --ring 64K
}

cuts_at_delimiters()
{
	bus_start
	leat stream create s --ring 64K
	printf 'one\n\ntwo' | leat pub s
	expect '<|one><|><|two>'
	printf 'one;;two;three;;' | leat pub s -D ';;'
	expect '<|one><|two;three>'
	printf 'a\nb\0c\0' | leat pub -0 s
	expect $'<|a\nb><|c>'
	printf 'a\x1eb' | leat pub -D '\x1e' s
	expect '<|a><|b>'
	printf '\n\nP: a\nx\n\n\n\nP: b\n' | leat pub --paragraphs s
	expect $'<|P: a\nx><|P: b>'
	leat pub s </dev/null
	expect ''
	printf 'from a file\n' >"$dir/file"
	printf 'from a pipe\n' | leat pub s "$dir/file" - "$dir/file"
	expect '<|from a file><|from a pipe><|from a file>'
	bus_stop
}

finds_keys()
{
	bus_start
	leat stream create s --ring 64K
	printf 'a:1:2\n:3\n4\n' | leat pub -K: s
	expect '<a|1:2><|3><|4>'
	printf 'a=>1\nnone\n' | leat pub -K '=>' -k default s
	expect '<a|1><default|none>'
	printf 'x\nPackage: p1\ny\n\nPackage: p2\n\nnothing\n' |
		leat pub --paragraphs --key-regex '^Package: (.*)$' s
	expect $'<p1|x\nPackage: p1\ny><p2|Package: p2><|nothing>'
	printf 'id=12;\nid=;\n' | leat pub --key-regex 'id=([0-9]+);' s
	expect '<12|id=12;><|id=;>'
	# A NUL before the key does not hide it.
	printf 'a\0id=7;\n' | leat pub --key-regex 'id=([0-9]+);' s
	equal "$(leat replay s -f '%k %S')" '7 7' 'a key behind a NUL'
	bus_stop
}

refuses_and_goes_on()
{
	local status=0
	bus_start
	leat stream create s --ring 64K
	{
		echo first
		head -c 100000 /dev/zero | tr '\0' x
		printf '\nlast\n'
	} >"$dir/in"
	leat pub s "$dir/in" "$dir/nowhere" 2>"$dir/err" || status=$?
	equal "$status" 1
	has_text "$dir/err" "^leat: $dir/in: record 2: 100000 bytes, .* takes at most [0-9]* " ||
		fail "the record and the limit are not named: $(cat "$dir/err")"
	has_text "$dir/err" 'nowhere: cannot open' || fail 'the missing file is not named'
	has_text "$dir/err" '1 of 3 records were refused' || fail 'no sum'
	expect '<|first><|last>'
	{
		head -c 65536 /dev/zero | tr '\0' k
		printf ':v\nk:v\n'
	} >"$dir/in"
	leat stream rm s
	leat stream create s --ring 1M
	status=0
	leat pub -K: s "$dir/in" 2>"$dir/err" || status=$?
	equal "$status" 1
	has_text "$dir/err" 'record 1: .*65535' || fail "the limit of keys: $(cat "$dir/err")"
	expect '<k|v>'
	bus_stop
}

chooses_shards()
{
	local key first
	bus_start
	leat stream create s --ring 64K --shards 4
	seq 100 | leat pub -s 2 s
	equal "$(leat replay s -s 2)" "$(seq 100)" 'what is in shard 2'
	equal "$(figures s records | tr '\n' ' ')" '0 0 100 0 ' 'records by shard'
	refused 1 leat pub -s 4 s
	has_text "$dir/refused" 'no shard 4, only 0 to 3' || fail "it says: $(cat "$dir/refused")"
	# One key, one shard, whoever publishes.
	for key in a b c d e; do
		echo "$key:1" | leat pub -K: s
		echo 2 | leat pub -k "$key" s
		first=$(leat replay s -f '%k %p\n' | grep "^$key " | sort -u | wc -l)
		equal "$first" 1 "shards of key $key"
	done
	bus_stop
}

carries_headers()
{
	bus_start
	leat stream create s --ring 64K
	echo v | leat pub s -H colour=red -H empty= -H colour=blue=green
	equal "$(leat replay s -f '%h')" 'colour=red,empty=,colour=blue=green'
	bus_stop
}

acknowledges()
{
	local written durable latest
	bus_start
	leat stream create s --ring 1M --sync none
	seq 1000 | leat pub --ack written s
	latest=$(figure s latest)
	written=$(figure s written)
	equal "$written" "$latest" 'written after --ack written'
	# Durable also where nothing is synced of its own accord.
	seq 1000 | leat pub s
	durable=$(figure s durable)
	equal "$durable" "$(figure s latest)" 'durable after --ack durable'
	leat stream create m --memory --ring 64K
	seq 100 | leat pub m
	refused 1 leat pub --ack durable m
	has_text "$dir/refused" 'memory-only' || fail "it says: $(cat "$dir/refused")"
	bus_stop
}

# Ctrl-C while the ring is full and the daemon is stopped: what is in the ring is waited for.
interrupted_at_a_full_ring()
{
	local status=0 n
	bus_start
	leat stream create s --ring 64K
	mkfifo "$dir/fifo"
	spawn pub env --default-signal=INT leat pub s "$dir/fifo"
	exec 9>"$dir/fifo"
	echo 1 >&9
	until_true 20 has_records 1 || fail 'the first record does not come'
	kill -STOP "$bus_pid"
	seq 2 20000 >&9 &
	started+=("$!")
	sleep 1
	is_gone "$spawned" && fail 'it does not wait at a full ring'
	kill -INT "$spawned"
	sleep 0.5
	is_gone "$spawned" && fail 'it does not wait for the acknowledgement'
	kill -CONT "$bus_pid"
	exec 9>&-
	finish "$spawned" 20 || status=$?
	equal "$status" 130
	n=$(sed -n 's/.*stopped: \([0-9]*\) records are published and acknowledged.*/\1/p' \
		"$dir/pub.err")
	[ "$n" -gt 100 ] && [ "$n" -lt 20000 ] || fail "it says: $(cat "$dir/pub.err")"
	leat replay s | cmp - <(seq "$n") || fail 'that is not what is there'
	bus_stop
}

has_records()
{
	[ "$(leat sub s -o earliest -e | wc -l)" -ge "$1" ]
}

harness_case 'pub cuts lines, other delimiters, paragraphs, files' cuts_at_delimiters
harness_case 'pub finds keys before a separator, by an expression, or takes one for all' finds_keys
harness_case 'pub refuses what is too large, names it, and publishes the rest' refuses_and_goes_on
harness_case 'a key goes to one shard, -s to the one that it says' chooses_shards
harness_case 'headers arrive in order, also two of one name' carries_headers
harness_case 'pub ends when what it read is acknowledged as asked' acknowledges
harness_case 'interrupted at a full ring, pub still waits for what it has published' \
	interrupted_at_a_full_ring
harness_end
