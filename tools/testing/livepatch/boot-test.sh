#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A part of SUITE=fleet: a patch that panics is installed on a server, to be loaded at each
# boot. The server must come up all the same, at the third boot, without it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/servers.sh"

P=klpr_panic
# boots: how often its kernel has started; panics: and has ended so.
boots() { grep -c 'Linux version ' "$servers/srv.console"; }
panics() { grep -c 'Kernel panic - not syncing: a bad patch' "$servers/srv.console"; }
is() { [ "$1" = "$2" ] || { say "  $1, not $2"; return 1; }; }
booted() { [ "$(boots)" -ge "$1" ]; }
degraded() { [ "$(server_state srv)" = degraded ]; }

main() {
	servers_begin boot
	read -ra ports < <(free_ports 2 | xargs)
	REBOOTS=y server_boot srv "${ports[@]}"
	shows "the server is up" server_up srv 900
	server_klp srv
	shows "the patch is installed" on srv "klp install /klp/build/$build/selftests/livepatch_rust/test_modules/$P.ko && sync"
	on srv "systemctl reboot" || :
	shows "it boots, and again, and again" soon 900 booted 4
	shows "it is up, but for something that has failed" soon 900 degraded
	shows "that is klp boot" on srv "systemctl --failed --no-legend | grep -q klp-boot"
	shows "the patch has panicked twice" is "$(panics)" 2
	shows "it was not tried a third time" is "$(boots)" 4
	shows "the patch is not loaded" on srv "! test -e /sys/kernel/livepatch/$P"
	shows "the kernel log says that it is left out" on srv "dmesg | grep -q 'klp: PATCH $P IS LEFT OUT'"
	shows "klp status says so" on srv "klp status | grep -A3 $P | grep -qi 'left out'"
	shows "the metrics say so" on srv "klp metrics | grep -qx 'klp_boot_left_out{patch=\"$P\"} 1'"
	shown boot
}
main "$@"
