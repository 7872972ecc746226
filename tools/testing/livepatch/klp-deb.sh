#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make a Debian package of klp, with its manual page, completions and units: build/klp_*.deb.
. "$(dirname "$0")/lib.sh"

need_root
"$KLP_TOOLS/setup.sh"
scratch klp-deb
klp_deb "$scratch"
mkdir -p "$KLP_REPO/build"
cp "$deb" "$KLP_REPO/build/"
enter dpkg-deb --info "/klp/${deb#"$KLP_CACHE/"}"
enter dpkg-deb --contents "/klp/${deb#"$KLP_CACHE/"}"
say "build/${deb##*/}"
