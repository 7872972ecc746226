#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make what the builds and guests need, below KLP_CACHE. Each result is checked before it
# is marked as done, and gets its name only then: a step that fails, or is killed, leaves
# nothing that a later run takes for complete. The same command does it again.
#
# For mirrors and tests: KLP_MIRROR is a Debian mirror (its security archive beside
# it, with "-security" at the end), instead of the one in the machine's apt
# configuration; KLP_KEYRING a keyring, instead of the machine's; KLP_ANY_DISK=y does
# not check the free space.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/servers.sh"

again="check the network, then run the same command again; what is done is kept"

mirror() { # LABEL: the machine's own mirror of that archive
	if [ -n "${KLP_MIRROR:-}" ]; then
		case $1 in Debian-Security) echo "$KLP_MIRROR-security";; *) echo "$KLP_MIRROR";; esac
		return
	fi
	apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		awk -F'|' -v l="$1" '$1 == l && !found { print $2; found = 1 }'
}

read_lists() { apt-get -o APT::Update::Error-Mode=any update; }

install_mmdebstrap() {
	apt-get install -y --no-install-recommends mmdebstrap ||
		{ read_lists && apt-get install -y --no-install-recommends mmdebstrap; }
	mmdebstrap --version
}

host_tools() {
	command -v apt-get >/dev/null || die "this is not a Debian machine (no apt-get)" "use Debian 12 or later"
	need_tool unshare util-linux
	need_tool flock util-linux
	if [ -z "$(mirror Debian)" ]; then
		step "Reading the machine's package lists" \
			"check the network and the machine's sources.list, then run the same command again" read_lists
		[ -n "$(mirror Debian)" ] ||
			die "the machine's apt configuration names no Debian mirror" "add one to /etc/apt/sources.list"
	fi
	command -v mmdebstrap >/dev/null || step "Installing mmdebstrap" "$again" install_mmdebstrap
}

# apt_options FILE: how apt reaches the network from here; a list that cannot be fetched
# is an error. A wrong hash or signature is one already.
apt_options() {
	{
		apt-config dump | grep -iE '^Acquire::(https?|ftp)::' || :
		echo 'APT::Update::Error-Mode "any";'
		# Waits longer each time; the second try is made by hand.
		echo 'Acquire::Retries::Delay "false";'
	} >"$1"
}

# sources SUITE...: lines of a sources.list.
sources() {
	local suite signed=''
	[ -z "${KLP_KEYRING:-}" ] || signed="[signed-by=$KLP_KEYRING] "
	for suite in "$@"; do
		case $suite in
		*-security)
			[ -z "$(mirror Debian-Security)" ] || echo "deb $signed$(mirror Debian-Security) $suite main";;
		*)
			echo "deb $signed$(mirror Debian) $suite main";;
		esac
	done
}

# package_list FILE: the packages of a list, in the form of mmdebstrap.
package_list() { sed 's/#.*//' "$KLP_TOOLS/$1" | sed "s,/backports,/$DEBIAN_BACKPORTS,g" | xargs | tr ' ' ,; }

# in_own_mounts COMMAND...: none of its mounts outlives it, however it ends. Of our locks
# it keeps only that of the set-up, as long as any of its processes lives: apt passes
# numbers of file descriptors to its helpers, of which dash knows those up to 9.
in_own_mounts() { unshare --mount --propagation private --kill-child --fork "$@" 4>&- 5>&- 6>&- 7>&- 8>&-; }

# bootstrap SUITES PACKAGES OPTION...: a root, $part, of the first of the suites, with
# packages of all of them.
bootstrap() {
	local suites=$1 list=$2; shift 2
	rm -rf --one-file-system "$part"
	# shellcheck disable=SC2086
	sources $suites >"$part.list"
	apt_options "$part.apt"
	in_own_mounts mmdebstrap --mode=root --include="$list" --aptopt="$part.apt" "$@" "${suites%% *}" "$part" "$part.list"
	rm -f "$part.list" "$part.apt"
}

# finish PART NAME: mark a result as complete, and give it its name.
finish() {
	: >"$1/.complete"
	mv "$1" "$2"
}

