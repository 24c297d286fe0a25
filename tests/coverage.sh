#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the test programs that have run in a build of VARIANT=cov have gone through: lines and
# branches of shm, persist and the control protocol, a row for each file. A line that nothing has
# reached has to be named in tests/uncovered.txt with a reason, and what is named there must not
# have been reached; status 1 if not so. Usage: coverage.sh BUILD/cov [LIST [TREE]]
set -eu
build=${1:?usage: coverage.sh BUILD/cov [LIST [TREE]]}
here=$(cd "$(dirname "$0")" && pwd)
list=${2:-$here/uncovered.txt}
tree=${3:-$here/..}
daemon='dispatch|protocol|session|server|permission|options|alter|attach|names|quantity|directory'
client='control|attach|describe|bus'

build=$(cd "$build" && pwd)
cd "$tree"
files=$(find shm persist -name '*.c' ! -name testpoint.c
	find daemon clientlib -name '*.c' |
		sed -nE "/^(daemon\/($daemon)|clientlib\/($client))[.]c\$/p")

# Every object says it anew, with test points and without: a line counts once, by its best.
find "$build" -name '*.gcda' | while read -r count; do
	gcov -t -b -c -o "$(dirname "$count")" "$count" 2>/dev/null || :
done | awk -v files="$(echo "$files" | tr '\n' ' ')" \
	-v wanted="^(shm/|persist/|daemon/($daemon)[.]|clientlib/($client)[.])" \
	-f "$here/coverage.awk" "$list" -
