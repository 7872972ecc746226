#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the kernel shows of transitions: in debugfs, in sysfs, by trace events. Tasks hold a
# transition up for each reason that there is; what is shown of them must be right.
# shellcheck disable=SC2119
# shellcheck source-path=SCRIPTDIR source=klpr_held.sh
. "$(dirname "$0")/klpr_held.sh"
plan 17

DEBUG=/sys/kernel/debug/livepatch
TRACING=/sys/kernel/tracing
P=klpr_patch_a
SLOT=/sys/module/klpr_slot

has_rust_core || { echo "SKIP: the core in C does not show this"; exit 4; }
grep -q ' /sys/kernel/debug debugfs ' /proc/mounts || { echo "SKIP: debugfs is not mounted"; exit 4; }

# view KEY: this line of the transition that is going on.
view() { sed -n "s/^$1: //p" $DEBUG/transition; }
# view_is KEY VALUE
view_is() { [ "$(view "$1")" = "$2" ]; }
expect_view() { view_is "$1" "$2" || fail "$1 is '$(view "$1")', not '$2': $(cat $DEBUG/transition)"; }

# is_shown PID REGEX: whether this is shown of the task, between its name and for how long.
is_shown() { view task | grep -qE "^pid=$1 comm=\"[^\"]*\" $2 blocked_ms=[0-9]+ attempts=[0-9]+\$"; }
expect_shown() {
	wait_until 30 is_shown "$@" || fail "not shown of task $1: $2; but: $(cat $DEBUG/transition)"
}

# past KEY [LINE]: this value of the last transition that has ended, or of an earlier one.
past() { sed -n "${2:-1}p" $DEBUG/history | tr ' ' '\n' | sed -n "s/^$1=//p"; }
expect_past() { # KEY VALUE [LINE]
	[ "$(past "$1" "${3:-1}")" = "$2" ] ||
		fail "$1 is '$(past "$1" "${3:-1}")', not '$2': $(cat $DEBUG/history)"
}

sleeper() { # FILE SLEEPERS
	cat "$TARGET/sleep_hard" >/dev/null &
	PID=$!
	wait_until 10 value_is "$1/parameters/sleepers" "$2" || fail "no task sleeps"
}

# let_go: release the tasks that hold up the transition, which ends then.
let_go() {
	echo 1 >$TARGET/parameters/release
	wait
	wait_until 30 settled $P || fail "the transition does not end"
}
end_patch() {
	disable $P
	unload $P
	no_target
}

# Events from here on.
record() {
	echo >$TRACING/trace
	echo 1 >$TRACING/events/livepatch/enable || fail "events cannot be turned on"
	echo 0 >$TRACING/events/livepatch/klp_task_switch/enable
}
# recorded: the events since, without tasks, times and numbers that vary.
recorded() {
	echo 0 >$TRACING/events/livepatch/enable
	sed -n 's/^.*: klp_\([a-z_]*\): /\1 /p' $TRACING/trace |
		sed 's/ duration_us=.*//; s/ tasks=.*//' | grep -v '^task_'
}

start "nothing is shown while there is no transition"
[ -z "$(cat $DEBUG/transition)" ] || fail "shown: $(cat $DEBUG/transition)"
[ "$(stat -c %a $DEBUG/transition $DEBUG/history | sort -u)" = 400 ] ||
	fail "not for root only: $(ls -l $DEBUG)"
ok

start "a task in a function"
target
sleeper $TARGET 1
load_nowait $P what=sleep_hard
expect_shown $PID 'obstacle=function function="klpr_target_sleep_hard"'
view task | grep -q "^pid=$PID comm=\"cat\"" || fail "its name: $(view task)"
expect_view patch $P
expect_view direction patched
expect_view forced no
expect_view signaled no
wait_until 30 view_is remaining 1 || fail "others remain: $(cat $DEBUG/transition)"
expect $LP/$P/remaining_tasks 1
attempts=$(view attempts)
millis=$(<$LP/$P/transition_ms)
sleep 2
[ "$(view attempts)" -gt "$attempts" ] || fail "there was no other attempt"
[ "$(<$LP/$P/transition_ms)" -ge $((millis + 1900)) ] || fail "the time does not pass"
# All attempts have found it so. In one read, as time goes by.
now=$(cat $DEBUG/transition)
[[ $now =~ running_ms:\ ([0-9]+).*attempts:\ ([0-9]+).*blocked_ms=([0-9]+)\ attempts=([0-9]+) ]] ||
	fail "not understood: $now"
