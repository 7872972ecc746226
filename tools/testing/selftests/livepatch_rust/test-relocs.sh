#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Livepatch relocations, good and damaged: a module with numbers out of range is refused
# before any of its code runs, and what fails halfway is undone.
. "$(dirname "$0")/klpr.sh"
plan 8

TOOL=$(cd "$(dirname "$0")" && pwd)/klpr_relocs.py
has_rust_core || { echo "SKIP: the core in C believes every number"; exit 4; }
[ -n "$(command -v python3)" ] || { echo "SKIP: there is no python3"; exit 4; }

GOOD=$MODS
DAMAGED=$(mktemp -d)
cleanup() { rm -rf "$DAMAGED"; }
noexec="Invalid module format"
inval="Invalid parameters"

# damaged DAMAGE...: make the module with relocations and this damage.
damaged() {
	python3 "$TOOL" "$GOOD/klpr_patch_a.ko" "$DAMAGED/klpr_patch_a.ko" "$@" || fail "$TOOL $* failed"
}

# load_damaged: load the module that was made last.
load_damaged() {
	MODS=$DAMAGED
	load klpr_patch_a
	MODS=$GOOD
}

# refused_with DAMAGE ERROR REGEX: check that loading a module with this damage fails, and
# the log has the reason. Its patch is never enabled.
refused_with() {
	klog "klpr: $1"
	damaged "$1"
	MODS=$DAMAGED
	refused "$2" klpr_patch_a
	MODS=$GOOD
	since | sed -n "/^klpr: $1\$/,\$p" | grep -qE -- "$3" || fail "$1: the log has no line: $3"
	! since | sed -n "/^klpr: $1\$/,\$p" | grep -q "enabling patch" || fail "$1: the patch was enabled"
	[ ! -e $TARGET ] || expect $TARGET/parameters/one 1
}

# target_refused REGEX: check that the target cannot be loaded, and the log has the reason.
target_refused() {
	local before
	before=$(since | grep -cE -- "$1")
	insmod "$MODS/klpr_target.ko" 2>/dev/null && fail "the target was loaded"
	[ ! -e $TARGET ] || fail "the target is still there"
	[ "$(since | grep -cE -- "$1")" -gt "$before" ] || fail "the log has no further line: $1"
}

# refuse_all SECTION NAME: check each damage of the relocations of a section of this name,
# whether its object is loaded or not.
refuse_all() {
	local r="livepatch: relocation 0 of section $2" s="livepatch: section $2"
	refused_with "$1:symbol" "$noexec" "$r names a symbol that does not exist \(r_info\)"
	refused_with "$1:symbol_max" "$noexec" "$r names a symbol that does not exist \(r_info\)"
	refused_with "$1:offset" "$noexec" "$r is not within its section \(r_offset\)"
	refused_with "$1:offset_far" "$noexec" "$r is not within its section \(r_offset\)"
	refused_with "$1:offset_wraps" "$noexec" "$r is not within its section \(r_offset\)"
	refused_with "$1:info" "$noexec" "$s is for a section that is not loaded \(sh_info\)"
	refused_with "$1:info_zero" "$noexec" "$s is for a section that is not loaded \(sh_info\)"
	refused_with "$1:info_file" "$noexec" "$s is for a section that is not loaded \(sh_info\)"
	refused_with "$1:info_self" "$noexec" "$s is for a section that cannot be relocated \(sh_info\)"
	refused_with "$1:info_symbols" "$noexec" "$s is for a section that cannot be relocated \(sh_info\)"
	refused_with "$1:link" "$noexec" "$s is not for the module's symbols \(sh_link\)"
	refused_with "$1:size" "$noexec" "$s ends within a relocation \(sh_size\)"
	refused_with "$1:align" "$noexec" "$s is not aligned \(sh_addralign\)"
	refused_with "$1:not_alloc" "$noexec" "$s is not marked SHF_ALLOC"
	refused_with "$1:nobits" "$noexec" "$s is not of type SHT_RELA"
	refused_with "$1:null" "$noexec" "livepatch: section without a name is not of type SHT_RELA"
	refused_with "$1:section_name" "$inval" "livepatch: section ${2/rela/relo} has an incorrectly formatted name"
	refused_with "$1:unmarked" "$inval" "livepatch: symbol .*,0 at rela sec [0-9]+ idx 0 is not marked as a livepatch symbol"
	refused_with "$1:symbol_name" "$inval" "livepatch: symbol .klp.sym.* has an incorrectly formatted name"
}

