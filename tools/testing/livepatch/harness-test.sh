#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of the harness itself, with made-up output: each rule by which a run fails is
# tested with a fault that breaks it. Part of make test SUITE=host; needs the base kernel's
# tree, and boots nothing. The last line has the counts.
# shellcheck disable=SC2034
KLP_SOURCED=y
. "$(dirname "$0")/test.sh"

good=0 bad=0
need_root
scratch harness-test
tmp=$scratch
# The same in the toolchain root.
in_root=/klp/${tmp#"$KLP_CACHE/"}

# wants WHAT WANTED FOUND
wants() {
	if [ "$2" = "$3" ]; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		say "of $1: \"$3\", not \"$2\""
	fi
}

# The output of a script: passed, failed and skipped cases are counted.
cases_tests() {
	local wanted script plan text
	SKIPS=$tmp/skips
	printf '%s\n' '* c * ^test-x\.sh: b: not in C$' 's390x * * ^test-x\.sh: no such machine$' >"$SKIPS"
	while IFS='|' read -r wanted plan text; do
		printf '%b' "$text" >"$tmp/out"
		wants "the script's \"$text\", plan \"$plan\"" "$wanted" "$(
			ARCH=x86_64 CORE=c CONFIG=default
			read_cases "$tmp/out" test-x.sh "$plan" >"$tmp/said"
			echo "$passed $failed $skipped")"
	done <<-'EOT'
		2 0 0|2|TEST: a ... ok\nTEST: b ... ok\n== test-x.sh: 0\n
		2 0 0||plan 2\nTEST: a ... ok\nTEST: b ... noise\nok\n== test-x.sh: 0\n
		1 1 0||TEST: a ... ok\n== test-x.sh: 0\n
		1 1 0|2|TEST: a ... ok\n== test-x.sh: 0\n
		3 1 0|2|TEST: a ... ok\nTEST: b ... ok\nTEST: c ... ok\n== test-x.sh: 0\n
		0 1 0|0|== test-x.sh: 0\n
		1 1 0|1|TEST: a ... ok\n
		1 1 0|2|TEST: a ... ok\nTEST: b ... not ok\n== test-x.sh: 1\n
		1 1 0|2|TEST: a ... ok\nTEST: b ... \n== test-x.sh: 0\n
		1 1 0|2|TEST: a ... \nTEST: b ... ok\n== test-x.sh: 0\n
		1 1 0|1|TEST: a ... ok\n== test-x.sh: 139\n
		1 1 0|1|TEST: a ... ok\n== test-y.sh: 0\n
		1 0 1|2|TEST: a ... ok\nTEST: b ... SKIP (not in C)\n== test-x.sh: 0\n
		1 1 0|2|TEST: a ... ok\nTEST: b ... SKIP (I am tired)\n== test-x.sh: 0\n
		1 1 0|2|TEST: a ... ok\nTEST: c ... SKIP (not in C)\n== test-x.sh: 0\n
		0 1 0||SKIP: no such machine\n== test-x.sh: 4\n
		0 1 0||== test-x.sh: 4\n
		0 1 0||\n
	EOT
	wants "a case that was tried again" "1 0 0 2" "$(
		ARCH=x86_64 CORE=c CONFIG=default tried_again=0
		printf 'TEST: a ... again\nAGAIN: late\nagain\nAGAIN: late\nok\n== test-x.sh: 0\n' >"$tmp/out"
		read_cases "$tmp/out" test-x.sh 1 >"$tmp/said"
		echo "$passed $failed $skipped $tried_again")"
	wants "a reason of another architecture" "0 0 1" "$(
		ARCH=s390x CORE=rust CONFIG=default
		printf 'SKIP: no such machine\n== test-x.sh: 4\n' >"$tmp/out"
		read_cases "$tmp/out" test-x.sh "" >"$tmp/said"
		echo "$passed $failed $skipped")"
	unset SKIPS
}

