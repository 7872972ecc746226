#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure the structure of our Rust code, and report where it exceeds the limits.

  structure.py [--print]     the measures, with their limits; an error for each that is
                             exceeded, and if the picture in the documentation is old
  structure.py --picture     write the picture of what the files of the core use anew
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
CORE = ROOT / "kernel/livepatch"
PICTURE = ROOT / "Documentation/livepatch/rust-core.rst"
# Files of the core that are not part of the kernel.
HOST = {"host_tests", "fuzz"}
# The rooms of the core, from the bottom to the top. A file uses no room above its own.
ROOMS = {
    "decisions": ["sort", "names", "ranges", "rela", "route", "target", "backoff", "blocked"],
    "boundary": [
        "warn", "lock", "list", "module", "elf", "task", "tasklist", "test_params", "trace", "abi",
    ],
    "parts": [
        "synchronize", "symbols", "relocs", "shadow", "state", "redirect", "index", "progress",
        "switch", "transition", "registry",
    ],
    "entries": ["sysfs", "debugfs", "exports"],
}
LIMITS = {
    "unsafe blocks in 1,000 lines of the core": 20,
    "lines of the core with bindings, outside of the boundary": 30,
    "direct calls of C there": 5,
    "files of the core in circles": 0,
    "files of the core that use a room above": 0,
    "helpers in livepatch.c that are not livepatch's": 0,
    "lines of the longest function": 60,
}
FN = re.compile(r'^( *)(?:pub(?:\([a-z]+\))? )?(?:default |const |async |unsafe |extern "C" )*fn (\w+)')


def code(path):
    """The lines of a file, without comments."""
    return [line for line in path.read_text().splitlines() if not line.lstrip().startswith("//")]


def core_files():
    return {p.stem: p for p in sorted(CORE.glob("*.rs")) if p.stem not in HOST | {"livepatch"}}


def split_list(text):
    """The items of a list with nested braces."""
    items, depth, item = [], 0, ""
    for char in text:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(item.strip())
            item = ""
        else:
            item += char
    return [item for item in items + [item.strip()] if item]


def uses():
    """Which others each file of the core uses."""
    files = core_files()
    result = {}
    for name, path in files.items():
        text = "\n".join(code(path))
        used = {i.split("::")[0] for g in re.findall(r"use crate::\{(.*?)\};", text, re.S) for i in split_list(g)}
        used |= set(re.findall(r"crate::(\w+)", text))
        result[name] = sorted((used & set(files)) - {name})
    return result


def reach(graph, name):
    """All that a file uses, directly or by others."""
    todo, seen = list(graph[name]), set()
    while todo:
        used = todo.pop()
        if used not in seen:
            seen.add(used)
            todo += graph[used]
    return seen


def circles(graph):
    """The files that lead back to themselves."""
    return [name for name in graph if name in reach(graph, name)]


def functions(path):
    """The functions of a file, as (name, first line, number of lines)."""
    start = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = FN.match(line)
        if found and not line.rstrip().endswith((";", "}")) and start is None:
            start = (found.group(2), number, found.group(1))
        elif start and (line == start[2] + "}" or line.endswith(";") and line.startswith(start[2] + ")")):
            yield start[0], start[1], number - start[1] + 1
            start = None


def measure():
    files = core_files()
    lines = sum(len(path.read_text().splitlines()) for path in files.values())
    texts = {name: code(path) for name, path in files.items()}
    outside = [line for name, text in texts.items() if name not in ROOMS["boundary"] for line in text]
    graph = uses()
    order = {name: i for i, room in enumerate(ROOMS.values()) for name in room}
    unknown = sorted(set(files) ^ set(order))
    if unknown:
        sys.exit(f"error: in no room, or gone: {', '.join(unknown)}; change ROOMS in {__file__}")
    above = sorted(name for name in graph if any(order[used] > order[name] for used in graph[name]))
    helpers = re.findall(r"rust_helper_(\w+)\(", (ROOT / "rust/helpers/livepatch.c").read_text())
    ours = [p for top in ("kernel", "rust", "samples", "tools/livepatch") for p in (ROOT / top).rglob("*.rs")]
    longest = sorted(((n, f"{p.relative_to(ROOT)}:{at} {name}") for p in ours for name, at, n in functions(p)
                      if "/tests" not in str(p)), reverse=True)
    blocks = sum(text.count("unsafe {") for text in ("\n".join(t) for t in texts.values()))
    return {
        "unsafe blocks in 1,000 lines of the core": (round(1000 * blocks / lines, 1), f"{blocks} in {lines}"),
        "lines of the core with bindings, outside of the boundary":
            (sum("bindings::" in line for line in outside), ""),
        "direct calls of C there":
            (sum(len(re.findall(r"bindings::\w+\(", line)) for line in outside), ""),
        "files of the core in circles": (len(circles(graph)), " ".join(circles(graph))),
        "files of the core that use a room above": (len(above), " ".join(above)),
        "helpers in livepatch.c that are not livepatch's":
            (len([h for h in helpers if "klp_" not in h and "livepatch" not in h]), ""),
        "lines of the longest function":
            (longest[0][0], "; ".join(f"{n} {where}" for n, where in longest[:6] if n > 60) or longest[0][1]),
    }


def picture():
    """The dependencies of the files of the core, as a graph, without those that others imply."""
    graph = uses()

    def without_shortcuts(name):
        direct = graph[name]
        return [u for u in direct if not any(u in reach(graph, o) for o in direct if o != u)]

    out = [".. kernel-render:: DOT", "   :alt: What the files of the core use", "",
           "   digraph core {", "      rankdir = BT;", "      node [shape = box, fontsize = 11];"]
    for room, names in ROOMS.items():
        out.append(f"      subgraph cluster_{room} {{")
        out.append(f'         label = "{room}";')
        out += [f"         {name};" for name in names]
        out.append("      }")
    out += [f"      {name} -> {used};" for name in graph for used in without_shortcuts(name)]
    return "\n".join(out + ["   }"]) + "\n"


BEGIN = ".. Written by tools/testing/livepatch/structure.py --picture.\n\n"
END = "\n.. The end of what is written.\n"


def main():
    text = PICTURE.read_text()
    before, rest = text.split(BEGIN, 1)
    old, after = rest.split(END, 1)
    if sys.argv[1:] == ["--picture"]:
        PICTURE.write_text(before + BEGIN + picture() + END + after)
        return 0
    bad = 0
    for name, (value, remark) in measure().items():
        limit = LIMITS[name]
        exceeded = value > limit
        bad += exceeded
        if exceeded or sys.argv[1:] == ["--print"]:
            print(f"{name}: {value}, at most {limit}{f' ({remark})' if remark else ''}")
    if old != picture():
        print(f"the picture in {PICTURE.relative_to(ROOT)} is old: run {sys.argv[0]} --picture")
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
