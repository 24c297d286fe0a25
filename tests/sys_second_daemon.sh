#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two daemons never serve the same directory.
. "$(dirname "$0")/harness.sh"

refuses_second()
{
	local options=$1
	bus_start
	leat stream create events --ring 64K
	seq 10 | leat pub events
	mkdir -p "$dir/run2" "$dir/data2"
	# shellcheck disable=SC2086
	refused 1 timeout 10 leatd $options
	has_text "$dir/refused" "$bus_pid" ||
		fail "the first one's pid $bus_pid is not in: $(cat "$dir/refused")"
	equal "$(wc -l <"$dir/refused")" 1 'lines of explanation'
	equal "$(daemon_pid)" "$bus_pid"
	seq 11 20 | leat pub events
	equal "$(leat sub events -o earliest -e | wc -l)" 20
	bus_stop
}

same_runtime()
{
	refuses_second "--runtime $dir/run --data $dir/data2"
}

same_data()
{
	refuses_second "--runtime $dir/run2 --data $dir/data"
}

same_both()
{
	refuses_second "--runtime $dir/run --data $dir/data"
}

under_a_keeper()
{
	local pid
	bus_start --keep
	pid=$(daemon_pid)
	refused 1 timeout 10 leatd --runtime "$dir/run" --data "$dir/data" --keep
	grep -Eq "\\b($pid|$bus_pid)\\b" "$dir/refused" || fail "no pid in: $(cat "$dir/refused")"
	equal "$(daemon_pid)" "$pid"
	bus_stop
}

# What a killed daemon leaves behind is in nobody's way.
after_kill()
{
	local status=0
	bus_start
	leat stream create events --ring 64K
	seq 10 | leat pub events
	kill -KILL "$bus_pid"
	finish "$bus_pid" 20 || status=$?
	equal "$status" 137 'status of a killed daemon'
	refused 1 leat stream ls
	bus_start
	equal "$(leat sub events -o earliest -e | wc -l)" 10
	bus_stop
	# Nor is what one that ended properly leaves.
	bus_start
	bus_stop
}

harness_case 'a second daemon on the same runtime directory is refused with the pid' same_runtime
harness_case 'a second daemon on the same data directory is refused with the pid' same_data
harness_case 'a second daemon on both is refused with the pid' same_both
harness_case 'a second keeper is refused with the pid' under_a_keeper
harness_case 'a daemon starts where one was killed' after_kill
harness_end
