#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A task with a chosen destination that it has not reached yet: the patch's handler has
# decided where the call continues, and the task is preempted in ftrace's callbacks. The
# destination is not on its stack. A transition must wait for it: freeing the destination
# would be fatal, and reporting that the task has switched would be wrong.
# And a task that a replacement has sent to another function of its module.
# shellcheck disable=SC2119
# shellcheck source-path=SCRIPTDIR source=klpr_held.sh
. "$(dirname "$0")/klpr_held.sh"
plan 13

is_there() { value_is $T/parameters/held 1; }

# hold FUNCTION MODULE: hold a task on its way into this function.
hold() {
	local try
	for try in 1 2 3; do
		cat $T/hold >/tmp/klpr-held 2>&1 &
		HELD=$!
		! wait_until 10 is_there || break
		# It may have used up its runtime too early, if the machine is busy.
		release
	done
	is_there || fail "the task cannot be held (try $try): $(cat "/proc/$HELD/stack" 2>&1)"
	expect $T/parameters/pid "$HELD"
	on_its_way "$@"
}

# hold_thread FUNCTION MODULE: the same for a kernel thread.
hold_thread() {
	echo hold >$T/parameters/thread
	wait_until 10 is_there || fail "the thread cannot be held"
	HELD=$(cat $T/parameters/pid)
	on_its_way "$@"
}

on_its_way() {
	expect $T/parameters/chosen "$1 [$2]"
	TASK="a task is on its way into $1 [$2]"
}

is_released() {
	echo 1 >$T/parameters/release
	! [ -e "/proc/$HELD" ]
}
release() {
	wait_until 20 is_released || fail "the task does not continue"
	wait "$HELD" 2>/dev/null
}

# let_go VALUE: release the task, which continues into the function that returns this.
let_go() {
	release
	expect $T/parameters/result "$1"
	operation_done
}

# replaced HOLD WHAT VALUE: a patch is replaced by one that patches WHAT; the
# function returns VALUE then.
replaced() {
	local hold=$1 what=$2 value=$3
	begin
	load $A what=one,two
	$hold klpr_new_one $A
	load_bg $B what="$what" replace=1
	must_wait $B patching "/proc/$HELD/patch_state" 0 1
	let_go 101
	wait_until 30 settled $B || fail "the transition does not end"
	expect $T/parameters/one "$value"
	unload $A
	disable $B
	unload $B
	end
}
replaced_same() {
	C_FAILS="nothing is unregistered, so that RCU-tasks is not asked"
	replaced "$1" one,two 201
}

# The functions that only this patch has hooked are unhooked then, all at once.
disabled() {
	begin
	load $A what=one,two
	hold klpr_new_one $A
	disable_bg $A
	must_wait $A unpatching "/proc/$HELD/patch_state" 1 0
	let_go 101
	wait_until 30 gone $LP/$A || fail "the transition does not end"
	expect $T/parameters/one 1
	unload $A
	end
}

# Of two functions that were hooked together, one stays hooked, for another patch.
disabled_one() {
	begin
	load $A what=one,two
	load $B what=two
	hold klpr_new_one $A
	disable_bg $A
	must_wait $A unpatching "/proc/$HELD/patch_state" 1 0
	let_go 101
	wait_until 30 gone $LP/$A || fail "the transition does not end"
	expect $T/parameters/one 1
	expect $T/parameters/two 202
	unload $A
	disable $B
	unload $B
	end
}

# start_blocked PATCH: start a transition that waits for a task as usual, until all
# others have switched.
start_blocked() {
	load_nowait "$1" what=one,block
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	expect "$LP/$1/transition" 1
}

reverse() {
	expect "/proc/$HELD/patch_state" 1
	disable_bg "$1"
	must_wait "$1" unpatching "/proc/$HELD/patch_state" 1 0
	let_go "$2"
	wait "$BLOCKER"
	wait_until 30 gone "$LP/$1" || fail "the transition does not end"
}
reversed() {
	begin
	blocker
	start_blocked $A
	hold klpr_new_one $A
	reverse $A 101
	expect $T/parameters/one 1
	unload $A
	end
}
# Another patch keeps all functions hooked.
reversed_stacked() {
	C_FAILS="nothing is unregistered, so that RCU-tasks is not asked"
	begin
	load $A what=one,block
	blocker
	start_blocked $B
	hold klpr_new_one $B
	reverse $B 201
	expect $T/parameters/one 101
	unload $B
	disable $A
	unload $A
	end
}

