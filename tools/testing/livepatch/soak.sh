#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Transitions by the thousand, under load: COUNT of them, CHUNK in each guest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/pieces.sh"

COUNT=${COUNT:-2000} CHUNK=${CHUNK:-500}

# What a guest has done: TRANSITIONS PATCHES REVERSALS RATE SECONDS.
did() { say "$1 transitions, $2 patches, $3 reversals, $4 a minute, $5 s"; }

# The rate is by the guests' own clocks, without their boots.
summary() {
	local accel=KVM
	kvm_works "$build" || accel="emulated CPUs"
	pieces_of
	say "$(total 3) transitions of $COUNT, $(total 4) patches loaded and unloaded, $(total 5) reversals"
	say "$(awk '$1 == "ok" { n += $3; if ($6 > 0) m += $3 / $6 } END { printf "%d", m ? n / m : 0 }' "$state") transitions per minute, with ${GUEST_CPUS:-2} $accel; $(total 7) s with the boots"
	pieces_summary
}

one_guest() {
	local seed=$1 count=$2 start=$SECONDS out=$run/soak-$1.out did
	piece "$seed" "$seconds" "export COUNT=$count SEED=$seed
cd selftests/livepatch_rust
./soak.sh; echo \"== soak.sh: \$?\"" || return 1
	did=$(sed -n 's/^soak: done: \([0-9]*\) transitions, \([0-9]*\) patches loaded and unloaded, \([0-9]*\) reversals, \([0-9.]*\) transitions per minute$/\1 \2 \3 \4/p' "$out" 2>/dev/null)
	if ! grep -qx '== soak.sh: 0' "$out"; then
		what="soak.sh has failed"
	elif [ -z "$did" ]; then
		what="soak.sh did not say what it has done"
	elif [ "${did%% *}" -lt "$count" ]; then
		what="soak.sh has done ${did%% *} transitions of $count"
	else
		what="$did $((SECONDS - start))"
		return 0
	fi
	return 1
}

pieces_options
pieces_begin soak
# Several times what a guest takes; after that it is ended.
seconds=${CHUNK_SECONDS:-$(((300 + CHUNK * 4) * SLOW))}
with_lock "soak-$build" pieces transitions
