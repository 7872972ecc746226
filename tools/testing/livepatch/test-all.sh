#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run everything, for hours, including what CI has no time for. It continues where it was
# interrupted: a part that has passed is not run again until what is tested changes.
# Each part's last run, with its commit, is in Documentation/livepatch/test-runs.rst,
# which this writes. PARTS="test-kasan soak-s390x" runs some of them.
. "$(dirname "$0")/lib.sh"

# NAME: COMMAND. In an order in which later parts can use earlier builds.
PARTS_ALL='
demo: make demo
test: make test
test-c: make test CORE=c SUITE="upstream ours klp fuzz"
check: make check
fleet: make test SUITE=fleet
fleet-demo: make fleet-demo
userspace: make userspace
model: make model
model-large: make model SETUPS="three-disable three-stack"
litmus: make litmus
miri: make miri
fuzz-decisions: make fuzz-decisions COUNT=900
types: tools/testing/livepatch/test-all.sh --types
newcomer: tools/testing/livepatch/newcomer-test.sh
coverage: make coverage
bench: make bench
series: make series
series-verify: make series VERIFY=1
soak: make soak COUNT=20000
fuzz: make fuzz COUNT=36000
demo-s390x: make demo ARCH=s390x
test-s390x: make test ARCH=s390x SUITE="upstream ours kunit"
test-s390x-c: make test ARCH=s390x CORE=c SUITE="upstream ours"
soak-s390x: make soak ARCH=s390x COUNT=1000
bench-s390x: make bench ARCH=s390x
demo-ppc64le: make demo ARCH=ppc64le
test-ppc64le: make test ARCH=ppc64le SUITE="upstream ours kunit"
test-ppc64le-c: make test ARCH=ppc64le CORE=c SUITE="upstream ours"
soak-ppc64le: make soak ARCH=ppc64le COUNT=1000
bench-ppc64le: make bench ARCH=ppc64le
test-rt: make test CONFIG=rt SUITE="upstream ours kunit"
test-debug: make test CONFIG=debug SUITE="upstream ours kunit"
test-kasan: make test CONFIG=kasan SUITE="upstream ours kunit"
test-btf: make test CONFIG=btf SUITE="upstream ours kunit drgn"
test-btf-c: make test CORE=c CONFIG=btf SUITE=drgn
build-arm64: tools/testing/livepatch/build.sh arm64 rust default prepare kernel/livepatch/
build-loongarch: tools/testing/livepatch/build.sh loongarch rust default prepare kernel/livepatch/
'

table=$KLP_REPO/Documentation/livepatch/test-runs.rst

# types: check whether the kernel has the types that the samples in Rust declare; a test
# module declares variables, too.
types() {
	local sample good=0 bad=0
	for sample in samples/livepatch/rust_livepatch_*.rs \
		tools/testing/selftests/livepatch_rust/test_modules/klpr_rust_data.rs; do
		try make check-patch MOD="$sample"
		if [ "$status" = 0 ]; then good=$((good + 1)); else bad=$((bad + 1)); fi
	done
	say "$good passed, $bad failed, 0 skipped"
	[ "$bad" = 0 ]
}

names() { sed -n 's/^\([a-z0-9-]*\): .*/\1/p' <<<"$PARTS_ALL"; }
command_of() { sed -n "s/^$1: //p" <<<"$PARTS_ALL"; } # NAME

# row NAME: its row of the table, as "result|contents|commit|date|seconds|counted".
row() {
	awk -v name="$1" '
		$1 == "*" && $2 == "-" && $3 == "``" name "``" { found = 1; n = 0; next }
		found && $1 == "-" { sub(/^ *- */, ""); v[++n] = $0; next }
		found { exit }
		END { if (n) print v[1] "|" v[2] "|" v[3] "|" v[4] "|" v[5] "|" v[6] }
	' "$table" 2>/dev/null
}

# write_table NAME RESULT CONTENTS COMMIT DATE SECONDS COUNTED: write the table with this
# row, and the others as they are.
write_table() {
	local name new=$table.new old
	{
		cat <<-'EOT'
			.. SPDX-License-Identifier: GPL-2.0
			.. Written by make test-all. Do not edit.

			====================
			What was tested when
			====================

			The last run of each part of ``make test-all``: which commit, and what its contents are
			called, by which a part knows whether it has to run again. Guests are emulated.

			.. list-table::
			   :header-rows: 1

			   * - part
			     - result
			     - contents
			     - commit
			     - date
			     - time
			     - what it counted
		EOT
		for name in $(names); do
			if [ "$name" = "$1" ]; then old="$2|$3|$4|$5|$6|$7"; else old=$(row "$name"); fi
			[ -n "$old" ] || continue
			printf '   * - ``%s``\n' "$name"
			tr '|' '\n' <<<"$old" | sed 's/^/     - /'
		done
	} >"$new"
	mv "$new" "$table"
}

run_part() { # NAME
	local name=$1 rc=0 start=$SECONDS log=$KLP_CACHE/log/test-all-$1.log sum
	say
	say "=== $name: $(command_of "$name")"
	# shellcheck disable=SC2086
	try eval "$(command_of "$name")" > >(tee "$log") 2>&1
	rc=$status
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1) || :
	if [ "$rc" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	write_table "$name" "$(if [ "$rc" = 0 ]; then echo passed; else echo FAILED; fi)" "$contents" "$commit" \
		"$(date -u +%F)" "$(((SECONDS - start + 59) / 60)) min" "${sum:--}"
	say "=== $name: $(if [ "$rc" = 0 ]; then echo ok; else echo FAILED; fi), $((SECONDS - start)) s"
}

main() {
	local name old
	cd "$KLP_REPO"
	if [ "${1:-}" = --types ]; then
		types
		return
	fi
	for name in ${PARTS:-}; do
		names | grep -qx -- "$name" || die "PARTS has the unknown $name" "use some of: $(names | xargs)"
	done
	need_root
	mkdir -p "$KLP_CACHE/log"
	lock test-all 4
	passed=0 failed=0 skipped=0
	contents=$(contents)
	commit=$(commit | tr -d '\n')
	unset ARCH CORE CONFIG SUITE TOOLCHAIN SETUPS STORY CASES COUNT CHUNK SEED MOD VMLINUX TARGETS KLP_GOAL MAKEFLAGS MFLAGS \
		VERIFY VERIFY_STEPS VERIFY_ARCHS
	for name in ${PARTS:-$(names)}; do
		old=$(row "$name")
		case $old in
		"passed|$contents|"*)
			say "=== $name: has passed with these contents: $old"
			passed=$((passed + 1));;
		*) run_part "$name";;
		esac
	done
	say
	say "the table: ${table#"$KLP_REPO/"}"
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}
main "$@"
