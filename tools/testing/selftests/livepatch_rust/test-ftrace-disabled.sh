#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ftrace disables itself while functions are jumps. No operation begins that would need
# it to patch text, and what tasks use stays as it is.
. "$(dirname "$0")/klpr.sh"
plan 4

has_rust_core || { echo "SKIP: the core in C frees what ftrace still has on its list"; exit 4; }
has_config CONFIG_LIVEPATCH_RUST_JUMP || {
	echo "SKIP: functions are no jumps here, and patches come off without ftrace"
	exit 4
}

P=$LP/klpr_patch_a
ONE=$TARGET/parameters/one
# ftrace stays disabled as long as the guest runs: no patch can be loaded or
# unloaded any more.
WORKS_AT_END=
works() { :; }

# steady: check that klpr_patch_a is unchanged, and the only patch.
steady() {
	expect $P/enabled 1
	expect $P/transition 0
	expect $ONE 101
	[ "$(ls "$LP")" = klpr_patch_a ] || fail "patches are left: $(ls "$LP")"
}
clean() {
	local left
	steady
	left=$(lsmod | awk '/^klpr_/ { print $1 }' | sort | xargs)
	[ "$left" = "klpr_patch_a klpr_target" ] || fail "modules are left: $left"
	expect /proc/1/patch_state -1
}

start "ftrace disables itself while functions are jumps"
target
load klpr_patch_a
grep -q '^klpr_target_one .*jump-->' /sys/kernel/tracing/enabled_functions ||
	fail "klpr_target_one is no jump: $(cat /sys/kernel/tracing/enabled_functions)"
insmod "$MODS/klpr_kill.ko" "$(addresses ftrace_kill)" || fail "ftrace cannot be disabled"
rmmod klpr_kill || fail "klpr_kill cannot be unloaded"
ok

start "disabling a patch is refused then"
out=$( (echo 0 >$P/enabled) 2>&1) && fail "the patch could be disabled"
case $out in
*": No such device") ;;
*) fail "the write said: $out";;
esac
logged "^livepatch: patch 'klpr_patch_a': ftrace is out of order \(-19\)$"
not_logged "starting unpatching transition"
ok

start "loading a patch on top of it is refused then"
refused "No such device" klpr_patch_b
steady
# A patch for another function of the same object, which is no jump.
refused "No such device" klpr_patch_c what=only_two
expect $TARGET/parameters/two 2
ok

start "loading a patch that replaces it is refused then"
refused "No such device" klpr_patch_b replace=1
steady
refused "No such device" klpr_patch_c what=only_two replace=1
expect $TARGET/parameters/two 2
ok
