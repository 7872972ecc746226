#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines of the core in Rust the tests have run.

  coverage.py VMLINUX FOLDER COUNTERS...
      print how much of each file was run, by the counters that guests have copied; write the
      lines that were not to FOLDER/missed.txt

rustc puts a counter where a part of the code begins, as it does for programs. In a program a
runtime writes them to a file, with what describes them. A kernel has no runtime: here the
same file is made of the counters and of the kernel's image.
"""

import pathlib
import re
import struct
import subprocess
import sys

LLVM = "22"
# From LLVM's InstrProfData.inc.
MAGIC = 0xFF6C70726F667281
VERSION = 10
DATA_SIZE = 64
LAST_KIND_OF_VALUE = 2
CORE = "kernel/livepatch/"


def sections(vmlinux):
    """Address, offset and size of each section, by name."""
    found = {}
    said = subprocess.check_output([f"llvm-readelf-{LLVM}", "-SW", vmlinux], text=True)
    for line in said.splitlines():
        match = re.match(r" *\[ *\d+\] (\S+) +\S+ +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", line)
        if match:
            found[match[1]] = tuple(int(number, 16) for number in match.groups()[1:])
    return found


def profile(vmlinux, counters):
    """A raw profile, as a program writes it."""
    found = sections(vmlinux)
    image = pathlib.Path(vmlinux).read_bytes()

    def part(name):
        address, offset, size = found[name]
        return address, image[offset:offset + size]

    data_address, data = part("__llvm_prf_data")
    names_address, names = part("__llvm_prf_names")
    said = subprocess.check_output([f"llvm-nm-{LLVM}", vmlinux], text=True)
    counters_address = int(re.search(r"^([0-9a-f]+) . klp_counters$", said, re.M)[1], 16)
    header = struct.pack(
        "<16Q",
        MAGIC,
        VERSION,
        0,
        len(data) // DATA_SIZE,
        0,
        len(counters) // 8,
        0,
        0,
        0,
        len(names),
        (counters_address - data_address) % 2**64,
        0,
        names_address,
        0,
        0,
        LAST_KIND_OF_VALUE,
    )
    return header + data + counters + names + bytes(-len(names) % 8)


def lines(vmlinux, merged):
    """The lines of each file of the core: how often each was run, where that is known."""
    said = subprocess.check_output(
        [f"llvm-cov-{LLVM}", "export", "-format=lcov", f"-instr-profile={merged}", vmlinux], text=True
    )
    files, counts = {}, None
    for line in said.splitlines():
        if line.startswith("SF:"):
            path = line[3:]
            counts = files.setdefault(path, {}) if CORE in path else None
        elif line.startswith("DA:") and counts is not None:
            number, count = line[3:].split(",")[:2]
            counts[int(number)] = counts.get(int(number), 0) + int(count)
    return files


def is_test(source):
    """For each line, whether it is of a module of tests: these come last in a file."""
    tests = False
    for line in source:
        tests = tests or line.startswith("mod tests {")
        yield tests


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    vmlinux, folder, *dumps = sys.argv[1:]
    folder = pathlib.Path(folder)
    raw = []
    for number, dump in enumerate(dumps):
        raw.append(folder / f"{number}.profraw")
        raw[-1].write_bytes(profile(vmlinux, pathlib.Path(dump).read_bytes()))
    merged = folder / "merged.profdata"
    subprocess.check_call([f"llvm-profdata-{LLVM}", "merge", "-sparse", "-o", str(merged), *map(str, raw)])
    all_run, all_lines = 0, 0
    with open(folder / "missed.txt", "w") as missed:
        for path, counts in sorted(lines(vmlinux, merged).items()):
            source = pathlib.Path(path).read_text().splitlines()
            tests = list(is_test(source))
            own = {number: count for number, count in counts.items() if not tests[number - 1]}
            run = sum(1 for count in own.values() if count)
            all_run += run
            all_lines += len(own)
            name = path[path.index(CORE) + len(CORE):]
            print(f"{name:20} {run:5} of {len(own):5} lines  {100 * run / max(len(own), 1):5.1f} %")
            for number, count in sorted(own.items()):
                if not count:
                    missed.write(f"{name}:{number}: {source[number - 1]}\n")
    print(f"{'all':20} {all_run:5} of {all_lines:5} lines  {100 * all_run / max(all_lines, 1):5.1f} %")


if __name__ == "__main__":
    main()
