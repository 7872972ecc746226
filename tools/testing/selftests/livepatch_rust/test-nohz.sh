#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# KLP-APPEND: nohz_full=1 isolcpus=domain,1 irqaffinity=0
# CPU 1 has no tick while it runs one task: it may not enter the kernel for minutes. A
# transition leaves it alone, as any isolated CPU, but for the interrupts of patched text.
. "$(dirname "$0")/klpr.sh"
plan 1

[ "$(cat /sys/devices/system/cpu/nohz_full 2>/dev/null)" = 1 ] || {
	echo "SKIP: CPU 1 has a tick (nohz_full=1, CONFIG_NO_HZ_FULL)"
	exit 4
}
. "$(dirname "$0")/klpr_isolated.sh"

# ticks: how many timer interrupts CPU 1 has had. Other architectures name them otherwise.
ticks() { awk '$1 == "LOC:" || $1 == "TAU:" { n += $3 } END { print n + 0 }' /proc/interrupts; }

# quiet: whether CPU 1 has no tick now.
quiet() {
	local before
	before=$(ticks)
	pause 1
	[ $(($(ticks) - before)) -le 1 ]
}

# spinning: start a task that has CPU 1 for itself, so that the tick there ends. (A real-time
# task would make others wait, for whose sake the tick goes on.)
spinning() {
	task
	wait_until 20 quiet || fail "CPU 1 still has a tick"
}

start "a task that spins on a CPU without ticks switches, and is not interrupted for it"
# It enters the kernel by the interrupt of patched text.
target
spinning
both_ways
ok
