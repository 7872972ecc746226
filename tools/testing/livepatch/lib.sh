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
	mkdir -p "$KLP_CACHE" 2>/dev/null || die "cannot make the cache folder $KLP_CACHE" "set KLP_CACHE=<folder>"
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
	local lock=$KLP_CACHE/$1.lock; shift
	mkdir -p "$KLP_CACHE"
	(
		flock -n 9 || { note "waiting for another run that holds $lock"; flock 9; }
		"$@"
	) 9>"$lock"
}

# The toolchain root is keyed by what goes into it.
root_key() { cat "$KLP_TOOLS/versions" "$KLP_TOOLS/packages" | sed '/^#/d;/^$/d;/^GUEST_/d' | sha256sum | cut -c1-12; }
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
			CCACHE_DIR=/klp/ccache CCACHE_MAXSIZE=4G PATH=/opt/klp/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
	' enter "$root" "${pass[@]}" "$@"
}

# The base kernel's tree, untouched: Debian's, or the user's own (LINUX=).
if [ -n "${LINUX:-}" ]; then
	BASE=$KLP_CACHE/base-$(printf '%s' "$LINUX" | sha256sum | cut -c1-12)
else
	BASE=$KLP_CACHE/base-$KERNEL_SERIES
fi
TREE=$KLP_CACHE/tree${BASE#"$KLP_CACHE/base"}

# The folders of the repository that mirror those of a kernel tree.
KLP_OVERLAY="arch include kernel rust samples Documentation tools/testing/selftests"

# What each architecture is called: by the kernel, by compilers, by Debian, and
# what QEMU boots.
arch_set() { # ARCH
	case $1 in
	x86_64)  KERNEL_ARCH=x86 TRIPLET=x86_64-linux-gnu DEBIAN_ARCH=amd64 IMAGE=arch/x86/boot/bzImage IMAGE_TARGET=bzImage;;
	s390x)   KERNEL_ARCH=s390 TRIPLET=s390x-linux-gnu DEBIAN_ARCH=s390x IMAGE=arch/s390/boot/bzImage IMAGE_TARGET=bzImage
		QEMU="qemu-system-s390x -M s390-ccw-virtio" VIRTIO_BUS=ccw CONSOLE=ttysclp0;;
	ppc64le) KERNEL_ARCH=powerpc TRIPLET=powerpc64le-linux-gnu DEBIAN_ARCH=ppc64el IMAGE=vmlinux IMAGE_TARGET=vmlinux
		QEMU="qemu-system-ppc64 -M pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off" VIRTIO_BUS=pci CONSOLE=hvc0;;
	# Compiled only.
	arm64)     KERNEL_ARCH=arm64 TRIPLET=aarch64-linux-gnu DEBIAN_ARCH=arm64 IMAGE= IMAGE_TARGET=;;
	loongarch) KERNEL_ARCH=loongarch TRIPLET=loongarch64-linux-gnu DEBIAN_ARCH=loong64 IMAGE= IMAGE_TARGET=;;
	*) die "ARCH=$1 is unknown" "use ARCH=x86_64, s390x or ppc64le";;
	esac
}

# is_foreign ARCH: whether the guest needs a root of its own.
is_foreign() { [ "$1" != x86_64 ]; }

# The guests of other architectures have a root file system of their own.
guest_root() { # ARCH
	printf '%s' "$KLP_CACHE/guest-$1-$( { echo "$GUEST_SUITES"; sed '/^#/d;/^$/d' "$KLP_TOOLS/guest-packages"; cat "$KLP_TOOLS/guest-init.sh"; } | sha256sum | cut -c1-12)"
}

# overlay_files: our files, as paths in a kernel tree.
overlay_files() {
	local d
	for d in $KLP_OVERLAY; do
		[ ! -d "$KLP_REPO/$d" ] || (cd "$KLP_REPO" && find "$d" -type f \( -name '*.c' ! -name '*.mod.c' -o -name '*.[hS]' -o -name '*.rs' \
			-o -name '*.rst' -o -name '*.svg' -o -name '*.sh' -o -name '*.py' -o -name 'K*' -o -name Makefile -o -name config -o -name settings \))
	done
}

# patch_names: the patches, in their order.
patch_names() { sed 's/#.*//;/^[[:space:]]*$/d' "$KLP_REPO/patches/series"; }

# overlay_into BASE FOLDER: put our files, and the files that the patches change
# as they are after it, into FOLDER. BASE is only read.
overlay_into() {
	local base=$1 to=$2 f p
	overlay_files | while IFS= read -r f; do
		mkdir -p "$to/$(dirname "$f")"
		cp "$KLP_REPO/$f" "$to/$f"
	done
	for p in $(patch_names); do
		sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$KLP_REPO/patches/$p"
	done | sort -u | while IFS= read -r f; do
		[ ! -e "$base/$f" ] || [ -e "$to/$f" ] || {
			mkdir -p "$to/$(dirname "$f")"
			cp "$base/$f" "$to/$f"
		}
	done
	need_tool patch patch
	for p in $(patch_names); do
		patch -d "$to" -p1 -F0 -s -f --no-backup-if-mismatch <"$KLP_REPO/patches/$p" >"$to/.patch.log" 2>&1 || {
			sed 's/^/    /' "$to/.patch.log" >&2
			note "patches/$p does not fit the base kernel"
			return 1
		}
	done
	rm -f "$to/.patch.log"
}

