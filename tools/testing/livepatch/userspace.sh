#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A Debian server with systemd, on which PostgreSQL, nginx and containers work under load while
# patches of the system calls that they make come and go. COUNT: for how many seconds, 600.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/servers.sh"

servers_begin userspace
seconds=${COUNT:-600}
read -ra ports < <(free_ports 2 | xargs)
say "A server boots: Debian, systemd, PostgreSQL, nginx, podman"
GUEST_MEMORY=2G server_boot db "${ports[0]}" "${ports[1]}"
server_up db 900 || die "the server did not come up" "see the lines above"
cp "$KLP_TOOLS/userspace-guest.sh" "$servers/"
server_klp db
rc=0
on db "SECONDS_LOAD=$seconds MODULES=/klp/build/$build/selftests/livepatch_rust/test_modules bash $in_servers/userspace-guest.sh" || rc=1
server_log_ok db || rc=1
on db "tar -C /root -c userspace --exclude=image" >"$servers/userspace.tar" 2>/dev/null || :
[ "$rc" = 0 ] || die "something was lost, or could not be done" "see the lines above; the server's files are in $servers/userspace.tar"
