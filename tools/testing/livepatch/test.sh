#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Run the suites; the last line has how many cases passed, failed, were skipped.
#
# A run must not count nothing and pass: a script has to announce its cases, and have as
# many; a case is skipped only for a reason that is in the file skips; a run that dies
# keeps its counts. harness-test.sh tests this.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

ARCH=${ARCH:-x86_64} CORE=${CORE:-rust} CONFIG=${CONFIG:-default}
SUITE=${SUITE:-upstream ours kunit klp replay fuzz host}

passed=0 failed=0 skipped=0 tried_again=0
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); say "  FAILED: $*"; }

# skip WHAT REASON: count it, if that is a reason here.
skip() {
	if skip_is_allowed "$1: $2"; then
		skipped=$((skipped + 1))
		say "  skipped: $1: $2"
	else
		fail "$1 is skipped for a reason that is not in the file skips: $2"
	fi
}

skip_is_allowed() { # TEXT
	awk -v text="$1" -v arch="$ARCH" -v core="$CORE" -v config="$CONFIG" '
		/^#|^$/ { next }
		($1 == "*" || $1 == arch) && ($2 == "*" || $2 == core) && ($3 == "*" || $3 == config) {
			sub(/^[^ ]+ +[^ ]+ +[^ ]+ +/, "")
			if (text ~ $0) { found = 1; exit }
		}
		END { exit !found }
	' "${SKIPS:-$KLP_TOOLS/skips}"
}

UPSTREAM=${UPSTREAM:-livepatch callbacks shadow-vars state ftrace sysfs syscall kprobe}

# read_cases OUTPUT SCRIPT PLAN: count the cases in a guest script's output. It announces
# its cases with "plan N", or PLAN is their number. A case begins with "TEST: NAME ... " and
# ends with "ok"; the script ends with "== SCRIPT: STATUS". "AGAIN: WHY" in a case: an
# attempt did not meet the condition it waited for, and was repeated.
read_cases() {
	local line name='' status='' script=$2 plan=$3 seen=0 all_skipped=''
	# begun NAME: the previous case must have ended.
	begun() {
		[ -z "$name" ] || fail "$script: \"$name\" did not say ok"
		name=$1 seen=$((seen + 1))
	}
	while IFS= read -r line; do
		case $line in
		"plan "[0-9]*) plan=${line#plan };;
		"TEST: "*" ... ok") begun "${line#TEST: }"; pass; name='';;
		"TEST: "*" ... SKIP ("*")")
			begun "${line#TEST: }"
			name=${name%)}
			skip "$script: ${name%% ... SKIP (*}" "${name#* ... SKIP (}"
			name='';;
		"TEST: "*) begun "${line#TEST: }"; name=${name%% ... *};;
		# Other output is in the same line.
		ok) [ -z "$name" ] || pass; name='';;
		"AGAIN: "*)
			tried_again=$((tried_again + 1))
			say "  tried again: $script: $name: ${line#AGAIN: }";;
		"SKIP: "*) all_skipped=${line#SKIP: };;
		"== $script: "[0-9]*) status=${line##*: };;
		esac
	done <"$1"
	[ -z "$name" ] || [ "${status:-0}" != 0 ] || fail "$script: \"$name\" did not say ok"
	case $status in
	0)
		if [ -z "$plan" ]; then
			fail "$script does not announce its cases"
		elif [ "$seen" != "$plan" ]; then
			fail "$script has had $seen cases of $plan"
		elif [ "$seen" = 0 ]; then
			fail "$script has had no case"
		fi;;
	4) skip "$script" "${all_skipped:-it does not say why}";;
	'') fail "$script did not end${name:+; its case was \"$name\"}";;
	*) fail "$script ended with $status${name:+ in \"$name\"}";;
	esac
}

# plan_of FOLDER SCRIPT: how many cases a script of the base kernel has. Ours announce it.
plan_of() {
	[ "$1" = livepatch ] || return 0
	grep -c '^[[:space:]]*start_test ' "$KLP_CACHE/build/$build/selftests/livepatch/$2" || :
}

# room: wait until one more guest may run. What runs beside guests is not counted.
room() {
	while [ "$(jobs -rp | grep -cvxF "$BESIDE" || :)" -ge "$GUESTS" ]; do wait -n || :; done
}

