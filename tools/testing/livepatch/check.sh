#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Format, lints, documentation, and what the hot paths may call. Each check reports what
# it found in our files, and ignores those of the base kernel. A tool that does not do its
# work has failed, whatever it has found. CHECKS="clippy hotpath" runs some of them.
. "$(dirname "$0")/lib.sh"

CHECKS_ALL="format tool structure patches shell build clippy rustdoc hotpath gcc oldest"
CORE=rust CONFIG=${CONFIG:-default} ARCH=${ARCH:-x86_64} CHECKS=${CHECKS:-$CHECKS_ALL}
passed=0 failed=0

# finding NAME COMMAND...: a check that prints what it finds, and nothing if all is well.
finding() {
	local name=$1 said; shift
	try "$@" >"$KLP_CACHE/log/finding" 2>&1 </dev/null
	said=$(cat "$KLP_CACHE/log/finding")
	[ "$status" = 0 ] || [ -n "$said" ] || said="it has ended with status $status, and says nothing"
	if [ -z "$said" ]; then
		passed=$((passed + 1))
		say "ok      $name"
	else
		failed=$((failed + 1))
		say "not ok  $name"
		printf '%s\n' "$said" | head -n 60 | sed 's/^/    /'
	fi
}

# built NAME TEXT COMMAND...: a check that compiles our files, and reports the compiler's
# warnings and errors about them.
built() {
	local name=$1 text=$2; shift 2
	attempt "$text" "$@"
	if [ "$status" != 0 ]; then
		failed=$((failed + 1))
		say "not ok  $name: it does not build"
	else
		finding "$name" said_of_ours "$KLP_CACHE/log/$(log_name "$text")"
	fi
}
said_of_ours() { our_warnings "$1" | { grep -v '^file: ' || :; }; }

rust_files() { overlay_files | grep '\.rs$'; }

check_format() {
	local files
	# rustfmt finds modules from their crate's root; each other file is a crate by itself.
	files=$(rust_files | grep -E '^kernel/livepatch/livepatch.rs$|^(rust|samples)/' | tr '\n' ' ')
	enter sh -c "cd /clone && rustfmt --check --edition 2021 --config-path /klp/${TREE##*/}/.rustfmt.toml $files"
}

# In a copy of a build, in which only Rust is compiled again.
lint_config() {
	begin_build "$lint"
	cmp -s "$KLP_CACHE/build/$build/.config" "$KLP_CACHE/build/$lint/.config" ||
		cp "$KLP_CACHE/build/$build/.config" "$KLP_CACHE/build/$lint/.config"
}

samples_o() { (cd "$KLP_REPO" && printf '%s\n' samples/livepatch/*.rs | sed 's/rs$/o/'); }

run_clippy() {
	lint_config
	# clippy warns only once, when it compiles the file.
	rm -f "$KLP_CACHE/build/$lint/rust/"{kernel,libmacros}.* "$KLP_CACHE/build/$lint/kernel/livepatch/"*.o \
		"$KLP_CACHE/build/$lint/samples/livepatch/"*.o
	kmake "$lint" CLIPPY=1 prepare
	# shellcheck disable=SC2046
	kmake "$lint" CLIPPY=1 kernel/livepatch/ $(samples_o)
	test -e "$KLP_CACHE/build/$lint/kernel/livepatch/livepatch.o"
}

run_rustdoc() { lint_config && kmake "$lint" rustdoc; }

check_patch_files() {
	# What is ignored: the entry in MAINTAINERS is a patch of its own; the sender signs the patches off;
	# exports.c exports what is in Rust; ELF types have the names they have. Lines of shell are as
	# long as their messages.
	local f mode ignore=FILE_PATH_CHANGES,MISSING_SIGN_OFF,EXPORT_SYMBOL,CAMELCASE
	for f in $(overlay_files | grep -E '\.(c|h|rs|sh)$|Makefile$|Kconfig$') \
			$(cd "$KLP_REPO" && ls tools/testing/livepatch/bench/*.[ch]) $(patch_names | sed 's,^,patches/,'); do
		mode="-f --ignore $ignore"
		case $f in
		# Where the line is left out, nothing uses the argument.
		patches/*ARCH_WARN_ASM*) mode="--ignore $ignore,MACRO_ARG_UNUSED";;
		patches/*) mode="--ignore $ignore";;
		# A program; it defines the kernel's names of attributes itself.
		*/bench/init.c) mode="$mode,PREFER_DEFINED_ATTRIBUTE_MACRO";;
		# Trace events are declared in this form everywhere.
		include/trace/*) mode="$mode,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT";;
		# This header of linux/ includes that of the architecture.
		include/linux/*) mode="$mode,ARCH_INCLUDE_LINUX,INCLUDE_LINUX";;
		*.sh) mode="-f --ignore $ignore,LONG_LINE,LONG_LINE_COMMENT";;
		esac
		# It exits with 1 when it has found something.
		echo "./scripts/checkpatch.pl --strict --terse --no-summary $mode /clone/$f || [ \$? = 1 ] || echo '$f: checkpatch does not work'"
	done >"$KLP_CACHE/log/checkpatch.sh"
	enter sh -c "cd /klp/${TREE##*/} && sh /klp/log/checkpatch.sh 2>&1 | sed 's,^/clone/,,'"
}

