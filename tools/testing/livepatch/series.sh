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
# "subject|files of ours (patterns, or !patterns of what is left out)|patches|why".
parts=(
"ftrace: let an ops have its functions jump||0001-*|An ops that only sends calls elsewhere need not be called: while it is alone, its functions jump. To others it stays the IPMODIFY user that it is."
"ftrace: keep direct trampolines in the mode that they are needed in||0015-*|A direct trampoline stays in its slow, shared mode when a function leaves the filter of an IPMODIFY ops, and when a registration is refused half-way."
"ftrace: unregister an ops without waiting||0019-*|An ops that is unregistered first and freed when its last caller is gone delays nobody."
"stack_scan: look for addresses on stacks without unwinding|kernel/stack_scan.c include/linux/stack_scan.h arch/*/include/asm/stack_scan.h|0018-*|Where no word of a stack is an address in a function, its task is not in it."
"livepatch: let architectures hook the exit to user mode|arch/* !arch/*/stack_scan.h include/linux/* !include/linux/livepatch_exit.h !include/linux/stack_scan.h include/asm-generic/* kernel/livepatch/test_params.c|0002-*|Hooks that mark a task, interrupt it if it runs in user mode, and test the mark on its exit to user mode."
"livepatch: keep track of tasks that are exiting|kernel/livepatch/exiting.c include/linux/livepatch_exit.h|0014-*|Once reaped, they are on no list of tasks, and may sleep in functions that are patched."
"powerpc/bug: provide ARCH_WARN_ASM for Rust||0009-*|The kernel crate does not build there without it."
"powerpc/ftrace, optprobes: leave r13 alone||0017-*|A task that is preempted in a callback and continues on another CPU uses the per-CPU data of the one that it has left."
"powerpc/livepatch: find the callers of redirected functions||0010-*|They are missing from stack traces that are said to be reliable."
"s390/kprobes: leave calls redirected by others alone||0011-*|A kprobe undoes what a livepatch does, without a word."
"s390/stacktrace: call stacks with BPF trampolines unreliable||0016-*|A trampoline has in a register where the call goes on, which no stack shows."
"powerpc/ftrace: let functions of an ops jump||0012-*|There the place of a jump is taken by what ftrace_caller would call, as r2 has to be kept."
"rust: allow C helpers to be inlined on 64-bit powerpc||0020-*|Five of them cost a patched call in a transition more than all else that the handler does."
"rust: workqueue: add what a core kernel user needs||0022-*|Work items in statics, a delay that can be changed, a work item for each CPU, a queue of one's own."
"rust: add abstractions of ftrace, stacks, symbols, kobjects and dynamic debug|rust/* !rust/macros/* !rust/kernel/livepatch*|0003-*|What the livepatch core in Rust needs of the kernel, safe and useful without it."
"livepatch: add a core in Rust|kernel/livepatch/* !kernel/livepatch/test_params.c !kernel/livepatch/exiting.c include/trace/*|0004-* 0005-*|The rules of livepatch, with the interfaces of the core in C, chosen by CONFIG_LIVEPATCH_RUST."
"livepatch: switch kernel threads whenever they schedule||0013-*|One that never sleeps is running whenever somebody looks at it."
"rust: kbuild: make bindings of a module's own header||0021-*|A patch that needs a structure of a private header has it as C has it."
"rust: livepatch: add an API for writing livepatches|rust/macros/* rust/kernel/livepatch*|0006-*|A livepatch is declared by a macro and checked when it is compiled."
"samples: livepatch: add samples in Rust|samples/*|0007-*|Shows what the API for livepatches in Rust is for, and that it works."
"selftests: livepatch_rust: add tests of what the kernel's own leave out|tools/testing/selftests/*||Bad input, blocked transitions, storms of forks and modules, failing allocations, the ways by which tasks switch, patches in Rust."
"Documentation: livepatch: describe the core and patches in Rust|Documentation/*|0008-*|For whoever wants to change the core, and for authors of patches."
)
who=$(cd "$KLP_REPO" && git log -1 --format='%an <%ae>' 2>/dev/null || echo 'livepatch <livepatch@localhost>')
when=$(cd "$KLP_REPO" && git log -1 --format=%aD 2>/dev/null || date -R)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
overlay_into "$BASE" "$work/new"

# in_part FILE PATTERNS: whether one of the patterns fits, and none of those of
# what is left out.
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

# The tree grows part by part; each patch is what a part changes.
mkdir "$work/old"
n=0
covered=$work/covered; : >"$covered"
for part in "${parts[@]}"; do
	n=$((n + 1))
	IFS='|' read -r subject files patches why <<<"$part"
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
		printf 'From: %s\nDate: %s\nSubject: [PATCH %d/%d] %s\n\n%s\n---\n' "$who" "$when" "$n" "${#parts[@]}" "$subject" "$why"
		(cd "$work/next" && find . -type f -printf '%P\n') | LC_ALL=C sort | while IFS= read -r f; do
			if [ -e "$work/old/$f" ]; then
				cmp -s "$work/old/$f" "$work/next/$f" && continue
				printf 'diff --git a/%s b/%s\n' "$f" "$f"
				diff -u --label "a/$f" --label "b/$f" "$work/old/$f" "$work/next/$f" || :
			else
				mode=100644; [ ! -x "$KLP_REPO/$f" ] || mode=100755
				printf 'diff --git a/%s b/%s\nnew file mode %s\n' "$f" "$f" "$mode"
				diff -u --label /dev/null --label "b/$f" /dev/null "$work/next/$f" || :
			fi
		done
		printf -- '-- \n2.0\n'
	} >"$out/${name%-}.patch"
	rm -rf "$work/old"
	mv "$work/next" "$work/old"
done
diff -r "$work/old" "$work/new" >"$work/differs" || die "the parts do not add up: $(head -n 1 "$work/differs")" "change parts in $0"
missing=$( { overlay_files; cd "$work/new" && find . -type f -printf '%P\n'; } | LC_ALL=C sort -u | grep -vxFf "$covered" || :)
[ -z "$missing" ] || die "no part of the series has: $missing" "add them to parts in $0"
# Whoever gets them types git am; see that it works.
need_tool git git
take_series() {
	mkdir "$work/try" && cd "$work/try" && git init -q . || return 1
	sed -n 's,^+++ b/,,p' "$out"/*.patch | sort -u | while IFS= read -r f; do
		[ ! -e "$BASE/$f" ] || { mkdir -p "$(dirname "$f")" && cp "$BASE/$f" "$f"; }
	done
	local as=(-c user.name=klp -c user.email=klp@localhost)
	git add -A && git "${as[@]}" commit -qm base && git "${as[@]}" am -q "$out"/*.patch || return 1
	rm -rf .git && diff -r . "$work/new"
}
(take_series) >"$work/try.log" 2>&1 || { sed 's/^/    /' "$work/try.log" | head -n 20; die "git am does not take the series" "look at the lines above"; }
say "$n patches in build/series, which git am takes:"
ls "$out"
