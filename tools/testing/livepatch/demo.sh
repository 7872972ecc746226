#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# The demonstration: a VM in which a running kernel is patched and unpatched.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

CORE=${CORE:-rust} CONFIG=${CONFIG:-default} ARCH=${ARCH:-x86_64}
check_options
need_root
"$KLP_TOOLS/setup.sh"
hold_build "$ARCH" "$CORE" "$CONFIG"

mkdir -p "$KLP_CACHE/run/$build"
cp "$KLP_TOOLS/demo-guest.sh" "$KLP_CACHE/run/$build/demo-guest.sh"
say
rc=0
restarts_begin "$build"
guest "$build" demo 300 "/klp/run/$build/demo-guest.sh" || rc=1
restarts_say
cat "$KLP_CACHE/run/$build/demo.out" 2>/dev/null || :
grep -qx 'demonstration: ok' "$KLP_CACHE/run/$build/demo.out" 2>/dev/null || rc=1
if [ "$rc" != 0 ]; then
	say
	say "the kernel's log:"
	tail -n 60 "$KLP_CACHE/run/$build/demo.console" | sed 's/^/    /'
	die "the demonstration has failed"
fi
