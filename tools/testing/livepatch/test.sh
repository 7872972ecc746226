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

# int3_oops HEADER RIP BYTE BYTE-IN-<> REST: what a kernel says that dies of an int3.
# "N*BYTE" stands for so many of them.
int3_oops() {
	local code=() b i before=$3
	code=()
	for b in $before "<$4>" $5; do
		case $b in
		*\**) for ((i = 0; i < ${b%\**}; i++)); do code+=("${b#*\*}"); done;;
		*) code+=("$b");;
		esac
	done
	cat <<-EOF
		[   41.870125] livepatch: 'klpr_a': starting patching transition
		[   41.902211] Oops: $1
		[   41.902219] CPU: 1 UID: 0 PID: 412 Comm: klpr_task Tainted: G           O  K     7.3.0 #1 PREEMPTLAZY
		[   41.902224] Tainted: [O]=OOT_MODULE, [K]=LIVEPATCH
		[   41.902226] Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
		[   41.902228] RIP: 0010:$2
		[   41.902233] Code: ${code[*]}
		[   41.902235] RSP: 0018:ffffc9000041fe98 EFLAGS: 00000246
		[   41.902241] Call Trace:
		[   41.902242]  <TASK>
		[   41.902246]  do_syscall_64+0x9a/0x1d0
		[   41.902250]  entry_SYSCALL_64_after_hwframe+0x4b/0x53
		[   41.902252] RIP: 0033:0x7f7d1c1f9b1f
		[   41.902254] Code: 48 89 5c 24 08 <8b> 04 25 18
		[   41.902256]  </TASK>
		[   41.902258] Modules linked in: klpr_a(OK) [last unloaded: klpr_b(OK)]
		[   41.902262] ---[ end trace 0000000000000000 ]---
		[   41.902264] RIP: 0010:$2
		[   41.902266] Code: ${code[*]}
		[   41.902268] Kernel panic - not syncing: Fatal exception in interrupt
	EOF
}

