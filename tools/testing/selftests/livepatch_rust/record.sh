#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Record what the trace events show of transitions of all kinds, under load, for being
# replayed in the model (make test SUITE=replay):
#   record.sh FILE [ROUNDS]
. "$(dirname "$0")/klpr.sh"

TRACING=/sys/kernel/tracing
FILE=$1 ROUNDS=${2:-10}
A=$LP/klpr_patch_a

has_rust_core || { echo "SKIP: the core in C does not show this"; exit 4; }

LOAD=()
cleanup() { [ "${#LOAD[@]}" = 0 ] || kill "${LOAD[@]}" 2>/dev/null; }
# forks: tasks that come and go, and some that read what patches replace.
forks() { while :; do /bin/true; cat $TARGET/parameters/one /proc/cmdline; done; }

sleeper() {
	cat $TARGET/sleep_hard >/dev/null 2>&1 &
	SLEEPER=$!
	wait_until 20 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
}
release() {
	echo 1 >$TARGET/parameters/release
	wait "$SLEEPER"
	echo 0 >$TARGET/parameters/release
}

# replaced: enable a patch, replace it, and disable the newer one.
replaced() {
	load klpr_patch_a what=both
	load klpr_patch_b what=only_two replace=1
	unload klpr_patch_a
	disable klpr_patch_b
	unload klpr_patch_b
}
# hold_up: start a transition that a task holds up for a while.
hold_up() {
	sleeper
	load_nowait klpr_patch_a what=sleep_hard
	pause 0.2
}
end_patch() {
	disable klpr_patch_a
	unload klpr_patch_a
}

held() {
	hold_up
	release
	wait_until 60 settled klpr_patch_a || fail "the transition does not end"
	end_patch
}
# reversed: the transition is reversed twice.
reversed() {
	hold_up
	echo 0 >$A/enabled || fail "it cannot be reversed"
	# Unless all have come back already.
	echo 1 2>/dev/null >$A/enabled || :
	pause 0.2
	release
	wait_until 60 eval "gone $A || settled klpr_patch_a" || fail "the transition does not end"
	[ ! -e "$A" ] || disable klpr_patch_a
	unload klpr_patch_a
}
forced() {
	hold_up
	echo 1 >$A/force || fail "it cannot be forced"
	wait_until 60 settled klpr_patch_a || fail "the transition does not end"
	release
	end_patch
}

CASE=record
MARK=record
echo 0 >$TRACING/tracing_on
echo 16384 >$TRACING/buffer_size_kb
echo >$TRACING/trace
echo 1 >$TRACING/events/livepatch/enable || fail "this kernel has no trace events"
echo 1 >$TRACING/tracing_on

target thread=sleep
forks >/dev/null 2>&1 &
LOAD+=($!)
forks >/dev/null 2>&1 &
LOAD+=($!)
for ((round = 0; round < ROUNDS; round++)); do
	for what in replaced held reversed forced; do $what; done
done
echo 0 >$TRACING/tracing_on
cleanup
LOAD=()
no_target
cat $TRACING/trace >"$FILE" || fail "the trace cannot be written to $FILE"
echo "recorded: $(grep -c klp_transition_complete: "$FILE") transitions"
