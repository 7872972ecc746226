#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the API for patches in Rust promises their authors: whatever comes in between,
# all is freed that belongs to a patch, and nothing that belongs to another one.
. "$(dirname "$0")/klpr.sh"
plan 5

[ -e "$MODS/klpr_rust_keep1.ko" ] || { echo "SKIP: this kernel has no Rust"; exit 4; }

one() { expect $TARGET/parameters/one "$1"; }

off() {
	disable "$1"
	unload "$1"
}

start "a patch that fails to be initialised leaves nothing"
target
refused "No space left on device" klpr_rust_keep2 fail=1
# It was there when they were dropped, one after the other.
logged "klpr_rust_keep2: first dropped"
logged "klpr_rust_keep2: second dropped"
not_logged "klpr_rust_keep2: (disabled|dropped)"
no_target
ok

start "a patch that is disabled undoes what nobody takes over"
target
load klpr_rust_keep1
one 501
off klpr_rust_keep1
logged "klpr_rust_keep1: disabled"
logged "klpr_rust_keep1: dropped"
load klpr_rust_keep2
# What the other one had made is gone, and this has made its own.
one 602
off klpr_rust_keep2
logged "klpr_rust_keep2: disabled"
logged "klpr_rust_keep2: second dropped"
no_target
ok

start "a patch that replaces another takes over"
target
load klpr_rust_keep1
load klpr_rust_keep2
one 601
unload klpr_rust_keep1
not_logged "klpr_rust_keep1: disabled"
logged "klpr_rust_keep1: dropped"
one 601
off klpr_rust_keep2
no_target
ok

start "a patch that fails to be enabled takes nothing along"
target
load klpr_rust_keep1
cat $TARGET/sleep_hard >/dev/null &
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
load_nowait klpr_rust_keep2
wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
expect $LP/klpr_rust_keep2/transition 1
one 601
# Reversed, as a task stands in its way.
off klpr_rust_keep2
one 501
not_logged "klpr_rust_keep2: disabled"
logged "klpr_rust_keep2: dropped"
echo 1 >$TARGET/parameters/release
wait
off klpr_rust_keep1
no_target
ok

start "disabling that is reversed undoes nothing"
target
load klpr_rust_keep2
cat $TARGET/sleep_hard >/dev/null &
wait_until 10 logged_now "klpr_rust_keep2: asleep" || fail "no task sleeps"
echo 0 >$LP/klpr_rust_keep2/enabled || fail "it cannot be disabled"
wait_until 30 value_is /proc/$$/patch_state 0 || fail "the test's shell does not switch"
echo 1 >$LP/klpr_rust_keep2/enabled || fail "it cannot be reversed"
wait_until 30 settled klpr_rust_keep2 || fail "the transition does not end"
not_logged "klpr_rust_keep2: disabled"
# Wakes the sleeper up.
one 602
wait
off klpr_rust_keep2
logged "klpr_rust_keep2: disabled"
no_target
ok
