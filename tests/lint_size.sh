#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A function has at most 70 lines, a file 800, a line 100 columns, and blocks
# nest at most three deep.
set -eu
. "$(dirname "$0")/lint_common.sh"

files=$(c_files $folders)
need_some "$files"

awk '
function bad(why) {
	printf "%s:%d: %s\n", FILENAME, FNR, why
	n_bad++
}
function width(s,   i, col, c) {
	col = 0
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		col += c == "\t" ? 8 - col % 8 : 1
	}
	return col
}
FNR == 1 { open = 0 }
FNR == 801 { bad("a file has at most 800 lines") }
# A row of a table cannot be broken.
length($0) > 40 && !/^ \* \|.*\|$/ && width($0) > 100 { bad("a line has at most 100 columns") }
/^\{/ { open = FNR }
/^\}/ && open {
	# The line that names the function counts as well.
	if (FNR - open + 2 > 70)
		bad("a function of " FNR - open + 2 " lines, at most 70")
	open = 0
}
open && /^\t\t\t\t+(\} *)?(if|for|while|do|switch|else)[ ({].*\{$/ {
	bad("a block nested more than three deep")
}
END { exit n_bad > 0 }' $files
