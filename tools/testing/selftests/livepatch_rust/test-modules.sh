#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Targets that are loaded and unloaded while patches are enabled.
. "$(dirname "$0")/klpr.sh"
plan 2
ROUNDS=${ROUNDS:-50}

start "patch a target that comes and goes $ROUNDS times"
load klpr_patch_a what=two
load klpr_patch_b
for i in $(seq "$ROUNDS"); do
	target
	expect $TARGET/parameters/one 201
	expect $TARGET/parameters/two 102
	no_target
done
[ "$(since | grep -c "applying patch 'klpr_patch_b' to loading module 'klpr_target'")" = "$ROUNDS" ] ||
	fail "the log does not have $ROUNDS times that the patch was applied"
disable klpr_patch_b
disable klpr_patch_a
unload klpr_patch_b
unload klpr_patch_a
ok

start "replace patches whose target is not there"
load klpr_patch_a what=two
load klpr_patch_b replace=1
target
expect $TARGET/parameters/one 201
expect $TARGET/parameters/two 2
unload klpr_patch_a
disable klpr_patch_b
unload klpr_patch_b
expect $TARGET/parameters/one 1
no_target
ok
