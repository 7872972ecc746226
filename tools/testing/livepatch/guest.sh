# SPDX-License-Identifier: GPL-2.0
# Sourced: guests. They run in QEMU: by virtme-ng, with the toolchain root as their
# root file system, or, on other architectures, without virtme-ng and with a root of
# their own. They write their results to a folder of the cache.
# shellcheck shell=bash

# What must not be in a guest's kernel log, unless a test has announced it.
GUEST_SPLATS='WARNING:|BUG:|BUG |Oops|Kernel panic|general protection fault|unable to handle|UBSAN:|KASAN:|ODEBUG:|INFO: task .* blocked|INFO: rcu|detected stalls|soft lockup|possible (recursive|circular) locking|inconsistent lock state|suspicious RCU usage|invalid wait context|sleeping function called|scheduling while atomic|refcount_t:|list_(add|del) corruption|tried to init an initialized object|is not initialized, yet kobject|unreferenced object|DEBUG_LOCKS_WARN|bad unlock balance|still has locks held|Call Trace:'

# What a guest writes to its console before it turns off.
GUEST_ENDS='klp: the guest ends'

# kvm_works: whether a guest with KVM really boots here. Tried once per boot of
# the machine, and remembered.
kvm_works() {
	is_foreign "${1%%-*}" && return 1
	local mark
	mark=$KLP_CACHE/kvm-$(cut -c1-8 /proc/sys/kernel/random/boot_id)
	[ -w /dev/kvm ] || return 1
	[ -e "$mark" ] || {
		rm -f "$KLP_CACHE"/kvm-*
		if guest_boot "$1" "$KLP_CACHE/kvm-probe.log" 40 "" "echo klp-kvm-works" && grep -q '^klp-kvm-works' "$KLP_CACHE/kvm-probe.log"; then
			echo yes >"$mark"
		else
			echo no >"$mark"
		fi
	}
	[ "$(cat "$mark")" = yes ]
}

# qemu_boot BUILD LOG SECONDS SCRIPT: boot a guest of another architecture, by QEMU
# alone. virtme-ng could use such a root, but what it does for a native guest (its init
# program, udev, a terminal) it does there by a shell script that takes longer to run
# than most tests, as each command it calls is emulated.
qemu_boot() {
	local build=$1 log=$2 seconds=$3 script=$4
	arch_set "${build%%-*}"
	# shellcheck disable=SC2086,SC2153
	enter timeout --kill-after=10 "$seconds" $QEMU -accel "tcg,thread=${GUEST_THREADS:-single}" \
		-nodefaults -display none -serial stdio -no-reboot \
		-smp "${GUEST_CPUS:-2}" -m "${GUEST_MEMORY:-1G}" -kernel "/klp/build/$build/$IMAGE" \
		-fsdev "local,id=root,path=/klp/$(basename "$(guest_root "${build%%-*}")"),security_model=none,readonly=on,multidevs=remap" \
		-device "virtio-9p-$VIRTIO_BUS,fsdev=root,mount_tag=/dev/root" \
		-fsdev local,id=klp,path=/klp,security_model=none,multidevs=remap \
		-device "virtio-9p-$VIRTIO_BUS,fsdev=klp,mount_tag=klp" \
		-append "console=$CONSOLE root=/dev/root rootfstype=9p rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=512000 ro init=/usr/sbin/klp-init panic=-1 log_buf_len=16M klp_script=$script ${GUEST_APPEND:+${GUEST_APPEND//--append /}}" \
		</dev/null >"$log" 2>&1
}

# guest_boot BUILD LOG SECONDS VNG-OPTIONS COMMAND: boot a guest for a command.
guest_boot() {
	local build=$1 log=$2 seconds=$3 options=$4 command=$5
	if is_foreign "${build%%-*}"; then
		qemu_boot "$build" "$log" "$seconds" "$command"
		return
	fi
	# virtme-ng wants a terminal; script gives it one.
	enter timeout --kill-after=10 "$seconds" script -qefc "vng $options \
		--run /klp/build/$build/arch/x86/boot/bzImage --rwdir /klp \
		--cpus ${GUEST_CPUS:-2} --memory ${GUEST_MEMORY:-2G} \
		--append root=/dev/root --append log_buf_len=16M ${GUEST_APPEND:-} \
		--verbose -- '$command'" /dev/null </dev/null >"$log" 2>&1
}

# How long a guest may take to get to user space; several times what it needs.
GUEST_BOOT_SECONDS=${GUEST_BOOT_SECONDS:-150}

# guest_starts PID FILE SECONDS: wait until the guest has made the file, or has
# ended. Not zero if it does neither.
guest_starts() {
	local end=$((SECONDS + $3))
	while [ "$SECONDS" -lt "$end" ]; do
		if [ -e "$2" ] || ! kill -0 "$1" 2>/dev/null; then return 0; fi
		sleep 0.5
	done
	return 1
}

