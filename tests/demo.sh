#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bus at work on data that every Debian machine has: the package database and, where there are
# any, the package lists. Several publishers and live subscribers at once, the daemon killed with
# -9 in the middle, a late subscriber at the end; checksums prove that everybody got every record
# once and in order per key. Needs no root, leaves nothing behind; `make demo` runs it.
set -u
export LC_ALL=C

n_publishers=4
n_live=2
n_shards=4
ring_kib=1024
limit=40 # seconds for any step

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=${LEAT_BUILD-$root/build/release}
leat=$build/leat
export LEAT_BUS=
unset NOTIFY_SOCKET
dir=
keeper=
started=()

say()
{
	printf '%-9s %s\n' "$1" "$2"
}

die()
{
	printf 'demo: %s\n' "$*" >&2
	if [ -s "$dir/leatd.log" ]; then
		printf 'demo: the daemon says:\n' >&2
		tail -n 20 "$dir/leatd.log" >&2
	fi
	exit 1
}

now_ms()
{
	echo $((${EPOCHREALTIME/./} / 1000))
}

# until_true COMMAND...: polls a condition, within $limit seconds.
until_true()
{
	local end=$(($(now_ms) + limit * 1000))
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.005
	done
}

is_gone()
{
	local state
	state=$(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

finish()
{
	until_true is_gone "$1" || die "$2 does not come to an end"
	wait "$1" || die "$2 failed: $(cat "$dir"/*.err)"
}

clean_up()
{
	local status=$? pid
	trap - EXIT
	for pid in "${started[@]}"; do
		is_gone "$pid" || kill -KILL "$pid"
	done
	if [ -n "$keeper" ] && ! is_gone "$keeper"; then
		kill -TERM "$keeper"
		if ! until_true is_gone "$keeper"; then
			pid=$(cat "/proc/$keeper/task/$keeper/children")
			kill -KILL "$keeper"
			[ -z "$pid" ] || kill -KILL "$pid"
		fi
	fi
	wait 2>/dev/null
	[ -z "$dir" ] || rm -rf "$dir"
	exit "$status"
}

human()
{
	awk -v n="$1" 'BEGIN {
		split("B KB MB GB", unit); u = 1
		while (n >= 1000 && u < 4) { n /= 1000; u++ }
		printf(u > 1 ? "%.1f %s" : "%d %s", n, unit[u])
	}'
}

# 1234567 as 1,234,567
commas()
{
	sed ':a; s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/; ta' <<<"$1"
}

# ---- input ----------------------------------------------------------------------

# Plain text of a package list, however it is packed. A list that cannot be unpacked is left out.
unpacked()
{
	case $1 in
	*_Packages) cat "$1" ;;
	*) /usr/lib/apt/apt-helper cat-file "$1" 2>/dev/null ;;
	esac
}

gather()
{
	local list n=0
	[ -r /var/lib/dpkg/status ] || die 'there is no /var/lib/dpkg/status: not a Debian machine?'
	cat /var/lib/dpkg/status >"$dir/input"
	for list in /var/lib/apt/lists/*_Packages /var/lib/apt/lists/*_Packages.*; do
		[ -r "$list" ] || continue
		echo >>"$dir/input"
		unpacked "$list" >>"$dir/input" && n=$((n + 1))
	done
	n_lists=$n
}

# Deals the paragraphs out to the publishers, each package to one of them, and notes what everybody
# has to get in the form in which subscribers print it.
deal_out()
{
	awk -v n="$n_publishers" -v dir="$dir" 'BEGIN { RS = "" }
		{
			key = ""
			if (match($0, /(^|\n)Package: [^\n]*/)) {
				key = substr($0, RSTART, RLENGTH)
				sub(/^\n?Package: /, "", key)
			}
			if (!(key in owner))
				owner[key] = n_keys++ % n
			print $0 "\n" >(dir "/part." owner[key])
			printf "%s\001%s\002", key, $0
		}' "$dir/input" | tr '\002' '\000' >"$dir/want"
	n_records=$(count "$dir/want")
	n_bytes=$(stat -c %s "$dir/want")
	n_keys=$(tr '\000\n' '\n\002' <"$dir/want" | cut -d $'\001' -f1 | sort -u | wc -l)
}

