#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compile patches that must not compile, and compare the compiler's errors.

Each file in FOLDER is compiled as a module of the kernel in BUILD, with the
command that has compiled the sample patch; each in FOLDER/core as a file of the
livepatch core in CORE, with the command that has compiled that. A comment
`//~ ERROR: text` announces an error whose span begins in this line and which has
this text; `//~^ ERROR: text` one that begins in the line above. Files whose names
begin with `ok-` compile.

Usage: compile-fail.py BUILD FOLDER CORE
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SAMPLE = "samples/livepatch/rust_livepatch_sample"
CORE = "kernel/livepatch/livepatch"
MARKER = re.compile(r"//~(\^*) ERROR: (.*?)\s*$")


def command(build, built, out):
    """Return the command up to the name of the source; it writes to the folder `out`."""
    folder, name = built.rsplit("/", 1)
    cmd = (build / folder / f".{name}.o.cmd").read_text()
    match = re.match(rf"savedcmd_\S+ := (.*?) \S+/{name}\.rs\b", cmd)
    if not match:
        sys.exit(f"error: {built}.o was not built as expected; type: make modules")
    line = re.sub(r"--emit=\S+|--out-dir \S+", "", match.group(1)).replace("$$", "$")
    line = re.sub(r"\bOBJTREE=\S+", f"OBJTREE={build}", line)
    # Not to /dev/null: rustc replaces the file that -o names.
    return f"{line} --emit=metadata --error-format=json --out-dir {out}"


def in_core(core, source, out):
    """Return the root of a copy of the core that includes the file."""
    copy = pathlib.Path(out) / "core"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in core.glob("*.rs"):
        shutil.copy(path, copy)
    shutil.copy(source, copy / "case.rs")
    with (copy / "livepatch.rs").open("a") as root:
        root.write("#[allow(dead_code)]\nmod case;\n")
    return copy / "livepatch.rs"


def expected(source):
    """Return the errors that the comments announce: a list of line and text."""
    found = []
    for number, line in enumerate(source.read_text().splitlines(), 1):
        marker = MARKER.search(line)
        if marker:
            found.append((number - len(marker.group(1)), marker.group(2)))
    return found


def compile_one(build, line, source, root):
    """Return the errors: a list of line and rendered message."""
    run = subprocess.run(
        f"{line} {root}",
        shell=True,
        cwd=build,
        capture_output=True,
        text=True,
        check=False,
        # As in the kernel's Makefile: unstable features are allowed by name.
        env=os.environ | {"RUSTC_BOOTSTRAP": "1"},
    )
    errors = []
    other = [text for text in run.stderr.splitlines() if not text.startswith("{")]
    if other:
        errors.append((0, "\n".join(other)))
    for text in run.stderr.splitlines():
        if not text.startswith("{"):
            continue
        message = json.loads(text)
        if message["level"] != "error" or message["message"].startswith("aborting due to"):
            continue
        # In a copy of the core, errors in its own files have no line.
        lines = [
            span["line_start"]
            for span in message["spans"]
            if span["is_primary"] and span["file_name"].endswith((source.name, "/case.rs"))
        ]
        errors.append((lines[0] if lines else 0, message["rendered"]))
    if (run.returncode == 0) != (not errors):
        errors.append((0, f"the compiler ended with status {run.returncode}"))
    return errors


def differences(wanted, errors):
    """Return the announced errors that are missing, and the other way round."""

    def agree(announced, error):
        return announced[0] == error[0] and announced[1] in error[1]

    found = []
    for announced in wanted:
        if not any(agree(announced, error) for error in errors):
            found.append(f"no error in line {announced[0]} with: {announced[1]}")
    for error in errors:
        # The compiler may report it more than once.
        if not any(agree(announced, error) for announced in wanted):
            found.append(f"unexpected, in line {error[0]}:\n{error[1]}")
    return found


def self_test():
    """Differences must be found."""
    assert differences([(1, "a")], [(1, "xax")]) == []
    assert len(differences([(1, "a")], [])) == 1
    assert len(differences([], [(1, "a")])) == 1
    assert len(differences([(1, "a")], [(2, "a")])) == 2
    assert len(differences([(1, "a")], [(1, "b")])) == 2
    assert differences([(1, "a")], [(1, "a"), (1, "aa")]) == []
    assert len(differences([(1, "a")], [(1, "a"), (1, "b")])) == 1


def main():
    """Run the tests."""
    self_test()
    build, folder, core = (pathlib.Path(arg).resolve() for arg in sys.argv[1:])
    with tempfile.TemporaryDirectory() as out:
        module = command(build, SAMPLE, out)
        part = command(build, CORE, out)
        cases = [(source, module, source) for source in sorted(folder.glob("*.rs"))]
        cases += [(source, part, None) for source in sorted(folder.glob("core/*.rs"))]
        return run_all(build, core, out, cases)


def run_all(build, core, out, cases):
    """Compile all cases; print a line for each, and a sum."""
    passed = failed = 0
    for source, line, root in cases:
        wanted = expected(source)
        if bool(wanted) == source.name.startswith("ok-"):
            found = ["the name and the announced errors do not agree"]
        else:
            root = root or in_core(core, source, out)
            found = differences(wanted, compile_one(build, line, source, root))
        if found:
            failed += 1
            print(f"not ok {source.name}")
            for text in found:
                print("    " + text.replace("\n", "\n    "))
        else:
            passed += 1
            print(f"ok {source.name}")
    print(f"compile-fail: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
