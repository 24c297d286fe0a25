#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Memory order is written down: every call of an ordering function has a comment
# directly above it with a tag MO(edge.R) or MO(edge.A), every tag has its call,
# every edge has both sides, and the edges are those of the table that opens
# shm/ring.c. Each row of it names a model or a case for the weak machine that is there. Nobody but shm/atomic.h knows of <stdatomic.h>.
set -eu
. "$(dirname "$0")/lint_common.sh"

files=$(c_files shm persist daemon clientlib tools)
need_some "$files"
status=0

raw='stdatomic\.h|memory_order_|\batomic_[a-z_]+\(|__atomic_|__sync_'
everything=$(c_files $folders)
if grep -nE "$raw" $everything /dev/null | grep -v '^shm/atomic\.h:'; then
	echo 'atomics are used through shm/atomic.h only'
	status=1
fi

# What can show an edge: "model NAME" and "weak NAME".
proofs=$(mktemp)
trap 'rm -f "$proofs"' EXIT
for model in tests/model/*.pml; do
	[ ! -e "$model" ] || echo "model $(basename "$model" .pml)" >>"$proofs"
done
for cases in tests/weak/*_cases.c; do
	[ ! -e "$cases" ] || sed -n 's/.*\.name = "\(.*\)",.*/weak \1/p' "$cases" >>"$proofs"
done

awk -v proofs="$proofs" '
function bad(where, why) {
	print where ": " why
	n_bad++
}
# The tags of a comment hold for the calls directly below it, up to the next comment.
function drop_tags() {
	if (n_open > 0 && !used)
		bad(tag_at, "a tag without an ordering call directly below it")
	n_open = 0
}
function take_tags(text,   tag) {
	while (match(text, /MO\([a-z0-9_]+\.[RA]\)/)) {
		tag = substr(text, RSTART + 3, RLENGTH - 4)
		text = substr(text, RSTART + RLENGTH)
		if (n_open == 0) {
			tag_at = FILENAME ":" FNR
			tag_line = FNR
			used = 0
		}
		n_open++
		edge = substr(tag, 1, length(tag) - 2)
		edges[edge] = 1
		sides[tag] = tag_at
	}
}
# "model ring, weak publish short, test_shm_threads": files and cases of these names.
function shown_by(text,   part, word, n, i, k, words) {
	n = split(text, part, ",")
	for (i = 1; i <= n; i++) {
		words = split(part[i], word, " ")
		if (word[1] != "model" && word[1] != "weak")
			continue
		for (k = 2; k <= words; k++) {
			if (!(word[1] " " word[k] in shown))
				bad(FILENAME ":" FNR, "there is no " word[1] " " word[k])
			n_shown++
		}
	}
	if (!n_shown)
		bad(FILENAME ":" FNR, "no model and no case for the weak machine shows the edge")
	n_shown = 0
}
function table_row(   cell, n, i) {
	n = split($0, cell, "|")
	gsub(/[ \t`]/, "", cell[2])
	if (cell[2] == "edge" || cell[2] ~ /^-*$/)
		return
	if (n != 8)
		bad(FILENAME ":" FNR, "a row of the table of edges has six cells")
	for (i = 2; i < n; i++)
		if (cell[i] ~ /^[ \t]*$/)
			bad(FILENAME ":" FNR, "an empty cell in the table of edges")
	shown_by(cell[7])
	rows[cell[2]] = FILENAME ":" FNR
	n_rows++
}
FNR == 1 {
	drop_tags()
	in_comment = 0
	first_comment = 0
}
FILENAME == "shm/atomic.h" { next }
FILENAME == "shm/ring.c" && !code_seen && /^[ ]?\*?[ \t]*\|/ { table_row() }
{
	line = $0
	gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
	code = ""
	while (line != "") {
		if (in_comment) {
			i = index(line, "*/")
			text = i ? substr(line, 1, i - 1) : line
			take_tags(text)
			comment_end = FNR
			if (!i)
				break
			line = substr(line, i + 2)
			in_comment = 0
		} else {
			i = index(line, "/*")
			if (!i) {
				code = code line
				break
			}
			code = code substr(line, 1, i - 1)
			line = substr(line, i + 2)
			in_comment = 1
			if (code !~ call)
				drop_tags()
		}
	}
	if (FILENAME == "shm/ring.c" && code ~ /[^ \t]/)
		code_seen = 1
	if (code ~ call && code !~ /^#[ \t]*define/) {
		if (n_open < 1 || (FNR - tag_line > 6 && FNR - comment_end > 4)) {
			bad(FILENAME ":" FNR, "an ordering call without its MO() tag")
		} else {
			used = 1
		}
		n_calls++
	}
}
BEGIN {
	while ((getline name < proofs) > 0)
		shown[name] = 1
	call = "(^|[^a-zA-Z0-9_])((load|store|xchg|cas|fetch_[a-z]+)_(acquire|release|acq_rel|" \
		"seq_cst)|fence_(full|acquire|release|compiler)|membarrier_sync)[ \t]*\\("
}
END {
	drop_tags()
	for (e in edges) {
		if (!((e ".R") in sides))
			bad(sides[e ".A"], "edge " e " has no release side")
		if (!((e ".A") in sides))
			bad(sides[e ".R"], "edge " e " has no acquire side")
		if (!(e in rows))
			bad("shm/ring.c", "edge " e " is not in the table")
	}
	for (e in rows)
		if (!(e in edges))
			bad(rows[e], "edge " e " stands in the table and nowhere else")
	if (!n_calls || !n_rows)
		bad("shm", "no ordering call or no table of edges was found")
	exit n_bad > 0
}' $files || status=1
exit $status
