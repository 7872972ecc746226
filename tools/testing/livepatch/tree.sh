#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make the source tree of the builds, and keep it up to date: the base kernel,
# our files laid over it, and the patches applied. A file is written only when
# its content changes, so that make rebuilds no more than it has to.
. "$(dirname "$0")/lib.sh"

update_tree() {
	local tree=$KLP_CACHE/$(basename "$TREE") new
	if [ ! -e "$tree/.complete" ]; then
		need_disk 6
		rm -rf "$tree" "$tree.part"
		# Hard links: files that we change are replaced, never written to.
		cp -al "$BASE" "$tree.part"
		mv "$tree.part" "$tree"
	fi
	new=$(mktemp -d)
	overlay_into "$BASE" "$new" || { rm -rf "$new"; exit 1; }
	(
		cd "$new"
		find . -type f -printf '%P\n' | LC_ALL=C sort >"$tree/.klp-files.new"
		while IFS= read -r f; do
			cmp -s "$f" "$tree/$f" && continue
			mkdir -p "$tree/$(dirname "$f")"
			cp --remove-destination -p "$f" "$tree/$f"
			touch "$tree/$f"
		done <"$tree/.klp-files.new"
	)
	# What we do not have any more goes back to what the base has.
	if [ -e "$tree/.klp-files" ]; then
		LC_ALL=C comm -23 "$tree/.klp-files" "$tree/.klp-files.new" | while IFS= read -r f; do
			rm -f "$tree/$f"
			[ ! -e "$BASE/$f" ] || cp "$BASE/$f" "$tree/$f"
		done
	fi
	mv "$tree/.klp-files.new" "$tree/.klp-files"
	rm -rf "$new"
	: >"$tree/.complete"
}

with_lock tree update_tree