root_host_config() { # ROOT: the host's way to the network
	local f
	mkdir -p "$1/etc/apt/apt.conf.d" "$1/etc/ssl/certs" "$1/root/.cargo"
	for f in /etc/resolv.conf /etc/hosts; do [ ! -f "$f" ] || cp -L "$f" "$1/etc/"; done
	apt_options "$1/etc/apt/apt.conf.d/80host"
	[ ! -f /etc/ssl/certs/ca-certificates.crt ] ||
		cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
	[ ! -f /etc/pip.conf ] || cp -L /etc/pip.conf "$1/etc/pip.conf"
	[ ! -f "$HOME/.config/pip/pip.conf" ] || install -D "$HOME/.config/pip/pip.conf" "$1/root/.config/pip/pip.conf"
	for f in config.toml config; do
		[ ! -f "${CARGO_HOME:-$HOME/.cargo}/$f" ] || cp "${CARGO_HOME:-$HOME/.cargo}/$f" "$1/root/.cargo/$f"
	done
}

# says PATTERN COMMAND...: run a command in the root that is being made, and check the first
# line of its output.
says() {
	local pattern=$1 said; shift
	said=$(enter_root "$part" "$@" 2>&1 | sed -n 1p) || :
	echo "$1: $said"
	# shellcheck disable=SC2254
	case $said in $pattern) ;; *) echo "that is not what was expected: $pattern"; return 1;; esac
}

# The packages are kept until the root is complete: none is fetched twice.
make_packages() {
	local archives=$ROOT.packages
	mkdir -p "$archives/partial"
	bootstrap "$DEBIAN_SUITE $DEBIAN_SUITE-updates $DEBIAN_BACKPORTS $DEBIAN_SUITE-security" "$(package_list packages)" \
		--variant="${KLP_VARIANT:-minbase}" --aptopt='APT::Keep-Downloaded-Packages "true"' \
		--skip=download/empty,essential/unlink,cleanup/apt/cache \
		--setup-hook="mkdir -p \"\$1/var/cache/apt/archives\" && mount --bind \"$archives\" \"\$1/var/cache/apt/archives\"" \
		--customize-hook='umount "$1/var/cache/apt/archives"'
	root_host_config "$part"
}

check_packages() {
	says "rustc *" rustc --version
	says "rustfmt *" rustfmt --version
	says "clippy *" clippy-driver --version
	says "cargo *" cargo --version
	says "*clang version $LLVM_VERSION.*" "clang-$LLVM_VERSION" --version
	says "*LLD $LLVM_VERSION.*" "ld.lld-$LLVM_VERSION" --version
	says "gcc *" gcc --version
	says "GNU Make *" make --version
	says "ccache version *" ccache --version
	says "QEMU emulator version *" qemu-system-x86_64 --version
	says "QEMU emulator version *" qemu-system-s390x --version
	says "QEMU emulator version *" qemu-system-ppc64 --version
	test -e "$part/usr/lib/llvm-$LLVM_VERSION/lib/libclang.so"
}

make_bindgen() { enter_root "$part" cargo install --locked --root /opt/klp --version "$BINDGEN_VERSION" bindgen-cli; }

check_bindgen() {
	says "bindgen $BINDGEN_VERSION" /opt/klp/bin/bindgen --version
	rm -rf "$part/root/.cargo/registry"
}

