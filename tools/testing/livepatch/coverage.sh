#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run the suites on a kernel whose core in Rust counts which of its code runs, and print how
# much of each file that is; the lines that did not run are in build/coverage/missed.txt.
. "$(dirname "$0")/lib.sh"

need_root
export SUITE=${SUITE:-upstream ours kunit klp replay fuzz} CONFIG=coverage CORE=rust
build=$(build_name x86_64 rust coverage)
counters=$KLP_CACHE/run/$build
rm -f "$counters"/*.counters
rc=0
"$KLP_TOOLS/test.sh" || rc=$?
say
mkdir -p "$KLP_REPO/build/coverage"
set -- "$counters"/*.counters
[ -e "$1" ] || die "no guest has copied its counters" "see what the tests said"
enter python3 /clone/tools/testing/livepatch/coverage.py "/klp/build/$build/vmlinux" /clone/build/coverage \
	"${@/#"$KLP_CACHE"/\/klp}"
say "of $# guests; the lines that did not run: build/coverage/missed.txt"
exit "$rc"
