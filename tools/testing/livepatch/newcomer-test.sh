#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# What a newcomer does: write the first patch of the tutorial, taken from there, in a
# folder of its own. `make check-patch` reports that it fits, and what does not fit when a
# type is wrong: with the kernel of `make kernel`, and with only the BTF of a kernel that
# has it.
. "$(dirname "$0")/lib.sh"

ARCH=x86_64 CORE=rust CONFIG=default
passed=0 failed=0

# first_patch FOLDER: write the files of the tutorial.
first_patch() {
	mkdir -p "$1"
	awk -v dir="$1" '
		/``Kbuild`` has one line::/ { file = dir "/Kbuild"; begun = 0; gap = ""; next }
		/^``my_patch.rs`` is the patch:/ { file = dir "/my_patch.rs"; begun = 0; gap = ""; next }
		file != "" && /^\t/ { sub(/^\t/, ""); print gap $0 >file; gap = ""; begun = 1; next }
		file != "" && begun && /^$/ { gap = gap "\n"; next }
		file != "" && begun { file = gap = ""; begun = 0 }
	' "$KLP_REPO/Documentation/livepatch/rust.rst"
	[ -s "$1/Kbuild" ] && grep -q 'livepatch!' "$1/my_patch.rs" ||
		die "the first patch is not found in Documentation/livepatch/rust.rst" "check whether first_patch() still matches its words"
}

# expect NAME STATUS LINE COMMAND...: check that the command ends so, and prints this.
expect() {
	local name=$1 wanted=$2 line=$3 log=$KLP_CACHE/log/newcomer.log; shift 3
	try "$@" >"$log" 2>&1
	if [ "$status" = "$wanted" ] && grep -qF -- "$line" "$log"; then
		passed=$((passed + 1))
		say "ok: $name"
	else
		failed=$((failed + 1))
		say "FAILED: $name: the status is $status and not $wanted, or this is missing: $line"
		tail -n 30 "$log" | sed 's/^/    /'
	fi
}

export ARCH CORE CONFIG
check_patch() { env -u VMLINUX -u TARGETS MOD="$1" ${2:+VMLINUX="$2"} "$KLP_TOOLS/check-patch.sh"; }

main() {
	local good bad kind
	need_root
	"$KLP_TOOLS/setup.sh"
	mkdir -p "$KLP_CACHE/log"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	good=$work/good bad=$work/bad
	first_patch "$good"
	cp -r "$good" "$bad"
	# A pointer that is taken for a number of 32 bits, both in the declaration of the function
	# and in its replacement: the compiler cannot see that.
	sed -i 's/v: \*mut c_void/v: c_int/' "$bad/my_patch.rs"

	ok='ok vmlinux:cmdline_proc_show' differs='differs vmlinux:cmdline_proc_show: argument 2'
	expect "the first patch fits the default kernel" 0 "$ok" check_patch "$good/my_patch.rs"
	expect "a wrong type does not fit the default kernel" 1 "$differs" check_patch "$bad/my_patch.rs"

	btf=$(build_name "$ARCH" "$CORE" btf)
	"$KLP_TOOLS/build.sh" "$ARCH" "$CORE" btf
	hold_tree
	enter "llvm-objcopy-$LLVM_VERSION" -O binary --only-section=.BTF --set-section-flags .BTF=alloc \
		"/klp/build/$btf/vmlinux" "/klp/build/$btf/vmlinux.btf"
	for kind in good bad; do
		step "Building the first patch, $kind" "see the lines above" \
			with_lock "build-$btf" build_own "$btf" "$work/$kind" modules
	done
	expect "the first patch fits by BTF alone" 0 "$ok" \
		check_patch "$(own_build "$btf" "$good")/my_patch.ko" "$KLP_CACHE/build/$btf/vmlinux.btf"
	expect "a wrong type does not fit by BTF alone" 1 "$differs" \
		check_patch "$(own_build "$btf" "$bad")/my_patch.ko" "$KLP_CACHE/build/$btf/vmlinux.btf"

	say "$passed passed, $failed failed, 0 skipped"
	[ "$failed" = 0 ]
}
main "$@"
