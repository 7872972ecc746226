#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The init of guests that QEMU runs without virtme-ng: mounts what a script
# expects, runs the one that klp_script= on the kernel's command line names, and
# turns the machine off. It is part of the guest's root.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for d in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $d; done
ln -sf /proc/self/fd /dev/fd
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 klp /klp
script=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^klp_script=//p')
/bin/bash "$script" </dev/null
sync
echo o >/proc/sysrq-trigger
sleep 60
