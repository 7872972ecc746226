#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A patched function that other users hook, too, before it is patched or after that:
# which user is accepted, which is called, and what the function returns. The C core and
# the Rust core behave the same, also where the latter has made the function a jump.
. "$(dirname "$0")/klpr.sh"
plan 22

TRACING=/sys/kernel/tracing
INJECT=/sys/kernel/debug/fail_function
ONE=$TARGET/parameters/one
HOOK=/sys/module/klpr_hook

# is_jump REPLACEMENT MODULE: whether the function is a jump to there. Always true with a
# core that makes no jumps.
is_jump() {
	has_config CONFIG_LIVEPATCH_RUST_JUMP || return 0
	grep '^klpr_target_one ' $TRACING/enabled_functions | grep -q "jump-->$1+0x0/.* \[$2\]"
}
is_no_jump() { ! grep '^klpr_target_one ' $TRACING/enabled_functions | grep -q "jump-->"; }

# attach USER: attach it; print nothing, or the error.
attach() {
	case $1 in
	tracer|graph)
		echo klpr_target_one >$TRACING/set_ftrace_filter &&
			echo >$TRACING/trace || fail "the tracer cannot be set up"
		case $1 in
		tracer) echo function >$TRACING/current_tracer;;
		graph) echo function_graph >$TRACING/current_tracer;;
		esac || fail "the tracer cannot be turned on"
		;;
	injection)
		echo klpr_target_one >$INJECT/inject 2>/dev/null || { echo refused; return; }
		printf %#x -12 >$INJECT/klpr_target_one/retval
		echo 0 >$INJECT/verbose
		echo -1 >$INJECT/times
		echo 100 >$INJECT/probability
		;;
	*)
		insmod "$MODS/klpr_hook.ko" how="$1" 2>&1 | sed 's/.*: //'
		;;
	esac
}

detach() {
	case $1 in
	tracer|graph)
		echo nop >$TRACING/current_tracer
		echo >$TRACING/set_ftrace_filter
		;;
	injection) echo >$INJECT/inject;;
	*) rmmod klpr_hook || fail "klpr_hook cannot be unloaded";;
	esac
}

# calls USER: print how often it was called so far.
calls() {
	case $1 in
	tracer|graph) grep -c 'klpr_target_one\|klpr_one' $TRACING/trace;;
	injection) echo 0;;
	*) cat $HOOK/parameters/hits;;
	esac
}

# returns USER VALUE: check that the function returns this, and the user is called.
returns() {
	local before
	before=$(calls "$1")
	expect $ONE "$2"
	[ "$1" = injection ] || [ "$(calls "$1")" -gt "$before" ] || fail "$1 was not called"
}

# before USER PATCH VALUE: the user comes first. PATCH is yes, or the error with which
# the patch is refused; VALUE is what the function returns with both.
before() {
	start "$1 before the patch: $2, $3"
	[ -z "$why_not" ] || { skip_case "$why_not"; return; }
	target
	local error alone=1
	[ "$1" != injection ] || alone=-12
	error=$(attach "$1")
	[ -z "$error" ] || fail "it is refused: $error"
	returns "$1" $alone
	if [ "$2" = yes ]; then
		load klpr_patch_a
		is_no_jump || fail "the function is a jump"
		returns "$1" "${3/N/101}"
		load klpr_patch_b replace=1
		returns "$1" "${3/N/201}"
		disable klpr_patch_b
		returns "$1" $alone
		unload klpr_patch_a
		unload klpr_patch_b
		load klpr_patch_a
		returns "$1" "${3/N/101}"
		detach "$1"
		expect $ONE 101
		is_jump klpr_one klpr_patch_a || fail "the function is no jump when the other has gone"
		disable klpr_patch_a
		unload klpr_patch_a
	else
		refused "$2" klpr_patch_a
		returns "$1" $alone
		detach "$1"
	fi
	expect $ONE 1
	no_target
	ok
}

# after USER ATTACH VALUE: the patch comes first. ATTACH is yes, or the error with which
# the user is refused, or unheard if it gets no error but is never called.
after() {
	start "$1 after the patch: $2, $3"
	[ -z "$why_not" ] || { skip_case "$why_not"; return; }
	target
	load klpr_patch_a
	is_jump klpr_one klpr_patch_a || fail "the function is no jump"
	expect $ONE 101
	local error alone=1
	[ "$1" != injection ] || alone=-12
	error=$(attach "$1")
	if [ "$2" = yes ]; then
		[ -z "$error" ] || fail "it is refused: $error"
		is_no_jump || fail "the function is a jump"
		returns "$1" "${3/N/101}"
		load klpr_patch_b replace=1
		returns "$1" "${3/N/201}"
		detach "$1"
		is_jump klpr_one klpr_patch_b || fail "the function is no jump when the other has gone"
		expect $ONE 201
		error=$(attach "$1")
		[ -z "$error" ] || fail "it is refused the second time: $error"
		returns "$1" "${3/N/201}"
		disable klpr_patch_b
		returns "$1" $alone
		detach "$1"
		unload klpr_patch_a
		unload klpr_patch_b
	elif [ "$2" = unheard ]; then
		# The kernel's register_kprobe() reports success.
		[ -z "$error" ] || fail "it is refused: $error"
		expect $ONE 101
		[ "$(calls "$1")" = 0 ] || fail "$1 was called"
		is_jump klpr_one klpr_patch_a || fail "the function is no jump with it"
		detach "$1"
		expect $ONE 101
		disable klpr_patch_a
		unload klpr_patch_a
	else
		[ "$error" = "$2" ] || fail "it says: $error"
		is_jump klpr_one klpr_patch_a || fail "the function is no jump after that"
		expect $ONE 101
		disable klpr_patch_a
		unload klpr_patch_a
	fi
	expect $ONE 1
	no_target
	ok
}

BUSY="Device or resource busy"
# user         patch after it     returns   user after the patch   returns
while read -r user first both second later; do
	why_not=
	case $user in
	fprobe*) has_config CONFIG_FPROBE || why_not="this kernel has no CONFIG_FPROBE";;
	injection) has_config CONFIG_FAIL_FUNCTION || why_not="this kernel has no CONFIG_FAIL_FUNCTION";;
	direct*)
		has_config CONFIG_X86_64 || why_not="the test has a trampoline for x86_64 only"
		has_config CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS || why_not="this kernel has no direct calls";;
	esac
	before "$user" "${first/busy/$BUSY}" "$both" </dev/null
	after "$user" "${second/busy/$BUSY}" "$later" </dev/null
done <<-EOF
	ftrace         yes   N     yes   N
	tracer         yes   N     yes   N
	graph          yes   N     yes   N
	kprobe         yes   N     yes   N
	kprobe_post    busy  1     unheard  N
	kretprobe      yes   N     yes   N
	fprobe         yes   N     yes   N
	fprobe_exit    yes   N     yes   N
	injection      busy  -12   unheard  N
	direct         busy  1     busy  N
	direct_share   yes   N     yes   N
EOF
