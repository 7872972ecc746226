#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Transitions by the thousand, under load: COUNT of them, CHUNK in each guest, one
# guest after the other. The result of each guest is kept, for the contents of what is
# tested, so that an interrupted run continues where it was. The last line counts guests.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

ARCH=${ARCH:-x86_64} CORE=${CORE:-rust} CONFIG=${CONFIG:-default}
COUNT=${COUNT:-2000} CHUNK=${CHUNK:-500} SEED=${SEED:-1}
check_options
[ "$CONFIG" != bench ] || die "CONFIG=bench is for make bench" "use CONFIG=default"
for v in COUNT CHUNK SEED; do
	[[ ${!v} =~ ^[1-9][0-9]{0,8}$ ]] || die "$v=${!v} is no number from 1 to 999999999" "use $v=500, for example"
done

# The results, a line for each guest: ok SEED TRANSITIONS PATCHES REVERSALS RATE
# SECONDS, or failed SEED WHAT.
total() { awk -v field="$1" '$1 == "ok" { n += $field } END { print n + 0 }' "$state"; } # FIELD
guests() { grep -c "^$1 " "$state" || :; } # ok|failed

# The rate is by the guests' own clocks, without their boots.
summary() {
	local accel=KVM
	kvm_works "$build" || accel="emulated CPUs"
	say "soak of $commit (contents $contents), Linux $(cat "$KLP_CACHE/build/$build/include/config/kernel.release"), ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG"
	say "$(total 3) transitions of $COUNT, $(total 4) patches loaded and unloaded, $(total 5) reversals"
	say "$(awk '$1 == "ok" { n += $3; if ($6 > 0) m += $3 / $6 } END { printf "%d", m ? n / m : 0 }' "$state") transitions per minute, with ${GUEST_CPUS:-2} $accel"
	say "$(guests ok) guests passed, $(guests failed) failed, the first with SEED=$SEED; $(total 7) s with their boots"
	sed -n 's/^failed \([0-9]*\) /failed: SEED=\1: /p' "$state"
	restarts_say
}

# one_guest SEED COUNT: put into $what what it has done; or what is wrong, and fail.
one_guest() {
	local seed=$1 count=$2 start=$SECONDS out=$run/soak-$1.out did rc=0
	guest "$build" "soak-$seed" "$seconds" "export COUNT=$count SEED=$seed
cd selftests/livepatch_rust
./soak.sh; echo \"== soak.sh: \$?\"" >"$run/said.soak" || rc=1
	did=$(sed -n 's/^soak: done: \([0-9]*\) transitions, \([0-9]*\) patches loaded and unloaded, \([0-9]*\) reversals, \([0-9.]*\) transitions per minute$/\1 \2 \3 \4/p' "$out" 2>/dev/null)
	if [ "$rc" != 0 ]; then
		what="the guest did not end well, or has something in its kernel log that should not be there"
	elif ! grep -qx '== soak.sh: 0' "$out"; then
		what="soak.sh has failed"
	elif [ -z "$did" ]; then
		what="soak.sh did not say what it has done"
	elif [ "${did%% *}" -lt "$count" ]; then
		what="soak.sh has done ${did%% *} transitions of $count"
	else
		what="$did $((SECONDS - start))"
		return 0
	fi
	return 1
}

soak() {
	local left chunk seed what past p
	# Ctrl-C does not reach what runs in the background.
	trap 'for p in $(jobs -rp); do pkill -TERM -P "$p" || :; done; say >&2; note "interrupted; make soak continues from here"; exit 130' INT TERM
	RESTARTS=$state.restarts
	if [ -e "$state" ] && [ "$(total 3)" -lt "$COUNT" ]; then
		past=$(guests ok)
		say "continuing after $(total 3) transitions of $COUNT; to begin again, remove $state"
	else
		past=0
		: >"$state"
		: >"$RESTARTS"
		rm -f "$run"/soak-*
	fi
	say "ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG COUNT=$COUNT CHUNK=$CHUNK SEED=$SEED; what a guest says: $run/soak-<SEED>.out"
	while left=$((COUNT - $(total 3))); [ "$left" -gt 0 ]; do
		chunk=$((left < CHUNK ? left : CHUNK))
		seed=$((SEED + $(wc -l <"$state")))
		printf '%-58s ' "SEED=$seed: $chunk transitions ..."
		if one_guest "$seed" "$chunk"; then
			printf 'ok %s %s\n' "$seed" "$what" >>"$state"
			# shellcheck disable=SC2086
			set -- $what
			say "ok ($5 s): $1 transitions, $2 patches, $3 reversals, $4 a minute"
			cat "$run/said.soak"
			summary >"$report"
			continue
		fi
		printf 'failed %s %s\n' "$seed" "$what" >>"$state"
		say "FAILED: $what"
		cat "$run/said.soak"
		say "  the end of what it said:"
		{ tail -n 40 "$run/soak-$seed.out" 2>/dev/null || echo nothing; } | sed 's/^/    /'
		say "  to repeat this guest: make soak SEED=$seed COUNT=$chunk, with ARCH, CORE and CONFIG as here"
		break
	done
	local passed failed skipped=$(((left > 0 ? left + CHUNK - 1 : 0) / CHUNK))
	passed=$(guests ok) failed=$(guests failed)
	[ "$past" = 0 ] || say "$past of the guests that passed were those of an earlier run"
	# The guest that failed was not skipped.
	[ "$left" -le 0 ] || [ "$skipped" = 0 ] || skipped=$((skipped - 1))
	summary >"$report"
	say
	say "in ${report#"$KLP_REPO/"}:"
	cat "$report"
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}

need_root
need_tool git git
"$KLP_TOOLS/setup.sh"
build=$(build_name "$ARCH" "$CORE" "$CONFIG")
SLOW=1
[ "$CONFIG" = default ] || SLOW=4
[ "$CONFIG" != rt ] || SLOW=2
! is_foreign "$ARCH" || SLOW=2
# Several times what a guest takes; after that it is ended.
seconds=${CHUNK_SECONDS:-$(((300 + CHUNK * 4) * SLOW))}
contents=$(contents)
commit=$(commit | tr -d '\n') || die "$KLP_REPO is no git clone" "clone the repository; what was done is kept for a commit"
hold_build "$ARCH" "$CORE" "$CONFIG"
run=$KLP_CACHE/run/$build
mkdir -p "$KLP_CACHE/soak" "$run" "$KLP_REPO/build"
state=$KLP_CACHE/soak/$build-$contents-seed-$SEED
report=$KLP_REPO/build/soak-$ARCH-$CONFIG.txt
[ "$CORE" = rust ] || report=$KLP_REPO/build/soak-$ARCH-$CONFIG-$CORE.txt
with_lock "soak-$build" soak
