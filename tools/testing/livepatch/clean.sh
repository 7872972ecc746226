#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Remove the builds, or with "all" everything that was made. Touches only a cache that is
# marked as ours, and only when it is not in use.
. "$(dirname "$0")/lib.sh"

rm -rf "$KLP_REPO/build"
[ -e "$KLP_CACHE" ] || exit 0
[ -e "$KLP_CACHE/$CACHE_MARK" ] ||
	die "$KLP_CACHE is no cache of ours: it has no $CACHE_MARK; nothing is removed" "remove it by hand, if you are sure"
cd "$KLP_CACHE"
for file in lock/*; do
	[ -e "$file" ] || continue
	exec 5>>"$file"
	flock -n 5 || die "another run holds $KLP_CACHE/$file; nothing is removed" "wait for it, then run the same command again"
done
if findmnt -rno TARGET | grep -qF "$KLP_CACHE/"; then
	die "something is mounted below $KLP_CACHE; nothing is removed" "type: findmnt | grep $KLP_CACHE"
fi
if [ "${1:-}" = all ]; then
	rm -rf --one-file-system "$KLP_CACHE"
else
	rm -rf --one-file-system build run soak fuzz fuzz-decisions series-verify tmp run-*.log check-patch model klp tree-* log kvm-*
fi
