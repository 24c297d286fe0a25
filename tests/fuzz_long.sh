#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs fuzzers made with VARIANT=fuzz, one after the other, for $FUZZ_SECONDS each (60), or until
# each has executed $FUZZ_RUNS inputs if that is set, from their corpus on. What they find new goes
# to $FUZZ_CORPUS/<name of the program> if that is set, and what makes one fail to the current
# directory. Usage: fuzz_long.sh PROGRAM...
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ "${LEAT_VARIANT-}" = fuzz ] || { echo 'fuzzers are made with VARIANT=fuzz' >&2; exit 2; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-fuzz-long.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
n_passed=0
n_failed=0

limit=-max_total_time=${FUZZ_SECONDS:-60}
[ -z "${FUZZ_RUNS-}" ] || limit=-runs=$FUZZ_RUNS

for program; do
	name=$(basename "$program")
	found=${FUZZ_CORPUS:-$tmp}/$name
	mkdir -p "$found"
	status=0
	# No input of the corpus is cut off: a segment has a header of 4 KiB before anything is read.
	longest=$(find "$here/corpus/$name" -type f -printf '%s\n' | sort -n | tail -n 1)
	[ "$longest" -ge 2000 ] || longest=2000
	# What an input leaves to the next one is no leak; what is left at the end is looked for.
	# Standard error and output are the fuzzer's alone: targets may be talkative.
	"$program" "$limit" -max_len="$longest" -timeout=100 -detect_leaks=0 \
		-rss_limit_mb=4096 -close_fd_mask=3 -print_final_stats=1 -artifact_prefix="$name-" \
		"$found" "$here/corpus/$name" >"$tmp/log" 2>&1 || status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$tmp/log")
	if [ "$status" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
		n_passed=$((n_passed + 1))
		printf 'PASS    %-24s %s executions\n' "$name" "$runs"
	else
		n_failed=$((n_failed + 1))
		printf 'FAIL    %-24s exit %s\n' "$name" "$status"
		tail -n 40 "$tmp/log"
	fi
done
echo "$n_passed passed, $n_failed failed"
[ "$n_failed" -eq 0 ]
