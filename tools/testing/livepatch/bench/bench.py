#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Plan the benchmark's guests, and make a table, a plot and a verdict of what they said.

usage: bench.py plan CASES
       bench.py report FOLDER OUT BARS CASES

`plan` prints a line for each guest: its name, the core, CPUs, the time that it
may take on the host in seconds, and its steps. `report` reads FOLDER/GUEST.log of
these guests, writes OUT/results.json and OUT/results.svg, and prints the table.
It ends with status 1 if a figure is below its bar, or a guest has failed.
"""

import json
import math
import pathlib
import sys

CASES = ["enable", "disable", "transition", "call", "load", "preempted", "hold", "replace", "resolve",
         "coming", "memory", "unpatched"]

# Guests: name, whether it is part of the whole benchmark, of "quick", CPUs, and steps: the cases that
# they have figures for, the step with the core in C, and with that in Rust if it is another one (None:
# no such step). A step that needs all machines to be of one size is in a guest of its own.
LIFE = ["enable", "disable", "transition"]
GUESTS = [
    ("threads-50000", True, False, 2, [(LIFE, "threads=50000"), (LIFE, "life=1")]),
    ("threads-10000", True, False, 2, [
        (LIFE, "threads=10000"), (LIFE, "life=1"), (LIFE, "life=100"), (LIFE, "life=500"),
        (LIFE, "enable=1000", "life=1000")]),
    ("threads-1000", True, False, 2, [
        (LIFE, "threads=1000"), (LIFE, "life=1"), (LIFE, "life=100"), (LIFE, "life=500"),
        (LIFE, "life=1000")]),
    ("hold", True, False, 1, [
        (["hold"], "threads=10000"), (["hold"], "hold=1"), (["hold"], "hold=100"),
        (["hold"], "hold=500")]),
    ("fork", True, False, 2, [
        (["hold"], "threads=10000"), (["hold"], "fork=1"), (["hold"], "fork=500")]),
    ("threads-10", True, False, 2, [
        (LIFE, "threads=10"), (LIFE, "life=1"), (LIFE, "life=10"), (LIFE, "life=100"),
        (LIFE, "life=500"), (LIFE, "life=1000")]),
    ("large", True, False, 2, [
        (LIFE, None, "threads=10"), (LIFE, None, "grow=1000"), (LIFE, None, "grow=2000"),
        (LIFE, None, "grow=5000"), (LIFE, None, "grow=10000")]),
    ("preempted", True, False, 2, [(["preempted"], "preempted=100")]),
    ("load", True, False, 4, [(["load"], "threads=200"), (["load"], "load=10")]),
    ("one-cpu", True, True, 1, [(["unpatched"], "unpatched"), (["call"], "call")]),
    ("modules", True, True, 2, [
        (["memory", "replace", "resolve", "coming"], "threads=10"), (["memory"], "memory=1000"),
        (["replace"], "replace"), (["resolve"], "resolve"), (["coming"], "coming")]),
    ("quick-life", False, True, 2, [
        (LIFE, "threads=10"), (LIFE, "life=1"), (LIFE, "life=500"), (LIFE, "threads=1000"),
        (LIFE, "life=500")]),
    ("quick-hold", False, True, 1, [(["hold"], "threads=1000"), (["hold"], "hold=100")]),
]

# With the word "small" in CASES these are left out: what other architectures, all emulated, take too
# long for.
LARGE = ["threads-50000", "threads-10000", "hold", "fork", "large"]

CORES = {"c": "C", "rust": "Rust"}


def planned(wanted):
    """Yield the guests that have figures for the cases in `wanted`."""
    words = wanted.split()
    names = [word for word in words if word != "small"]
    unknown = [name for name in names if name not in CASES + ["quick"]]
    if unknown:
        sys.exit(f"error: CASES has the unknown {unknown[0]}; use some of: quick small "
                 f"{' '.join(CASES)}")
    for name, whole, quick, cpus, steps in GUESTS:
        if "small" in words and name in LARGE:
            continue
        if not (quick if "quick" in names else whole):
            continue
        for index, core in enumerate(CORES):
            # A step without another for Rust is the same for both.
            chosen = [step[1:][min(index, len(step) - 2)] for step in steps
                      if "quick" in names or not names or set(names) & set(step[0])]
            chosen = [step for step in chosen if step is not None]
            if chosen:
                yield f"{name}-{core}", core, cpus, ";".join(chosen)


def read_log(path, core, cpus):
    """Return the figures of a guest, and what has gone wrong."""
    figures = []
    problem = "did not end"
    if not path.exists():
        return figures, "did not run"
    for line in path.read_text(errors="replace").splitlines():
        # A line may begin with what is left of one of the kernel's.
        said = line.partition("@")[2]
        words = said.split()
        if words[:1] == ["result"] and len(words) == 7:
            case, metric, funcs, threads, value, unit = words[1:7]
            figures.append({"case": case, "funcs": int(funcs), "threads": int(threads),
                            "cpus": cpus, "core": core, "metric": metric, "unit": unit,
                            "value": float(value)})
        elif words[:1] == ["fail"]:
            return figures, said.removeprefix("fail ")
        elif words[:1] == ["end"] and len(words) == 2:
            lost = int(words[1]) - len(figures)
            problem = f"{lost} figures are not in its log" if lost else None
        elif words[:1] == ["log"]:
            return figures, "its kernel says: " + said.removeprefix("log ")
        elif "WARNING:" in line or "BUG:" in line:
            return figures, line
    return figures, problem


def read_size(path, core):
    """Return the size of the core, from what `size` said of its objects."""
    text, data, bss = path.read_text().splitlines()[-1].split()[:3]
    figure = {"case": "memory", "funcs": 0, "threads": 0, "cpus": 0, "core": core, "unit": "bytes"}
    return [{**figure, "metric": "core-text", "value": float(text)},
            {**figure, "metric": "core-data", "value": float(data) + float(bss)}]


def key(figure):
    return tuple(figure[k] for k in ("case", "metric", "funcs", "threads", "cpus"))


def pair(figures):
    """Return {key: {core: value, "unit": unit}}, in the order of the cases."""
    pairs = {}
    for figure in figures:
        both = pairs.setdefault(key(figure), {"unit": figure["unit"]})
        both[figure["core"]] = figure["value"]
    order = {case: i for i, case in enumerate(CASES)}
    return dict(sorted(pairs.items(), key=lambda item: (order[item[0][0]], item[0][3], item[0][2])))


def ratio(both):
    """Return how many times as much C has as Rust, if it can be said."""
    c, rust = both.get("c"), both.get("rust")
    if c is None or rust is None:
        return None
    if rust <= 0:
        return math.inf if c > 0 else 1.0
    return c / rust


def number(value, unit):
    if value is None:
        return "-"
    if unit == "instructions":
        return f"{value / 1e6:,.3f} M"
    return f"{value:,.1f}"


def times(value):
    if value is None:
        return "-"
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def table(pairs):
    rows = [("case", "metric", "functions", "threads", "CPUs", "C", "Rust", "C / Rust", "unit")]
    for (case, metric, funcs, threads, cpus), both in pairs.items():
        unit = both["unit"]
        rows.append((case, metric, str(funcs or ""), str(threads or ""), str(cpus or ""),
                     number(both.get("c"), unit), number(both.get("rust"), unit),
                     times(ratio(both)), unit))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = {0, 1, 8}
    return "\n".join("  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
                     for row in rows)


# The bars of the picture: what an administrator or an author of patches sees of the core.
PICTURE = {
    ("enable", "total", 1000, 1000): "enable a patch of 1,000 functions",
    ("disable", "total", 500, 1000): "disable a patch of 500 functions",
    ("replace", "total", 500, 10): "replace a patch of 500 functions",
    ("transition", "total", 500, 10000): "switch 10,000 threads, 500 functions",
    ("transition", "total", 1, 10000): "switch 10,000 threads, 1 function",
    ("load", "patching", 10, 200): "switch 200 busy threads",
    ("hold", "longest-fork", 500, 10000): "fork during a transition, at worst",
    ("call", "steady", 100, 0): "call a patched function",
    ("call", "transition-patched", 100, 0): "call one during a transition",
    ("memory", "slab", 1000, 10): "memory for each patched function",
}


def plot(pairs):
    """Return an SVG with a bar for each ratio of PICTURE, on a logarithmic scale."""
    ratios = {what[:4]: ratio(both) for what, both in pairs.items()}
    bars = [(label, ratios.get(what)) for what, label in PICTURE.items()]
    bars = [(label, value) for label, value in bars if value not in (None, math.inf)]
    left, width, line, top = 250, 480, 22, 60
    height = top + line * len(bars) + 20
    low = min([0.5] + [value for _, value in bars])
    high = max([2.0] + [value for _, value in bars])
    low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def x(value):
        return left + width * (math.log10(value) - low) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           "<!-- SPDX-License-Identifier: GPL-2.0 -->",
           f'<rect width="{left + width + 80}" height="{height}" fill="white"/>',
           '<text x="10" y="20" font-size="14">How many times what the Rust core costs the C core '
           "costs</text>",
           '<text x="10" y="36" fill="#555">emulated instructions, waits included, or bytes of '
           "memory</text>"]
    for power in range(low, high + 1):
        at = x(10 ** power)
        colour = "#000" if power == 0 else "#ccc"
        out.append(f'<line x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{height - 14}" '
                   f'stroke="{colour}"/>')
        out.append(f'<text x="{at:.1f}" y="{top - 9}" text-anchor="middle">{10 ** power:g}</text>')
    for i, (label, value) in enumerate(bars):
        y = top + line * i
        begin, end = sorted((x(1), x(value)))
        colour = "#3b7dd8" if value >= 1 else "#d8703b"
        out.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{label}</text>')
        out.append(f'<rect x="{begin:.1f}" y="{y + 2}" width="{max(end - begin, 1):.1f}" '
                   f'height="{line - 5}" fill="{colour}"/>')
        out.append(f'<text x="{end + 4:.1f}" y="{y + 11}">{times(value)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def read_bars(path):
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            case, metric, funcs, threads, goal, bar, quick = words
            yield (case, metric, int(funcs), int(threads)), float(goal), float(bar), quick == "quick"


def judge(pairs, bars, wanted):
    """Print how each figure compares with its bar; return what passed, failed, was skipped.

    A bar of one of the cases that were `wanted` without a figure has failed, too.
    """
    names = wanted.split()
    passed = failed = skipped = 0
    values = {k[:4]: ratio(both) for k, both in pairs.items()}
    for what, goal, bar, quick in bars:
        case, metric, funcs, threads = what
        label = f"{case} {metric}" + (f", {funcs} functions" if funcs else "")
        label += f", {threads} threads" if threads else ""
        value = values.get(what)
        if value is None:
            if not names or case in names or ("quick" in names and quick):
                failed += 1
                print(f"  FAILED: {label}: there is no figure")
            continue
        if value < bar:
            failed += 1
            print(f"  FAILED: {label}: {times(value)} times, the bar is {bar:g}")
        elif value < goal:
            skipped += 1
            print(f"  not reached: {label}: {times(value)} times of {goal:g}")
        else:
            passed += 1
    return passed, failed, skipped


def main():
    if sys.argv[1:2] == ["plan"] and len(sys.argv) == 3:
        for name, core, cpus, steps in planned(sys.argv[2]):
            print(name, core, cpus, steps)
        return
    if sys.argv[1:2] != ["report"] or len(sys.argv) != 6:
        sys.exit("error: bench.py is called by bench.sh; type: make bench")

    folder, out, bars = map(pathlib.Path, sys.argv[2:5])
    figures, failed = [], 0
    for name, core, cpus, _ in planned(sys.argv[5]):
        found, problem = read_log(folder / f"{name}.log", core, cpus)
        figures += found
        if problem:
            failed += 1
            print(f"  FAILED: guest {name}: {problem}")
    if not sys.argv[5] or {"memory", "quick"} & set(sys.argv[5].split()):
        for core in CORES:
            figures += read_size(folder / f"size-{core}", core)

    pairs = pair(figures)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / "results.svg").write_text(plot(pairs))
    print(table(pairs))
    print()
    passed, below, skipped = judge(pairs, read_bars(bars), sys.argv[5])
    failed += below
    if not passed and not skipped and not failed and not figures:
        failed = 1
        print("  FAILED: there is no figure")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
