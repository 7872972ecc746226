# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts beside it: messages, the cache, entering the toolchain root.
# shellcheck shell=bash
set -euo pipefail
# Command substitutions end at the first failure, too.
shopt -s inherit_errexit

KLP_TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KLP_REPO=$(cd "$KLP_TOOLS/../../.." && pwd)
KLP_CACHE=${KLP_CACHE:-$HOME/.cache/klp-rust}
# shellcheck source=versions
. "$KLP_TOOLS/versions"

say()  { printf '%s\n' "$*"; }
note() { printf 'note: %s\n' "$*" >&2; }
# die WHAT [DO]: print one plain line that includes what to do, and exit.
die()  { printf 'error: %s%s\n' "$1" "${2:+; $2}" >&2; exit 1; }

# need_errexit: die where set -e has no effect, as in all that bash tests (||, &&, if,
# while, !) and in what is called from there: a step would continue after one of its
# commands has failed, and succeed.
need_errexit() {
	local ignored
	ignored=$(set -e; trap 'exit 0' EXIT; false; echo ignored)
	[ -z "$ignored" ] || { printf 'error: %s is called where bash ignores set -e\n' "${FUNCNAME[1]}" >&2; exit 70; }
}

# try COMMAND...: run it in a subshell, which ends at the first command that fails. The
# status is in $status.
try() {
	need_errexit
	set +e
	( set -e; "$@" )
	status=$?
	set -e
}

log_name() { printf '%s.log' "$(printf '%s' "$1" | tr -c 'A-Za-z0-9._' '-' | cut -c1-60)"; }

# attempt TEXT COMMAND...: try a long command, with a log, its time, and the end of the
# log if it fails. Its status is in $status.
attempt() {
	local text=$1 log start; shift
	need_errexit
	mkdir -p "$KLP_CACHE/log"
	log=$KLP_CACHE/log/$(log_name "$text")
	start=$SECONDS
	printf '%-58s ' "$text ..."
	try "$@" >"$log" 2>&1 </dev/null
	if [ "$status" = 0 ]; then
		printf 'ok (%d s)\n' $((SECONDS - start))
		return 0
	fi
	printf 'FAILED (%d s)\n' $((SECONDS - start))
	tail -n "${KLP_LOG_LINES:-40}" "$log" | sed 's/^/    /'
	say "    the whole log: $log"
}

# step TEXT ADVICE COMMAND...: attempt a command, and die if it fails.
step() {
	local text=$1 advice=$2; shift 2
	attempt "$text" "$@"
	[ "$status" = 0 ] || die "$text: failed" "$advice"
}

# The file that marks our cache. A folder without it is the user's: nothing is written to
# it, and nothing removed.
CACHE_MARK=.klp-rust-cache

# need_cache: make sure that there is a folder for what is made, marked as ours.
need_cache() {
	[ ! -e "$KLP_CACHE/$CACHE_MARK" ] || return 0
	if [ -d "$KLP_CACHE" ] && [ -n "$(ls -A "$KLP_CACHE")" ]; then
		die "the folder $KLP_CACHE has something in it, and is no cache of ours" "set KLP_CACHE=<a new folder>"
	fi
	mkdir -p "$KLP_CACHE" 2>/dev/null || die "cannot make the cache folder $KLP_CACHE" "set KLP_CACHE=<folder>"
	echo "What the scripts of the livepatch core in Rust have made. make distclean removes all of this folder." \
		>"$KLP_CACHE/$CACHE_MARK" 2>/dev/null || die "cannot write to the cache folder $KLP_CACHE" "set KLP_CACHE=<folder>"
}

# scratch NAME: make a new folder in the cache, $scratch, removed when this shell ends.
scratch() {
	scratch=$KLP_CACHE/tmp/$1-$$
	rm -rf --one-file-system "$scratch"
	mkdir -p "$scratch"
	trap 'rm -rf --one-file-system "$scratch"' EXIT
}

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root, for a mount name space and chroot" "type: sudo make ${KLP_GOAL:-demo}"
	need_cache
}

