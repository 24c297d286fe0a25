#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test programs one after the other and counts what happened.
#
#   tests/run.sh [-o LOGDIR] [-t SECONDS] TEST...
#
# A libcheck program counts as many cases as it says it ran, anything else as
# one. Exit 77 means skipped. A program fuzz_X is given tests/corpus/fuzz_X.
# A test may raise its own time limit with a line `TEST_TIMEOUT=SECONDS` in its
# source. The last line printed is 'N passed, N failed, N skipped'; the exit
# status is 0 only if something passed and nothing failed.
set -u

logs=
limit=120
while getopts o:t: opt; do
	case $opt in
	o) logs=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$logs" ]; then
	logs=$(mktemp -d "${TMPDIR:-/tmp}/leat-tests.XXXXXX")
fi
mkdir -p "$logs" || exit 2
# libcheck gives a case four seconds, of which a machine may stand still for some.
export CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT-60}

n_passed=0
n_failed=0
n_skipped=0
group=

# Job control gives each test a process group of its own, the only thing that is
# ever signalled here.
set -m
stop_group()
{
	if [ -n "$group" ]; then
		kill -KILL -- "-$group" 2>/dev/null
		group=
	fi
}
trap 'stop_group; exit 130' INT TERM HUP

time_limit()
{
	local src
	src=tests/$(basename "$1" .sh)
	for src in "$src.c" "$src.sh"; do
		[ ! -f "$src" ] || sed -n 's/.*TEST_TIMEOUT=\([0-9][0-9]*\).*/\1/p' "$src"
	done | { read -r own && echo "$own" || echo "$limit"; }
}

# Prints the sums of all lines '…%: Checks: N, Failures: N, Errors: N' as
# 'programs checks bad', so that a program with several runners is counted whole.
check_sums()
{
	sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$1" |
		awk '{ n++; checks += $1; bad += $2 + $3 } END { print n + 0, checks + 0, bad + 0 }'
}

report()
{
	printf '%-7s %s%s\n' "$1" "$name" "${2:+ ($2)}"
}

count()
{
	local status=$1 log=$2 runners checks bad
	read -r runners checks bad < <(check_sums "$log")
	if [ "$status" -eq 77 ]; then
		n_skipped=$((n_skipped + 1))
		report SKIP "$(tail -n 1 "$log")"
		return
	fi
	if [ "$status" -eq 0 ]; then
		if [ "$runners" -eq 0 ]; then
			case $name in
			test_*) report FAIL 'ended without saying what it checked' ;;
			*)
				n_passed=$((n_passed + 1))
				report PASS "$took s"
				return
				;;
			esac
		elif [ "$checks" -eq 0 ] || [ "$bad" -ne 0 ]; then
			report FAIL "$checks cases, $bad bad, and yet exit 0"
			[ "$bad" -lt "$checks" ] && n_passed=$((n_passed + checks - bad))
		else
			n_passed=$((n_passed + checks))
			report PASS "$checks cases, $took s"
			return
		fi
		bad=$((bad > 0 ? bad : 1))
	else
		# A death outside of any case, such as a leak found at exit, is one failure.
		bad=$((bad > 0 ? bad : 1))
		[ "$bad" -le "$checks" ] && n_passed=$((n_passed + checks - bad))
		if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
			report FAIL "exit $status after $took s, limit $seconds s"
		else
			report FAIL "exit $status"
		fi
	fi
	n_failed=$((n_failed + bad))
	sed 's/^/    | /' "$log" | tail -n 200
}

run_one()
{
	local path=$1 log status start
	local args=()
	name=$(basename "$path")
	log=$logs/$name.log
	case $path in
	*/*) ;;
	*) path=./$path ;;
	esac
	case $name in
	fuzz_*)
		# A real fuzzer would go on for ever after the corpus.
		[ "${LEAT_VARIANT-}" != fuzz ] || args=(-runs=0)
		args+=("tests/corpus/$name")
		;;
	esac
	seconds=$(time_limit "$path")
	start=$SECONDS
	if [ ! -x "$path" ]; then
		echo "$path is not there or cannot be executed" >"$log"
		status=127
	else
		timeout --kill-after=5 "$seconds" "$path" "${args[@]}" \
			>"$log" 2>&1 </dev/null &
		group=$!
		wait "$group"
		status=$?
		stop_group
	fi
	took=$((SECONDS - start))
	count "$status" "$log"
}

for test; do
	run_one "$test"
done
if [ $((n_passed + n_failed)) -eq 0 ]; then
	echo 'no test was run'
	n_failed=1
fi
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
