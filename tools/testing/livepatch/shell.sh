#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# An interactive VM, in the folder of the build: samples/livepatch has the
# sample patches, selftests the tests and their modules.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"
check_options
! is_foreign "$ARCH" || die "the interactive VM is for x86_64" "use ARCH=x86_64, or make demo ARCH=$ARCH"
need_root
"$KLP_TOOLS/setup.sh"
hold_build "$ARCH" "$CORE" "$CONFIG"
options=--disable-kvm
kvm_works "$build" && options=
say "insmod samples/livepatch/rust_livepatch_sample.ko, for example; exit or Ctrl-D ends the VM."
enter script -qefc "vng $options --run /klp/build/$build/arch/x86/boot/bzImage --rwdir /klp \
	--cpus 2 --memory 2G --append root=/dev/root --cwd /klp/build/$build" /dev/null
