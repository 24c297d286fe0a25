#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real power cuts: a guest with a file system of its own (ext4, then XFS) runs the daemon and a
# publisher; qemu is killed in the middle, and the guest's memory with all it had not written is
# gone. What was acknowledged as durable was told on the serial line and is kept here; the next
# boot has to find it, in order, once, intact. Debian: qemu-system-x86 linux-image-cloud-amd64
# busybox-static xfsprogs e2fsprogs kmod cpio; a kernel with modules is looked for in /boot.
#
# Its negative control comes last: a disk that forgets what was synced has to be found out.
#
#   tests/power_qemu.sh [CUTS]     cuts for each file system; default 5
#   ACCEL=kvm                      instead of software emulation
# TEST_TIMEOUT=7200
set -u

n_cuts=${1-5}
build=$(cd "${LEAT_BUILD-build/release}" && pwd) || exit 2
kernel=
for kernel in /boot/vmlinuz-*; do
	version=${kernel#/boot/vmlinuz-}
	[ -d "/lib/modules/$version" ] && break
	kernel=
done
for tool in qemu-system-x86_64 busybox mkfs.ext4 mkfs.xfs modprobe cpio; do
	command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
		{ echo "$tool is not installed"; exit 77; }
done
[ -n "$kernel" ] || { echo 'no kernel with modules in /boot'; exit 77; }
PATH=$PATH:/usr/sbin:/sbin
lies=
top=$(mktemp -d "${TMPDIR:-/tmp}/leat-power.XXXXXX") || exit 2
qemu=
finish()
{
	[ -z "$qemu" ] || kill -KILL "$qemu" 2>/dev/null
	rm -rf "$top"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# ---- the guest ------------------------------------------------------------------

put()
{
	mkdir -p "$top/root$(dirname "$2")" && cp -L "$1" "$top/root$2"
}

make_guest()
{
	local file module
	mkdir -p "$top/root"/{bin,dev,proc,sys,tmp,disk,mod}
	put "$(command -v busybox)" /bin/busybox
	put "$build/leatd" /bin/leatd
	put "$build/leat" /bin/leat
	for file in $(ldd "$build/leatd" "$build/leat" | grep -o '/[^ :]*' | sort -u); do
		[ "$file" = "$build/leatd" ] || [ "$file" = "$build/leat" ] || put "$file" "$file"
	done
	for module in virtio_pci virtio_blk crc32c_generic ext4 xfs; do
		modprobe -S "$version" --show-depends "$module" 2>/dev/null | sed -n 's/^insmod //p'
	done | awk '{ print $1 }' | awk '!seen[$0]++' >"$top/modules"
	while read -r file; do
		put "$file" "/mod/$(basename "$file")"
		echo "/mod/$(basename "$file")"
	done <"$top/modules" >"$top/root/mod/order"
	cat >"$top/root/init" <<-'GUEST'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
		while read -r m; do insmod "$m" 2>/dev/null; done </mod/order
		for word in $(cat /proc/cmdline); do case $word in leat.*) eval "${word#leat.}" ;; esac; done
		mount -t "$fs" /dev/vda /disk || echo "LEAT broken: mount"
		mkdir -p /disk/data /tmp/run
		leatd --runtime /tmp/run --data /disk/data 2>/tmp/log &
		export LEAT_BUS=/tmp/run/bus.sock
		until leat stream ls >/dev/null 2>&1; do sleep 0.1; done
		leat stream create s --ring 256K --segment 256K --sync always 2>/dev/null
		leat verify -q s >/tmp/verify || echo "LEAT broken: $(head -n 1 /tmp/verify)"
		# What else goes to the serial line would cut these lines in two.
		leat replay -q s 2>/tmp/gaps | awk -F: '
			$2 != $1 * 7919 % 1000003 { print "LEAT broken: record " $0 }
			NR > 1 && $1 == last + 1 { last = $1; next }
			NR > 1 { print "LEAT have " first " " last }
			{ first = last = $1 }
			END { if (NR) print "LEAT have " first " " last; print "LEAT ready" }'
		while :; do
			seq "$n" $((n + 39)) | awk '{ print $1 ":" $1 * 7919 % 1000003 }' |
				leat pub --ack durable s && echo "LEAT ack $n $((n + 39))"
			n=$((n + 40))
		done
	GUEST
	chmod +x "$top/root/init"
	(cd "$top/root" && find . | cpio -o -H newc --quiet | gzip -1) >"$top/initrd"
}

# boot FS N: until it has said it is ready and acknowledged a few, then a moment more.
boot()
{
	local log=$top/serial want=$((2 + RANDOM % 4)) limit=$((SECONDS + 300))
	: >"$log"
	qemu-system-x86_64 -accel "${ACCEL-tcg}" -m 512 -nodefaults -no-reboot -display none \
		-kernel "$kernel" -initrd "$top/initrd" -serial "file:$log" \
		-drive "file=$top/disk,format=raw,if=virtio,cache=writeback" \
		-append "console=ttyS0 quiet panic=-1 leat.fs=$1 leat.n=$2" \
		${lies:+-snapshot} 2>"$top/qemu.log" &
	qemu=$!
	until [ "$(grep -c 'LEAT ack' "$log")" -ge "$want" ]; do
		if ! kill -0 "$qemu" 2>/dev/null || [ "$SECONDS" -gt "$limit" ]; then
			echo "the guest does not get there:"
			tail -n 20 "$log" "$top/qemu.log"
			return 1
		fi
		sleep 0.05
	done
	sleep "0.$((RANDOM % 10))"
	{
		kill -KILL "$qemu"
		wait "$qemu"
	} 2>/dev/null
	qemu=
}

# Every range that was acknowledged lies in one that is there, and those ascend.
check_have()
{
	tr -d '\r' <"$top/serial" | grep 'LEAT broken' && return 1
	tr -d '\r' <"$top/serial" | awk '/^LEAT have/ { print $3, $4 }' >"$top/have"
	# Nothing at all may be there, so the files are told apart by name.
	awk 'FILENAME ~ /have$/ { if (n && $1 <= last[n]) { print "twice or out of order: " $0; bad = 1 }
			first[++n] = $1; last[n] = $2; next }
		{ for (i = 1; i <= n; i++) if ($1 >= first[i] && $2 <= last[i]) next
			print "acknowledged and lost: " $0; bad = 1 }
		END { exit bad }' "$top/have" "$top/acked"
}

