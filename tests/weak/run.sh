#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the sources of shm/ for the weak machine and runs its cases, two parts at a time: that
# the machine is what it should be, that every case holds, and that every ordering call of the
# sources is missed when it orders nothing. Usage: run.sh [full | CASE]; `full` searches one
# surprise deeper, and takes its time.
set -eu
cd "$(dirname "$0")/../.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/leat-weak.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
weak=$dir/weak

# Plain loads and stores call the machine as well: the compiler's part of its race detector
# without the library that belongs to it.
hooks='-fsanitize=thread --param tsan-instrument-func-entry-exit=0 -U__SANITIZE_THREAD__'
flags='-std=gnu11 -D_GNU_SOURCE -O2 -g -I. -include tests/weak/atomic.h -Wall -Wextra
	-Wno-unused-value -Wno-unused-function'

compile()
{
	hooked=$1
	shift
	for c; do
		# shellcheck disable=SC2086
		gcc $flags $hooked -c -o "$dir/$(echo "$c" | tr / -).o" "$c"
	done
}

# shm/region.c is part of a case; the rest of shm/ is what it is in the product.
compile "$hooks" shm/ring.c shm/orphan.c shm/wait.c shm/clock.c \
	tests/weak/bed.c tests/weak/*_cases.c tests/weak/litmus.c
compile '' shm/record.c shm/crc32c.c tests/weak/machine.c tests/weak/world.c \
	tests/weak/controls.c tests/weak/main.c
gcc -o "$weak" "$dir"/*.o

if [ -n "${1-}" ] && [ "$1" != full ]; then
	"$weak" "$1"
	exit
fi

# Every ordering call that stands in shm/ is one that the program knows, or it has been compiled
# without it.
calls='(^|[^a-zA-Z0-9_])((load|store|xchg|cas|fetch_[a-z]+)_(acquire|release|acq_rel)|fence_[a-z]+|membarrier_sync)\('
# What stands elsewhere, and what of here it is.
elsewhere='daemon/drain.c membarrier_sync: kick_drain_sleeps in bell_cases.c does as drain_sleep
daemon/shard_drain.c load_acquire: as ring_tail()
daemon/shard_drain.c cas_acq_rel: repairs a tail that nobody may write; orders nothing'
"$weak" sites | sed 's|^\./||; s/ .*//' | sort -u >"$dir/known"
grep -nE "$calls" shm/*.[ch] | grep -v -e '^shm/atomic.h:' -e '^[^:]*:[0-9]*:[[:space:]]*/\?\*' |
	sed 's/^\([^:]*:[0-9]*\):.*/\1/' >"$dir/there"
[ -s "$dir/there" ] || { echo 'weak: no ordering call was found in shm/'; exit 1; }
if sort -u "$dir/there" | grep -vxFf "$dir/known" >"$dir/lost"; then
	sed 's/$/: an ordering call that the weak machine does not know/' "$dir/lost"
	echo '0 passed, 1 failed'
	exit 1
fi
grep -rnE "$calls" persist daemon clientlib tools --include='*.[ch]' >"$dir/others" || :
while IFS=: read -r file line text; do
	call=$(echo "$text" | grep -oE '[a-z_]+\(' | grep -E "$calls" | head -n 1)
	if ! echo "$elsewhere" | grep -q "^$file ${call%?}:"; then
		echo "$file:$line: ${call%?}: an ordering call outside of shm/ without a case"
		echo '0 passed, 1 failed'
		exit 1
	fi
done <"$dir/others"

[ "${1-}" != full ] || export LEAT_WEAK_DEEPER=1
"$weak" litmus >"$dir/litmus" || :
"$weak" controls >"$dir/controls" &
"$weak" cases >"$dir/cases" || :
wait
grep -hE '^(pass|FAIL)' "$dir/litmus" "$dir/cases" "$dir/controls"
passed=$(cat "$dir/litmus" "$dir/cases" "$dir/controls" | grep -c '^pass') || passed=0
failed=$(cat "$dir/litmus" "$dir/cases" "$dir/controls" | grep -c '^FAIL') || failed=0
ended=$(cat "$dir/litmus" "$dir/cases" "$dir/controls" | grep -c '^[0-9]* passed,') || ended=0
[ "$ended" = 3 ] || failed=$((failed + 1))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