# need_disk GB: fail early rather than leave half a tree.
need_disk() {
	local free
	[ -z "${KLP_ANY_DISK:-}" ] || return 0
	free=$(df -Pk "$KLP_CACHE" | awk 'NR==2 {print int($4/1048576)}')
	[ "$free" -ge "$1" ] || die "$KLP_CACHE has $free GB free, $1 GB are needed" "free some, or set KLP_CACHE=<folder on a larger disk>"
}

need_tool() {
	command -v "$1" >/dev/null || die "$1 is missing" "type: apt-get install $2"
}

# lock NAME FD [-s]: take a lock of all clones that share the cache, exclusively or (-s)
# shared with others that only read. Closing the file descriptor releases it.
lock() {
	local file=$KLP_CACHE/lock/$1
	mkdir -p "$KLP_CACHE/lock"
	eval "exec $2>>\"\$file\""
	flock -n ${3:+"$3"} "$2" || {
		note "waiting for another run that holds $file"
		flock ${3:+"$3"} "$2"
	}
}

# with_lock NAME COMMAND...: run a command, one at a time.
with_lock() {
	need_errexit
	( lock "$1" 9; shift; "$@" )
}

# The key of the toolchain root: a hash of what it is made of.
root_key() { cat "$KLP_TOOLS/versions" "$KLP_TOOLS/packages" | sed '/^#/d;/^$/d;/^GUEST_/d;/^KERNEL_/d;/^HERD_/d;/^CARGO_/d;/^DRGN_/d;/^NIGHTLY/d' | sha256sum | cut -c1-12; }
ROOT=$KLP_CACHE/root-$(root_key)

# enter COMMAND...: run in the toolchain root. The cache is /klp there and the
# clone /clone, so that no build depends on where a user keeps either. The folder $OBJ is
# /obj: all builds have this one name, so that one can begin as a copy of another.
enter() { enter_root "$ROOT" "$@"; }
enter_root() {
	local root=$1; shift
	local pass=() v
	for v in $(compgen -e); do
		case $v in
		*_proxy|*_PROXY|CARGO_*|PIP_*|RUSTUP_*|KLP_JOBS|TERM) pass+=("$v=${!v}");;
		esac
	done
	mkdir -p "$root/klp" "$root/clone" "$root/obj"
	KLP_CACHE=$KLP_CACHE KLP_REPO=$KLP_REPO OBJ=${OBJ:-} unshare --mount --propagation private bash -c '
		set -e
		root=$1; shift
		for d in dev sys; do mount --rbind /$d "$root/$d"; done
		mount -t proc proc "$root/proc"
		[ -d "$root/dev/shm" ] && mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || :
		mount --bind "$KLP_CACHE" "$root/klp"
		mount --bind "$KLP_REPO" "$root/clone"
		[ -z "$OBJ" ] || mount --bind "$OBJ" "$root/obj"
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
# Where our files are laid over it; or another tree in the cache, of which builds have names
# of their own (KLP_TREE).
TREE=${KLP_TREE:-$KLP_CACHE/tree${BASE#"$KLP_CACHE/base"}}

# kernel_version TREE: as 7.3.4. Not by its own make, which a build may be using.
kernel_version() {
	awk -F' *= *' '
		/^(VERSION|PATCHLEVEL|SUBLEVEL) =/ { v = v (v == "" ? "" : ".") $2 }
		END { print v }
	' "$1/Makefile"
}

# The folders of the repository that mirror those of a kernel tree.
KLP_OVERLAY="arch include kernel rust samples Documentation tools/testing/selftests"

# The names of each architecture for the kernel, compilers and Debian, and what QEMU
# boots.
arch_set() { # ARCH
	case $1 in
	x86_64)  KERNEL_ARCH=x86 TRIPLET=x86_64-linux-gnu DEBIAN_ARCH=amd64 IMAGE=arch/x86/boot/bzImage IMAGE_TARGET=bzImage;;
	s390x)   KERNEL_ARCH=s390 TRIPLET=s390x-linux-gnu DEBIAN_ARCH=s390x IMAGE=arch/s390/boot/bzImage IMAGE_TARGET=bzImage
		QEMU="qemu-system-s390x -M s390-ccw-virtio" VIRTIO_BUS=ccw CONSOLE=ttysclp0;;
	ppc64le) KERNEL_ARCH=powerpc TRIPLET=powerpc64le-linux-gnu DEBIAN_ARCH=ppc64el IMAGE=vmlinux IMAGE_TARGET=vmlinux
		QEMU="qemu-system-ppc64 -M pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off" VIRTIO_BUS=pci CONSOLE=hvc0;;
	# Compiled only.
	arm64)     KERNEL_ARCH=arm64 TRIPLET=aarch64-linux-gnu DEBIAN_ARCH=arm64 IMAGE='' IMAGE_TARGET='';;
	loongarch) KERNEL_ARCH=loongarch TRIPLET=loongarch64-linux-gnu DEBIAN_ARCH=loong64 IMAGE='' IMAGE_TARGET='';;
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
			-o -name '*.rst' -o -name '*.svg' -o -name '*.sh' -o -name '*.py' -o -name 'K*' -o -name Makefile -o -name config -o -name settings -o -name .gitignore \))
	done
}

