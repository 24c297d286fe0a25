#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How commands end: by Ctrl-C, with closed pipes, on a full device; and that nothing waits in
# their buffers.
. "$(dirname "$0")/harness.sh"

# What is started in the background of a script ignores SIGINT; a terminal's command does not.
at_terminal='env --default-signal=INT,PIPE'

fresh()
{
	bus_start
	leat stream create events --ring 64K
	seq "$1" | leat pub events
}

sub_ends_by_signal()
{
	local signal status
	fresh 10
	for signal in INT TERM HUP; do
		spawn live $at_terminal leat sub events -o earliest
		until_true 20 has_lines "$dir/live.out" 10 || fail 'nothing arrives'
		kill -s "$signal" "$spawned"
		status=0
		finish "$spawned" 20 || status=$?
		# An interrupted follower has done what it was asked for.
		[ "$status" -eq 0 ] || [ "$status" -eq $((128 + $(kill -l "$signal"))) ] ||
			fail "status $status after SIG$signal"
		equal "$(wc -l <"$dir/live.out")" 10
		[ ! -s "$dir/live.err" ] || fail "it complains: $(cat "$dir/live.err")"
	done
	bus_stop
}

pub_ends_by_signal()
{
	local status=0
	fresh 1
	mkfifo "$dir/fifo"
	spawn pub $at_terminal leat pub events "$dir/fifo"
	exec 9>"$dir/fifo"
	seq 2 1000 >&9
	until_true 20 sees 1000 || fail 'what it read is not published while it waits'
	kill -INT "$spawned"
	finish "$spawned" 20 || status=$?
	equal "$status" 130 'status of an interrupted publisher'
	exec 9>&-
	# What it had read is there, durable.
	leat sub events -o earliest -e | cmp - <(seq 1000) || fail 'the log is not what was read'
	has_text "$dir/pub.err" 999 || fail "how many were published: $(cat "$dir/pub.err")"
	bus_stop
}

sees()
{
	[ "$(leat sub events -o earliest -e | wc -l)" = "$1" ]
}

# `leat sub | head` ends as soon as head has enough, also when nothing more comes.
closed_pipe()
{
	local status
	fresh 100000
	for n in 1 10; do
		$at_terminal leat sub events -o earliest 2>"$dir/err" | head -n "$n" >"$dir/out" &
		started+=("$!")
		until_true 20 is_gone "$!" || fail 'head does not end'
		equal "$(wc -l <"$dir/out")" "$n"
		[ ! -s "$dir/err" ] || fail "it complains: $(cat "$dir/err")"
	done
	# A reader that is gone is noticed without another record.
	mkfifo "$dir/fifo"
	$at_terminal leat sub events -o earliest -c 200000 >"$dir/fifo" 2>"$dir/err" &
	status=$!
	started+=("$status")
	head -n 100000 <"$dir/fifo" >"$dir/out"
	until_true 20 is_gone "$status" || fail 'a subscriber does not notice that its reader is gone'
	[ ! -s "$dir/err" ] || fail "it complains: $(cat "$dir/err")"
	$at_terminal leat replay events 2>"$dir/err" | head -n 1 >"$dir/out"
	[ ! -s "$dir/err" ] || fail "replay complains: $(cat "$dir/err")"
	bus_stop
}

full_device()
{
	local status=0
	fresh 100
	leat sub events -o earliest -e >/dev/full 2>"$dir/err" || status=$?
	equal "$status" 1 'status with a full device'
	has_text "$dir/err" 'No space left' || fail "it says: $(cat "$dir/err")"
	bus_stop
}

# Each record leaves a pipe at once, though output to a pipe is buffered.
at_once()
{
	local i line
	fresh 0
	mkfifo "$dir/in"
	spawn live leat sub events -o earliest
	spawn pub leat pub events "$dir/in"
	exec 9>"$dir/in"
	for i in 1 2 3 4 5 6 7 8 9 10; do
		echo "record $i" >&9
		until_true 20 has_lines "$dir/live.out" "$i" ||
			fail "record $i is held back somewhere"
	done
	exec 9>&-
	# And through a real pipe.
	mkfifo "$dir/out"
	leat sub events >"$dir/out" 2>"$dir/err" &
	started+=("$!")
	exec 8<"$dir/out"
	until_true 20 reads_probe || fail 'nothing comes through the pipe'
	echo last | leat pub events
	until read -r -t 20 line <&8 && [ "$line" = last ]; do
		[ "$line" = probe ] || fail "'$line' instead of the last record"
	done
	exec 8<&-
	bus_stop
}

reads_probe()
{
	local line
	echo probe | leat pub events
	read -r -t 0.2 line <&8
}

no_bus()
{
	export LEAT_BUS=$dir/nowhere.sock
	refused 1 leat stream ls
	has_text "$dir/refused" "$dir/nowhere.sock" || fail "the socket is not named: $(cat "$dir/refused")"
	refused 1 leat pub events
	refused 1 leat sub events
	refused 2 leat nonsense
	equal "$(leat --version | wc -l)" 1
	leat --help | grep -q stream
	leat pub --help | grep -q paragraphs
}

harness_case 'sub ends by a signal with what it has printed' sub_ends_by_signal
harness_case 'pub ends by Ctrl-C with what it has read published' pub_ends_by_signal
harness_case 'sub and replay end when nobody reads them any more' closed_pipe
harness_case 'a full device is an error' full_device
harness_case 'sub in a pipe and pub from one hold nothing back' at_once
harness_case 'without a bus commands say where they looked' no_bus
harness_end
