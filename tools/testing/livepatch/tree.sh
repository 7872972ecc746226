#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Make the source tree of the builds, and keep it up to date: the base kernel,
# our files laid over it, and the patches applied. A file is written only when
# its content changes, so that make rebuilds no more than it has to. The file .klp-key
# in it is the key of its content; it is missing while the tree is being changed.
#
# With arguments, patches of a series, the tree is the base kernel with these patches.
. "$(dirname "$0")/lib.sh"

update_tree() {
	local key f
	if [ $# = 0 ]; then
		key=$(tree_key)
	else
		# The documentation does not count here.
		key=$(series_key "$@")
		key="$key $key"
	fi
	if [ ! -e "$TREE/.complete" ]; then
		need_disk 6
		rm -rf "$TREE" "$TREE.part"
		# Hard links: files that we change are replaced, never written to.
		cp -al "$BASE" "$TREE.part"
		: >"$TREE.part/.klp-files"
		: >"$TREE.part/.complete"
		mv "$TREE.part" "$TREE"
	fi
	scratch tree
	if [ $# = 0 ]; then try overlay_into "$BASE" "$scratch"; else try series_into "$BASE" "$scratch" "$@"; fi
	[ "$status" = 0 ] || exit 1
	rm -f "$TREE/.klp-key"
	cd "$scratch"
	find . -type f -printf '%P\n' | LC_ALL=C sort >"$TREE/.klp-files.new"
	# Until all is done, the list includes the previous one: a run after an interrupted one
	# knows all files that it may have to remove.
	LC_ALL=C sort -u "$TREE/.klp-files" "$TREE/.klp-files.new" >"$TREE/.klp-files.both"
	mv "$TREE/.klp-files.both" "$TREE/.klp-files"
	while IFS= read -r f; do
		! cmp -s "$f" "$TREE/$f" || continue
		mkdir -p "$TREE/$(dirname "$f")"
		cp --remove-destination -p "$f" "$TREE/$f"
		touch "$TREE/$f"
	done <"$TREE/.klp-files.new"
	# Files that we do not have any more go back to those of the base.
	LC_ALL=C comm -23 "$TREE/.klp-files" "$TREE/.klp-files.new" | while IFS= read -r f; do
		rm -f "$TREE/$f"
		[ ! -e "$BASE/$f" ] || cp "$BASE/$f" "$TREE/$f"
	done
	mv "$TREE/.klp-files.new" "$TREE/.klp-files"
	echo "$key" >"$TREE/.klp-key"
}

with_lock "${TREE##*/}" update_tree "$@"
