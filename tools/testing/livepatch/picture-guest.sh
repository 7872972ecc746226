#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the picture of klp shows, in a VM, in the folder of the build: a patch whose
# transition a task holds up. KLP_TOOL is the path of klp.

cd selftests/livepatch_rust/test_modules || exit
mkdir /tmp/bin && ln -s "$KLP_TOOL" /tmp/bin/klp
PATH=/tmp/bin:$PATH
export COLUMNS=96

show() { # COMMAND...: as a person would have typed it
	echo "# $*"
	"$@" 2>&1 </dev/null
}

insmod klpr_target.ko
cat /sys/module/klpr_target/sleep_hard >/dev/null &
until grep -qx 1 /sys/module/klpr_target/parameters/sleepers; do sleep 0.1; done

show klp load ./klpr_patch_a.ko what=sleep_hard --timeout 1
echo
show klp why
echo
show klp reverse klpr_patch_a
show klp unload klpr_patch_a
show klp load ./klpr_patch_b.ko
echo
show klp list
echo
show klp history
