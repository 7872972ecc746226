#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run on a server, by userspace.sh: PostgreSQL, nginx and containers work, while patches of the
# system calls that they make are loaded, replaced, reversed and disabled, for SECONDS_LOAD
# seconds. At the end nothing may be lost. MODULES is the folder of the patches.
# shellcheck disable=SC2086
set -euo pipefail

A=klpr_calls_a B=klpr_calls_b
work=/root/userspace
tracing=/sys/kernel/tracing
mkdir -p $work
cd $work
failed=0 checked=0

check() { # WHAT COMMAND...
	local what=$1; shift
	checked=$((checked + 1))
	if "$@"; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		failed=$((failed + 1))
	fi
}
is() { [ "$1" = "$2" ] || { echo "  $1, not $2"; return 1; }; }
above() { [ "$1" -gt "$2" ] || { echo "  $1, not more than $2"; return 1; }; }
sql() { (cd / && runuser -u postgres -- psql -X -A -t -q -d bench -c "$1"); }

start_postgresql() {
	systemctl start postgresql@17-main
	(cd / && runuser -u postgres -- sh -c "createdb bench && pgbench -i -q -s 2 bench") >pgbench.init 2>&1 ||
		{ cat pgbench.init; return 1; }
	sql "ALTER SYSTEM SET log_min_messages = warning"
}

start_nginx() {
	head -c 200000 /dev/urandom >/var/www/html/big
	echo small >/var/www/html/small
	systemctl restart nginx
}

# A container that serves files, of an image without a registry.
start_containers() {
	mkdir -p image/bin image/www
	cp /bin/busybox image/bin/
	for t in sh httpd cat true ls sleep; do ln -sf busybox image/bin/$t; done
	echo contained >image/www/small
	tar -C image -c . | podman import - klp-image >podman.import 2>&1 || { cat podman.import; return 1; }
	podman run -d --name www --network host klp-image /bin/httpd -f -p 8081 -h /www >podman.run 2>&1 ||
		{ cat podman.run; return 1; }
}

# Load until $work/stop is there.
more() { [ ! -e stop ]; }
load_pgbench() {
	(cd / && exec runuser -u postgres -- pgbench -n -c 4 -j 2 -T "$SECONDS_LOAD" -b tpcb-like bench) >pgbench.out 2>&1
}
load_http() { # NAME URL
	while more; do ab -q -n 200 -c 4 "$2" >>"http.$1" 2>&1 || echo "ab ended with $?" >>"http.$1"; done
}
load_containers() {
	while more; do
		if [ "$(podman run --rm --network none klp-image /bin/cat /www/small 2>>podman.err)" = contained ]; then
			echo ok
		else
			echo failed
		fi
	done >containers.out
}
load_files() { # files that are written, synced, and read again
	local n=0
	while more; do
		n=$((n + 1))
		head -c 100000 /dev/urandom >file.new
		cksum <file.new >file.sum
		sync file.new
		mv file.new file
		if [ "$(cksum <file)" = "$(cat file.sum)" ]; then echo ok; else echo failed; fi
	done >files.out
}

# Faults are counted: bash ignores set -e in what check calls.
faults=0
fault() { echo "  $*"; faults=$((faults + 1)); }
# patch ARGUMENTS...: run klp.
patch() { klp "$@" >>klp.out 2>&1 || fault "klp $* ended with $?: $(tail -n 3 klp.out)"; }
# works PATCH: whether its replacements are called.
works() { [ "$(cat "/sys/module/$1/parameters/calls")" -gt 0 ] || fault "$1 is not called"; }

# What an administrator does with patches, and some of it in haste.
patches() {
	local end=$((SECONDS + SECONDS_LOAD))
	rounds=0
	while [ "$SECONDS" -lt "$end" ]; do
		patch load "$MODULES/$A.ko" --timeout 100
		sleep 2
		works $A
		# Replaces the other one.
		patch load "$MODULES/$B.ko" --timeout 100
		sleep 2
		works $B
		patch disable $B --timeout 100
		# Reversed while it is under way, unless it is over too soon.
		insmod "$MODULES/$A.ko" 2>>klp.out &
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			if [ "$(cat /sys/kernel/livepatch/$A/transition 2>/dev/null)" = 1 ]; then
				echo 0 >/sys/kernel/livepatch/$A/enabled 2>/dev/null && reversed=$((reversed + 1))
				break
			fi
		done
		wait $!
		patch wait --timeout 100
		[ "$(cat /sys/kernel/livepatch/$A/enabled 2>/dev/null)" != 1 ] || patch disable $A --timeout 100
		patch unload $A --timeout 100
		patch unload $B --timeout 100
		rounds=$((rounds + 1))
	done
	[ "$faults" = 0 ]
}

