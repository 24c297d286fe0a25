#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A symbol that other files can see starts with its file's base name, or with
# leat_ in the client library. Looks at the objects of the build in LEAT_BUILD.
set -eu
objects=${LEAT_BUILD:?needs the directory of a build}/obj
status=0
n_seen=0

for o in "$objects"/*/*.o; do
	[ -e "$o" ] || break
	folder=$(basename "$(dirname "$o")")
	base=$(basename "$o" .o)
	for s in $(nm -g --defined-only "$o" | awk '{ print $3 }'); do
		n_seen=$((n_seen + 1))
		case $folder/$s in
		*/"$base" | */"${base}"_* | clientlib/leat_* | */main) ;;
		# fail_calls.c is loaded before the C library and has its names.
		tests/*) ;;
		# The sanitizers' and gcov's own.
		*/__*) ;;
		*)
			echo "$folder/$base.c: $s does not start with ${base}_"
			status=1
			;;
		esac
	done
done
[ "$n_seen" -gt 0 ] || { echo "no symbols in $objects"; exit 1; }
exit $status
