#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# KLP-APPEND: isolcpus=1
# CPU 1 is isolated: a transition sends it no interrupt and queues no work on it, but for
# what patching text does, and its task still switches. test-switch-reasons.sh has the
# case of a CPU that is not isolated, and is interrupted; test-nohz.sh one without ticks.
. "$(dirname "$0")/klpr.sh"
plan 3

grep -qE '^1([,-]|$)' /sys/devices/system/cpu/isolated 2>/dev/null || {
	echo "SKIP: CPU 1 is not isolated (isolcpus=1)"
	exit 4
}
. "$(dirname "$0")/klpr_isolated.sh"

start "a task that spins on an isolated CPU switches, and is not interrupted for it"
# It enters the kernel by the tick, for example, or by the interrupt of patched text.
target
task
both_ways
ok

# waits: start a transition with a task on CPU 1 for which the hook is left out, as if it
# did not enter the kernel: whether it has yet to switch after a while.
waits() {
	local was
	target
	task
	chrt -f -p 10 "$PID" || fail "it cannot be given the CPU"
	echo Y >$SKIP_HOOK
	record
	load_nowait klpr_patch_a
	sleep 2
	was=$(reason "$PID" patched)
	if [ -z "$was" ]; then
		expect $LP/klpr_patch_a/transition 1
		expect "/proc/$PID/patch_state" 0
	fi
	echo N >$SKIP_HOOK
	# It enters the kernel, and sleeps there.
	kill -STOP "$PID"
	wait_until 30 settled klpr_patch_a || fail "the transition does not end"
	stop_recording
	undisturbed
	kill -CONT "$PID"
	disable klpr_patch_a
	end_task
	unload klpr_patch_a
	no_target
	[ -z "$was" ]
}

start "while it has yet to switch, its CPU is left alone"
if [ -e $SKIP_HOOK ]; then
	# Now and then something else runs on its CPU, and a check of its stack at
	# that moment switches it.
	for try in 1 2 3 4 5; do
		waits && break
		[ "$try" != 5 ] || fail "it has switched each time"
	done
	ok
else
	skip_case "this kernel has no CONFIG_LIVEPATCH_TEST_EXIT_HOOK"
fi

# last: make the last task switch on CPU 1: whether that task made the transition end. An
# attempt may also find it awake just in time, and end the transition.
last() {
	local was
	target
	taskset -c 1 cat $TARGET/sleep_hard >/tmp/klpr-sleeper 2>&1 &
	SLEEPER=$!
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
	load_nowait klpr_patch_a what=sleep_hard
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	# From now on attempts are rare.
	sleep 2
	expect $LP/klpr_patch_a/transition 1
	record
	echo 1 >$TARGET/parameters/release
	wait "$SLEEPER"
	wait_until 30 settled klpr_patch_a || fail "the transition does not end"
	stop_recording
	was=$(events " \[001\] .*workqueue_queue_work: .*$ATTEMPT")
	undisturbed
	events " \[000\] .*workqueue_execute_start: .*$ATTEMPT" >/dev/null ||
		fail "no attempt was recorded on CPU 0"
	disable klpr_patch_a
	unload klpr_patch_a
	no_target
	[ -n "$was" ]
}

start "the last task switches on an isolated CPU, and the transition ends on another"
for try in 1 2 3 4 5; do
	last && break
	[ "$try" != 5 ] || fail "the task never made the transition end"
done
ok
