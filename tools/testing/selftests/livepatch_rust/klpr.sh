# SPDX-License-Identifier: GPL-2.0
# Sourced by the tests beside it: loading, waiting, checking.
# shellcheck shell=bash
#
# A case begins with start and ends with ok, which checks what the case leaves
# behind: no patch, no module, and a good patch can still be loaded. Where kobjects
# are released seconds late on purpose, the latter takes longer than most cases,
# and is tried only at the end of a script.

export LC_ALL=C
set -u
MODS=$(cd "$(dirname "${BASH_SOURCE[0]}")/test_modules" && pwd)
LP=/sys/kernel/livepatch
TARGET=/sys/module/klpr_target
FAULT=/sys/kernel/debug/failslab
CASE=
OPTS=()

[ "$(id -u)" = 0 ] || { echo "SKIP: must be run as root"; exit 4; }
[ -d "$LP" ] || { echo "SKIP: this kernel has no livepatch"; exit 4; }

# has_config CONFIG_OPTION: whether it is built in here.
has_config() { zcat /proc/config.gz 2>/dev/null | grep -qx "$1=y"; }

# Whether this kernel has the core in Rust.
has_rust_core() { has_config CONFIG_LIVEPATCH_RUST; }

if has_config CONFIG_DEBUG_KOBJECT_RELEASE; then
	WORKS_AT_END=y
else
	WORKS_AT_END=
fi
trap at_end EXIT

klog() { echo "$1" >/dev/kmsg; }

# plan NUMBER: announce the cases of a script. A script with another number has failed.
# The check that is made only at the end, where it takes long, is one more case.
plan() { echo "plan $(($1 + ${#WORKS_AT_END}))"; }

start() {
	CASE=$1
	MARK="===== klpr $$ $RANDOM: $CASE ====="
	klog "$MARK"
	echo -n "TEST: $CASE ... "
}

# since: the kernel log of this case.
since() { dmesg | sed 's/^\[[ 0-9.]*\] //' | awk -v mark="$MARK" 'found { print } $0 == mark { found = 1 }'; }

fail() {
	echo "not ok"
	echo
	echo "FAILED: $CASE: $*"
	echo "kernel log of the case:"
	since | tail -n 80 | sed 's/^/    /'
	echo "loaded:"
	lsmod | grep klpr | sed 's/^/    /'
	ls "$LP" | sed 's/^/    patch /'
	exit 1
}

# skip_case REASON: this case does not apply here.
skip_case() { echo "SKIP ($1)"; }

# again WHY: report that an attempt of this case did not meet the conditions that it
# needs, and that another one follows. The run counts it in its last lines.
again() { printf 'again\nAGAIN: %s\n' "$1"; }

# expect_splat REGEX: from here on the log may have lines like this, and the
# traces that belong to them.
expect_splat() { klog "KLP-EXPECT: $1"; }

# logged_now REGEX: whether the log of the case has such a line.
logged_now() { since | grep -qE -- "$1"; }
logged() { since | grep -qE -- "$1" || fail "the log has no line: $1"; }
not_logged() { ! since | grep -qE -- "$1" || fail "the log has a line: $1"; }

# pause SECONDS: sleep without another process, which under load takes longer to
# start than most waits are.
exec {SILENT}<> <(:)
pause() { read -rt "$1" -u "$SILENT" || :; }

# wait_until SECONDS COMMAND...
wait_until() {
	local end=$((SECONDS + $1)); shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		pause 0.05
	done
}

# value_is FILE VALUE. The shell reads the file by itself: under load a cat takes
# many times as long.
value_is() { [ "$(<"$1")" = "$2" ]; } 2>/dev/null
# addresses NAME...: parameters of a module with the addresses of functions of the kernel
# that are not exported.
addresses() {
	local name
	for name; do
		awk -v name="$name" '$3 == name { print name "=0x" $1; exit }' /proc/kallsyms
	done
}

gone() { [ ! -e "$1" ]; }

# expect FILE VALUE
expect() { value_is "$1" "$2" || fail "$1 is '$(cat "$1" 2>&1)', not '$2'"; }

target() { insmod "$MODS/klpr_target.ko" "$@" || fail "the target cannot be loaded"; }
no_target() {
	# A reader that was just released may hold a reference for a moment.
	wait_until 20 rmmod klpr_target 2>/dev/null || fail "the target cannot be unloaded"
}

settled() { value_is "$LP/$1/transition" 0; }

# load PATCH [PARAMETERS]: enable a patch and wait for its transition.
load() {
	load_nowait "$@"
	wait_until 60 settled "$1" || fail "the transition of $1 does not end"
}
load_nowait() {
	local patch=$1; shift
	insmod "$MODS/$patch.ko" "$@" || fail "$patch cannot be loaded"
}

# refused ERROR MODULE [PARAMETERS]: loading fails with this error, and leaves
# neither module nor patch.
refused() {
	local error=$1 mod=$2 out; shift 2
	out=$(insmod "$MODS/$mod.ko" "$@" 2>&1) && fail "$mod $* was loaded"
	case $out in
	*": $error") ;;
	*) fail "insmod $mod $* said: $out; expected: $error";;
	esac
	[ ! -e "/sys/module/$mod" ] || fail "$mod is still loaded"
	gone "$LP/$mod" || fail "$LP/$mod is still there"
}

disable() {
	echo 0 >"$LP/$1/enabled" || fail "$1 cannot be disabled"
	wait_until 60 gone "$LP/$1" || fail "the transition of $1 does not end"
}

# unload PATCH: unload the module of a disabled patch.
unload() {
	wait_until 20 gone "$LP/$1" || fail "$1 is still enabled"
	wait_until 20 value_is "/sys/module/$1/refcnt" 0 || fail "$1 is still in use"
	rmmod "$1" || fail "$1 cannot be unloaded"
}

# clean: check that nothing is left.
clean() {
	local left
	left=$(ls "$LP")
	[ -z "$left" ] || fail "patches are left: $left"
	left=$(lsmod | awk '/^klpr_/ { print $1 "(" $3 ")" }')
	[ -z "$left" ] || fail "modules are left: $left"
	grep -v '^#' /sys/kernel/tracing/enabled_functions | grep -q . &&
		fail "functions are left hooked: $(cat /sys/kernel/tracing/enabled_functions)"
	expect /proc/1/patch_state -1
}

# works: check that a good patch can be loaded and does what it is for.
works() {
	target
	expect $TARGET/parameters/one 1
	load klpr_patch_c
	expect $TARGET/parameters/one 301
	disable klpr_patch_c
	expect $TARGET/parameters/one 1
	unload klpr_patch_c
	no_target
}

# cleanup: what a script has to do when it ends, however that is; a script may have
# its own.
cleanup() { :; }

# long_periods: allow tasks of the deadline class to have periods of 900 s until the
# script ends. Tasks that test modules hold until they are released have such periods.
PERIOD=/proc/sys/kernel/sched_deadline_period_max_us
long_periods() {
	PERIOD_WAS=$(cat "$PERIOD")
	cleanup() { echo "$PERIOD_WAS" >"$PERIOD"; }
	echo 1000000000 >"$PERIOD"
}

# at_end: what remains to be done when a script ends.
at_end() {
	local status=$?
	cleanup
	if [ "$status" = 0 ] && [ -n "$WORKS_AT_END" ]; then
		start "load a good patch after all this"
		works
		clean
		echo "ok"
	fi
	exit "$status"
}

ok() {
	clean
	if [ -z "$WORKS_AT_END" ]; then
		works
		clean
	fi
	echo "ok"
	CASE=
}
