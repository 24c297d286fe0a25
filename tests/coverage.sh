#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the test programs that have run in a build of VARIANT=cov have gone through: lines and
# branches of shm, persist and the control protocol, a row for each file, then the lines that
# nothing has reached. A process that is killed leaves no counts, so the figures are what is
# surely covered. Usage: coverage.sh BUILD/cov
set -eu
build=${1:?usage: coverage.sh BUILD/cov}
here=$(cd "$(dirname "$0")/.." && pwd)
control='dispatch|protocol|session|server|permission|options|alter|attach|names|quantity|directory'

build=$(cd "$build" && pwd)
cd "$here"
# A file that no test has run at all has no counts; its row says so.
files=$(find shm persist -name '*.c'; find daemon -name '*.c' | grep -E "/($control)[.]c$")

# Every object says it anew, with test points and without: a line counts once, by its best.
find "$build" -name '*.gcda' | while read -r count; do
	gcov -t -b -c -o "$(dirname "$count")" "$count" 2>/dev/null || :
done | awk -v files="$(echo "$files" | tr '\n' ' ')" \
	-v wanted="^(shm/|persist/|daemon/($control)[.])" '
function pct(n, of) {
	return of ? sprintf("%5.1f %% of %5d", 100 * n / of, of) : "      -       "
}
/^ *-: *0:Source:/ {
	file = $0
	sub(/.*Source:(\.\/)?/, "", file)
	mine = file ~ wanted
	next
}
!mine { next }
/^branch / {
	branch = file SUBSEP line SUBSEP $2
	if (!(branch in taken))
		taken[branch] = 0
	if ($3 == "taken" && $4 > 0)
		taken[branch] = 1
	next
}
/^ *[0-9#=-]+[*]?: *[0-9]+:/ {
	split($0, part, ":")
	count = part[1]
	line = part[2] + 0
	gsub(/[ *]/, "", count)
	if (count == "-" || line == 0)
		next
	where = file SUBSEP line
	if (!(where in run))
		run[where] = 0
	if (count !~ /^[#=]/)
		run[where] = 1
	text[where] = substr($0, index($0, part[2] ":") + length(part[2]) + 1)
}
END {
	for (where in run) {
		split(where, part, SUBSEP)
		files_run[part[1]] = 1
		lines[part[1]]++
		lines_run[part[1]] += run[where]
		if (part[2] > last[part[1]])
			last[part[1]] = part[2] + 0
	}
	for (branch in taken) {
		split(branch, part, SUBSEP)
		branches[part[1]]++
		branches_run[part[1]] += taken[branch]
	}
	for (file in files_run)
		names[file] = 1
	n_known = split(files, known, " ")
	for (i = 1; i <= n_known; i++)
		names[known[i]] = 1
	n = 0
	for (file in names)
		name[++n] = file
	for (i = 2; i <= n; i++)
		for (k = i; k > 1 && name[k] < name[k - 1]; k--) {
			swap = name[k]
			name[k] = name[k - 1]
			name[k - 1] = swap
		}
	printf "%-28s %16s  %16s\n", "file", "lines", "branches"
	for (i = 1; i <= n; i++) {
		f = name[i]
		if (!lines[f]) {
			printf "%-28s never run\n", f
			continue
		}
		printf "%-28s %16s  %16s\n", f, pct(lines_run[f], lines[f]),
			pct(branches_run[f], branches[f])
		all += lines[f]
		all_run += lines_run[f]
		b += branches[f]
		b_run += branches_run[f]
	}
	printf "%-28s %16s  %16s\n\n", "all", pct(all_run, all), pct(b_run, b)
	print "not reached:"
	for (i = 1; i <= n; i++)
		for (k = 1; k <= last[name[i]]; k++)
			if (((name[i] SUBSEP k) in run) && !run[name[i] SUBSEP k])
				printf "%s:%d:%s\n", name[i], k, text[name[i] SUBSEP k]
	exit !all_run
}'
