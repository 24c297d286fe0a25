#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Searches the models of the protocol exhaustively, two searches at a time, and
# puts each mistake of the table back in to see it found. Exits 0 when every
# search was complete and without an error and every mistake was found as the
# error that the table names. Usage: run.sh [full] [PART-OF-A-NAME]; `full` searches larger sizes, one
# after the other, and takes its time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
full=
[ "${1-}" != full ] || { full=1 && shift; }
only=${1-}
depth=20000
at_once=2
command -v spin >/dev/null || { echo 'model: spin is not installed (package spin)' >&2; exit 1; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# name | model | result | log2 of hash slots | definitions
# The result is "holds", or a piece of the error to be found.
cat >"$dir/table" <<'TABLE'
two publishers, a reader at any record, two laps | ring | holds | 27 | -DRING=4 -DEND=8 -DONE_READ
three publishers | ring | holds | 25 | -DRING=4 -DEND=4 -DPUBS=3 -DNO_READER
two publishers, a reader from start to end | ring | holds | 25 | -DRING=3 -DEND=6
a publisher, a reader of runs | ring | holds | 24 | -DRING=4 -DEND=10 -DPUBS=1 -DRUNS
the daemon dies anywhere | ring | holds | 24 | -DRING=3 -DEND=6 -DNO_READER -DRESTART
slots of the dead are used again | ring | holds | 24 | -DRING=3 -DEND=6 -DNO_READER -DREUSE
batches and padding, two laps | ring | holds | 24 | -DRING=4 -DEND=8 -DNO_READER -DBATCH
batches and padding, a reader that steps into them | ring | holds | 24 | -DRING=4 -DEND=4 -DBATCH
any number of laps, positions wrap | ring | holds | 24 | -DRING=3 -DWRAP -DNO_READER
any number of laps and of dead daemons | ring | holds | 24 | -DRING=3 -DWRAP -DNO_READER -DRESTART
claims wrap | ring | holds | 24 | -DRING=3 -DEND=6 -DNO_READER -DCLAIMS_WRAP
three publishers, a reader through both rings | close | holds | 25 | -DPUBS=3 -DLEN=4
fences instead of membarriers | close | holds | 22 | -DPUBS=2 -DLEN=4 -DCOMMIT_WITH_FENCE -DNO_MEMBARRIER
publishers and the daemon die, batches | close | holds | 23 | -DPUBS=2 -DLEN=4 -DDIE -DBATCH -DDEATHS=1
a lapped reader, the daemon dies | close | holds | 23 | -DPUBS=2 -DLEN=3 -DCLOSE_END=5 -DDEATHS=1
two subscribers, four records | sleep | holds | 25 | -DSLEEPERS=2 -DRECORDS=4
three subscribers, two records | sleep | holds | 26 | -DSLEEPERS=3 -DRECORDS=2 -DLOADS_AT_ONCE
two subscribers, the bell looked at last | sleep | holds | 24 | -DRECORDS=3 -DLOADS_SWAPPED
two subscribers do not wake each other for ever | sleep | holds | 22 | -DRECORDS=2 -DSTORM=12
publishers and subscribers die, woken in any order | sleep | holds | 25 | -DRECORDS=2 -DDIE -DGUARD -DANY_ORDER
the drain and its kick | sleep | holds | 22 | -DKICK -DRECORDS=8
the drain and its kick, publishers die | sleep | holds | 22 | -DKICK -DRECORDS=6 -DDIE -DGUARD
the drain and those who wait for it | sleep | holds | 22 | -DKICK -DNAP -DRECORDS=8
waiting until it is written, or durable | ack | holds | 23 | -DRECORDS=4
read: reclaimed not looked at | ring | !(bad) | 22 | -DNO_RECLAIMED_IN_READ -DONE_READ
read: reclaimed compared with the run's end | ring | !(bad) | 22 | -DRECLAIMED_PAST_END -DRUNS
read: limit not looked at | ring | !(bad) | 22 | -DNO_LIMIT_IN_READ
hole: no wait for the claims | ring | own[i] | 22 | -DNO_CLAIM_WAIT -DNO_READER
hole: claims looked at before the tail | ring | own[i] | 22 | -DTAIL_AFTER_CLAIMS -DNO_READER
hole: buried up to the tail | ring | own[i] | 22 | -DHOLE_TO_TAIL -DNO_READER
hole: word not loaded again | ring | ==0 | 22 | -DNO_REREAD -DNO_READER
bury: a reserved word not loaded again | ring | ==w | 22 | -DBURY_BY_STORE -DNO_READER
drain: limit not looked at | ring | ==drained | 22 | -DNO_LIMIT_IN_DRAIN -DNO_READER
drain: a slot used again at once | ring | invalid end | 22 | -DREUSE -DREUSE_AT_ONCE -DNO_READER
reserve: claim stays even | ring | own[i] | 22 | -DNO_CLAIM -DNO_READER
reserve: claim even before the header | ring | own[i] | 22 | -DCLAIM_EVEN_EARLY -DNO_READER
reserve: limit not looked at | ring | -tail) | 22 | -DNO_LIMIT_IN_RESERVE -DNO_READER
commit: before the record is filled in | ring | !(bad) | 22 | -DCOMMIT_BEFORE_PAYLOAD -DONE_READ
reclaim: zeroes before reclaimed is raised | ring | !(bad) | 22 | -DZERO_BEFORE_RECLAIMED -DONE_READ
reclaim: limit raised before it zeroes | ring | ==0 | 22 | -DLIMIT_BEFORE_ZERO -DNO_READER
reclaim: zeroes headers only | ring | !=4 | 22 | -DZERO_HEADERS_ONLY -DNO_READER
reclaim: after a restart zeroes from reclaimed on | ring | ==drained | 22 | -DRING=3 -DEND=6 -DRESTART -DZERO_FROM_RECLAIMED -DNO_READER
bury: of a batch its header alone | ring | !=3 | 22 | -DRING=4 -DEND=8 -DNO_READER -DBATCH -DBURY_HEADER_ONLY
commit: a batch before its records are filled in | ring | drained+2 | 22 | -DRING=4 -DEND=5 -DNO_READER -DBATCH -DCOMMIT_BEFORE_PAYLOAD
read: padding is stepped into | ring | !(bad) | 22 | -DRING=4 -DEND=4 -DPUBS=1 -DBATCH -DINTO_PADDING
positions that wrap compared by size | ring | tail<=limit | 22 | -DRING=3 -DWRAP -DNO_READER -DCOMPARED_BY_SIZE
hole: claims that wrap compared by size | ring | invalid end | 22 | -DRING=3 -DEND=6 -DNO_READER -DCLAIMS_WRAP -DCLAIMS_BY_SIZE
close: no membarrier | close | logged[i] | 22 | -DNO_MEMBARRIER
close: membarrier before attention | close | logged[i] | 22 | -DBARRIER_BEFORE_ATTENTION
close: state before close_pos | close | assertion | 22 | -DSTATE_BEFORE_CLOSE_POS
close: commit does not look at attention | close | logged[me] | 22 | -DNO_ATTENTION
close: attention looked at before the commit | close | logged[me] | 22 | -DATTENTION_BEFORE_COMMIT
close: a reader trusts the old ring | close | got[i] | 22 | -DTRUST_OLD_RING
close: a reader looks at the state before it copies | close | got[i] | 22 | -DSTATE_BEFORE_COPY
close: a hole's end taken as first seen | close | logged[i] | 22 | -DNO_RECHECK
close: only the first word of a hole checked again | close | logged[i] | 24 | -DRECHECK_FIRST_ONLY
close: a hole checked again forwards | close | logged[i] | 22 | -DRECHECK_FORWARDS
close: the next daemon does not say it again | close | logged[me] | 22 | -DPUBS=2 -DDEATHS=1 -DNOT_SAID_AGAIN
close: a hole is buried while somebody alive claims | close | logged[me] | 22 | -DPUBS=2 -DDIE -DNO_CLAIM_WAIT
close: reclaimed not looked at | close | !(torn) | 22 | -DPUBS=2 -DLEN=3 -DCLOSE_END=5 -DNO_RECLAIMED_IN_READ
close: a reader steps over a batch | close | got[i] | 22 | -DPUBS=2 -DBATCH -DINTO_NOTHING
sleep: the ring not looked at again | sleep | invalid end | 22 | -DNO_RECHECK
sleep: no membarrier | sleep | invalid end | 22 | -DNO_MEMBARRIER
sleep: membarrier before the announcement | sleep | invalid end | 22 | -DBARRIER_BEFORE_ANNOUNCE
sleep: doorbell loaded after the last look | sleep | invalid end | 22 | -DBELL_AFTER_RECHECK
wake: n_sleepers loaded before the commit | sleep | invalid end | 22 | -DSLEEPERS_BEFORE_COMMIT
wake: doorbell not rung | sleep | invalid end | 22 | -DNO_DOORBELL
wake: the bell rings alike for one and for more | sleep | invalid end | 22 | -DRINGS_ALIKE
wake: who was woken in place of another wakes nobody | sleep | invalid end | 22 | -DSTOLEN_ALONE
wake: the woken wake nobody | sleep | invalid end | 22 | -DNO_CHAIN
wake: the woken wake others in any case | sleep | n_sleepers<= | 22 | -DRECORDS=2 -DSTORM=12 -DALWAYS_CHAIN
wake: in any order, and the daemon does not ring | sleep | invalid end | 22 | -DANY_ORDER
wake: a publisher dies, and the daemon does not ring | sleep | invalid end | 22 | -DDIE
kick: the ring not looked at again | sleep | invalid end | 22 | -DKICK -DNO_RECHECK
kick: no membarrier | sleep | invalid end | 22 | -DKICK -DNO_MEMBARRIER
kick: membarrier before the announcement | sleep | invalid end | 22 | -DKICK -DBARRIER_BEFORE_ANNOUNCE
kick: drain_kicked stays | sleep | invalid end | 22 | -DKICK -DKICKED_STAYS
kick: who waits kicked before, and the ring not looked at again | sleep | invalid end | 22 | -DKICK -DNAP -DNO_RECHECK
kick: a publisher dies, and the drain is not told | sleep | invalid end | 22 | -DKICK -DDIE
ack: who waits does not kick | ack | invalid end | 22 | -DNO_KICK
ack: the bell loaded after the look | ack | invalid end | 22 | -DBELL_LAST
ack: the bell rings before the position | ack | invalid end | 22 | -DBELL_BEFORE
ack: the bell of what is written does not ring | ack | invalid end | 22 | -DNO_WRITTEN_BELL
ack: the bits taken after the position | ack | invalid end | 22 | -DBITS_AFTER -DBOTH_DURABLE
ack: the drain does not rearm | ack | invalid end | 22 | -DNO_REARM
ack: kicked before it rearmed, and not looked again | ack | invalid end | 22 | -DNO_LOOK_AGAIN
ack: a bell too small | ack | invalid end | 22 | -DBELL_BITS=1
TABLE

