# SPDX-License-Identifier: Apache-2.0
# Reads tests/uncovered.txt, then what gcov -t -b -c prints, and says what was gone through; see
# tests/coverage.sh. Variables: files, those that have to be there; wanted, an expression that
# the names of those that count match.

function pct(n, of)
{
	return of ? sprintf("%5.1f %% of %5d", 100 * n / of, of) : "      -       "
}

function trimmed(s)
{
	gsub(/^[ \t]+|[ \t]+$/, "", s)
	return s
}

function complain(what, key)
{
	printf "%s: %s\n", what, key
	n_bad++
}

# ---- the list: a reason after '#', then what it is for: 'FILE FUNCTION: LINE' for each line,
# 'FILE FUNCTION (N) FUNCTION (N)' for ways that decisions in their lines do not go, N at most ----

FNR == NR && /^#/ {
	reason = $0
	next
}
FNR == NR && /^[^ ]+( [^ ]+ \([0-9]+\))+$/ {
	for (i = 2; i < NF; i += 2) {
		named_ways[$1 " " $i] += substr($(i + 1), 2) + 0
		why_ways[$1 " " $i] = reason
	}
	next
}
FNR == NR && NF {
	listed[$0]++
	why[$0] = reason
	next
}
FNR == NR { next }

# ---- what gcov says of each object ----

/^ *-: *0:Source:/ {
	file = $0
	sub(/.*Source:(\.\/)?/, "", file)
	mine = file ~ wanted
	fn = "-"
	next
}
!mine { next }
# A definition begins in the first column, and its name stands before the first parenthesis.
/^ *[^:]*: *[0-9]+:[a-z][^;]*\(/ {
	fn = substr($0, 1, index($0, "(") - 1)
	sub(/.*[^a-z0-9_]/, "", fn)
}
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
	source[file, line] = substr($0, index($0, part[2] ":") + length(part[2]) + 1)
	if (count == "-" || line == 0)
		next
	where = file SUBSEP line
	if (!(where in run))
		run[where] = 0
	if (count !~ /^[#=]/)
		run[where] = 1
	text[where] = trimmed(source[where])
	of_fn[where] = fn
	if (line > last[file])
		last[file] = line
}

# ---- what comes of it ----

function sort_names(    i, k, swap)
{
	for (i = 2; i <= n_names; i++)
		for (k = i; k > 1 && name[k] < name[k - 1]; k--) {
			swap = name[k]
			name[k] = name[k - 1]
			name[k - 1] = swap
		}
}

function sums(    where, branch, part, known, n, i, f)
{
	for (where in run) {
		split(where, part, SUBSEP)
		names[part[1]] = 1
		lines[part[1]]++
		lines_run[part[1]] += run[where]
	}
	for (branch in taken) {
		split(branch, part, SUBSEP)
		branches[part[1]]++
		branches_run[part[1]] += taken[branch]
		if (!taken[branch])
			one_way[part[1], part[2]]++
	}
	n = split(files, known, " ")
	for (i = 1; i <= n; i++)
		names[known[i]] = 1
	for (f in names)
		name[++n_names] = f
	sort_names()
}

function table(    i, f, all, all_run, b, b_run)
{
	printf "%-28s %16s  %16s\n", "file", "lines", "branches"
	for (i = 1; i <= n_names; i++) {
		f = name[i]
		if (!lines[f])
			complain("no test is built with it", f)
		printf "%-28s %16s  %16s\n", f, pct(lines_run[f], lines[f]),
			pct(branches_run[f], branches[f])
		all += lines[f]
		all_run += lines_run[f]
		b += branches[f]
		b_run += branches_run[f]
	}
	printf "%-28s %16s  %16s\n\n", "all", pct(all_run, all), pct(b_run, b)
	if (!all_run)
		complain("nothing was run", "all")
}

# The line goes on with a statement that was not reached either: it is named with that.
function goes_on(f, k)
{
	while (source[f, k - 1] ~ /[,"(=?&|]$/) {
		k--
		if ((f SUBSEP k) in run)
			return !run[f, k]
	}
	return 0
}

# Ways that no decision of a function goes, in lines that are reached: no more than are named.
function judge_ways(    i, k, where, key, fn_ways, n)
{
	for (where in one_way) {
		split(where, part, SUBSEP)
		if (run[where])
			fn_ways[part[1] " " of_fn[where]] += one_way[where]
	}
	for (key in fn_ways) {
		n += fn_ways[key]
		if (fn_ways[key] > named_ways[key] + 0)
			complain("ways that no decision goes, and no reason is named for more than " \
				named_ways[key] + 0, key " (" fn_ways[key] ")")
	}
	for (key in named_ways)
		if (!fn_ways[key] && why_ways[key] !~ /^#[?]/)
			complain("named as going one way, but goes all or is gone", key)
	printf "%d ways of decisions are not gone for a reason that is named there\n", n
}

END {
	sums()
	table()
	for (i = 1; i <= n_names; i++)
		for (k = 1; k <= last[name[i]]; k++) {
			where = name[i] SUBSEP k
			if (!(where in run) || run[where] || goes_on(name[i], k))
				continue
			key = name[i] " " of_fn[where] ": " text[where]
			place[key] = name[i] ":" k
			if (++missed[key] > listed[key])
				complain("not reached, and no reason is named", name[i] ":" k " " \
					of_fn[where] ": " text[where])
			else
				n_named++
		}
	for (key in listed)
		if (missed[key] < listed[key] && why[key] !~ /^#[?]/)
			complain("named as not reached, but reached or gone", key)
	printf "%d lines are not reached for a reason that tests/uncovered.txt names\n", n_named
	judge_ways()
	print "\ndecisions of which no test sees all ways, in lines that are reached:"
	for (i = 1; i <= n_names; i++)
		for (k = 1; k <= last[name[i]]; k++) {
			where = name[i] SUBSEP k
			if ((where in one_way) && run[where])
				printf "%s:%d %s: %s (%d)\n", name[i], k, of_fn[where], text[where],
					one_way[where]
		}
	exit n_bad > 0
}
