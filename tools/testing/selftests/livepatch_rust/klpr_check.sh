# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests that use klpr_check, after klpr.sh: its modules, its load.
# shellcheck shell=bash

CHECK=/sys/module/klpr_check/parameters
CTARGET=/sys/module/klpr_check_target
TRACING=/sys/kernel/tracing
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CPU1=/sys/devices/system/cpu/cpu1/online
# In one out of so many calls the caller gives up its CPU in ftrace's callbacks.
STALL=${STALL:-8}
# When this file exists, the background functions end.
STOP=$(mktemp -d)/stop
BACKGROUND=()
LOAD_PID=
TRACERS=()
TRACER=

violations() { echo "$(<$CHECK/violations)"; }
violated() { ! value_is $CHECK/violations 0; }

checker_in() { insmod "$MODS/klpr_check.ko" || fail "the checker cannot be loaded"; }
checker_out() { rmmod klpr_check || fail "the checker cannot be unloaded"; }

target_in() {
	insmod "$MODS/klpr_check_target.ko" || fail "the target cannot be loaded"
	echo "$STALL" >$CTARGET/parameters/stall || fail "ftrace refuses the callback"
}
target_out() { wait_until 60 rmmod klpr_check_target 2>/dev/null || fail "the target cannot be unloaded"; }

# remove PATCH: unload a patch that is not enabled any more. With QUIET=y no call is
# in progress meanwhile, so that an error of the core is counted, and does not crash
# the machine.
remove() {
	wait_until 60 gone "$LP/$1" || fail "$1 is still enabled"
	wait_until 60 value_is "/sys/module/$1/refcnt" 0 || fail "$1 is still in use"
	if [ "${QUIET:-}" = y ]; then
		echo 1 >$CHECK/pause || fail "calls do not end"
	fi
	rmmod "$1" || fail "$1 cannot be unloaded"
	[ "${QUIET:-}" != y ] || echo 0 >$CHECK/pause
}

# background FUNCTION: call it again and again, until storm_off.
background() {
	while [ ! -e "$STOP" ]; do "$@"; done >/dev/null 2>&1 &
	BACKGROUND+=($!)
}

storm_on() {
	rm -f "$STOP"
	"$HERE/klpr_load" $CTARGET/call >/dev/null 2>&1 &
	LOAD_PID=$!
}

storm_off() {
	: >"$STOP"
	if [ -n "$LOAD_PID" ]; then
		kill -9 "$LOAD_PID" 2>/dev/null
		wait "$LOAD_PID" 2>/dev/null
		LOAD_PID=
	fi
	[ "${#BACKGROUND[@]}" = 0 ] || wait "${BACKGROUND[@]}" 2>/dev/null
	BACKGROUND=()
	[ ! -e "$CPU1" ] || echo 1 >"$CPU1" 2>/dev/null
	tracer_off
}
storm_runs() { kill -0 "$LOAD_PID" 2>/dev/null; }

cpu_goes_and_comes() {
	sleep 0.5
	echo 0 >"$CPU1"
	sleep 0.2
	echo 1 >"$CPU1"
}

# tracer_on KIND: a tracer of tracefs, or a probe.
tracer_on() {
	case $1 in
	function*)
		# With nothing in the filter all functions would be traced. So one function
		# stays in it that does not go away with the target.
		echo cmdline_proc_show >$TRACING/set_ftrace_filter &&
			echo 'klpr_check_outer klpr_check_inner' >>$TRACING/set_ftrace_filter &&
			echo "$1" >$TRACING/current_tracer
		;;
	*) insmod "$MODS/klpr_check_hook.ko" how="$1";;
	esac 2>/dev/null && TRACER=$1
}

tracer_off() {
	case $TRACER in
	'') return;;
	function*)
		echo nop >$TRACING/current_tracer
		echo >$TRACING/set_ftrace_filter
		echo >$TRACING/trace
		;;
	*) wait_until 20 rmmod klpr_check_hook 2>/dev/null || fail "the probe cannot be removed";;
	esac
	TRACER=
}

# find_tracers: find the tracers that this kernel has.
find_tracers() {
	local kind
	TRACERS=()
	for kind in function function_graph kprobe kretprobe fprobe; do
		tracer_on "$kind" || continue
		tracer_off
		TRACERS+=("$kind")
	done
	[ "${#TRACERS[@]}" != 0 ] || fail "there is no tracer"
}

# tracer_comes_or_goes: the next one, or none.
tracer_comes_or_goes() {
	if [ -n "$TRACER" ]; then
		tracer_off
	else
		tracer_on "${TRACERS[RANDOM % ${#TRACERS[@]}]}"
	fi
}

tracers_come_and_go() {
	tracer_comes_or_goes
	sleep "0.$((RANDOM % 4))"
	if [ -e "$STOP" ]; then tracer_off; fi
}

# was_asked: check that the load has called the functions in both states during
# transitions, and was held in ftrace's callbacks.
was_asked() {
	local what
	for what in calls stalls asked_unpatched asked_patched; do
		[ "$what $STALL" != "stalls 0" ] || continue
		[ "$(<$CHECK/$what)" -gt 0 ] || fail "$CHECK/$what is 0"
	done
	klog "klpr: $(cd $CHECK && grep . calls stalls asked_unpatched asked_patched violations | tr '\n' ' ')"
}