# guest_stops PID FILE: wait until the guest has ended. It makes the file when all is
# done. If it has not turned off a minute later, QEMU is ended: an emulated CPU may wait
# forever for another CPU to stop that is off already.
guest_stops() {
	local left=60
	while kill -0 "$1" 2>/dev/null; do
		[ ! -e "$2" ] || left=$((left - 1))
		if [ "$left" = 0 ]; then
			say "  guest $(basename "$2" .end) is done and does not turn off; its QEMU is ended"
			pkill -TERM -P "$1" || :
			left=-1
		fi
		sleep 1
	done
}

# boot_hang CONSOLE: whether a guest that has not reached user space just hangs: its
# kernel has reported nothing wrong, and is not in the unit tests, which run before that.
boot_hang() {
	! grep -qE 'Oops|Kernel panic|WARNING:|BUG: ([^s]|s[^o])|KASAN:|UBSAN:|general protection|unable to handle|KTAP version' "$1"
}

# Guests that were started again are counted over a run: guests run in subshells,
# several at once, and each adds a line to this file of the run's.
restarts_begin() { # BUILD
	mkdir -p "$KLP_CACHE/run/$1"
	RESTARTS=$KLP_CACHE/run/$1/restarts-${0##*/}
	: >"$RESTARTS"
}

# restarts_say: print which guests were started again, and how many, if there are any.
# Their number is in $restarted.
restarts_say() {
	restarted=0
	[ -s "${RESTARTS:-/dev/null}" ] || return 0
	restarted=$(wc -l <"$RESTARTS")
	sed 's/^/  restarted: /' "$RESTARTS"
	say "restarted guests: $restarted"
}

# restart RUN NAME WHY: count a guest that is started again, and keep its console and its
# output.
restart() {
	local run=$1 name=$2 why=$3
	tr -d '\r' <"$run/$name.console" >"$run/$name.try1.console"
	[ ! -e "$run/$name.out" ] || mv "$run/$name.out" "$run/$name.try1.out"
	rm -f "$run/$name".{console,log,leaks,end}
	printf '%s: %s; its console: %s\n' "$name" "$why" "$run/$name.try1.console" >>"${RESTARTS:-$run/restarts}"
}

# guest BUILD NAME SECONDS COMMAND: run a command in a guest. Its output goes to
# $RUN/NAME.out, its kernel log to $RUN/NAME.log. Returns nonzero if it does not end as
# it should, or if its kernel log has what it must not have.
guest() {
	local build=$1 name=$2 seconds=$3 command=$4 options=--disable-kvm start=$SECONDS rc=0 bad emulated=y
	local run=$KLP_CACHE/run/$build patience=$((GUEST_BOOT_SECONDS * ${SLOW:-1}))
	mkdir -p "$run"
	rm -f "$run/$name".*
	# One thread emulates all CPUs of a guest, unless GUEST_THREADS=multi asks for one
	# each. With several, QEMU drops its translation of an instruction just before it lets
	# a CPU overwrite the instruction, and not after: in between another CPU may make it
	# translate the old one again, and that translation stays. So a kernel that patches
	# its text may die of an int3 that was there only temporarily. No guest is started
	# again for an oops. Where guests run side by side, one thread takes no longer.
	is_foreign "${build%%-*}" || options="--disable-kvm --qemu-opts='-accel tcg,thread=${GUEST_THREADS:-single}'"
	if kvm_works "$build"; then options='' emulated=''; fi
	cat >"$run/$name.sh" <<-EOF
		#!/bin/bash
		exec >/klp/run/$build/$name.out 2>&1
		mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
		mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
		if zgrep -qx CONFIG_DEBUG_KOBJECT_RELEASE=y /proc/config.gz; then
			# Its messages would be in the logs that the kernel's own tests
			# compare, word for word, with what they expect. These tests also do
			# not expect to take 15 seconds, as they may here.
			mkdir -p /tmp/klp-bin
			hide="kobject: .*\(delayed [0-9]*\)\\\$"
			[ "${name%%-*}" != livepatch ] || hide="\$hide|livepatch: signaling remaining tasks\\\$"
			printf '%s\n' '#!/bin/sh' "/usr/bin/dmesg \"\\\$@\" | grep -vE '\$hide'" >/tmp/klp-bin/dmesg
			chmod +x /tmp/klp-bin/dmesg
			PATH=/tmp/klp-bin:\$PATH
		fi
		export KDIR=/ KLP_BUILD=/klp/build/$build KLP_CORE=${build#*-}
		cd /klp/build/$build
		$command
		$(coverage_in_guest "$build" "$name")
		if [ -e /sys/kernel/debug/kmemleak ]; then
			# An object is reported only if it was found twice.
			sleep 6
			echo scan >/sys/kernel/debug/kmemleak; sleep 1
			echo scan >/sys/kernel/debug/kmemleak
			cat /sys/kernel/debug/kmemleak >/klp/run/$build/$name.leaks
		fi
		dmesg >/klp/run/$build/$name.log
		# Nothing in the guest reads what the console has after this line.
		echo "$GUEST_ENDS" >/dev/kmsg
		echo finished >/klp/run/$build/$name.end
	EOF
	chmod +x "$run/$name.sh"
	# On a machine that is busy with other things, QEMU without KVM now and then hangs
	# while the guest boots, long before anything of livepatch runs: then the guest is
	# started once more, and counted.
	guest_boot "$build" "$run/$name.console" "$seconds" "$options" "/klp/run/$build/$name.sh" &
	if ! guest_starts "$!" "$run/$name.out" "$patience" && [ -n "$emulated" ] && boot_hang "$run/$name.console"; then
		pkill -TERM -P "$!" || :
		wait "$!" || :
		say "  guest $name did not get to user space; once more. The end of its console:"
		tail -n 5 "$run/$name.console" | tr -d '\r' | sed 's/^/    /'
		restart "$run" "$name" "did not reach user space within $patience s"
		guest_boot "$build" "$run/$name.console" "$seconds" "$options" "/klp/run/$build/$name.sh" &
	fi
	guest_stops "$!" "$run/$name.end"
	wait "$!" || rc=$?
	tr -d '\r' <"$run/$name.console" >"$run/$name.tmp" && mv "$run/$name.tmp" "$run/$name.console"
	if [ ! -e "$run/$name.end" ]; then
		say "  guest $name did not finish within $seconds s ($((SECONDS - start)) s, status $rc); the end of its console:"
		tail -n 60 "$run/$name.console" | sed 's/^/    /'
		return 1
	fi
	[ ! -s "$run/$name.leaks" ] || cat "$run/$name.leaks" >>"$run/$name.log"
	bad=$(guest_splats "$run/$name.log")
	if [ -n "$bad" ]; then
		say "  guest $name has in its kernel log:"
		printf '%s\n' "$bad" | head -n 60 | sed 's/^/    /'
		say "    the whole log: $run/$name.log"
		return 1
	fi
	if ! grep -q "$GUEST_ENDS" "$run/$name.console"; then
		say "  guest $name: its console ends too early: $run/$name.console"
		return 1
	fi
	bad=$(guest_splats <(sed -n "/$GUEST_ENDS/,\$p" "$run/$name.console"))
	if [ -n "$bad" ]; then
		say "  guest $name has on its console, when it turns off:"
		printf '%s\n' "$bad" | head -n 60 | sed 's/^/    /'
		say "    the whole console: $run/$name.console"
		return 1
	fi
	return 0
}

# guest_splats LOG: print what must not be in a kernel log, with what follows it. A line
# "KLP-EXPECT: REGEX" allows matching lines up to the end of the case, together with
# their traces.
guest_splats() {
	awk -v bad="$GUEST_SPLATS" '
		/KLP-EXPECT: / { sub(/.*KLP-EXPECT: /, ""); expect[++n] = $0; next }
		/---\[ cut here \]---/ { cut = $0; next }
		/---\[ end trace|<\/TASK>/ { allowed = 0; next }
		/===== klpr / { allowed = 0; n = 0 }
		{
			if ($0 ~ bad) {
				ok = allowed
				for (i = 1; i <= n; i++) if ($0 ~ expect[i]) { ok = 1; allowed = 1 }
				if (!ok) show = 25
			}
			if (show > 0) { print; show-- }
		}
	' "$1"
}

# coverage_in_guest BUILD NAME: the command that copies the counters of a kernel that has some.
coverage_in_guest() {
	local where=$KLP_CACHE/build/$1/.klp-counters
	[ ! -e "$where" ] || echo "python3 /klp/build/$1/coverage-guest.py klp_counters $(cat "$where") /klp/run/$1/$2.counters"
}

# fuzz_in_guest KLP-FUZZ SEED SECONDS: the command of a guest for random operations. The core
# in C does not survive all of them.
fuzz_in_guest() {
	local options="--relocations /tmp/relocations.ko"
	[ "$CORE" = rust ] || options=--gentle
	cat <<-EOF
		cd selftests/livepatch_rust
		python3 klpr_relocs.py test_modules/klpr_patch_a.ko /tmp/relocations.ko
		/klp/${1#"$KLP_CACHE/"} run --modules test_modules $options --seed $2 --seconds $3
		echo "== fuzz: \$?"
	EOF
}
