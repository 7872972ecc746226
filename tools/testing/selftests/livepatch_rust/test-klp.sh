#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# klp, the tool for administrators, on a real kernel. KLP_TOOL is its path. Both cores run
# this: where only the core in Rust says something, the test asks for it there.
. "$(dirname "$0")/klpr.sh"
[ -x "${KLP_TOOL:-}" ] || { echo "SKIP: KLP_TOOL is not the path of klp"; exit 4; }
plan 13

WORK=/tmp/klpr-klp
rm -rf "$WORK"
mkdir -p "$WORK"
export KLP_STATE=$WORK/state
A=$MODS/klpr_patch_a.ko B=$MODS/klpr_patch_b.ko C=$MODS/klpr_patch_c.ko

# klp STATUS ARGUMENTS...: run klp, which ends with this status. Its output is in $WORK/out
# and $WORK/err.
klp() {
	local wanted=$1 status=0; shift
	"$KLP_TOOL" "$@" >"$WORK/out" 2>"$WORK/err" </dev/null || status=$?
	[ "$status" = "$wanted" ] || fail "klp $* ended with $status, not $wanted: $(cat "$WORK/out" "$WORK/err")"
}
out() { grep -qE -- "$1" "$WORK/out" || fail "klp has not printed $1, but: $(cat "$WORK/out")"; }
# err REGEX: the last line of stderr.
err() { tail -n 1 "$WORK/err" | grep -qE -- "^klp: .*$1" || fail "klp's error is not $1, but: $(cat "$WORK/err")"; }

# sleeper: a task in the function that klpr_patch_a what=sleep_hard replaces.
sleeper() {
	echo 0 >$TARGET/parameters/release
	cat $TARGET/sleep_hard >/dev/null 2>&1 &
	SLEEPER=$!
	wait_until 10 value_is $TARGET/parameters/sleepers 1 || fail "no task sleeps"
}
release() { echo 1 >$TARGET/parameters/release; wait "$SLEEPER"; }

# left_nothing PATCH
left_nothing() {
	gone "$LP/$1" || fail "the patch $1 is still there"
	gone "/sys/module/$1" || fail "the module $1 is still loaded"
}

start "load, list, status, disable, unload"
target
klp 0 verify "$A"
out 'livepatch +it is a livepatch'
klp 0 load "$A"
out '^klpr_patch_a: enabled after '
expect $LP/klpr_patch_a/transition 0
expect $TARGET/parameters/one 101
klp 0 list
out '^klpr_patch_a +enabled +[0-9]+ +klpr_target$'
klp 0 status klpr_patch_a
out '^  klpr_target \(patched\):$'
if [ -e "$LP/klpr_patch_a/transition_ms" ]; then
	out '^  last transition took: [0-9]'
	out '^    klpr_target_one -> klpr_one$'
fi
klp 0 --json status
out '"name": "klpr_patch_a"'
klp 1 load "$A"
err 'enabled already'
klp 0 disable klpr_patch_a
expect $TARGET/parameters/one 1
klp 0 list
out '^klpr_patch_a +disabled'
klp 0 unload klpr_patch_a
left_nothing klpr_patch_a
klp 0 load "$A"
klp 0 unload klpr_patch_a
left_nothing klpr_patch_a
no_target
ok

start "refuse what is missing, foreign, or damaged"
klp 5 load /no/such/file.ko
err 'No such file'
klp 5 load no_such_patch
klp 5 disable no_such_patch
klp 5 unload no_such_patch
klp 6 load "$MODS/klpr_target.ko"
err 'not a livepatch'
gone /sys/module/klpr_target || fail "a module that is no livepatch was loaded"
head -c 2000 "$A" >"$WORK/klpr_patch_a.ko"
klp 6 load "$WORK/klpr_patch_a.ko"
sed "s/vermagic=$(uname -r)/vermagic=$(uname -r | tr '0-9' '1-90')/" "$A" >"$WORK/klpr_patch_a.ko"
klp 6 load "$WORK/klpr_patch_a.ko"
err 'built for .*; rebuild it'
klp 2 load
left_nothing klpr_patch_a
ok

start "say what the kernel refuses"
target
klp 10 load "$A" pre_patch_ret=-22
err 'Invalid argument \(EINVAL 22\)'
left_nothing klpr_patch_a
no_target
ok

start "refuse an ordinary user"
for command in "load $A" "disable x" "boot" "why"; do
	# shellcheck disable=SC2086
	setpriv --reuid=65534 --regid=65534 --clear-groups "$KLP_TOOL" $command 2>"$WORK/err" && fail "klp $command has done something"
	err 'needs root'
done
setpriv --reuid=65534 --regid=65534 --clear-groups "$KLP_TOOL" list >/dev/null || fail "an ordinary user cannot list patches"
ok