# Nothing is freed in these two, but a task that has switched must not run what it
# has left.
enabled() {
	SAFE=y
	begin
	hold klpr_inflight_one klpr_inflight
	load_bg $A what=one
	must_wait $A patching "/proc/$HELD/patch_state" 0 1
	let_go 1
	wait_until 30 settled $A || fail "the transition does not end"
	expect $T/parameters/one 101
	disable $A
	unload $A
	end
}
stacked() {
	SAFE=y
	C_FAILS="it does not see where the task is going, nor waits where nothing is freed"
	begin
	load $A what=one
	hold klpr_new_one $A
	load_bg $B what=one
	must_wait $B patching "/proc/$HELD/patch_state" 0 1
	let_go 101
	wait_until 30 settled $B || fail "the transition does not end"
	expect $T/parameters/one 201
	disable $B
	disable $A
	unload $B
	unload $A
	end
}

# A kernel thread checks its own stack where it is preempted, if there is a transition
# then: one that has waited for it so far.
looks_itself() {
	begin wait=1
	load $A what=one,two
	echo hold >$T/parameters/thread
	HELD=$(cat $T/parameters/pid)
	wait_until 10 grep -q klpr_inflight_start "/proc/$HELD/stack" || fail "the thread does not wait"
	load_bg $B what=two,start replace=1
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	expect $LP/$B/transition 1
	expect "/proc/$HELD/patch_state" 0
	echo 1 >$T/parameters/go
	wait_until 10 is_there || fail "the thread cannot be held"
	on_its_way klpr_new_one $A
	must_wait $B patching "/proc/$HELD/patch_state" 0 1
	let_go 101
	wait_until 30 settled $B || fail "the transition does not end"
	unload $A
	disable $B
	unload $B
	end
}

# tail_called VERB: a task sleeps in a function of a patch's module that the replacement
# has called last, by a jump, so that the replacement is not on the stack.
tail_called() {
	local verb=$1
	is_there() { value_is $T/parameters/blocked 1; }
	C_FAILS="it searches the stack for the replacement, and not for what that has jumped to"
	begin
	load $A what=tail
	blocker
	! grep -q klpr_new_tail "/proc/$BLOCKER/stack" || fail "the compiler has made no jump of the call"
	grep -q klpr_new_wait "/proc/$BLOCKER/stack" || fail "the task is elsewhere"
	TASK="a task is in klpr_new_wait [$A]"
	case $verb in
	unpatching)
		disable_bg $A
		must_wait $A unpatching "/proc/$BLOCKER/patch_state" 1 0;;
	patching)
		load_bg $B what=two replace=1
		must_wait $B patching "/proc/$BLOCKER/patch_state" 0 1;;
	esac
	echo 1 >$T/parameters/release
	wait "$BLOCKER"
	operation_done
	wait_until 30 gone $LP/$A || fail "the transition does not end"
	unload $A
	if [ "$verb" = patching ]; then
		disable $B
		unload $B
	fi
	end
}

run "on its way: replace the patch by one without the function" replaced hold two 1
run "on its way: replace the patch by one without the module" replaced hold cmdline 1
run "on its way: replace the patch by one with the function" replaced_same hold
run "on its way: disable the patch" disabled
run "on its way: disable one of two patches" disabled_one
run "on its way: reverse the transition of the first patch" reversed
run "on its way: reverse the transition of another patch" reversed_stacked
run "on its way: enable the first patch" enabled
run "on its way: enable another patch" stacked
run "on its way: replace the patch, with a kernel thread" replaced hold_thread two 1
run "on its way: a kernel thread in the scheduler" looks_itself
run "gone on to another function: disable the patch" tail_called unpatching
run "gone on to another function: replace the patch" tail_called patching
all_run
