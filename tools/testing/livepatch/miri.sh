#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run the unit tests of what decides without a kernel in Miri, an interpreter that reports
# undefined behaviour and memory that is lost. Where it is not available, they are skipped.
. "$(dirname "$0")/lib.sh"

need_root
WITH_NIGHTLY=y "$KLP_TOOLS/setup.sh"
tests=$KLP_REPO/kernel/livepatch/host_tests.rs
if [ ! -e "$NIGHTLY_ROOT/.complete" ]; then
	say "skipped: rustup cannot get $NIGHTLY here: $KLP_CACHE/log/$(log_name "$NIGHTLY_STEP")"
	say "0 passed, 0 failed, 1 skipped"
	exit 0
fi
miri=/klp/${NIGHTLY_ROOT##*/}
log=$KLP_CACHE/log/miri.log
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