# The output of the unit tests.
kunit_tests() {
	local wanted text
	SKIPS=$tmp/skips
	printf '%s\n' '* rust * ^kunit: s\.b: not here$' 's390x rust * ^kunit: s\.a: broken in the base kernel$' >"$SKIPS"
	while IFS='|' read -r wanted text; do
		printf '%b' "$text" | sed 's/^/[    1.000000] /' >"$tmp/log"
		wants "the log's \"$text\"" "$wanted" "$(
			ARCH=x86_64 CORE=rust CONFIG=default
			read_kunit "$tmp/log" >"$tmp/said"
			if [ "$failed" -gt 1 ]; then echo "some"; else echo "$passed $failed $skipped"; fi)"
	done <<-'EOT'
		2 0 0|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b\n# s: pass:2 fail:0 skip:0 total:2\nok 1 s\n
		1 1 0|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    not ok 1 a\n    ok 2 b\nnot ok 1 s\n
		1 0 1|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b # SKIP not here\nok 1 s\n
		1 1 0|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b # SKIP tired\nok 1 s\n
		some|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n
		some|KTAP version 1\n1..2\n    KTAP version 1\n    # Subtest: s\n    1..1\n    ok 1 a\nok 1 s\n
		some|nothing of the kind\n
		some|KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..1\n    ok 1 a # SKIP not here\nok 1 s # SKIP\n
	EOT
	unset SKIPS
}

# bench_py CODE ARGUMENTS...: run Python that uses the benchmark's.
bench_py() {
	enter python3 -B -c 'import sys
sys.path.insert(0, "/clone/tools/testing/livepatch/bench")
import bench
'"$1" "${@:2}"
}

# How the benchmark handles a guest's log, and a missing figure.
bench_tests() {
	local wanted text
	while IFS='|' read -r wanted text; do
		printf '%b' "$text" >"$tmp/log"
		wants "the benchmark's guest: \"$text\"" "$wanted" "$(bench_py '
import pathlib
print(bench.read_log(pathlib.Path(sys.argv[1]), "c", 1)[1])' "$in_root/log")"
	done <<-'EOT'
		None|@result call steady 1 0 7 instructions\n@end 1\n
		1 figures are not in its log|@result call steady 1 0 7 instructions\n@end 2\n
		did not end|@result call steady 1 0 7 instructions\n
		no memory|@fail no memory\n
		its kernel says: 4,1,2,-;WARNING: at f|@log 4,1,2,-;WARNING: at f\n@end 0\n
	EOT
	while IFS='|' read -r wanted text; do
		wants "the bars: $text" "$wanted" "$(bench_py '
have, cases = sys.argv[1:]
pairs = {("call", have, 1, 0, 1): {"c": 50.0, "rust": 2.0, "unit": "x"}}
bars = [(("call", "steady", 1, 0), 20, 20, True), (("load", "total", 1, 0), 20, 20, False)]
print(*bench.judge(pairs, bars, cases))' "${text%% *}" "${text#* }" | tail -n 1)"
	done <<-'EOT'
		1 0 0|steady quick
		0 1 0|other quick
		1 0 0|steady call
		1 1 0|steady call load
		1 1 0|steady 
		0 0 0|other hold
	EOT
}

# A run that dies keeps its counts, and fails.
run_tests() {
	local wanted does
	while IFS='|' read -r wanted does; do
		wants "a run that does \"$does\"" "$wanted" "$(
			(
				set -e
				RESTARTS=$tmp/restarts
				: >"$RESTARTS"
				trap sum_up EXIT
				eval "$does"
			) >"$tmp/said" 2>/dev/null && rc=0 || rc=$?
			echo "$(tail -n 1 "$tmp/said"), $rc")"
	done <<-'EOT'
		2 passed, 0 failed, 0 skipped, 0|pass; pass
		1 passed, 1 failed, 0 skipped, 1|pass; fail x
		2 passed, 1 failed, 0 skipped, 1|pass; pass; exit 3
		1 passed, 1 failed, 0 skipped, 1|pass; die "no more"
		0 passed, 1 failed, 0 skipped, 1|:
		0 passed, 1 failed, 2 skipped, 1|skipped=2
		1 passed, 0 failed, 0 skipped, 0|pass; printf 'x\nx\n' >"$RESTARTS"
		1 passed, 1 failed, 0 skipped, 1|pass; printf 'x\nx\nx\nx\n' >"$RESTARTS"
	EOT
}

