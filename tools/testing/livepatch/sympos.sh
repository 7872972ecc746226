#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# List the symbols of a name that #[sympos] chooses from, with their files:
#   make sympos SYM=<name> [VMLINUX=<vmlinux> or MOD=<module.ko>]
# Without a file, those of the kernel that `make kernel` has built. The exit status is 0
# if there is such a symbol, and 2 if not, or if something is missing.
. "$(dirname "$0")/lib.sh"

die() { printf 'error: %s%s\n' "$1" "${2:+; $2}" >&2; exit 2; }
[ -n "${SYM:-}" ] || die "SYM is missing" "type: make sympos SYM=<name of a function> [VMLINUX=<vmlinux> or MOD=<module.ko>]"
[ -z "${VMLINUX:-}" ] || [ -z "${MOD:-}" ] || die "VMLINUX and MOD are both given" "give the one that has $SYM"
KLP_GOAL="sympos SYM=$SYM${VMLINUX:+ VMLINUX=$VMLINUX}${MOD:+ MOD=$MOD}"

file=${VMLINUX:-${MOD:-}}
if [ -z "$file" ]; then
	CORE=${CORE:-rust} CONFIG=${CONFIG:-default} ARCH=${ARCH:-x86_64}
	check_options
	file=$KLP_CACHE/build/$(build_name "$ARCH" "$CORE" "$CONFIG")/vmlinux
	[ -f "$file" ] || die "$file is not built" "type: make kernel ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG TOOLCHAIN=$TOOLCHAIN, or: make sympos SYM=$SYM VMLINUX=<vmlinux>"
fi
[ -f "$file" ] || die "the file $file does not exist" "type: make sympos SYM=$SYM ${MOD:+MOD=<module.ko>}${VMLINUX:+VMLINUX=<vmlinux>}"
have_tool "$CHECK_PATCH"
exec "$tool" --sympos "$SYM" "$file"
