#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Check each step of build/series, the base kernel with the patches up to one: it builds on
# each architecture, and passes the kernel's own livepatch selftests on x86_64. It is built
# with the core in C until the series has the one in Rust, and with Rust always.
#
# It continues where it was interrupted: a step that has passed on an architecture is
# repeated only if these patches, the toolchain or the configurations change. VERIFY_STEPS
# ("1-3 7") and VERIFY_ARCHS limit it. The source tree and the builds are its own.
. "$(dirname "$0")/lib.sh"

SERIES=${SERIES:-$KLP_REPO/build/series}
VERIFY_ARCHS=${VERIFY_ARCHS:-x86_64 s390x ppc64le}
passed=0 failed=0 skipped=0

# step_key PATCH...: a hash of what the result of a step depends on.
step_key() { { series_key "$@"; root_key; cat "$KLP_TOOLS"/config/*.config; } | sha256sum | cut -c1-16; }

# in_steps NUMBER: whether VERIFY_STEPS has this step.
in_steps() {
	local range
	[ -n "${VERIFY_STEPS:-}" ] || return 0
	for range in $VERIFY_STEPS; do
		if [ "$1" -ge "${range%-*}" ] && [ "$1" -le "${range#*-}" ]; then return 0; fi
	done
	return 1
}

# options_of PATCH...: the options that the patches add or change.
options_of() {
	[ $# != 0 ] || return 0
	awk '
		/^diff --git / { kconfig = $NF ~ /Kconfig/; name = ""; next }
		!kconfig || /^(--|---|\+\+\+) / { next }
		# The option in front of the hunk, if it ends in it.
		/^@@ / { name = $5 == "config" ? $6 : ""; next }
		/^[ +-](menu)?config / { name = $2 }
		/^[+-]./ && name != "" { print "CONFIG_" name }
	' "$@" | sort -u | xargs
}

# verify_step ARCH NUMBER: build a step, and test it where its kernel is native.
verify_step() {
	local arch=$1 n=$2 core=c
	"$KLP_TOOLS/tree.sh" "${patches[@]:0:n}"
	! grep -qx 'config LIVEPATCH_RUST' "$TREE/kernel/livepatch/Kconfig" || core=rust
	KLP_LATER=$(options_of "${patches[@]:n}")
	export KLP_LATER KLP_TREE_HELD=y KLP_STRICT=y TOOLCHAIN=llvm UPSTREAM='' KLP_BENCH=''
	if is_foreign "$arch"; then
		"$KLP_TOOLS/build.sh" "$arch" "$core" default
	else
		ARCH=$arch CORE=$core CONFIG=default SUITE=upstream "$KLP_TOOLS/test.sh"
	fi
}

# verify ARCH NUMBER: do that, unless this has passed before.
verify() {
	local arch=$1 n=$2 record start=$SECONDS
	record=$records/$arch-$(step_key "${patches[@]:0:n}")
	if [ -e "$record" ]; then
		passed=$((passed + 1))
		say "  $arch has passed: $(cat "$record")"
		return 0
	fi
	attempt "Step $n of ${#patches[@]} on $arch" verify_step "$arch" "$n"
	if [ "$status" = 0 ]; then
		passed=$((passed + 1))
		echo "$(date -u +%F), $((SECONDS - start)) s" >"$record"
	else
		failed=$((failed + 1))
	fi
}

# sum_up: print the last line, however the run ends.
sum_up() {
	local rc=$?
	trap - EXIT
	[ "$rc" = 0 ] || failed=$((failed + 1))
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] || exit 1
	exit 0
}

main() {
	local n arch range
	for range in ${VERIFY_STEPS:-}; do
		[[ $range =~ ^[0-9]+(-[0-9]+)?$ ]] || die "VERIFY_STEPS has the unknown $range" 'use numbers and ranges, as in VERIFY_STEPS="1-3 7"'
	done
	for arch in $VERIFY_ARCHS; do (ARCH=$arch check_options); done
	need_root
	lock series-verify 5
	trap sum_up EXIT
	export KLP_TREE=$TREE.series
	TREE=$KLP_TREE
	# A copy: the clone may write the series again meanwhile.
	records=$KLP_CACHE/series-verify
	rm -rf "$records/patches"
	mkdir -p "$records/patches"
	cp "$SERIES"/[0-9]*.patch "$records/patches"
	patches=("$records"/patches/*.patch)
	# Without the cover letter.
	patches=("${patches[@]:1}")
	for ((n = 1; n <= ${#patches[@]}; n++)); do
		if ! in_steps "$n"; then
			skipped=$((skipped + $(wc -w <<<"$VERIFY_ARCHS")))
			continue
		fi
		say "${patches[n - 1]##*/}"
		for arch in $VERIFY_ARCHS; do verify "$arch" "$n"; done
	done
}
main