[ "${BASH_REMATCH[4]}" = "${BASH_REMATCH[2]}" ] || fail "not all attempts: $now"
[ "${BASH_REMATCH[3]}" -ge 1900 ] || fail "too short: $now"
[ "${BASH_REMATCH[1]}" -ge "${BASH_REMATCH[3]}" ] || fail "longer than the transition: $now"
let_go
[ -z "$(cat $DEBUG/transition)" ] || fail "still shown: $(cat $DEBUG/transition)"
expect_past patch $P
expect_past direction patched
expect_past outcome completed
expect_past was_forced no
expect_past slowest_pid "$PID"
expect_past slowest_function '"klpr_target_sleep_hard"'
expect_past duration_ms "$(<$LP/$P/transition_ms)"
[ "$(past slowest_ms)" -ge 1900 ] || fail "the slowest task: $(cat $DEBUG/history)"
[ "$(past stack_scan)" -gt 10 ] || fail "hardly any task was switched by its stack: $(cat $DEBUG/history)"
expect $LP/$P/remaining_tasks 0
end_patch
ok

start "a task in a replacement, when the patch is disabled"
target
load $P what=sleep_new
sleeper /sys/module/$P 1
echo 0 >$LP/$P/enabled || fail "it cannot be disabled"
# All of the module is left for good; the function comes first.
expect_shown $PID 'obstacle=function function="klpr_target_sleep_hard"'
expect_view direction unpatched
echo 1 >/sys/module/$P/parameters/release
wait
unload $P
expect_past direction unpatched
no_target
ok

start "a task that runs"
target thread=spin
load_nowait $P what=spin
expect_shown "$(pgrep -x klpr_thread)" 'obstacle=running'
echo 1 >$TARGET/parameters/release
wait_until 30 settled $P || fail "the transition does not end"
end_patch
ok

is_there() { value_is $T/parameters/held 1; }
start "a task on its way into a function"
begin
cat $T/hold >/dev/null &
PID=$!
wait_until 20 is_there || fail "the task cannot be held"
load_bg $A what=one
expect_shown $PID 'obstacle=ftrace function="klpr_inflight_one"'
is_there || fail "the task was not there all the time"
wait_until 20 eval "echo 1 >$T/parameters/release; ! [ -e /proc/$PID ]"
operation_done
wait_until 30 settled $A || fail "the transition does not end"
expect_past slowest_obstacle ftrace
disable $A
unload $A
end
ok

start "a task in the module of a patch"
begin
load $A what=tail
blocker
disable_bg $A
expect_shown $BLOCKER "obstacle=module patch=\"$A\""
echo 1 >$T/parameters/release
wait "$BLOCKER"
operation_done
unload $A
expect_past slowest_patch "\"$A\""
end
ok

start "a task whose stack cannot be relied on"
is_optimized() { grep -q 'klpr_slot_fill.*\[OPTIMIZED\]' /sys/kernel/debug/kprobes/list; }
if has_config CONFIG_X86_64 && has_config CONFIG_OPTPROBES; then
	insmod "$MODS/klpr_slot.ko" probe=1 || fail "klpr_slot cannot be loaded"
	wait_until 20 is_optimized || fail "the kprobe is not optimized"
	cat $SLOT/hold >/dev/null &
	PID=$!
	wait_until 20 value_is $SLOT/parameters/held 1 || fail "the task is not held"
	load_nowait $P what=slot
	expect_shown $PID 'obstacle=unreliable_stack'
	echo 1 >$SLOT/parameters/release
	wait
	wait_until 60 settled $P || fail "the transition does not end"
	disable $P
	unload $P
	wait_until 20 rmmod klpr_slot || fail "klpr_slot cannot be unloaded"
	ok
else
	skip_case "the test has such a task for x86_64 only"
fi

start "more tasks than are listed"
target
load_sleepers() {
	local n
	PIDS=()
	for n in {1..40}; do
		cat $TARGET/sleep_hard >/dev/null &
		PIDS+=("$!")
	done
	wait_until 60 value_is $TARGET/parameters/sleepers 40 || fail "$(<$TARGET/parameters/sleepers) of $n tasks sleep"
}
load_sleepers
load_nowait $P what=sleep_hard
wait_until 30 view_is remaining 40 || fail "$(view remaining) tasks remain"
# Others take the places of those that switch.
all_listed() { [ "$(view task | grep 'obstacle=function' | sort -u | wc -l)" = 32 ]; }
wait_until 10 all_listed || fail "listed: $(view task)"
let_go
end_patch
ok

