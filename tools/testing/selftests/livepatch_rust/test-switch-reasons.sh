#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each task switches for the reason that the test expects, by the trace event. Tests run
# on CPU 0; a task that must be alone on its CPU has CPU 1.
. "$(dirname "$0")/klpr.sh"
plan 12

TRACING=/sys/kernel/tracing
SKIP_HOOK=/sys/module/livepatch/parameters/skip_exit_hook
HERE=$(cd "$(dirname "$0")" && pwd)
SECONDS_STUCK=${SECONDS_STUCK:-4}

has_rust_core || { echo "SKIP: the core in C has no trace event"; exit 4; }
[ -d $TRACING/events/livepatch ] || { echo "SKIP: this kernel has no trace events"; exit 4; }
[ -e /sys/devices/system/cpu/cpu1 ] || { echo "SKIP: a second CPU is needed"; exit 4; }
[ -x "$HERE/klpr_task" ] || { echo "SKIP: klpr_task was not built"; exit 4; }
taskset -pc 0 $$ >/dev/null || exit 1
echo 0 >$TRACING/tracing_on
echo 4096 >$TRACING/buffer_size_kb

PIDS=()
end_tasks() {
	local pid
	for pid in "${PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait_until 20 gone "/proc/$pid"
	done
	PIDS=()
}
cleanup() {
	end_tasks
	[ ! -e $SKIP_HOOK ] || echo N >$SKIP_HOOK
}

# on_cpu CPU COMMAND...: start it there; PID is its process id.
on_cpu() {
	taskset -c "$@" &
	PID=$!
	PIDS+=("$PID")
	# The shell must not print how it ends.
	disown "$PID"
}

# task COMMAND...: the same on CPU 1, and wait until it is there.
task() {
	on_cpu 1 "$@"
	# The program runs, and not its shell or taskset any more.
	wait_until 20 grep -qx "$(basename "$1" | cut -c1-15)" "/proc/$PID/comm" || fail "$* does not run"
	sleep 0.3
}

record() {
	echo >$TRACING/trace
	echo 1 >$TRACING/events/livepatch/klp_task_switch/enable
	echo 1 >$TRACING/events/ipi/ipi_send_cpu/enable 2>/dev/null
	echo 1 >$TRACING/tracing_on
}
stop_recording() {
	echo 0 >$TRACING/tracing_on
	echo 0 >$TRACING/events/livepatch/klp_task_switch/enable
	echo 0 >$TRACING/events/ipi/ipi_send_cpu/enable 2>/dev/null
}

# events PATTERN: print the matching lines of the trace.
events() { grep -E -- "$1" $TRACING/trace; }
show_events() { events klp_task_switch: | tail -n 40 | sed 's/^/    /'; }

# reason PID DIRECTION: print the reasons for which it switched. All idle tasks have the
# PID 0: "0 comm=swapper/1".
reason() { events "klp_task_switch: pid=$1 .*direction=$2 reason=" | sed 's/.* reason=//' | sort -u | xargs; }

# went PID DIRECTION REASON: check that it switched for that reason.
went() {
	local was
	was=$(reason "$1" "$2")
	[ "$was" = "$3" ] || {
		show_events
		fail "task $1 switched to $2 for the reason '$was', not $3"
	}
}

# there PID REASON: patch the target, with a task that must switch for that reason in one
# of five attempts: the task may be preempted, or, if it is an idle one, something else
# may run on its CPU, at the moment when the core checks it.
there() {
	local try was
	for try in 1 2 3 4 5; do
		record
		load klpr_patch_a
		stop_recording
		was=$(reason "$1" patched)
		disable klpr_patch_a
		unload klpr_patch_a
		[ "$was" != "$2" ] || return 0
	done
	show_events
	fail "task $1 has switched for the reason '$was' each time, not $2"
}

