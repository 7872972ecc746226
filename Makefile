# SPDX-License-Identifier: GPL-2.0
# What a person types. The work is done by the scripts in tools/testing/livepatch.

T := tools/testing/livepatch
export ARCH ?= x86_64
export CORE ?= rust
export CONFIG ?= default
export SUITE ?= upstream ours kunit klp replay fuzz host
export TOOLCHAIN ?= llvm
export CASES
export COUNT
export CHUNK
export PARTS
export CHECKS
export SEED
export LINUX
export MOD
export SYM
export VMLINUX
export TARGETS
export SETUPS
export STORY
export VERIFY
export VERIFY_STEPS
export VERIFY_ARCHS
export KLP_GOAL := $(firstword $(MAKECMDGOALS))

.PHONY: help demo test test-all bench soak fuzz kernel modules shell apply series check check-patch sympos model litmus miri fuzz-decisions coverage \
	klp-deb fleet-demo userspace picture clean distclean

help:
	@echo 'The livepatch core of Linux, in Rust.'
	@echo
	@echo '  make demo       from a fresh machine to a patched kernel in a VM'
	@echo '  make test       ARCH=x86_64|s390x|ppc64le (demo, kernel and modules, too);'
	@echo '                  all suites; SUITE="upstream ours kunit klp drgn replay fuzz fleet host" CORE=rust|c CONFIG=default|debug|kasan|rt|btf|server'
	@echo '  make test-all   everything, for hours; goes on where it was; PARTS="test-rt soak"'
	@echo '  make bench      both cores, measured in instructions; CASES="enable call" or CASES=quick'
	@echo '  make soak       transitions by the thousand, under load: COUNT=2000; goes on where it was'
	@echo '  make fuzz       what users can do, in a random order: COUNT=120 seconds, SEED=1; goes on where it was'
	@echo '  make kernel     build the kernel; CORE= CONFIG= TOOLCHAIN=llvm|gcc'
	@echo '  make modules    the same: with its modules, samples and test modules'
	@echo '  make klp-deb    a Debian package of klp, the program for administrators'
	@echo '  make fleet-demo three servers, Ansible and Prometheus: a patch is rolled out, another one reversed'
	@echo '  make userspace  PostgreSQL, nginx and containers work while patches come and go; COUNT=600 seconds'
	@echo '  make shell      an interactive VM with the patches at hand'
	@echo '  make check      format, lints, documentation, what the hot paths may call'
	@echo '  make check-patch MOD=<patch.ko> VMLINUX=<vmlinux>    compare the types of a patch with a kernel'"'"'s'
	@echo '  make sympos SYM=<name>     where the symbols of a name are, for #[sympos]; VMLINUX=<vmlinux> or MOD=<module.ko>'
	@echo '  make model      check the protocol of transitions in all orders of its steps; STORY=NoHooks'
	@echo '  make litmus     the orderings that the core relies on, by the memory model of the kernel'
	@echo '  make miri       the unit tests of what decides without a kernel, in an interpreter that finds undefined behaviour'
	@echo '  make fuzz-decisions   the same files under a fuzzer that follows their branches: COUNT=15 seconds for each of four targets'
	@echo '  make coverage   which lines of the core the tests have run'
	@echo '  make picture    run the commands of the picture in README.md in a guest, and draw it anew'
	@echo '  make apply LINUX=<tree>    put our files and edits into a 7.3 tree of your own'
	@echo '  make series     write them as a numbered patch series to build/series; VERIFY=1 builds and tests'
	@echo '                  each step, VERIFY_STEPS="1-3" some of them; goes on where it was'
	@echo '  make clean      remove the builds; make distclean: the whole cache'
	@echo
	@echo 'Everything is built in a Debian root of its own, below $${KLP_CACHE:-~/.cache/klp-rust}.'
	@echo 'It needs root, Debian 12 or later, 16 GB of disk. LINUX=<tree or tarball> gives another base kernel.'

demo test test-all bench soak fuzz shell check check-patch sympos model litmus miri fuzz-decisions coverage klp-deb fleet-demo userspace picture:
	@$(T)/$@.sh

kernel modules:
	@$(T)/setup.sh
	@$(T)/build.sh $(ARCH) $(CORE) $(CONFIG)

apply series:
	@$(T)/$@.sh

clean:
	@$(T)/clean.sh

distclean:
	@$(T)/clean.sh all
