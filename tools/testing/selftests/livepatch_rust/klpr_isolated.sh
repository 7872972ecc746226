# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests with an isolated CPU, which is CPU 1, after klpr.sh: a task on it,
# what is recorded, what must not be.
# shellcheck shell=bash

TRACING=/sys/kernel/tracing
SKIP_HOOK=/sys/module/livepatch/parameters/skip_exit_hook
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

has_rust_core || { echo "SKIP: this tests interrupts and work items of the core in Rust"; exit 4; }
for event in livepatch/klp_task_switch ipi/ipi_send_cpu workqueue/workqueue_queue_work; do
	[ -d $TRACING/events/$event ] || { echo "SKIP: this kernel has no trace event $event"; exit 4; }
done
[ -x "$HERE/klpr_task" ] || { echo "SKIP: klpr_task was not built"; exit 4; }
taskset -pc 0 $$ >/dev/null || exit 1
echo 0 >$TRACING/tracing_on
echo 4096 >$TRACING/buffer_size_kb

EVENTS="livepatch/klp_task_switch ipi/ipi_send_cpu workqueue/workqueue_queue_work workqueue/workqueue_execute_start"
record() {
	local event
	echo >$TRACING/trace
	for event in $EVENTS; do echo 1 >"$TRACING/events/$event/enable"; done
	echo 1 >$TRACING/tracing_on
}
stop_recording() {
	local event
	echo 0 >$TRACING/tracing_on
	for event in $EVENTS; do echo 0 >"$TRACING/events/$event/enable"; done
}
events() { grep -E -- "$1" $TRACING/trace; }

# The work items of the core: the next attempt, and the one that waits for each CPU.
# Isolated CPUs get the latter, too, where RCU cannot be relied on instead.
ATTEMPT='_R[^ ]*livepatch6switch7Attempt[^ ]*'
SCHEDULED='_R[^ ]*livepatch11synchronize9Scheduled[^ ]*'

# undisturbed: check that the end of a transition was recorded, with nothing for CPU 1.
undisturbed() {
	events "workqueue_queue_work: .*$SCHEDULED.* cpu=0$" >/dev/null || fail "no wait for CPUs was recorded"
	events 'ipi_send_cpu: cpu=1 callsite=(rust_helper_klp_|_R.*livepatch|wake_up_if_idle)' &&
		fail "CPU 1 was interrupted"
	events "(workqueue_queue_work: .*$ATTEMPT.* cpu=1$| \[001\] .*workqueue_execute_start: .*$ATTEMPT)" &&
		fail "the attempt was queued on CPU 1"
	[ "$(uname -m)" = ppc64le ] || {
		events "(workqueue_queue_work: .*$SCHEDULED.* cpu=1$| \[001\] .*workqueue_execute_start: .*$SCHEDULED)" &&
			fail "the work item that waits for CPU 1 was queued on it"
	}
}

reason() { events "klp_task_switch: pid=$1 .*direction=$2 reason=" | sed 's/.* reason=//' | sort -u | xargs; }

PID=
end_task() {
	[ -z "$PID" ] || kill -KILL "$PID" 2>/dev/null
	[ -z "$PID" ] || wait_until 20 gone "/proc/$PID"
	PID=
}
cleanup() {
	[ ! -e $SKIP_HOOK ] || echo N >$SKIP_HOOK
	end_task
}

# both_ways: patch, and undo it, with the task on CPU 1: it switches, and is not disturbed.
both_ways() {
	record
	load klpr_patch_a
	stop_recording
	undisturbed
	[ -n "$(reason "$PID" patched)" ] || fail "the task has not switched"
	expect "$TARGET/parameters/one" 101
	record
	disable klpr_patch_a
	stop_recording
	undisturbed
	[ -n "$(reason "$PID" unpatched)" ] || fail "the task has not switched back"
	end_task
	unload klpr_patch_a
	no_target
}

# task: start a task that spins in user mode on CPU 1.
task() {
	taskset -c 1 "$HERE/klpr_task" spin &
	PID=$!
	# The shell must not print how it ends.
	disown "$PID"
	wait_until 20 grep -qx klpr_task "/proc/$PID/comm" || fail "klpr_task does not run"
	sleep 0.3
}
