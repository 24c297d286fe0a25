#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The documents and the headers say the same: every field of the asserted structs
# stands in a row `| offset | size | name |` below a heading that names the
# struct, and the other way round. Sizes follow from the next field's offset,
# which holds because the compiler refuses padding there; where an assert's
# message states offset and size as well, it has to be right.
set -eu
. "$(dirname "$0")/lint_common.sh"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/leat-format.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
status=0

# Prints 'struct field offset size', and 'struct - 0 size' for the whole.
from_headers()
{
	cat "$@" | tr '\n\t' '  ' | sed 's/_Static_assert/\n&/g' | awk '
	/^_Static_assert\(sizeof\(struct [a-z0-9_]+\) *== *[0-9]+/ {
		s = $0
		sub(/.*sizeof\(struct /, "", s)
		name = s
		sub(/\).*/, "", name)
		sub(/[^=]*== */, "", s)
		total[name] = s + 0
		order[++n_structs] = name
	}
	/^_Static_assert\(offsetof\(struct [a-z0-9_]+, *[a-z0-9_]+\) *== *[0-9]+/ {
		s = $0
		sub(/^[^(]*\(offsetof\(struct /, "", s)
		name = field = s
		sub(/,.*/, "", name)
		sub(/[^,]*, */, "", field)
		sub(/\).*/, "", field)
		sub(/[^=]*== */, "", s)
		i = ++n_fields[name]
		fields[name, i] = field
		offsets[name, i] = s + 0
		if (match(s, /"[^"]*"/))
			said[name, i] = substr(s, RSTART + 1, RLENGTH - 2)
	}
	END {
		for (k = 1; k <= n_structs; k++) {
			name = order[k]
			print name, "-", 0, total[name]
			for (i = 1; i <= n_fields[name]; i++) {
				end = i < n_fields[name] ? offsets[name, i + 1] : total[name]
				off = offsets[name, i]
				line = name "." fields[name, i] " " off " " end - off
				if (said[name, i] ~ / [0-9]+ [0-9]+$/ && said[name, i] != line)
					print "message-is-wrong", said[name, i], "is", line
				print name, fields[name, i], off, end - off
			}
			delete n_fields[name]
		}
		for (name in n_fields)
			print name, "has-no-size-assert"
	}'
}

# The same from a document; the struct is the word of a heading that the list
# of structs (the first file) knows.
from_document()
{
	awk '
	FNR == NR { known[$1] = 1; next }
	/^#+ / {
		line = $0
		gsub(/[^a-z0-9_]+/, " ", line)
		n = split(line, word, " ")
		name = ""
		for (i = 1; i <= n; i++)
			if (word[i] in known)
				name = word[i]
	}
	name != "" && /^\|[ \t]*[0-9]+[ \t]*\|[ \t]*[0-9]+[ \t]*\|/ {
		split($0, cell, "|")
		gsub(/[ \t`]/, "", cell[4])
		print name, cell[4], cell[2] + 0, cell[3] + 0
	}' "$1" "$2"
}

# Arguments: document, headers.
compare()
{
	doc=$1
	shift
	for f in "$doc" "$@"; do
		[ -f "$f" ] || { echo "$f is missing"; status=1; return; }
	done
	from_headers "$@" >"$tmp/all"
	if ! grep -q . "$tmp/all"; then
		echo "$*: no struct asserts were found"
		status=1
	fi
	grep -v ' - 0 ' "$tmp/all" | sort >"$tmp/headers" || status=1
	from_document "$tmp/all" "$doc" | sort >"$tmp/document"
	if ! diff -U0 --label "$*" --label "$doc" "$tmp/headers" "$tmp/document"; then
		echo "$doc and $* differ (struct, field, offset, size)"
		status=1
	fi
}

compare shm/FORMAT.md shm/layout.h shm/record.h
compare persist/FORMAT.md persist/format.h
exit $status
