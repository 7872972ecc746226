#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Three servers with sshd, nginx and node_exporter, a Prometheus that watches them, and Ansible,
# which rolls two patches out: a good one, and one whose transition stalls on the third server.
# All of it is on this machine's loopback. It tells what it does, checks each result, and ends
# at the first that is wrong; the last line counts them: it is also a part of SUITE=fleet.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
. "$(dirname "$0")/servers.sh"

NAMES=(web1 web2 web3)

tell() { say; say "== $*"; }

# query EXPRESSION: what Prometheus says, a line for each result: its value, and the instance.
query() {
	enter python3 -c '
import json, sys, urllib.parse, urllib.request
url = "http://127.0.0.1:%s/api/v1/query?" % sys.argv[1]
answer = json.load(urllib.request.urlopen(url + urllib.parse.urlencode({"query": sys.argv[2]})))
for r in answer["data"]["result"]:
    print(r["value"][1], r["metric"].get("instance", "-"))' "$prometheus_port" "$1"
}
# is_value EXPRESSION RESULTS
is_value() { [ "$(query "$1" 2>>"$servers/query.log" | xargs)" = "$2" ]; }

# Prometheus, and its rules with waits that suit a demonstration.
start_prometheus() {
	local i targets=''
	for i in 0 1 2; do
		targets+="
          - targets: ['127.0.0.1:${metrics[i]}']
            labels: { instance: ${NAMES[i]} }"
	done
	cat >"$servers/prometheus.yml" <<-EOT
		global: { scrape_interval: 4s, scrape_timeout: 4s, evaluation_interval: 2s }
		rule_files: [$in_servers/rules.yml]
		scrape_configs:
		  - job_name: node
		    # Servers are emulated, and all that node_exporter has would take them a while.
		    params: { 'collect[]': [textfile, uname] }
		    static_configs:$targets
	EOT
	sed -E 's/^( *for:) .*/\1 6s/' "$KLP_REPO/tools/livepatch/prometheus/klp-rules.yml" >"$servers/rules.yml"
	enter_root "$SERVER/root" prometheus --config.file="$in_servers/prometheus.yml" \
		--storage.tsdb.path="$in_servers/prometheus" --web.listen-address="127.0.0.1:$prometheus_port" \
		>"$servers/prometheus.log" 2>&1 &
	echo $! >"$servers/prometheus.pid"
}

# Ansible runs where ssh is.
start_ansible() {
	local i
	mkdir -p "$servers/ansible_collections/livepatch"
	cp -r "$KLP_REPO/tools/livepatch/ansible" "$servers/ansible_collections/livepatch/klp"
	cat >"$servers/ansible.cfg" <<-EOT
		[defaults]
		inventory = $in_servers/inventory
		collections_path = $in_servers
		local_tmp = $in_servers/tmp
		forks = 3
		display_skipped_hosts = no
		timeout = 60
		[ssh_connection]
		ssh_args = -F $in_servers/ssh_config -o ControlMaster=auto -o ControlPersist=300
		control_path_dir = $in_servers/cp
		pipelining = true
	EOT
	cat >"$servers/inventory" <<-EOT
		[canary]
		web1
		[fleet]
		web[1:3]
		[all:vars]
		ansible_python_interpreter=/usr/bin/python3
		rollout_batches=[1, 1]
		rollout_timeout=45
		rollout_soak=2
		rollout_health_commands=["systemctl is-active --quiet nginx"]
		rollout_health_urls=["http://localhost/"]
		rollout_report=$in_servers/report.json
	EOT
	cat >"$servers/prepare.yml" <<-EOT
		# What an administrator does once for each machine.
		- hosts: fleet
		  gather_facts: false
		  tasks:
		    - name: Copy the package of klp
		      ansible.builtin.copy: { src: $in_deb, dest: /root/klp.deb, mode: "0644" }
		    - name: Install it
		      ansible.builtin.command: { cmd: dpkg -i /root/klp.deb, creates: /usr/sbin/klp }
		    - name: Let the metrics be written every five seconds, for the demonstration
		      ansible.builtin.copy:
		        dest: /etc/systemd/system/klp-metrics.timer.d/demo.conf
		        mode: "0644"
		        content: |
		          [Timer]
		          OnBootSec=1s
		          OnUnitActiveSec=5s
		          AccuracySec=100ms
		          RandomizedDelaySec=0
	EOT
	cat >"$servers/start.yml" <<-EOT
		- hosts: fleet
		  gather_facts: false
		  tasks:
		    - name: Start the timer that writes the metrics
		      ansible.builtin.systemd_service: { name: klp-metrics.timer, enabled: true, state: started, daemon_reload: true }
		    - name: Load a module, to be patched
		      ansible.builtin.command: { cmd: insmod $modules/klpr_target.ko, creates: /sys/module/klpr_target }
	EOT
	# The folder for its options is needed before the first file is in it.
	for i in "${NAMES[@]}"; do on "$i" mkdir -p /etc/systemd/system/klp-metrics.timer.d; done
}

# ansible PLAYBOOK [OPTION...]: run a playbook. What it prints is shown, and kept in $said.
ansible() {
	enter_root "$SERVER/root" PATH="/klp/${FLEET_ROOT##*/}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin" ANSIBLE_CONFIG="$in_servers/ansible.cfg" \
		PYTHONDONTWRITEBYTECODE=y ANSIBLE_HOME="$in_servers/ansible" ANSIBLE_NOCOLOR=y \
		ansible-playbook "$@" 2>&1 | tee "$said" | sed -u 's/^/   | /'
}

