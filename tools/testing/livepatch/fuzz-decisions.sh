#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Fuzz what decides without a kernel, by libFuzzer, which follows the branches of the code:
# COUNT seconds for each of relocations, names, ranges and routes. What it learns is kept.
# Where the toolchain for it is not available, they are skipped.
. "$(dirname "$0")/lib.sh"

COUNT=${COUNT:-15}
targets="relocations names ranges routes"
[[ $COUNT =~ ^[1-9][0-9]{0,5}$ ]] || die "COUNT=$COUNT is no number of seconds" "use COUNT=900, for example"
need_nightly "$(wc -w <<<"$targets")"
have_program cargo-fuzz "$CARGO_FUZZ_VERSION"
kept=$KLP_CACHE/fuzz-decisions
passed=0 failed=0

build_targets() {
	tool_cargo "$FUZZ_DECISIONS" fetch
	enter CARGO_HOME=/klp/cargo PATH="/klp/${NIGHTLY_ROOT##*/}/bin:/klp/${program##*/}/bin:/usr/bin:/bin" sh -ec '
		cd "/clone/$1"
		cargo fuzz build --fuzz-dir . --target-dir /klp/fuzz-decisions/target
	' fuzz "$FUZZ_DECISIONS"
}

# fuzz TARGET: run it, with what it keeps in a folder of the cache.
fuzz() {
	local in_root=/klp/fuzz-decisions program
	mkdir -p "$kept/$1"
	program=$(echo "$kept"/target/*/release/"$1")
	enter "$in_root/${program#"$kept/"}" -max_total_time="$COUNT" -artifact_prefix="$in_root/$1-" -print_final_stats=1 "$in_root/$1"
}

run() {
	local target runs log
	mkdir -p "$kept"
	step "Building what is fuzzed" "see the lines above" build_targets
	for target in $targets; do
		log=$KLP_CACHE/log/fuzz-$target.log
		try fuzz "$target" >"$log" 2>&1
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
		if [ "$status" = 0 ] && [ "${runs:-0}" != 0 ]; then
			passed=$((passed + 1))
			say "ok      $target: $runs runs in $COUNT s, $(find "$kept/$target" -type f | wc -l) inputs kept"
		else
			failed=$((failed + 1))
			say "not ok  $target, after ${runs:-0} runs"
			grep -A 12 'panicked at' "$log" | head -n 20 | sed 's/^/    /' || :
			say "    the whole log, with the input: $log"
		fi
	done
	say "$passed passed, $failed failed, 0 skipped"
	[ "$failed" = 0 ]
}
with_lock fuzz-decisions run
