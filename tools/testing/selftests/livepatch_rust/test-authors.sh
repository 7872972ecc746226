#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the API for patches in Rust promises to authors: whatever happens, all that belongs
# to a patch is freed, and nothing that belongs to another patch.
. "$(dirname "$0")/klpr.sh"
plan 9

[ -e "$MODS/klpr_rust_keep1.ko" ] || { echo "SKIP: this kernel has no Rust"; exit 4; }

one() { expect $TARGET/parameters/one "$1"; }

off() {
	disable "$1"
	unload "$1"
}

# parameter NAME VALUE: check a parameter of klpr_rust_more.
parameter() { expect /sys/module/klpr_rust_more/parameters/"$1" "$2"; }
# set_parameter NAME VALUE
set_parameter() { echo "$2" >/sys/module/klpr_rust_more/parameters/"$1"; }

start "a patch that fails to be initialised leaves nothing"
target
refused "No space left on device" klpr_rust_keep2 fail=1
# The module was still there when they were dropped, one after the other.
logged "klpr_rust_keep2: first dropped"
logged "klpr_rust_keep2: second dropped"
not_logged "klpr_rust_keep2: (disabled|dropped)"
no_target
ok

start "a patch that is disabled undoes what no patch takes over"
target
load klpr_rust_keep1
one 501
off klpr_rust_keep1
logged "klpr_rust_keep1: disabled"
logged "klpr_rust_keep1: dropped"
load klpr_rust_keep2
# What the other patch had made is gone, and this one has made its own.
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

start "a patch that fails to be enabled takes nothing over"
target
load klpr_rust_keep1
cat $TARGET/sleep_hard >/dev/null &
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
load_nowait klpr_rust_keep2
wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
expect $LP/klpr_rust_keep2/transition 1
one 601
# Reversed, as the sleeping task keeps the transition from completing.
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

start "the original of a function that is replaced can be called"
boot_line=$(cat /proc/cmdline)
target
load klpr_rust_more
expect /proc/cmdline "$boot_line"$'\n'"and more"
one 11001
expect $TARGET/parameters/two 1
# -55, and once more each of the last two arguments.
expect $TARGET/parameters/many -36
# By a structure that bindgen has generated from the target's own header.
expect $TARGET/parameters/sum -5321
# It is the same when the function is traced, patched twice or loaded anew.
echo klpr_target_one >/sys/kernel/tracing/set_ftrace_filter
echo function >/sys/kernel/tracing/current_tracer
one 11001
echo nop >/sys/kernel/tracing/current_tracer
echo >/sys/kernel/tracing/set_ftrace_filter
load klpr_patch_a
one 101
off klpr_patch_a
one 11001
no_target
target
one 11001
expect $TARGET/parameters/many -36
off klpr_rust_more
one 1
expect $TARGET/parameters/many -55
expect $TARGET/parameters/sum -321
expect /proc/cmdline "$boot_line"
no_target
ok

start "parameters are written while the patch is in use"
target
load klpr_rust_more add=7
parameter add 7
parameter negative N
one 10008
set_parameter add -5 || fail "it cannot be written"
parameter add -5
one 9996
set_parameter negative 1 || fail "it cannot be written"
parameter negative Y
one 10006
for bad in x "" 2147483648; do
	! set_parameter add "$bad" 2>/dev/null || fail "it takes '$bad'"
done
parameter add -5
[ ! -e /sys/module/klpr_rust_more/parameters/missing ] || fail "a parameter is there that should not"
off klpr_rust_more
load klpr_rust_more negative
parameter negative Y
off klpr_rust_more
refused "Invalid parameters" klpr_rust_more add=x
refused "Invalid parameters" klpr_rust_more add
no_target
ok

start "replacements read the patch's state"
target
load klpr_rust_more
logged 'klpr_rust_more: state: Some\(10000\) while it is made'
one 11001
off klpr_rust_more
logged 'klpr_rust_more: state: Some\(10000\) while it is undone'
refused "No space left on device" klpr_rust_more fail=1
one 1
no_target
ok

start "variables that are not exported can be read"
if [ -e "$MODS/klpr_rust_data.linked.ko" ]; then
	line=$(cat /proc/cmdline)
	insmod "$MODS/klpr_rust_data.linked.ko" || fail "the module cannot be loaded"
	wait_until 60 settled klpr_rust_data || fail "the transition does not end"
	expect /proc/cmdline "${#line} characters, CPU 0, CPU 1, no target"
	target
	expect /proc/cmdline "${#line} characters, CPU 0, CPU 1, released: false"
	echo 1 >$TARGET/parameters/release
	expect /proc/cmdline "${#line} characters, CPU 0, CPU 1, released: true"
	no_target
	expect /proc/cmdline "${#line} characters, CPU 0, CPU 1, no target"
	off klpr_rust_data
	expect /proc/cmdline "$line"
	ok
else
	skip_case "this kernel's objtool has no klp post-link"
fi