# patch_names: the patches, in their order.
patch_names() { sed 's/#.*//;/^[[:space:]]*$/d' "$KLP_REPO/patches/series"; }

# copy_changed BASE FOLDER <PATCHES: copy the files of BASE that the patches change, unless
# FOLDER has them.
copy_changed() {
	local base=$1 to=$2 f
	sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' | sort -u | while IFS= read -r f; do
		[ ! -e "$base/$f" ] || [ -e "$to/$f" ] || {
			mkdir -p "$to/$(dirname "$f")"
			cp "$base/$f" "$to/$f"
		}
	done
}

# overlay_into BASE FOLDER: put our files, and the patched versions of the files that the
# patches change, into FOLDER. BASE is only read.
overlay_into() {
	local base=$1 to=$2 f p
	overlay_files | while IFS= read -r f; do
		mkdir -p "$to/$(dirname "$f")"
		cp "$KLP_REPO/$f" "$to/$f"
	done || return 1
	for p in $(patch_names); do cat "$KLP_REPO/patches/$p"; done | copy_changed "$base" "$to"
	need_tool patch patch
	for p in $(patch_names); do
		apply_patch "$p" "$to" || return 1
	done
}

# apply_patch NAME TREE: apply a patch as it is, or, if the base kernel has changed, with
# fuzz, which is reported.
apply_patch() {
	local name=$1 to=$2 said fuzz
	for fuzz in 0 2; do
		# A dry run changes nothing.
		if ! said=$(patch -d "$to" -p1 -F$fuzz -f --dry-run <"$KLP_REPO/patches/$name" 2>&1); then continue; fi
		patch -d "$to" -p1 -F$fuzz -s -f --no-backup-if-mismatch <"$KLP_REPO/patches/$name" >/dev/null 2>&1 || return 1
		[ "$fuzz" = 0 ] || note "patches/$name fits the base kernel only with fuzz: $(grep -c fuzz <<<"$said") hunks"
		return 0
	done
	printf '%s\n' "$said" | sed 's/^/    /' >&2
	note "patches/$name does not fit the base kernel, which is $(kernel_version "$BASE"); $KERNEL_TESTED is what was tested: LINUX=<tree or tarball of it>"
	return 1
}

# tree_key: hashes of what the tree of this clone adds to the base kernel: with the
# documentation, and without it, as nothing is built from that.
tree_key() {
	(
		cd "$KLP_REPO"
		echo "$BASE"
		{ overlay_files; echo patches/series; patch_names | sed 's,^,patches/,'; } | LC_ALL=C sort | xargs -d '\n' sha256sum
	) | {
		sums=$(cat)
		printf '%s ' "$(sha256sum <<<"$sums" | cut -c1-16)"
		grep -v ' Documentation/' <<<"$sums" | sha256sum | cut -c1-16
	}
}

# series_into BASE FOLDER PATCH...: put the files that these patches of a series change into
# FOLDER, as they are after the last one.
series_into() {
	local base=$1 to=$2 p; shift 2
	cat "$@" | copy_changed "$base" "$to"
	for p; do patch -d "$to" -p1 -F0 -s -f --no-backup-if-mismatch <"$p"; done
}

# series_key PATCH...: a hash of what is built of the base kernel with these patches.
series_key() {
	{
		echo "$BASE"
		awk 'FNR == 1 { keep = 0 } /^diff --git / { keep = !/ a\/(Documentation\/|MAINTAINERS)/ } keep' "$@"
	} | sha256sum | cut -c1-16
}