# rollout PATCH FILE [OPTION...]
rollout() { ansible livepatch.klp.rollout -e "rollout_patch=$1" -e "rollout_src=$2" "${@:3}"; }

# outcome NAME: what the report says of a server.
outcome() {
	enter python3 -c '
import json, sys
print(json.load(open(sys.argv[1]))["hosts"][sys.argv[2]]["outcome"])' "$in_servers/report.json" "$1"
}
outcomes() { # OUTCOME OF EACH
	local name found=''
	for name in "${NAMES[@]}"; do found+="${found:+, }$(outcome "$name")"; done
	[ "$found" = "$1" ] || { say "   but: $found"; return 1; }
}

# each COMMAND...: whether it succeeds on each of the servers.
each() { local name; for name in "${NAMES[@]}"; do on "$name" "$*" || return 1; done; }

# has NAME PATCH, has_not NAME PATCH
has() { on "$1" klp list | grep -q "^$2 *enabled"; }
has_not() { ! on "$1" klp list | grep -q "^$2 "; }

main() {
	local name i
	WITH_FLEET=y servers_begin fleet
	modules=/klp/build/$build/selftests/livepatch_rust/test_modules said=$servers/said
	read -ra ports < <(free_ports 7 | xargs)
	ssh=("${ports[@]:0:3}") metrics=("${ports[@]:3:3}") prometheus_port=${ports[6]}

	tell "Three servers boot: ${NAMES[*]}, with Debian, systemd, sshd, nginx and node_exporter"
	for i in 0 1 2; do server_boot "${NAMES[i]}" "${ssh[i]}" "${metrics[i]}"; done
	for name in "${NAMES[@]}"; do shows "$name is up" server_up "$name" 900; done
	start_prometheus
	shows "Prometheus reaches all three" soon 120 is_value 'sum(up)' '3 -'

	tell "Ansible installs klp, and its metrics"
	start_ansible
	shows "klp is installed" ansible "$in_servers/prepare.yml"
	shows "the metrics are written" ansible "$in_servers/start.yml"
	shows "klp boot will run at each boot" each systemctl is-enabled klp-boot
	shows "Prometheus has the metrics of all three" soon 60 is_value 'count(klp_patches_loaded == 0)' '3 -'

	tell "What would a roll-out do? (--check)"
	sample=rust_livepatch_sample samples=/klp/build/$build/samples/livepatch
	shows "it says what it would do" rollout $sample "$samples/$sample.ko" --check
	shows "each would be enabled" outcomes "would be enabled, would be enabled, would be enabled"
	shows "nothing has changed" each "! klp list | grep -q $sample"

	tell "A good patch: web1 is the canary, then web2, then web3"
	shows "the roll-out ends well" rollout $sample "$samples/$sample.ko"
	shows "each has it" outcomes "enabled, enabled, enabled"
	shows "the kernels run the new code" each "grep -q 'live patched' /proc/cmdline"
	shows "it is installed for the next boot" each "klp status | grep -q $sample; ls /var/lib/klp/*/$sample.ko"
	shows "Prometheus sees it on three" soon 60 is_value "sum(klp_patch_enabled{patch=\"$sample\"})" '3 -'
	shows "the same roll-out again is possible" rollout $sample "$samples/$sample.ko"
	shows "and changes nothing" sh -c "! grep -E '^web[1-3] .*changed=[1-9]' '$said'"

	tell "A patch that stalls: on web3, a backup reads a file of the module, and does not end"
	on web3 "cp /bin/cat /usr/local/bin/backup; systemd-run --quiet --unit=backup /usr/local/bin/backup /sys/module/klpr_target/sleep_hard"
	shows "it sleeps" soon 60 on web3 "grep -qx 1 /sys/module/klpr_target/parameters/sleepers"
	shows "the roll-out ends with a failure" fails rollout klpr_patch_a "$modules/klpr_patch_a.ko" \
		-e '{"rollout_parameters": ["what=sleep_hard"]}'
	shows "web3 was reversed, the others have the patch" outcomes "enabled, enabled, reversed"
	shows "the report names the task, and where it is" grep -qE 'backup \([0-9]+\).*klpr_' "$said"
	shows "the alert KlpTransitionStalled has fired, for web3" is_value \
		'max_over_time(ALERTS{alertname="KlpTransitionStalled",alertstate="firing"}[1h])' '1 web3'
	shows "web1 runs the new code" has web1 klpr_patch_a
	shows "web2 runs the new code" has web2 klpr_patch_a
	shows "nothing of the patch is left on web3" has_not web3 klpr_patch_a
	shows "the alert is over" soon 60 is_value 'count(ALERTS{alertname="KlpTransitionStalled"}) or vector(0)' '0 -'

	tell "The backup ends; the same roll-out again brings the patch to web3"
	on web3 "echo 1 >/sys/module/klpr_target/parameters/release"
	shows "it does not sleep any more" soon 60 on web3 "grep -qx 0 /sys/module/klpr_target/parameters/sleepers"
	shows "the roll-out ends well" rollout klpr_patch_a "$modules/klpr_patch_a.ko" \
		-e '{"rollout_parameters": ["what=sleep_hard"]}'
	shows "web3 has it, too" outcomes "already enabled, already enabled, enabled"
	shows "Prometheus sees it on three" soon 60 is_value 'sum(klp_patch_enabled{patch="klpr_patch_a"})' '3 -'

	tell "What has the kernel said?"
	for name in "${NAMES[@]}"; do shows "no warning on $name" server_log_ok "$name"; done
	say
	shown servers
}

# fails COMMAND...: whether it fails.
fails() { ! "$@"; }

[ -n "${KLP_SOURCED:-}" ] || main "$@"
