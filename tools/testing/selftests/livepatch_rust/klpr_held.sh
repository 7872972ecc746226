# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests of tasks that are held before they run a patch's code, or that
# run it and are not on the task list: what a transition does meanwhile.
# shellcheck shell=bash
#
# A case that fails does so while the patch is still there, lets the task go, and
# nothing bad happens. Parameters, from the environment:
#   CASES=REGEX  only the cases with such names
#   GO_ON=1      continue after a case that has failed
#   CRASH=1      unload the patch that the task comes back to, where the core
#                allows it, and let the task go. The kernel does not survive this.
#
# Where the C core is known to fail, the case reports an expected failure, after
# having seen it fail.

# What a case sets in its subshell is only used there.
# shellcheck disable=SC2030,SC2031
# shellcheck source-path=SCRIPTDIR source=klpr.sh
. "$(dirname "${BASH_SOURCE[0]}")/klpr.sh"

T=/sys/module/klpr_inflight
A=klpr_inflight_a
B=klpr_inflight_b
# Used by the scripts.
# shellcheck disable=SC2034
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CASES=${CASES:-.} GO_ON=${GO_ON:-} CRASH=${CRASH:-}
FAILED=

long_periods

# restore: release all tasks and unload all modules, after a case that has failed.
restore() {
	local p
	echo 1 >$T/parameters/release
	sleep 1
	for p in $B $A; do
		[ ! -e "$LP/$p" ] || { echo 0 >"$LP/$p/enabled"; } 2>/dev/null
		wait_until 60 gone "$LP/$p" || return 1
		[ ! -e "/sys/module/$p" ] || wait_until 20 rmmod "$p" || return 1
	done
	[ ! -e $T ] || wait_until 20 rmmod klpr_inflight
}

# run NAME FUNCTION...: a case.
run() {
	[[ $1 =~ $CASES ]] || return 0
	(
		EXPECTED='' C_FAILS='' SAFE=''
		start "$1"; shift
		"$@"
		if [ -n "$EXPECTED" ]; then
			clean
			echo "SKIP (expected failure with the core in C: $EXPECTED)"
		else
			ok
		fi
	) && return
	FAILED=y
	if [ -z "$GO_ON" ] || ! restore; then exit 1; fi
}

# all_run: at the end of a script.
all_run() { [ -z "$FAILED" ] || exit 1; }

# shellcheck disable=SC2120
begin() { insmod "$MODS/klpr_inflight.ko" "$@" || fail "klpr_inflight cannot be loaded"; }
end() { wait_until 20 rmmod klpr_inflight 2>/dev/null || fail "klpr_inflight cannot be unloaded"; }

# blocker: a task that sleeps in klpr_inflight_block().
blocker() {
	cat $T/block >/dev/null &
	# shellcheck disable=SC2034
	BLOCKER=$!
	wait_until 10 value_is $T/parameters/blocked 1 || fail "no task sleeps"
}

# The operation under test runs in the background: the C core waits in it.
load_bg() {
	insmod "$MODS/$1.ko" "${@:2}" &
	OPERATION=$!
}
disable_bg() {
	echo 0 >"$LP/$1/enabled" &
	OPERATION=$!
}
operation_done() { wait "$OPERATION" || fail "the operation has failed"; }

# over PATCH VERB: whether the transition has ended.
over() {
	case $2 in
	patching) settled "$1";;
	unpatching) gone "$LP/$1";;
	esac
}

# over_or_state PATCH VERB STATE: whether it has, or this shell has this state.
over_or_state() { over "$1" "$2" || value_is /proc/$$/patch_state "$3"; }

# waits PATCH VERB STATE-FILE FROM TO: whether the transition is under way as long as
# the task is there, which is checked for some seconds; WHY if not.
waits() {
	local patch=$1 verb=$2 file=$3 from=$4 to=$5 state end
	wait_until 30 logged_now "'$patch': starting $verb transition" ||
		fail "the transition of $patch does not start"
	# All others switch, this shell among them.
	wait_until 30 over_or_state "$patch" "$verb" "$to" || fail "the test's shell does not switch"
	end=$((SECONDS + 5))
	while [ "$SECONDS" -lt "$end" ]; do
		is_there || fail "the task was not there all the time"
		state=$(cat "$file")
		if over "$patch" "$verb"; then
			WHY="$verb with $patch has ended while $TASK"
			return 1
		fi
		if has_rust_core && [ "$state" != "$from" ]; then
			WHY="$verb with $patch has put a task into state $state while $TASK"
			return 1
		fi
		sleep 0.1
	done
	is_there || fail "the task was not there all the time"
}

# must_wait PATCH VERB STATE-FILE FROM TO: check that the transition waits. The C core
# may be known not to wait, for the reason C_FAILS.
must_wait() {
	if waits "$@"; then
		has_rust_core || [ -z "$C_FAILS" ] ||
			fail "the core in C does what it is known not to do; expected: $C_FAILS"
		return
	fi
	if [ -n "$CRASH" ] && [ -z "$SAFE" ]; then crash "$1" "$2"; fi
	if has_rust_core || [ -z "$C_FAILS" ]; then fail "$WHY"; fi
	EXPECTED=$C_FAILS
}

# crash PATCH VERB: show what the failure leads to.
crash() {
	local patch=$A
	[ "$2" = patching ] || patch=$1
	# A task may be switched too early, and the patch still not be given back.
	wait_until 20 over "$1" "$2" || fail "$WHY; but $patch is not given back"
	echo
	echo "$WHY"
	unload "$patch"
	echo "$patch is unloaded; the task continues"
	klog "klpr: $patch is unloaded; the task continues"
	sync
	echo 1 >$T/parameters/release
	sleep 10
	fail "the kernel has survived it"
}