start "a name with quotes, blanks and line ends"
target
bash -c 'printf "a \"b\\\\\n" >/proc/self/comm; read -r x <'"$TARGET"'/sleep_hard' &
PID=$!
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
load_nowait $P what=sleep_hard
wait_until 30 view_is remaining 1 || fail "$(view remaining) tasks remain"
view task | grep -qF "pid=$PID comm=\"a \\\"b\\\\\\n\" obstacle=function" || fail "shown: $(view task)"
let_go
end_patch
ok

start "a transition that is reversed"
target
sleeper $TARGET 1
load_nowait $P what=sleep_hard
expect_shown $PID 'obstacle=function function="klpr_target_sleep_hard"'
echo 0 >$LP/$P/enabled || fail "it cannot be reversed"
wait_until 30 gone $LP/$P || fail "the transition does not end"
expect_past outcome completed
expect_past direction unpatched
expect_past outcome reversed 2
expect_past direction patched 2
# It is why the transition was reversed, and was blocked to the end.
expect_past slowest_pid "$PID" 2
expect_past slowest_function '"klpr_target_sleep_hard"' 2
# The task that had waited has nothing to leave.
expect_past slowest_function ""
echo 1 >$TARGET/parameters/release
wait
unload $P
no_target
ok

start "a transition that is forced"
target
sleeper $TARGET 1
load_nowait $P what=sleep_hard
wait_until 30 view_is remaining 1 || fail "$(view remaining) tasks remain"
record
echo 1 >$LP/$P/force || fail "it cannot be forced"
wait_until 30 settled $P || fail "the transition does not end"
echo 0 >$TRACING/events/livepatch/enable
grep -q "klp_transition_force: patch=$P direction=patched tasks=1\$" $TRACING/trace ||
	fail "reported: $(cat $TRACING/trace)"
expect_past was_forced yes
expect_past forced 1
echo 1 >$TARGET/parameters/release
wait
end_patch
ok

start "fake signals"
target
cat $TARGET/sleep >/dev/null 2>&1 &
PID=$!
wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
record
load_nowait $P what=sleep
expect_shown $PID 'obstacle=function function="klpr_target_sleep"'
wait_until 60 settled $P || fail "the transition does not end"
recorded | grep -qx "transition_signal patch=$P direction=patched" || fail "not reported: $(recorded)"
expect_past signaled yes
wait
end_patch
ok

start "the sixteen last transitions, the newest first"
target
for _ in {1..9}; do
	load $P
	disable $P
	unload $P
done
[ "$(wc -l <$DEBUG/history)" = 16 ] || fail "there are $(wc -l <$DEBUG/history)"
for line in {1..16}; do
	expect_past patch $P "$line"
	expect_past direction "$([ $((line % 2)) = 1 ] && echo unpatched || echo patched)" "$line"
done
last=0
while read -r ago; do
	[ "$ago" -ge "$last" ] || fail "not in order: $(cat $DEBUG/history)"
	last=$ago
done < <(sed 's/.*ended_ago_ms=\([0-9]*\).*/\1/' $DEBUG/history)
no_target
ok

# events EXPECTED: fail unless this was reported, in this order.
events() {
	local got
	got=$(recorded)
	[ "$got" = "$1" ] || fail "reported: $got"
}

start "events of a patch that replaces another"
target
record
load $P what=two
load klpr_patch_b replace=1
wait_until 20 gone $LP/$P || fail "it is not replaced"
unload $P
disable klpr_patch_b
unload klpr_patch_b
events "\
object_patched patch=$P object=klpr_target
transition_start patch=$P direction=patched
transition_complete patch=$P direction=patched
patch_enabled patch=$P
object_patched patch=klpr_patch_b object=klpr_target
transition_start patch=klpr_patch_b direction=patched
object_unpatched patch=$P object=klpr_target
transition_complete patch=klpr_patch_b direction=patched
patch_enabled patch=klpr_patch_b
patch_replaced patch=$P
patch_freed patch=$P
transition_start patch=klpr_patch_b direction=unpatched
object_unpatched patch=klpr_patch_b object=klpr_target
transition_complete patch=klpr_patch_b direction=unpatched
patch_disabled patch=klpr_patch_b
patch_freed patch=klpr_patch_b"
no_target
ok

