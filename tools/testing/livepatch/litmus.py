#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the litmus tests of the core's orderings.

litmus.py MEMORY-MODEL TEST... -- HERD7...

Each test must have the result that it announces, and the opposite one without any of the
lines that are marked as needed. tools/livepatch/litmus/README describes the marks.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

WITHOUT = re.compile(r"\s*// without: (.*)$")
EXPECTED = re.compile(r"^// expected: (\w+)$")


def variants(text):
    """The test as it is, and with each needed line replaced, as (what, expected, text)."""
    plain, expected, marks = [], "Never", []
    for line in text.splitlines():
        if mark := EXPECTED.match(line):
            expected = mark[1]
            continue
        if mark := WITHOUT.search(line):
            marks.append((len(plain), line[: mark.start()].strip(), mark[1]))
            line = line[: mark.start()]
        plain.append(line)
    yield "", expected, "\n".join(plain) + "\n"
    for place, statement, other in marks:
        changed = list(plain)
        changed[place] = "\t" + other
        yield f" without {statement}", "Sometimes", "\n".join(changed) + "\n"


def observe(herd, model, text):
    """The result of herd7 for a test: Never, Sometimes, Always, or why there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".litmus") as file:
        file.write(text)
        file.flush()
        command = [*herd, "-conf", "linux-kernel.cfg", file.name]
        said = subprocess.run(command, cwd=model, capture_output=True, text=True, check=False)
    found = re.search(r"^Observation \S+ (\w+)", said.stdout, re.MULTILINE)
    return found[1] if found else (said.stderr or said.stdout).strip()


def main(arguments):
    separator = arguments.index("--")
    model, *tests = arguments[:separator]
    herd = arguments[separator + 1 :]
    passed = failed = 0
    for test in map(Path, tests):
        for what, expected, text in variants(test.read_text()):
            seen = observe(herd, model, text)
            if seen == expected:
                passed += 1
                print(f"ok: {test.stem}{what}: {seen}")
            else:
                failed += 1
                print(f"FAILED: {test.stem}{what}: {seen}, and not {expected}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
