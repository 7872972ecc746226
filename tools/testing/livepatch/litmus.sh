#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Litmus tests of the orderings that the core relies on, with the base kernel's own memory
# model. herd7 comes from a newer Debian than the other tools; where it is not available,
# the tests are skipped.
. "$(dirname "$0")/lib.sh"

need_root
WITH_HERD=y "$KLP_TOOLS/setup.sh"
tests=("$KLP_REPO"/tools/livepatch/litmus/*.litmus)
if [ ! -e "$HERD_ROOT/.complete" ]; then
	say "skipped: herd7 of Debian $HERD_SUITE cannot be had here: $KLP_CACHE/log/$(log_name "$HERD_STEP")"
	say "0 passed, 0 failed, ${#tests[@]} skipped"
	exit 0
fi
hold_tree
herd=/klp/${HERD_ROOT##*/}
enter python3 /clone/tools/testing/livepatch/litmus.py "/klp/${BASE##*/}/tools/memory-model" \
	"${tests[@]/#"$KLP_REPO"/\/clone}" -- "$herd/herd7" -set-libdir "$herd/usr/share/herdtools7/herd"
