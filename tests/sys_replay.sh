#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Live subscribers, late subscribers and replays see one log: the same records, byte for byte, in
# the same order in each shard.
. "$(dirname "$0")/harness.sh"
export LC_ALL=C

shards=4
format='%o %K %S %k %s\n'

# random_lines NAME N: lines of any bytes, NUL among them, many of them empty; each begins with
# NAME and its number, unless it is one of the empty ones.
random_lines()
{
	head -c $(($2 * 60)) /dev/urandom | tr '\200-\237' '\n' | head -n "$2" |
		paste -d '' <(seq -f "$1-%06g:" "$2") - | sed '0~7s/.*//'
}

live_has_all()
{
	local i
	for ((i = 0; i < shards; i++)); do
		[ "$(stat -c %s "$dir/live.$i.out")" -ge "$(stat -c %s "$dir/replay.$i")" ] ||
			return 1
	done
}

publish_two_at_once()
{
	local one two
	random_lines one 40000 >"$dir/in.one"
	random_lines two 40000 >"$dir/in.two"
	spawn pub.one leat pub -K: events "$dir/in.one"
	one=$spawned
	spawn pub.two leat pub -K: events "$dir/in.two"
	two=$spawned
	finish "$one" 60
	finish "$two" 60
}

compare_shards()
{
	local i
	for ((i = 0; i < shards; i++)); do
		leat replay events --from earliest -s "$i" -f "$format" >"$dir/replay.$i"
	done
	until_true 20 live_has_all || fail "the live subscribers do not get everything"
	for ((i = 0; i < shards; i++)); do
		[ -s "$dir/replay.$i" ] || fail "shard $i is empty"
		leat sub events -o earliest -e -s "$i" -f "$format" >"$dir/late.$i"
		same "$dir/replay.$i" "$dir/live.$i.out"
		same "$dir/replay.$i" "$dir/late.$i"
		cat "$dir/live.$i.err" >&2
		[ ! -s "$dir/live.$i.err" ] || fail "a live subscriber complains"
	done
}

# In each shard the numbers of each publisher rise.
check_order()
{
	local i
	for ((i = 0; i < shards; i++)); do
		leat replay events -s "$i" -f '%k\n' | grep -a . | awk -F- '
			NF != 2 || $2 <= last[$1] { print "out of order: " $0; exit 1 }
			{ last[$1] = $2 }' || fail "shard $i"
	done
}

same_everywhere()
{
	local i
	bus_start
	leat stream create events --shards "$shards" --ring 1M
	for ((i = 0; i < shards; i++)); do
		spawn "live.$i" leat sub events -o earliest -s "$i" -f "$format"
	done
	publish_two_at_once
	compare_shards
	check_order
	# The multiset is the input's; an empty key and an empty value give an empty line.
	leat replay events -f '%k:%s\n' | sed 's/^:$//' | sort >"$dir/out.sorted"
	sort "$dir/in.one" "$dir/in.two" >"$dir/in.sorted"
	same "$dir/in.sorted" "$dir/out.sorted"
	# And from disk alone.
	bus_stop
	bus_start
	for ((i = 0; i < shards; i++)); do
		leat replay events -s "$i" -f "$format" >"$dir/disk.$i"
		same "$dir/replay.$i" "$dir/disk.$i"
	done
	leat verify events
	bus_stop
}

whole_files_come_back()
{
	bus_start
	leat stream create files --ring 8M
	head -c 1048576 /dev/urandom >"$dir/mib"
	head -c 1048576 /dev/zero >"$dir/zeros"
	: >"$dir/empty"
	leat pub --whole -k "" files "$dir/mib" "$dir/zeros" "$dir/empty" "$dir/mib"
	leat sub files -o earliest -e -D '' >"$dir/out"
	cat "$dir/mib" "$dir/zeros" "$dir/empty" "$dir/mib" >"$dir/want"
	same "$dir/want" "$dir/out"
	equal "$(leat sub files -o earliest -e -f '%K %S,')" '0 1048576,0 1048576,0 0,0 1048576,'
	bus_stop
}

largest_by_hand()
{
	local limit
	bus_start
	leat stream create small --ring 64K
	head -c 70000 /dev/urandom >"$dir/big"
	refused 1 leat pub --whole small "$dir/big"
	limit=$(sed -n 's/.*takes at most \([0-9]*\) .*/\1/p' "$dir/refused")
	[ -n "$limit" ] || fail "no limit in: $(cat "$dir/refused")"
	head -c "$((limit + 1))" "$dir/big" >"$dir/over"
	head -c "$limit" "$dir/big" >"$dir/exact"
	refused 1 leat pub --whole small "$dir/over"
	equal "$(figure small latest)" "$(figure small earliest)" 'something was stored'
	leat pub --whole small "$dir/exact"
	leat sub small -o earliest -e -D '' >"$dir/out"
	same "$dir/exact" "$dir/out"
	bus_stop
}

replayed_into_another()
{
	bus_start
	leat stream create from --shards 2 --ring 64K
	leat stream create into --shards 2 --ring 64K
	seq 20000 | sed 's/.*/key-&=value-&/' | leat pub -K= from
	leat replay from --into into
	leat replay from -f '%p %k %s\n' | sort >"$dir/from"
	leat replay into -f '%p %k %s\n' | sort >"$dir/into"
	equal "$(wc -l <"$dir/into")" 20000
	same "$dir/from" "$dir/into"
	bus_stop
}

harness_case 'two publishers, live subscribers, a late one and a replay agree on every byte' \
	same_everywhere
harness_case 'files of 1 MiB, of zeros and of nothing come back as they were' whole_files_come_back
harness_case 'a record of the largest size passes, one byte more is refused with the limit' \
	largest_by_hand
harness_case 'replay --into keeps keys, values and shards' replayed_into_another
harness_end
