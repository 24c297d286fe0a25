# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the lints share. Sourced, never run. Each lint takes the root of the tree
# to look at, so that lint_selftest.sh can point it at a small bad example.

root=${1-.}
cd "$root" || exit 2
# shellcheck disable=SC2034
folders='shm persist daemon clientlib tools tests'

# The C files below the given folders that exist.
c_files()
{
	for c_dir; do
		[ ! -d "$c_dir" ] || find "$c_dir" -name '*.[ch]' -type f
	done | sort
}

# A lint that looked at nothing has proved nothing.
need_some()
{
	[ -n "$1" ] || { echo "${0##*/}: nothing to look at in $root"; exit 1; }
}