# there_and_back REASON: patch and unpatch, with a task that must switch for that reason.
# A task that runs may be preempted at the moment when the core checks it, and then
# switches by that check; there is more than one attempt.
there_and_back() {
	local try tries=1 there back
	[ "$1" != exit_to_user ] || tries=5
	for ((try = 1; ; try++)); do
		target
		record
		load klpr_patch_a
		there=$(reason "$PID" patched)
		echo >$TRACING/trace
		disable klpr_patch_a
		stop_recording
		back=$(reason "$PID" unpatched)
		[ "$there $back" != "$1 $1" ] || break
		[ "$try" -lt "$tries" ] || {
			show_events
			fail "task $PID switched for the reason '$there' and back for '$back', not $1"
		}
		unload klpr_patch_a
		no_target
	done
	unload klpr_patch_a
	no_target
}

start "a task that spins in user mode switches on its way to user mode"
task "$HERE/klpr_task" spin
there_and_back exit_to_user
end_tasks
ok

# Interrupts that the core has sent to CPU 1, and not the scheduler: from the transition,
# or from the helper that it calls where helpers are not inlined.
KICK='ipi_send_cpu: cpu=1 callsite=(rust_helper_klp_|_R.*livepatch.*transition)'

start "it is interrupted when the transition starts"
if [ -d $TRACING/events/ipi/ipi_send_cpu ]; then
	task "$HERE/klpr_task" spin
	# Something else may run on its CPU at the moment when it is marked.
	for try in 1 2 3 4 5; do
		target
		record
		load klpr_patch_a
		stop_recording
		! events "$KICK" >/dev/null || break
		[ "$try" != 5 ] || {
			events 'ipi_send_cpu: cpu=1' | head -n 40 | sed 's/^/    /'
			show_events
			fail "no interrupt was sent to CPU 1"
		}
		again "no interrupt was sent to CPU 1 at try $try"
		disable klpr_patch_a
		unload klpr_patch_a
		no_target
	done
	# Next, CPU 1 is idle: no reason to interrupt it.
	end_tasks
	sleep 0.5
	record
	disable klpr_patch_a
	stop_recording
	events "$KICK" >/dev/null && fail "an idle CPU was interrupted"
	unload klpr_patch_a
	no_target
	ok
else
	skip_case "this kernel does not trace interrupts between CPUs"
fi

start "a task that only makes system calls switches on its way to user mode"
task "$HERE/klpr_task" syscall
there_and_back exit_to_user
end_tasks
ok

start "a task of 32 bits that spins switches on its way to user mode"
if [ -x "$HERE/klpr_task32" ] && "$HERE/klpr_task32" 2>&1 | grep -q usage; then
	task "$HERE/klpr_task32" spin
	there_and_back exit_to_user
	end_tasks
	ok
else
	case $(uname -m) in
	s390x) skip_case "s390 has no tasks of 31 bits any more";;
	ppc64le) skip_case "this kernel has no CONFIG_COMPAT, as Debian's ppc64el has none";;
	*) skip_case "no program of 32 bits runs here";;
	esac
fi

start "a task of 32 bits that only makes system calls switches on its way to user mode"
if [ -x "$HERE/klpr_task32" ] && "$HERE/klpr_task32" 2>&1 | grep -q usage; then
	task "$HERE/klpr_task32" syscall
	there_and_back exit_to_user
	end_tasks
	ok
else
	skip_case "no task of 32 bits, as above"
fi

start "a task that sleeps in an unpatched function switches by a check of its stack"
task sleep 1000
if has_config CONFIG_STACK_SCAN; then
	there_and_back stack_scan
else
	there_and_back stack_check
fi
end_tasks
ok

start "a kernel thread that goes to sleep switches in the scheduler"
target thread=spin_freezable
PID=$(pgrep -x klpr_thread)
record
# It spins in a function of the patch: nothing else can switch it.
load_nowait klpr_patch_a what=spin
sleep 1
expect $LP/klpr_patch_a/transition 1
expect "/proc/$PID/patch_state" 0
echo 1 >$TARGET/parameters/release
wait_until 30 settled klpr_patch_a || fail "the transition does not end"
stop_recording
went "$PID" patched scheduler
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

