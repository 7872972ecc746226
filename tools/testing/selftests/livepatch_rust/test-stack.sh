#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Several patches: stacked, disabled, replaced.
. "$(dirname "$0")/klpr.sh"
plan 4

start "disable three stacked patches in order"
target
for p in a b c; do load klpr_patch_$p; done
expect $TARGET/parameters/one 301
expect $LP/klpr_patch_c/stack_order 3
disable klpr_patch_c; expect $TARGET/parameters/one 201
disable klpr_patch_b; expect $TARGET/parameters/one 101
disable klpr_patch_a; expect $TARGET/parameters/one 1
for p in a b c; do unload klpr_patch_$p; done
no_target
ok

start "replace two patches by one that has one of their functions"
target
load klpr_patch_a what=two
load klpr_patch_b
expect $TARGET/parameters/one 201
expect $TARGET/parameters/two 102
load klpr_patch_c replace=1
expect $TARGET/parameters/one 301
expect $TARGET/parameters/two 2
wait_until 20 gone $LP/klpr_patch_a || fail "klpr_patch_a is still there"
wait_until 20 gone $LP/klpr_patch_b || fail "klpr_patch_b is still there"
# The nops are gone, too.
[ "$(ls $LP/klpr_patch_c/klpr_target | tr '\n' ' ')" = "klpr_target_one,1 patched " ] ||
	fail "klpr_patch_c has $(ls $LP/klpr_patch_c/klpr_target)"
[ "$(grep -c . /sys/kernel/tracing/enabled_functions)" = 1 ] || fail "not one function is hooked"
unload klpr_patch_a
unload klpr_patch_b
disable klpr_patch_c
unload klpr_patch_c
expect $TARGET/parameters/one 1
no_target
ok

start "replace a patch by one for another object"
target
load klpr_patch_a
load klpr_patch_b what=vmlinux replace=1
expect $TARGET/parameters/one 1
expect /proc/cmdline "klpr 200"
[ ! -e $LP/klpr_patch_b/klpr_target ] || fail "the object for the nops is still there"
unload klpr_patch_a
disable klpr_patch_b
unload klpr_patch_b
no_target
ok

start "reverse a replacement: the old patch stays"
target
cat $TARGET/sleep_hard >/dev/null &
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
load klpr_patch_a
load_nowait klpr_patch_b what=sleep_hard replace=1
sleep 1
expect $LP/klpr_patch_b/transition 1
[ -d "$LP/klpr_patch_b/klpr_target/klpr_target_one,1" ] || fail "there is no nop"
echo 0 >$LP/klpr_patch_b/enabled
wait_until 30 gone $LP/klpr_patch_b || fail "the transition does not end"
expect $TARGET/parameters/one 101
expect $LP/klpr_patch_a/enabled 1
echo 1 >$TARGET/parameters/release
wait
unload klpr_patch_b
disable klpr_patch_a
unload klpr_patch_a
no_target
ok
