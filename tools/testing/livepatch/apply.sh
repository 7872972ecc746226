#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Put our files and edits into a kernel tree of the user's own: all or nothing.
. "$(dirname "$0")/lib.sh"

[ -n "${LINUX:-}" ] || die "LINUX is not set" "type: make apply LINUX=<a $KERNEL_SERIES kernel tree>"
[ -f "$LINUX/kernel/livepatch/core.c" ] || die "$LINUX is not a kernel tree with livepatch" "give a $KERNEL_SERIES tree"
[ -w "$LINUX" ] || die "$LINUX cannot be written to" "make it so, or copy it"
version=$(sed -n 's/^VERSION = //p;s/^PATCHLEVEL = //p' "$LINUX/Makefile" | head -n 2 | paste -sd.)
[ "$version" = "$KERNEL_SERIES" ] || die "$LINUX is $version, not $KERNEL_SERIES" "give a $KERNEL_SERIES tree"
if grep -q LIVEPATCH_RUST "$LINUX/kernel/livepatch/Kconfig"; then
	die "$LINUX has our files already" "take a tree without them"
fi
# Everything is made in a temporary folder first: if that fails, nothing has changed.
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
try overlay_into "$LINUX" "$new"
[ "$status" = 0 ] || die "nothing was changed in $LINUX" "use the base kernel $KERNEL_TESTED"
cp -r --remove-destination "$new/." "$LINUX/"
say "$(cd "$new" && find . -type f | wc -l) files were put into $LINUX; choose CONFIG_LIVEPATCH_RUST there."
