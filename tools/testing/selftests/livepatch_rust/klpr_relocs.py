#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Add livepatch relocations to a module, good ones or damaged ones.

usage: klpr_relocs.py MODULE RESULT [SECTION:DAMAGE...]

The module gets a section of three words, all zero, and three sections of
relocations with one relocation each, which writes the address of a function into
the word of that number:

    vmlinux   0  cmdline_proc_show() of vmlinux
    first     1  klpr_target_one() of klpr_target
    second    2  klpr_target_two() of klpr_target

Damage, to the relocation:
    symbol, symbol_max  the number of the symbol is one, or far, too large
    offset, offset_far, offset_wraps
                        the word ends behind its section, is far away, or would be
                        in front of it
    type                there is no relocation of this type
to the header of its section:
    info, info_zero     it is for a section that does not exist, or for number 0
    info_file           it is for one that is not loaded
    info_self, info_symbols
                        it is for itself, or for the symbols
    info_init           it is for one that is freed after init
    link                it is for other symbols
    size                it ends within the relocation
    align               it is not aligned
    not_alloc, nobits, null
                        it is not loaded, has no contents, has no type
    entsize             the size of an entry is wrong (which the loader overwrites)
    section_name        its name is not a livepatch name
or to its symbol:
    unmarked            it is not a livepatch symbol
    symbol_name         its name is not a livepatch name
    unknown             there is no such function
    of_vmlinux          it is a symbol of vmlinux
or to the word:
    word                it is not zero
