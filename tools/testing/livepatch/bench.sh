#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# The benchmark: build both cores from one tree and one configuration, run the
# same cases on both, and compare. CASES="enable call" runs some of them,
# CASES=quick the short check. BENCH_CONFIG=default takes the kernels of the tests,
# which saves building others where only the bars are checked.
. "$(dirname "$0")/lib.sh"

ARCH=${ARCH:-x86_64} CASES=${CASES:-} BENCH_CONFIG=${BENCH_CONFIG:-bench}
CORE=rust CONFIG=$BENCH_CONFIG check_options
arch_set "$ARCH"
need_root
"$KLP_TOOLS/setup.sh"
run=$KLP_CACHE/run/bench-$ARCH
bench="python3 /clone/tools/testing/livepatch/bench/bench.py"
mkdir -p "$run"
lock "bench-$ARCH" 6
# shellcheck disable=SC2086
plan=$(enter $bench plan "$CASES")
for core in c rust; do
	KLP_BENCH=y hold_build "$ARCH" "$core" "$BENCH_CONFIG"
	# Copies: another clone may build while this runs.
	from=$KLP_CACHE/build/$build
	cp "$from/bench/size" "$run/size-$core"
	cp "$from/$IMAGE" "$run/kernel-$core"
	cp "$from/bench/initramfs" "$run/initramfs-$core"
	exec 7>&-
done

case $ARCH in
x86_64)
	machine="qemu-system-x86_64 -M q35,hpet=off -cpu max,-rdrand,-rdseed,-erms,-fsrm,-fsrs,-fzrm -rtc base=2026-01-01,clock=vm"
	console="ttyS0 tsc=reliable";;
*)
	machine="$QEMU -rtc base=2026-01-01,clock=vm"
	console=$CONSOLE;;
esac

# one_guest NAME CORE CPUS STEPS: a guest that does the same each time. Its time
# is counted in instructions, and it does not see what differs from day to day or
# from machine to machine (the clock, random numbers, addresses).
one_guest() {
	local rc=0 start=$SECONDS
	rm -f "$run/$1.log"
	# shellcheck disable=SC2086
	enter timeout --kill-after=10 "${BENCH_SECONDS:-900}" $machine -accel tcg,thread=single \
		-icount shift=0,sleep=off -smp "$3" -m 3G -seed 1 \
		-nodefaults -display none -no-reboot -serial "file:/klp/run/bench-$ARCH/$1.log" \
		-kernel "/klp/run/bench-$ARCH/kernel-$2" -initrd "/klp/run/bench-$ARCH/initramfs-$2" \
		-append "console=$console quiet loglevel=1 nokaslr norandmaps panic=-1 kunit.enable=0 \"bench=$4\"" \
		</dev/null >"$run/$1.qemu" 2>&1 || rc=$?
	if [ "$rc" = 0 ] && grep -q '@end [0-9]' "$run/$1.log"; then
		say "  $1: $((SECONDS - start)) s"
	else
		say "  $1: FAILED after $((SECONDS - start)) s, status $rc"
		cat "$run/$1.qemu"
		tail -n 20 "$run/$1.log" 2>/dev/null | sed 's/^/    /'
	fi
}

say "$(printf '%s\n' "$plan" | grep -c .) guests, ${GUESTS:-2} at a time"
while read -r name core cpus steps; do
	[ -n "$name" ] || continue
	while [ "$(jobs -rp | wc -l)" -ge "${GUESTS:-2}" ]; do wait -n || :; done
	one_guest "$name" "$core" "$cpus" "$steps" &
done <<<"$plan"
wait
say
bars=$KLP_TOOLS/bench/bars out=bench
if is_foreign "$ARCH"; then bars=$bars-foreign out=bench-$ARCH; fi
cp "$bars" "$run/bars"
if [ "$BENCH_CONFIG" != bench ]; then
	# The kernels of the two cores also differ in the built-in unit tests, and so in
	# what is due when an idle CPU wakes up.
	grep -v '^unpatched  *idle' "$bars" >"$run/bars"
	say "not judged on these kernels: unpatched idle"
fi
# shellcheck disable=SC2086
enter $bench report "/klp/run/bench-$ARCH" "/clone/build/$out" "/klp/run/bench-$ARCH/bars" "$CASES"