# At length, on request.
if [ -n "$full" ]; then
	cat >"$dir/table" <<'TABLE'
three publishers and the daemon die | close | holds | 27 | -DPUBS=3 -DLEN=3 -DDIE -DDEATHS=1
three publishers, batches, the daemon dies | close | holds | 27 | -DPUBS=3 -DLEN=4 -DBATCH -DDEATHS=1
publishers and the daemon die, twice, batches | close | holds | 25 | -DPUBS=2 -DLEN=4 -DDIE -DBATCH -DDEATHS=2
a lapped reader, publishers and the daemon die | close | holds | 25 | -DPUBS=2 -DLEN=3 -DCLOSE_END=5 -DDIE -DDEATHS=1
a lapped reader, batches, publishers and the daemon die | close | holds | 25 | -DPUBS=2 -DLEN=4 -DCLOSE_END=6 -DBATCH -DDIE -DDEATHS=1
six records, both until durable | ack | holds | 27 | -DRECORDS=6 -DBOTH_DURABLE
any number of laps, batches, the daemon dies | ring | holds | 27 | -DRING=4 -DWRAP -DBATCH -DNO_READER -DRESTART
TABLE
	at_once=1
fi

# One search. Its line begins with "pass" or "FAIL"; $dir/N/out keeps what pan said.
search()
{
	job=$1 name=$2 model=$3 want=$4 slots=$5 defs=$6
	cd "$dir/$job"
	# The first search of the table may use the larger share of 6 GiB, in MiB.
	[ "$slots" -ge 27 ] && mem=3700 || mem=2300
	[ "$want" = holds ] && optimize=-O2 || optimize=-O1
	# shellcheck disable=SC2086
	if ! { spin -a $defs "$here/$model.pml" &&
		${CC:-cc} -w $optimize -DSAFETY -DCOLLAPSE -DMEMLIM=$mem -o pan pan.c; } >out 2>&1; then
		echo "FAIL  $model: $name: does not compile" | tee "$dir/$job.line"
		head -n 20 out
		return
	fi
	start=$(date +%s)
	code=0
	# Without an end the longest way is as long as there are states.
	case $defs in
	*WRAP*) deep=2000000 ;;
	*) deep=$depth ;;
	esac
	./pan -m$deep -w"$slots" -n >out 2>&1 || code=$?
	took=$(($(date +%s) - start))
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
	reached=$(sed -n 's/.*depth reached \([0-9]*\), errors.*/\1/p' out)
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' out)
	error=$(sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\1/p' out)
	verdict=FAIL
	if grep -q 'Search not completed' out; then
		result="stopped: ${error:-$(grep -m 1 '^pan: ' out || echo 'no reason given')}"
	elif grep -q -e 'too small' -e 'reached -DMEMLIM' -e 'out of memory' -e truncated out ||
		[ "$code" != 0 ] || [ "$errors" != 0 ]; then
		result="not complete: $(grep -m 1 -E 'too small|MEMLIM|memory' out)"
	else
		result=holds
		[ "$want" != holds ] || verdict=pass
	fi
	if [ "$want" != holds ] && [ "$errors" = 1 ]; then
		case $error in
		*"$want"*) verdict=pass result="found: $error" ;;
		esac
	fi
	printf '%s  %s: %s: %.0f states, depth %s, %s s, %s\n' $verdict "$model" "$name" \
		"${states:-0}" "${reached:-0}" $took "$result" | tee "$dir/$job.line"
	rm -f pan pan.*
}

# Takes jobs off the table until there is none left.
work()
{
	job=0
	while IFS='|' read -r name model want slots defs; do
		job=$((job + 1))
		name=${name% } model=${model# } want=${want# } slots=${slots# }
		case "${model% }: $name" in
		*"$only"*) ;;
		*) continue ;;
		esac
		mkdir "$dir/$job" 2>/dev/null || continue
		search $job "$name" "${model% }" "${want% }" "${slots% }" "${defs# }"
	done <"$dir/table"
}

[ "$at_once" = 1 ] || work &
work
wait
passed=$(cat "$dir"/*.line | grep -c '^pass') || passed=0
failed=$(($(find "$dir" -mindepth 1 -type d | wc -l) - passed))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