# hold_tree: update the tree to this clone, and lock it against changes as long as the
# caller runs. Scripts that the caller runs take it as it is.
hold_tree() {
	[ -z "${KLP_TREE_HELD:-}" ] || return 0
	while :; do
		lock "${TREE##*/}" 8 -s
		[ "$(cat "$TREE/.klp-key" 2>/dev/null)" != "$(tree_key)" ] || break
		exec 8>&-
		"$KLP_TOOLS/tree.sh"
	done
	export KLP_TREE_HELD=y
}

# The toolchain: llvm; gcc, for C; oldest, with the oldest rustc that the kernel supports.
TOOLCHAIN=${TOOLCHAIN:-llvm}
RUST_OLDEST_ROOT=$KLP_CACHE/rust-$RUST_OLDEST
HERD_ROOT=$KLP_CACHE/herd-$HERD_VERSION
HERD_STEP="herd7 $HERD_VERSION, for litmus tests"
NIGHTLY_ROOT=$KLP_CACHE/$NIGHTLY
NIGHTLY_STEP="Rust $NIGHTLY, with Miri"
# The tools of SUITE=fleet: Ansible and pytest from PyPI, promtool from DEBIAN_SUITE.
FLEET_ROOT=$KLP_CACHE/fleet-$({ root_key; cat "$KLP_TOOLS/fleet-requirements.txt"; } | sha256sum | cut -c1-12)

# The debugger of SUITE=drgn.
DRGN_ROOT=$KLP_CACHE/drgn-$DRGN_VERSION

# build_name ARCH CORE CONFIG: the name of a build's folder in the cache.
build_name() {
	printf '%s' "$1-$2-$3"
	[ "$TOOLCHAIN" = llvm ] || printf -- '-%s' "$TOOLCHAIN"
	[ "$TREE" = "$KLP_CACHE/tree-$KERNEL_SERIES" ] || printf -- '-%s' "${TREE##*-}"
}

