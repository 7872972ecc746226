#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Tasks whose stack does not show everything: a tracer keeps a return address, or the task
# is in generated code. A transition must not take them to be clear, and would without the
# rule for them, which the tests can leave out. And tasks preempted in the kernel, whose
# stack does show everything, if all parts of a function are known.
. "$(dirname "$0")/klpr.sh"
TRACING=/sys/kernel/tracing
HOOKS=/sys/module/livepatch/parameters
SLOT=/sys/module/klpr_slot
plan 7

can_skip() { has_config CONFIG_STACK_SCAN && [ -e "$HOOKS/skip_$1" ]; }

# Tracers of the function that the task sleeps in: it returns to the function to be
# patched, and the tracers keep the address.
fgraph_on() {
	echo klpr_target_sleep_hard >$TRACING/set_ftrace_filter
	echo function_graph >$TRACING/current_tracer
}
fgraph_off() {
	echo nop >$TRACING/current_tracer
	echo >$TRACING/set_ftrace_filter
}
kretprobe_on() { insmod "$MODS/klpr_hook.ko" how=kretprobe func=klpr_target_sleep_hard; }
kretprobe_off() { rmmod klpr_hook; }
fprobe_on() { insmod "$MODS/klpr_hook.ko" how=fprobe_exit func=klpr_target_sleep_hard; }
fprobe_off() { rmmod klpr_hook; }

# sleeper TRACER: start a traced task that sleeps in a callee of the function to be patched.
sleeper() {
	target
	"$1_on" || fail "$1 does not work"
	cat $TARGET/sleep_hard >/dev/null &
	PID=$!
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
}
no_sleeper() {
	echo 1 >$TARGET/parameters/release
	wait "$PID"
	"$1_off" || fail "$1 cannot be removed"
	disable klpr_patch_a
	unload klpr_patch_a
	no_target
}

# others_switch: wait until all but the task have switched.
others_switch() {
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	pause 1
}

# waits: check that the transition waits for the task.
waits() {
	others_switch
	expect $LP/klpr_patch_a/transition 1
	expect "/proc/$PID/patch_state" 0
}

# must_wait RULE: check that the transition waits for the task, and would not without this
# rule.
must_wait() {
	waits
	if can_skip "$1"; then
		echo Y >"$HOOKS/skip_$1"
		wait_until 30 settled klpr_patch_a || fail "the transition does not end without the rule"
		echo N >"$HOOKS/skip_$1"
	fi
}

for tracer in fgraph kretprobe fprobe; do
	start "a task whose return address is kept by $tracer"
	case $tracer in
	fgraph) has=FUNCTION_GRAPH_TRACER;;
	kretprobe) has=KRETPROBES;;
	fprobe) has=FPROBE;;
	esac
	if has_config "CONFIG_$has"; then
		sleeper $tracer
		load_nowait klpr_patch_a what=sleep_caller
		must_wait hidden_returns
		expect $TARGET/parameters/sleepers 1
		no_sleeper $tracer
		ok
	else
		skip_case "this kernel has no CONFIG_$has"
	fi
done

long_periods

is_held() { value_is $SLOT/parameters/held "$1"; }

# hold: start a task that is preempted in klpr_slot, which is loaded.
hold() {
	cat $SLOT/hold >/dev/null &
	PID=$!
	wait_until 20 is_held 1 || fail "the task is not held"
}

# let_go COUNT: check that this many tasks are still held, release them, and clean up.
let_go() {
	is_held "$1" || fail "$1 tasks are not held any more"
	echo 1 >$SLOT/parameters/release
	wait
	wait_until 60 settled klpr_patch_a || fail "the transition does not end"
	disable klpr_patch_a
	unload klpr_patch_a
	wait_until 20 rmmod klpr_slot || fail "klpr_slot cannot be unloaded"
}

