#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGHUP: the daemon reads its configuration again, and a bad one changes nothing.
. "$(dirname "$0")/harness.sh"

log_says()
{
	until_true 20 has_text "$dir/leatd.log" "$1" || fail "not in the log: $1"
}

reads_again()
{
	echo 'max-streams = 1' >"$dir/conf"
	bus_start --config "$dir/conf"
	leat stream create one
	refused 1 leat stream create two
	echo 'max-streams = 2' >"$dir/conf"
	kill -HUP "$bus_pid"
	log_says 'configuration was read again'
	leat stream create two
	refused 1 leat stream create three
	bus_stop
}

keeps_what_it_has()
{
	echo 'max-streams = 1' >"$dir/conf"
	bus_start --config "$dir/conf"
	printf 'max-streams = 5\nmax-streams = many\n' >"$dir/conf"
	kill -HUP "$bus_pid"
	log_says 'configuration stays as it is: .*conf'
	leat stream create one
	refused 1 leat stream create two
	bus_stop
}

harness_case 'what was changed counts from a SIGHUP on' reads_again
harness_case 'a configuration with a mistake in it changes nothing' keeps_what_it_has
harness_end