# wheel ROOT VENV PACKAGE VERSION SHA256: make a Python environment in a root, for a package from
# PyPI with this hash.
wheel() {
	enter_root "$1" sh -c "set -e
		rm -rf $2
		python3 -m venv $2
		mkdir $2/wheel
		$2/bin/pip download --no-cache-dir --no-deps --only-binary :all: -d $2/wheel $3==$4
		cd $2/wheel
		echo \"$5  \$(ls)\" | sha256sum -c -
		$2/bin/pip install --no-cache-dir ./*.whl
		rm -r $2/wheel"
}

make_vng() {
	wheel "$part" /opt/klp/venv virtme-ng "$VIRTME_NG_VERSION" "$VIRTME_NG_SHA256"
	enter_root "$part" ln -sf ../venv/bin/vng ../venv/bin/virtme-run ../venv/bin/virtme-prep-kdir-mods /opt/klp/bin/
}

check_vng() { says "*virtme-ng*$VIRTME_NG_VERSION*" /opt/klp/bin/vng --version; }

# stage NAME TEXT: one of the steps that make the root.
stage() {
	[ ! -e "$part/.$1" ] || return 0
	[ "$1" = packages ] || root_host_config "$part"
	step "$2" "$again" stage_whole "$1"
}

stage_whole() { "make_$1"; "check_$1"; : >"$part/.$1"; }

make_root() {
	local part=$ROOT.part said
	[ ! -e "$ROOT/.complete" ] || return 0
	need_disk 12
	stage packages "Toolchain root: Debian $DEBIAN_SUITE, compilers, QEMU"
	stage bindgen "Toolchain root: bindgen $BINDGEN_VERSION"
	stage vng "Toolchain root: virtme-ng $VIRTME_NG_VERSION"
	said=$(enter_root "$part" rustc --version)
	case $said in
	"rustc $RUST_VERSION "*) ;;
	*) note "Debian has $said now; $RUST_VERSION is what was tested";;
	esac
	finish "$part" "$ROOT"
	rm -rf "$ROOT.packages"
}

# The root file system of a foreign guest. Its packages are unpacked but not configured,
# as programs of that architecture do not run here.
make_guest_root() { # ARCH
	local root part
	root=$(guest_root "$1") part=$root.part
	[ ! -e "$root/.complete" ] || return 0
	step "Guest root: Debian for $1" "$again" extract_guest_root "$1"
	finish "$part" "$root"
}

extract_guest_root() { # ARCH
	local suite
	arch_set "$1"
	for suite in $GUEST_SUITES; do
		try extract_suite "$suite"
		[ "$status" != 0 ] || return 0
		echo "Debian $suite cannot be had whole for $1"
	done
	return 1
}

extract_suite() { # SUITE
	local f
	bootstrap "$1" "base-files,$(package_list guest-packages)" --variant=extract --architectures="$DEBIAN_ARCH" \
		--setup-hook='for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'
	# Do what the packages' scripts would have done.
	install -m 755 "$KLP_TOOLS/guest-init.sh" "$part/usr/sbin/klp-init"
	ln -sf mawk "$part/usr/bin/awk"
	ln -sf bash "$part/usr/bin/sh"
	mkdir -p "$part/klp" "$part/root" "$part/dev" "$part/proc" "$part/sys" "$part/tmp" "$part/run"
	printf 'root:x:0:0:root:/root:/bin/bash\n' >"$part/etc/passwd"
	printf 'root:x:0:\n' >"$part/etc/group"
	for f in bash mawk mount kmod ps grep awk sh; do test -x "$part/usr/bin/$f"; done
}

# fetch_debs FOLDER SUITES PACKAGE...: fetch packages of the host's architecture, by an apt
# that knows only these suites. It checks them against the archive's signature.
fetch_debs() (
	local folder=$1 suites=$2 apt=$1/apt p; shift 2
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# shellcheck disable=SC2086
	sources $suites >"$apt/sources.list"
	apt_options "$apt/apt.conf"
	cat >>"$apt/apt.conf" <<-EOF
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State::Lists "$apt/lists";
		Dir::State::Status "/dev/null";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "root";
	EOF
	# For a Debian that is not released yet, a mirror may have lists older than a week.
	[ "$suites" != "$HERD_SUITE" ] || echo 'Acquire::Check-Valid-Until "false";' >>"$apt/apt.conf"
	export APT_CONFIG=$apt/apt.conf
	apt-get update -q
	cd "$folder"
	# A version may be given by its beginning, as VERSION*: the newest of these is taken.
	for p in "$@"; do
		case $p in
		*=*\*) p=${p%%=*}=$(apt-cache madison "${p%%=*}" | awk -F' *[|] *' -v v="${p#*=}" '
			BEGIN { sub(/[*]$/, "", v) }
			index($2, v) == 1 && !found { print $2; found = 1 }');;
		esac
		apt-get download -q "$p"
	done
)

# The version that was tested, with its hash; if Debian has dropped it, the available one.
fetch_source() { # PART
	local deb
	rm -rf "$1"
	mkdir -p "$1/deb"
	try fetch_debs "$1/deb" "$DEBIAN_BACKPORTS" "linux-source-$KERNEL_SERIES=$KERNEL_PACKAGE"
	if [ "$status" = 0 ]; then
		deb=$(echo "$1"/deb/*.deb)
		echo "$KERNEL_SHA256  $deb" | sha256sum -c -
	else
		fetch_debs "$1/deb" "$DEBIAN_BACKPORTS" "linux-source-$KERNEL_SERIES"
		deb=$(echo "$1"/deb/*.deb)
		echo "note: Debian has no linux-source-$KERNEL_SERIES $KERNEL_PACKAGE any more, but ${deb##*/}"
	fi
	dpkg-deb --fsys-tarfile "$deb" >"$1/deb/data.tar"
	enter bash -c "set -eo pipefail; cd '/klp/${1##*/}'
		tar xf deb/data.tar -C deb ./usr/src/linux-source-$KERNEL_SERIES.tar.xz
		xz -dc deb/usr/src/linux-source-$KERNEL_SERIES.tar.xz | tar x --strip-components=1"
	rm -rf "$1/deb"
	check_source "$1"
}

