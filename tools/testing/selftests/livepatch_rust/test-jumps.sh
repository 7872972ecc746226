#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What a function that jumps to its replacement must not break: replacements that
# cannot be jumped to, and other users that share a function with a patch and are
# notified of it. The C core, which makes no jumps, behaves the same in all of this.
. "$(dirname "$0")/klpr.sh"
plan 7

TRACING=/sys/kernel/tracing
ONE=$TARGET/parameters/one
TWO=$TARGET/parameters/two
SHARE=/sys/module/klpr_share/parameters

# jump FUNCTION: where it jumps to, if it does.
jump() { sed -n "s/^klpr_target_$1 .*jump-->\([^+]*\)+0x0\/[^ ]* \[\(.*\)\]$/\2:\1/p" $TRACING/enabled_functions; }

# jumps FUNCTION MODULE:REPLACEMENT: check that it jumps there. Always true with a core
# that makes no jumps.
jumps() {
	has_config CONFIG_LIVEPATCH_RUST_JUMP || return 0
	[ "$(jump "$1")" = "$2" ] || fail "klpr_target_$1 jumps to '$(jump "$1")', not to $2: $(cat $TRACING/enabled_functions)"
}

# calls FUNCTION: check that it is patched, but no jump.
calls() {
	grep -q "^klpr_target_$1 " $TRACING/enabled_functions || fail "klpr_target_$1 is not hooked"
	! grep "^klpr_target_$1 " $TRACING/enabled_functions | grep -q "jump-->" || fail "klpr_target_$1 is a jump"
}

start "a replacement at an odd address"
if [ "$(uname -m)" != x86_64 ]; then
	skip_case "functions are aligned to instructions here"
else
	target
	load klpr_odd
	# One byte early there is another number.
	expect $ONE 901
	expect $TWO 902
	calls one
	jumps two klpr_odd:klpr_even
	disable klpr_odd
	expect $ONE 1
	expect $TWO 2
	unload klpr_odd
	no_target
	ok
fi

start "a replacement at an odd address, on top of one that is jumped to"
if [ "$(uname -m)" != x86_64 ]; then
	skip_case "functions are aligned to instructions here"
else
	target
	load klpr_patch_a what=two
	jumps one klpr_patch_a:klpr_one
	jumps two klpr_patch_a:klpr_two
	load klpr_odd
	expect $ONE 901
	expect $TWO 902
	calls one
	jumps two klpr_odd:klpr_even
	disable klpr_odd
	expect $ONE 101
	expect $TWO 102
	jumps one klpr_patch_a:klpr_one
	jumps two klpr_patch_a:klpr_two
	disable klpr_patch_a
	unload klpr_odd
	unload klpr_patch_a
	no_target
	ok
fi

# shared ONE TWO: check which direct ops share their functions, 1 for yes.
shared() {
	wait_until 20 value_is $SHARE/shared "$1 $2" || fail "shared: '$(cat $SHARE/shared)', not '$1 $2'"
}

share() {
	insmod "$MODS/klpr_share.ko" "$@" || fail "klpr_share cannot be loaded"
	shared 0 0
}

no_share() { rmmod klpr_share || fail "klpr_share cannot be unloaded"; }

# share_case NAME: begin a case with direct ops, or skip it.
share_case() {
	start "direct calls: $1"
	[ "$(uname -m)" = x86_64 ] || { skip_case "the test has a trampoline for x86_64 only"; return 1; }
	has_config CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS || { skip_case "the kernel has none"; return 1; }
}

if share_case "a function that is not patched any more is not shared any more"; then
	target
	share
	load klpr_patch_a what=two
	shared 1 1
	expect $ONE 101
	expect $TWO 102
	# Another function of the same patch stays redirected.
	load klpr_patch_b what=only_two replace=1
	expect $ONE 1
	expect $TWO 202
	shared 0 1
	load klpr_patch_c
	expect $ONE 301
	shared 1 1
	disable klpr_patch_c
	shared 0 1
	disable klpr_patch_b
	shared 0 0
	expect $TWO 2
	unload klpr_patch_a
	unload klpr_patch_b
	unload klpr_patch_c
	no_share
	no_target
	ok
fi

# refused_halfway NUMBER ERROR: the direct ops that is asked second does not agree.
refused_halfway() {
	share_case "one that does not agree leaves none shared: $2" || return 0
	target
	share refuse_from=2 error="$1"
	refused "$2" klpr_patch_a what=two
	[ "$(cat $SHARE/asked)" -ge 2 ] || fail "no direct ops had agreed before"
	shared 0 0
	expect $ONE 1
	expect $TWO 2
	echo 0 >$SHARE/refuse_from
	load klpr_patch_a what=two
	shared 1 1
	expect $ONE 101
	expect $TWO 102
	disable klpr_patch_a
	shared 0 0
	unload klpr_patch_a
	no_share
	no_target
	ok
}
refused_halfway -16 "Device or resource busy"
refused_halfway -11 "Resource temporarily unavailable"

if share_case "a patch that is refused disturbs no other user"; then
	target
	share
	# A kprobe that cannot share the function with a patch.
	echo "1 0" >$SHARE/probed || fail "no kprobe can be set"
	shared 1 0
	refused "Device or resource busy" klpr_patch_a what=two
	shared 1 0
	expect $ONE 1
	expect $TWO 2
	echo "0 0" >$SHARE/probed
	shared 0 0
	no_share
	no_target
	ok
fi

# No patch is loaded: this tests what a patch that loses some of its functions relies on.
if share_case "functions that come and go by a filter"; then
	target
	share
	echo "1 0" >$SHARE/probed || fail "no kprobe can be set"
	shared 1 0
	echo "1 1" >$SHARE/probed || fail "no second kprobe can be set"
	shared 1 1
	echo "0 1" >$SHARE/probed
	shared 0 1
	# A direct ops that does not agree keeps a function from being added.
	echo 0 >$SHARE/asked
	echo 1 >$SHARE/refuse_from
	# Whether register_kprobe() reports that it could not be armed depends on the kernel.
	echo "1 1" 2>/dev/null >$SHARE/probed
	shared 0 1
	expect $ONE 1
	expect $TWO 2
	echo 0 >$SHARE/refuse_from
	echo "0 0" >$SHARE/probed
	shared 0 0
	no_share
	no_target
	ok
fi