# A step has failed if one of its commands fails; where bash would not see that, no step
# is run.
step_tests() {
	local wanted does
	half() { echo a; false; echo b; }
	whole() { echo a; }
	while IFS='|' read -r wanted does; do
		wants "\"$does\"" "$wanted" "$(
			KLP_CACHE=$tmp/cache
			(
				set -e
				eval "$does"
			) >"$tmp/said" 2>&1 &
			wait $! && rc=0 || rc=$?
			echo "$(grep -c 'ok (' "$tmp/said") $(grep -c 'FAILED (' "$tmp/said") $rc")"
	done <<-'EOT'
		1 0 0|step whole "advice" whole
		0 1 1|step half "advice" half
		1 1 1|step whole "advice" whole; step half "advice" half; step whole "advice" whole
		0 0 70|step half "advice" half || true
		0 0 70|if step half "advice" half; then echo; fi
		1 1 0|attempt half half; attempt whole whole
	EOT
}

# Which guests are started again, how often, and what a run reports about it. The guests
# are made up: each word is what the next one does.
restart_tests() {
	local build=harness-test wanted does kvm run
	KLP_CACHE=$tmp/cache
	run=$KLP_CACHE/run/$build
	mkdir -p "$run"
	while IFS='|' read -r wanted kvm does; do
		# shellcheck disable=SC2030,SC2031
		wants "guests: $kvm $does" "$wanted" "$(
			RESTARTS=$run/restarts
			: >"$RESTARTS"
			GUEST_BOOT_SECONDS=3 SLOW=1
			kvm_works() { [ "$kvm" = kvm ]; }
			# The number of consoles that were kept selects what a guest does.
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
				cut) : | tee "$run/made-up."{out,log,end};;
				splat) echo "[    1.000000] WARNING: at f" | tee "$run/made-up."{out,log,end} >/dev/null; echo "$GUEST_ENDS" >>"$2";;
				late) : | tee "$run/made-up."{out,log,end}; printf '%s\n' "$GUEST_ENDS" "WARNING: at f" >>"$2";;
				ok) : | tee "$run/made-up."{out,log,end}; printf '%s\n' "$GUEST_ENDS" "reboot: Power down" >>"$2";;
				esac
			}
			if guest "$build" made-up 20 true >/dev/null; then printf ok; else printf failed; fi
			restarts_say | sed -n 's/^restarted guests: / /p' | tr -d '\n'
			printf ' %s' "$(find "$run" -name 'made-up.try*.console' | wc -l)"
			rm -f "$run/made-up".* "$RESTARTS"
		)"
	done <<-'EOT'
		ok 0|tcg|ok
		ok 1 1|tcg|hang ok
		failed 1 1|tcg|hang die ok
		failed 1 1|tcg|hang hang ok
		failed 1 1|tcg|hang oops ok
		failed 0|tcg|oops ok
		failed 0|tcg|die ok
		failed 0|tcg|kunit ok
		failed 0|kvm|hang ok
		failed 0|tcg|splat ok
		failed 0|tcg|late ok
		failed 0|tcg|cut ok
	EOT
}

