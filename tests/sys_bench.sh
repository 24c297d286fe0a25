#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# TEST_TIMEOUT=600
# `leat bench` as a user has it: it measures without a bus being there, and leaves nothing behind.
. "$(dirname "$0")/harness.sh"

nothing_left()
{
	local left
	left=$(find "$dir/work" -mindepth 1)
	[ -z "$left" ] || fail "left behind: $left"
}

daemon_is_up()
{
	local socket
	socket=$(find "$dir/work" -name bus.sock)
	[ -n "$socket" ]
}

# The daemons that were started for a bench in this case's directory; the pattern, in which dots
# stand for the ends of arguments, is not its own match.
daemons()
{
	grep -l -a -e "--runtime.$dir/work[/]" /proc/[0-9]*/cmdline 2>/dev/null | grep -o '[0-9][0-9]*' || :
}

no_daemon_left()
{
	[ -z "$(daemons)" ]
}

everything_is_measured_and_named()
{
	local name
	mkdir "$dir/work"
	leat bench --quick --all --runs 1 --json --dir "$dir/work" >"$dir/bench.json" 2>"$dir/bench.err" ||
		fail "status $?: $(cat "$dir/bench.err" "$dir/bench.json")"
	for name in $(leat bench --list | awk '{ print $1 }'); do
		grep -q -e "\"$name\":{[^}]*\"runs\":\[[0-9]" \
			-e "\"$name\":{[^}]*\"is_peer\":true[^}]*\"skipped\":\"." "$dir/bench.json" ||
			fail "$name is not in $(cat "$dir/bench.json")"
	done
	nothing_left
	no_daemon_left || fail 'a daemon was left'
}

some_are_measured_with_their_floors()
{
	mkdir "$dir/work"
	leat bench --quick --runs 1 --dir "$dir/work" --only round-trip >"$dir/bench.out"
	has_text "$dir/bench.out" '^bare cache line' || fail 'no cache line'
	has_text "$dir/bench.out" '^two minimal rings' || fail 'no ring'
	has_text "$dir/bench.out" '^leat: two streams' || fail 'no leat'
	! has_text "$dir/bench.out" 'futex' || fail 'futex was not asked for'
}

a_bus_that_is_there_is_used_and_left_as_it_was()
{
	mkdir "$dir/work"
	bus_start
	leat stream create mine
	leat bench --quick --runs 1 --dir "$dir/work" --bus "$LEAT_BUS" --only rate,disk \
		>"$dir/bench.out"
	equal "$(leat stream ls | grep -c bench-)" 0 'streams of the bench that are left'
	leat stream describe mine >"$dir/describe.out"
	no_daemon_left || fail 'it started a daemon of its own'
	nothing_left
	bus_stop
}