start "events of a reversal, of a task in the way, and of a module that comes and goes"
record
load klpr_patch_b
target
no_target
disable klpr_patch_b
unload klpr_patch_b
target
sleeper $TARGET 1
load_nowait $P what=sleep_hard
expect_shown $PID 'obstacle=function function="klpr_target_sleep_hard"'
echo 0 >$LP/$P/enabled || fail "it cannot be reversed"
wait_until 30 gone $LP/$P || fail "the transition does not end"
unload $P
grep -q "klp_task_blocked: pid=$PID comm=cat direction=patched obstacle=function name=klpr_target_sleep_hard\$" \
	$TRACING/trace || fail "no task is reported: $(cat $TRACING/trace)"
events "\
transition_start patch=klpr_patch_b direction=patched
transition_complete patch=klpr_patch_b direction=patched
patch_enabled patch=klpr_patch_b
object_patched patch=klpr_patch_b object=klpr_target
object_unpatched patch=klpr_patch_b object=klpr_target
transition_start patch=klpr_patch_b direction=unpatched
transition_complete patch=klpr_patch_b direction=unpatched
patch_disabled patch=klpr_patch_b
patch_freed patch=klpr_patch_b
object_patched patch=$P object=klpr_target
transition_start patch=$P direction=patched
transition_reverse patch=$P direction=unpatched
object_unpatched patch=$P object=klpr_target
transition_complete patch=$P direction=unpatched
patch_disabled patch=$P
patch_freed patch=$P"
echo 1 >$TARGET/parameters/release
wait
no_target
ok

start "the numbers of a complete transition add up"
grep -q 'field:u32 switched\[7\];' $TRACING/events/livepatch/klp_transition_complete/format ||
	fail "tools cannot read the event: $(cat $TRACING/events/livepatch/klp_transition_complete/format)"
target
record
echo 1 >$TRACING/events/livepatch/klp_task_switch/enable
load $P
echo 0 >$TRACING/events/livepatch/enable
complete=$(grep -o 'klp_transition_complete: .*' $TRACING/trace)
for reason in exit_to_user stack_scan stack_check scheduler idle fork forced; do
	seen=$(grep -c "klp_task_switch: .*direction=patched reason=$reason\$" $TRACING/trace)
	case " $complete " in
	*" $reason=$seen "*) ;;
	*) fail "$seen tasks have switched by $reason; reported: $complete";;
	esac
done
started=$(sed -n 's/.*klp_transition_start: .* tasks=//p' $TRACING/trace)
seen=$(grep -c 'klp_task_switch: .*direction=patched' $TRACING/trace)
# Tasks are forked, and exit, meanwhile.
[ "$started" -ge $((seen - 20)) ] && [ "$started" -le $((seen + 20)) ] ||
	fail "$started tasks had to switch, and $seen have"
end_patch
ok

start "where calls go, in sysfs"
NEW=klpr_target/klpr_target_one,1/new_func
target
load $P what=both
expect $LP/$P/$NEW "klpr_one [$P]"
expect $LP/$P/vmlinux/cmdline_proc_show,1/new_func "klpr_cmdline [$P]"
load klpr_patch_b what=only_two replace=1
wait_until 20 gone $LP/$P || fail "it is not replaced"
unload $P
expect $LP/klpr_patch_b/klpr_target/klpr_target_two,1/new_func "klpr_two [klpr_patch_b]"
disable klpr_patch_b
unload klpr_patch_b
load klpr_patch_b
no_target
# The replacement is there whether the module that it is for is or not.
expect $LP/klpr_patch_b/$NEW "klpr_one [klpr_patch_b]"
disable klpr_patch_b
unload klpr_patch_b
# A nop leads to the function itself.
target
sleeper $TARGET 1
load $P
load_nowait klpr_patch_b what=sleep_hard replace=1
expect $LP/klpr_patch_b/$NEW "klpr_target_one [klpr_target]"
[ "$(grep -rlE '0x|[0-9a-f]{16}' --include=new_func $LP | wc -l)" = 0 ] || fail "an address is shown"
echo 1 >$TARGET/parameters/release
wait
wait_until 30 settled klpr_patch_b || fail "the transition does not end"
unload $P
disable klpr_patch_b
unload klpr_patch_b
no_target
ok