start "leave a transition that does not end, and say why"
target
sleeper
klp 8 load "$A" what=sleep_hard --timeout 2
err "held up by .*cat \($SLEEPER\) in klpr_target_sleep_hard"
expect $LP/klpr_patch_a/transition 1
klp 0 why
out "^task cat \($SLEEPER\)"
out 'It is in klpr_target_sleep_hard, '
out '    klpr_target_sleep_hard\+'
out 'klp reverse klpr_patch_a'
[ ! -e /sys/kernel/debug/livepatch/transition ] || out "^task cat \($SLEEPER\), blocked for [0-9.]+ m?s, checked [0-9]+ times?$"
klp 0 --json why
out '"function": "klpr_target_sleep_hard"'
klp 0 metrics
out '^klp_transition_running\{patch="klpr_patch_a"\} 1$'
out '^klp_tasks_remaining [1-9]'
klp 7 load "$B"
err 'enabling klpr_patch_a'
klp 7 disable klpr_patch_a
klp 8 wait --timeout 0.2
"$KLP_TOOL" watch --interval 0.1 >"$WORK/out" 2>&1 &
WATCH=$!
wait_until 20 test -s "$WORK/out" || fail "watch prints nothing"
kill "$WATCH"
wait "$WATCH"
status=$?
[ "$status" = 130 ] || fail "watch has ended with $status: $(cat "$WORK/out")"
out '^enabling klpr_patch_a.*left: .*klpr_target_sleep_hard'
release
klp 0 wait
klp 0 unload klpr_patch_a
no_target
ok

start "turn back a transition that does not end"
target
sleeper
klp 9 load "$A" what=sleep_hard --timeout 1 --on-timeout=revert
err "klpr_target_sleep_hard; it was turned back, and its module unloaded"
left_nothing klpr_patch_a
release
no_target
ok

start "reverse a transition that another klp waits for"
target
sleeper
"$KLP_TOOL" load "$A" what=sleep_hard >"$WORK/first" 2>&1 &
FIRST=$!
wait_until 20 value_is $LP/klpr_patch_a/transition 1 || fail "no transition"
klp 7 load "$B"
err "klp load $A \(pid $FIRST\) is at work"
klp 0 reverse klpr_patch_a
wait "$FIRST"
[ $? = 1 ] || fail "the first klp has ended otherwise: $(cat "$WORK/first")"
left_nothing klpr_patch_a
release
no_target
ok

start "interrupt a klp that waits"
target
sleeper
# In a shell of its own: a command in the background ignores SIGINT otherwise.
setsid bash -mc "'$KLP_TOOL' load '$A' what=sleep_hard & wait \$!; echo \$? >$WORK/status" >"$WORK/first" 2>&1 &
wait_until 20 value_is $LP/klpr_patch_a/transition 1 || fail "no transition"
pause 0.5
pkill -INT -f "^$KLP_TOOL load" || fail "there is no klp"
wait_until 10 value_is "$WORK/status" 130 || fail "klp has ended with $(cat "$WORK/status"): $(cat "$WORK/first")"
grep -q 'interrupted; enabling klpr_patch_a goes on; to turn it back: klp reverse' "$WORK/first" || fail "it said: $(cat "$WORK/first")"
expect $LP/klpr_patch_a/transition 1
klp 0 reverse klpr_patch_a
klp 0 unload klpr_patch_a
release
no_target
ok

start "force a transition"
target
sleeper
klp 8 load "$A" what=sleep_hard --timeout 1
klp 1 force klpr_patch_a
err 'not forced'
expect $LP/klpr_patch_a/transition 1
klp 0 force klpr_patch_a --yes
grep -q 'the kernel may' "$WORK/err" || fail "klp has not said what forcing means"
expect $LP/klpr_patch_a/transition 0
release
klp 0 unload klpr_patch_a
no_target
ok

start "unload the patches that a new one replaces"
target
klp 0 load "$A"
klp 0 load "$B"
klp 0 load "$C" replace=1
out '^klpr_patch_a: replaced and unloaded$'
out '^klpr_patch_b: replaced and unloaded$'
left_nothing klpr_patch_a
left_nothing klpr_patch_b
expect $TARGET/parameters/one 301
klp 0 unload klpr_patch_c
no_target
ok

start "install, boot, uninstall"
target
klp 0 install "$A"
klp 0 status
out "^installed for $(uname -r): klpr_patch_a$"
klp 0 boot --settle 0.2
out '^klpr_patch_a: loaded$'
expect $TARGET/parameters/one 101
gone "$KLP_STATE/$(uname -r)/booting" || fail "a marker is left"
klp 0 boot
out '^klpr_patch_a: already loaded$'
klp 0 unload klpr_patch_a
klp 0 load klpr_patch_a
klp 0 uninstall klpr_patch_a
klp 5 uninstall klpr_patch_a
klp 0 unload klpr_patch_a
no_target
ok

start "leave out a patch with which the machine went down twice"
target
klp 0 install "$A"
mkdir -p "$KLP_STATE/$(uname -r)/booting"
marker=$KLP_STATE/$(uname -r)/booting/klpr_patch_a
echo "failures=1 boot=another tried=yes" >"$marker"
klp 1 boot
grep -q 'klpr_patch_a IS LEFT OUT' "$WORK/err" || fail "klp has not said so: $(cat "$WORK/err")"
logged 'klp: PATCH klpr_patch_a IS LEFT OUT'
left_nothing klpr_patch_a
klp 0 boot --retry klpr_patch_a --settle 0
gone "$marker" || fail "the marker is left"
klp 0 unload klpr_patch_a
klp 0 uninstall klpr_patch_a
no_target
ok

start "show the history"
if [ -e /sys/kernel/debug/livepatch/history ]; then
	target
	klp 0 load "$A"
	klp 0 unload klpr_patch_a
	klp 0 history
	sed -n 2p "$WORK/out" | grep -q 'klpr_patch_a  *disabling  *completed' || fail "the newest is: $(cat "$WORK/out")"
	no_target
	ok
else
	klp 1 history
	err 'keeps no history'
	ok
fi
rm -rf "$WORK"