# build_key: a hash of what builds are made from. Builds of one kernel have one key,
# whatever was built of it; the base kernel and the toolchain root have their own keys.
build_key() {
	{
		if [ -n "${KLP_TREE_HELD:-}" ]; then cat "$TREE/.klp-key"; else tree_key; fi | cut -d' ' -f2
		root_key
		cat "$KLP_TOOLS"/config/*.config "$KLP_TOOLS"/build.sh "$KLP_TOOLS"/bench/*.[chp]*
	} | sha256sum | cut -c1-16
}

# lost_options FRAGMENT CONFIG LATER: the options of a fragment that a configuration has lost,
# but for LATER ones. Not zero if there are any.
lost_options() {
	awk -v later="$3" '
		BEGIN { n = split(later, names, " "); for (i = 1; i <= n; i++) may[names[i]] }
		NR == FNR { has[$0]; next }
		/^CONFIG_[A-Z0-9_]*=[^n]/ && !($0 in has) && !(substr($0, 1, index($0, "=") - 1) in may) { print; lost = 1 }
		END { exit lost }
	' "$2" "$1"
}

# is_built NAME GOAL: whether this was built from the current sources.
is_built() {
	[ "$(cat "$KLP_CACHE/build/$1/.klp-built-$2" 2>/dev/null)" = "$(build_key)" ]
}

# is_clean NAME GOAL: whether it was, without warnings. A build with warnings can be used,
# and is built again for the next user, so that its warnings are shown until they are gone.
is_clean() {
	[ ! -e "$KLP_CACHE/build/$1/.klp-warned-$2" ] && is_built "$@"
}

# begin_build NAME: a new build begins as a copy of the one that the tests of the Rust core
# run on, if there is one for the architecture and the toolchain: make then builds what
# differs.
begin_build() {
	local name=$1 seed out=$KLP_CACHE/build/$1
	[ ! -e "$out" ] || return 0
	rm -rf "$out.part"
	mkdir -p "$out.part"
	seed=$(build_name "${name%%-*}" rust default)
	if [ -e "$KLP_CACHE/build/$seed/.klp-built-tests" ]; then
		need_disk 6
		step "Copying $seed to $name" "free some space, then run the same command again" copy_build "$seed" "$name"
	fi
	mv "$out.part" "$out"
}

copy_build() { # SEED NAME
	lock "build-$1" 6 -s
	enter rsync -a --exclude=/bench --exclude=/selftests --exclude='/.klp-*' "/klp/build/$1/" "/klp/build/$2.part/"
}

# hold_build ARCH CORE CONFIG: build a kernel, or all that KLP_BENCH asks for, and lock it
# against builds of other clones as long as the caller runs. Its name is in $build.
hold_build() {
	local goal=tests
	[ -z "${KLP_BENCH:-}" ] || goal=bench
	build=$(build_name "$@")
	while :; do
		"$KLP_TOOLS/build.sh" "$@"
		lock "build-$build" 7 -s
		! is_built "$build" "$goal" || return 0
		exec 7>&-
	done
}

# kmake NAME ARGUMENTS...: run make for a build, in the toolchain root.
kmake() {
	local name=$1 tools=(); shift
	arch_set "${name%%-*}"
	case $TOOLCHAIN in
	gcc) tools=(CC="ccache gcc");;
	*) tools=(LLVM=-"$LLVM_VERSION" CC="ccache clang-$LLVM_VERSION");;
	esac
	[ "$TOOLCHAIN" != oldest ] ||
		tools+=(RUSTC="/klp/${RUST_OLDEST_ROOT##*/}/rustc" RUST_LIB_SRC="/klp/${RUST_OLDEST_ROOT##*/}/usr/src/rustc-$RUST_OLDEST/library")
	OBJ=$KLP_CACHE/build/$name enter make ARCH="$KERNEL_ARCH" -C "/klp/$(basename "$TREE")" O=/obj -j"${KLP_JOBS:-$(nproc)}" \
		"${tools[@]}" BINDGEN=/opt/klp/bin/bindgen LIBCLANG_PATH="/usr/lib/llvm-$LLVM_VERSION/lib" \
		KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=klp KBUILD_BUILD_HOST=klp \
		CCACHE_DIR=/klp/ccache "$@"
}

# What a guest runs: the kernel and its tests. A change of anything else, for example the
# documentation, does not make a run start over.
GUEST_PATHS=(arch include kernel patches rust tools/testing/livepatch/config tools/testing/selftests)

# contents: a hash of what is tested, with changes that are not committed.
contents() {
	local path
	cd "$KLP_REPO" || return 1
	git -c safe.directory='*' ls-files -z --cached --others --exclude-standard "${GUEST_PATHS[@]}" |
		while IFS= read -rd '' path; do [ ! -e "$path" ] || sha256sum "$path"; done |
		sha256sum | cut -c1-12
}

# commit: the newest one, and whether there are changes that are not committed.
commit() {
	git -c safe.directory='*' -C "$KLP_REPO" rev-parse --short=12 HEAD || return 1
	[ -z "$(git -c safe.directory='*' -C "$KLP_REPO" status --porcelain)" ] || echo ' with changes'
}

# our_warnings LOG: the warnings and errors of compilers that point at our files, each
# with a line "file: PATH" before it.
our_warnings() {
	overlay_files | awk '
		NR == FNR { if ($0 ~ /\.(rs|c|h|S)$/) ours[$0]; next }
		# path: the part of a path that is in a kernel tree, if the file is ours.
		function path(p) {
			sub(/:.*/, "", p)
			while (p != "") {
				if (p in ours) return p
				if (p ~ /^selftests\// && ("tools/testing/" p) in ours) return "tools/testing/" p
				if (!sub(/^[^\/]*\//, "", p)) return ""
			}
			return ""
		}
		# object: the source of an object file, of which maybe only the name is known.
		function object(p, file) {
			sub(/\.o:$/, "", p)
			for (file in ours) if (file ~ ("(^|/)" p "\\.(c|rs|S)$")) return file
			return ""
		}
		/: warning: objtool: / { file = object($1); if (file != "") { print "file: " file; print } next }
		/^(warning|error)/ { text = $0; keep = 0; next }
		/^ *--> / {
			file = path($2)
			keep = file != ""
			if (keep) { print "file: " file; if (text != "") print text }
			text = ""
		}
		/: (warning|error): / { file = path($1); if (file != "") { print "file: " file; print } next }
		keep { print }
		/^$/ { keep = 0 }
	' - "$1"
}

# own_build NAME FOLDER: where in a build the modules of a user's own folder are built.
own_build() { printf '%s' "$KLP_CACHE/build/$1/own/$(basename "$2")"; }

# build_own NAME FOLDER TARGET...: build them there, from copies of the sources. This starts
# anew each time: another folder of that name may have been there before.
build_own() {
	local name=$1 folder=$2 to; shift 2
	to=$(own_build "$name" "$folder")
	rm -rf --one-file-system "$to"
	mkdir -p "$to"
	(cd "$folder" && tar --exclude='*.o' --exclude='*.ko' --exclude='*.mod*' -cf - -- *) | tar -C "$to" -xf -
	kmake "$name" M="/obj/own/${to##*/}" "$@"
}

# Tools in Rust, each a crate of its own that is not part of a kernel tree: that of
# `make check-patch` and `make sympos`, those of `make model` and `make fuzz`, and klp, for
# administrators.
# What cargo fetches and builds is kept in the cache, so that the network is needed only once.
CHECK_PATCH=tools/livepatch/check-patch
MODEL=tools/livepatch/model
FUZZ=tools/livepatch/fuzz
KLP=tools/livepatch/klp
TOOLS="$CHECK_PATCH $MODEL $FUZZ $KLP"
# Not a tool, but what cargo-fuzz runs.
FUZZ_DECISIONS=tools/livepatch/fuzz-decisions

tool_key() { # CRATE
	(
		root_key
		cd "$KLP_REPO/$1"
		find Cargo.toml Cargo.lock src -type f | LC_ALL=C sort | xargs sha256sum
		# The model has files of the core in it.
		[ "$1" != "$MODEL" ] || sha256sum ../../../kernel/livepatch/*.rs
	) | sha256sum | cut -c1-12
}

# tool_cargo CRATE ARGUMENTS...: run cargo on a crate, without the network if that is
# possible. Tools are linked statically: they run outside of the root.
tool_cargo() {
	enter CARGO_HOME=/klp/cargo CARGO_TARGET_DIR="/klp/${1##*/}/target" \
		RUSTFLAGS='-C target-feature=+crt-static' \
		KLP_CLANG="clang-$LLVM_VERSION" KLP_LLD="ld.lld-$LLVM_VERSION" KLP_OBJCOPY="llvm-objcopy-$LLVM_VERSION" \
		sh -c '
			set -e
			mkdir -p "$CARGO_HOME"
			for f in config config.toml; do
				[ ! -f "$HOME/.cargo/$f" ] || cp "$HOME/.cargo/$f" "$CARGO_HOME/"
			done
			cd "/clone/$1"; shift
			cargo fetch --quiet --locked --offline 2>/dev/null || cargo fetch --quiet --locked
			# Explicit, so that macros, which rustc loads, are not linked statically.
			CARGO_BUILD_TARGET=$(rustc -vV | sed -n "s/^host: //p"); export CARGO_BUILD_TARGET
			sub=$1; shift
			exec cargo "$sub" --locked --offline "$@"
		' cargo "$@"
}

# Programs are named by their folders, as klp-model, but klp, which is just that.
build_tool() { # CRATE
	local program=klp-${1##*/}
	[ "$1" != "$KLP" ] || program=klp
	tool_cargo "$1" build
	cp "$KLP_CACHE/${1##*/}/target/"*/debug/"$program" "$tool.new"
	mv "$tool.new" "$tool"
}

make_tool() { # CRATE
	[ ! -x "$tool" ] || return 0
	mkdir -p "$KLP_CACHE/${1##*/}"
	step "Building ${1##*/}" "check the network, then run the same command again" build_tool "$1"
}

# have_tool CRATE: build a tool if it is missing. Its path is in $tool. A failure has the
# status of the tool's own errors.
have_tool() {
	tool=$KLP_CACHE/${1##*/}/klp-${1##*/}-$(tool_key "$1")
	[ ! -x "$tool" ] || return 0
	need_root
	"$KLP_TOOLS/setup.sh" || exit 2
	with_lock "${1##*/}" make_tool "$1"
}

# klp_deb FOLDER: make a Debian package of klp in this folder of the cache. Its name is in $deb.
klp_deb() {
	local folder=$1
	have_tool "$KLP"
	have_program cargo-deb "$CARGO_DEB_VERSION"
	step "Making a Debian package of klp" "see the lines above" pack_klp "$folder" "$program"
	deb=$(echo "$folder"/klp_*.deb)
}

# need_nightly CASES: have the nightly toolchain; where it cannot be had, skip so many cases.
need_nightly() {
	need_root
	WITH_NIGHTLY=y "$KLP_TOOLS/setup.sh"
	[ ! -e "$NIGHTLY_ROOT/.complete" ] || return 0
	say "skipped: rustup cannot get $NIGHTLY here: $KLP_CACHE/log/$(log_name "$NIGHTLY_STEP")"
	say "0 passed, 0 failed, $1 skipped"
	exit 0
}

# have_program NAME VERSION: build a program of crates.io if it is missing. It is in the folder
# bin of $program.
have_program() {
	program=$KLP_CACHE/$1-$2
	[ -x "$program/bin/$1" ] || with_lock setup step "Building $1 $2" \
		"check the network, then run the same command again" make_program "$1" "$2"
}

make_program() { # NAME VERSION
	enter CARGO_HOME=/klp/cargo cargo install --locked --root "/klp/$1-$2.part" --version "$2" "$1"
	mv "$KLP_CACHE/$1-$2.part" "$KLP_CACHE/$1-$2"
}

pack_klp() { # FOLDER CARGO-DEB
	local stage=$1/klp what in_stage=/klp/${1#"$KLP_CACHE/"}/klp
	rm -rf --one-file-system "$stage"
	mkdir -p "$stage"
	cp -r "$KLP_REPO/$KLP"/{Cargo.toml,Cargo.lock,src,schema} "$stage/"
	mkdir -p "$stage"/deb/{units,scripts}
	cp "$KLP_REPO/$KLP"/*.service "$KLP_REPO"/tools/livepatch/prometheus/*.{service,timer} "$stage/deb/units/"
	cp "$KLP_REPO/Documentation/livepatch/klp.rst" "$stage/deb/"
	cp "$tool" "$stage/deb/klp"
	"$tool" man >"$stage/deb/klp.1"
	for what in bash zsh fish; do "$tool" completions "$what" >"$stage/deb/$what"; done
	enter CARGO_HOME=/klp/cargo CARGO_NET_OFFLINE=true PATH="/klp/${2##*/}/bin:/usr/bin:/bin" SOURCE_DATE_EPOCH=1767225600 \
		cargo deb --manifest-path "$in_stage/Cargo.toml" --no-build --no-strip --locked --output "/klp/${1#"$KLP_CACHE/"}/"
}

# check_options: refuse unknown options, before anything is done.
check_options() {
	local s
	case ${ARCH:-x86_64} in
	x86_64|s390x|ppc64le) ;;
	*) die "ARCH=$ARCH is unknown" "use ARCH=x86_64, s390x or ppc64le";;
	esac
	case ${CORE:-rust} in rust|c) ;; *) die "CORE=$CORE is unknown" "use CORE=rust or CORE=c";; esac
	case ${CONFIG:-default} in default|debug|kasan|rt|btf|server|coverage|bench) ;; *) die "CONFIG=$CONFIG is unknown" "use CONFIG=default, debug, kasan, rt, btf, server or coverage";; esac
	case $TOOLCHAIN in llvm|gcc|oldest) ;; *) die "TOOLCHAIN=$TOOLCHAIN is unknown" "use TOOLCHAIN=llvm, gcc or oldest";; esac
	if is_foreign "${ARCH:-x86_64}"; then
		[ "$TOOLCHAIN" = llvm ] || die "TOOLCHAIN=$TOOLCHAIN is for x86_64" "use TOOLCHAIN=llvm, which builds for all architectures"
		case ${CONFIG:-default} in default|bench) ;; *) die "CONFIG=$CONFIG is for x86_64" "use CONFIG=default";; esac
	fi
	for s in ${SUITE:-}; do
		case $s in upstream|ours|kunit|klp|drgn|replay|fuzz|fleet|host) ;; *) die "SUITE has the unknown $s" "use SUITE=\"upstream ours kunit klp drgn replay fuzz fleet host\", or some of them";; esac
	done
}
