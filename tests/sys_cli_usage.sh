#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the command says to wrong usage: status 2, one line that names what is wrong, and nothing
# on standard output; without a bus being needed, and before one is asked.
. "$(dirname "$0")/harness.sh"
export LEAT_BUS=/nonexistent/bus.sock

# wrong TEXT WORD...: leat WORD... is wrong usage, and the explanation has TEXT.
wrong()
{
	local text=$1
	shift
	refused 2 leat "$@"
	has_text "$dir/refused" "$text" || fail "leat $*: no '$text' in: $(cat "$dir/refused")"
	equal "$(wc -l <"$dir/refused")" 1 "lines of explanation to leat $*"
	[ ! -s "$dir/refused.out" ] || fail "leat $* prints on standard output"
}

unknown_things()
{
	wrong 'no command "nonsense"' nonsense
	wrong 'no command "nonsense"' help nonsense
	wrong 'no option -x' -x stream ls
	wrong 'no option --frobnicate' pub --frobnicate s
	wrong 'no option -z' sub -z s
	wrong 'takes no value' stat --json=yes
	wrong 'needs a value' pub s -k
	wrong 'needs a value' sub s --format
	wrong 'needs a value' -b
	wrong 'no "frob"' stream frob
	wrong 'create, ls, describe, set or rm' stream
}

missing_operands()
{
	local command
	for command in pub sub replay 'stream describe' 'stream rm' 'stream set'; do
		# shellcheck disable=SC2086
		wrong 'which stream' $command
	done
	wrong 'which name' stream create
	wrong 'which file' dump
	wrong 'KEY=VALUE' stream set s
	wrong 'not KEY=VALUE' stream set s retain-time
	wrong 'one too many' sub a b
	wrong 'one too many' replay a b
	wrong 'one stream' stat a b
	wrong 'one file' dump a b
	wrong 'takes no name' stream ls s
}

bad_values_of_create()
{
	wrong '"1.5G" is not a size' stream create s --ring 1.5G
	wrong '"-1" is not a size' stream create s --segment -1
	wrong '"99999999999G" is not a size' stream create s --retain-size 99999999999G
	wrong '"10" is not a time' stream create s --retain-time 10
	wrong '"sometimes" is not always, none or a time' stream create s --sync sometimes
	wrong '"0" is not a number from 1 on' stream create s --shards 0
	wrong '"many" is not a number' stream create s --shards many
	wrong '"maybe" is not block or fail' stream create s --full maybe
	wrong '"ask" is not stop or drop-oldest' stream create s --on-disk-full ask
	wrong '"sha1" is not xxh3 or md5' stream create s --hash sha1
	wrong '"yes" is not on or off' stream create s --checksum yes
	wrong '"0999" is not octal' stream create s --mode 0999
	wrong '"1777" is not octal' stream create s --mode 1777
	wrong '"" is not octal' stream create s --mode ''
}

bad_values_of_pub()
{
	wrong '"\\q" has an escape' pub s -D '\q'
	wrong 'delimiter is empty' pub s -D ''
	wrong 'key separator is empty' pub s -K ''
	wrong '"all" is not ring, written or durable' pub s --ack all
	wrong '"-1" is not a number' pub s -s -1
	wrong 'not NAME=VALUE' pub s -H colour
	wrong 'not NAME=VALUE' pub s -H =red
	wrong 'key-regex "(": ' pub s --key-regex '('
	wrong 'exclude each other' pub s --key-regex 'a' -K:
	wrong 'exclude each other' pub s --whole --paragraphs
	wrong 'no meaning with --whole' pub s --whole -0
	wrong 'no meaning with --paragraphs' pub s --paragraphs -D,
}

bad_values_of_sub()
{
	wrong '"yesterday" is not earliest' sub s -o yesterday
	wrong '"@tomorrow" is not earliest' sub s -o @tomorrow
	wrong '"-5" is not earliest' sub s -o -5
	wrong '"@2026-13-01" is not earliest' replay s --from @2026-13-01
	wrong '"%y" is not known' sub s -f '%s %y'
	wrong '"\\q" is not known' sub s -f 'a\q'
	wrong '"few" is not a number' sub s -c few
	wrong '"all" is not a number' sub s -s all
	wrong '"none" is not ring, written or durable' sub s --isolation none
	wrong 'format of its own' sub s -J -f '%s'
	wrong '"0x" is not max or a factor' replay s --speed 0x
	wrong 'prints nothing' replay s --into t -J
	wrong 'leaves nothing' replay s --to earliest
	wrong '"0" is not a number from 1' top -n 0
	wrong 'between 10ms and 1d' top -d 1ns
}

help_is_there()
{
	local command
	for command in stream pub sub replay stat top verify dump bench; do
		leat help | grep -q "^  $command " || fail "leat help does not name $command"
		leat help "$command" >"$dir/help"
		leat "$command" --help >"$dir/option"
		same "$dir/help" "$dir/option"
		grep -q "^usage: leat $command" "$dir/help" || fail "no usage of $command"
		awk 'length($0) > 90 { print; exit 1 }' "$dir/help" || fail "a long line"
	done
	leat --help | cmp - <(leat help) || fail 'leat --help is not leat help'
	leat --version | grep -Eq '^leat [0-9]+\.[0-9]+\.[0-9]+$' || fail 'leat --version'
	refused 2 leat
}

# Failures that are not the command line's are 1.
failures_are_no_usage()
{
	refused 1 leat stream ls
	has_text "$dir/refused" /nonexistent/bus.sock || fail 'the socket is not named'
	refused 1 leat -b "$dir/other.sock" stream ls
	has_text "$dir/refused" "$dir/other.sock" || fail '-b is not heeded'
	refused 1 leat stream ls --bus "$dir/third.sock"
	has_text "$dir/refused" "$dir/third.sock" || fail '--bus after the command is not heeded'
	refused 1 leat dump "$dir/nothing.seg"
	has_text "$dir/refused" nothing.seg || fail 'the file is not named'
	echo 'no segment' >"$dir/file"
	refused 1 leat dump "$dir/file"
	has_text "$dir/refused" 'not a segment' || fail 'a text file is taken for a segment'
	refused 1 leat verify --data "$dir"
	has_text "$dir/refused" 'not a data directory' || fail 'any directory is taken'
}

harness_case 'what does not exist is named' unknown_things
harness_case 'what is missing or too much is asked for' missing_operands
harness_case 'values of create that make no sense are refused' bad_values_of_create
harness_case 'values of pub that make no sense are refused' bad_values_of_pub
harness_case 'values of sub, replay and top that make no sense are refused' bad_values_of_sub
harness_case 'every command explains itself' help_is_there
harness_case 'failures are 1, not 2' failures_are_no_usage
harness_end
