#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Tests of setup.sh: if something goes wrong, it fails, and leaves nothing that a later
# run takes for complete; the same command works once the cause is gone. It runs with a
# small mirror on the loopback, with made-up packages. Part of make test SUITE=host; the
# last line has the counts.
. "$(dirname "$0")/lib.sh"

good=0 bad=0
need_root
scratch setup-test
work=$scratch
cleanup() {
	[ -z "${mirror_pid:-}" ] || pkill -P "$mirror_pid" || :
	! mountpoint -q "$work/small" || umount "$work/small"
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# The mirror runs in the toolchain root, which has all that it needs.
mkdir "$work/mirror"
enter python3 -B /clone/tools/testing/livepatch/setup-mirror.py "/klp/${work#"$KLP_CACHE/"}/mirror" \
	/clone/tools/testing/livepatch /bin/busybox >"$work/mirror.log" 2>&1 &
mirror_pid=$!
for _ in $(seq 300); do
	[ ! -e "$work/mirror/changed" ] || break
	kill -0 $mirror_pid 2>/dev/null || { cat "$work/mirror.log"; die "the mirror does not start"; }
	sleep 0.1
done
made_up=$(sed -n 's/^MADE_UP=//p' "$work/mirror/changed")
[ -n "$made_up" ] || { cat "$work/mirror.log"; die "the mirror does not start"; }

# Our tools, with the hashes of the mirror's files.
mkdir -p "$work/repo/tools/testing"
cp -r "$KLP_TOOLS" "$work/repo/tools/testing/"
while IFS="=" read -r name value; do
	sed -i "s/^$name=.*/$name=$value/" "$work/repo/tools/testing/livepatch/versions"
done < <(grep -v MADE_UP "$work/mirror/changed")
setup=$work/repo/tools/testing/livepatch/setup.sh

# Nothing in the environment interferes, for example a proxy.
set_up() { # CACHE [VARIABLE=VALUE...]
	local cache=$1; shift
	env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY -u LINUX -u ARCH -u TOOLCHAIN \
		KLP_CACHE="$cache" KLP_ANY_DISK=y \
		KLP_MIRROR="$made_up/debian" KLP_KEYRING="$work/mirror/gpg.gpg" KLP_VARIANT=extract "$@" \
		"$setup" >"$work/said" 2>&1
}

# whole CACHE: whether all is there and correct.
whole() {
	local root
	root=$(echo "$1"/root-????????????)
	[ -e "$root/.complete" ] && [ -e "$1/base-$KERNEL_SERIES/.complete" ] &&
		[ -x "$root/opt/klp/bin/bindgen" ] && [ -x "$root/opt/klp/venv/bin/vng" ] &&
		[ -f "$1/base-$KERNEL_SERIES/kernel/livepatch/core.c" ] &&
		[ -z "$(find "$1" -maxdepth 1 -name '*.part*')" ]
}

result() { # NAME OK-OR-WHY
	if [ "$2" = ok ]; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		say "$1: $2; it said:"
		sed 's/^/    /' "$work/said"
	fi
}

fault() { printf '%s\n' "$@" >"$work/mirror/faults"; }
no_fault() { : >"$work/mirror/faults"; }

# begin_with [DONE...]: a cache in which these steps are done.
begin_with() {
	rm -rf --one-file-system "$work/cache"
	mkdir "$work/cache"
	[ -z "$1" ] || cp -a "$work/done/$1/." "$work/cache/"
}

# heals NAME BEGINNING FAILS [VARIABLE=VALUE...]: with the current fault, the step FAILS
# fails; without it, the same command works.
heals() {
	local name=$1 begin=$2 fails=$3; shift 3
	begin_with "$begin"
	if set_up "$work/cache" "$@"; then
		result "$name" "it does not fail"
	elif ! grep -q "^$fails.* FAILED" "$work/said"; then
		result "$name" "another step fails"
	elif [ "$fails" != "Base kernel" ] && compgen -G "$work/cache/root-????????????/.complete" >/dev/null; then
		result "$name" "the root is taken for whole"
	elif [ -e "$work/cache/base-$KERNEL_SERIES/.complete" ]; then
		result "$name" "the base kernel is taken for whole"
	else
		no_fault
		if ! set_up "$work/cache"; then
			result "$name" "it fails without the cause, too"
		elif ! whole "$work/cache"; then
			result "$name" "something is missing then"
		else
			result "$name" ok
		fi
	fi
	no_fault
}

# The steps, one by one: a test begins at each.
mkdir "$work/done"
no_fault
packages="Toolchain root: Debian" bindgen="Toolchain root: bindgen" vng="Toolchain root: virtme-ng" source="Base kernel"
for step in bindgen vng source; do
	case $step in
	bindgen) fault "missing /other/bindgen";;
	vng) fault "missing /other/virtme";;
	source) fault "missing linux-source";;
	esac
	begin_with "${was:-}"
	! set_up "$work/cache" || result "stop before $step" "it does not"
	cp -a "$work/cache" "$work/done/$step"
	was=$step
