#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Shadow variables that several threads use at once.
. "$(dirname "$0")/klpr.sh"
plan 1

start "make, find and free shadow variables from several threads"
insmod "$MODS/klpr_shadow.ko" || fail "the module cannot be loaded"
logged "klpr_shadow: made as many as freed, bad 0"
rmmod klpr_shadow
ok
