#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A transition that is forced to end. The code that tasks were forced to leave stays
# for good, so this comes last: its modules cannot be unloaded.
. "$(dirname "$0")/klpr.sh"
plan 3

sleeper() {
	cat "$TARGET/sleep_hard" >/dev/null &
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
}

start "force a patch on"
target
sleeper
load_nowait klpr_patch_a what=sleep_hard
sleep 1
expect $LP/klpr_patch_a/transition 1
echo 1 >$LP/klpr_patch_a/force || fail "it cannot be forced"
wait_until 10 settled klpr_patch_a || fail "the transition does not end"
logged "livepatch: forcing remaining tasks to the patched state"
logged "'klpr_patch_a': patching complete"
echo 1 >$TARGET/parameters/release
wait
# No task was forced to leave the patch: the module can be unloaded as usual.
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "force a patch off: its code stays"
target
load klpr_patch_b what=sleep_new
cat "$TARGET/sleep_hard" >/dev/null &
wait_until 10 value_is /sys/module/klpr_patch_b/parameters/sleepers 1 || fail "no task sleeps"
echo 0 >$LP/klpr_patch_b/enabled || fail "it cannot be disabled"
sleep 1
expect $LP/klpr_patch_b/transition 1
expect $LP/klpr_patch_b/enabled 0
echo 1 >$LP/klpr_patch_b/force || fail "it cannot be forced"
wait_until 10 gone $LP/klpr_patch_b || fail "the transition does not end"
sleep 0.5
rmmod klpr_patch_b 2>/dev/null && fail "code that a task is in was unloaded"
[ "$(cat /sys/module/klpr_patch_b/refcnt)" -gt 0 ] || fail "the module is not held"
# The task is still in the code, and returns from it.
echo 1 >/sys/module/klpr_patch_b/parameters/release
wait
expect $TARGET/parameters/one 1
no_target
expect /proc/1/patch_state -1
echo "ok"

start "a task that was forced off a patch calls an original"
if [ -e "$MODS/klpr_rust_more.ko" ]; then
	target
	load klpr_rust_more
	sleeper
	echo 0 >$LP/klpr_rust_more/enabled || fail "it cannot be disabled"
	sleep 1
	# It sleeps in the original, which its replacement has called.
	expect $LP/klpr_rust_more/transition 1
	echo 1 >$LP/klpr_rust_more/force || fail "it cannot be forced"
	wait_until 10 gone $LP/klpr_rust_more || fail "the transition does not end"
	echo 1 >$TARGET/parameters/release
	wait
	logged "klpr_rust_more: awake, and calls 1"
	no_target
	echo "ok"
else
	skip_case "this kernel has no Rust"
fi
works
# No check at the end, which would find the modules that have to stay.
WORKS_AT_END=