unpack_linux() { # TREE-OR-TARBALL PART: the user's own
	rm -rf "$2"
	mkdir -p "$2"
	if [ -d "$1" ]; then cp -a "$1/." "$2/"; else tar xf "$1" -C "$2" --strip-components=1; fi
	check_source "$2"
}

check_source() { # TREE
	local v
	v=$(kernel_version "$1")
	echo "a kernel tree: $v"
	[ -f "$1/kernel/livepatch/core.c" ]
	case $v in "$KERNEL_SERIES" | "$KERNEL_SERIES".*) ;; *) echo "that is not $KERNEL_SERIES"; return 1;; esac
}

make_source() {
	local v
	if [ ! -e "$BASE/.complete" ]; then
		need_disk 8
		if [ -n "${LINUX:-}" ]; then
			[ -e "$LINUX" ] || die "LINUX=$LINUX does not exist" "give a $KERNEL_SERIES kernel tree or tarball"
			step "Base kernel: from $LINUX" "give a $KERNEL_SERIES kernel tree with livepatch, or a tarball of one" \
				unpack_linux "$LINUX" "$BASE.part"
		else
			step "Base kernel: linux-source-$KERNEL_SERIES" \
				"check the network; if Debian has it no more, give your own with LINUX=<$KERNEL_SERIES tree or tarball>" \
				fetch_source "$BASE.part"
		fi
		finish "$BASE.part" "$BASE"
	fi
	v=$(kernel_version "$BASE")
	[ "$v" = "$KERNEL_TESTED" ] || note "the base kernel is $v; $KERNEL_TESTED is what was tested"
}

# The oldest rustc, with the libraries that it needs: unpacked beside the root, which has
# another rustc.
make_oldest() {
	[ ! -e "$RUST_OLDEST_ROOT/.complete" ] || return 0
	step "rustc $RUST_OLDEST, the oldest for this kernel" "$again" unpack_oldest "$RUST_OLDEST_ROOT.part"
	finish "$RUST_OLDEST_ROOT.part" "$RUST_OLDEST_ROOT"
}

# unpack_debs PART: the packages that were fetched for it.
unpack_debs() {
	local deb
	for deb in "$1"/deb/*.deb; do dpkg-deb -x "$deb" "$1"; done
	rm -rf "$1/deb"
}

unpack_oldest() { # PART
	local part=$1 said llvm series=${RUST_OLDEST%.*}
	rm -rf "$part"
	mkdir -p "$part/deb"
	fetch_debs "$part/deb" "$DEBIAN_SUITE" "rustc=$RUST_OLDEST*" "libstd-rust-dev=$RUST_OLDEST*" \
		"rust-src=$RUST_OLDEST*" "libstd-rust-$series=$RUST_OLDEST*"
	llvm=$(dpkg-deb -f "$part"/deb/libstd-rust-"$series"_*.deb Depends | grep -o 'libllvm[0-9]*' | head -n 1)
	fetch_debs "$part/deb" "$DEBIAN_SUITE" "$llvm"
	unpack_debs "$part"
	# Its final place, and its place while it is being made.
	cat >"$part/rustc" <<-EOF
		#!/bin/sh
		here=\$(dirname "\$0")
		LD_LIBRARY_PATH=\$here/usr/lib/x86_64-linux-gnu exec "\$here/usr/bin/rustc" "\$@"
	EOF
	chmod +x "$part/rustc"
	test -e "$part/usr/src/rustc-$RUST_OLDEST/library/core/src/lib.rs"
	said=$(enter "/klp/${part##*/}/rustc" --version)
	echo "$said"
	case $said in "rustc $RUST_OLDEST "*) ;; *) return 1;; esac
}