# start_scripts FOLDER SECONDS SCRIPT...: run scripts of a folder, each in a guest of
# its own: one that fails may leave anything behind. A few guests run at once.
# A line "# KLP-APPEND: WORD..." of a script is for its guest's command line.
start_scripts() {
	local folder=$1 seconds=$2 t name append; shift 2
	for t in "$@"; do
		name=$folder-${t%.sh}
		rm -f "$run/$name".* "$run/said.$name"
		room
		(
			start=$SECONDS rc=0
			append=$(sed -n 's/^# KLP-APPEND: //p' "$KLP_CACHE/build/$build/selftests/$folder/$t" 2>/dev/null | xargs) || :
			# shellcheck disable=SC2030
			GUEST_APPEND="${GUEST_APPEND:-}${append:+ --append ${append// / --append }}"
			guest "$build" "$name" "$seconds" "${ROUNDS:+export ROUNDS=$ROUNDS}
${SECONDS_EACH:+export SECONDS_EACH=$SECONDS_EACH}
${GUEST_ENV:+export $GUEST_ENV}
cd selftests/$folder
./$t; echo \"== $t: \$?\"" >"$run/said.$name" || rc=1
			echo "$rc $((SECONDS - start))" >"$run/$name.status"
			say "  $t: $((SECONDS - start)) s" >&2
		) &
	done
}

# end_scripts FOLDER SCRIPT...: count their cases.
end_scripts() {
	local folder=$1 t name before failed_before status; shift
	for t in "$@"; do
		name=$folder-${t%.sh} before=$passed failed_before=$failed
		status=$(cat "$run/$name.status" 2>/dev/null || echo "1 0")
		cat "$run/said.$name" 2>/dev/null || :
		[ "${status% *}" = 0 ] || fail "guest $name"
		if [ -e "$run/$name.out" ]; then
			read_cases "$run/$name.out" "$t" "$(plan_of "$folder" "$t")"
		else
			fail "$t has said nothing"
		fi
		say "  $t: $((passed - before)) ok, $((failed - failed_before)) failed, ${status#* } s"
		if [ "$failed" != "$failed_before" ]; then
			say "  what it said:"
			{ tail -n 40 "$run/$name.out" 2>/dev/null || echo nothing; } | sed 's/^/    /'
		fi
	done
}

# shellcheck disable=SC2046,SC2086
upstream_scripts() { printf 'test-%s.sh\n' $UPSTREAM; }

our_scripts() {
	# shellcheck disable=SC1003,SC2046,SC2086
	printf '%s\n' ${OURS:-$(sed -n '/^TEST_PROGS :=/,/[^\\]$/p' "$KLP_REPO/tools/testing/selftests/livepatch_rust/Makefile" |
		tr -d '\\' | sed 's/.*=//')}
}

# Scripts that take the longest start first.
# shellcheck disable=SC2046
start_upstream() { start_scripts livepatch $((600 * SLOW)) $(upstream_scripts); }
# The 200 rounds under load take minutes, and more on a machine that is busy.
start_ours() {
	local all
	all=$(our_scripts)
	# shellcheck disable=SC2046,SC2086
	start_scripts livepatch_rust $((1500 * SLOW)) $(
		for t in $LONGEST; do grep -x "test-$t.sh" <<<"$all" || :; done
		grep -vxF "$(printf 'test-%s.sh\n' $LONGEST)" <<<"$all" || :)
}
LONGEST="isolated consistency stress ways"

# shellcheck disable=SC2046
end_upstream() { say upstream; end_scripts livepatch $(upstream_scripts); }
# shellcheck disable=SC2046
end_ours() { say ours; end_scripts livepatch_rust $(our_scripts); }

# start_guest NAME SECONDS COMMAND: run a command in a guest of its own, beside others.
start_guest() {
	rm -f "$run/$1".* "$run/said.$1"
	room
	(
		rc=0
		guest "$build" "$1" $(($2 * SLOW)) "$3" >"$run/said.$1" || rc=1
		echo "$rc" >"$run/$1.status"
	) &
}

# end_guest NAME: print what is wrong with it, if anything, and count that.
end_guest() {
	cat "$run/said.$1" 2>/dev/null || :
	[ "$(cat "$run/$1.status" 2>/dev/null)" = 0 ] || fail "guest $1"
}

