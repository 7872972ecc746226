#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# ftrace disables itself in the middle of a transition that disables a patch. The
# transition ends; what ftrace cannot release stays in memory.
. "$(dirname "$0")/klpr.sh"
plan 2

has_rust_core || { echo "SKIP: the core in C frees what ftrace still has on its list"; exit 4; }

A=/sys/module/klpr_patch_a/parameters
# ftrace stays disabled as long as the guest runs: no patch can be loaded any more.
WORKS_AT_END=
works() { :; }
clean() {
	local left
	left=$(ls "$LP")
	[ -z "$left" ] || fail "patches are left: $left"
	left=$(lsmod | awk '/^klpr_/ { print $1 }' | xargs)
	[ "$left" = klpr_target ] || fail "modules are left: $left"
	expect /proc/1/patch_state -1
}

start "ftrace disables itself while a patch is being disabled"
target
load klpr_patch_a what=sleep_new
cat $TARGET/sleep_hard >/tmp/klpr-sleeper 2>&1 &
SLEEPER=$!
wait_until 10 value_is $A/sleepers 1 || fail "no task sleeps"
echo 0 >$LP/klpr_patch_a/enabled || fail "klpr_patch_a cannot be disabled"
wait_until 30 value_is /proc/$$/patch_state 0 || fail "the test's shell does not switch"
expect $LP/klpr_patch_a/transition 1
expect /proc/$SLEEPER/patch_state 1
insmod "$MODS/klpr_kill.ko" "$(addresses ftrace_kill)" || fail "ftrace cannot be disabled"
rmmod klpr_kill || fail "klpr_kill cannot be unloaded"
expect $LP/klpr_patch_a/transition 1
echo 1 >$A/release
wait "$SLEEPER"
expect /tmp/klpr-sleeper released
wait_until 30 gone $LP/klpr_patch_a || fail "the transition does not end"
wait_until 10 logged_now "ftrace cannot let go of a handler, which stays in memory$" ||
	fail "the log does not mention the handler"
# The function is still hooked, and leads to the original, also when the patch is
# gone.
unload klpr_patch_a
cat $TARGET/sleep_hard >/tmp/klpr-sleeper 2>&1 &
SLEEPER=$!
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "the original is not called"
echo 1 >$TARGET/parameters/release
wait "$SLEEPER"
expect /tmp/klpr-sleeper released
ok

start "no patch can be loaded then"
refused "No such device" klpr_patch_b
expect $TARGET/parameters/one 1
# The function is still hooked.
refused "No such device" klpr_patch_b what=sleep_hard
ok
