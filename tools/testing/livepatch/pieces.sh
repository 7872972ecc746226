# SPDX-License-Identifier: GPL-2.0
# Sourced, after lib.sh and guest.sh: what is done COUNT times, CHUNK in each guest, one guest
# after the other. The result of each guest is kept, for the contents of what is tested, so
# that an interrupted run continues where it was. The last line counts guests.
# shellcheck shell=bash
#
# The caller has:
#   one_guest SEED NUMBER   put into $what what a guest has done, with their number first; or
#                           what is wrong, and fail
#   did WHAT...             the same, for people
#   summary                 the report of all guests

# pieces_options: check what all such commands take.
pieces_options() {
	local v
	ARCH=${ARCH:-x86_64} CORE=${CORE:-rust} CONFIG=${CONFIG:-default} SEED=${SEED:-1}
	check_options
	[ "$CONFIG" != bench ] || die "CONFIG=bench is for make bench" "use CONFIG=default"
	for v in COUNT CHUNK SEED; do
		[[ ${!v} =~ ^[1-9][0-9]{0,8}$ ]] || die "$v=${!v} is no number from 1 to 999999999" "use $v=500, for example"
	done
}

# pieces_begin NAME [KEY]: build the kernel, and find the results of earlier guests, with what
# KEY stands for, too: in $state, a line for each, "ok SEED WHAT..." or "failed SEED WHAT".
pieces_begin() {
	NAME=$1
	need_root
	need_tool git git
	"$KLP_TOOLS/setup.sh"
	SLOW=1
	[ "$CONFIG" = default ] || SLOW=4
	[ "$CONFIG" != rt ] || SLOW=2
	! is_foreign "$ARCH" || SLOW=2
	contents=$(contents)
	commit=$(commit | tr -d '\n') || die "$KLP_REPO is no git clone" "clone the repository; what was done is kept for a commit"
	build=$(build_name "$ARCH" "$CORE" "$CONFIG")
	hold_build "$ARCH" "$CORE" "$CONFIG"
	run=$KLP_CACHE/run/$build
	mkdir -p "$KLP_CACHE/$NAME" "$run" "$KLP_REPO/build"
	state=$KLP_CACHE/$NAME/$build-$contents${2:+-$2}-seed-$SEED
	report=$KLP_REPO/build/$NAME-$ARCH-$CONFIG.txt
	[ "$CORE" = rust ] || report=$KLP_REPO/build/$NAME-$ARCH-$CONFIG-$CORE.txt
}

total() { awk -v field="$1" '$1 == "ok" { n += $field } END { print n + 0 }' "$state"; } # FIELD
guests() { grep -c "^$1 " "$state" || :; } # ok|failed

# pieces_summary: the lines that all reports have.
pieces_summary() {
	say "$(guests ok) guests passed, $(guests failed) failed, the first with SEED=$SEED"
	sed -n 's/^failed \([0-9]*\) /failed: SEED=\1: /p' "$state"
	restarts_say
}

# piece SEED SECONDS COMMAND: run a command in a guest. If it does not end well, put that into
# $what, and fail.
piece() {
	guest "$build" "$NAME-$1" "$2" "$3" >"$run/said.$NAME" && return
	what="the guest did not end well, or has something in its kernel log that should not be there"
	return 1
}

# pieces_of: what a report is about.
pieces_of() {
	say "$NAME of $commit (contents $contents), Linux $(cat "$KLP_CACHE/build/$build/include/config/kernel.release"), ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG"
}

# pieces UNIT: run guests until all is done or one fails.
pieces() {
	local unit=$1 left piece seed what past p
	# Ctrl-C does not reach what runs in the background.
	trap 'for p in $(jobs -rp); do pkill -TERM -P "$p" || :; done; say >&2; note "interrupted; make $NAME continues from here"; exit 130' INT TERM
	RESTARTS=$state.restarts
	if [ -e "$state" ] && [ "$(total 3)" -lt "$COUNT" ]; then
		past=$(guests ok)
		say "continuing after $(total 3) $unit of $COUNT; to begin again, remove $state"
	else
		past=0
		: >"$state"
		: >"$RESTARTS"
		rm -f "$run/$NAME"-*
	fi
	say "ARCH=$ARCH CORE=$CORE CONFIG=$CONFIG COUNT=$COUNT CHUNK=$CHUNK SEED=$SEED; what a guest says: $run/$NAME-<SEED>.out"
	while left=$((COUNT - $(total 3))); [ "$left" -gt 0 ]; do
		piece=$((left < CHUNK ? left : CHUNK))
		seed=$((SEED + $(wc -l <"$state")))
		printf '%-58s ' "SEED=$seed: $piece $unit ..."
		if one_guest "$seed" "$piece"; then
			printf 'ok %s %s\n' "$seed" "$what" >>"$state"
			# shellcheck disable=SC2086
			say "ok: $(did $what)"
			cat "$run/said.$NAME"
			summary >"$report"
			continue
		fi
		printf 'failed %s %s\n' "$seed" "$what" >>"$state"
		say "FAILED: $what"
		cat "$run/said.$NAME"
		say "  the end of what it said:"
		{ tail -n 40 "$run/$NAME-$seed.out" 2>/dev/null || echo nothing; } | sed 's/^/    /'
		say "  to repeat this guest: make $NAME SEED=$seed COUNT=$piece, with ARCH, CORE and CONFIG as here"
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
