# SPDX-License-Identifier: GPL-2.0
# Sourced: guests that are Debian servers, with systemd as init, on a disk of their own. They
# are reached as servers are, by ssh, through ports of this machine's loopback.
# shellcheck shell=bash
# lib.sh sets what is not set here.
# shellcheck disable=SC2154

# A folder, root, for what administers them, and the disk that they boot from.
SERVER=$KLP_CACHE/server-$({ root_key; cat "$KLP_TOOLS/server-packages" "$KLP_TOOLS/server-setup.sh"; } | sha256sum | cut -c1-12)

# servers_begin NAME: what servers need: the disk, their kernel ($build), the package of klp, a
# key, a folder for runs of this name, $servers, which is $in_servers in the roots.
servers_begin() {
	# shellcheck disable=SC2034
	CONFIG=server
	check_options
	need_root
	WITH_SERVER=y "$KLP_TOOLS/setup.sh"
	hold_build x86_64 "${CORE:-rust}" server
	servers=$KLP_CACHE/run/$build/$1 in_servers=/klp/run/$build/$1 checked=0
	lock "run-$build-$1" 6
	rm -rf --one-file-system "$servers"
	mkdir -p "$servers"
	klp_deb "$servers"
	in_deb=/klp/${deb#"$KLP_CACHE/"}
	enter_root "$SERVER/root" ssh-keygen -q -t ed25519 -N '' -C klp -f "$in_servers/key"
	cat >"$servers/ssh_config" <<-EOT
		Host *
			User root
			HostName 127.0.0.1
			IdentityFile $in_servers/key
			IdentitiesOnly yes
			StrictHostKeyChecking no
			UserKnownHostsFile /dev/null
			LogLevel ERROR
			ConnectTimeout 20
			ServerAliveInterval 15
	EOT
	trap servers_end EXIT
}

# free_ports N: ports of the loopback that nothing listens to.
free_ports() {
	enter python3 -c '
import socket, sys
open = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in open])' "$1"
}

# server_boot NAME SSH-PORT METRICS-PORT [WORD...]: start a server, with these words on its
# kernel's command line. What it writes to its disk is gone when it ends; with REBOOTS it may
# boot again before that.
server_boot() {
	local name=$1 ssh=$2 metrics=$3 accel="tcg,thread=${GUEST_THREADS:-single}" reboot=(-no-reboot); shift 3
	[ -z "${REBOOTS:-}" ] || reboot=()
	if kvm_works "$build"; then accel=kvm; fi
	printf '\nHost %s\n\tPort %s\n' "$name" "$ssh" >>"$servers/ssh_config"
	enter env TMPDIR=/klp/tmp qemu-system-x86_64 -name "$name" -accel "$accel" -cpu max \
		-smp "${GUEST_CPUS:-2}" -m "${GUEST_MEMORY:-1G}" -nodefaults -display none "${reboot[@]}" \
		-serial "file:$in_servers/$name.console" -kernel "/klp/build/$build/arch/x86/boot/bzImage" \
		-drive "file=/klp/${SERVER##*/}/disk,format=raw,if=virtio,snapshot=on" -device virtio-rng-pci \
		-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$ssh-:22,hostfwd=tcp:127.0.0.1:$metrics-:9100" \
		-device virtio-net-pci,netdev=net \
		-fsdev local,id=klp,path=/klp,security_model=none,multidevs=remap -device virtio-9p-pci,fsdev=klp,mount_tag=klp \
		-append "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=-1 log_buf_len=16M systemd.hostname=$name \
systemd.set_credential_binary=ssh.authorized_keys.root:$(base64 -w0 "$servers/key.pub") $*" \
		</dev/null >"$servers/$name.qemu" 2>&1 &
	echo $! >"$servers/$name.pid"
}

# on NAME COMMAND: run a command line on a server.
on() { enter_root "$SERVER/root" ssh -F "$in_servers/ssh_config" "$@" </dev/null; }

# server_state NAME: what systemd says of it, once it has started all that it should.
server_state() { on "$1" "systemctl is-system-running --wait" 2>/dev/null; }

# server_klp NAME: install klp on it.
server_klp() {
	on "$1" "dpkg -i $in_deb" >"$servers/dpkg.log" 2>&1 || die "klp could not be installed" "see $servers/dpkg.log"
}

# server_up NAME SECONDS: wait until all that it starts at boot is there.
server_up() {
	local name=$1 end=$((SECONDS + $2)) said=''
	while [ "$SECONDS" -lt "$end" ]; do
		kill -0 "$(cat "$servers/$name.pid")" 2>/dev/null || break
		said=$(server_state "$name") || :
		case $said in
		running) return 0;;
		degraded)
			on "$name" "systemctl --failed --no-legend; journalctl -b -p err --no-pager | tail -n 20" || :
			return 1;;
		esac
		sleep 1
	done
	say "  the server $name did not come up ($said); the end of its console:"
	{ tail -n 40 "$servers/$name.console"; cat "$servers/$name.qemu"; } 2>/dev/null | tr -d '\r' | sed 's/^/    /'
	return 1
}

# server_log_ok NAME: check its kernel log, as those of all guests.
server_log_ok() {
	local bad
	on "$1" dmesg >"$servers/$1.log" || return 1
	bad=$(guest_splats "$servers/$1.log")
	[ -z "$bad" ] || {
		say "  the server $1 has in its kernel log:"
		head -n 60 <<<"$bad" | sed 's/^/    /'
		return 1
	}
}

# soon SECONDS COMMAND...: whether a command succeeds within these.
soon() {
	local end=$((SECONDS + $1)); shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.5
	done
}

# shows WHAT COMMAND...: a result that has to be so.
shows() {
	local what=$1; shift
	try "$@"
	[ "$status" = 0 ] || die "this is not so: $what" "see $servers for what the servers have said"
	checked=$((checked + 1))
	say "   ok: $what"
}

# shown NAME: print how many results were so, as a part of a suite and by itself.
shown() {
	say "$1: $checked passed"
	say "$checked passed, 0 failed, 0 skipped"
}

# servers_end: turn all of them off. Their disks are gone with them.
servers_end() {
	local pid
	for pid in "$servers"/*.pid; do
		[ ! -e "$pid" ] || pkill -TERM -P "$(cat "$pid")" 2>/dev/null || kill "$(cat "$pid")" 2>/dev/null || :
	done
	wait
}
