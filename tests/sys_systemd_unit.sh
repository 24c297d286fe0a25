#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The installed units are free of mistakes, the sandbox is rated below 2.0, and
# the user and directories that they rely on can be made from what is installed.
# Nothing is started.
set -eu
command -v systemd-analyze >/dev/null || { echo 'no systemd-analyze here'; exit 77; }
build=${LEAT_BUILD:?needs the directory of a build}

root=$(mktemp -d "${TMPDIR:-/tmp}/leat-units.XXXXXX")
trap 'rm -rf "$root"' EXIT
status=0

# The make that runs the tests has a job server, which is none of this one's business.
env -u MAKEFLAGS -u MAKELEVEL make -s install "O=$(dirname "$build")" \
	"VARIANT=$(basename "$build")" "DESTDIR=$root" PREFIX=/usr

units=$root/usr/lib/systemd/system
# The commands are looked for where they will be, which is not where they are now.
sed "s|=/usr/sbin/|=$root/usr/sbin/|" "$units/leatd.service" >"$root/leatd.service"
cp "$units/leatd.socket" "$root/leatd.socket"
out=$(systemd-analyze verify --man=no "$root/leatd.service" "$root/leatd.socket" 2>&1) || status=1
if [ -n "$out" ]; then
	echo "systemd-analyze verify: $out"
	status=1
fi

# In tenths, because the option takes no fraction.
systemd-analyze security --offline=yes --threshold=19 "$units/leatd.service" >"$root/rating" || {
	echo 'the sandbox is rated 2.0 or worse:'
	grep '✗' "$root/rating"
	status=1
}
tail -n 1 "$root/rating"

if [ "$(id -u)" -eq 0 ]; then
	mkdir -p "$root/etc" "$root/run" "$root/var/lib"
	systemd-sysusers --root="$root" || status=1
	grep -q '^leat:' "$root/etc/passwd" || { echo 'no user leat was made'; status=1; }
fi
for setting in Type=notify NotifyAccess=main RuntimeDirectoryPreserve=yes User=leat; do
	grep -qx "$setting" "$units/leatd.service" || { echo "$setting is missing"; status=1; }
done
exit $status
