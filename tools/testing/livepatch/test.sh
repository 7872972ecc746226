#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run the suites; the last line says how many cases passed, failed, were skipped.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

ARCH=${ARCH:-x86_64} CORE=${CORE:-rust} CONFIG=${CONFIG:-default}
SUITE=${SUITE:-upstream ours kunit host}
check_options

passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); say "  FAILED: $*"; }
skip() { skipped=$((skipped + 1)); say "  skipped: $*"; }

UPSTREAM=${UPSTREAM:-livepatch callbacks shadow-vars state ftrace sysfs syscall kprobe}

# Unit tests of the base kernel that fail there without us, as "ARCH:TEST". This
# one expects C's bit fields to begin with the lowest bit, in
# rust/kernel/net/netlink.rs.
KUNIT_BROKEN="s390x:test_family_flags_bitfield"

# read_cases OUTPUT: count what a guest's scripts said. A case is announced by
# "TEST: NAME ... " and ended by "ok"; a script ends with "== SCRIPT: STATUS".
read_cases() {
	local line name='' status
	while IFS= read -r line; do
		case $line in
		"TEST: "*" ... ok") pass; name='';;
		"TEST: "*" ... SKIP"*) skip "${line#TEST: }"; name='';;
		"TEST: "*) name=${line#TEST: };;
		# Something else was printed in the same line.
		ok) [ -z "$name" ] || pass; name='';;
		"SKIP: "*) skip "${line#SKIP: }"; name='';;
		"== "*": "[0-9]*)
			status=${line##*: }
			if [ "$status" != 0 ] && [ "$status" != 4 ]; then
				fail "${line#== } ${name:+in \"$name\"}"
			elif [ -n "$name" ]; then
				fail "$name did not say ok"
			fi
			name='';;
		esac
	done <"$1"
}

# scripts FOLDER SECONDS SCRIPT...: run scripts of a folder, each in a guest of
# its own: one that fails may leave anything behind. A few guests run at once.
# A line "# KLP-APPEND: WORD..." of a script is for its guest's command line.
scripts() {
	local folder=$1 seconds=$2 t name append before failed_before status; shift 2
	local run=$KLP_CACHE/run/$build
	mkdir -p "$run"
	kvm_works "$build" || :
	for t in "$@"; do
		name=$folder-${t%.sh}
		rm -f "$run/$name".*
		while [ "$(jobs -rp | wc -l)" -ge "$GUESTS" ]; do wait -n || :; done
		(
			start=$SECONDS rc=0
			append=$(sed -n 's/^# KLP-APPEND: //p' "$KLP_REPO/tools/testing/selftests/$folder/$t" 2>/dev/null | xargs) || :
			# shellcheck disable=SC2030
			GUEST_APPEND="${GUEST_APPEND:-}${append:+ --append ${append// / --append }}"
			guest "$build" "$name" "$seconds" "${ROUNDS:+export ROUNDS=$ROUNDS}
${SECONDS_EACH:+export SECONDS_EACH=$SECONDS_EACH}
cd selftests/$folder
./$t; echo \"== $t: \$?\"" >"$run/said.$name" || rc=1
			echo "$rc $((SECONDS - start))" >"$run/$name.status"
			say "  $t: $((SECONDS - start)) s" >&2
		) &
	done
	wait
	for t in "$@"; do
		name=$folder-${t%.sh} before=$passed failed_before=$failed
		status=$(cat "$run/$name.status")
		cat "$run/said.$name" 2>/dev/null || :
		[ "${status% *}" = 0 ] || fail "guest $name"
		[ ! -e "$run/$name.out" ] || read_cases "$run/$name.out"
		say "  $t: $((passed - before)) ok, $((failed - failed_before)) failed, ${status#* } s"
		if [ "$failed" != "$failed_before" ]; then
			say "  what it said:"
			{ tail -n 40 "$run/$name.out" 2>/dev/null || echo nothing; } | sed 's/^/    /'
		fi
	done
}

