#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# No task runs a version that it has left, whatever else happens meanwhile.
. "$(dirname "$0")/klpr.sh"
. "$(dirname "$0")/klpr_check.sh"
plan 3
SECONDS_EACH=${SECONDS_EACH:-25}
# For tests only: the core does not check whether a task is in ftrace's callbacks.
HOLE=/sys/module/livepatch/parameters/skip_hook_ranges

cleanup() {
	storm_off
	[ ! -e "$HOLE" ] || echo N >"$HOLE"
}

begin() {
	checker_in
	target_in
	find_tracers
	storm_on
	background tracers_come_and_go
	[ ! -e "$CPU1" ] || background cpu_goes_and_comes
}

finish() {
	storm_runs || fail "the load has ended by itself"
	was_asked
	storm_off
	target_out
	checker_out
}

# reverse PATCH: enable it, and reverse its transition at once, or disable it if that
# is over already.
reverse() {
	load_nowait "$1"
	echo 0 >"$LP/$1/enabled" || fail "$1 cannot be disabled"
	wait_until 60 gone "$LP/$1" || fail "the transition of $1 does not end"
}

# cycle: enable, replace, stack, disable, in any order, and reverse.
cycle() {
	local first=b second=c
	load klpr_check_patch_a
	load klpr_check_patch_b replace=1 funcs=$((1 + RANDOM % 3))
	remove klpr_check_patch_a
	load klpr_check_patch_c funcs=$((1 + RANDOM % 3))
	[ $((RANDOM % 2)) = 0 ] || first=c second=b
	disable klpr_check_patch_$first
	reverse klpr_check_patch_a
	disable klpr_check_patch_$second
	for p in a b c; do remove klpr_check_patch_$p; done
}

# cycles SECONDS: run cycles for that long, and at least three, or until the checker
# finds something.
cycles() {
	local end=$((SECONDS + $1)) n=0
	while [ "$SECONDS" -lt "$end" ] || [ "$n" -lt 3 ]; do
		cycle
		n=$((n + 1))
		if violated; then return; fi
	done
	klog "klpr: $n cycles"
}

CORE_IN_C=
has_rust_core || CORE_IN_C=y

QUIET=y
start "run no version that its task has left"
begin
cycles "$SECONDS_EACH"
found=$(violations)
[ "$found" = 0 ] || [ -n "$CORE_IN_C" ] || fail "$found calls ran a version that their task had left"
finish
if [ "$found" = 0 ]; then
	ok
else
	clean
	skip_case "the core in C switches tasks in ftrace's callbacks: $found calls ran a version that their task had left"
fi

start "unload patches under that load"
if [ -n "$CORE_IN_C" ]; then
	skip_case "with the core in C a task may be on its way into a patch that is unloaded"
else
	QUIET=
	begin
	cycles "$SECONDS_EACH"
	found=$(violations)
	[ "$found" = 0 ] || fail "$found calls ran a version that their task had left"
	finish
	ok
fi

start "find violations when that check is left out"
if [ -e "$HOLE" ]; then
	QUIET=y
	begin
	echo Y >"$HOLE"
	began=$SECONDS
	cycles 60
	found=$(violations) took=$((SECONDS - began))
	# Wait for the calls that were allowed to be wrong.
	echo 1 >$CHECK/pause || fail "calls do not end"
	echo N >"$HOLE"
	echo 0 >$CHECK/pause
	[ "$found" != 0 ] || fail "the checker has found nothing within $took s"
	klog "klpr: found after $took s"
	finish
	ok
else
	skip_case "this kernel cannot leave out the check of ftrace's callbacks"
fi
