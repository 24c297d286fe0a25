#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The peers of `leat bench`: each has figures or a word why not, and none leaves anything behind.
. "$(dirname "$0")/harness.sh"

peers='pipe-*,datagram-*,seqpacket-*,zeromq-*,nng-*,redis-*,nats-*'

# row NAME: the object of that workload in $dir/bench.json.
row()
{
	grep -o "\"$1\":{\"title\"[^}]*" "$dir/bench.json" || fail "$1 is not in the JSON"
}

# What was started for a bench in this case's directory: its daemon, drivers and servers. One
# look for all, because a machine has many processes; the pattern is not its own match.
helpers()
{
	grep -l -e "$dir/work[/]leat-bench" /proc/[0-9]*/cmdline 2>/dev/null | grep -o '[0-9][0-9]*' || :
}

server_is_up()
{
	local pid
	for pid in $(helpers); do
		# Redis makes one word of its command line.
		if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]; then
			return 0
		fi
	done
	return 1
}

nothing_is_left()
{
	local left
	[ -z "$(helpers)" ] || fail "processes were left: $(for p in $(helpers); do process_name "$p"; done)"
	left=$(find "$dir/work" -mindepth 1)
	[ -z "$left" ] || fail "left behind: $left"
}

# needs SERVER DRIVER: skips the case where there is no such peer.
needs()
{
	local found
	found=$(PATH=$PATH:/usr/sbin command -v "$1") || skip "$1 is not installed"
	[ -n "$found" ] && [ -x "$LEAT_BUILD/leat-bench-$2" ] || skip "leat-bench-$2 was not built"
}

every_peer_has_figures_or_a_word_why_not()
{
	local name object n=0
	mkdir "$dir/work"
	leat bench --quick --runs 1 --json --only "$peers" --dir "$dir/work" >"$dir/bench.json" \
		2>"$dir/bench.err" || fail "status $?: $(cat "$dir/bench.err" "$dir/bench.json")"
	for name in $(leat bench --list | awk '$2 == "peer" { print $1 }'); do
		object=$(row "$name")
		[[ $object == *'"is_peer":true'* ]] || fail "$name is not marked: $object"
		if [[ $object == *'"skipped":"'?* ]]; then
			[[ $object == *'"runs":[]'* ]] || fail "skipped with figures: $object"
		else
			[[ $object =~ \"runs\":\[[0-9] ]] || fail "neither figure nor word: $object"
			[[ $object =~ \"leat_times\":[0-9] ]] || fail "not compared: $object"
		fi
		n=$((n + 1))
	done
	[ "$n" -ge 20 ] || fail "only $n peers' rows"
	nothing_is_left
}

a_server_that_is_not_installed_is_skipped_with_a_word()
{
	local server
	mkdir "$dir/work" "$dir/empty"
	PATH=$dir/empty "$LEAT_BUILD/leat" bench --quick --runs 1 --only 'redis-rate,nats-rate' \
		--dir "$dir/work" >"$dir/bench.out" 2>&1 || fail "status $?: $(cat "$dir/bench.out")"
	for server in redis nats; do
		if [ -x "$LEAT_BUILD/leat-bench-$server" ]; then
			has_text "$dir/bench.out" \
				"^skipped: $server-server is not installed (apt install $server-server)" ||
				fail "no word about $server in $(cat "$dir/bench.out")"
		fi
	done
	has_text "$dir/bench.out" '^leat: 1 to 1' || fail 'leat was not measured'
	nothing_is_left
}

a_peer_without_a_driver_is_skipped_with_a_word()
{
	local package
	mkdir "$dir/work" "$dir/bin"
	cp "$LEAT_BUILD/leat" "$LEAT_BUILD/leatd" "$dir/bin"
	"$dir/bin/leat" bench --quick --runs 1 --dir "$dir/work" --only "pipe-rate,*-rate" \
		>"$dir/bench.out" 2>&1 || fail "status $?: $(cat "$dir/bench.out")"
	for package in libzmq3-dev libnng-dev libhiredis-dev libnats-dev; do
		equal "$(grep -c "^skipped: leat was built without .*$package" "$dir/bench.out")" 1 \
			"lines about $package"
	done
	has_text "$dir/bench.out" '^pipe: 1 to 1' || fail 'the kernel needs no driver'
	nothing_is_left
}

# Ctrl-C reaches every process of the terminal's group; what the bench started is in others.
interrupted_in_the_middle_of()
{
	local server=$1 rows=$2 pid status=0
	mkdir "$dir/work"
	set -m
	leat bench --dir "$dir/work" --only "$rows" --runs 50 >"$dir/bench.out" 2>&1 </dev/null &
	pid=$!
	set +m
	started+=("$pid")
	until_true 30 server_is_up "$server" || fail "no $server: $(cat "$dir/bench.out")"
	kill -INT -- "-$pid"
	finish "$pid" 20 || status=$?
	equal "$status" 130 'status'
	nothing_is_left
}

an_interrupt_ends_redis()
{
	needs redis-server redis
	interrupted_in_the_middle_of redis-server redis-rate
}

an_interrupt_ends_nats()
{
	needs nats-server nats
	interrupted_in_the_middle_of nats-server nats-rate
}

nobody_is_left()
{
	[ -z "$(helpers)" ]
}

# Without a moment to clean up: neither the bench nor its driver can end the server any more.
a_bench_that_is_killed_takes_its_servers_along()
{
	local pid victims=()
	needs redis-server redis
	mkdir "$dir/work"
	spawn bench leat bench --dir "$dir/work" --only redis-disk-unsynced --runs 50
	until_true 60 server_is_up redis-server || fail "no server: $(cat "$dir/bench.err")"
	for pid in $(helpers); do
		if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == leat-bench* ]]; then
			victims+=("$pid")
		fi
	done
	[ "${#victims[@]}" -gt 0 ] || fail "no driver among $(helpers)"
	kill -KILL "$spawned" "${victims[@]}"
	until_true 20 nobody_is_left || fail "left: $(helpers)"
}

harness_case 'every peer has figures or a word why not' every_peer_has_figures_or_a_word_why_not
harness_case 'a server that is not installed is skipped with a word' \
	a_server_that_is_not_installed_is_skipped_with_a_word
harness_case 'a peer without a driver is skipped with a word' \
	a_peer_without_a_driver_is_skipped_with_a_word
harness_case 'Ctrl-C in the middle of Redis leaves nothing behind' an_interrupt_ends_redis
harness_case 'Ctrl-C in the middle of NATS leaves nothing behind' an_interrupt_ends_nats
harness_case 'a bench that is killed takes its servers along' \
	a_bench_that_is_killed_takes_its_servers_along
harness_end
