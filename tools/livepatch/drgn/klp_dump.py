#!/usr/bin/env drgn
# SPDX-License-Identifier: GPL-2.0
"""List the livepatches of a running kernel, or of a crash dump, with what they replace.

    drgn -s VMLINUX klp_dump.py             the running kernel, as root
    drgn -s VMLINUX -c VMCORE klp_dump.py   a crash dump

Patches are listed in their order, the oldest first: what the kernel has under klp_patches, a
list of struct klp_patch, in both livepatch cores. After a crash it says which code may have run.
"""

from drgn import Object, cast
from drgn.helpers.linux.kallsyms import load_module_kallsyms
from drgn.helpers.linux.list import list_for_each_entry


def symbol(prog, address):
    """The name of the function at an address, as far as it is known."""
    try:
        return prog.symbol(address).name
    except LookupError:
        return hex(address)


def patches(prog):
    """All patches: a variable in C, a symbol in Rust."""
    head = Object(prog, "struct list_head", address=prog.symbol("klp_patches").address)
    return list_for_each_entry("struct klp_patch", head.address_of_(), "list")


def in_transition(prog):
    """The address of the patch in transition, or 0."""
    address = prog.symbol("klp_transition_patch").address
    return Object(prog, "unsigned long", address=address).value_()


def state(patch, transition):
    words = ["enabled" if patch.enabled else "disabled"]
    if patch.value_() == transition:
        words.append("in transition")
    if patch.forced:
        words.append("forced")
    if patch.replace:
        words.append("replace")
    return ", ".join(words)


def dump(prog):
    # What the kernel knows of modules' symbols, as their debugging information may be missing.
    prog.register_symbol_finder("module_kallsyms", load_module_kallsyms(prog), enable_index=-1)
    transition = in_transition(prog)
    for patch in patches(prog):
        print("{}: {}".format(patch.mod.name.string_().decode(), state(patch, transition)))
        for obj in list_for_each_entry("struct klp_object", patch.obj_list.address_of_(), "node"):
            name = obj.name.string_().decode() if obj.name else "vmlinux"
            print("  {}{}".format(name, "" if obj.patched else " (not patched)"))
            for func in list_for_each_entry("struct klp_func", obj.func_list.address_of_(), "node"):
                if func.nop:
                    new = "as it was"
                else:
                    new = symbol(prog, cast("unsigned long", func.new_func).value_())
                print("    {} -> {}".format(func.old_name.string_().decode(), new))


if __name__ == "__main__":
    dump(prog)  # noqa: F821, drgn defines it
