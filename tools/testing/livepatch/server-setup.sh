#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run once in the new root of the servers, to configure it as an administrator configures a new
# machine. Each gets its name, and the key that root logs in with, by its command line at boot.
set -euo pipefail

cat >/etc/fstab <<-'FSTAB'
	/dev/vda / ext4 defaults 0 1
	klp /klp 9p trans=virtio,version=9p2000.L,msize=512000,nofail 0 0
FSTAB
cat >/etc/systemd/network/eth0.network <<-'NETWORK'
	[Match]
	Name=eth0
	[Network]
	DHCP=ipv4
	[DHCPv4]
	UseDNS=no
NETWORK
systemctl enable systemd-networkd ssh nginx prometheus-node-exporter
# Each test starts what it needs. This machine's Prometheus runs beside the servers.
systemctl disable prometheus postgresql
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	systemd-networkd-wait-online.service systemd-firstboot.service getty@tty1.service
: >/etc/machine-id
echo 'PermitRootLogin prohibit-password' >/etc/ssh/sshd_config.d/root.conf
mkdir -p /var/lib/prometheus/node-exporter
