#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The list of patches, as the debugger drgn finds it in the running kernel. DRGN is the
# debugger's path, VMLINUX the kernel with debug information, KLP_DUMP the script.
# shellcheck disable=SC2119
# shellcheck source-path=SCRIPTDIR source=klpr.sh
. "$(dirname "$0")/klpr.sh"
[ -x "${DRGN:-}" ] || { echo "SKIP: DRGN is not the path of drgn"; exit 4; }
plan 2

A=klpr_patch_a B=klpr_patch_b

# dump: what the script says. It runs by itself: drgn reads all of the debug information.
dump() { "$DRGN" -q -s "$VMLINUX" "$KLP_DUMP" 2>&1; }
expect_dump() { # TEXT
	local found
	found=$(dump)
	[ "$found" = "$1" ] || fail "drgn says \"$found\", not \"$1\""
}

start "patches that are enabled, in their order"
expect_dump ""
target
load $A what=two
load $B
expect_dump "$A: enabled
  klpr_target
    klpr_target_one -> klpr_one
    klpr_target_two -> klpr_two
$B: enabled
  klpr_target
    klpr_target_one -> klpr_one"
disable $B
unload $B
disable $A
unload $A
no_target
ok

start "a patch in transition, and one with nops that replaces it"
target
cat "$TARGET/sleep_hard" >/dev/null &
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
load_nowait $A what=sleep_hard
expect_dump "$A: enabled, in transition
  klpr_target
    klpr_target_sleep_hard -> klpr_sleep"
echo 1 >$TARGET/parameters/release
wait
wait_until 30 settled $A || fail "the transition does not end"
load $B replace=1
expect_dump "$B: enabled, replace
  klpr_target
    klpr_target_one -> klpr_one"
disable $B
unload $B
unload $A
no_target
ok
