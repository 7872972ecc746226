#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Whether the kernel itself patches the text at a place that an oops names.

    text-site.py VMLINUX SYSTEM.MAP SYMBOL OFFSET SIZE BYTE...
    text-site.py VMLINUX SYSTEM.MAP --examples

SYMBOL and SIZE are as in "SYMBOL+0x1/0xSIZE", OFFSET is that of the instruction,
and the BYTEs are what is there. Prints what patches the place; fails if nothing
does, or if the bytes are none that it writes there. --examples prints a place of
each kind, as such an oops would name it, and one that nothing patches.
"""

import bisect
import struct
import sys


class Kernel:
    """The symbols of an x86 kernel as kallsyms has them, and its lists of places."""

    def __init__(self, vmlinux, system_map):
        self.at = {}
        self.aliases = set()
        self.named = {}
        with open(system_map, encoding="ascii") as file:
            for line in file:
                address, _, name = line.split()
                address = int(address, 16)
                if self.at.setdefault(address, name) != name:
                    self.aliases.add(address)
                self.named.setdefault(name, []).append(address)
        self.addresses = sorted(self.at)
        with open(vmlinux, "rb") as file:
            self.image = file.read()
        if self.image[:6] != b"\x7fELF\x02\x01":
            sys.exit(f"{vmlinux} is no 64-bit little-endian ELF file")
        offset, = struct.unpack_from("<Q", self.image, 32)
        each, count = struct.unpack_from("<HH", self.image, 54)
        self.segments = []
        for i in range(count):
            kind, _, at, address, _, size = struct.unpack_from(
                "<IIQQQQ", self.image, offset + i * each)
            if kind == 1:
                self.segments.append((address, at, size))
        self.sites = {}
        for at, entry in self.entries("__start_mcount_loc", "__stop_mcount_loc", "<Q"):
            self.sites[entry[0]] = "ftrace"
        for at, entry in self.entries("__start_static_call_sites", "__stop_static_call_sites", "<ii"):
            self.sites[at + entry[0]] = "static call"
        for at, entry in self.entries("__start___jump_table", "__stop___jump_table", "<iiq"):
            self.sites[at + entry[0]] = "jump label"
        for name in "ftrace_call", "ftrace_regs_call", "ftrace_graph_call":
            for address in self.named.get(name, []):
                self.sites[address] = "ftrace"
        for name, addresses in self.named.items():
            if name.startswith("__SCT__"):
                for address in addresses:
                    self.sites[address] = "static call"

    def entries(self, start, stop, form):
        """The entries of a list between two symbols, with the address of each."""
        start, stop = self.named[start][0], self.named[stop][0]
        for address, at, size in self.segments:
            if address <= start and stop <= address + size:
                begin = at + start - address
                data = self.image[begin:begin + stop - start]
                each = struct.calcsize(form)
                return [(start + i * each, entry)
                        for i, entry in enumerate(struct.iter_unpack(form, data))]
        sys.exit("no segment has the list of places")

    def size(self, address):
        """The size of a symbol, as kallsyms has it: up to the next one."""
        i = bisect.bisect_right(self.addresses, address)
        return self.addresses[i] - address if i < len(self.addresses) else 0

    def in_text(self, address):
        return self.named["_stext"][0] <= address < self.named["_etext"][0]


# What may be at the place, as its first bytes: the no-ops, calls and jumps that are written there.
NOP5 = (0x0f, 0x1f, 0x44, 0x00, 0x00)
WRITTEN = {
    "ftrace": [NOP5, (0xe8,), (0xe9,)],
    "jump label": [NOP5, (0x66, 0x90), (0xe9,), (0xeb,)],
    # A call of nothing, one of a function that returns 0, a call or a return at a
    # function's end, and a conditional jump there.
    "static call": [NOP5, (0xe8,), (0xe9,), (0x2e, 0x2e, 0x2e, 0x31, 0xc0), (0xc3, 0xcc, 0xcc, 0xcc, 0xcc)]
                   + [(0x0f, 0x80 + i) for i in range(16)],
}


def find(kernel, name, offset, size, code):
    """What patches the place, or None. Several functions may have the name."""
    kinds = set()
    for address in kernel.named.get(name, []):
        if kernel.size(address) == size and 0 <= offset < size:
            known = kernel.in_text(address)
            kinds.add(kernel.sites.get(address + offset) if known else None)
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind and any(tuple(code[:len(want)]) == want for want in WRITTEN[kind]):
        return kind
    return None


def examples(kernel):
    """A place of each kind: its kind and what an oops after it would show."""
    wanted = ["ftrace", "jump label", "static call"]
    for address in sorted(kernel.sites):
        kind = kernel.sites[address]
        if kind not in wanted or not kernel.in_text(address):
            continue
        start = kernel.addresses[bisect.bisect_right(kernel.addresses, address) - 1]
        name, size = kernel.at[start], kernel.size(start)
        offset = address - start
        if len(kernel.named[name]) > 1 or start in kernel.aliases or name.startswith("__SCT__"):
            continue
        if find(kernel, name, offset, size, NOP5) != kind:
            continue
        wanted.remove(kind)
        print(f"{kind}|{name}+{offset + 1:#x}/{size:#x}")
        if kind == "ftrace":
            print(f"nothing|{name}+{offset + 2:#x}/{size:#x}")
            print(f"size|{name}+{offset + 1:#x}/{size + 16:#x}")
    if wanted:
        sys.exit(f"the kernel has no {', '.join(wanted)}")


def main():
    kernel = Kernel(sys.argv[1], sys.argv[2])
    if sys.argv[3] == "--examples":
        examples(kernel)
        return
    name, offset, size = sys.argv[3], int(sys.argv[4], 0), int(sys.argv[5], 0)
    kind = find(kernel, name, offset, size, [int(byte, 16) for byte in sys.argv[6:]])
    if kind is None:
        sys.exit(1)
    print(kind)


if __name__ == "__main__":
    main()
