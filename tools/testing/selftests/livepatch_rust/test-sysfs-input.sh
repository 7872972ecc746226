#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Whatever is written to the files of a patch.
. "$(dirname "$0")/klpr.sh"
plan 5

big=/tmp/klpr-big
# The kernel takes a word that begins as "no", "false" or 0 do for one of these.
{ printf '\377'; head -c 1048575 /dev/urandom; } >"$big"
P=$LP/klpr_patch_a

# writing FILE VALUE ERROR
writing() {
	local out
	out=$( (printf '%s' "$2" >"$1") 2>&1) && fail "'$2' could be written to $1"
	case $out in *"$3") ;; *) fail "writing '$2' to $1 said: $out";; esac
}

start "refuse garbage in every file"
target
load klpr_patch_a
for file in enabled force; do
	for value in "" " " x 2 -1 "$(printf '\377\376')" "; rm"; do
		# An empty write does not get to the kernel.
		[ -z "$value" ] || writing $P/$file "$value" "Invalid argument"
	done
	cat "$big" >$P/$file 2>/dev/null && fail "1 MB could be written to $file"
done
for file in transition replace stack_order klpr_target/patched; do
	for value in 0 1 x; do
		out=$( (printf '%s' "$value" >$P/$file) 2>&1) && fail "$file could be written to"
	done
	cat "$big" >$P/$file 2>/dev/null && fail "1 MB could be written to $file"
done
expect $P/enabled 1
expect $P/transition 0
expect $P/replace 0
expect $P/stack_order 1
expect $P/klpr_target/patched 1
expect $TARGET/parameters/one 101
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse requests out of turn"
target
load klpr_patch_a
writing $P/enabled 1 "Invalid argument"
writing $P/force 1 "Invalid argument"
echo 0 >$P/force || fail "no force is no request"
expect $P/enabled 1
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "give the files the modes of the ABI"
target
load klpr_patch_a
modes=$(cd $P && stat -c '%n %a' enabled transition force replace stack_order klpr_target/patched | tr '\n' ' ')
[ "$modes" = "enabled 644 transition 444 force 200 replace 444 stack_order 444 klpr_target/patched 444 " ] ||
	fail "modes: $modes"
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "refuse an ordinary user"
target
load klpr_patch_a
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "
	for f in enabled force; do
		if echo 0 >$P/\$f; then exit 1; fi
	done
	cat $P/enabled $P/transition >/dev/null" 2>/dev/null || fail "an ordinary user could write, or not read"
expect $P/enabled 1
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "disable patches in any order"
# The user decides on the order: the newest patch for a function wins, whatever is
# disabled before it.
target
load klpr_patch_a
load klpr_patch_b
expect $LP/klpr_patch_a/stack_order 1
expect $LP/klpr_patch_b/stack_order 2
disable klpr_patch_a
expect $TARGET/parameters/one 201
expect $LP/klpr_patch_b/stack_order 1
disable klpr_patch_b
expect $TARGET/parameters/one 1
unload klpr_patch_a
unload klpr_patch_b
no_target
ok
rm -f "$big"
