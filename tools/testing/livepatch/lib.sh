# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts beside it: messages, the cache, entering the toolchain root.
# shellcheck shell=bash
set -euo pipefail

KLP_TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KLP_REPO=$(cd "$KLP_TOOLS/../../.." && pwd)
KLP_CACHE=${KLP_CACHE:-$HOME/.cache/klp-rust}
# shellcheck source=versions
. "$KLP_TOOLS/versions"

say()  { printf '%s\n' "$*"; }
note() { printf 'note: %s\n' "$*" >&2; }
# die WHAT [DO]: one plain line, and what to type.
die()  { printf 'error: %s%s\n' "$1" "${2:+; $2}" >&2; exit 1; }

# step TEXT COMMAND...: run a long command into a log, with its time; show the
# end of the log if it fails.
step() {
	local text=$1 log start rc=0; shift
	mkdir -p "$KLP_CACHE/log"
	log=$KLP_CACHE/log/$(printf '%s' "$text" | tr -c 'A-Za-z0-9._\n' '-' | cut -c1-60).log
	start=$SECONDS
	printf '%-58s ' "$text ..."
	( set -euo pipefail; "$@" ) >"$log" 2>&1 </dev/null || rc=$?
	if [ "$rc" = 0 ]; then
		printf 'ok (%d s)\n' $((SECONDS - start))
		return 0
	fi
	printf 'FAILED (%d s)\n' $((SECONDS - start))
	tail -n "${KLP_LOG_LINES:-40}" "$log" | sed 's/^/    /'
	say "    the whole log: $log"
	return "$rc"
}

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root, for a mount name space and chroot" "type: sudo make ${KLP_GOAL:-demo}"
}

# need_disk GB: refuse early rather than leave half a tree.
need_disk() {
	local free
	mkdir -p "$KLP_CACHE" || die "cannot make the cache folder $KLP_CACHE" "set KLP_CACHE=<folder>"
	free=$(df -Pk "$KLP_CACHE" | awk 'NR==2 {print int($4/1048576)}')
	[ "$free" -ge "$1" ] || die "$KLP_CACHE has $free GB free, $1 GB are needed" "free some, or set KLP_CACHE=<folder on a larger disk>"
}

need_tool() {
	command -v "$1" >/dev/null || die "$1 is missing" "type: apt-get install $2"
}

# with_lock NAME COMMAND...: one at a time for all clones that share the cache.
with_lock() {
	local name=$1; shift
	mkdir -p "$KLP_CACHE"
	(
		flock -n 9 || { note "waiting for another run that holds $KLP_CACHE/$name.lock"; flock 9; }
		"$@"
	) 9>"$KLP_CACHE/$name.lock"
}

# The toolchain root is keyed by what goes into it.
root_key() { cat "$KLP_TOOLS/versions" "$KLP_TOOLS/packages" | sed '/^#/d;/^$/d' | sha256sum | cut -c1-12; }
ROOT=$KLP_CACHE/root-$(root_key)

# enter COMMAND...: run in the toolchain root. The cache is /klp there and the
# clone /clone, so that nothing built depends on where a user keeps either.
enter() { enter_root "$ROOT" "$@"; }
enter_root() {
	local root=$1; shift
	local pass=() v
	for v in $(compgen -e); do
		case $v in
		*_proxy|*_PROXY|CARGO_*|PIP_*|KLP_JOBS|TERM) pass+=("$v=${!v}");;
		esac
	done
	mkdir -p "$root/klp" "$root/clone"
	KLP_CACHE=$KLP_CACHE KLP_REPO=$KLP_REPO unshare --mount --propagation private bash -c '
		set -e
		root=$1; shift
		for d in dev sys; do mount --rbind /$d "$root/$d"; done
		mount -t proc proc "$root/proc"
		[ -d "$root/dev/shm" ] && mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || :
		mount --bind "$KLP_CACHE" "$root/klp"
		mount --bind "$KLP_REPO" "$root/clone"
		exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
			PATH=/opt/klp/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
	' enter "$root" "${pass[@]}" "$@"
}

# The base kernel's tree, untouched: Debian's, or the user's own (LINUX=).
if [ -n "${LINUX:-}" ]; then
	BASE=$KLP_CACHE/base-$(printf '%s' "$LINUX" | sha256sum | cut -c1-12)
else
	BASE=$KLP_CACHE/base-$KERNEL_SERIES
fi
