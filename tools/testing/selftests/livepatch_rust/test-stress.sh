#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Transitions while tasks are forked, executed and moved, and CPUs come and go.
. "$(dirname "$0")/klpr.sh"
plan 4
ROUNDS=${ROUNDS:-200}
SECONDS_EACH=${SECONDS_EACH:-12}
LOAD=()

load_on() { # COMMAND: run it until load_off
	bash -c "$1" >/dev/null 2>&1 &
	LOAD+=($!)
}
load_off() {
	[ "${#LOAD[@]}" = 0 ] || kill "${LOAD[@]}" 2>/dev/null
	wait 2>/dev/null
	LOAD=()
}
cleanup() { load_off; }

# rounds SECONDS: enable and disable for that long, and at least three times.
rounds() {
	local end=$((SECONDS + $1)) n=0
	while [ "$SECONDS" -lt "$end" ] || [ "$n" -lt 3 ]; do
		load klpr_patch_a what=both
		expect $TARGET/parameters/one 101
		disable klpr_patch_a
		expect $TARGET/parameters/one 1
		unload klpr_patch_a
		n=$((n + 1))
	done
	klog "klpr: $n rounds"
}

start "switch tasks in a storm of forks"
target
load_on 'while :; do (:) & (:) & (:) & (:) & wait; done'
load_on 'while :; do (:) & (:) & wait; done'
rounds "$SECONDS_EACH"
load_off
no_target
ok

start "switch tasks in a storm of execs"
target
load_on 'while :; do /bin/true; done'
load_on 'while :; do /bin/true; /bin/true; done'
rounds "$SECONDS_EACH"
load_off
no_target
ok

start "switch tasks while a CPU comes and goes"
if [ -e /sys/devices/system/cpu/cpu1/online ]; then
	target
	load_on 'while :; do echo 0 >/sys/devices/system/cpu/cpu1/online; echo 1 >/sys/devices/system/cpu/cpu1/online; done'
	load_on 'while :; do /bin/true; done'
	rounds "$SECONDS_EACH"
	load_off
	echo 1 >/sys/devices/system/cpu/cpu1/online 2>/dev/null
	no_target
	ok
else
	skip_case "one CPU only"
fi

start "enable and disable $ROUNDS times under load"
target thread=sleep
load_on 'while :; do :; done'
load_on 'while :; do cat /proc/self/stat; done'
for i in $(seq 20); do load_on 'sleep 1000'; done
for i in $(seq "$ROUNDS"); do
	load klpr_patch_a what=both
	disable klpr_patch_a
	unload klpr_patch_a
done
load_off
no_target
ok