start "a kernel thread that is always busy, and yields, switches in the scheduler"
target thread=yield
PID=$(pgrep -x klpr_thread)
taskset -pc 1 "$PID" >/dev/null || fail "it cannot be moved"
there "$PID" scheduler
no_target
ok

start "a user process's thread that never leaves the kernel switches in the scheduler"
# shellcheck disable=SC2046
insmod "$MODS/klpr_worker.ko" $(addresses create_io_thread wake_up_new_task do_exit) || fail "the module for it cannot be loaded"
taskset -c 1 bash -c 'echo 1 >/sys/module/klpr_worker/parameters/start; read -r <> <(:)' &
PIDS+=($!)
disown $!
wait_until 20 eval '! value_is /sys/module/klpr_worker/parameters/pid 0' || fail "it does not run"
target
there "$(</sys/module/klpr_worker/parameters/pid)" scheduler
no_target
end_tasks
rmmod klpr_worker || fail "its module cannot be unloaded"
ok

start "an idle CPU switches in the idle loop"
target
there "0 comm=swapper/1" idle
no_target
ok

start "a task is forked with its parent's state; one that sleeps is forced"
target
cat $TARGET/sleep_hard >/dev/null &
PID=$!
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
record
load_nowait klpr_patch_a what=sleep_hard
wait_until 10 value_is "/proc/$$/patch_state" 1 || fail "the test's shell does not switch"
sleep 0.01 &
CHILD=$!
wait "$CHILD"
expect $LP/klpr_patch_a/transition 1
went "$CHILD" patched fork
echo 1 >$LP/klpr_patch_a/force
wait_until 10 settled klpr_patch_a || fail "the transition does not end"
stop_recording
went "$PID" patched forced
echo 1 >$TARGET/parameters/release
wait
disable klpr_patch_a
unload klpr_patch_a
no_target
ok

# stuck: start a transition without the hook, with a task that spins alone on its CPU:
# whether the task has yet to switch after a while.
stuck() {
	local was transition state
	target
	load klpr_patch_a
	# Timers of an idle CPU run on a busy one, and with them the work item that
	# switches the tasks. Where it runs, the task does not.
	on_cpu 0 "$HERE/klpr_task" spin
	task "$HERE/klpr_task" spin
	echo Y >$SKIP_HOOK
	record
	chrt -f -p 10 "$PID" || fail "it cannot be given the CPU"
	echo 0 >$LP/klpr_patch_a/enabled || fail "the patch cannot be disabled"
	sleep "$SECONDS_STUCK"
	transition=$(<$LP/klpr_patch_a/transition) state=$(<"/proc/$PID/patch_state")
	# A switch is traced when it is done.
	sleep 0.1
	echo 0 >$TRACING/tracing_on
	was=$(reason "$PID" unpatched)
	if [ -z "$was" ] && [ "$transition $state" != "1 1" ]; then
		fail "the task's state is $state, in the transition $transition, and nothing was traced"
	fi
	events 'reason=exit_to_user' >/dev/null && fail "the hook was not left out"
	echo N >$SKIP_HOOK
	# It is the last task.
	end_tasks
	stop_recording
	wait_until 30 gone $LP/klpr_patch_a || fail "the transition does not end"
	unload klpr_patch_a
	no_target
	[ -z "$was" ]
}

start "without the hook a task that spins alone on its CPU does not switch"
if has_config CONFIG_PREEMPT_RT; then
	# They preempt the task, and it switches by a check of its stack; or, if they
	# cannot, all that wait for RCU wait for the task.
	skip_case "on PREEMPT_RT a CPU with RCU's threads is no task's alone"
elif [ -e $SKIP_HOOK ]; then
	# Now and then something else has to run on its CPU. If the core checks its
	# stack at that moment, it switches after all.
	for try in 1 2 3 4 5; do
		stuck && break
		[ "$try" != 5 ] || { show_events; fail "it has switched each time"; }
	done
	ok
else
	skip_case "this kernel has no CONFIG_LIVEPATCH_TEST_EXIT_HOOK"
fi
