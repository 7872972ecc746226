#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The sample patches in Rust, with those in C as their counterparts and targets.
. "$(dirname "$0")/klpr.sh"
plan 14

SAMPLES=${KLP_SAMPLES:-${KLP_BUILD:+$KLP_BUILD/samples/livepatch}}
SAMPLES=${SAMPLES:-/lib/modules/$(uname -r)/kernel/samples/livepatch}
[ -e "$SAMPLES/rust_livepatch_sample.ko" ] || {
	echo "SKIP: no samples in $SAMPLES; set KLP_SAMPLES=<folder>"
	exit 4
}
LIVE="this has been live patched"
MODS_OF_TESTS=$MODS

# sample FILE [PARAMETERS]: load a sample patch and wait for its transition.
sample() {
	local mod=${1//-/_} file=$1; shift
	insmod "$SAMPLES/$file.ko" "$@" || fail "$file cannot be loaded"
	wait_until 60 settled "$mod" || fail "the transition of $mod does not end"
}

# module FILE: load what a sample patches.
module() { insmod "$SAMPLES/$1.ko" || fail "$1 cannot be loaded"; }

# off PATCH...: disable patches, and unload their modules.
off() {
	local p
	for p in "$@"; do
		disable "$p"
		unload "$p"
	done
}

# sample_refused ERROR FILE [PARAMETERS]
sample_refused() {
	MODS=$SAMPLES
	refused "$@"
	MODS=$MODS_OF_TESTS
}

# in_order REGEX...: check that the log of the case has these lines, in this order.
in_order() {
	local rest wanted
	rest=$(since)
	for wanted; do
		grep -qE -- "$wanted" <<<"$rest" || fail "the log has no line, or not in this order: $wanted"
		rest=$(sed -n "\\%$wanted%,\$p" <<<"$rest" | tail -n +2)
	done
}

# no_sample_left: check that all modules of the samples are gone.
no_sample_left() {
	local left
	left=$(lsmod | awk '/^(rust_)?livepatch_/ { print $1 }')
	[ -z "$left" ] || fail "modules are left: $left"
}

done_with() {
	no_sample_left
	ok
}

# described PATCH: print the sysfs tree of a patch with modes and values, and the log.
described() {
	(cd "$LP/$1" && find . -printf '%P %m %y\n' | sort
	for f in enabled transition replace stack_order vmlinux/patched; do echo "$f: $(cat $f)"; done)
}

# forget_leaks_of FUNCTION: where kmemleak searches for leaks, this function leaks on
# purpose, and nothing else does.
forget_leaks_of() {
	local file=/sys/kernel/debug/kmemleak all
	[ -e $file ] || return 0
	# kmemleak ignores what is younger than five seconds, and reports what it has
	# found twice.
	sleep 6
	echo scan >$file
	sleep 1
	echo scan >$file
	all=$(cat $file)
	[ "$(grep -c 'unreferenced object' <<<"$all")" = "$(grep -c "^ *$1+" <<<"$all")" ] ||
		fail "not only $1 leaks: $all"
	echo clear >$file
}

start "do the same in C and in Rust"
before=$(cat /proc/cmdline)
for patch in livepatch_sample rust_livepatch_sample; do
	file=$patch
	[ $patch = rust_livepatch_sample ] || file=livepatch-sample
	klog "klpr: begin of $patch"
	sample $file
	described $patch >/tmp/klpr-tree-$patch
	expect /proc/cmdline "$LIVE"
	modinfo -F livepatch "$SAMPLES/$file.ko" >>/tmp/klpr-tree-$patch
	disable $patch
	expect /proc/cmdline "$before"
	unload $patch
	# Without the module loader's messages about out-of-tree modules.
	since | sed -n "/klpr: begin of $patch/,\$p" | grep '^livepatch: ' |
		sed "s/'$patch'/'PATCH'/" >/tmp/klpr-log-$patch
done
cmp /tmp/klpr-tree-livepatch_sample /tmp/klpr-tree-rust_livepatch_sample ||
	fail "sysfs: $(diff /tmp/klpr-tree-livepatch_sample /tmp/klpr-tree-rust_livepatch_sample)"
cmp /tmp/klpr-log-livepatch_sample /tmp/klpr-log-rust_livepatch_sample ||
	fail "the log: $(diff /tmp/klpr-log-livepatch_sample /tmp/klpr-log-rust_livepatch_sample)"
[ "$(grep -c complete /tmp/klpr-log-rust_livepatch_sample)" = 2 ] || fail "the log does not have two transitions"
[ "$(grep -c . /tmp/klpr-tree-rust_livepatch_sample)" -ge 14 ] || fail "sysfs has too little"
rm -f /tmp/klpr-tree-* /tmp/klpr-log-*
done_with

start "stack patches in C and in Rust on one another"
target
sample livepatch-sample
sample rust_livepatch_sample
load klpr_patch_a what=vmlinux
expect /proc/cmdline "klpr 100"
expect $LP/livepatch_sample/stack_order 1
expect $LP/rust_livepatch_sample/stack_order 2
expect $LP/klpr_patch_a/stack_order 3
off klpr_patch_a
expect /proc/cmdline "$LIVE"
off rust_livepatch_sample
expect /proc/cmdline "$LIVE"
off livepatch_sample
no_target
done_with

start "replace patches in Rust by one in C, and the other way round"
target
sample rust_livepatch_sample
load klpr_patch_a what=vmlinux replace=1
expect /proc/cmdline "klpr 100"
unload rust_livepatch_sample
# This patch replaces all others, and has none of their functions.
sample rust_livepatch_state2
wait_until 20 gone $LP/klpr_patch_a || fail "klpr_patch_a is still there"
[ "$(cat /proc/cmdline)" = "$before" ] || fail "/proc/cmdline is not what it was"
unload klpr_patch_a
off rust_livepatch_state2
no_target
done_with

start "patch a module that is loaded after the patch"
sample rust_livepatch_module
expect $LP/rust_livepatch_module/livepatch_callbacks_busymod/patched 0
module livepatch-callbacks-busymod
expect $LP/rust_livepatch_module/livepatch_callbacks_busymod/patched 1
wait_until 20 logged_now "rust_livepatch_module: busymod_work_func\(\) has been live patched" ||
	fail "the function is not patched"
rmmod livepatch_callbacks_busymod
expect $LP/rust_livepatch_module/livepatch_callbacks_busymod/patched 0
off rust_livepatch_module
done_with

start "patch a module that is loaded before the patch"
module livepatch-callbacks-busymod
# Its work item sleeps in the function for 30 seconds, so that the patch has to wait.
sample rust_livepatch_module
expect $LP/rust_livepatch_module/livepatch_callbacks_busymod/patched 1
not_logged "has been live patched"
off rust_livepatch_module
rmmod livepatch_callbacks_busymod
done_with

R='rust_livepatch_callbacks: '
start "call callbacks with the patch's own state"
sample rust_livepatch_callbacks
module livepatch-callbacks-mod
rmmod livepatch_callbacks_mod
module livepatch-callbacks-mod
disable rust_livepatch_callbacks
rmmod livepatch_callbacks_mod
unload rust_livepatch_callbacks
in_order "${R}vmlinux: about to be patched" "${R}vmlinux: patched, 1 at present" \
	"${R}livepatch_callbacks_mod: about to be patched" "${R}livepatch_callbacks_mod: patched, 2 at present" \
	"${R}livepatch_callbacks_mod: about to be unpatched, 1 at present" "${R}livepatch_callbacks_mod: unpatched" \
	"${R}livepatch_callbacks_mod: patched, 2 at present" \
	"${R}vmlinux: about to be unpatched, 1 at present" \
	"${R}livepatch_callbacks_mod: about to be unpatched, 0 at present" \
	"${R}vmlinux: unpatched" "${R}livepatch_callbacks_mod: unpatched" \
	"${R}dropped, 0 at present"
done_with

start "refuse by a callback"
sample_refused "Operation not permitted" rust_livepatch_callbacks refuse=1
in_order "${R}vmlinux: refused" "livepatch: pre-patch callback failed for object 'vmlinux'" \
	"livepatch: failed to enable patch 'rust_livepatch_callbacks'" "${R}dropped, 0 at present"
done_with

start "stop a leak by shadow variables, and hand them over"
module livepatch-shadow-mod
sleep 2
sample rust_livepatch_shadow_fix1
sleep 2
sample rust_livepatch_shadow_fix2
unload rust_livepatch_shadow_fix1
# Dummies from before the patches leak; those of the first and the second patch do not.
wait_until 60 logged_now "rust_livepatch_shadow_fix2: dummy @ .* leaked!" || fail "nothing leaks"
wait_until 60 logged_now "rust_livepatch_shadow_fix2: prevented leak" || fail "no leak is prevented"
wait_until 60 logged_now "rust_livepatch_shadow_fix2: dummy @ .*, checked [1-9]" || fail "nothing is counted"
made=$(since | grep -c 'rust_livepatch_shadow_fix1: dummy @ .*, expires')
[ "$made" -gt 0 ] || fail "the first patch has made nothing"
off rust_livepatch_shadow_fix2
# The remaining ones were freed when the module was unloaded.
prevented=$(since | grep -c 'rust_livepatch_shadow_fix2: prevented leak')
made=$(since | grep -c 'rust_livepatch_shadow_fix[12]: dummy @ .*, expires')
[ "$prevented" = "$made" ] || fail "$made were made, $prevented leaks prevented"
forget_leaks_of dummy_alloc
rmmod livepatch_shadow_mod
done_with

start "take over the shadow variables of a patch in C"
if [ -e "$MODS/klpr_rust_leaks.ko" ]; then
	module livepatch-shadow-mod
	sample livepatch-shadow-fix1
	wait_until 60 logged_now "livepatch_fix1_dummy_alloc: dummy @" || fail "the patch in C makes nothing"
	# It replaces that patch, and frees what that has made.
	load klpr_rust_leaks
	wait_until 20 gone $LP/livepatch_shadow_fix1 || fail "the patch in C is still there"
	freed=$(since | grep -c "livepatch_fix1_dummy_free: ")
	wait_until 120 logged_now "klpr_rust_leaks: prevented leak" || fail "no leak is prevented"
	[ "$(since | grep -c "livepatch_fix1_dummy_free: ")" = "$freed" ] || fail "the patch in C still runs"
	off klpr_rust_leaks
	# The rest is freed by the module that has made it.
	unload livepatch_shadow_fix1
	made=$(since | grep -c "livepatch_fix1_dummy_alloc: dummy @")
	prevented=$(since | grep -c "prevented leak")
	[ "$prevented" = "$made" ] || fail "$made were made, $prevented leaks prevented"
	forget_leaks_of dummy_alloc
	rmmod livepatch_shadow_mod
	done_with
else
	skip_case "this kernel has no Rust"
fi

level() { [ "$(cut -f1 /proc/sys/kernel/printk)" = "$1" ]; }
start "make a state, take it over, undo it"
level_before=$(cut -f1 /proc/sys/kernel/printk)
sample rust_livepatch_state1
level 15 || fail "the level is $(cat /proc/sys/kernel/printk)"
off rust_livepatch_state1
level "$level_before" || fail "the level is $(cat /proc/sys/kernel/printk)"
sample rust_livepatch_state1
sample rust_livepatch_state2
level 8 || fail "the level is $(cat /proc/sys/kernel/printk)"
logged "rust_livepatch_state2: taking over version 1, old level $level_before"
unload rust_livepatch_state1
# An older version cannot take over from a newer one.
sample_refused "Invalid parameters" rust_livepatch_state1
level 8 || fail "the level is $(cat /proc/sys/kernel/printk)"
off rust_livepatch_state2
level "$level_before" || fail "the level is $(cat /proc/sys/kernel/printk)"
done_with

start "reverse the taking over of a state"
target
cat $TARGET/sleep_hard >/dev/null &
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
sample rust_livepatch_state1
# The task is in a function that the second patch takes from a third: it has to wait.
load_nowait klpr_patch_a what=sleep_hard
expect $LP/klpr_patch_a/transition 1
sample_refused "Device or resource busy" rust_livepatch_state2
level 15 || fail "the level is $(cat /proc/sys/kernel/printk)"
echo 1 >$TARGET/parameters/release
wait
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
off klpr_patch_a rust_livepatch_state1
level "$level_before" || fail "the level is $(cat /proc/sys/kernel/printk)"
no_target
done_with

start "add a missing check: kernel.sysrq"
sysrq=/proc/sys/kernel/sysrq
sysrq_before=$(cat $sysrq)
echo 4096 >$sysrq || fail "the kernel has the check"
expect $sysrq 4096
echo "$sysrq_before" >$sysrq
sample rust_livepatch_sysrq
for value in 4096 -1 512; do
	(echo $value >$sysrq) 2>/dev/null && fail "$value could be written"
	expect $sysrq "$sysrq_before"
done
echo 438 >$sysrq || fail "438 could not be written"
expect $sysrq 438
echo "$sysrq_before" >$sysrq
off rust_livepatch_sysrq
echo 4096 >$sysrq || fail "the kernel has the check"
echo "$sysrq_before" >$sysrq
done_with

start "find a sleeping task in a function in Rust"
if [ -e "$MODS/klpr_rust_sleep.ko" ]; then
	target
	load klpr_rust_sleep
	cat $TARGET/sleep_hard >/dev/null &
	sleeper=$!
	wait_until 10 logged_now "klpr_rust_sleep: asleep" || fail "no task sleeps"
	echo 0 >$LP/klpr_rust_sleep/enabled || fail "it cannot be disabled"
	sleep 2
	# Its stack is reliable, and has the wrapper that keeps the replacement's frame.
	expect $LP/klpr_rust_sleep/transition 1
	expect /proc/$sleeper/patch_state 1
	expect /proc/$$/patch_state 0
	echo 1 >$LP/klpr_rust_sleep/enabled || fail "it cannot be reversed"
	wait_until 30 settled klpr_rust_sleep || fail "the transition does not end"
	expect $TARGET/parameters/one 401
	wait "$sleeper"
	logged "klpr_rust_sleep: awake"
	off klpr_rust_sleep
	no_target
	done_with
else
	skip_case "this kernel has no Rust"
fi

start "call a function that is not exported"
UNEXPORTED=$SAMPLES/rust_livepatch_unexported
if [ -e "$UNEXPORTED.linked.ko" ]; then
	# As the linker has made it, it has no address.
	sample_refused "Unknown symbol in module" rust_livepatch_unexported
	logged "livepatch: 'uptime_proc_show' has no address: give the patch's module to .objtool klp post-link."
	insmod "$UNEXPORTED.linked.ko" || fail "the module cannot be loaded"
	wait_until 60 settled rust_livepatch_unexported || fail "the transition does not end"
	grep -qxE '[0-9]+\.[0-9]+ [0-9]+\.[0-9]+' /proc/cmdline || fail "/proc/cmdline is $(cat /proc/cmdline)"
	off rust_livepatch_unexported
	expect /proc/cmdline "$before"
	done_with
else
	skip_case "this kernel's objtool has no klp post-link"
fi