# klp: its own tests, and what it does in a guest. It is built for this machine, so that
# guests of other architectures cannot run it.
start_klp() {
	! is_foreign "$ARCH" || return 0
	have_tool "$KLP"
	GUEST_ENV=KLP_TOOL=/klp/${tool#"$KLP_CACHE/"} start_scripts livepatch_rust $((900 * SLOW)) test-klp.sh
}

end_klp() {
	say klp
	if is_foreign "$ARCH"; then
		say "  klp: tested with ARCH=x86_64"
		return
	fi
	host_part klp tool_tests "$KLP"
	end_scripts livepatch_rust test-klp.sh
}

# drgn: what a debugger finds. It needs debug information.
start_drgn() {
	[ "$CONFIG" = btf ] || return 0
	WITH_DRGN=y "$KLP_TOOLS/setup.sh"
	cp "$KLP_REPO/tools/livepatch/drgn/klp_dump.py" "$KLP_CACHE/build/$build/"
	GUEST_ENV="DRGN=/klp/${DRGN_ROOT##*/}/bin/drgn VMLINUX=/klp/build/$build/vmlinux KLP_DUMP=/klp/build/$build/klp_dump.py" \
		start_scripts livepatch_rust $((600 * SLOW)) test-drgn.sh
}

end_drgn() {
	say drgn
	if [ "$CONFIG" = btf ]; then
		end_scripts livepatch_rust test-drgn.sh
	else
		skip drgn "this kernel has no debug information: CONFIG=btf has"
	fi
}

# replay: transitions are recorded in a guest, and replayed in the model.
start_replay() {
	[ "$CORE" = rust ] || return 0
	have_tool "$MODEL"
	replayer=$tool
	start_guest replay 600 "cd selftests/livepatch_rust
./record.sh /klp/run/$build/replay.trace ${ROUNDS:+5}"
}

# replay_in_model TRACE: the model's output, with its sum in the form of a part's.
replay_in_model() { "$replayer" replay "$1" | sed 's/^[0-9]* passed/transitions: &/'; }

end_replay() {
	say replay
	if [ "$CORE" != rust ]; then
		skip replay "the core in C does not show its transitions"
		return
	fi
	end_guest replay
	if [ -s "$run/replay.trace" ]; then
		host_part replay replay_in_model "$run/replay.trace"
	else
		fail "replay: nothing was recorded: $(tail -n 40 "$run/replay.out")"
	fi
}

# fuzz: what users can do with livepatches, in a random order.
start_fuzz() {
	! is_foreign "$ARCH" || return 0
	have_tool "$FUZZ"
	start_guest fuzz 600 "$(fuzz_in_guest "$tool" "${SEED:-1}" "${SECONDS_EACH:-120}")"
}

end_fuzz() {
	local out=$run/fuzz.out
	say fuzz
	if is_foreign "$ARCH"; then
		say "  fuzz: tested with ARCH=x86_64"
		return
	fi
	host_part fuzz tool_tests "$FUZZ"
	end_guest fuzz
	if grep -qx '== fuzz: 0' "$out"; then
		pass
		say "  $(grep '^fuzz: .* operations' "$out")"
	else
		fail "fuzz: $(tail -n 40 "$out")"
	fi
}

# fleet: Ansible and Prometheus, with the real klp on folders that stand for machines, and then
# on servers, which have a kernel of their own.
start_fleet() {
	! is_foreign "$ARCH" || return 0
	WITH_FLEET=y "$KLP_TOOLS/setup.sh"
	have_tool "$KLP"
}

fleet_test() { enter bash /clone/tools/testing/livepatch/fleet-test.sh "/klp/${FLEET_ROOT##*/}" "/klp/${tool#"$KLP_CACHE/"}" "$1"; }

end_fleet() {
	local part
	say fleet
	if is_foreign "$ARCH"; then
		say "  fleet: tested with ARCH=x86_64"
		return
	fi
	have_tool "$KLP"
	for part in lint sanity modules rollout prometheus; do
		host_part "fleet-$part" fleet_test "$part"
	done
	host_part fleet-servers "$KLP_TOOLS/fleet-demo.sh"
	host_part fleet-boot "$KLP_TOOLS/boot-test.sh"
}

start_kunit() {
	[ "$CORE" = rust ] || return 0
	# shellcheck disable=SC2031
	GUEST_APPEND="--append kunit.enable=1" start_guest kunit 120 true
}

end_kunit() {
	say kunit
	if [ "$CORE" != rust ]; then
		skip kunit "the core in C has no unit tests"
		return
	fi
	end_guest kunit
	read_kunit "$run/kunit.log"
}

# read_kunit LOG: the cases that the kernel's own parser finds in a kernel log. It detects
# suites that end early, and plans that are not kept.
read_kunit() {
	local verdict name reason before=$passed
	while IFS='|' read -r verdict name reason; do
		case $verdict in
		ok) pass;;
		skip) skip "kunit: $name" "$reason";;
		# A unit test of the base kernel that fails without our changes, too, is skipped.
		*) if skip_is_allowed "kunit: $name: broken in the base kernel"; then
			skip "kunit: $name" "broken in the base kernel"
		else
			fail "kunit: $name: $reason"
		fi;;
		esac
	done < <(enter python3 /clone/tools/testing/livepatch/kunit-cases.py "/klp/${TREE##*/}/tools/testing/kunit" \
		"/klp/${1#"$KLP_CACHE/"}" || echo "crashed|kunit-cases.py|see above")
	[ "$passed" -gt "$before" ] || fail "kunit: no case has run"
	say "  $((passed - before)) ok"
}

