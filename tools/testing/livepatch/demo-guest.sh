#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The part of the demonstration that runs in the VM, in the folder of the build.

LIVE="this has been live patched"
sysfs=/sys/kernel/livepatch
before=$(cat /proc/cmdline)
# How many entries a patch of one function has there: the core in Rust adds three files.
entries=8
! zgrep -qx CONFIG_LIVEPATCH_RUST=y /proc/config.gz || entries=11

show() { # COMMAND...: as a person would have typed it
	echo "# $*"
	"$@"
}

fail() {
	echo "demonstration: failed: $*"
	exit 1
}

wait_for() { # CONDITION...
	for _ in $(seq 300); do
		if "$@"; then return 0; fi
		sleep 0.1
	done
	return 1
}

settled() { [ "$(cat "$sysfs/$1/transition")" = 0 ]; }
gone() { [ ! -e "$sysfs/$1" ]; }

patch_and_unpatch() { # MODULE FILE
	local patch=$1 file=$2 tree
	show insmod "$file" || fail "$file cannot be loaded"
	wait_for settled "$patch" || fail "the transition of $patch does not end"
	show find "$sysfs/$patch" -mindepth 1 | sort
	tree=$(find "$sysfs/$patch" -mindepth 1 | wc -l)
	[ "$tree" = "$entries" ] || fail "sysfs has $tree entries for the patch"
	show grep . "$sysfs/$patch/enabled" "$sysfs/$patch/transition" "$sysfs/$patch/vmlinux/patched"
	[ "$(cat "$sysfs/$patch/enabled" "$sysfs/$patch/vmlinux/patched" | tr -d '\n')" = 11 ] || fail "$patch is not enabled"
	show cat /proc/cmdline
	[ "$(cat /proc/cmdline)" = "$LIVE" ] || fail "/proc/cmdline is not patched"
	# No transition is under way: -1. During one it is 0 or 1.
	show cat /proc/1/patch_state
	[ "$(cat /proc/1/patch_state)" = -1 ] || fail "patch_state of task 1"
	echo "# echo 0 > $sysfs/$patch/enabled"
	echo 0 >"$sysfs/$patch/enabled" || fail "$patch cannot be disabled"
	wait_for gone "$patch" || fail "$patch does not go away"
	show cat /proc/cmdline | cut -c1-60
	[ "$(cat /proc/cmdline)" = "$before" ] || fail "/proc/cmdline is not as it was"
	show rmmod "$patch" || fail "$patch cannot be unloaded"
	echo
}

show uname -sr
zcat /proc/config.gz | grep -E '^(# )?CONFIG_LIVEPATCH_RUST[= ]'
show cat /proc/cmdline | cut -c1-60
echo
echo "A patch written in Rust:"
patch_and_unpatch rust_livepatch_sample samples/livepatch/rust_livepatch_sample.ko
echo "One of the kernel's own samples, in C, with the same core:"
patch_and_unpatch livepatch_sample samples/livepatch/livepatch-sample.ko
echo "What the core said:"
dmesg | grep 'livepatch: '
[ "$(dmesg | grep -c 'livepatch: .*patching complete')" = 4 ] || fail "the log does not show four transitions"
echo
echo "demonstration: ok"
