#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing for a build; with the argument
# `bench` also the peers that leat is measured beside, with `ci` those and what
# only the longer gates use. Silent when nothing is missing.
set -eu

packages="gcc make pkg-config libc6-dev liburcu-dev libnuma-dev check libsqlite3-dev
	libjansson-dev libxxhash-dev libsystemd-dev liburing-dev"
servers="redis-server nats-server"
case ${1-} in
bench | ci) packages="$packages libzmq3-dev libnng-dev libhiredis-dev libnats-dev $servers" ;;
esac
if [ "${1-}" = ci ]; then
	packages="$packages g++ clang clang-format cppcheck shellcheck spin strace
		systemd mandoc libxml2-utils"
	# The guest whose power is cut.
	packages="$packages qemu-system-x86 linux-image-cloud-amd64 busybox-static xfsprogs
		e2fsprogs kmod cpio"
fi

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: this is not Debian; a build needs what these packages hold:" $packages
	exit 0
fi

missing=
services=
for p in $packages; do
	status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) || status=
	case $status in
	*" installed") ;;
	*)
		missing="$missing $p"
		case " $servers " in
		*" $p "*) services="$services $p.service" ;;
		esac
		;;
	esac
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -ne 0 ]; then
	echo "deps.sh: packages are missing; run: sudo apt-get update && sudo $install"
	exit 1
fi
# The bench starts servers of its own: installing one must not start a service, now or later.
policy=/usr/sbin/policy-rc.d
if [ -n "$services" ] && [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
echo "deps.sh: installing$missing"
apt-get update -q
$install -q
if [ -n "$services" ] && command -v systemctl >/dev/null; then
	# shellcheck disable=SC2086
	systemctl disable -q $services
fi