"""

import struct
import sys

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 0, 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_INFO_LINK, SHF_RELA_LIVEPATCH = 1, 2, 0x40, 0x100000
SHN_ABS, SHN_LIVEPATCH = 0xFFF1, 0xFF20

# Machines, and the relocation that writes a word.
WORD = {62: 1, 22: 22, 21: 38, 183: 257, 258: 2}
FUNCTIONS = {
    "vmlinux": ("vmlinux", "cmdline_proc_show"),
    "first": ("klpr_target", "klpr_target_one"),
    "second": ("klpr_target", "klpr_target_two"),
}
DAMAGE = """symbol symbol_max offset offset_far offset_wraps type info info_zero info_file info_self
    info_symbols info_init link size align not_alloc nobits null entsize section_name unmarked symbol_name
    unknown of_vmlinux word""".split()
HEADER = ("name", "type", "flags", "addr", "offset", "size", "link", "info", "align", "entsize")


class Module:
    def __init__(self, data):
        if data[:5] != b"\x7fELF\x02":
            sys.exit("not an ELF file of 64 bits")
        self.data = bytearray(data)
        self.order = "<" if data[5] == 1 else ">"
        (self.machine,) = self.unpack("H", 18)
        (start,) = self.unpack("Q", 40)
        size, count, names = self.unpack("HHH", 58)
        self.sections = [dict(zip(HEADER, self.unpack("IIQQQQIIQQ", start + i * size))) for i in range(count)]
        self.names = self.sections[names]
        self.symtab = next(s for s in self.sections if s["type"] == SHT_SYMTAB)
        self.strtab = self.sections[self.symtab["link"]]

    def unpack(self, form, at):
        return struct.unpack_from(self.order + form, self.data, at)

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def append(self, data):
        """Put data at the end of the file; return where."""
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += data
        return at

    def contents(self, section):
        return bytes(self.data[section["offset"]:section["offset"] + section["size"]])

    def extend(self, section, data):
        """Add to a section, which moves; return where in it."""
        at, old = section["size"], self.contents(section)
        section["offset"] = self.append(old + data)
        section["size"] += len(data)
        return at

    def name_of(self, section):
        return self.contents(self.names)[section["name"]:].split(b"\0")[0].decode()

    def index(self, section):
        return next(i for i, s in enumerate(self.sections) if s is section)

    def named(self, name):
        return next(s for s in self.sections if self.name_of(s) == name)

    def add_symbol(self, name, section):
        at = self.extend(self.strtab, name.encode() + b"\0")
        # STB_GLOBAL, STT_NOTYPE
        return self.extend(self.symtab, self.pack("IBBHQQ", at, 0x10, 0, section, 0, 0)) // 24

    def add_section(self, name, data, **header):
        at = self.extend(self.names, name.encode() + b"\0")
        section = dict.fromkeys(HEADER, 0)
        section.update(name=at, offset=self.append(data), size=len(data), align=8, **header)
        self.sections.append(section)
        return section

    def finish(self):
        table = b"".join(self.pack("IIQQQQIIQQ", *(s[k] for k in HEADER)) for s in self.sections)
        at = self.append(table)
        struct.pack_into(self.order + "Q", self.data, 40, at)
        struct.pack_into(self.order + "H", self.data, 60, len(self.sections))
        return self.data


def add(module, which, number, place, damage):
    """Add a section of relocations, with its damage."""
    obj, function = FUNCTIONS[which]
    if "unknown" in damage:
        function = "klpr_no_such_function"
    of = "vmlinux" if "of_vmlinux" in damage else obj
    symbol_name = f".klp.sym.{of}.{function},0"
    if "symbol_name" in damage:
        symbol_name = f".klp.sym.{of}.{function}"
    symbol = module.add_symbol(symbol_name, SHN_ABS if "unmarked" in damage else SHN_LIVEPATCH)

    size = place["size"]
    # One too large, once there is a symbol for each section.
    beyond = module.symtab["size"] // 24 + len(FUNCTIONS) - 1 - number
    for name, value in (("symbol", beyond), ("symbol_max", 0xFFFFFFFF)):
        if name in damage:
            symbol = value
    offset = number * 8
    for name, value in (("offset", size - 7), ("offset_far", 1 << 40), ("offset_wraps", (1 << 64) - 8)):
        if name in damage:
            offset = value
    kind = 200 if "type" in damage else WORD[module.machine]
    relocation = module.pack("QQq", offset, symbol << 32 | kind, 0)

    init = place
    if "info_init" in damage:
        init = module.add_section(".init.klpr", bytes(size), type=SHT_PROGBITS, flags=SHF_ALLOC | SHF_WRITE)
    if "align" in damage:
        # Read-only, as relocations are, so that these come right behind it.
        module.add_section("klpr.byte", b"x", type=SHT_PROGBITS, flags=SHF_ALLOC)
    name = f".klp.rela.{obj}.klpr.{which}"
    if "section_name" in damage:
        name = f".klp.relo.{obj}.klpr.{which}"
    section = module.add_section(
        name,
        relocation,
        type=SHT_RELA,
        flags=SHF_ALLOC | SHF_INFO_LINK | SHF_RELA_LIVEPATCH,
        link=module.index(module.symtab),
        info=module.index(place),
        entsize=24,
    )
    if "size" in damage:
        section["size"] -= 1
    if "align" in damage:
        section["align"] = 1
    if "not_alloc" in damage:
        section["flags"] &= ~SHF_ALLOC
    if "nobits" in damage:
        section["type"] = SHT_NOBITS
    if "null" in damage:
        section["type"] = SHT_NULL
    if "link" in damage:
        section["link"] = module.index(module.strtab)
    if "entsize" in damage:
        section["entsize"] = 7
    for name, info in (
        ("info", 0xFFF0),
        ("info_zero", 0),
        ("info_file", module.index(module.named(".comment"))),
        ("info_self", module.index(section)),
        ("info_symbols", module.index(module.symtab)),
        ("info_init", module.index(init)),
    ):
        if name in damage:
            section["info"] = info
    if "word" in damage:
        module.data[place["offset"] + number * 8 + 3] = 0x55


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, result, *wanted = sys.argv[1:]
    with open(source, "rb") as file:
        module = Module(file.read())
    damage = {which: set() for which in FUNCTIONS}
    for one in wanted:
        which, what = one.split(":")
        if what not in DAMAGE:
            sys.exit(f"what is {what}?")
        damage[which].add(what)
    place = module.add_section("klpr.place", bytes(24), type=SHT_PROGBITS, flags=SHF_ALLOC | SHF_WRITE)
    for number, which in enumerate(FUNCTIONS):
        add(module, which, number, place, damage[which])
    with open(result, "wb") as file:
        file.write(module.finish())


if __name__ == "__main__":
    main()
