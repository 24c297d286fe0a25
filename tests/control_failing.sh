#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The negative controls of sys_failing_daemon and sys_failing_commands: in a copy of the tree a
# check of a result is taken out, the program is built again, and the gate has to fail. A check
# that is not where it was is a failure too.
# TEST_TIMEOUT=1800
set -u

here=$(cd "$(dirname "$0")/.." && pwd) || exit 2
build=$(cd "${LEAT_BUILD-$here/build/release}" && pwd) || exit 2
variant=$(basename "$build")
if [ ! -e "$build/tests/fail_calls.so" ]; then
	echo 'the sanitizers of this build want to be loaded first'
	exit 77
fi
top=$(mktemp -d "${TMPDIR:-/tmp}/leat-control.XXXXXX") || exit 2
trap 'rm -rf "$top"' EXIT
n_good=0
n_bad=0

# Objects and sources keep their times, so that only what is changed is compiled.
mkdir "$top/src" "$top/o" || exit 2
cp -a "$here"/{Makefile,shm,persist,daemon,clientlib,tools,tests} "$top/src/" || exit 2
cp -a "$build" "$top/o/$variant" || exit 2

# control FILE SED PROGRAM GATE FUNCTION WHY: only calls of that function fail.
control()
{
	local file=$top/src/$1 program=$3 status=0
	cp -a "$file" "$top/kept"
	sed -i "$2" "$file"
	if cmp -s "$file" "$top/kept"; then
		echo "FAILED  $6: the check in $1 is not where it was"
		n_bad=$((n_bad + 1))
		return
	fi
	if make -C "$top/src" -s O="$top/o" VARIANT="$variant" -j2 "$top/o/$variant/$program" \
		>"$top/make.log" 2>&1; then
		(cd "$top/src" && LEAT_BUILD=$top/o/$variant LEAT_SEED=1 LEAT_FAIL_FN=$5 \
			LEAT_FAIL_BAD=1 LEAT_FAILS=1000 "$top/o/$variant/tests/$4") \
			>"$top/log" 2>&1 || status=$?
	else
		cat "$top/make.log"
		status=build
	fi
	if [ "$status" = 1 ] && grep -q '^FAILED .* at: ' "$top/log"; then
		echo "ok      $6: $(grep -m 1 '^FAILED .* at: ' "$top/log")"
		n_good=$((n_good + 1))
	else
		echo "FAILED  $6: $4 ends with $status"
		tail -n 20 "$top/log"
		n_bad=$((n_bad + 1))
	fi
	cp -a "$top/kept" "$file"
	touch "$file"
}

control persist/store.c '/^static void write_done/,/^}/s/write->result = result;/write->result = result < 0 ? 0 : result;/' \
	leatd sys_failing_daemon pwrite 'an error of write that nobody looks at'
control daemon/stream.c '/^static int stream_job_new/,/^}/s/if (!job)/if (false)/' \
	leatd sys_failing_daemon calloc 'a request for which there is no memory'
control tools/table.c '/^void table_print/,/^}/s/if (table->failed)/if (false)/' \
	leat sys_failing_commands reallocarray 'a table that lacks a cell'

echo "$n_good hold, $n_bad do not"
[ "$n_bad" -eq 0 ] && [ "$n_good" -gt 0 ]