start "apply relocations, clear them, apply them again"
damaged
load_damaged
for _ in 1 2 3; do
	target
	expect $TARGET/parameters/one 101
	no_target
done
disable klpr_patch_a
unload klpr_patch_a
# The other way round: the target is loaded first.
target
load_damaged
expect $TARGET/parameters/one 101
disable klpr_patch_a
unload klpr_patch_a
no_target
not_logged "Invalid relocation target"
ok

start "ignore what the loader overwrites"
damaged vmlinux:entsize first:entsize
load_damaged
target
expect $TARGET/parameters/one 101
no_target
disable klpr_patch_a
unload klpr_patch_a
ok

start "let a relocation for vmlinux write to memory that is freed after init"
damaged vmlinux:info_init
load_damaged
disable klpr_patch_a
unload klpr_patch_a
ok

start "refuse bad relocations for vmlinux"
refuse_all vmlinux .klp.rela.vmlinux.klpr.vmlinux
refused_with vmlinux:unknown "$inval" "livepatch: symbol 'klpr_no_such_function' not found in symbol table"
# Checked by the architecture's code, each with its own message.
refused_with vmlinux:type "$noexec" "[Rr]elocation"
ok

start "refuse bad relocations for a module that is loaded"
target
refuse_all first .klp.rela.klpr_target.klpr.first
refused_with first:info_init "$noexec" "livepatch: section .* is for a section that does not stay in memory \(sh_info\)"
refused_with first:of_vmlinux "$inval" \
	"livepatch: invalid access to vmlinux symbol 'klpr_target_one' from module-specific livepatch relocation section"
refused_with second:unknown "$inval" "livepatch: symbol 'klpr_no_such_function' not found in symbol table"
refused_with second:type "$noexec" "[Rr]elocation"
expect $TARGET/parameters/one 1
no_target
ok

start "refuse bad relocations for a module that is not loaded"
refuse_all second .klp.rela.klpr_target.klpr.second
refused_with second:info_init "$noexec" "livepatch: section .* is for a section that does not stay in memory \(sh_info\)"
refused_with second:of_vmlinux "$inval" \
	"livepatch: invalid access to vmlinux symbol 'klpr_target_two' from module-specific livepatch relocation section"
ok

# Each attempt to load the target must fail in the same way: the next attempt would find
# what a failed one has left, and log it on x86.
start "undo what was done when a symbol of a later section is not found"
damaged second:unknown
load_damaged
for _ in 1 2 3; do
	target_refused "livepatch: symbol 'klpr_no_such_function' not found in symbol table"
	logged "livepatch: failed to initialize patch 'klpr_patch_a' for module 'klpr_target' \(-22\)"
	logged "livepatch: patch 'klpr_patch_a' failed for module 'klpr_target', refusing to load module 'klpr_target'"
done
not_logged "Invalid relocation target"
disable klpr_patch_a
unload klpr_patch_a
ok

start "undo what was done when a later section cannot be written"
if [ "$(uname -m)" = x86_64 ]; then
	damaged second:word
	load_damaged
	sections=$(python3 - "$DAMAGED/klpr_patch_a.ko" <<-'PY'
		import struct, sys
		# The last two sections.
		count, = struct.unpack_from("<H", open(sys.argv[1], "rb").read(), 60)
		print(count - 2, count - 1)
	PY
	)
	nonzero="x86/modules: Invalid relocation target, existing value is nonzero for sec"
	for _ in 1 2 3; do
		target_refused "$nonzero ${sections#* }, idx 0"
		logged "livepatch: failed to initialize patch 'klpr_patch_a' for module 'klpr_target' \(-8\)"
	done
	not_logged "$nonzero ${sections% *},"
	disable klpr_patch_a
	unload klpr_patch_a
	ok
else
	skip_case "only x86 refuses to write what is not zero"
fi
