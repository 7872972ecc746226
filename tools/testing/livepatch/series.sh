#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Write our files and edits as a numbered series of patches against the base
# kernel, each with its message, to build/series.
. "$(dirname "$0")/lib.sh"

need_root
"$KLP_TOOLS/setup.sh"
out=$KLP_REPO/build/series
rm -rf "$out"; mkdir -p "$out"

# What goes together, in an order in which each step builds:
# "subject|files of ours (patterns)|patches|why".
parts=(
"rust: add abstractions of ftrace, stacks, symbols and dynamic debug|rust/*|0001-*|What the livepatch core in Rust needs of the kernel, safe and useful without it."
"livepatch: add a core in Rust|kernel/livepatch/*|0002-*|The rules of livepatch, with the interfaces of the core in C, chosen by CONFIG_LIVEPATCH_RUST."
"samples: livepatch: add a sample in Rust|samples/*|0003-*|Shows that a module in Rust can be a livepatch."
"selftests: livepatch_rust: add tests of what the kernel's own leave out|tools/testing/selftests/*||Bad input, blocked transitions, storms of forks and modules, failing allocations."
"Documentation: livepatch: describe the core in Rust|Documentation/*||For whoever wants to change it."
)
who=$(cd "$KLP_REPO" && git log -1 --format='%an <%ae>' 2>/dev/null || echo 'livepatch <livepatch@localhost>')
when=$(cd "$KLP_REPO" && git log -1 --format=%aD 2>/dev/null || date -R)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
overlay_into "$BASE" "$work/new"
# Which files each patch of ours touches.
n=0
covered=$work/covered; : >"$covered"
for part in "${parts[@]}"; do
	n=$((n + 1))
	IFS='|' read -r subject files patches why <<<"$part"
	list=$( {
		overlay_files | while IFS= read -r f; do
			# shellcheck disable=SC2254
			case $f in $files) echo "$f";; esac
		done
		for p in $patches; do
			# shellcheck disable=SC2086
			sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$KLP_REPO"/patches/$p
		done
	} | LC_ALL=C sort -u)
	name=$(printf '%04d-%s' "$n" "$(printf '%s' "$subject" | tr -cs 'A-Za-z0-9' '-' | cut -c1-52)")
	{
		printf 'From: %s\nDate: %s\nSubject: [PATCH %d/%d] %s\n\n%s\n---\n' "$who" "$when" "$n" "${#parts[@]}" "$subject" "$why"
		for f in $list; do
			if [ -e "$BASE/$f" ]; then
				diff -u --label "a/$f" --label "b/$f" "$BASE/$f" "$work/new/$f" || :
			else
				mode=100644; [ ! -x "$KLP_REPO/$f" ] || mode=100755
				printf 'diff --git a/%s b/%s\nnew file mode %s\n' "$f" "$f" "$mode"
				diff -u --label /dev/null --label "b/$f" /dev/null "$work/new/$f" || :
			fi
		done
		printf -- '-- \n2.0\n'
	} >"$out/${name%-}.patch"
	printf '%s\n' "$list" >>"$covered"
done
missing=$( { overlay_files; cd "$work/new" && find . -type f -printf '%P\n'; } | LC_ALL=C sort -u | grep -vxFf "$covered" || :)
[ -z "$missing" ] || die "no part of the series has: $missing" "add them to parts in $0"
say "$n patches in build/series:"
ls "$out"
