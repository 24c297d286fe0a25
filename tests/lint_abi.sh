#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What libleat.so exports, what clientlib/libleat.map lists and what
# clientlib/leat.h declares is the same set of functions; libleat.a shows no more.
set -eu
. "$(dirname "$0")/lint_common.sh"
build=${LEAT_BUILD:?needs the directory of a build}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-abi.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0

nm -D --defined-only "$build/libleat.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' |
	sort -u >"$tmp/exported"
nm -g --defined-only "$build/libleat.a" | awk '$2 == "T" { print $3 }' | sort -u >"$tmp/archive"
sed -n 's/^[[:space:]]*\(leat_[a-z0-9_]*\);.*/\1/p' clientlib/libleat.map | sort -u >"$tmp/map"
# Preprocessed, so that comments and macros do not count; a declaration may span lines.
${CC:-gcc} -E -P clientlib/leat.h | tr '\n' ' ' | tr ';{}' '\n\n\n' |
	sed -n '/typedef/d; s/^[^(]*[ *]\(leat_[a-z0-9_]*\) *(.*/\1/p' | sort -u >"$tmp/header"

[ -s "$tmp/header" ] || { echo 'leat.h declares nothing'; status=1; }
for other in exported archive map; do
	if ! diff -U0 --label leat.h --label "$other" "$tmp/header" "$tmp/$other"; then
		echo "leat.h and the symbols of $other differ"
		status=1
	fi
done
exit $status