# in_slot: start a task that is preempted in the slot of a kprobe.
is_optimized() { grep -q 'klpr_slot_fill.*\[OPTIMIZED\]' /sys/kernel/debug/kprobes/list; }
in_slot() {
	local page word found=
	insmod "$MODS/klpr_slot.ko" probe=1 || fail "klpr_slot cannot be loaded"
	wait_until 20 is_optimized || fail "the kprobe is not optimized: $(cat /sys/kernel/debug/kprobes/list)"
	hold
	page=$(awk '/kprobe_optinsn_page/ { print substr($1, 1, 13) }' /proc/kallsyms)
	[ -n "$page" ] || fail "no slot is in kallsyms"
	while read -r word; do
		[ "${word:0:13}" != "$page" ] || found=y
	done <$SLOT/parameters/words
	[ -n "$found" ] || fail "the task is not in the slot (page $page): $(cat $SLOT/parameters/words)"
}

start "a task in the slot of an optimized kprobe"
if has_config CONFIG_X86_64 && has_config CONFIG_OPTPROBES; then
	in_slot
	load_nowait klpr_patch_a what=slot
	must_wait generated_code
	let_go 1
	ok
else
	skip_case "the test has a slot for x86_64 only"
fi

start "a task preempted in a part of a function that is elsewhere"
if [ -e "$MODS/klpr_slot.ko" ]; then
	insmod "$MODS/klpr_slot.ko" cold=1 || fail "klpr_slot cannot be loaded"
	hold
	grep -q 'klpr_split\.cold' /proc/$PID/stack || fail "the task is not there: $(cat /proc/$PID/stack)"
	load_nowait klpr_patch_a what=split
	if has_rust_core || ! has_config CONFIG_UNWINDER_ORC; then
		waits
	else
		# The C core does not know that there are such parts.
		wait_until 60 settled klpr_patch_a || fail "the core in C waits, which it is known not to do"
	fi
	let_go 1
	ok
else
	skip_case "the test has such a function for x86_64 and s390 only"
fi

start "a task in such a part of the function that a nop leads to, when the transition is reversed"
if [ -e "$MODS/klpr_slot.ko" ]; then
	target
	cat $TARGET/sleep_hard >/dev/null &
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
	insmod "$MODS/klpr_slot.ko" cold=1 || fail "klpr_slot cannot be loaded"
	load klpr_patch_a what=split
	# The sleeper keeps the transition from ending.
	load_nowait klpr_patch_b what=sleep_caller replace=1
	others_switch
	hold
	grep -q 'klpr_split\.cold' /proc/$PID/stack || fail "the task is not there: $(cat /proc/$PID/stack)"
	expect "/proc/$PID/patch_state" 1
	echo 0 >$LP/klpr_patch_b/enabled || fail "it cannot be reversed"
	# The C core does not know that there are such parts.
	if has_rust_core; then
		wait_until 30 value_is /proc/$$/patch_state 0 || fail "the test's shell does not switch"
		pause 1
		expect "/proc/$PID/patch_state" 1
		expect $LP/klpr_patch_b/transition 1
	fi
	is_held 1 || fail "the task is not held any more"
	echo 1 >$SLOT/parameters/release
	echo 1 >$TARGET/parameters/release
	wait
	wait_until 60 gone $LP/klpr_patch_b || fail "the transition does not end"
	unload klpr_patch_b
	disable klpr_patch_a
	unload klpr_patch_a
	wait_until 20 rmmod klpr_slot || fail "klpr_slot cannot be unloaded"
	no_target
	ok
else
	skip_case "the test has such a function for x86_64 and s390 only"
fi

start "tasks preempted in the kernel switch at once"
if [ -e "$MODS/klpr_slot.ko" ]; then
	insmod "$MODS/klpr_slot.ko" || fail "klpr_slot cannot be loaded"
	PIDS=()
	for ((i = 1; i <= 20; i++)); do
		cat $SLOT/hold >/dev/null &
		PIDS+=($!)
	done
	wait_until 60 is_held 20 || fail "not all tasks are held"
	target
	load klpr_patch_a
	for pid in "${PIDS[@]}"; do expect "/proc/$pid/patch_state" -1; done
	let_go 20
	no_target
	ok
else
	skip_case "the test holds tasks on x86_64 and s390 only"
fi