# figures: durations of the transitions, in ms.
figures() {
	sort -n | awk '{ v[NR] = $1 } END {
		if (NR) printf "%d transitions completed: shortest %d ms, median %d ms, 90%% %d ms, longest %d ms\n",
			NR, v[1], v[int((NR + 1) / 2)], v[int(NR * 0.9 + 0.999)], v[NR] }'
}

rm -f stop klp.out http.*
mountpoint -q $tracing || mount -t tracefs tracefs $tracing
echo "starting PostgreSQL, nginx and a container"
start_postgresql
start_nginx
start_containers
echo "load for $SECONDS_LOAD s"
if [ -e $tracing/events/livepatch/klp_task_blocked ]; then
	echo 16384 >$tracing/buffer_size_kb
	echo 1 >$tracing/events/livepatch/klp_task_blocked/enable
	echo 1 >$tracing/events/livepatch/klp_transition_complete/enable
fi
load_pgbench & pgbench=$!
load_http nginx http://localhost/small &
load_http nginx-big http://localhost/big &
load_http container http://localhost:8081/small &
load_containers &
load_files &
reversed=0
check "patches are loaded, replaced, reversed and disabled" patches
rc=0; wait $pgbench || rc=$?
: >stop
# shellcheck disable=SC2046
wait $(jobs -p) 2>/dev/null || :

echo
check "pgbench ends well" is $rc 0
check "no transaction has failed" grep -q 'number of failed transactions: 0 ' pgbench.out
transactions=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' pgbench.out)
check "transactions were made" above "${transactions:-0}" 100
check "PostgreSQL has each transaction" is "$(sql 'SELECT count(*) FROM pgbench_history')" "$transactions"
sums=$(sql "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
	(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)")
check "the balances of accounts, tellers, branches and the history agree: $sums" is "$(tr '|' '\n' <<<"$sums" | sort -u | wc -l)" 1
check "PostgreSQL has no broken page" sh -c "cd / && runuser -u postgres -- /usr/lib/postgresql/17/bin/pg_amcheck -d bench --install-missing --heapallindexed"
for name in nginx nginx-big container; do
	requests=$(awk '/^Complete requests:/ { n += $3 } END { print n + 0 }' http.$name)
	check "$name: $requests requests" above "$requests" 100
	check "$name: none has failed" is "$(awk '/^Failed requests:/ { n += $3 } /^Non-2xx/ { n += $3 } /^ab ended/ { n++ } END { print n + 0 }' http.$name)" 0
done
check "containers: $(grep -c ok containers.out) were run" above "$(grep -c ok containers.out)" 3
check "containers: none has failed" is "$(grep -c failed containers.out)" 0
check "files: $(grep -c ok files.out) were written and read" above "$(grep -c ok files.out)" 3
check "files: none was damaged" is "$(grep -c failed files.out)" 0
check "the container has run all the time" is "$(podman inspect -f '{{.State.Status}} {{.RestartCount}}' www)" "running 0"
check "systemd says that all is well" is "$(systemctl is-system-running)" running
check "no patch is left" is "$(ls /sys/kernel/livepatch | wc -l)" 0

echo
echo "$rounds rounds of patches, of which $reversed reversed while under way"
tail -n 8 pgbench.out | sed 's/^/pgbench: /'
if [ -e $tracing/events/livepatch/klp_task_blocked ]; then
	# Not by trace_pipe: its reader would sleep in a patched call.
	cat $tracing/trace >events
	check "no event was lost" is "$(cat $tracing/per_cpu/cpu*/stats | awk '/^(overrun|dropped events):/ { n += $NF } END { print n }')" 0
	sed -n 's/.*klp_transition_complete: .*duration_us=\([0-9]*\).*/\1/p' events | awk '{ print int($1 / 1000) }' | figures
	echo "what transitions have waited for, by the number of attempts that found it:"
	sed -n 's/.*klp_task_blocked: .*comm=\([^ ]*\) .*\(obstacle=.*\)/\1 \2/p' events |
		sort | uniq -c | sort -rn | head -n 25
fi
echo "$((checked - failed)) passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