count()
{
	tr -dc '\000' <"$1" | wc -c
}

# ---- the bus --------------------------------------------------------------------

daemon_pid()
{
	"$leat" stat --json 2>/dev/null | sed -n 's/.*"bus":{[^}]*"pid":\([0-9]*\).*/\1/p'
}

bus_answers()
{
	! is_gone "$keeper" || die 'the daemon ended'
	"$leat" stream ls >/dev/null 2>&1
}

start_bus()
{
	"$build/leatd" --keep --runtime "$dir/run" --data "$dir/data" >>"$dir/leatd.log" 2>&1 \
		</dev/null &
	keeper=$!
	LEAT_BUS=$dir/run/bus.sock
	until_true bus_answers || die 'the daemon does not answer'
}

stop_bus()
{
	kill -TERM "$keeper"
	until_true is_gone "$keeper" || die 'the daemon does not end'
	wait "$keeper" || die 'the daemon did not end properly'
	keeper=
}

answers_again()
{
	is_gone "$old_daemon" && "$leat" stream ls >/dev/null 2>&1
}

# ---- publishing and following -----------------------------------------------------

format='%k\x01%s\x00'

# A publisher's input: the second half only when the daemon has been killed.
feed()
{
	local half=$(($(stat -c %s "$dir/part.$1") / 2))
	head -c "$half" "$dir/part.$1"
	until_true test -e "$dir/killed"
	tail -c "+$((half + 1))" "$dir/part.$1"
}

start_subscribers()
{
	local i
	for ((i = 0; i < n_live; i++)); do
		"$leat" sub packages -o earliest -f "$format" -c "$n_records" \
			>"$dir/live.$i" 2>"$dir/live.$i.err" </dev/null &
		subscribers[i]=$!
		started+=("$!")
	done
}

start_publishers()
{
	local i
	for ((i = 0; i < n_publishers; i++)); do
		feed "$i" | "$leat" pub -q --paragraphs --key-regex '^Package: (.*)$' packages \
			2>"$dir/pub.$i.err" &
		publishers[i]=$!
		started+=("$!")
	done
}

is_half_way()
{
	[ "$(stat -c %s "$dir/live.0")" -ge $((n_bytes * 2 / 5)) ]
}

kill_daemon()
{
	local begin
	until_true is_half_way || die 'nothing reaches the live subscribers'
	begin=$(now_ms)
	kill -KILL "$old_daemon"
	: >"$dir/killed"
	until_true answers_again || die 'the daemon does not come back'
	away_ms=$(($(now_ms) - begin))
	new_daemon=$(daemon_pid)
}

# ---- proof ------------------------------------------------------------------------

# One line of digits for a file of records: sorted by key alone, so that the order of the records
# of each key counts, and sorted as a whole.
digest()
{
	printf '%s %s\n' \
		"$(sort -z -s -t $'\001' -k1,1 "$1" | sha256sum | cut -c1-16)" \
		"$(sort -z "$1" | sha256sum | cut -c1-16)"
}

prove()
{
	local name=$1 file=$2 n sums verdict='the same as the input'
	n=$(count "$file")
	sums=$(digest "$file")
	if [ "$n" != "$n_records" ] || [ "$sums" != "$want_sums" ]; then
		verdict='NOT WHAT WAS PUBLISHED'
		failed=1
	fi
	printf '  %-26s %9s  %s  %s  %s\n' "$name" "$(commas "$n")" "${sums% *}" "${sums#* }" \
		"$verdict"
}

# ---- report -------------------------------------------------------------------------

rate()
{
	local ms=$(($1 > 0 ? $1 : 1))
	echo "$(commas $((n_records * 1000 / ms))) records/s," \
		"$(human $((n_bytes * 1000 / ms)))/s"
}