# What is excluded: functions have optional arguments (SC2119, SC2120), and are called by
# their names (SC2317); text in single quotes is for another shell (SC2016); sourced files
# set variables for the scripts that source them (SC2034); A && B || C is written where B
# cannot fail (SC2015); names have no spaces (SC2012, SC2013).
check_shell() {
	enter sh -c 'cd /clone && shellcheck -x -P SCRIPTDIR -S style -f gcc \
		-e SC2119,SC2120,SC2317,SC2016,SC2034,SC2015,SC2012,SC2013 \
		tools/testing/livepatch/*.sh tools/testing/selftests/livepatch_rust/*.sh .ci/run'
}

# The tools in Rust are not part of a kernel tree; cargo checks them.
check_tools() {
	local crate
	for crate in $TOOLS $FUZZ_DECISIONS; do
		enter sh -c "cd /clone/$crate && rustfmt --check --edition 2021 \
			--config-path /klp/${TREE##*/}/.rustfmt.toml \$(ls src/main.rs src/lib.rs tests/*.rs targets/*.rs 2>/dev/null)"
		tool_cargo "$crate" clippy --quiet --all-targets -- -D warnings
	done
}

check_hotpath() {
	enter python3 /clone/tools/testing/livepatch/hotpath.py "llvm-objdump-$LLVM_VERSION" \
		"/klp/build/$build/vmlinux" >"$KLP_CACHE/log/hotpath.log" 2>&1 || { cat "$KLP_CACHE/log/hotpath.log"; return 1; }
	grep -q '^[1-9][0-9]* functions on the hot paths' "$KLP_CACHE/log/hotpath.log"
}

check_structure() { python3 "$KLP_TOOLS/structure.py"; }

# Build our files with another compiler.
run_toolchain() { # TOOLCHAIN
	# shellcheck disable=SC2046
	KLP_STRICT=y TOOLCHAIN=$1 "$KLP_TOOLS/build.sh" "$ARCH" rust default prepare kernel/livepatch/ $(samples_o)
}

main() {
	local check
	for check in $CHECKS; do
		case " $CHECKS_ALL " in
		*" $check "*) ;;
		*) die "CHECKS has the unknown $check" "use some of: $CHECKS_ALL";;
		esac
	done
	check_options
	need_root
	"$KLP_TOOLS/setup.sh"
	hold_tree
	mkdir -p "$KLP_CACHE/log"
	build=$(build_name "$ARCH" rust "$CONFIG")
	lint=$build-lint
	# Warnings about our files are errors, whenever they were compiled.
	attempt "The build" env KLP_STRICT=y "$KLP_TOOLS/build.sh" "$ARCH" rust "$CONFIG"
	[ "$status" = 0 ] || die "there is no build to check" "see above"
	for check in $CHECKS; do
		case $check in
		format) finding "rustfmt" check_format;;
		tool) finding "rustfmt and clippy of the tools" check_tools;;
		structure)
			finding "the structure of the core" check_structure
			python3 "$KLP_TOOLS/structure.py" --print | sed 's/^/        /';;
		patches) finding "checkpatch --strict" check_patch_files;;
		shell) finding "shellcheck" check_shell;;
		build) finding "no warnings of clang, rustc and objtool" is_clean "$build" tests;;
		clippy) built "clippy" "clippy" with_lock "build-$lint" run_clippy;;
		rustdoc) built "rustdoc" "rustdoc" with_lock "build-$lint" run_rustdoc;;
		hotpath)
			finding "hot paths" check_hotpath
			say "        $(tail -n 1 "$KLP_CACHE/log/hotpath.log")";;
		gcc) built "GCC" "Our files with GCC" run_toolchain gcc;;
		oldest)
			TOOLCHAIN=oldest "$KLP_TOOLS/setup.sh"
			built "rustc $RUST_OLDEST" "Our files with rustc $RUST_OLDEST" run_toolchain oldest;;
		esac
	done
	say "$passed passed, $failed failed, 0 skipped"
	[ "$failed" = 0 ]
}
main "$@"
