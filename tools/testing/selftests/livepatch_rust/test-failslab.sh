#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each allocation of klp_enable_patch() fails in turn: nothing may be left, and
# in the end the patch is enabled.
. "$(dirname "$0")/klpr.sh"
plan 2

[ -d "$FAULT" ] || { echo "SKIP: the kernel has no failslab"; exit 4; }
echo N >$FAULT/ignore-gfp-wait
echo 0 >$FAULT/verbose

# fail_each PARAMETERS: enable a patch until that succeeds without an injected failure.
# RENEW is run after each success.
fail_each() {
	local n failed=0 survived=0
	for n in $(seq 2000); do
		if insmod "$MODS/klpr_patch_a.ko" fail_nth="$n" "$@" 2>/dev/null; then
			wait_until 60 settled klpr_patch_a || fail "the transition does not end after failure $n"
			disable klpr_patch_a
			unload klpr_patch_a
			if since | grep -q "klpr_patch_a: allocation $n was not reached, ret 0"; then
				[ "$failed" -gt 5 ] || fail "only $failed allocations made it fail"
				klog "klpr: of $((n - 1)) failures $failed were reported, $survived survived"
				return
			fi
			survived=$((survived + 1))
			$RENEW
		else
			[ ! -e /sys/module/klpr_patch_a ] || fail "the module is left after failure $n"
			gone $LP/klpr_patch_a || fail "the patch is left after failure $n"
			since | grep -q "klpr_patch_a: allocation $n failed, ret -" || fail "no failure $n, and no success"
			failed=$((failed + 1))
		fi
	done
	fail "it never succeeds"
}

start "fail in each allocation of enabling"
target
RENEW=:
fail_each what=both
expect $TARGET/parameters/one 1
no_target
ok

start "fail in each allocation of replacing"
replaced() {
	unload klpr_patch_b
	load klpr_patch_b what=two
}
target
load klpr_patch_b what=two
RENEW=replaced
fail_each what=vmlinux replace=1
unload klpr_patch_b
no_target
ok
