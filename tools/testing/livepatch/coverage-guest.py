#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Copy what is at a symbol of the running kernel to a file.

usage: coverage-guest.py SYMBOL SIZE FILE
"""

import struct
import sys

PT_LOAD = 1


def main():
    size = int(sys.argv[2], 0)
    with open("/proc/kallsyms") as symbols:
        address = next(int(line.split()[0], 16) for line in symbols if line.split()[2] == sys.argv[1])
    with open("/proc/kcore", "rb") as core:
        header = core.read(64)
        table, entry, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        for number in range(count):
            core.seek(table + number * entry)
            kind, _, offset, start, _, length = struct.unpack("<IIQQQQ", core.read(40))
            if kind == PT_LOAD and start <= address and address + size <= start + length:
                core.seek(offset + address - start)
                with open(sys.argv[3], "wb") as file:
                    file.write(core.read(size))
                return
    sys.exit(f"/proc/kcore does not have {sys.argv[1]}")


if __name__ == "__main__":
    main()