done
no_fault
begin_with source
# Roots of other versions, one of which was used recently.
mkdir "$work/cache/root-000000000000" "$work/cache/root-111111111111"
touch -d '-40 days' "$work/cache/root-000000000000/.used" "$work/cache/root-000000000000"
touch -d '-20 days' "$work/cache/root-111111111111/.used"
touch -d '-40 days' "$work/cache/root-111111111111"
set_up "$work/cache" || :
if [ -e "$work/cache/root-000000000000" ] || ! grep -q 'removing .*root-000000000000, which' "$work/said"; then
	result "an old root" "it is still there, or goes without a notice"
elif [ ! -e "$work/cache/root-111111111111" ]; then
	result "an old root" "one that was used is gone"
else
	result "an old root" ok
fi
rm -rf "$work/cache/root-111111111111"
if whole "$work/cache"; then result "all steps" ok; else result "all steps" "something is missing"; fi

suite=$DEBIAN_SUITE
for list in debian/dists/$suite/ debian/dists/$suite-updates/ debian/dists/$DEBIAN_BACKPORTS/ debian-security/dists/$suite-security/; do
	fault "drop $list.*InRelease"; heals "no $list InRelease" "" "$packages"
	fault "drop $list.*Packages"; heals "no $list Packages" "" "$packages"
done
fault "flip dists/$suite/main"; heals "a list that is damaged" "" "$packages"
fault "expired dists/$DEBIAN_BACKPORTS/InRelease"; heals "a Release file that has expired" "" "$packages"
heals "a keyring without the key" "" "$packages" KLP_KEYRING="$work/mirror/other.gpg"
fault "cut /pool/.*/clang"; heals "a package that is cut off" "" "$packages"
fault "flip /pool/.*/make.deb"; heals "a package that is damaged" "" "$packages"
fault "drop /other/bindgen"; heals "no bindgen" bindgen "$bindgen"
fault "drop /other/virtme"; heals "no virtme-ng" vng "$vng"
fault "flip /other/virtme"; heals "a virtme-ng that is damaged" vng "$vng"
fault "drop dists/$DEBIAN_BACKPORTS/"; heals "no list of the base kernel" source "$source"
fault "cut /linux-source"; heals "a base kernel that is cut off" source "$source"
fault "flip /linux-source"; heals "a base kernel that is damaged" source "$source"

# killed NAME BEGINNING PATH: kill it, with all that it runs, while it waits for PATH.
killed() {
	local name=$1 pid
	begin_with "$2"
	: >"$work/mirror/requests"
	fault "slow $3"
	set -m
	set_up "$work/cache" &
	pid=$!
	set +m
	for _ in $(seq 300); do ! grep -qE "$3" "$work/mirror/requests" || break; sleep 0.1; done
	kill -KILL -- "-$pid" 2>/dev/null || :
	wait "$pid" 2>/dev/null || :
	no_fault
	if ! grep -qE "$3" "$work/mirror/requests"; then
		result "$name" "it was never there"
	elif ! set_up "$work/cache"; then
		result "$name" "it fails afterwards"
	elif whole "$work/cache"; then
		result "$name" ok
	else
		result "$name" "something is missing afterwards"
	fi
}
killed "killed while packages are fetched" "" "/pool/.*/clang"
killed "killed while bindgen is built" bindgen "/other/bindgen"
killed "killed while the base kernel is fetched" source "/linux-source"

# A disk that is full, and then is not.
full() { # NAME KILOBYTES
	rm -rf "$work/small"
	mkdir "$work/small"
	mount -t tmpfs -o "size=${2}k" small "$work/small"
	if set_up "$work/small"; then
		result "$1" "it does not fail"
	elif compgen -G "$work/small/root-????????????/.complete" >/dev/null; then
		result "$1" "the root is taken for whole"
	else
		mount -o remount,size=1G "$work/small"
		if set_up "$work/small" && whole "$work/small"; then result "$1" ok; else result "$1" "it fails with space, too"; fi
	fi
	umount "$work/small"
}
full "a disk that is full at once" 64
full "a disk that is full among the packages" 1500
full "a disk that is full in the root" 3000

# A version that Debian has dropped: the available one is taken, with a notice.
sed -i 's/^KERNEL_PACKAGE=.*/KERNEL_PACKAGE=7.3.1-1/' "$work/repo/tools/testing/livepatch/versions"
begin_with source
if set_up "$work/cache" && whole "$work/cache"; then result "an older base kernel" ok; else result "an older base kernel" "it fails"; fi

say "setup: $good passed, $bad failed"
[ "$bad" = 0 ]
