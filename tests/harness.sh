#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the shell tests share: a private bus in a temporary directory, processes that are ended by
# their id, waiting for a condition. Sourced, never run.
#
#   . "$(dirname "$0")/harness.sh"
#   some_case() { bus_start; ...; }
#   harness_case 'a sentence that says what holds' some_case
#   harness_end
#
# A case runs in a subshell of its own with `set -e`, in an empty directory $dir that is removed
# afterwards together with every process that was started through spawn() or bus_start().
set -u

LEAT_BUILD=${LEAT_BUILD-$PWD/build/release}
LEAT_BUILD=$(cd "$LEAT_BUILD" && pwd) || exit 2
export LEAT_BUILD
export PATH="$LEAT_BUILD:$PATH"
# shellcheck disable=SC2034
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 2
n_bad=0
n_good=0
n_not_run=0
harness_top=$(mktemp -d "${TMPDIR:-/tmp}/leat-test.XXXXXX") || exit 2
# Other users must be able to reach a socket below it.
chmod 755 "$harness_top"
trap 'rm -rf "$harness_top"' EXIT
trap 'exit 130' INT TERM HUP
# No test may touch the user's own bus.
unset LEAT_BUS XDG_RUNTIME_DIR XDG_STATE_HOME NOTIFY_SOCKET LISTEN_FDS LISTEN_PID

# Ends the case.
fail()
{
	printf '    %s\n' "$*" >&2
	exit 1
}

# Ends the case without a verdict.
skip()
{
	printf '    %s\n' "$*" >&2
	exit 77
}

# until_true SECONDS COMMAND...: polls a condition; 1 when it does not come true in time.
until_true()
{
	local left=$(($1 * 1000000)) last=$EPOCHREALTIME now took
	shift
	until "$@"; do
		now=$EPOCHREALTIME
		took=$((${now/./} - ${last/./}))
		# While this did not run either, it was the machine that stood still.
		left=$((left - (took < 1000000 ? took : 1000000)))
		last=$now
		((left >= 0)) || return 1
		sleep 0.02
	done
}

# Milliseconds since 1970.
now_ms()
{
	local now=$EPOCHREALTIME
	echo $((${now/./} / 1000))
}