# int3_tests: which int3 stale_int3 takes for QEMU's. Its places are those of the
# kernel that was built.
int3_tests() {
	local known ftrace jump call nothing size console
	known=$(enter python3 /clone/tools/testing/livepatch/text-site.py "/klp/build/$build/vmlinux" \
		"/klp/build/$build/System.map" --examples) || { bad=$((bad + 1)); say "text-site.py finds no places"; return; }
	place() { sed -n "s/^$1|//p" <<<"$known"; }
	ftrace=$(place ftrace) jump=$(place 'jump label') call=$(place 'static call') nothing=$(place nothing) size=$(place size)
	int3() { # WANTED WHAT [CONSOLE]: a console, here or from standard input
		local found=no
		stale_int3 <(if [ $# = 3 ]; then printf '%s\n' "$3"; else cat; fi) "$build" >/dev/null && found=yes
		if [ "$found" = "$1" ]; then
			good=$((good + 1))
		else
			bad=$((bad + 1))
			say "stale_int3 says $found, not $1, of $2"
		fi
	}
	local nop5='41*90 0f' int3='int3: 0000 [#1] SMP' rest='44 00 00 18*90' gone=0xffffffffc0201234
	int3 yes "a function's no-op for ftrace" < <(int3_oops "$int3" "$ftrace" "$nop5" 1f "$rest")
	int3 yes "a function's call of ftrace" < <(int3_oops "$int3" "$ftrace" '41*90 e8' 7b '01 b6 ff 18*90')
	int3 yes "a function's jump" < <(int3_oops "$int3" "$ftrace" '41*90 e9' 7b '01 b6 3e 18*90')
	int3 yes "a jump label's no-op" < <(int3_oops "$int3" "$jump" "$nop5" 1f "$rest")
	int3 yes "a jump label's short no-op" < <(int3_oops "$int3" "$jump" '41*90 66' 90 '21*48')
	int3 yes "a static call" < <(int3_oops "$int3" "$call" '41*90 e8' 7b '01 b6 ff 18*90')
	int3 yes "one with KASAN and a carriage return" < <(int3_oops "$int3 KASAN NOPTI" "$ftrace" "$nop5" 1f "$rest" | sed 's/$/\r/')
	# What is there is an int3.
	int3 no "an int3 that is there" < <(int3_oops "$int3" "$ftrace" '41*90 cc' 1f "$rest")
	int3 no "an int3 between functions" < <(int3_oops "$int3" "$ftrace" '42*cc' cc '21*cc')
	# Places that nothing patches, or of another kernel.
	int3 no "a place that nothing patches" < <(int3_oops "$int3" "$nothing" "$nop5" 1f "$rest")
	int3 no "a function of another size" < <(int3_oops "$int3" "$size" "$nop5" 1f "$rest")
	int3 no "an unknown function" < <(int3_oops "$int3" klp_no_such_function+0x1/0x40 "$nop5" 1f "$rest")
	int3 no "the byte before a function" < <(int3_oops "$int3" "${ftrace%+*}+0x0/${ftrace#*/}" "$nop5" 1f "$rest")
	int3 no "an instruction that nothing puts there" < <(int3_oops "$int3" "$ftrace" '41*90 48' 89 'e5 5d c3 18*90')
	int3 no "ftrace's call where a jump label is" < <(int3_oops "$int3" "$jump" '41*90 e8' 7b '01 b6 ff 18*90')
	# Cases 1 to 3: a task goes on in a module that is gone. Its memory is filled
	# with int3, or is another module's by now.
	int3 no "free memory of modules" < <(int3_oops "$int3" $gone '42*cc' cc '21*cc')
	int3 no "free memory that somebody has taken since" < <(int3_oops "$int3" $gone "$nop5" 1f "$rest")
	int3 no "the end of what is free" < <(int3_oops "$int3" $gone '42*cc' 0f '1f 44 00 00 17*90')
	int3 no "a module's function" < <(int3_oops "$int3" "klpr_new_f+0x1/0x20 [klpr_b]" "$nop5" 1f "$rest")
	int3 no "a module's function of a name the kernel has" < <(int3_oops "$int3" "$ftrace [klpr_b]" "$nop5" 1f "$rest")
	int3 no "a module's padding" < <(int3_oops "$int3" "klpr_new_f+0x1a/0x20 [klpr_b]" '36*90 6*cc' cc '5*cc 16*90')
	int3 no "a trampoline of ftrace's" < <(int3_oops "$int3" "ftrace_trampoline+0x1/0x100 [__builtin__ftrace]" "$nop5" 1f "$rest")
	int3 no "memory that is not mapped any more" < <(int3_oops "$int3" $gone "$nop5" 1f "$rest" |
		sed "s/Code: .*/Code: Unable to access opcode bytes at 0xffffffffc020120a./")
	int3 no "a jump to nowhere" < <(int3_oops "$int3" 0x0 "$nop5" 1f "$rest" |
		sed "s/Code: .*/Code: Unable to access opcode bytes at 0xffffffffffffffd6./")
	# Not the first thing that went wrong, or not alone, or no int3.
	console=$(int3_oops "$int3" "$ftrace" "$nop5" 1f "$rest")
	int3 no "another oops" "${console//int3:/Oops:}"
	int3 no "a second oops" "${console//#1/#2}"
	int3 no "two oopses" "$console"$'\n'"[   42.000000] Oops: Oops: 0010 [#2] SMP"
	int3 no "memory that was found broken before" "[   41.000000] BUG: KASAN: slab-use-after-free in f+0x1/0x2"$'\n'"$console"
	int3 no "a list that was found broken before" "[   41.000000] list_del corruption. prev->next should be a"$'\n'"$console"
	int3 yes "what was announced before" "[   41.000000] KLP-EXPECT: WARNING: .* klp_x"$'\n'"[   41.000000] WARNING: CPU: 0 PID: 1 at klp_x"$'\n'"$console"
	int3 no "bytes that change" "$(sed '/end trace/,$s/0f <1f>/0f <20>/' <<<"$console")"
	int3 no "bytes that are missing" "${console//Code: 90 90/Code: 90}"
	int3 no "no bytes" "$(grep -v Code: <<<"$console")"
	int3 no "a guest that is well" "[   41.870125] livepatch: 'klpr_a': patching complete"
}

# restart_tests: which guests are started again, how often, and what a run says of
# it. The guests are made up: each word is what one does, in turn.
restart_tests() {
	local ftrace run=$KLP_CACHE/run/$build wanted does kvm found
	mkdir -p "$run"
	ftrace=$(enter python3 /clone/tools/testing/livepatch/text-site.py "/klp/build/$build/vmlinux" \
		"/klp/build/$build/System.map" --examples | sed -n 's/^ftrace|//p')
	while IFS='|' read -r wanted kvm does; do
		# shellcheck disable=SC2030,SC2031
		found=$(
			RESTARTS=$run/made-up-restarts
			: >"$RESTARTS"
			GUEST_BOOT_SECONDS=2 SLOW=1 RESTARTS_INT3=1
			kvm_works() { [ "$kvm" = kvm ]; }
			# What a guest does is known by how many consoles are kept.
			guest_boot() {
				local n kept=("$run"/made-up.try*.console)
				n=${#kept[@]}
				[ -e "${kept[0]}" ] || n=0
				read -ra what <<<"$does"
				echo "[    0.000000] Linux version 7.3.0" >"$2"
				case ${what[$n]} in
				hang) sleep 20;;
				die) echo "[    1.000000] Kernel panic - not syncing: VFS" >>"$2"; sleep 4;;
				kunit) echo "[    1.000000] KTAP version 1" >>"$2"; sleep 4;;
				int3) : >"$run/made-up.out"; int3_oops "int3: 0000 [#1] SMP" "$ftrace" "41*90 0f" 1f "44 00 00 18*90" >>"$2";;
				free) : >"$run/made-up.out"; int3_oops "int3: 0000 [#1] SMP" 0xffffffffc0201234 "42*cc" cc "21*cc" >>"$2";;
				ok) : | tee "$run/made-up."{out,log,end};;
				esac
			}
			if guest "$build" made-up 20 true >/dev/null; then printf ok; else printf failed; fi
			restarts_many && printf ' many'
			restarts_say | sed -n 's/^restarted guests: \([0-9]*\) (stale int3), \([0-9]*\) (did not reach user space)$/ \1 \2/p' | tr -d '\n'
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
		ok 0 1 1|tcg|hang ok
		ok 1 0 1|tcg|int3 ok
		ok 1 1 2|tcg|hang int3 ok
		ok many 2 0 2|tcg|int3 int3 ok
		failed many 2 0 2|tcg|int3 int3 int3 ok
		failed 0 1 1|tcg|hang die ok
		failed 0|tcg|free ok
		failed 0|tcg|die ok
		failed 0|tcg|kunit ok
		failed 0|kvm|int3 ok
	EOF
}

# splat_tests: what guest_splats and stale_int3 find, and what they let pass.
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
	int3_tests
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
if restarts_many; then
	# shellcheck disable=SC2031
	fail "$(restarts_count int3) guests were started again for an int3 that QEMU should not have executed; $RESTARTS_INT3 at most are taken for that"
fi
restarts_say
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
