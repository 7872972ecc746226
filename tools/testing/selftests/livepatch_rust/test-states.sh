#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A callback may ask for the state of earlier patches in any context:
# klp_get_prev_state() takes no lock.
. "$(dirname "$0")/klpr.sh"
plan 5

# asks HOW VERSION: check that the callback finds this version, or none, which is 0.
asks() {
	load klpr_prev how="$1"
	expect /sys/module/klpr_prev/parameters/found "$2"
	expect $TARGET/parameters/one 701
	disable klpr_prev
	unload klpr_prev
}

start "no earlier patch has a state"
target
load klpr_patch_a
asks direct 0
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

for how in direct spinlock work stop_machine; do
	start "ask for a state: $how"
	target
	load klpr_patch_a state_version=1
	asks "$how" 1
	# The newest is found, whatever is loaded after it.
	load klpr_patch_b state_version=3
	asks "$how" 3
	load klpr_patch_c
	asks "$how" 3
	disable klpr_patch_c
	disable klpr_patch_b
	disable klpr_patch_a
	unload klpr_patch_c
	unload klpr_patch_b
	unload klpr_patch_a
	no_target
	ok
done