# What guest_splats finds, and what it allows.
splat_tests() {
	local trace='Call Trace:\n <TASK>\n f+0x1/0x2\n </TASK>' text wanted
	while IFS='|' read -r wanted text; do
		wants "the log's \"$text\"" "$wanted" \
			"$(guest_splats <(printf '%b\n' "${text//TRACE/$trace}") | grep -c 'BUG:\|WARNING:\|Call Trace:' || :)"
	done <<-'EOT'
		0|all is well
		1|WARNING: at f
		2|BUG: x\nTRACE
		0|KLP-EXPECT: BUG: x\nBUG: x\nTRACE
		1|KLP-EXPECT: BUG: x\nBUG: x\nTRACE\nBUG: y
		1|KLP-EXPECT: Call Trace:\nTRACE\nWARNING: z
		1|KLP-EXPECT: BUG: x\n===== klpr 1 2: next =====\nBUG: x
		1|BUG: x\nKLP-EXPECT: BUG: x
	EOT
}

# Messages of compilers about our files, and about others.
warning_tests() {
	local wanted text
	while IFS='|' read -r wanted text; do
		printf '%b\n' "$text" >"$tmp/log"
		wants "the compiler's \"$text\"" "$wanted" "$(our_warnings "$tmp/log" | sed -n 's/^file: //p' | xargs)"
	done <<-'EOT'
		|  CC      kernel/livepatch/test_params.o
		kernel/livepatch/registry.rs|warning: unused import\n  --> /klp/tree-7.3/kernel/livepatch/registry.rs:12:5\n   |\n12 | use x;\n
		|warning: unused import\n  --> /klp/tree-7.3/rust/kernel/lib.rs:12:5\n   |\n
		kernel/livepatch/exiting.c|../kernel/livepatch/exiting.c:12:3: warning: unused variable [-Wunused]
		|../kernel/livepatch/core.c:12:3: warning: unused variable [-Wunused]
		tools/testing/selftests/livepatch_rust/klpr_task.c|/klp/build/x/selftests/livepatch_rust/klpr_task.c:1:2: warning: y
		tools/testing/selftests/livepatch_rust/test_modules/klpr_worker.c|klpr_worker.o: warning: objtool: klpr_work(): unexpected end of section .text
		|kernel/sched/core.o: warning: objtool: x(): unexpected end of section .text
		kernel/livepatch/registry.rs|error[E0425]: cannot find value\n --> ../kernel/livepatch/registry.rs:1:1\n
	EOT
}

# A configuration that has lost an option is not built.
config_tests() {
	local wanted status later config
	printf '%s\n' '# CONFIG_C is not set' CONFIG_A=y CONFIG_B=m 'CONFIG_D="x"' CONFIG_E=n >"$tmp/fragment"
	while IFS='|' read -r wanted status later config; do
		printf '%b' "$config" >"$tmp/config"
		wants "the configuration $config" "$wanted|$status" "$(
			rc=0
			lost=$(lost_options "$tmp/fragment" "$tmp/config" "$later") || rc=$?
			echo "$(xargs <<<"$lost")|$rc")"
	done <<-'EOT'
		|0||CONFIG_A=y\nCONFIG_B=m\nCONFIG_D="x"\n
		CONFIG_B=m|1||CONFIG_A=y\nCONFIG_B=y\nCONFIG_D="x"\n
		CONFIG_A=y CONFIG_B=m|1||# CONFIG_A is not set\nCONFIG_D="x"\n
		|0|CONFIG_B CONFIG_A|CONFIG_D="x"\n
		CONFIG_A=y|1|CONFIG_B CONFIG|CONFIG_D="x"\n
	EOT
}

