#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A task sleeps in a replacement that another replacement has called by a sibling call:
# one frame for two redirected calls. Its stack still shows the function that made the
# first call.
. "$(dirname "$0")/klpr.sh"
plan 2

TRACING=/sys/kernel/tracing
SIBLING=/sys/module/klpr_sibling/parameters

trace_returns() {
	echo klpr_target_sleep_hard klpr_target_sleep klpr_second >$TRACING/set_ftrace_filter ||
		fail "the tracer cannot be set up"
	echo function_graph >$TRACING/current_tracer || fail "the tracer cannot be turned on"
}
trace_nothing() {
	echo nop >$TRACING/current_tracer
	echo >$TRACING/set_ftrace_filter
}
cleanup() { [ ! -e $TRACING/current_tracer ] || trace_nothing; }

# waits_for_caller: check that a patch of the function that called the first replacement
# waits for the task, and for no other.
waits_for_caller() {
	cat $TARGET/sleep_hard >/tmp/klpr-sleeper 2>&1 &
	SLEEPER=$!
	wait_until 10 value_is $SIBLING/sleepers 1 || fail "no task sleeps"
	# Otherwise this test shows nothing.
	grep -q klpr_second "/proc/$SLEEPER/stack" || fail "the task is not in klpr_second()"
	! grep -q klpr_first "/proc/$SLEEPER/stack" || fail "klpr_first() made no sibling call"
	load_nowait klpr_patch_b what=sleep_caller
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	sleep 2
	expect $LP/klpr_patch_b/transition 1
	expect "/proc/$SLEEPER/patch_state" 0
	echo 1 >$SIBLING/release
	wait "$SLEEPER"
	expect /tmp/klpr-sleeper released
	wait_until 30 settled klpr_patch_b || fail "the transition does not end"
	expect $TARGET/sleep_hard 200
}

end_patches() {
	disable klpr_patch_b
	disable klpr_sibling
	unload klpr_patch_b
	unload klpr_sibling
	no_target
}

start "wait for a task in the caller of a function that made a sibling call"
target
load klpr_sibling
waits_for_caller
end_patches
ok

start "the same while their returns are traced"
if grep -qsw function_graph $TRACING/available_tracers; then
	# Return addresses alternate between two other places then.
	target
	load klpr_sibling
	trace_returns
	waits_for_caller
	trace_nothing
	end_patches
	ok
else
	skip_case "no function_graph tracer"
fi
