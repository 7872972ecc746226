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
	# shellcheck disable=SC2046
	enter sh -c "cd /klp/$(basename "$TREE") && rustfmt --check --edition 2021 --config-path .rustfmt.toml \
		--config skip_children=true --unstable-features \$0 \$@" $(rust_files) 2>&1 ||
	enter sh -c "cd /klp/$(basename "$TREE") && for f in \$0 \$@; do rustfmt --check --edition 2021 <\$f >/dev/null 2>&1 || echo \$f; done" $(rust_files)
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
	rm -f "$KLP_CACHE/build/$lint/rust/kernel.o" "$KLP_CACHE/build/$lint/kernel/livepatch/"*.o \
		"$KLP_CACHE/build/$lint/samples/livepatch/"*.o
	lint_config
	kmake "$lint" CLIPPY=1 prepare && kmake "$lint" CLIPPY=1 kernel/livepatch/ samples/livepatch/rust_livepatch_sample.o
}

run_rustdoc() { lint_config && kmake "$lint" rustdoc; }

check_core_docs() {
	# The core is no crate of the kernel's documentation: have its comments read all the same.
	enter sh -c "grep -nE '^ *pub\(crate\) (const |unsafe )*(fn|struct|enum|trait|static)' -B1 /clone/kernel/livepatch/*.rs |
		grep -A1 -E '^[^:]*-[0-9]+-\s*(\}|)$' | grep 'pub(crate)' | grep -v 'cases\|/kunit.rs\|fn .*() {$' || :"
}

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
	# NEW_TYPEDEFS, FILE_PATH_CHANGES: about the base kernel's files and MAINTAINERS, which
	# this repository does not have. SPLIT_STRING and LONG_LINE do not apply to log lines.
	local f
	cd "$KLP_REPO"
	for f in $(overlay_files | grep -E '\.(c|h|rs|sh)$|Makefile$|Kconfig$') patches/*.patch; do
		local mode=-f
		case $f in patches/*) mode=;; esac
		enter sh -c "cd /klp/$(basename "$TREE") && ./scripts/checkpatch.pl --strict --terse --no-tree --no-summary \
			--max-line-length=100 --ignore FILE_PATH_CHANGES,CONFIG_DESCRIPTION,MISSING_SIGN_OFF,EMAIL_SUBJECT,COMMIT_MESSAGE,NOT_UNIFIED_DIFF,LINUX_VERSION_CODE \
			$mode /clone/$f" || :
	done
}

check_shell() {
	local f
	for f in "$KLP_TOOLS"/*.sh "$KLP_REPO"/tools/testing/selftests/livepatch_rust/*.sh "$KLP_REPO/.ci/run"; do
		bash -n "$f" 2>&1 || :
	done
}

result "rustfmt" "$(check_format)"
result "unsafe with its SAFETY" "$(check_unsafe)"
result "checkpatch --strict" "$(check_patch_files)"
result "shell syntax" "$(check_shell)"
step "clippy" run_clippy || result "clippy builds" "see above"
result "clippy" "$(ours "$log/clippy.log")"
step "rustdoc" run_rustdoc || result "rustdoc builds" "see above"
result "rustdoc" "$(ours "$log/rustdoc.log")"
result "warnings of the build" "$(grep -hE 'warning: ' "$log/Building-$build.log" | grep -v 'warnings\? emitted' || :)"
hot=$(enter python3 /clone/tools/testing/livepatch/hotpath.py "llvm-objdump-$LLVM_VERSION" "/klp/build/$build/vmlinux") &&
	{ say "        $hot"; hot=; }
result "hot paths" "$hot"
say "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
