#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Transitions that have to wait for a task.
. "$(dirname "$0")/klpr.sh"
plan 10

P=$LP/klpr_patch_a
sleeper() { # FILE: a task that sleeps in the function behind the file
	cat "$TARGET/$1" >/tmp/klpr-sleeper 2>&1 &
	SLEEPER=$!
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
}
release() { echo 1 >$TARGET/parameters/release; wait "$SLEEPER"; }

start "wait for a task that sleeps in a patched function"
target
sleeper sleep_hard
load_nowait klpr_patch_a what=sleep_hard
sleep 2
expect $P/transition 1
expect $P/enabled 1
expect /proc/$SLEEPER/patch_state 0
# All other tasks have switched, this shell among them.
expect /proc/$$/patch_state 1
release
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
expect /proc/$$/patch_state -1
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "wait for a task in the caller of a patched function"
# Its return address is where the architecture has saved it for the redirected call.
target
load klpr_patch_a what=sleep_new
cat $TARGET/sleep_hard >/tmp/klpr-sleeper 2>&1 &
SLEEPER=$!
wait_until 10 value_is /sys/module/klpr_patch_a/parameters/sleepers 1 || fail "no task sleeps"
load_nowait klpr_patch_b what=sleep_caller
wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
sleep 2
expect $LP/klpr_patch_b/transition 1
expect /proc/$SLEEPER/patch_state 0
echo 1 >/sys/module/klpr_patch_a/parameters/release
wait "$SLEEPER"
expect /tmp/klpr-sleeper released
wait_until 30 settled klpr_patch_b || fail "the transition does not end"
expect $TARGET/sleep_hard 200
disable klpr_patch_b
disable klpr_patch_a
unload klpr_patch_b
unload klpr_patch_a
no_target
ok

start "reverse a transition that waits for a task"
target
sleeper sleep_hard
load_nowait klpr_patch_a what=sleep_hard
sleep 1
expect $P/transition 1
echo 0 >$P/enabled || fail "it cannot be reversed"
# No task has to leave anything: the sleeping one never got the new function.
wait_until 30 gone $P || fail "the transition does not end"
logged "'klpr_patch_a': unpatching complete"
not_logged "'klpr_patch_a': patching complete"
unload klpr_patch_a
release
no_target
ok

start "reverse a transition, and reverse it again"
target
sleeper sleep_hard
load_nowait klpr_patch_a what=sleep_hard
sleep 1
# Two writes in a row: the second finds the transition of the first, or comes too
# late for it.
echo 0 >$P/enabled
echo 1 >$P/enabled 2>/dev/null
release
if wait_until 5 gone $P; then :; else
	wait_until 30 settled klpr_patch_a || fail "the transition does not end"
	disable klpr_patch_a
fi
unload klpr_patch_a
no_target
ok

start "refuse a second transition, and disabling, during one"
target
sleeper sleep_hard
load_nowait klpr_patch_b
wait_until 30 settled klpr_patch_b || fail "the transition does not end"
load_nowait klpr_patch_a what=sleep_hard
refused "Device or resource busy" klpr_patch_c what=only_two
(echo 0 >$LP/klpr_patch_b/enabled) 2>/dev/null && fail "a patch could be disabled"
expect $TARGET/parameters/one 201
release
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
disable klpr_patch_a
disable klpr_patch_b
unload klpr_patch_a
unload klpr_patch_b
no_target
ok

start "wake a task that sleeps interruptibly by a fake signal"
target
sleeper sleep
load_nowait klpr_patch_a what=sleep
wait_until 60 settled klpr_patch_a || fail "the transition does not end"
# Not before 15 seconds have passed, by the log's own clock.
waited=$(dmesg | awk -F'[][]' -v mark="$MARK" '
	index($0, mark) { found = 1 }
	found && /starting patching transition/ { from = $2 }
	found && /livepatch: signaling remaining tasks/ { print int($2 - from); exit }')
[ -n "$waited" ] || fail "no task was signaled"
[ "$waited" -ge 14 ] || fail "tasks were signaled after $waited s already"
# The signal is fake: the call has to be restarted, in the new function.
wait "$SLEEPER"
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "wait for a kernel thread that never leaves the kernel"
target thread=spin
load_nowait klpr_patch_a what=spin
sleep 2
expect $P/transition 1
expect /proc/$(pgrep -x klpr_thread)/patch_state 0
echo 1 >$TARGET/parameters/release
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "switch a kernel thread that sleeps now and then"
target thread=sleep
load klpr_patch_a
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "unload the target in the middle of a transition"
target thread=spin
load_nowait klpr_patch_a what=spin_both
sleep 0.5
expect $P/transition 1
# Unloading makes the thread leave the function, too.
rmmod klpr_target || fail "the target cannot be unloaded"
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
expect /proc/cmdline "klpr 100"
expect $P/klpr_target/patched 0
disable klpr_patch_a
unload klpr_patch_a
ok

start "load and unload another module in the middle of a transition"
target thread=spin
load_nowait klpr_patch_b what=spin
expect $LP/klpr_patch_b/transition 1
insmod "$MODS/klpr_kprobe.ko" post=0 || fail "a module cannot be loaded"
rmmod klpr_kprobe
echo 1 >$TARGET/parameters/release
wait_until 30 settled klpr_patch_b || fail "the transition does not end"
disable klpr_patch_b
unload klpr_patch_b
no_target
ok
