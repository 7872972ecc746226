#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make the picture of klp anew that README.md shows: run its commands in a guest, and draw
# what they print to Documentation/livepatch/klp.svg.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest.sh"

need_root
"$KLP_TOOLS/setup.sh"
hold_build x86_64 rust default
have_tool "$KLP"
mkdir -p "$KLP_CACHE/run/$build"
cp "$KLP_TOOLS/picture-guest.sh" "$KLP_CACHE/run/$build/"
out=$KLP_CACHE/run/$build/picture.out
restarts_begin "$build"
guest "$build" picture 300 "KLP_TOOL=/klp/${tool#"$KLP_CACHE/"} /klp/run/$build/picture-guest.sh" || die "the guest has failed" "see the lines above"
restarts_say
cat "$out"
enter python3 /clone/tools/testing/livepatch/picture.py "/klp/${out#"$KLP_CACHE/"}" /clone/Documentation/livepatch/klp.svg
say "Documentation/livepatch/klp.svg is written"
