#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Transitions by the thousand, in an order that SEED decides, under load: patches are
# enabled, disabled, replaced and stacked, their transitions reversed, while their
# target is loaded and unloaded. No task may run a version that it has left, and what
# was loaded must leave nothing behind. COUNT transitions; not part of the test suites.
. "$(dirname "$0")/klpr.sh"
. "$(dirname "$0")/klpr_check.sh"
COUNT=${COUNT:-500}
SEED=${SEED:-1}
RANDOM=$SEED
PATCHES=(klpr_check_patch_a klpr_check_patch_b klpr_check_patch_c)
STACK=()		# The patches that are enabled, the oldest first.
HELD=()			# Readers that sleep in the functions.
TARGET_IN=
JOB=			# Loads or unloads the target.
transitions=0 loaded=0 reversals=0

cleanup() { storm_off; }

CORE_IN_C=
has_rust_core || CORE_IN_C=y
# With the C core a task may be on its way into a patch that is unloaded.
QUIET=${QUIET:-$CORE_IN_C}

# chance PERCENT
chance() { [ $((RANDOM % 100)) -lt "$1" ]; }

count() { transitions=$((transitions + 1)); }

check() {
	if violated && [ -z "$CORE_IN_C" ]; then
		fail "$(violations) calls ran a version that their task had left"
	fi
	storm_runs || fail "the load has ended by itself"
}

