#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Compare the functions of a livepatch with those of the kernel that it is for:
#   make check-patch MOD=<patch.ko> VMLINUX=<files> TARGETS=<modules>
# Without VMLINUX, MOD is a module of this repository or of the base kernel's
# livepatch tests, or one in a folder of its own, with its source and a Kbuild, for
# the kernel of `make kernel`; it and the objects of the kernel that are needed are
# built with debug information, one by one. The exit status is that of the tool: 0 if all
# agree, 1 if something differs, 2 if something could not be checked, whatever the reason.
. "$(dirname "$0")/lib.sh"

again="type: make check-patch MOD=<patch.ko> VMLINUX=<vmlinux with debug information, or /sys/kernel/btf/vmlinux>"
die() { printf 'error: %s%s\n' "$1" "${2:+; $2}" >&2; exit 2; }
[ -n "${MOD:-}" ] || die "MOD is missing" "$again"
KLP_GOAL="check-patch MOD=$MOD${VMLINUX:+ VMLINUX=\"$VMLINUX\"}${TARGETS:+ TARGETS=\"$TARGETS\"}"

# script NAME ARGUMENTS...: run another script, which reports what is wrong if it fails.
script() { "$KLP_TOOLS/$1" "${@:2}" || exit 2; }

have_tool "$CHECK_PATCH"

if [ -n "${VMLINUX:-}" ]; then
	args=()
	for f in $MOD $VMLINUX ${TARGETS:-}; do
		[ -e "$f" ] || die "$f does not exist" "$again"
	done
	for f in ${TARGETS:-}; do args+=(--target "$f"); done
	# shellcheck disable=SC2086
	exec "$tool" "$MOD" $VMLINUX "${args[@]}"
fi

# From here on: a module that we build.
CONFIG=default
check_options
need_root
script setup.sh
hold_tree
kernel=$(build_name "$ARCH" "$CORE" default)
debug=$(build_name "$ARCH" "$CORE" debuginfo)
out=$KLP_CACHE/build/$debug

# source_of NAME: the folder and the name of a module, as "FOLDER NAME".
source_of() {
	local d n
	for d in samples/livepatch tools/testing/selftests/livepatch_rust/test_modules tools/testing/selftests/livepatch/test_modules; do
		for n in "$1" "${1//_/-}" "${1//-/_}"; do
			if [ -e "$TREE/$d/$n.c" ] || [ -e "$TREE/$d/$n.rs" ] || [ -e "$TREE/$d/${n}_main.c" ]; then
				printf '%s %s' "$d" "$n"
				return 0
			fi
		done
	done
	return 1
}

# A folder of test modules is built out of tree, as the tests do it.
build_out_of_tree() { # FOLDER OBJECT...
	local folder=$1; shift
	mkdir -p "$out/$folder"
	enter rsync -a --checksum "/klp/$(basename "$TREE")/$folder/" "/klp/build/$debug/$folder/"
	kmake "$debug" M="/obj/$folder" "$@"
}

build_object() { # FOLDER NAME
	case $1 in
	/*) step "Building $2.o of $1 with debug information" "see the lines above" \
		with_lock "build-$debug" build_own "$debug" "$1" "$2.o";;
	samples/*) script build.sh "$ARCH" "$CORE" debuginfo "$1/$2.o";;
	*) step "Building $2.o of $debug" "see the lines above" with_lock "build-$debug" build_out_of_tree "$1" "$2.o";;
	esac
}

# own_folder NAME: the folder of MOD, if that is one of the user's own patches.
own_folder() {
	local d
	d=$(cd "$(dirname "$MOD")" 2>/dev/null && pwd) || return 1
	case $d/ in "$KLP_REPO"/*|"$KLP_CACHE"/*) return 1;; esac
	[ -e "$d/$1.rs" ] || [ -e "$d/$1.c" ] || return 1
	[ -e "$d/Kbuild" ] || [ -e "$d/Makefile" ] || return 1
	printf '%s' "$d"
}

name=$(basename "$MOD"); name=${name%.ko}; name=${name%.o}; name=${name%.rs}; name=${name%.c}
if place=$(own_folder "$name"); then
	place+=" $name"
else
	place=$(source_of "$name") || die "MOD=$MOD has no source beside it, is no module of this repository, and VMLINUX is missing" "$again"
fi
script build.sh "$ARCH" "$CORE" debuginfo prepare
# shellcheck disable=SC2086
build_object $place
case $place in
/*) mod=$(own_build "$debug" "${place% *}")/$name.o;;
*) mod=$out/${place% *}/${place#* }.o;;
esac
# Symbols that the patch calls are looked up in the same files as what it replaces.
list=$("$tool" --list "$mod" | sed 's/^symbol //')

# The objects that define the functions and variables, by the symbols of a built kernel.
mapfile -t functions < <(sed -n 's/^vmlinux:\([^,]*\).*/\1/p' <<<"$list" | sort -u)
vmlinux=() targets=()
if [ "${#functions[@]}" != 0 ]; then
	[ -e "$KLP_CACHE/build/$kernel/vmlinux.a" ] || script build.sh "$ARCH" "$CORE" default
	for f in "${functions[@]}"; do
		found=$(enter "llvm-nm-$LLVM_VERSION" -A --defined-only "/klp/build/$kernel/vmlinux.a" 2>/dev/null |
			awk -v f="$f" '$NF == f && $(NF - 1) ~ /^[tTwWdDbBrRvV]$/ { split($1, p, ":"); print p[2] }' | sort -u)
		[ -n "$found" ] || die "the kernel has no function or variable $f, or has it only inlined" "check the name in $place"
		mapfile -t -O "${#vmlinux[@]}" vmlinux <<<"$found"
	done
	mapfile -t vmlinux < <(printf '%s\n' "${vmlinux[@]}" | sort -u)
	script build.sh "$ARCH" "$CORE" debuginfo "${vmlinux[@]}"
fi
for f in $(sed -n 's/^\([^:?]*\):.*/\1/p' <<<"$list" | grep -vx vmlinux | sort -u); do
	if place=$(source_of "$f"); then
		# shellcheck disable=SC2086
		build_object $place
		targets+=(--target "$out/${place% *}/${place#* }.o")
	fi
done
exec "$tool" "$mod" "${vmlinux[@]/#/$out/}" "${targets[@]}"