# herd7 with the libraries that it needs, as above. Where it is not available, its users
# do without.
make_herd() {
	[ ! -e "$HERD_ROOT/.complete" ] || return 0
	attempt "$HERD_STEP" unpack_herd "$HERD_ROOT.part"
	[ "$status" != 0 ] || finish "$HERD_ROOT.part" "$HERD_ROOT"
}

unpack_herd() { # PART
	local part=$1 said
	rm -rf "$part"
	mkdir -p "$part/deb"
	fetch_debs "$part/deb" "$HERD_SUITE" "herdtools7=$HERD_VERSION*" libc6 libgmp10
	unpack_debs "$part"
	cat >"$part/herd7" <<-EOF
		#!/bin/sh
		here=\$(dirname "\$0")
		lib=\$here/usr/lib/x86_64-linux-gnu
		exec "\$lib/ld-linux-x86-64.so.2" --library-path "\$lib" "\$here/usr/bin/herd7" "\$@"
	EOF
	chmod +x "$part/herd7"
	said=$(enter "/klp/${part##*/}/herd7" -version)
	echo "$said"
	case $said in "$HERD_VERSION,"*) ;; *) return 1;; esac
}

# A nightly toolchain with Miri, and the sources of the standard library, which Miri compiles
# for itself. Where rustup gets no toolchain, its users do without. It works under
# its own name only.
make_nightly() {
	[ ! -e "$NIGHTLY_ROOT/.complete" ] || return 0
	attempt "$NIGHTLY_STEP" install_nightly "$NIGHTLY_ROOT"
	[ "$status" != 0 ] || : >"$NIGHTLY_ROOT/.complete"
}

