#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Includes point down only: holds the table of who may include what, ours and
# the libraries'. tests/ may include everything.
set -eu
. "$(dirname "$0")/lint_common.sh"

files=$(c_files shm persist daemon clientlib tools)
need_some "$files"

awk '
# Glob-free patterns: a regular expression of what a folder may include of ours.
BEGIN {
	ours["shm"] = "^shm/"
	ours["persist"] = "^(persist/|shm/(base|record|crc32c|testpoint)\\.h$)"
	ours["clientlib"] = "^(clientlib/|shm/|persist/(format|reader)\\.h$)"
	ours["daemon"] = "^(daemon/|shm/|persist/)"
	ours["tools"] = "^(tools/|clientlib/leat\\.h$)"
	formats = "^(shm/(record|base|layout)\\.h|persist/[a-z0-9_]+\\.h)$"
	libs["shm"] = "^$"
	libs["persist"] = "^liburing"
	libs["clientlib"] = "^(jansson|xxhash)"
	libs["daemon"] = "^(urcu|numa|sqlite3|jansson|systemd/)"
	libs["tools"] = "."
	external = "^(liburing|jansson|xxhash|urcu|numa|sqlite3|systemd/|check\\.h|lttng|json)"
}
function bad(why) {
	printf "%s:%d: %s\n", FILENAME, FNR, why
	n_bad++
}
/^[ \t]*#[ \t]*include[ \t]/ {
	folder = FILENAME
	sub(/\/.*/, "", folder)
	name = $0
	quoted = name ~ /include[ \t]*"/
	sub(/^[^"<]*["<]/, "", name)
	sub(/[">].*/, "", name)
	n_seen++
	if (FILENAME == "clientlib/leat.h" && name != "stddef.h" && name != "stdint.h")
		bad("leat.h includes only <stddef.h> and <stdint.h>, not " name)
	if (!quoted && name !~ external)
		next
	if (!quoted) {
		if (name !~ libs[folder])
			bad(folder " may not use the library of <" name ">")
		next
	}
	if (name !~ /\//)
		bad("\"" name "\" is not written from the root")
	else if (name !~ ours[folder] &&
		 !(FILENAME ~ /^tools\/cmd_(verify|dump)/ && name ~ formats))
		bad(folder " may not include \"" name "\"")
}
END {
	if (!n_seen)
		print "no include was found"
	exit n_bad > 0 || !n_seen
}' $files
