#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Stands for the kernel of a machine that is a folder, the current one: klp calls it to load and
# unload modules, and after it has written to a file of a patch. With a file "stalls" no patch
# gets enabled, with "sticks" none disabled. A patch whose name has "cumulative" replaces others.
LP=sys/kernel/livepatch
later() { ( sleep $1; shift; "$@" ) >/dev/null 2>&1 & }
put() { echo "$2" >"$1"; }
vanish() { mv $LP/$1 gone.$$; rm -rf gone.$$; }
echo "$*" >>calls
name=$(basename "${2:-}" .ko)
case $1 in
load)
	mkdir -p $LP/$name sys/module/$name
	echo OEK >sys/module/$name/taint
	echo 0 >sys/module/$name/refcnt
	case $name in *cumulative*) replace=1;; *) replace=0;; esac
	echo $replace >$LP/$name/replace
	echo 1 >$LP/$name/enabled
	echo 1 >$LP/$name/transition
	[ -e stalls ] || {
		[ $replace = 0 ] || for other in $LP/*; do
			[ $other = $LP/$name ] || later 0.02 vanish ${other##*/}
		done
		later 0.05 put $LP/$name/transition 0
	};;
wrote)
	patch=$(basename $(dirname "$2"))
	put $LP/$patch/transition 1
	case $3 in
	0) [ -e sticks ] || later 0.05 vanish $patch;;
	1) later 0.05 put $LP/$patch/transition 0;;
	esac;;
unload) rm -rf sys/module/$2;;
esac
exit 0