latencies()
{
	echo
	echo 'This machine, and leat on it (leat bench --quick):'
	"$leat" bench --quick --runs 3 --dir "$dir" \
		--only ring,round-trip,append-sync,ack-durable,ring-rate,rate \
		>"$dir/bench" 2>"$dir/bench.err" || die "leat bench failed: $(cat "$dir/bench.err")"
	sed 's/^/  /; s/ *$//' "$dir/bench"
}

next_steps()
{
	local here=${build/#"$PWD"\//}
	cat <<-END

	Where to go next
	  README.md                     what leat promises, a publisher and a subscriber in C
	  man tools/leat.1 daemon/leatd.8 clientlib/man/leat.3
	  make check                    every test; tests/README.md says what each proves
	  Try it, in two terminals:
	    $here/leatd --keep &
	    $here/leat stream create hello
	    $here/leat sub hello                    # here
	    date | $here/leat pub hello             # there
	    $here/leat top
	END
}

# Everything from the first record to the last replay.
run_bus()
{
	local begin publish_ms live_ms replay_ms i
	start_bus
	"$leat" stream create packages --shards "$n_shards" --ring "${ring_kib}K" >/dev/null ||
		die 'the stream could not be made'
	say bus "a stream of $n_shards shards with rings of $ring_kib KiB: \
the input is $((n_bytes / (n_shards * ring_kib * 1024) + 1)) times what they hold"
	old_daemon=$(daemon_pid)
	start_subscribers
	begin=$(now_ms)
	start_publishers
	say publish "$n_publishers publishers at once, $n_live live subscribers"
	kill_daemon
	say 'kill -9' "the daemon (pid $old_daemon) in the middle; \
pid $new_daemon answers $away_ms ms later"
	for ((i = 0; i < n_publishers; i++)); do
		finish "${publishers[i]}" "publisher $i"
	done
	publish_ms=$(($(now_ms) - begin))
	for ((i = 0; i < n_live; i++)); do
		finish "${subscribers[i]}" "live subscriber $i"
	done
	live_ms=$(($(now_ms) - begin))
	rm -f "$dir/input" "$dir"/part.*
	say survived 'everybody: no publisher and no subscriber failed or had to be started again'
	say rates "$(rate "$publish_ms") published and durable, the kill included"
	say '' "$(rate "$live_ms") to each live subscriber"
	begin=$(now_ms)
	"$leat" replay packages --from earliest -f "$format" >"$dir/late" || die 'replay failed'
	replay_ms=$(($(now_ms) - begin))
	say replay "$(rate "$replay_ms") to a subscriber that comes late"
}

read_from_disk()
{
	"$leat" verify packages >"$dir/verify" || die "damage: $(cat "$dir/verify")"
	stop_bus
	start_bus
	"$leat" replay packages --from earliest -f "$format" >"$dir/disk" || die 'replay failed'
	stop_bus
	say disk 'every byte verified; read once more after a restart, without the rings'
}

prove_all()
{
	local i
	failed=0
	want_sums=$(digest "$dir/want")
	echo
	echo 'Proof: records, checksum of the records in order per key, checksum of all as a set'
	prove 'what was published' "$dir/want"
	for ((i = 0; i < n_live; i++)); do
		prove "live subscriber $((i + 1))" "$dir/live.$i"
	done
	prove 'late replay' "$dir/late"
	prove 'from disk, after a restart' "$dir/disk"
	[ "$failed" -eq 0 ] || die 'somebody did not get what was published'
}

main()
{
	if [ ! -x "$leat" ] || [ ! -x "$build/leatd" ]; then
		die "leat is not built in $build: run make"
	fi
	dir=$(mktemp -d "${TMPDIR:-/tmp}/leat-demo.XXXXXX") || exit 1
	trap clean_up EXIT
	trap 'exit 130' INT TERM HUP
	mkdir "$dir/run" "$dir/data"
	gather
	deal_out
	say input "$(commas "$n_records") records of $(commas "$n_keys") packages, \
$(human "$n_bytes"): the package database and $n_lists package lists"
	run_bus
	read_from_disk
	prove_all
	latencies
	next_steps
}

main