suite_upstream() {
	local t list=''
	for t in $UPSTREAM; do
		list="$list test-$t.sh"
	done
	say "upstream"
	# shellcheck disable=SC2086
	scripts livepatch $((600 * SLOW)) $list
}

suite_ours() {
	local list
	# shellcheck disable=SC1003
	list=${OURS:-$(sed -n '/^TEST_PROGS :=/,/[^\\]$/p' "$KLP_REPO/tools/testing/selftests/livepatch_rust/Makefile" | tr -d '\\' | sed 's/.*=//')}
	say "ours"
	# The 200 rounds under load take minutes, and more on a machine that is busy.
	# shellcheck disable=SC2086
	scripts livepatch_rust $((1500 * SLOW)) $list
}

suite_kunit() {
	local line log=$KLP_CACHE/run/$build/kunit.log before=$passed
	if [ "$CORE" != rust ]; then
		skip "kunit: the core in C has no unit tests"
		return
	fi
	say "guest kunit"
	GUEST_APPEND="--append kunit.enable=1" guest "$build" kunit $((120 * SLOW)) true || fail "guest kunit"
	while IFS= read -r line; do
		case $line in
		*"# SKIP"*) skip "kunit: $line";;
		"not ok"*)
			case " $KUNIT_BROKEN " in
			*" $ARCH:${line##* } "*) skip "kunit: ${line##* } is broken in the base kernel on $ARCH";;
			*) fail "kunit: $line";;
			esac;;
		"ok"*) pass;;
		esac
	done < <(sed -n 's/^\(\[[ 0-9.]*\] \)\?    \(\(not \)\?ok [0-9]* .*\)$/\2/p' "$log" 2>/dev/null)
	[ "$passed" -gt "$before" ] || fail "kunit: no case has run"
	say "  $((passed - before)) ok"
}

host_tests() {
	mkdir -p "$KLP_CACHE/run"
	enter sh -c "rustc --edition 2021 --test -D warnings -o /klp/run/decisions /clone/kernel/livepatch/decisions.rs && /klp/run/decisions"
}

# The tool of `make check-patch`, on objects that the tests compile.
check_patch_tests() { check_patch_cargo test --no-fail-fast; }

# restart_tests: which guests are started again, how often, and what a run says of
# it. The guests are made up: each word is what one does, in turn.
restart_tests() {
	local run=$KLP_CACHE/run/$build wanted does kvm found
	mkdir -p "$run"
	while IFS='|' read -r wanted kvm does; do
		# shellcheck disable=SC2030,SC2031
		found=$(
			RESTARTS=$run/made-up-restarts
			: >"$RESTARTS"
			GUEST_BOOT_SECONDS=4 SLOW=1
			kvm_works() { [ "$kvm" = kvm ]; }
			# What a guest does is known by how many consoles are kept.
			guest_boot() {
				local n kept=("$run"/made-up.try*.console)
				n=${#kept[@]}
				[ -e "${kept[0]}" ] || n=0
				read -ra what <<<"$does"
				echo "[    0.000000] Linux version 7.3.0" >"$2"
				case ${what[$n]} in
				hang) sleep 10;;
				die) echo "[    1.000000] Kernel panic - not syncing: VFS" >>"$2"; sleep 6;;
				kunit) echo "[    1.000000] KTAP version 1" >>"$2"; sleep 6;;
				oops) : >"$run/made-up.out"; printf '[    1.000000] %s\n' "Oops: int3: 0000 [#1] SMP" "RIP: 0010:0xffffffffc0201234" >>"$2";;
				ok) : | tee "$run/made-up."{out,log,end};;
				esac
			}
			if guest "$build" made-up 20 true >/dev/null; then printf ok; else printf failed; fi
			restarts_say | sed -n 's/^restarted guests: / /p' | tr -d '\n'
			printf ' %s' "$(find "$run" -name 'made-up.try*.console' | wc -l)"
			rm -f "$run/made-up".* "$RESTARTS"
		)
		if [ "$found" = "$wanted" ]; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			say "guest says \"$found\", not \"$wanted\", of: $kvm $does"
		fi
	done <<-'EOF'
		ok 0|tcg|ok
		ok 1 1|tcg|hang ok
		failed 1 1|tcg|hang die ok
		failed 1 1|tcg|hang hang ok
		failed 1 1|tcg|hang oops ok
		failed 0|tcg|oops ok
		failed 0|tcg|die ok
		failed 0|tcg|kunit ok
		failed 0|kvm|hang ok
	EOF
}

