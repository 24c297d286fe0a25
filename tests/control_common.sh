#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the control_ scripts share: in a copy of the tree a guard is taken out, the gate is built
# again and has to fail. A guard that is not where it was is a failure too. Sourced, never run.

here=$(cd "$(dirname "$0")/.." && pwd) || exit 2
build=$(cd "${LEAT_BUILD-$here/build/release}" && pwd) || exit 2
variant=$(basename "$build")
top=$(mktemp -d "${TMPDIR:-/tmp}/leat-control.XXXXXX") || exit 2
trap 'rm -rf "$top"' EXIT
n_good=0
n_bad=0

# Objects and sources keep their times, so that only what is changed is compiled.
mkdir "$top/src" "$top/o" || exit 2
cp -a "$here"/{Makefile,shm,persist,daemon,clientlib,tools,tests} "$top/src/" || exit 2
cp -a "$build" "$top/o/$variant" || exit 2

build_it()
{
	make -C "$top/src" -s O="$top/o" VARIANT="$variant" -j2 \
		"$top/o/$variant/tests/$1" "$top/o/$variant/tests/leatd" "$top/o/$variant/leatd" \
		>"$top/make.log" 2>&1
}

# control FILE SED PROGRAM CASE WHY [KIND]: KIND is one of those of sys_damage.
control()
{
	local file=$top/src/$1 program=$3 status=0
	cp -a "$file" "$top/kept"
	sed -i "$2" "$file"
	if cmp -s "$file" "$top/kept"; then
		echo "FAILED  $5: the guard in $1 is not where it was"
		n_bad=$((n_bad + 1))
		return
	fi
	if build_it "$program"; then
		(cd "$top/src" && LEAT_BUILD=$top/o/$variant LEAT_KIND=${6-} CK_RUN_CASE=$4 \
			"$top/o/$variant/tests/$program") >"$top/log" 2>&1 || status=$?
	else
		cat "$top/make.log"
		status=build
	fi
	if [ "$status" = 1 ] && grep -q '^[0-9]*%: Checks: [1-9]' "$top/log"; then
		echo "ok      $5"
		n_good=$((n_good + 1))
	else
		echo "FAILED  $5: $program ends with $status"
		n_bad=$((n_bad + 1))
	fi
	cp -a "$top/kept" "$file"
	touch "$file"
}

# The script's last word.
control_end()
{
	echo "$n_good hold, $n_bad do not"
	[ "$n_bad" -eq 0 ] && [ "$n_good" -gt 0 ]
}
