#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Write our files and edits as a numbered series of patches against the base
# kernel, each with its message, to build/series.
. "$(dirname "$0")/lib.sh"

need_root
"$KLP_TOOLS/setup.sh"
out=$KLP_REPO/build/series
rm -rf "$out"; mkdir -p "$out"

# The parts of the series, in an order in which each step builds: independent fixes of the
# base kernel, what else it lacks, and then ours:
# "files of ours (patterns, or !patterns of what is left out)|patches|message"; without a
# message, the part has that of its first patch.
hooks='!include/linux/livepatch_exit.h !include/linux/stack_scan.h'
parts=(
"|0009-*|"
"|0017-*|"
"|0010-*|"
"|0011-*|"
"|0016-*|"
"|0001-*|"
"|0015-*|"
"|0019-*|"
"|0012-*|"
"kernel/stack_scan.c include/linux/stack_scan.h arch/*/include/asm/stack_scan.h|0018-*|"
"arch/* !arch/*/stack_scan.h include/linux/* $hooks include/asm-generic/* kernel/livepatch/hooks.c kernel/livepatch/test_params.c|0002-*|"
"kernel/livepatch/exiting.c include/linux/livepatch_exit.h|0014-*|"
"|0020-*|"
"|0022-*|"
"rust/* !rust/macros/* !rust/kernel/livepatch*|0003-*|"
"kernel/livepatch/* !kernel/livepatch/hooks.c !kernel/livepatch/test_params.c !kernel/livepatch/exiting.c include/trace/*|0004-* 0005-*|core"
"|0013-*|"
"|0021-*|"
"rust/macros/* rust/kernel/livepatch*|0006-*|"
"samples/*|0007-*|"
"tools/testing/selftests/*|0024-*|selftests"
"Documentation/*|0008-*|"
"|0023-*|"
)
# message PATCHES NAME: the subject of a part, and after an empty line the rest.
message() {
	if [ -n "$2" ]; then
		cat "$KLP_REPO/patches/messages/$2"
	else
		# shellcheck disable=SC2086
		sed -n '1s/^Subject: \[PATCH\] //; /^---$/q; p' "$(cd "$KLP_REPO/patches" && ls $1 | sed "s,^,$KLP_REPO/patches/,;q")"
	fi
}
who=$(cd "$KLP_REPO" && git log -1 --format='%an <%ae>' 2>/dev/null || echo 'livepatch <livepatch@localhost>')
when=$(cd "$KLP_REPO" && git log -1 --format=%aD 2>/dev/null || date -R)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
overlay_into "$BASE" "$work/new"

# in_part FILE PATTERNS: whether one of the patterns matches, and none of the !patterns.
in_part() {
	local pattern found=1
	set -f
	for pattern in $2; do
		# shellcheck disable=SC2254
		case $pattern in
		!*) case $1 in ${pattern#!}) found=1; break;; esac;;
		*) case $1 in $pattern) found=0;; esac;;
		esac
	done
	set +f
	return "$found"
}

# The tree grows part by part; each patch is the diff of one part.
mkdir "$work/old"
n=0
covered=$work/covered; : >"$covered"
for part in "${parts[@]}"; do
	n=$((n + 1))
	IFS='|' read -r files patches message <<<"$part"
	message "$patches" "$message" >"$work/message"
	subject=$(sed -n 1p "$work/message")
	rm -rf "$work/next"
	cp -a "$work/old" "$work/next"
	overlay_files | while IFS= read -r f; do
		in_part "$f" "$files" || continue
		mkdir -p "$work/next/$(dirname "$f")"
		cp "$KLP_REPO/$f" "$work/next/$f"
		printf '%s\n' "$f" >>"$covered"
	done
	for p in $patches; do
		# shellcheck disable=SC2086
		for file in "$KLP_REPO"/patches/$p; do
			for f in $(sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$file"); do
				printf '%s\n' "$f" >>"$covered"
				[ ! -e "$work/next/$f" ] || continue
				mkdir -p "$work/old/$(dirname "$f")" "$work/next/$(dirname "$f")"
				cp "$BASE/$f" "$work/old/$f"
				cp "$BASE/$f" "$work/next/$f"
			done
			patch -d "$work/next" -p1 -F0 -s -f --no-backup-if-mismatch <"$file" || die "$file does not fit after the parts before it" "change the order of parts in $0"
		done
	done
	name=$(printf '%04d-%s' "$n" "$(printf '%s' "$subject" | tr -cs 'A-Za-z0-9' '-' | cut -c1-52)")
	{
		printf 'From: %s\nDate: %s\nSubject: [PATCH %d/%d] %s\n' "$who" "$when" "$n" "${#parts[@]}" "$subject"
		sed 1d "$work/message"
		printf -- '---\n'
		(cd "$work/next" && find . -type f -printf '%P\n') | LC_ALL=C sort | while IFS= read -r f; do
			if [ -e "$work/old/$f" ]; then
				cmp -s "$work/old/$f" "$work/next/$f" && continue
				printf 'diff --git a/%s b/%s\n' "$f" "$f"
				diff -up --label "a/$f" --label "b/$f" "$work/old/$f" "$work/next/$f" || :
			else
				mode=100644; [ ! -x "$KLP_REPO/$f" ] || mode=100755
				printf 'diff --git a/%s b/%s\nnew file mode %s\n' "$f" "$f" "$mode"
				diff -up --label /dev/null --label "b/$f" /dev/null "$work/next/$f" || :
			fi
		done
		printf -- '-- \n2.0\n'
	} >"$out/${name%-}.patch"
	rm -rf "$work/old"
	mv "$work/next" "$work/old"
done
{
	printf 'From: %s\nDate: %s\nSubject: [PATCH 0/%d] ' "$who" "$when" "$n"
	cat "$KLP_REPO/patches/messages/cover"
	printf -- '\n-- \n2.0\n'
} >"$out/0000-cover-letter.patch"
diff -r "$work/old" "$work/new" >"$work/differs" || die "the parts do not add up: $(head -n 1 "$work/differs")" "change parts in $0"
missing=$( { overlay_files; cd "$work/new" && find . -type f -printf '%P\n'; } | LC_ALL=C sort -u | grep -vxFf "$covered" || :)
[ -z "$missing" ] || die "no part of the series has: $missing" "add them to parts in $0"
# The patches are for git am: check that it works.
need_tool git git
take_series() {
	mkdir "$work/try" && cd "$work/try" && git init -q . || return 1
	cat "$out"/*.patch | copy_changed "$BASE" .
	local as=(-c user.name=klp -c user.email=klp@localhost)
	local mails=("$out"/*.patch)
	git add -A && git "${as[@]}" commit -qm base && git "${as[@]}" am -q "${mails[@]:1}" || return 1
	rm -rf .git && diff -r . "$work/new"
}
(take_series) >"$work/try.log" 2>&1 || { sed 's/^/    /' "$work/try.log" | head -n 20; die "git am does not take the series" "see the lines above"; }
say "$n patches in build/series, which git am takes:"
ls "$out"
[ -z "${VERIFY:-}" ] || "$KLP_TOOLS/series-verify.sh"