# cut_often FS CUTS
cut_often()
{
	local fs=$1 n_cuts=$2 cut
	rm -f "$top/disk" && truncate -s 512M "$top/disk"
	case $fs in
	ext4) mkfs.ext4 -q "$top/disk" ;;
	xfs) mkfs.xfs -q "$top/disk" ;;
	esac || return 1
	: >"$top/acked"
	for ((cut = 0; cut <= n_cuts; cut++)); do
		boot "$fs" $((cut * 100000 + 1)) || return 1
		if ! check_have; then
			echo "$fs, after cut $cut; the guest said:"
			grep -v 'LEAT ack' "$top/serial"
			return 1
		fi
		tr -d '\r' <"$top/serial" | awk '/^LEAT ack/ { print $3, $4 }' >>"$top/acked"
	done
	echo "$fs: $n_cuts cuts, $(awk '{ n += $2 - $1 + 1 } END { print n }' "$top/acked")" \
		'records acknowledged as durable, none lost'
}

control()
{
	lies=yes
	if cut_often ext4 1 >"$top/control" || ! grep -q 'acknowledged and lost' "$top/control"; then
		echo 'a disk that lies is not found out:'
		cat "$top/control"
		return 1
	fi
	echo 'a disk that lies is found out'
}

make_guest
cut_often ext4 "$n_cuts" && cut_often xfs "$n_cuts" && control
