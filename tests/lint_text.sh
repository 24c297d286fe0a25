#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Licence line first, no marks of unfinished work, no blanks at line ends, no
# check in tests/ whose failure is thrown away, shell that shellcheck accepts.
set -eu
. "$(dirname "$0")/lint_common.sh"

files=$(for d in Makefile $folders systemd .ci; do
	[ ! -e "$d" ] || find "$d" -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.mk' \
		-o -name '*.pml' -o -name '*.bash' -o -name Makefile -o -path .ci/run \)
done | sort)
need_some "$files"
status=0

found()
{
	echo "$1"
	status=1
}

for f in $files; do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
		found "$f: no SPDX line at the top"
done

# Spelled so that this file does not find itself.
marks='TO''DO|FIX''ME|XX''X|HA''CK'
grep -nwE "$marks" $files && found 'marks of unfinished work'
grep -nE '[[:blank:]]+$' $files && found 'blanks at the end of a line'
c_sources=$(c_files $folders)
grep -nE '^[[:blank:]]*//' $c_sources /dev/null && found 'comments are written /* so */'
grep -rnE '\|\| *tr''ue([^a-z]|$)' tests --include='*.sh' 2>/dev/null &&
	found 'a failure is thrown away'

if command -v shellcheck >/dev/null; then
	scripts=$(echo "$files" | grep -E '\.sh$|^\.ci/run$') || scripts=
	[ -z "$scripts" ] || shellcheck -x -P SCRIPTDIR -S warning $scripts || found 'shellcheck complains'
fi
exit $status