is_gone()
{
	local state
	state=$(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

are_gone()
{
	local pid
	for pid; do
		is_gone "$pid" || return 1
	done
}

state_is()
{
	grep -q "^State:[[:blank:]]*$2" "/proc/$1/status" 2>/dev/null
}

has_lines()
{
	[ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

has_text()
{
	grep -q -e "$2" "$1" 2>/dev/null
}

# ---- processes ----------------------------------------------------------------

# spawn NAME COMMAND...: runs it beside the case with its output in $dir/NAME.out and
# $dir/NAME.err; its id is then in $spawned.
spawn()
{
	local name=$1
	shift
	# What an earlier one of that name left would be taken for the new one's.
	: >"$dir/$name.out"
	: >"$dir/$name.err"
	"$@" >"$dir/$name.out" 2>"$dir/$name.err" </dev/null &
	spawned=$!
	started+=("$spawned")
}

# finish PID SECONDS: waits for a child to end by itself and gives its exit status.
finish()
{
	until_true "$2" is_gone "$1" || fail "process $1 did not end within $2 s: $(process_name "$1")"
	wait "$1" 2>/dev/null
}

process_name()
{
	tr '\0' ' ' <"/proc/$1/cmdline"
}

# A process and all below it, the lowest last.
with_descendants()
{
	local child
	echo "$1"
	for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		with_descendants "$child"
	done
}

end_started()
{
	local pid all=()
	for pid in "${started[@]}"; do
		is_gone "$pid" || mapfile -t -O "${#all[@]}" all < <(with_descendants "$pid")
	done
	# A daemon that is only killed leaves no counts.
	if [ "${LEAT_VARIANT-}" = cov ] && [ "${#all[@]}" -gt 0 ]; then
		kill -TERM "${all[@]}" 2>/dev/null || :
		until_true 5 are_gone "${all[@]}" && all=()
	fi
	# Without the shell's own words about who was killed.
	{
		[ "${#all[@]}" -eq 0 ] || kill -KILL "${all[@]}"
		wait
	} 2>/dev/null
	rm -rf "$dir"
}

# ---- the bus --------------------------------------------------------------------

bus_answers()
{
	if is_gone "$bus_pid"; then
		fail "leatd ended: $(tail -n 5 "$dir/leatd.log")"
	fi
	leat stream ls >/dev/null 2>&1
}

# bus_start [OPTION...]: a daemon on $dir/run and $dir/data, ready when this returns. $bus_pid is
# the process started here: the keeper if there is one.
bus_start()
{
	mkdir -p "$dir/run" "$dir/data"
	chmod 755 "$dir/run"
	leatd --runtime "$dir/run" --data "$dir/data" "$@" >>"$dir/leatd.log" 2>&1 </dev/null &
	bus_pid=$!
	started+=("$bus_pid")
	export LEAT_BUS=$dir/run/bus.sock
	until_true 20 bus_answers || fail "leatd is not ready: $(tail -n 5 "$dir/leatd.log")"
}

# The process that serves the socket.
daemon_pid()
{
	local pid
	pid=$(leat stat --json | sed -n 's/.*"bus":{[^}]*"pid":\([0-9]*\).*/\1/p')
	[ -n "$pid" ] && echo "$pid"
}

# Asks the daemon to end and wants it to do so properly.
bus_stop()
{
	local status=0
	kill -TERM "$bus_pid"
	finish "$bus_pid" 20 || status=$?
	[ "$status" -eq 0 ] || fail "leatd ended with status $status: $(tail -n 5 "$dir/leatd.log")"
}

# figures STREAM FIELD: a number of each shard, from `leat stat`, one a line.
figures()
{
	local shards
	shards=$(leat stat "$1" --json | sed -n 's/.*"shards":\[\(.*\)/\1/p' | sed 's/\].*//')
	grep -o "\"$2\":-*[0-9]*" <<<"$shards" | cut -d: -f2
}

# figure STREAM FIELD: the sum over the shards of a stream.
figure()
{
	local numbers
	numbers=$(figures "$1" "$2") || fail "no $2 in the statistics of $1"
	echo $((${numbers//$'\n'/ + }))
}

figure_is_at_least()
{
	local now
	now=$(figure "$1" "$2") && [ "$now" -ge "$3" ]
}

# ---- comparing ------------------------------------------------------------------

same()
{
	cmp "$1" "$2" >"$dir/cmp.out" 2>&1 ||
		fail "$(basename "$1") and $(basename "$2") differ: $(cat "$dir/cmp.out")"
}

equal()
{
	[ "$1" = "$2" ] || fail "${3-value}: got '$1', want '$2'"
}

# refused STATUS COMMAND...: wants that exit status and exactly one line of explanation, which is
# then in $dir/refused.
refused()
{
	local want=$1 status=0
	shift
	"$@" >"$dir/refused.out" 2>"$dir/refused" </dev/null || status=$?
	equal "$status" "$want" "exit status of $*"
	[ -s "$dir/refused" ] || fail "no explanation from $*"
}

# ---- running --------------------------------------------------------------------

# $LEAT_CASE: only cases whose sentence has that in it.
harness_case()
{
	local status=0
	[[ $1 == *"${LEAT_CASE-}"* ]] || return 0
	(
		trap - EXIT
		trap 'exit 130' INT TERM HUP
		started=()
		dir=$(mktemp -d "$harness_top/case.XXXXXX") || exit 2
		chmod 755 "$dir"
		trap end_started EXIT
		set -e
		"$2"
	)
	status=$?
	case $status in
	0)
		n_good=$((n_good + 1))
		echo "ok      $1"
		;;
	77)
		n_not_run=$((n_not_run + 1))
		echo "skipped $1"
		;;
	*)
		n_bad=$((n_bad + 1))
		echo "FAILED  $1 (status $status)"
		;;
	esac
}

# The last thing in a test.
harness_end()
{
	echo "$n_good hold, $n_bad do not, $n_not_run not tried"
	[ "$n_bad" -eq 0 ] || exit 1
	[ "$n_good" -gt 0 ] || exit 77
	exit 0
}
