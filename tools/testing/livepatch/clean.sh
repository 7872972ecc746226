#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Remove the builds, or with "all" everything that was made.
. "$(dirname "$0")/lib.sh"

rm -rf "$KLP_REPO/build"
cd "$KLP_CACHE" 2>/dev/null || exit 0
rm -rf build run soak run-*.log check-patch tree-* log kvm-*
if [ "${1:-}" = all ]; then
	# Only what the scripts make: the folder is the user's.
	rm -rf root-* base-* cargo ccache ./*.lock
fi