host_tests() {
	mkdir -p "$KLP_CACHE/run"
	enter sh -c "rustc --edition 2021 --test -D warnings -o /klp/run/host_tests /clone/kernel/livepatch/host_tests.rs && /klp/run/host_tests"
}

# The tools in Rust: the tool of `make check-patch` on objects that the tests compile.
tool_tests() { tool_cargo "$1" test --no-fail-fast; }

compile_fail() {
	enter python3 /clone/tools/testing/livepatch/compile-fail.py "/klp/build/$build" \
		/clone/tools/testing/livepatch/compile-fail /clone/kernel/livepatch
}

object_code() {
	enter python3 /clone/tools/testing/livepatch/object-code.py "llvm-objdump-$LLVM_VERSION" "/klp/build/$build"
}

# host_part NAME COMMAND...: a part of the suite, whose output has a line with
# "... N passed" for each program that it runs.
host_part() {
	local name=$1 log=$KLP_CACHE/log/host-$build-$1.log before=$passed n; shift
	mkdir -p "$KLP_CACHE/log"
	try "$@" >"$log" 2>&1
	[ "$status" = 0 ] || {
		fail "host: $name"
		tail -n 60 "$log" | sed 's/^/    /'
	}
	while IFS= read -r n; do
		passed=$((passed + n))
	done < <(sed -n 's/^[a-z -]*: \(ok\. \|FAILED\. \)\?\([0-9]*\) passed.*/\2/p' "$log")
	[ "$passed" -gt "$before" ] || fail "host: $name has run no case"
	say "  $name: $((passed - before)) ok"
}

# The tests of the harness and of the set-up mostly wait, so they run beside guests.
start_host() {
	! is_foreign "$ARCH" || return 0
	mkdir -p "$KLP_CACHE/log"
	for t in harness setup; do
		rm -f "$run/host-$t.status"
		(
			rc=0
			"$KLP_TOOLS/$t-test.sh" >"$run/said.host-$t" 2>&1 || rc=$?
			echo "$rc" >"$run/host-$t.status"
		) &
		BESIDE+=$!$'\n'
	done
}
# The output of these.
said_beside() { cat "$run/said.host-$1"; return "$(cat "$run/host-$1.status" 2>/dev/null || echo 1)"; }

end_host() {
	if is_foreign "$ARCH"; then
		say "host: tested with ARCH=x86_64, and the same for all architectures"
		return
	fi
	say "host"
	host_part decisions host_tests
	host_part harness said_beside harness
	host_part setup said_beside setup
	host_part compile-fail compile_fail
	host_part object-code object_code
	host_part check-patch tool_tests "$CHECK_PATCH"
	host_part model tool_tests "$MODEL"
}

# sum_up: print the last lines, however the run ends.
sum_up() {
	local rc=$?
	trap - EXIT
	restarts_say
	[ "$rc" = 0 ] || fail "the run ended early, with status $rc"
	[ "$restarted" -le "${MAX_RESTARTS:-3}" ] || fail "$restarted guests were started again"
	[ "$passed" != 0 ] || [ "$failed" != 0 ] || fail "no case has passed"
	[ "$tried_again" = 0 ] || say "cases tried again: $tried_again"
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] || exit 1
	exit 0
}

main() {
	local suite
	check_options
	need_root
	"$KLP_TOOLS/setup.sh"
	SLOW=1
	GUESTS=${GUESTS:-2}
	if [ "$CONFIG" = rt ]; then
		# Nearly as fast; more switches of tasks.
		SLOW=2
	elif [ "$CONFIG" != default ] && [ "$CONFIG" != coverage ]; then
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
	if [ "$SUITE" = fleet ]; then build=fleet; else hold_build "$ARCH" "$CORE" "$CONFIG"; fi
	run=$KLP_CACHE/run/$build
	mkdir -p "$run"
	lock "run-$build" 6
	restarts_begin "$build"
	trap sum_up EXIT
	say "ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG SUITE=\"$SUITE\""
	[ "$SUITE" = fleet ] || kvm_works "$build" || :
	BESIDE=$'\n'
	case " $SUITE " in *" host "*) start_host;; esac
	for suite in $SUITE; do [ "$suite" = host ] || "start_$suite"; done
	wait
	for suite in $SUITE; do "end_$suite"; done
}
[ -n "${KLP_SOURCED:-}" ] || main "$@"
