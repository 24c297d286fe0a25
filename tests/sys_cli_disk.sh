#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `leat verify` and `leat dump` find every damaged byte, and nothing where nothing is damaged.
. "$(dirname "$0")/harness.sh"

# A stream of two shards in segments of 80 KiB, one of them still being written; $segment is the
# first of shard 0.
some_segments()
{
	bus_start
	leat stream create s --shards 2 --ring 64K --segment 80K
	seq 2000 | leat pub -s 0 s
	seq 500 | leat pub -s 1 -k key -H name=value s
	segment=$(find "$dir/data/streams/s/0" -name '*.seg' | sort | head -n 1)
	[ -s "$segment" ] || fail 'there is no segment'
}

# flip FILE OFFSET: changes one bit.
flip()
{
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

finds_nothing()
{
	some_segments
	leat verify >"$dir/out"
	has_text "$dir/out" ' 2500 records, .* 0 damaged$' || fail "it says: $(cat "$dir/out")"
	leat verify s >"$dir/out"
	has_text "$dir/out" '^s/1: .* 500 records, .*: ok$' || fail "it says: $(cat "$dir/out")"
	equal "$(leat verify -q)" '' 'what -q prints when all is well'
	refused 1 leat verify nothing
	has_text "$dir/refused" nothing || fail 'the stream is not named'
	bus_stop
	leat verify --data "$dir/data" >"$dir/out"
	has_text "$dir/out" ' 2500 records, .* 0 damaged$' || fail "it says: $(cat "$dir/out")"
	refused 1 leat verify --data "$dir/data" nothing
}

finds_a_bit()
{
	local status=0 from
	some_segments
	# Record 100 is 64 bytes, as all are; its value begins at byte 32 of it.
	flip "$segment" $((4096 + 99 * 64 + 33))
	leat verify s >"$dir/out" || status=$?
	equal "$status" 1 'status of verify'
	from=$(leat replay s -s 0 -c 99 -f '%o\n' | tail -n 1)
	from=$((from + 64))
	has_text "$dir/out" "^s/0: damaged: positions $from\\.\\.$((from + 64)) (64 bytes), " ||
		fail "it says: $(cat "$dir/out")"
	has_text "$dir/out" '^s/0: .* 1999 records, .*: DAMAGED$' || fail "it says: $(cat "$dir/out")"
	has_text "$dir/out" '^s/1: .*: ok$' || fail 'the other shard is not well'
}

shows_a_segment()
{
	local status=0
	some_segments
	leat dump "$segment" >"$dir/out"
	has_text "$dir/out" '^segment .*header crc ok$' || fail 'the header'
	has_text "$dir/out" '^stream .* shard 0$' || fail 'the shard'
	has_text "$dir/out" '^[0-9]*  record .*crc ok .*value 3 "100"$' || fail 'record 100'
	grep -q DAMAGED "$dir/out" && fail 'something is damaged'
	leat dump "$dir"/data/streams/s/1/*.seg >"$dir/out"
	has_text "$dir/out" 'key "key"  header "name"="value"  value 1 "1"$' ||
		fail "key and header: $(sed -n 9p "$dir/out")"
	equal "$(leat dump -c 7 "$segment" | grep -c ' record ')" 7 'records with -c 7'
	flip "$segment" $((4096 + 99 * 64 + 33))
	leat dump "$segment" >"$dir/out" || status=$?
	equal "$status" 1 'status of dump'
	equal "$(grep -c DAMAGED "$dir/out")" 1 'damaged ranges'
	has_text "$dir/out" 'value 2 "99"$' || fail 'the record before'
	has_text "$dir/out" 'value 3 "101"$' || fail 'the record after'
	# With its header damaged the records are still shown.
	flip "$segment" 70
	leat dump "$segment" >"$dir/out" && fail 'a damaged header is well'
	has_text "$dir/out" 'header crc BAD' || fail 'the damaged header'
	has_text "$dir/out" 'value 2 "99"$' || fail 'the record before, with a damaged header'
}

shows_json()
{
	command -v jq >/dev/null || skip 'jq is not installed'
	some_segments
	leat dump --json "$dir"/data/streams/s/1/*.seg >"$dir/out"
	equal "$(jq -r 'select(.kind == "record") | .key' "$dir/out" | sort | uniq -c | xargs)" \
		'500 key'
	equal "$(jq -r 'select(.kind == "record") | .position' "$dir/out")" \
		"$(leat replay s -s 1 -f '%o\n')" 'positions'
	equal "$(head -n 1 "$dir/out" | jq -r '.segment.shard, .segment.crc_ok' | xargs)" '1 true'
}

names_what_is_not_served()
{
	some_segments
	bus_stop
	has_text "$dir/leatd.log" 'that the catalogue knows' && fail 'it misses what is there'
	mkdir "$dir/old"
	mv "$dir"/data/catalogue.db* "$dir/old"
	bus_start
	has_text "$dir/leatd.log" 'no stream that the catalogue knows: 1, one of them s\.' ||
		fail "it says: $(tail -n 5 "$dir/leatd.log")"
	leat stream create s 2>"$dir/err" && fail 'a stream is made over what is there'
	has_text "$dir/err" 'streams/s exists, though there is no such stream: move it away' ||
		fail "it says: $(cat "$dir/err")"
	bus_stop
	rm "$dir"/data/catalogue.db*
	mv "$dir"/old/* "$dir/data"
	bus_start
	equal "$(leat sub s -o earliest -e | wc -l)" 2500 'records of the catalogue put back'
}

harness_case 'verify finds nothing where nothing is damaged, with and without a daemon' \
	finds_nothing
harness_case 'verify finds one bit, names its range, and reads on' finds_a_bit
harness_case 'a daemon whose catalogue is gone names what it does not serve' names_what_is_not_served
harness_case 'dump shows records, and damage where it is' shows_a_segment
harness_case 'dump --json can be read by programs' shows_json
harness_end
