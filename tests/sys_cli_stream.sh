#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `leat stream`: what is asked for at creation is what describe shows, set changes it, rm removes
# it; and `leat top` where there is no terminal.
. "$(dirname "$0")/harness.sh"

# option NAME: one member of "options" of stream s.
option()
{
	leat stream describe s --json | jq -c ".options.$1"
}

shows_what_was_asked_for()
{
	command -v jq >/dev/null || skip 'jq is not installed'
	bus_start
	leat stream create s --shards 3 --ring 128K --segment 1M --retain-time 7d --retain-size 2G \
		--sync 50ms --full fail --on-disk-full drop-oldest --hash md5 --checksum off \
		--mode 0640 --claim-timeout 3s --rate-limit 5M
	equal "$(option shards) $(option ring) $(option segment)" '3 131072 1048576'
	equal "$(option retain_ns) $(option retain_len)" '604800000000000 2147483648'
	equal "$(option sync) $(option full) $(option on_disk_full)" \
		'50000000 "fail" "drop-oldest"'
	equal "$(option hash) $(option checksum) $(option memory)" '"md5" false false'
	equal "$(option mode) $(option owner)" "416 \"$(id -un)\""
	equal "$(option claim_timeout_ns) $(option rate_limit)" '3000000000 5242880'
	leat stream describe s >"$dir/out"
	has_text "$dir/out" '^retention *7d, 2G$' || fail 'retention in words'
	has_text "$dir/out" '^sync *50ms$' || fail 'sync in words'
	has_text "$dir/out" '^mode *0640$' || fail 'mode in words'
	has_text "$dir/out" '^you may *subscribe publish administer$' || fail 'what one may'
	leat stream create m --memory
	equal "$(leat stream ls --json | jq -r .name | xargs)" 'm s' 'names, one object a line'
	equal "$(leat stream ls | awk '{ print $1 }' | xargs)" 'NAME m s'
	refused 1 leat stream create s
	has_text "$dir/refused" "'s' exists" || fail "it says: $(cat "$dir/refused")"
	bus_stop
}

changes_and_removes()
{
	command -v jq >/dev/null || skip 'jq is not installed'
	bus_start
	leat stream create s --ring 64K
	leat stream set s retain-time=2h mode=0644 sync=none ring=256K
	equal "$(option retain_ns) $(option mode) $(option sync) $(option ring)" \
		'7200000000000 420 "none" 262144'
	refused 1 leat stream set s full=block colour=red retain-time=1h
	has_text "$dir/refused" "colour" || fail 'the key is not named'
	has_text "$dir/refused" 'what stands before colour was set' || fail 'what was set is not said'
	equal "$(option retain_ns)" 7200000000000 'what stands after the mistake'
	leat stream create t
	refused 1 leat stream rm t nothing
	has_text "$dir/refused" nothing || fail 'the stream is not named'
	equal "$(leat stream ls --json | jq -r .name)" s 'what is left'
	refused 1 leat stream describe t
	bus_stop
}

top_without_a_terminal()
{
	bus_start
	equal "$(leat stream ls)" '' 'a bus without streams'
	leat stream create s --ring 64K --shards 2
	seq 100 | leat pub -s 1 s
	leat top -n 2 -d 50ms >"$dir/out"
	equal "$(grep -c '^STREAM ' "$dir/out")" 2 'refreshes'
	equal "$(grep -c '^s  *[01] .*open$' "$dir/out")" 4 'rows'
	grep -q $'\033' "$dir/out" && fail 'it is meant for a terminal'
	refused 1 leat top -n 1 nothing
	bus_stop
}

harness_case 'describe shows what create was asked for' shows_what_was_asked_for
harness_case 'set changes a stream, rm removes it, mistakes are named' changes_and_removes
harness_case 'top prints rows where there is no terminal' top_without_a_terminal
harness_end
