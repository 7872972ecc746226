#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Print the KUnit cases of a kernel log, as the kernel's own parser reads it.

A line is VERDICT|NAME|REASON: ok, skip, or something else for a failure, which includes
suites that do not keep their plan.

Usage: kunit-cases.py FOLDER-OF-KUNIT.PY LOG
"""

import io
import sys


def cases(test, path=()):
    """The cases below a test: those that have none themselves."""
    path = path + ((test.name,) if test.name and test.name != "main" else ())
    if test.subtests:
        for sub in test.subtests:
            yield from cases(sub, path)
    else:
        yield ".".join(path), test


def main():
    folder, log = sys.argv[1:]
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    import kunit_parser as parser
    from kunit_printer import Printer

    # The parser's complaints are only in what it prints.
    said = io.StringIO()
    printer = Printer(output=said)
    with open(log, encoding="utf-8", errors="replace") as lines:
        test = parser.parse_run_tests(lines, printer)
    status = parser.TestStatus
    for name, case in cases(test):
        verdict = {status.SUCCESS: "ok", status.SKIPPED: "skip"}.get(case.status, case.status.name.lower())
        reason = case.skip_reason if case.status == status.SKIPPED else ""
        print(f"{verdict}|{name}|{reason}")
    for line in said.getvalue().splitlines():
        if "[ERROR]" in line:
            print(f"error|the log|{line}")


if __name__ == "__main__":
    main()
