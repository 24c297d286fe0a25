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
# Who runs a gate here may be another user.
chmod 755 "$top"
n_good=0
n_bad=0

# Objects and sources keep their times, so that only what is changed is compiled.
mkdir "$top/src" "$top/o" || exit 2
cp -a "$here"/{Makefile,LICENSE,README.md,shm,persist,daemon,clientlib,tools,tests,systemd} \
	"$top/src/" || exit 2
cp -a "$build" "$top/o/$variant" || exit 2
# What depends on a header is known by the objects' new place.
find "$top/o" -name '*.d' -exec sed -i "s|^[^ :]*/$variant/|$top/o/$variant/|" {} + || exit 2

# What a gate runs.
build_gate()
{
	local out=$top/o/$variant targets
	case $1 in
	*.sh) targets=("$out/leatd" "$out/leat") ;;
	*) targets=("$out/tests/$1" "$out/tests/leatd" "$out/leatd" "$out/leat") ;;
	esac
	make -C "$top/src" -s O="$top/o" VARIANT="$variant" -j2 "${targets[@]}" >"$top/log" 2>&1
}

# run_gate [NAME=VALUE...] GATE
run_gate()
{
	local program=$top/o/$variant/tests/${!#}
	[[ $program != *.sh ]] || program=$top/src/tests/${!#}
	(cd "$top/src" && env LEAT_BUILD="$top/o/$variant" "${@:1:$#-1}" "$program") \
		>"$top/log" 2>&1 </dev/null
}

# A gate that fails says of what; one that is skipped, cannot be run, or is ended, proves nothing.
is_red()
{
	case $1 in
	1 | 99) grep -q -e '^FAILED ' -e '^[0-9]*%: Checks: [1-9]' \
		-e '^tests/[a-z_]*\.c:[0-9]*: ' "$top/log" ;;
	*) return 1 ;;
	esac
}

# control WHAT FILE SED [NAME=VALUE...] GATE: a program or script of tests/. Chance has a part in
# many gates, in when who is killed or which call fails: one may be green twice and is red then.
control()
{
	local what=$1 file=$top/src/$2 status=0 attempts=3
	cp -a "$file" "$top/kept"
	sed -i "$3" "$file"
	if cmp -s "$file" "$top/kept"; then
		echo "FAILED  $what: the guard in $2 is not where it was"
		n_bad=$((n_bad + 1))
		return
	fi
	shift 3
	if build_gate "${!#}"; then
		while [ "$status" -eq 0 ] && ((attempts-- > 0)); do
			run_gate "$@" || status=$?
		done
	else
		status=build
	fi
	if is_red "$status"; then
		echo "ok      $what"
		n_good=$((n_good + 1))
	else
		tail -n 20 "$top/log"
		echo "FAILED  $what: ${!#} ends with $status"
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