# Only a folder that is ours is written to, and removed.
cache_tests() {
	local wanted does
	while IFS='|' read -r wanted does; do
		rm -rf "$tmp/c"
		wants "\"$does\"" "$wanted" "$(
			cd "$tmp"
			(
				KLP_CACHE=$tmp/c
				eval "$does"
			) >/dev/null 2>&1 && rc=0 || rc=$?
			echo "$rc $(find c -mindepth 1 2>/dev/null | LC_ALL=C sort | xargs)")"
	done <<-'EOT'
		0 c/.klp-rust-cache|need_cache
		0 c/.klp-rust-cache|mkdir c; need_cache
		1 c/log c/log/syslog|mkdir -p c/log; touch c/log/syslog; need_cache
		1 c/log c/log/syslog|mkdir -p c/log; touch c/log/syslog; KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh"
		1 c/log c/log/syslog|mkdir -p c/log; touch c/log/syslog; KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh" all
		0 |KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh" all
		0 |need_cache; mkdir -p c/{log,root-x,guest-y,tree-z,build,base-7.3}; touch c/kvm-1; KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh" all
		0 c/.klp-rust-cache c/base-7.3 c/guest-y c/root-x|need_cache; mkdir -p c/{log,root-x,guest-y,tree-z,build,base-7.3}; touch c/kvm-1; KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh"
		1 c/.klp-rust-cache c/lock c/lock/build-x c/root-x|need_cache; mkdir c/root-x; lock build-x 5 -s; KLP_CACHE=$tmp/c "$KLP_TOOLS/clean.sh" all
	EOT
}

# series_patch NUMBER FILE LINE...: a patch of a series, of one hunk at the first line.
series_patch() {
	local n=$1 file=$2 old new; shift 2
	old=$(printf '%s\n' "$@" | grep -c '^[- ]') || :
	new=$(printf '%s\n' "$@" | grep -c '^[+ ]')
	{
		printf 'Date: %s\nSubject: [PATCH %s/3] %s\n---\n' "$RANDOM" "$n" "$file"
		printf 'diff --git a/%s b/%s\n' "$file" "$file"
		if [ "$old" = 0 ]; then
			printf 'new file mode 100644\n--- /dev/null\n+++ b/%s\n@@ -0,0 ' "$file"
		else
			printf -- '--- a/%s\n+++ b/%s\n@@ -1,%s ' "$file" "$file" "$old"
		fi
		printf '+1,%s @@\n' "$new"
		printf '%s\n' "$@"
		printf -- '-- \n2.0\n'
	} >"$tmp/series/from/000$n-x.patch"
}

