#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing for a build; with the argument
# `ci` also those that only the longer gates use. Silent when nothing is missing.
set -eu

packages="gcc make pkg-config libc6-dev liburcu-dev libnuma-dev check libsqlite3-dev
	libjansson-dev libxxhash-dev libsystemd-dev liburing-dev"
if [ "${1-}" = ci ]; then
	packages="$packages g++ clang clang-format cppcheck shellcheck spin strace
		systemd mandoc"
fi

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: this is not Debian; a build needs what these packages hold:" $packages
	exit 0
fi

missing=
for p in $packages; do
	status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) || status=
	case $status in
	*" installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -ne 0 ]; then
	echo "deps.sh: packages are missing; run: sudo apt-get update && sudo $install"
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "deps.sh: installing$missing"
apt-get update -q
$install -q
