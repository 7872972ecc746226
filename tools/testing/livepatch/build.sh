#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Build a kernel with its modules, samples and test modules, or only some
# targets of its make:
#   build.sh ARCH CORE CONFIG [TARGET...]
# KLP_LATER: options that later patches of a series bring; the tree may not have them yet.
. "$(dirname "$0")/lib.sh"

arch=$1 core=$2 config=$3
shift 3
name=$(build_name "$arch" "$core" "$config")
arch_set "$arch"
out=$KLP_CACHE/build/$name
tree=/klp/${TREE##*/}
goal=tests
[ -z "${KLP_BENCH:-}" ] || goal=bench
[ $# = 0 ] || goal=$(printf '%s ' "$@" | sha256sum | cut -c1-16)

configure() {
	local frags=(common core-"$core" "$arch")
	if is_foreign "$arch"; then
		# Leaner: no examples of the documentation; no Rust with the C core.
		# A series has its abstractions in Rust before its core.
		[ "$core" = rust ] || [ -n "${KLP_TREE:-}" ] || frags+=(no-rust)
		[ "$config" = default ] || frags+=("$config")
	else
		[ "$TOOLCHAIN" != llvm ] || frags+=(llvm)
		if [ "$config" != default ]; then
			frags+=("$config")
		elif [ "$core" = rust ] && [ "$TOOLCHAIN" != oldest ]; then
			# The oldest rustc has no rustdoc.
			frags+=(doctests)
		fi
	fi
	# A later fragment overrides an earlier one.
	frags=("${frags[@]/#//clone/tools/testing/livepatch/config/}")
	OBJ=$out enter KCONFIG_CONFIG=/obj/.klp-fragment.new "$tree/scripts/kconfig/merge_config.sh" -m -Q -O /obj "${frags[@]/%/.config}"
	[ -z "${KLP_LATER:-}" ] || echo "# of later patches: $KLP_LATER" >>"$out/.klp-fragment.new"
	if [ -e "$out/.config" ] && cmp -s "$out/.klp-fragment" "$out/.klp-fragment.new" &&
	   [ ! "$TREE/kernel/livepatch/Kconfig" -nt "$out/.config" ]; then
		return 0
	fi
	rm -f "$out/.config" "$out/.klp-fragment"
	kmake "$name" KCONFIG_ALLCONFIG=/obj/.klp-fragment.new allnoconfig
	# For example, the C core has no tests of the Rust core.
	lost_options "$out/.klp-fragment.new" "$out/.config" "${KLP_LATER:-}" || {
		echo "these options did not survive"
		rm -f "$out/.config"
		return 1
	}
	cp "$out/.klp-fragment.new" "$out/.klp-fragment"
}

# Linkers do not know livepatch relocations; objtool makes them from a description, once:
# the module's own file stays as kbuild made it. In 7.3, objtool can do that for x86 only.
post_link() { # MODULE, without .ko, below the build's folder
	[ "$arch" != x86_64 ] || [ ! -e "$out/$1.ko" ] || {
		cp "$out/$1.ko" "$out/$1.linked.ko"
		enter "/klp/build/$name/tools/objtool/objtool" klp post-link "/klp/build/$name/$1.linked.ko"
	}
}

# The kernel's linker script has no place for counters, so that the linker would put them
# where memory is freed after boot. In .data they stay. Their size is kept for coverage.py.
keep_counters() {
	local object=/klp/build/$name/kernel/livepatch/livepatch.o objcopy=llvm-objcopy-$LLVM_VERSION
	enter sh -ec "
		llvm-readelf-$LLVM_VERSION -SW $object | grep -q ' __llvm_prf_cnts ' || exit 0
		# One section for all, instead of one for each function.
		echo 'SECTIONS { __llvm_prf_cnts : { *(__llvm_prf_cnts) } }' >$object.lds
		ld.lld-$LLVM_VERSION -r --force-group-allocation -T $object.lds -o $object.merged $object
		mv $object.merged $object
		size=\$(llvm-readelf-$LLVM_VERSION -SW $object | sed -n 's/.* __llvm_prf_cnts *PROGBITS *[0-9a-f]* [0-9a-f]* \([0-9a-f]*\).*/\1/p')
		$objcopy --add-symbol klp_counters=__llvm_prf_cnts:0,global $object
		$objcopy --rename-section __llvm_prf_cnts=.data $object
		echo 0x\$size >/klp/build/$name/.klp-counters
	"
}

build() {
	local counts=()
	# The kernel has no profiler's runtime, and needs none: coverage.py reads the counters.
	[ "$config" != coverage ] || {
		counts=("RUSTFLAGS_livepatch.o=-Cinstrument-coverage -Zcoverage-options=branch -Zno-profiler-runtime")
		kmake "$name" "${counts[@]}" prepare kernel/livepatch/livepatch.o
		keep_counters
	}
	kmake "$name" "${counts[@]}" "$IMAGE_TARGET" modules
	[ "$config" != coverage ] || cp "$KLP_TOOLS/coverage-guest.py" "$out/"
	post_link samples/livepatch/rust_livepatch_unexported
}

user_program() { # SOURCE PROGRAM OPTIONS...
	local source=$1 program=$2; shift 2
	enter clang-"$LLVM_VERSION" --target="$TRIPLET" -fuse-ld="lld-$LLVM_VERSION" -static -O2 -Wall -pthread "$@" -o "$program" "$source"
}

# The selftests and their modules, out of tree: those of upstream, and ours.
build_tests() {
	local d c
	mkdir -p "$out/selftests"
	for d in livepatch livepatch_rust; do
		[ -d "$TREE/tools/testing/selftests/$d" ] || continue
		enter rsync -a --checksum "$tree/tools/testing/selftests/$d/" "/klp/build/$name/selftests/$d/"
		if [ -d "$out/selftests/$d/test_modules" ]; then
			kmake "$name" M="/obj/selftests/$d/test_modules" modules
			post_link "selftests/$d/test_modules/klpr_rust_data"
		fi
		for c in "$out/selftests/$d/"*.c; do
			[ -e "$c" ] || continue
			c=/klp/${c#"$KLP_CACHE/"}
			# Static, as the guest's C library may differ from the compiler's.
			user_program "$c" "${c%.c}"
		done
		for c in "$out/selftests/$d/"*32.S; do
			[ "$arch" = x86_64 ] && [ -e "$c" ] || continue
			c=/klp/${c#"$KLP_CACHE/"}
			enter clang-"$LLVM_VERSION" -m32 -nostdlib -static -o "${c%.S}" "$c"
		done
	done
}

# The benchmark's modules, its program, and the initramfs of both.
build_bench() {
	local bench=$out/bench from=/clone/tools/testing/livepatch/bench
	mkdir -p "$bench/new" "$bench/root"
	enter python3 "$from/gen.py" "/klp/build/$name/bench/new"
	cp "$KLP_TOOLS"/bench/*.[ch] "$bench/new/"
	enter rsync -a --checksum "/klp/build/$name/bench/new/" "/klp/build/$name/bench/modules/"
	rm -f "$bench/modules/init.c"
	kmake "$name" M=/obj/bench/modules modules
	cp "$bench"/modules/*.ko "$bench/root/"
	user_program "$from/init.c" "/klp/build/$name/bench/root/init" -Werror
	# Nothing depends on the day of the build: a guest does the same again.
	enter sh -c "cd /klp/build/$name/bench/root && llvm-strip-$LLVM_VERSION --strip-debug *.ko && llvm-strip-$LLVM_VERSION init &&
		find . -exec touch -h -d @0 {} + && find . | LC_ALL=C sort |
		cpio -o -H newc --reproducible --quiet >../initramfs"
	enter sh -c "cd /klp/build/$name && llvm-size-$LLVM_VERSION -t \$(llvm-ar-$LLVM_VERSION t kernel/livepatch/built-in.a) >bench/size"
}

# compile TEXT ADVICE COMMAND...: a step that compiles. It shows warnings about our files
# each time until they are gone: the files are compiled again. With KLP_STRICT they are
# errors.
compile() {
	local found f text=$1 advice=$2; shift 2
	attempt "$text" "$@"
	found=$(our_warnings "$KLP_CACHE/log/$(log_name "$text")")
	while IFS= read -r f; do touch -c "$TREE/$f"; done < <(sed -n 's/^file: //p' <<<"$found" | sort -u)
	[ "$status" = 0 ] || die "$text: failed" "$advice"
	[ -n "$found" ] || return 0
	warned=y
	grep -v '^file: ' <<<"$found" | head -n 60 | sed 's/^/    /'
	[ -z "${KLP_STRICT:-}" ] || die "$text: warnings about our files" "see above"
}

build_all() {
	local key warned='' stamp
	! is_clean "$name" "$goal" || return 0
	begin_build "$name"
	key=$(build_key)
	for stamp in "$out"/.klp-built-*; do
		[ ! -e "$stamp" ] || [ "$(cat "$stamp")" = "$key" ] || rm -f "$stamp"
	done
	rm -f "$out/.klp-built-$goal"
	step "Configuring $name" "see the lines above" configure
	if [ $# != 0 ]; then
		compile "Building $* of $name" "see the lines above" kmake "$name" "$@"
	else
		compile "Building $name" "see the lines above" build
		if [ "$goal" = bench ]; then
			compile "Building the benchmark for $name" "see the lines above" build_bench
		else
			compile "Building the tests' modules for $name" "see the lines above" build_tests
		fi
	fi
	rm -f "$out/.klp-warned-$goal"
	[ -z "$warned" ] || : >"$out/.klp-warned-$goal"
	echo "$key" >"$out/.klp-built-$goal"
}

main() {
	need_root
	mkdir -p "$KLP_CACHE/build"
	hold_tree
	! is_clean "$name" "$goal" || exit 0
	with_lock "build-$name" build_all "$@"
}
main "$@"