TOOLCHAIN=${TOOLCHAIN:-llvm}

# build_name ARCH CORE CONFIG: the name of a build's folder in the cache.
build_name() {
	printf '%s' "$1-$2-$3"
	[ "$TOOLCHAIN" = llvm ] || printf -- '-%s' "$TOOLCHAIN"
	[ "$TREE" = "$KLP_CACHE/tree-$KERNEL_SERIES" ] || printf -- '-%s' "${TREE##*-}"
}

# kmake NAME ARGUMENTS...: run make for a build, in the toolchain root.
kmake() {
	local name=$1 tools=(); shift
	arch_set "${name%%-*}"
	if [ "$TOOLCHAIN" = gcc ]; then
		tools=(CC="ccache gcc")
	else
		tools=(LLVM=-"$LLVM_VERSION" CC="ccache clang-$LLVM_VERSION")
	fi
	enter make ARCH="$KERNEL_ARCH" -C "/klp/$(basename "$TREE")" O="/klp/build/$name" -j"${KLP_JOBS:-$(nproc)}" \
		"${tools[@]}" BINDGEN=/opt/klp/bin/bindgen LIBCLANG_PATH="/usr/lib/llvm-$LLVM_VERSION/lib" \
		KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=klp KBUILD_BUILD_HOST=klp \
		CCACHE_DIR=/klp/ccache "$@"
}

# The tool of `make check-patch`, a crate of its own. What cargo fetches and
# builds is kept in the cache, so that the network is needed once.
CHECK_PATCH=tools/livepatch/check-patch

check_patch_key() {
	(
		root_key
		cd "$KLP_REPO/$CHECK_PATCH"
		find Cargo.toml Cargo.lock src -type f | LC_ALL=C sort | xargs sha256sum
	) | sha256sum | cut -c1-12
}

# check_patch_tool: the path of the tool as it is for this clone.
check_patch_tool() { printf '%s' "$KLP_CACHE/check-patch/klp-check-patch-$(check_patch_key)"; }

# check_patch_cargo ARGUMENTS...: run cargo on the crate, without the network if
# that is possible. The tool is linked statically: it runs outside of the root.
check_patch_cargo() {
	enter CARGO_HOME=/klp/cargo CARGO_TARGET_DIR=/klp/check-patch/target \
		RUSTFLAGS='-C target-feature=+crt-static' \
		KLP_CLANG="clang-$LLVM_VERSION" KLP_LLD="ld.lld-$LLVM_VERSION" KLP_OBJCOPY="llvm-objcopy-$LLVM_VERSION" \
		sh -c '
			set -e
			mkdir -p "$CARGO_HOME"
			for f in config config.toml; do
				[ ! -f "$HOME/.cargo/$f" ] || cp "$HOME/.cargo/$f" "$CARGO_HOME/"
			done
			cd "/clone/$1"; shift
			cargo fetch --quiet --locked --offline 2>/dev/null || cargo fetch --locked
			# Said explicitly, so that macros, which rustc loads, are not linked statically.
			CARGO_BUILD_TARGET=$(rustc -vV | sed -n "s/^host: //p"); export CARGO_BUILD_TARGET
			sub=$1; shift
			exec cargo "$sub" --locked --offline "$@"
		' cargo "$CHECK_PATCH" "$@"
}

# check_options: refuse what we do not know, before anything is done.
check_options() {
	local s
	case ${ARCH:-x86_64} in
	x86_64|s390x|ppc64le) ;;
	*) die "ARCH=$ARCH is unknown" "use ARCH=x86_64, s390x or ppc64le";;
	esac
	case ${CORE:-rust} in rust|c) ;; *) die "CORE=$CORE is unknown" "use CORE=rust or CORE=c";; esac
	case ${CONFIG:-default} in default|debug|kasan|rt|bench) ;; *) die "CONFIG=$CONFIG is unknown" "use CONFIG=default, CONFIG=debug, CONFIG=kasan or CONFIG=rt";; esac
	case $TOOLCHAIN in llvm|gcc) ;; *) die "TOOLCHAIN=$TOOLCHAIN is unknown" "use TOOLCHAIN=llvm or TOOLCHAIN=gcc";; esac
	if is_foreign "${ARCH:-x86_64}"; then
		[ "$TOOLCHAIN" = llvm ] || die "TOOLCHAIN=$TOOLCHAIN is for x86_64" "use TOOLCHAIN=llvm, which builds for all architectures"
		case ${CONFIG:-default} in default|bench) ;; *) die "CONFIG=$CONFIG is for x86_64" "use CONFIG=default";; esac
	fi
	for s in ${SUITE:-}; do
		case $s in upstream|ours|kunit|host) ;; *) die "SUITE has the unknown $s" "use SUITE=\"upstream ours kunit host\", or some of them";; esac
	done
}
