#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Build a kernel with its modules, samples and test modules, or only some
# targets of its make:
#   build.sh ARCH CORE CONFIG [TARGET...]
. "$(dirname "$0")/lib.sh"

# In a command that is tested, set -e has no effect: each step says so itself.
arch=$1 core=$2 config=$3
shift 3
name=$(build_name "$arch" "$core" "$config")
arch_set "$arch"
out=$KLP_CACHE/build/$name
mkdir -p "$out"
tree=/klp/$(basename "$TREE")

configure() {
	local frags=(common core-"$core" "$arch") f
	if is_foreign "$arch"; then
		# Leaner: no examples of the documentation; no Rust where the core is in C.
		[ "$core" = rust ] || frags+=(no-rust)
		[ "$config" = default ] || frags+=("$config")
	else
		[ "$TOOLCHAIN" = gcc ] || frags+=(llvm)
		if [ "$config" != default ]; then
			frags+=("$config")
		elif [ "$core" = rust ]; then
			frags+=(doctests)
		fi
	fi
	# A later fragment overrides an earlier one.
	for f in "${frags[@]}"; do cat "$KLP_TOOLS/config/$f.config"; done | awk '
		match($0, /^(# )?CONFIG_[A-Z0-9_]+/) {
			name = substr($0, RSTART, RLENGTH); sub(/^# /, "", name)
			if (!(name in value)) order[++n] = name
			value[name] = $0
		}
		END { for (i = 1; i <= n; i++) print value[order[i]] }
	' >"$out/.klp-fragment.new"
	if [ -e "$out/.config" ] && cmp -s "$out/.klp-fragment" "$out/.klp-fragment.new" &&
	   [ ! "$TREE/kernel/livepatch/Kconfig" -nt "$out/.config" ]; then
		return 0
	fi
	rm -f "$out/.config" "$out/.klp-fragment"
	kmake "$name" KCONFIG_ALLCONFIG="/klp/build/$name/.klp-fragment.new" allnoconfig || return 1
	local lost
	# What a later fragment turns off again is not lost.
	lost=$(awk '{ name = $0 }
		/^# CONFIG_.* is not set$/ { name = $2; value[name] = ""; next }
		/^CONFIG_[A-Z0-9_]+=[^n]/ { sub(/=.*/, "", name); value[name] = $0 }
		END { for (name in value) if (value[name] != "") print value[name] }' "$out/.klp-fragment.new" |
		grep -vxFf "$out/.config" || :)
	if [ -n "$lost" ]; then
		# The core in C has no tests of the core in Rust, and so on.
		echo "options that did not survive: $lost"
		rm -f "$out/.config"
		return 1
	fi
	cp "$out/.klp-fragment.new" "$out/.klp-fragment"
}

build() {
	kmake "$name" "$IMAGE_TARGET" modules || return 1
	# Linkers do not know livepatch relocations; objtool makes them of a
	# description, once: the module's own file stays as kbuild has made it. That
	# objtool can only do for x86 in 7.3.
	local ko=samples/livepatch/rust_livepatch_unexported
	[ "$arch" != x86_64 ] || [ ! -e "$out/$ko.ko" ] || {
		cp "$out/$ko.ko" "$out/$ko.linked.ko" &&
			enter "/klp/build/$name/tools/objtool/objtool" klp post-link "/klp/build/$name/$ko.linked.ko"
	}
}

user_program() { # SOURCE PROGRAM OPTIONS...
	local source=$1 program=$2; shift 2
	enter clang-"$LLVM_VERSION" --target="$TRIPLET" -fuse-ld="lld-$LLVM_VERSION" -static -O2 -Wall -pthread "$@" -o "$program" "$source"
}

# The selftests and their modules, out of tree: what upstream has, and ours.
build_tests() {
	local d
	mkdir -p "$out/selftests"
	for d in livepatch livepatch_rust; do
		[ -d "$TREE/tools/testing/selftests/$d" ] || continue
		enter rsync -a --checksum "$tree/tools/testing/selftests/$d/" "/klp/build/$name/selftests/$d/" || return 1
		if [ -d "$out/selftests/$d/test_modules" ]; then
			kmake "$name" M="/klp/build/$name/selftests/$d/test_modules" modules || return 1
		fi
		for c in "$out/selftests/$d/"*.c; do
			[ -e "$c" ] || continue
			c=/klp/${c#"$KLP_CACHE/"}
			# Static, as the guest's C library may be another than the compiler's.
			user_program "$c" "${c%.c}" || return 1
		done
		for c in "$out/selftests/$d/"*32.S; do
			[ "$arch" = x86_64 ] && [ -e "$c" ] || continue
			c=/klp/${c#"$KLP_CACHE/"}
			enter clang-$LLVM_VERSION -m32 -nostdlib -static -o "${c%.S}" "$c" || return 1
		done
	done
}

# The benchmark's modules, its program, and the initramfs of both.
build_bench() {
	local bench=$out/bench from=/clone/tools/testing/livepatch/bench
	mkdir -p "$bench/new" "$bench/root"
	enter python3 "$from/gen.py" "/klp/build/$name/bench/new" || return 1
	cp "$KLP_TOOLS"/bench/*.[ch] "$bench/new/" || return 1
	enter rsync -a --checksum "/klp/build/$name/bench/new/" "/klp/build/$name/bench/modules/" || return 1
	rm -f "$bench/modules/init.c"
	kmake "$name" M="/klp/build/$name/bench/modules" modules || return 1
	cp "$bench"/modules/*.ko "$bench/root/" || return 1
	user_program "$from/init.c" "/klp/build/$name/bench/root/init" -Werror || return 1
	# Nothing of the day of the build: a guest does the same again.
	enter sh -c "cd /klp/build/$name/bench/root && llvm-strip-$LLVM_VERSION --strip-debug *.ko && llvm-strip-$LLVM_VERSION init &&
		find . -exec touch -h -d @0 {} + && find . | LC_ALL=C sort |
		cpio -o -H newc --reproducible --quiet >../initramfs" || return 1
	enter sh -c "cd /klp/build/$name && llvm-size-$LLVM_VERSION -t \$(llvm-ar-$LLVM_VERSION t kernel/livepatch/built-in.a) >bench/size"
}

need_root
"$KLP_TOOLS/tree.sh"
build_all() {
	step "Configuring $name" configure || die "the kernel cannot be configured" "look at the lines above"
	if [ $# != 0 ]; then
		step "Building $* of $name" kmake "$name" "$@" || die "$* of $name cannot be built" "look at the lines above"
		return
	fi
	step "Building $name" build || die "the kernel does not build" "look at the lines above"
	if [ -n "${KLP_BENCH:-}" ]; then
		step "Building the benchmark for $name" build_bench || die "the benchmark does not build" "look at the lines above"
		return 0
	fi
	step "Building the tests' modules for $name" build_tests || die "the test modules do not build" "look at the lines above"
}
with_lock "build-$name" build_all "$@"
