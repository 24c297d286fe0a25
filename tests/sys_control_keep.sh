#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# leatd --keep under the control plane's eyes: restarts are quick, leak nothing, and clients that
# connect in between wait instead of failing.
# TEST_TIMEOUT=180
. "$(dirname "$0")/harness.sh"

n_fds()
{
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

is_not()
{
	local pid
	pid=$(daemon_pid 2>/dev/null) && [ "$pid" != "$1" ]
}

# The least of three, because a machine may stand still.
first_restart_is_quick()
{
	local try pid begin took
	for try in 1 2 3; do
		bus_start --keep
		leat stream create "events$try" --shards 4 --ring 64K
		pid=$(daemon_pid)
		begin=$(now_ms)
		kill -KILL "$pid"
		# The socket lives on in the keeper: this connects at once and is served by the
		# next one.
		leat stream ls >/dev/null
		took=$(($(now_ms) - begin))
		echo "    $took ms from kill -9 to an answer"
		bus_stop
		[ "$took" -ge 1000 ] || return 0
	done
	fail "$took ms until somebody answered"
}

have_fds_at_most()
{
	local pid
	pid=$(daemon_pid) && [ "$(n_fds "$bus_pid")" -le "$1" ] && [ "$(n_fds "$pid")" -le "$2" ]
}

restarts_leak_nothing()
{
	local round pid keeper_fds=0 daemon_fds=0
	bus_start --keep
	leat stream create events --shards 4 --ring 64K
	leat stream create cache --memory --ring 64K
	for round in 1 2 3 4 5; do
		seq 100 | leat pub events
		seq 100 | leat pub cache --ack ring
		leat stream create "s$round" --ring 64K
		leat stream set events ring=$((64 << round))K
		leat stream rm "s$round"
		pid=$(daemon_pid)
		if [ "$round" -eq 2 ]; then
			keeper_fds=$(n_fds "$bus_pid")
			daemon_fds=$(n_fds "$pid")
		fi
		kill -KILL "$pid"
		until_true 20 is_not "$pid" || fail 'no new daemon came'
	done
	equal "$(leat replay events | wc -l)" 500
	# Old rings are let go before long.
	until_true 20 have_fds_at_most $((keeper_fds + 1)) $((daemon_fds + 2)) ||
		fail "the keeper has $(n_fds "$bus_pid") fds, the daemon $(n_fds "$(daemon_pid)");" \
			"after two rounds they had $keeper_fds and $daemon_fds"
	bus_stop
	[ ! -e "$dir/run/keeper.sock" ] || fail 'the notify socket is left'
	[ ! -e "$dir/run/bus.sock" ] || fail 'the socket is left'
}

# A stream whose making is cut off is there whole or not at all.
creation_is_cut_off()
{
	local i pid
	bus_start --keep
	for i in 1 2 3 4; do
		leat stream create "cut$i" --shards 16 --ring 4M >"$dir/out" 2>&1 &
		sleep "0.0$((i * 2))"
		pid=$(daemon_pid 2>/dev/null) || continue
		kill -KILL "$pid"
		until_true 20 is_not "$pid" || fail 'no new daemon came'
		wait "$!" || :
		leat stream rm "cut$i" 2>/dev/null || :
		[ ! -e "$dir/data/streams/cut$i" ] || fail "files of cut$i are left"
		leat stream create "cut$i" --ring 64K
	done
	equal "$(leat stream ls --json | wc -l)" 4
	bus_stop
}

killed_keeper_ends_the_bus()
{
	local pid
	bus_start --keep
	leat stream create events --ring 64K
	seq 1000 | leat pub events
	pid=$(daemon_pid)
	kill -KILL "$bus_pid"
	until_true 20 is_gone "$pid" || fail "the daemon goes on without its keeper"
	wait "$bus_pid" 2>/dev/null || :
	bus_start --keep
	equal "$(leat replay events | wc -l)" 1000
	bus_stop
}

harness_case 'the first restart is quick and clients wait for it' first_restart_is_quick
harness_case 'restarts leak no fd, in the keeper or in the daemon' restarts_leak_nothing
harness_case 'a stream whose making is cut off is whole or gone' creation_is_cut_off
harness_case 'a killed keeper takes the daemon along, which drains' killed_keeper_ends_the_bus
harness_end
