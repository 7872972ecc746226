#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A task that exits and was reaped, and sleeps in a function of a patch. It is not on
# the task list, but a transition must wait for it.
# shellcheck disable=SC2119
# shellcheck source-path=SCRIPTDIR source=klpr_held.sh
. "$(dirname "$0")/klpr_held.sh"
plan 7

FUNC=exit_task_stack_account
[ -x "$HERE/klpr_exit" ] || { echo "SKIP: klpr_exit was not built"; exit 4; }
grep -qx $FUNC /sys/kernel/tracing/available_filter_functions ||
	{ echo "SKIP: $FUNC cannot be patched"; exit 4; }
if has_config CONFIG_MEMCG; then
	echo "SKIP: the replacement of $FUNC cannot give back what memory cgroups count"
	exit 4
fi
STATE=$T/parameters/sleeper_state
REASON="it does not see a task that was reaped, and RCU-tasks does not wait for one that sleeps"

is_there() { value_is $T/parameters/sleepers 1 && value_is $T/parameters/sleeper_reaped 1; }

# exit_of KIND: make a thread, a process, or a kernel thread exit.
exit_of() {
	PROCESS=
	case $1 in
	thread)
		# Reaps itself.
		"$HERE/klpr_exit" &
		PROCESS=$!
		;;
	process)
		# Reaped by this shell.
		cp /bin/true /tmp/klpr_exit || fail "no program to run"
		/tmp/klpr_exit &
		wait $! || fail "the program cannot be run"
		;;
	kthread) echo exit >$T/parameters/thread || fail "no thread starts";;
	esac
	wait_until 10 is_there || fail "no exiting task sleeps"
	TASK="an exiting task sleeps in klpr_new_exit [$A]"
}

let_go() {
	echo 1 >$T/parameters/release
	wait_until 10 value_is $T/parameters/sleepers 0 || fail "the task does not continue"
	if [ -n "$PROCESS" ]; then
		kill "$PROCESS"
		wait "$PROCESS" 2>/dev/null
	fi
	operation_done
	# The task has left what the C core would free now.
	sleep 0.5
}

# replaced KIND WHAT
replaced() {
	C_FAILS=$REASON
	begin
	load $A what=one,exit
	exit_of "$1"
	load_bg $B what="$2" replace=1
	must_wait $B patching $STATE 0 1
	let_go
	wait_until 30 settled $B || fail "the transition does not end"
	unload $A
	disable $B
	unload $B
	end
}

# disabled KIND
disabled() {
	C_FAILS=$REASON
	begin
	load $A what=one,exit
	exit_of "$1"
	disable_bg $A
	must_wait $A unpatching $STATE 1 0
	let_go
	wait_until 30 gone $LP/$A || fail "the transition does not end"
	unload $A
	end
}

# reversed KIND
reversed() {
	C_FAILS=$REASON
	begin
	blocker
	load_nowait $A what=one,block,exit
	wait_until 30 value_is /proc/$$/patch_state 1 || fail "the test's shell does not switch"
	expect $LP/$A/transition 1
	exit_of "$1"
	expect $STATE 1
	disable_bg $A
	must_wait $A unpatching $STATE 1 0
	let_go
	wait "$BLOCKER"
	wait_until 30 gone $LP/$A || fail "the transition does not end"
	unload $A
	end
}

run "exiting: replace the patch by one without the function" replaced thread one
run "exiting: replace the patch by one with the function" replaced thread one,exit
run "exiting: disable the patch" disabled thread
run "exiting: reverse the transition" reversed thread
run "exiting: replace the patch, with a process that was reaped" replaced process one
run "exiting: replace the patch, with a kernel thread" replaced kthread one
run "exiting: disable the patch, with a kernel thread" disabled kthread
all_run
