#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Do to a kernel what its users can do with livepatches, in an order that SEED decides, for
# COUNT seconds, CHUNK in each guest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/pieces.sh"

COUNT=${COUNT:-120} CHUNK=${CHUNK:-600}

# What a guest has done: SECONDS ROUNDS OPERATIONS.
did() { say "$2 rounds, $3 operations"; }

summary() {
	pieces_of
	say "$(total 3) seconds of $COUNT, $(total 4) rounds, $(total 5) operations"
	pieces_summary
}

one_guest() {
	local seed=$1 count=$2 out=$run/fuzz-$1.out
	piece "$seed" $(((300 + count * 2) * SLOW)) "$(fuzz_in_guest "$tool" "$seed" "$count")" || return 1
	if ! grep -qx '== fuzz: 0' "$out"; then
		what="$(grep '^WRONG: ' "$out" | head -n 1)"
		what=${what:-klp-fuzz has failed}
	else
		what="$count $(sed -n 's/^fuzz: \([0-9]*\) rounds, \([0-9]*\) operations, .*/\1 \2/p' "$out")"
		return 0
	fi
	return 1
}

pieces_options
! is_foreign "$ARCH" || die "ARCH=$ARCH: klp-fuzz is built for this machine" "use ARCH=x86_64"
have_tool "$FUZZ"
pieces_begin fuzz "$(tool_key "$FUZZ")"
with_lock "fuzz-$build" pieces seconds
