#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Under a private `systemd --user` the installed units start the daemon by its socket, keep the
# rings of a memory-only stream through kill -9 of the daemon, and stop cleanly. Daemons that are
# killed one after the other under load lose nothing (crash_kills).
# TEST_TIMEOUT=300
#
# Runs itself again in a mount namespace with a /run of its own, so that nothing of the machine's
# systemd is seen or touched. Of the sandbox only what a user manager can apply is kept.
set -eu
manager=/usr/lib/systemd/systemd
[ -x "$manager" ] || { echo 'no systemd here'; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo 'needs root for a mount namespace'; exit 77; }
build=${LEAT_BUILD:?needs the directory of a build}
group=leat-test-$$

if [ "${1:-}" != inside ]; then
	root=$(mktemp -d "${TMPDIR:-/tmp}/leat-systemd.XXXXXX")
	trap 'rm -rf "$root"; find /sys/fs/cgroup -depth -type d -path "*$group*" -exec rmdir {} +' EXIT
	env -u MAKEFLAGS -u MAKELEVEL make -s install "O=$(dirname "$build")" \
		"VARIANT=$(basename "$build")" "DESTDIR=$root" PREFIX=/usr
	unshare -m "$0" inside "$root" "$group"
	exit
fi

root=$2 group=$3
# A manager takes every process of the control group that it starts in: so it starts in one where
# nobody else is.
alone=
while IFS=: read -r _ controllers path; do
	case $controllers in
	name=systemd) at=/sys/fs/cgroup/systemd$path ;;
	'') at=/sys/fs/cgroup/unified$path ; [ -d "$at" ] || at=/sys/fs/cgroup$path ;;
	*) continue ;;
	esac
	[ -w "$at/cgroup.procs" ] || continue
	mkdir "$at/$group"
	echo $$ >"$at/$group/cgroup.procs"
	alone=yes
done </proc/self/cgroup
[ -n "$alone" ] || { echo 'no control group can be made here'; exit 77; }

mount -t tmpfs tmpfs /run
mkdir -p /run/user/0 /run/systemd/system "$root/config/systemd/user" "$root/data"
chmod 0700 /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 XDG_CONFIG_HOME="$root/config" HOME="$root"
export XDG_DATA_HOME="$root/share" XDG_STATE_HOME="$root/state" XDG_CACHE_HOME="$root/cache"

units=$root/usr/lib/systemd/system
sed -e 's|/run/leat|/run/user/0/leat|' "$units/leatd.socket" \
	>"$root/config/systemd/user/leatd.socket"
# What belongs to a system manager is left out: users, directories, the sandbox.
grep -E '^(\[|Requires=|After=|StartLimit|Type=|NotifyAccess=|WatchdogSec=|Restart|FileDescriptorStoreMax=|UMask=)' \
	"$units/leatd.service" >"$root/config/systemd/user/leatd.service"
sed -i "/^\[Service\]/a ExecStart=$root/usr/sbin/leatd --runtime /run/user/0/leat --data $root/data" \
	"$root/config/systemd/user/leatd.service"

"$manager" --user --log-target=console --log-level=warning >"$root/log" 2>&1 &
manager_pid=$!

fail()
{
	echo "FAILED  $*"
	cat "$root/log"; systemctl --user status leatd.service --no-pager
	systemctl --user stop leatd.service leatd.socket
	kill "$manager_pid"
	wait "$manager_pid" || echo "systemd --user ended with $?"
	exit 1
}

wait_for()
{
	for _ in $(seq 200); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.05
	done
	fail "this did not come true in 10 s: $*"
}

property()
{
	systemctl --user show leatd.service -p "$1" --value
}

wait_for test -S /run/user/0/systemd/private
systemctl --user start leatd.socket
[ "$(property ActiveState)" = inactive ] || fail 'the daemon runs before anybody asked for it'

export LEAT_BUS=/run/user/0/leat/bus.sock
leat=$root/usr/bin/leat
"$leat" stream create kept --memory || fail 'the socket did not start the daemon'
[ "$(property ActiveState)" = active ] || fail 'the daemon is not ready'
[ "$(property NFileDescriptorStore)" -ge 4 ] || fail 'systemd does not hold the ring'
seq 1000 | "$leat" pub kept || fail 'publishing failed'

first=$(property MainPID)
kill -9 "$first"
"$leat" sub kept -o earliest -e >"$root/after" || fail 'the daemon did not come back'
seq 1000 | cmp - "$root/after" || fail 'the ring was lost with the daemon'
[ "$(property MainPID)" != "$first" ] || fail 'it is the same daemon'

LEAT_KILLS_BUS=$LEAT_BUS LEAT_KILLS=${LEAT_KILLS-20} "$build/tests/crash_kills" ||
	fail 'something is lost'

systemctl --user stop leatd.service leatd.socket
[ "$(property Result)" = success ] || fail "the daemon did not stop cleanly: $(property Result)"
kill "$manager_pid"
wait "$manager_pid" || { echo "systemd --user ended with $?"; cat "$root/log"; exit 1; }