# hold: make a task sleep in its current version of the functions. Transitions wait for
# it only while the functions are in the version that all calls take.
hold() {
	local n=$((${#HELD[@]} + 1))
	cat $CTARGET/hold >/dev/null &
	HELD+=($!)
	wait_until 60 value_is $CHECK/holders $n || fail "no task sleeps in the target"
}

release() {
	echo 1 >$CHECK/release || fail "a task that sleeps in the target does not wake up"
	wait "${HELD[@]}"
	HELD=()
}

# reverse PATCH STATE: reverse the transition of a patch that leads to STATE, several
# times. A task is held in the version that it starts from. With another one held in
# the version that it leads to, it cannot end in either direction.
reverse() {
	local patch=$1 state=$2 n=$((1 + RANDOM % 10))
	hold
	expect "/proc/${HELD[1]}/patch_state" "$state"
	while [ "$n" -gt 0 ]; do
		expect "$LP/$patch/transition" 1
		state=$((1 - state))
		echo "$state" >"$LP/$patch/enabled" || fail "the transition of $patch cannot be reversed"
		count
		reversals=$((reversals + 1))
		n=$((n - 1))
		chance 50 || pause "0.0$((RANDOM % 5))"
		! chance 10 || tracer_comes_or_goes
	done
	release
}

# settle PATCH: wait until its transition is over, and take it off the stack if it is
# disabled; if it is enabled and replaces, take the others off.
settle() {
	local patch=$1 replaces=$2 p rest=()
	wait_until 120 eval "settled $patch || gone $LP/$patch" || fail "the transition of $patch does not end"
	if value_is "$LP/$patch/enabled" 1; then
		[ "$replaces" = 1 ] || return 0
		for p in "${STACK[@]}"; do
			if [ "$p" = "$patch" ]; then rest+=("$p"); else remove "$p"; fi
		done
	else
		for p in "${STACK[@]}"; do [ "$p" = "$patch" ] || rest+=("$p"); done
		remove "$patch"
	fi
	STACK=("${rest[@]}")
}

enable() {
	local patch replaces=0 blocked=
	for patch in "${PATCHES[@]}"; do
		[[ " ${STACK[*]} " = *" $patch "* ]] || break
	done
	[ "${#STACK[@]}" = 0 ] || ! chance 40 || replaces=1
	if [ -n "$TARGET_IN" ] && [ -z "$JOB" ] && chance 50; then
		blocked=y
		hold
	fi
	insmod "$MODS/$patch.ko" funcs=$((1 + RANDOM % 3)) replace=$replaces || fail "$patch cannot be loaded"
	STACK+=("$patch")
	loaded=$((loaded + 1))
	count
	[ -z "$blocked" ] || reverse "$patch" 1
	settle "$patch" $replaces
}

# disable_one: disable any patch of the stack. Whether a task sleeps in the newest one
# depends on the functions that it has: its outer(), which calls inner(), or its inner().
disable_one() {
	local n=${#STACK[@]} patch blocked=
	[ "$n" != 0 ] || return 0
	if chance 60; then n=$((n - 1)); else n=$((RANDOM % n)); fi
	patch=${STACK[$n]}
	if [ "$n" = $((${#STACK[@]} - 1)) ] && [ -n "$TARGET_IN" ] && [ -z "$JOB" ] && chance 50; then
		blocked=y
		hold
	fi
	echo 0 >"$LP/$patch/enabled" || fail "$patch cannot be disabled"
	count
	[ -z "$blocked" ] || reverse "$patch" 0
	settle "$patch" 0
}

# enable_or_disable: disable one if all patches are enabled.
enable_or_disable() {
	if [ "${#STACK[@]}" -lt "${#PATCHES[@]}" ] && chance 65; then enable; else disable_one; fi
}

# target_comes_or_goes: load or unload the target, alone or while a patch is enabled or
# disabled.
target_comes_or_goes() {
	case $TRACER in *probe) tracer_off;; esac
	if [ -n "$TARGET_IN" ]; then
		TARGET_IN=
		target_out &
	else
		target_in &
		TARGET_IN=y
	fi
	JOB=$!
	! chance 70 || enable_or_disable
	wait "$JOB" || fail "the target does not come or go"
	JOB=
}

# run COUNT: run transitions up to that number, then unload everything.
run() {
	local next=$((SECONDS + 60))
	checker_in
	target_in
	TARGET_IN=y
	find_tracers
	storm_on
	[ ! -e "$CPU1" ] || background cpu_goes_and_comes
	while [ $((transitions + ${#STACK[@]})) -lt "$1" ]; do
		case $((RANDOM % 10)) in
		0) target_comes_or_goes;;
		1) [ -z "$TARGET_IN" ] || tracer_comes_or_goes;;
		*) enable_or_disable;;
		esac
		check
		if [ "$SECONDS" -ge "$next" ]; then
			echo "soak: $transitions of $COUNT transitions, $loaded patches loaded, $SECONDS s"
			next=$((SECONDS + 60))
		fi
	done
	[ -n "$TARGET_IN" ] || target_in
	while [ "${#STACK[@]}" != 0 ]; do disable_one; done
	check
	was_asked
	left=$(violations)
	storm_off
	target_out
	checker_out
	clean
}

# memory: the memory that the kernel does not free under pressure, in kB.
memory() {
	local cache
	sleep 3
	sync
	echo 3 >/proc/sys/vm/drop_caches
	for cache in /sys/kernel/slab/*/shrink; do echo 1 >"$cache"; done 2>/dev/null
	sleep 1
	awk '/^(SUnreclaim|VmallocUsed|Percpu|KernelStack|PageTables):/ { sum += $2 } END { print sum }' /proc/meminfo
}

left=0
start "soak: $COUNT transitions, seed $SEED"
echo
modules_before=$(lsmod | sort)
# After a few transitions, one-time allocations are made, and what grows has its size.
run $((COUNT < 500 ? COUNT / 5 : 100))
warm=$transitions
memory_before=$(memory)
found=$left
run "$COUNT"
found=$((found + left))
memory_after=$(memory)
[ "$(lsmod | sort)" = "$modules_before" ] || fail "the modules are not those of before"
grown=$((memory_after - memory_before))
echo "soak: memory has grown by $grown kB in $((transitions - warm)) transitions"
# The kernel's caches of objects, some dozens, may each have another page in use.
tolerance=$((1024 + 32 * $(getconf PAGESIZE) / 1024))
[ "$grown" -le "$tolerance" ] || fail "memory is lost"
[ "$found" = 0 ] || echo "soak: the core in C has let $found calls run a version that their task had left"
echo "soak: done: $transitions transitions, $loaded patches loaded and unloaded, $reversals reversals, $((transitions * 60 / (SECONDS > 0 ? SECONDS : 1))) transitions per minute"
CASE=
