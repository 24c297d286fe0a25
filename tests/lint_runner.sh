#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative control of tests/run.sh: what must not count as success does not,
# the numbers add up, and nothing that a test started is left behind.
set -eu

runner=$(cd "$(dirname "$0")" && pwd)/run.sh
tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-runner.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0

# program NAME LINES: a test that runs these lines.
program()
{
	printf '#!/bin/sh\n%s\n' "$2" >"$tmp/$1"
	chmod +x "$tmp/$1"
}

# expect STATUS LAST-LINE PROGRAM...
expect()
{
	local want=$1 line=$2 got=0 last
	shift 2
	"$runner" -t 1 -o "$tmp/logs" "${@/#/$tmp/}" >"$tmp/out" 2>&1 || got=$?
	last=$(tail -n 1 "$tmp/out")
	if [ "$got" != "$want" ] || [ "$last" != "$line" ]; then
		echo "run.sh $*: exit $got and '$last', not $want and '$line'"
		status=1
	fi
}

checks='echo "100%: Checks: 3, Failures: 0, Errors: 0"'
program good true
program bad false
program skipped 'exit 77'
program slow 'sleep 30'
program killed 'kill -SEGV $$'
program test_good "$checks; $checks"
program test_mute true
program test_empty 'echo "100%: Checks: 0, Failures: 0, Errors: 0"'
program test_one_bad 'echo "66%: Checks: 3, Failures: 1, Errors: 0"; exit 1'
program test_liar 'echo "66%: Checks: 3, Failures: 1, Errors: 0"'
program test_leak "$checks; exit 23"
program child "sleep 300 & echo \$! >$tmp/child.pid"
program interrupt 'grep -q "^SigIgn:.*[014589cd]$" /proc/self/status || exit 1
trap "exit 0" INT; kill -INT $$; exit 1'

expect 0 '1 passed, 0 failed, 0 skipped' good
expect 0 '6 passed, 0 failed, 0 skipped' test_good
expect 1 '0 passed, 1 failed, 0 skipped'
expect 1 '0 passed, 1 failed, 1 skipped' skipped
expect 0 '1 passed, 0 failed, 1 skipped' good skipped
expect 1 '1 passed, 1 failed, 0 skipped' good bad
expect 1 '0 passed, 1 failed, 0 skipped' slow
expect 1 '0 passed, 1 failed, 0 skipped' killed
expect 1 '0 passed, 1 failed, 0 skipped' not_there
expect 1 '0 passed, 1 failed, 0 skipped' test_mute
expect 1 '0 passed, 1 failed, 0 skipped' test_empty
expect 1 '2 passed, 1 failed, 0 skipped' test_one_bad
expect 1 '2 passed, 1 failed, 0 skipped' test_liar
expect 1 '2 passed, 1 failed, 0 skipped' test_leak
expect 0 '1 passed, 0 failed, 0 skipped' child
expect 0 '1 passed, 0 failed, 0 skipped' interrupt
# A dead child may wait for somebody to collect it.
alive()
{
	grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status"
}
child=$(cat "$tmp/child.pid")
for _ in $(seq 100); do
	alive "$child" || break
	sleep 0.01
done
if alive "$child"; then
	echo 'run.sh leaves a child of a test behind'
	kill "$child"
	status=1
fi
exit $status
