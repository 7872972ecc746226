#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Format, lints, documentation, and what the hot paths may call. Each check says
# what it found in our files; what the base kernel has is not our business.
. "$(dirname "$0")/lib.sh"

CORE=rust CONFIG=${CONFIG:-default} ARCH=${ARCH:-x86_64}
check_options
need_root
"$KLP_TOOLS/setup.sh"
"$KLP_TOOLS/build.sh" "$ARCH" rust "$CONFIG"
build=$(build_name "$ARCH" rust "$CONFIG")
lint=$build-lint
log=$KLP_CACHE/log
passed=0 failed=0

# result NAME FINDINGS: one check.
result() {
	if [ -z "$2" ]; then
		passed=$((passed + 1))
		say "ok      $1"
	else
		failed=$((failed + 1))
		say "not ok  $1"
		printf '%s\n' "$2" | head -n 60 | sed 's/^/    /'
	fi
}

rust_files() { overlay_files | grep '\.rs$'; }

check_format() {
	# Modules are found from their crate's root; each of the others is one by itself.
	enter sh -c "cd /clone && rustfmt --check --edition 2021 --config-path /klp/$(basename "$TREE")/.rustfmt.toml $(
		rust_files | grep -E '^kernel/livepatch/livepatch.rs$|^(rust|samples)/' | tr '\n' ' ')" 2>&1
}

# ours LOG: the warnings and errors of a Rust tool that point at our files.
ours() {
	awk -v files="$(rust_files | tr '\n' ' ')" '
		BEGIN { n = split(files, list, " ") }
		/^(warning|error)/ { text = $0; keep = 0; next }
		/^ *--> / {
			for (i = 1; i <= n; i++) if (index($2, "/" list[i] ":") || index($2, list[i] ":") == 1) keep = 1
			if (keep) print text; text = ""
		}
		keep { print }
		/^$/ { keep = 0 }
	' "$1"
}

lint_config() {
	mkdir -p "$KLP_CACHE/build/$lint"
	cmp -s "$KLP_CACHE/build/$build/.config" "$KLP_CACHE/build/$lint/.config" ||
		cp "$KLP_CACHE/build/$build/.config" "$KLP_CACHE/build/$lint/.config"
}

run_clippy() {
	# What clippy has to say is said once, when the file is compiled.
	rm -f "$KLP_CACHE/build/$lint/rust/"{kernel,libmacros}.* "$KLP_CACHE/build/$lint/kernel/livepatch/"*.o \
		"$KLP_CACHE/build/$lint/samples/livepatch/"*.o
	lint_config
	# shellcheck disable=SC2046
	kmake "$lint" CLIPPY=1 prepare && kmake "$lint" CLIPPY=1 kernel/livepatch/ $(
		cd "$KLP_REPO" && printf '%s\n' samples/livepatch/*.rs | sed 's/rs$/o/')
}

run_rustdoc() { lint_config && kmake "$lint" rustdoc; }

check_unsafe() {
	# clippy sees what is compiled; this sees the rest, too.
	(cd "$KLP_REPO" && rust_files | while IFS= read -r f; do
		awk -v f="$f" '
			/SAFETY:|# Safety/ { said = NR }
			/^[[:space:]]*\/\// { if (said && NR - said <= 14) said = NR; next }
			/unsafe (\{|impl)|unsafe\(/ && !/^[[:space:]]*\/\// {
				if (!said || NR - said > 6) print f ":" NR ": unsafe without SAFETY: " $0
			}
		' "$f"
	done)
}

check_patch_files() {
	# What is ignored: this repository has no MAINTAINERS; the patches are signed off by who
	# sends them; exports.c exports what is in Rust; ELF types have the names they have. Lines of
	# shell are as long as their messages.
	local f mode ignore=FILE_PATH_CHANGES,MISSING_SIGN_OFF,EXPORT_SYMBOL,CAMELCASE
	for f in $(overlay_files | grep -E '\.(c|h|rs|sh)$|Makefile$|Kconfig$') \
			$(cd "$KLP_REPO" && ls tools/testing/livepatch/bench/*.[ch]) $(patch_names | sed 's,^,patches/,'); do
		mode="-f --ignore $ignore"
		case $f in
		# Where the line is not kept, nothing uses it.
		patches/*ARCH_WARN_ASM*) mode="--ignore $ignore,MACRO_ARG_UNUSED";;
		patches/*) mode="--ignore $ignore";;
		# A program; the kernel's names of attributes are made there.
		*/bench/init.c) mode="$mode,PREFER_DEFINED_ATTRIBUTE_MACRO";;
		# Trace events are declared in this form everywhere.
		include/trace/*) mode="$mode,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT";;
		# It is the header of linux/ that includes the one of the architecture.
		include/linux/*) mode="$mode,ARCH_INCLUDE_LINUX,INCLUDE_LINUX";;
		*.sh) mode="-f --ignore $ignore,LONG_LINE,LONG_LINE_COMMENT";;
		esac
		echo "./scripts/checkpatch.pl --strict --terse --no-summary $mode /clone/$f"
	done | enter sh -c "cd /klp/$(basename "$TREE") && sh 2>&1 | sed 's,^/clone/,,'"
}

check_shell() {
	local f
	for f in "$KLP_TOOLS"/*.sh "$KLP_REPO"/tools/testing/selftests/livepatch_rust/*.sh "$KLP_REPO/.ci/run"; do
		bash -n "$f" 2>&1 || :
	done
}

# The tool of `make check-patch` is no part of a kernel tree, and has cargo for this.
check_patch_lint() {
	local said
	said=$(enter sh -c "cd /clone/$CHECK_PATCH && rustfmt --check --edition 2021 \
		--config-path /klp/$(basename "$TREE")/.rustfmt.toml src/main.rs tests/end_to_end.rs" 2>&1) || printf '%s\n' "$said"
	said=$(check_patch_cargo clippy --quiet --all-targets -- -D warnings 2>&1) || printf '%s\n' "$said"
}

result "rustfmt" "$(check_format)"
result "rustfmt and clippy of check-patch" "$(check_patch_lint)"
result "unsafe with its SAFETY" "$(check_unsafe)"
result "checkpatch --strict" "$(check_patch_files)"
result "shell syntax" "$(check_shell)"
step "clippy" run_clippy || result "clippy builds" "see above"
result "clippy" "$(ours "$log/clippy.log")"
step "rustdoc" run_rustdoc || result "rustdoc builds" "see above"
result "rustdoc" "$(ours "$log/rustdoc.log")"
build_log=$log/Building-$build.log
result "warnings of the build" "$(ours "$build_log"; overlay_files | sed 's,^,/,' | grep -Ff - <(grep ': warning: ' "$build_log") || :)"
hot=$(enter python3 /clone/tools/testing/livepatch/hotpath.py "llvm-objdump-$LLVM_VERSION" "/klp/build/$build/vmlinux") &&
	{ say "        $hot"; hot=; }
result "hot paths" "$hot"
say "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
