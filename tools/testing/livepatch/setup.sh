#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make what the builds and guests need, each step cached under KLP_CACHE and
# restartable: a step works in NAME.part and is renamed when it is whole.
. "$(dirname "$0")/lib.sh"

mirror() { # LABEL: the machine's own mirror of that archive
	apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		awk -F'|' -v l="$1" '$1 == l { print $2; exit }'
}

host_tools() {
	command -v apt-get >/dev/null || die "this is not a Debian machine (no apt-get)" "use Debian 12 or later"
	need_tool unshare util-linux
	need_tool flock util-linux
	if [ -z "$(mirror Debian)" ]; then
		step "Reading the machine's package lists" apt-get update ||
			die "apt-get update failed" "check the network and the machine's sources.list, then run the same command again"
	fi
	if ! command -v mmdebstrap >/dev/null; then
		step "Installing mmdebstrap" bash -c 'apt-get install -y --no-install-recommends mmdebstrap ||
			{ apt-get update && apt-get install -y --no-install-recommends mmdebstrap; }' ||
			die "mmdebstrap cannot be installed" "check the network, then run the same command again"
	fi
	[ -n "$(mirror Debian)" ] || die "the machine's apt configuration names no Debian mirror" "add one to /etc/apt/sources.list"
}

root_host_config() { # ROOT: the host's way to the network
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/" 2>/dev/null || :
	mkdir -p "$1/etc/apt/apt.conf.d" "$1/etc/ssl/certs" "$1/root/.cargo"
	apt-config dump | grep -iE '^Acquire::(https?|ftp)::' >"$1/etc/apt/apt.conf.d/80host" || :
	[ ! -f /etc/ssl/certs/ca-certificates.crt ] ||
		cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
	[ ! -f /etc/pip.conf ] || cp -L /etc/pip.conf "$1/etc/pip.conf"
	[ ! -f "$HOME/.config/pip/pip.conf" ] || install -D "$HOME/.config/pip/pip.conf" "$1/root/.config/pip/pip.conf"
	local f
	for f in config.toml config; do
		[ ! -f "${CARGO_HOME:-$HOME/.cargo}/$f" ] || cp "${CARGO_HOME:-$HOME/.cargo}/$f" "$1/root/.cargo/$f"
	done
}

make_base() {
	local part=$1 deb sec
	deb=$(mirror Debian); sec=$(mirror Debian-Security)
	{
		echo "deb $deb $DEBIAN_SUITE main"
		echo "deb $deb $DEBIAN_SUITE-updates main"
		echo "deb $deb $DEBIAN_BACKPORTS main"
		[ -z "$sec" ] || echo "deb $sec $DEBIAN_SUITE-security main"
	} >"$part.list"
	mmdebstrap --variant=minbase --include=ca-certificates "$DEBIAN_SUITE" "$part" "$part.list"
	rm -f "$part.list"
	root_host_config "$part"
}

install_packages() {
	local part=$1 list
	list=$(sed 's/#.*//' "$KLP_TOOLS/packages" | sed "s,/backports,/$DEBIAN_BACKPORTS,g" | tr '\n' ' ')
	# shellcheck disable=SC2086
	enter_root "$part" DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -q &&
		apt-get install -qy --no-install-recommends $list && apt-get clean"
	root_host_config "$part"
	enter_root "$part" rustc --version
	enter_root "$part" rustc --version | grep -q "^rustc $RUST_VERSION " ||
		note "Debian's rustc is not $RUST_VERSION any more; going on with what it has"
}

make_bindgen() {
	enter_root "$1" cargo install --locked --root /opt/klp --version "$BINDGEN_VERSION" bindgen-cli
	rm -rf "$1/root/.cargo/registry"
}

make_vng() {
	enter_root "$1" sh -c "python3 -m venv /opt/klp/venv &&
		/opt/klp/venv/bin/pip install --no-cache-dir virtme-ng==$VIRTME_NG_VERSION &&
		ln -sf ../venv/bin/vng ../venv/bin/virtme-run ../venv/bin/virtme-prep-kdir-mods /opt/klp/bin/"
}

make_root() {
	[ ! -e "$ROOT/.complete" ] || return 0
	need_disk 12
	local part=$ROOT.part again="check the network, then run the same command again; what is done is kept"
	if [ ! -e "$part/.base" ]; then
		rm -rf "$part"
		step "Toolchain root: Debian $DEBIAN_SUITE" make_base "$part" || { rm -rf "$part"; die "the root cannot be made" "$again"; }
		: >"$part/.base"
	fi
	if [ ! -e "$part/.packages" ]; then
		step "Toolchain root: compilers, QEMU" install_packages "$part" || die "packages cannot be installed" "$again"
		: >"$part/.packages"
	fi
	if [ ! -e "$part/.bindgen" ]; then
		step "Toolchain root: bindgen $BINDGEN_VERSION" make_bindgen "$part" || die "bindgen cannot be built" "$again"
		: >"$part/.bindgen"
	fi
	if [ ! -e "$part/.vng" ]; then
		step "Toolchain root: virtme-ng $VIRTME_NG_VERSION" make_vng "$part" || die "virtme-ng cannot be installed" "$again"
		: >"$part/.vng"
	fi
	: >"$part/.complete"
	mv "$part" "$ROOT"
}