# splat_tests: what guest_splats finds, and what it lets pass.
splat_tests() {
	local trace='Call Trace:\n <TASK>\n f+0x1/0x2\n </TASK>' text wanted found good=0 bad=0
	while IFS='|' read -r wanted text; do
		found=$(guest_splats <(printf '%b\n' "${text//TRACE/$trace}") | grep -c 'BUG:\|WARNING:\|Call Trace:')
		if [ "$found" = "$wanted" ]; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			say "guest_splats finds $found, not $wanted, in: $text"
		fi
	done <<-'EOF'
		0|all is well
		1|WARNING: at f
		2|BUG: x\nTRACE
		0|KLP-EXPECT: BUG: x\nBUG: x\nTRACE
		1|KLP-EXPECT: BUG: x\nBUG: x\nTRACE\nBUG: y
		1|KLP-EXPECT: Call Trace:\nTRACE\nWARNING: z
		1|KLP-EXPECT: BUG: x\n===== klpr 1 2: next =====\nBUG: x
		1|BUG: x\nKLP-EXPECT: BUG: x
	EOF
	restart_tests
	say "splats: $good passed, $bad failed"
	[ "$bad" = 0 ]
}

compile_fail() {
	enter python3 /clone/tools/testing/livepatch/compile-fail.py "/klp/build/$build" \
		/clone/tools/testing/livepatch/compile-fail
}

# host_part NAME COMMAND...: a part of the suite, whose output has lines with
# "... N passed" of each program that it runs.
host_part() {
	local name=$1 log=$KLP_CACHE/log/host-$build-$1.log before=$passed n; shift
	mkdir -p "$KLP_CACHE/log"
	"$@" >"$log" 2>&1 || {
		fail "host: $name"
		tail -n 60 "$log" | sed 's/^/    /'
	}
	while IFS= read -r n; do
		passed=$((passed + n))
	done < <(sed -n 's/^[a-z -]*: \(ok\. \|FAILED\. \)\?\([0-9]*\) passed.*/\2/p' "$log")
	[ "$passed" -gt "$before" ] || fail "host: $name has run no case"
	say "  $name: $((passed - before)) ok"
}

suite_host() {
	if is_foreign "$ARCH"; then
		say "host: tested with ARCH=x86_64, and the same for all architectures"
		return
	fi
	say "host"
	host_part decisions host_tests
	host_part splats splat_tests
	host_part compile-fail compile_fail
	host_part check-patch check_patch_tests
}

need_root
"$KLP_TOOLS/setup.sh"
build=$(build_name "$ARCH" "$CORE" "$CONFIG")
SLOW=1
GUESTS=${GUESTS:-2}
if [ "$CONFIG" = rt ]; then
	# Nearly as fast; more switches of tasks.
	SLOW=2
elif [ "$CONFIG" != default ]; then
	# Such a guest is several times as slow: fewer rounds of what is repeated.
	# They wait most of the time, for kobjects that are released late on purpose.
	SLOW=4
	GUESTS=${GUESTS_DEBUG:-4}
	ROUNDS=${ROUNDS:-30}
	SECONDS_EACH=${SECONDS_EACH:-60}
fi
if is_foreign "$ARCH"; then
	# Emulated whatever the machine has: fewer rounds of what is repeated.
	SLOW=2
	ROUNDS=${ROUNDS:-50}
	say "ARCH=$ARCH is emulated: $ROUNDS rounds of what is repeated, instead of 200"
fi
"$KLP_TOOLS/build.sh" "$ARCH" "$CORE" "$CONFIG"
restarts_begin "$build"
say "ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG SUITE=\"$SUITE\""
for suite in $SUITE; do
	"suite_$suite"
done
restarts_say
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
