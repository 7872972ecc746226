#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run the unit tests of what decides without a kernel in Miri, an interpreter that reports
# undefined behaviour and memory that is lost. Where it is not available, they are skipped.
. "$(dirname "$0")/lib.sh"

need_nightly 1
tests=$KLP_REPO/kernel/livepatch/host_tests.rs
miri=/klp/${NIGHTLY_ROOT##*/}
log=$KLP_CACHE/log/miri.log
# It does nothing where it was done before.
step "The standard library for Miri" "see the lines above" \
	enter PATH="$miri/bin:/usr/bin:/bin" CARGO_HOME="$miri/cargo" MIRI_SYSROOT="$miri/sysroot" cargo miri setup
say "interpreting ${tests#"$KLP_REPO/"}; this takes some minutes"
# Thousands of random modules are too many for an interpreter: without fuzz::. One of the
# tests reads the sources.
interpret() {
	enter "$miri/bin/miri" --sysroot "$miri/sysroot" --edition 2021 --test -Zmiri-disable-isolation \
		"/clone/${tests#"$KLP_REPO/"}" -- --skip fuzz:: | tee "$log"
}
try interpret
passed=$(sed -n 's/^test result: .* \([0-9]*\) passed; .*/\1/p' "$log")
failed=$(sed -n 's/^test result: .* \([0-9]*\) failed; .*/\1/p' "$log")
[ "$status" = 0 ] || [ "${failed:-0}" != 0 ] || failed=1
say "${passed:-0} passed, ${failed:-0} failed, 0 skipped"
[ "$status" = 0 ] && [ "${passed:-0}" != 0 ]