# The steps of a series: which ones run, on which tree, and how the run ends. The kernel and
# the scripts that build and test it are made up, the tree is made by tree.sh.
series_tests() {
	local cache=$tmp/series wanted does
	mkdir -p "$cache"/{base-$KERNEL_SERIES/kernel/livepatch,from,tools}
	: | tee "$cache/$CACHE_MARK" "$cache/base-$KERNEL_SERIES/.complete" "$cache/from/0000-cover-letter.patch"
	echo one >"$cache/base-$KERNEL_SERIES/file"
	echo 'config LIVEPATCH' >"$cache/base-$KERNEL_SERIES/kernel/livepatch/Kconfig"
	series_patch 1 file '-one' '+two'
	series_patch 2 kernel/livepatch/Kconfig ' config LIVEPATCH' '+config LIVEPATCH_RUST'
	series_patch 3 Documentation/index.rst '+rust'
	cat >"$cache/tools/build.sh" <<-'EOF'
		#!/bin/sh
		echo "$1-$2: $(cat "$KLP_TREE/file")${KLP_LATER:+, before $KLP_LATER}" | tee -a "$KLP_CACHE/built"
		[ "$1 $2" != "$(cat "$KLP_CACHE/fails")" ]
	EOF
	printf '%s\n' '#!/bin/sh' '[ "$SUITE" = upstream ] && exec "$(dirname "$0")/build.sh" "$ARCH" "$CORE"' >"$cache/tools/test.sh"
	printf '%s\n' '#!/bin/sh' "exec '$KLP_TOOLS/tree.sh' \"\$@\"" >"$cache/tools/tree.sh"
	chmod +x "$cache"/tools/*.sh
	ln -s "$KLP_TOOLS"/{series-verify.sh,lib.sh,versions,packages,fleet-requirements.txt,config} "$cache/tools"
	verify_series() {
		rm -f "$cache/built"
		echo none >"$cache/fails"
		unset VERIFY_STEPS VERIFY_ARCHS LINUX KLP_TREE_HELD
		eval "$1"
		export VERIFY_STEPS VERIFY_ARCHS
		KLP_CACHE=$cache KLP_ANY_DISK=y SERIES=$cache/from "$cache/tools/series-verify.sh"
	}
	while IFS='|' read -r wanted does; do
		try verify_series "$does" >"$tmp/said" 2>&1
		# A step that fails shows its log.
		wants "a series: $does" "$wanted" "$(tail -n 1 "$tmp/said"), $status:$(
			cut -d: -f1 "$cache/built" 2>/dev/null | sed 's/^/ /' | tr -d '\n'
			sed -n 's/^    \([^ ]*: .*\)/; shown: \1/p' "$tmp/said" | tr -d '\n')"
	done <<-'EOT'
		0 passed, 1 failed, 2 skipped, 1: x86_64-c; shown: x86_64-c: two, before CONFIG_LIVEPATCH_RUST|VERIFY_STEPS=1 VERIFY_ARCHS=x86_64; echo "x86_64 c" >"$cache/fails"
		1 passed, 0 failed, 2 skipped, 0: x86_64-c|VERIFY_STEPS=1 VERIFY_ARCHS=x86_64
		4 passed, 0 failed, 2 skipped, 0: s390x-c x86_64-rust s390x-rust|VERIFY_STEPS="1 3-3" VERIFY_ARCHS="x86_64 s390x"
		9 passed, 0 failed, 0 skipped, 0: ppc64le-c ppc64le-rust|:
		9 passed, 0 failed, 0 skipped, 0:|:
		9 passed, 0 failed, 0 skipped, 0:|series_patch 3 Documentation/index.rst '+another'
		7 passed, 2 failed, 0 skipped, 1: x86_64-rust s390x-rust ppc64le-rust s390x-rust; shown: s390x-rust: two; shown: s390x-rust: two|series_patch 2 kernel/livepatch/Kconfig ' config LIVEPATCH' '+config LIVEPATCH_RUST' '+bool'; echo "s390x rust" >"$cache/fails"
		0 passed, 3 failed, 0 skipped, 1:|VERIFY_ARCHS=ppc64le; series_patch 1 file '-five' '+two'
		error: VERIFY_STEPS has the unknown 1,2; use numbers and ranges, as in VERIFY_STEPS="1-3 7", 1:|VERIFY_STEPS=1,2
		error: ARCH=vax is unknown; use ARCH=x86_64, s390x or ppc64le, 1:|VERIFY_ARCHS=vax
	EOT
}

# A clone waits as long as another builds from the tree, and then updates it.
tree_tests() {
	local order
	order=$(
		KLP_CACHE=$tmp/tree-cache TREE=$tmp/tree-cache/tree-7.3
		need_cache
		tree_key() { echo "$want"; }
		mkdir -p "$TREE" "$tmp/tools"
		echo one >"$TREE/.klp-key"
		# The part of tree.sh that matters here.
		cat >"$tmp/tools/tree.sh" <<-EOT
			KLP_SOURCED=y; . "$KLP_TOOLS/lib.sh"
			KLP_CACHE=$KLP_CACHE
			change() { echo "changed" >>"$tmp/order"; echo two >"$TREE/.klp-key"; }
			with_lock tree-7.3 change 2>/dev/null
		EOT
		chmod +x "$tmp/tools/tree.sh"
		sed -i '1i #!/usr/bin/env bash' "$tmp/tools/tree.sh"
		KLP_TOOLS=$tmp/tools
		(want=one; hold_tree; echo "first builds" >>"$tmp/order"; sleep 2; echo "first has built" >>"$tmp/order") &
		sleep 0.5
		(want=two; hold_tree; echo "second builds" >>"$tmp/order") &
		wait
		paste -sd, "$tmp/order")
	wants "two clones" "first builds,first has built,changed,second builds" "$order"
}

for part in cases kunit bench run step splat warning config cache series tree restart; do
	was=$good was_bad=$bad
	"${part}_tests"
	say "$part: $((good - was)) passed, $((bad - was_bad)) failed"
done
[ "$bad" = 0 ]