# The root file system of a foreign guest. Its packages are unpacked and not
# configured, as nothing of that architecture runs here.
make_guest_root() { # ARCH
	local root part
	root=$(guest_root "$1") part=$root.part
	[ ! -e "$root/.complete" ] || return 0
	step "Guest root: Debian for $1" extract_guest_root "$1" "$part" || {
		rm -rf "$part"
		die "the guest's root cannot be made" "check the network, then run the same command again"
	}
	: >"$part/.complete"
	mv "$part" "$root"
}

extract_guest_root() { # ARCH FOLDER
	local part=$2 list suite
	arch_set "$1"
	list=$(sed 's/#.*//' "$KLP_TOOLS/guest-packages" | xargs | tr ' ' ,)
	for suite in $GUEST_SUITES; do
		rm -rf "$part"
		echo "deb $(mirror Debian) $suite main" >"$part.list"
		mmdebstrap --variant=extract --architectures="$DEBIAN_ARCH" --include="base-files,$list" \
			--setup-hook='for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done' \
			"$suite" "$part" "$part.list" || continue
		rm -f "$part.list"
		# What the packages' scripts would have done.
		install -m 755 "$KLP_TOOLS/guest-init.sh" "$part/usr/sbin/klp-init" &&
			ln -sf mawk "$part/usr/bin/awk" && ln -sf bash "$part/usr/bin/sh" &&
			mkdir -p "$part/klp" "$part/root" "$part/dev" "$part/proc" "$part/sys" "$part/tmp" "$part/run" &&
			printf 'root:x:0:0:root:/root:/bin/bash\n' >"$part/etc/passwd" &&
			printf 'root:x:0:\n' >"$part/etc/group"
		return
	done
	return 1
}

fetch_source() {
	local part=$1
	rm -rf "$part"; mkdir -p "$part/deb"
	enter sh -c "set -e; cd /klp/$(basename "$part")/deb; apt-get update -q
		apt-get download linux-source-$KERNEL_SERIES
		dpkg-deb --fsys-tarfile *.deb | tar xO ./usr/src/linux-source-$KERNEL_SERIES.tar.xz | tar xJ -C .. --strip-components=1"
	rm -rf "$part/deb"
}

unpack_linux() { # LINUX= names a tree or a tarball of the user's own
	rm -rf "$2"; mkdir -p "$2"
	if [ -d "$1" ]; then cp -a "$1/." "$2/"; else tar xf "$1" -C "$2" --strip-components=1; fi
}

make_source() {
	local base=$KLP_CACHE/$1 v
	if [ ! -e "$base/.complete" ]; then
		need_disk 8
		if [ -n "${LINUX:-}" ]; then
			[ -e "$LINUX" ] || die "LINUX=$LINUX does not exist" "give a 7.3 kernel tree or tarball"
			step "Base kernel: from $LINUX" unpack_linux "$LINUX" "$base.part" || die "$LINUX cannot be unpacked" "give a kernel tree or tarball"
		else
			step "Base kernel: linux-source-$KERNEL_SERIES" fetch_source "$base.part" || {
				rm -rf "$base.part"
				die "linux-source-$KERNEL_SERIES cannot be had from Debian" "check the network, or give your own with LINUX=<$KERNEL_SERIES tree or tarball>"
			}
		fi
		[ -f "$base.part/kernel/livepatch/core.c" ] || die "that is not a kernel tree with livepatch" "give a $KERNEL_SERIES tree with LINUX=<tree or tarball>"
		: >"$base.part/.complete"
		mv "$base.part" "$base"
	fi
	v=$(make -s --no-print-directory ARCH=x86 -C "$base" kernelversion)
	case $v in
	"$KERNEL_TESTED") ;;
	"$KERNEL_SERIES"*) note "the base kernel is $v; $KERNEL_TESTED is what was tested";;
	*) die "the base kernel is $v, not $KERNEL_SERIES" "give a $KERNEL_SERIES tree with LINUX=<tree or tarball>";;
	esac
}

need_root
host_tools
with_lock setup make_root
if is_foreign "${ARCH:-x86_64}"; then
	with_lock setup make_guest_root "$ARCH"
fi
with_lock setup make_source "$(basename "$BASE")"
