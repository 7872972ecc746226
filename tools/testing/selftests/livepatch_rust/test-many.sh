#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A patch of more functions of a module than the core searches for one by one: it finds
# all of them, and their sizes, in one walk over the module's symbols.
. "$(dirname "$0")/klpr.sh"
plan 4

inval="Invalid parameters"

# values ONE TWO DUPS: check what the functions return; the two of one name may come in
# either order.
values() {
	expect $TARGET/parameters/one "$1"
	expect $TARGET/parameters/two "$2"
	value_is $TARGET/parameters/dup "${3% *}" && value_is $TARGET/parameters/dup2 "${3#* }" && return
	value_is $TARGET/parameters/dup "${3#* }" && value_is $TARGET/parameters/dup2 "${3% *}" && return
	fail "the functions of one name return $(cat $TARGET/parameters/dup $TARGET/parameters/dup2 | xargs), not $3"
}

# originals: check that nothing is patched.
originals() { values 1 2 "3 30"; }

start "patch many functions of a module"
target
load klpr_patch_a what=all
values 101 102 "101 102"
disable klpr_patch_a
originals
unload klpr_patch_a
no_target
ok

start "patch many functions of a module that comes later"
load klpr_patch_a what=all
for _ in 1 2 3; do
	target
	values 101 102 "101 102"
	no_target
done
disable klpr_patch_a
unload klpr_patch_a
ok

start "replace a patch of many functions by one of a few, and the other way round"
target
load klpr_patch_a what=all
load klpr_patch_b what=only_two replace=1
values 1 202 "3 30"
unload klpr_patch_a
load klpr_patch_c what=all replace=1
values 301 302 "301 302"
unload klpr_patch_b
disable klpr_patch_c
originals
unload klpr_patch_c
no_target
ok

start "refuse a patch of many functions if one of them is bad"
target
for bad in \
	"all_unknown:symbol 'klpr_no_such_function' not found in symbol table" \
	"all_dup:unresolvable ambiguity for symbol 'klpr_target_dup' in object 'klpr_target'" \
	"all_dup3:symbol position 3 for symbol 'klpr_target_dup' in object 'klpr_target' not found" \
	"all_notrace:failed to find location for function 'klpr_target_notrace'"; do
	refused "$inval" klpr_patch_a "what=${bad%%:*}"
	logged "livepatch: ${bad#*:}"
	originals
done
no_target
ok