a_report_is_a_page_with_charts_and_the_json()
{
	local file what
	mkdir "$dir/work"
	leat bench --quick --runs 1 --dir "$dir/work" --report "$dir/report" \
		--only round-trip-free,rate,pipe-round-trip,pipe-rate >"$dir/bench.out" 2>"$dir/bench.err" ||
		fail "status $?: $(cat "$dir/bench.err")"
	has_text "$dir/bench.err" "$dir/report/index.html" || fail 'it does not say where'
	for file in index.html bench.json round-trip.svg rate.svg; do
		[ -s "$dir/report/$file" ] || fail "no $file in $(ls "$dir/report")"
	done
	[ ! -e "$dir/report/disk.svg" ] || fail 'a chart of what was not measured'
	# Processor, kernel, version and date are on the page and on every chart.
	for what in "$(uname -r)" "leat $(leat --version | grep -o '[0-9][0-9.]*' | head -n 1)" \
		"$(date -u +%Y-%m-%d)" "$(sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo)"; do
		for file in index.html round-trip.svg rate.svg; do
			grep -q -F -e "$what" "$dir/report/$file" || fail "$what is not in $file"
		done
	done
	equal "$(grep -c '^<svg ' "$dir/report/index.html")" 2 'charts on the page'
	! grep -q -e '<script' -e 'src=' -e 'href=' "$dir/report/index.html" ||
		fail 'the page needs something else'
	if command -v xmllint >/dev/null; then
		xmllint --noout "$dir/report"/*.svg "$dir/report/index.html" 2>"$dir/xml.err" ||
			fail "not well-formed: $(head -n 5 "$dir/xml.err")"
	fi
	# A second report replaces the first one.
	leat bench --quick --runs 1 --dir "$dir/work" --report "$dir/report" --only futex \
		>"$dir/bench.out" 2>"$dir/bench.err"
	[ ! -e "$dir/report/rate.svg" ] || fail 'a chart of an earlier report is left'
	refused 1 leat bench --quick --runs 1 --only futex --report "$dir/none/report"
	has_text "$dir/refused" "$dir/none/report" || fail "what failed? $(cat "$dir/refused")"
	nothing_left
}

peers_can_be_left_out()
{
	mkdir "$dir/work"
	leat bench --quick --runs 1 --no-peers --json --dir "$dir/work" >"$dir/bench.json"
	! grep -q '"is_peer":true' "$dir/bench.json" || fail 'a peer was measured'
	has_text "$dir/bench.json" '"rate":' || fail 'leat was not measured'
	nothing_left
}

an_interrupt_cleans_up()
{
	local status=0
	mkdir "$dir/work"
	spawn bench leat bench --dir "$dir/work" --only round-trip --runs 50
	until_true 20 daemon_is_up || fail "no daemon: $(cat "$dir/bench.err")"
	# A background process of a shell ignores SIGINT.
	kill -TERM "$spawned"
	finish "$spawned" 20 || status=$?
	equal "$status" 143 'status'
	no_daemon_left || fail 'a daemon was left'
	nothing_left
}

advice_says_what_is_set_and_what_it_brings()
{
	local name
	mkdir "$dir/work"
	leat bench advise --quick --json --dir "$dir/work" >"$dir/advice.json" ||
		fail "status $?: $(cat "$dir/advice.json")"
	for name in transparent-huge-pages numa pinning spinning memlock rtprio \
		io-uring membarrier governor smt idle-states clock batching; do
		grep -q "\"$name\":{\"title\":\"[^}]*\"state\":\"[^}]*\"now\":\"[^\"]" \
			"$dir/advice.json" || fail "$name is not in $(cat "$dir/advice.json")"
	done
	for name in spinning batching membarrier clock; do
		grep -q "\"$name\":{[^}]*\"with\":[0-9.e+]*[1-9][^}]*\"gain\":[0-9]" \
			"$dir/advice.json" || fail "$name was not tried: $(cat "$dir/advice.json")"
	done
	nothing_left
	no_daemon_left || fail 'a daemon was left'
	leat bench advise --quick --dir "$dir/work" >"$dir/advice.out"
	has_text "$dir/advice.out" '^io_uring: ' || fail "no io_uring in $(cat "$dir/advice.out")"
	has_text "$dir/advice.out" '^  how  ' || fail "no remedy in $(cat "$dir/advice.out")"
	nothing_left
}

wrong_usage_is_refused()
{
	refused 2 leat bench --only nonsense
	has_text "$dir/refused" nonsense || fail "the name is not in: $(cat "$dir/refused")"
	refused 2 leat bench --runs 0
	refused 2 leat bench something
	refused 2 leat bench advise something
	refused 1 leat bench advise --quick --dir "$dir/none"
	refused 1 leat bench --quick --dir "$dir/none"
}

harness_case 'every workload is measured and named in the JSON' everything_is_measured_and_named
harness_case 'a selection brings the floors it is compared with' some_are_measured_with_their_floors
harness_case 'a bus that is there is used and left as it was' \
	a_bus_that_is_there_is_used_and_left_as_it_was
harness_case 'a report is a page with charts, the charts and the JSON' \
	a_report_is_a_page_with_charts_and_the_json
harness_case 'peers can be left out' peers_can_be_left_out
harness_case 'an interrupted bench cleans up' an_interrupt_cleans_up
harness_case 'advice says of each thing what is set, and of some what it brings' \
	advice_says_what_is_set_and_what_it_brings
harness_case 'wrong usage is refused with a sentence' wrong_usage_is_refused
harness_end