install_nightly() { # FOLDER
	local folder=$1 in_root=/klp/${1##*/} part=$ROOT bin
	rm -rf --one-file-system "$folder"
	mkdir -p "$folder/deb"
	fetch_debs "$folder/deb" "$DEBIAN_SUITE" rustup
	unpack_debs "$folder"
	root_host_config "$ROOT"
	enter RUSTUP_HOME="$in_root/rustup" CARGO_HOME="$in_root/cargo" "$in_root/usr/bin/rustup" toolchain install \
		"$NIGHTLY" --profile minimal --component miri --component rust-src --no-self-update
	bin=$(echo "$folder"/rustup/toolchains/*/bin)
	ln -s "${bin#"$folder/"}" "$folder/bin"
	says "rustc *-nightly *" "$in_root/bin/miri" --version
}

# The tools of SUITE=fleet: a Python environment for the root's Python, and promtool beside
# it. An environment works under its own name only, so it is made in its final place.
make_fleet() {
	[ ! -e "$FLEET_ROOT/.complete" ] || return 0
	step "Tools for fleets: Ansible, pytest, promtool" "$again" unpack_fleet
	: >"$FLEET_ROOT/.complete"
}

unpack_fleet() {
	local here=/klp/${FLEET_ROOT##*/} said
	rm -rf "$FLEET_ROOT"
	mkdir -p "$FLEET_ROOT/deb"
	fetch_debs "$FLEET_ROOT/deb" "$DEBIAN_SUITE" promtool
	unpack_debs "$FLEET_ROOT"
	root_host_config "$ROOT"
	enter sh -c "python3 -m venv $here/venv && $here/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
		-r /clone/tools/testing/livepatch/fleet-requirements.txt"
	prime_sanity
	enter sh -c "PATH=$here/venv/bin:$here/usr/bin:\$PATH
		promtool --version; ansible --version; ansible-lint --offline --nocolor --version; pytest --version" \
		>"$FLEET_ROOT/versions" 2>&1
	cat "$FLEET_ROOT/versions"
	for said in "promtool, version " "ansible [[]core " "ansible-lint " "pytest "; do
		grep -q "^$said" "$FLEET_ROOT/versions"
	done
}

# ansible-test makes an environment for each of its tests, and fetches a program for that
# which installs pip; Python can do that by itself.
prime_sanity() {
	local cache=$FLEET_ROOT/home/.ansible/test/cache pip
	pip=$(sed -n "s/^ *pip='\([0-9.]*\)',$/\1/p" "$FLEET_ROOT"/venv/lib/python3*/site-packages/ansible_test/_internal/python_requirements.py)
	mkdir -p "$cache"
	cat >"$cache/get_pip_${pip//./_}.py" <<-'EOF'
		import subprocess, sys
		subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
		options = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
		subprocess.check_call([sys.executable, "-m", "pip", "install"] + options)
	EOF
	enter bash /clone/tools/testing/livepatch/fleet-test.sh "/klp/${FLEET_ROOT##*/}" none prime
}

make_drgn() {
	[ ! -e "$DRGN_ROOT/.complete" ] || return 0
	step "drgn $DRGN_VERSION, the debugger" "$again" install_drgn "/klp/${DRGN_ROOT##*/}"
	: >"$DRGN_ROOT/.complete"
}

install_drgn() { # FOLDER
	local part=$ROOT
	root_host_config "$ROOT"
	wheel "$ROOT" "$1" drgn "$DRGN_VERSION" "$DRGN_SHA256"
	says "drgn $DRGN_VERSION *" "$1/bin/drgn" --version
}

# The servers' root file system, as a folder and as a disk. What it is made of is configured
# by Debian's own scripts, as on any server.
make_server() {
	[ ! -e "$SERVER/.complete" ] || return 0
	need_disk 6
	step "Servers: Debian $DEBIAN_SUITE with systemd, PostgreSQL, nginx, podman" "$again" install_server "$SERVER.part"
	finish "$SERVER.part" "$SERVER"
}

install_server() {
	local whole=$1 part=$1/root
	rm -rf --one-file-system "$whole"
	mkdir -p "$whole"
	bootstrap "$DEBIAN_SUITE $DEBIAN_SUITE-updates $DEBIAN_SUITE-security" "$(package_list server-packages)" --variant=minbase
	mkdir -p "$part/klp" "$part/clone" "$part/obj"
	install -m 755 "$KLP_TOOLS/server-setup.sh" "$part/root/setup.sh"
	enter_root "$part" /root/setup.sh
	rm "$part/root/setup.sh"
	# The image grows as it is written to.
	enter_root "$part" mke2fs -q -t ext4 -L root -d "/klp/${part#"$KLP_CACHE/"}" "/klp/${whole##*/}/disk" 5G
	says "Python 3.*" python3 --version
	says "prometheus, version *" prometheus --version
	says "podman version *" podman --version
}

# Remove what other clones or earlier versions have made, and none has used for a month.
prune() {
	local old
	for old in "$ROOT" "$BASE" "$TREE" "$FLEET_ROOT" "$SERVER" "$DRGN_ROOT" "$NIGHTLY_ROOT" "$(guest_root "${ARCH:-x86_64}")"; do
		[ ! -d "$old" ] || : >"$old/.used"
	done
	for old in "$KLP_CACHE"/{root,guest,base,tree,fleet,server,drgn,nightly}-*; do
		[ -d "$old" ] || continue
		[ -z "$(find "$old/.used" "$old/.complete" "$old" -maxdepth 0 -mtime -30 2>/dev/null)" ] || continue
		# Renamed first, so that no clone uses it while it is being removed.
		note "removing $old, which nothing has used for a month"
		mv "$old" "$KLP_CACHE/old.part"
		rm -rf --one-file-system "$KLP_CACHE/old.part"
	done
}

main() {
	need_root
	host_tools
	with_lock setup make_root
	if is_foreign "${ARCH:-x86_64}"; then
		with_lock setup make_guest_root "$ARCH"
	fi
	with_lock setup make_source
	[ "$TOOLCHAIN" != oldest ] || with_lock setup make_oldest
	[ -z "${WITH_HERD:-}" ] || with_lock setup make_herd
	[ -z "${WITH_NIGHTLY:-}" ] || with_lock setup make_nightly
	[ -z "${WITH_FLEET:-}" ] || with_lock setup make_fleet
	[ -z "${WITH_DRGN:-}" ] || with_lock setup make_drgn
	[ -z "${WITH_SERVER:-}" ] || with_lock setup make_server
	with_lock setup prune
}
main "$@"
