#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Patches that must be refused: the error, the log, and that nothing is left.
. "$(dirname "$0")/klpr.sh"
plan 23

inval="Invalid parameters"

target
for what in no_mod no_objs no_funcs no_name no_new_func long_name long_object; do
	rmmod klpr_target
	start "refuse a patch: $what"
	target
	refused "$inval" klpr_patch_a what=$what
	expect $TARGET/parameters/one 1
	no_target
	ok
	target
done
no_target

start "refuse a module that is not marked as a livepatch"
target
refused "$inval" klpr_unmarked
logged "livepatch: module klpr_unmarked is not marked as a livepatch module"
no_target
ok

start "refuse the module of a patch that is loaded"
target
load klpr_patch_a
out=$(insmod "$MODS/klpr_patch_a.ko" 2>&1) && fail "it was loaded twice"
case $out in *"File exists") ;; *) fail "insmod said: $out";; esac
expect $TARGET/parameters/one 101
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse a patch that is enabled"
if has_rust_core; then
	target
	load klpr_patch_a what=twice
	logged "livepatch: patch 'klpr_patch_a' is already enabled"
	logged "klpr_patch_a: second time: -17"
	expect $TARGET/parameters/one 101
	disable klpr_patch_a
	unload klpr_patch_a
	no_target
	ok
else
	skip_case "the core in C corrupts its lists"
fi

start "refuse an unknown symbol"
target
refused "$inval" klpr_patch_a what=unknown
logged "livepatch: symbol 'klpr_no_such_function' not found in symbol table"
refused "$inval" klpr_patch_a what=unknown_last
expect $TARGET/parameters/two 2
no_target
ok

start "refuse a symbol that is not unique"
target
expect $TARGET/parameters/dup 3
expect $TARGET/parameters/dup2 30
refused "$inval" klpr_patch_a what=dup
logged "livepatch: unresolvable ambiguity for symbol 'klpr_target_dup' in object 'klpr_target'"
no_target
ok

start "refuse a sympos that is too large"
target
refused "$inval" klpr_patch_a what=dup3
logged "livepatch: symbol position 3 for symbol 'klpr_target_dup' in object 'klpr_target' not found"
no_target
ok

start "distinguish symbols of one name by sympos"
target
load klpr_patch_a what=dup2
[ -d "$LP/klpr_patch_a/klpr_target/klpr_target_dup,2" ] || fail "no folder for the second function"
sum=$(($(cat $TARGET/parameters/dup) + $(cat $TARGET/parameters/dup2)))
[ "$sum" = 131 ] || [ "$sum" = 104 ] || fail "not just one of the two is patched: $sum"
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse a function that ftrace cannot hook"
target
refused "$inval" klpr_patch_a what=notrace
logged "livepatch: failed to find location for function 'klpr_target_notrace'"
logged "livepatch: failed to patch object 'klpr_target'"
logged "livepatch: failed to enable patch 'klpr_patch_a'"
expect $TARGET/parameters/one 1
no_target
ok

start "refuse a function that a kprobe changes"
target
insmod "$MODS/klpr_kprobe.ko" || fail "the kprobe cannot be loaded"
refused "Device or resource busy" klpr_patch_a what=two
logged "livepatch: failed to register ftrace handler for function 'klpr_target_one' \(-16\)"
expect $TARGET/parameters/one 1
expect $TARGET/parameters/two 2
# The kprobe does not affect a patch for another function of the object.
load klpr_patch_a what=only_two
expect $TARGET/parameters/two 102
disable klpr_patch_a
unload klpr_patch_a
rmmod klpr_kprobe
no_target
ok

start "keep a function patched when a kprobe is added"
target
load klpr_patch_a
insmod "$MODS/klpr_kprobe.ko" post=0 || fail "a kprobe that changes nothing cannot be loaded"
expect $TARGET/parameters/one 101
rmmod klpr_kprobe
# Kprobes may or may not refuse one that changes something; it must not take the
# function from the patch.
if insmod "$MODS/klpr_kprobe.ko" 2>/dev/null; then
	expect $TARGET/parameters/one 101
	rmmod klpr_kprobe
fi
expect $TARGET/parameters/one 101
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse states that are older than what is there"
target
load klpr_patch_a state_version=2
refused "$inval" klpr_patch_b state_version=1
logged "livepatch: Livepatch patch \(klpr_patch_b\) is not compatible with the already installed livepatches"
refused "$inval" klpr_patch_b replace=1
load klpr_patch_b state_version=3 what=only_two
disable klpr_patch_b
unload klpr_patch_b
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse a patch whose pre_patch callback fails"
target
refused "No such device" klpr_patch_a pre_patch_ret=-19
logged "livepatch: pre-patch callback failed for object 'klpr_target'"
logged "livepatch: failed to enable patch 'klpr_patch_a'"
logged "livepatch: 'klpr_patch_a': unpatching complete"
no_target
ok

start "refuse a module for which a pre_patch callback fails"
load klpr_patch_a what=both pre_patch_ret=-12
expect /proc/cmdline "klpr 100"
out=$(insmod "$MODS/klpr_target.ko" 2>&1) && fail "the target was loaded"
case $out in *"Cannot allocate memory") ;; *) fail "insmod said: $out";; esac
logged "livepatch: pre-patch callback failed for object 'klpr_target'"
logged "livepatch: patch 'klpr_patch_a' failed for module 'klpr_target', refusing to load module 'klpr_target'"
# Once it agrees, the target can be loaded, and is patched.
echo 0 >/sys/module/klpr_patch_a/parameters/pre_patch_ret
target
expect $TARGET/parameters/one 101
no_target
disable klpr_patch_a
unload klpr_patch_a
ok

start "undo what earlier patches have done to a module that a later one refuses"
load klpr_patch_a what=two
load klpr_patch_b pre_patch_ret=-12
out=$(insmod "$MODS/klpr_target.ko" 2>&1) && fail "the target was loaded"
logged "livepatch: applying patch 'klpr_patch_a' to loading module 'klpr_target'"
logged "livepatch: patch 'klpr_patch_b' failed for module 'klpr_target', refusing to load module 'klpr_target'"
expect $LP/klpr_patch_a/klpr_target/patched 0
echo 0 >/sys/module/klpr_patch_b/parameters/pre_patch_ret
target
expect $TARGET/parameters/one 201
expect $TARGET/parameters/two 102
no_target
disable klpr_patch_b
unload klpr_patch_b
disable klpr_patch_a
unload klpr_patch_a
ok

start "refuse a module that lacks a function of a patch"
load klpr_patch_a what=unknown
out=$(insmod "$MODS/klpr_target.ko" 2>&1) && fail "the target was loaded"
logged "livepatch: symbol 'klpr_no_such_function' not found in symbol table"
logged "livepatch: failed to initialize patch 'klpr_patch_a' for module 'klpr_target' \(-22\)"
logged "refusing to load module 'klpr_target'"
disable klpr_patch_a
unload klpr_patch_a
ok

start "refuse a patch that names a function twice"
target
# sysfs detects it, and logs a trace. The module loader keeps EEXIST for itself, and
# turns it into EBUSY.
expect_splat "Call Trace:"
refused "Device or resource busy" klpr_patch_a what=same_func
logged "sysfs: cannot create duplicate filename .*klpr_patch_a/klpr_target/klpr_target_one,1"
expect $TARGET/parameters/one 1
no_target
ok
