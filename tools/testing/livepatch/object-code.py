#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check the code of patches in Rust for what cannot be seen when they run.

- The wrapper that the kernel calls for each replacement keeps its frame until the replacement
  is done: it does not end in a jump. Identical replacements have separate wrappers.
- A function that is not exported is jumped to, and not called by its address, which kernels with
  IBT or kCFI would not allow.

For x86_64. Usage: object-code.py OBJDUMP BUILD
"""

import pathlib
import re
import subprocess
import sys

TESTS = "selftests/livepatch_rust/test_modules"
SAMPLES = "samples/livepatch"
# Module, and how many functions it replaces. Two of klpr_rust_keep1 do the same.
MODULES = [
    (f"{TESTS}/klpr_rust_sleep.ko", 2),
    (f"{TESTS}/klpr_rust_keep1.ko", 2),
    (f"{TESTS}/klpr_rust_keep2.ko", 2),
    (f"{SAMPLES}/rust_livepatch_sample.ko", 1),
    (f"{SAMPLES}/rust_livepatch_shadow_fix2.ko", 3),
    (f"{SAMPLES}/rust_livepatch_unexported.ko", 1),
]
UNEXPORTED = f"{SAMPLES}/rust_livepatch_unexported.ko"


def functions(objdump, module):
    """Return the lines of each function, by name."""
    command = [objdump, "-d", "-r", "--no-show-raw-insn", str(module)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found, lines = {}, []
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            lines = found.setdefault(head.group(1), [])
        else:
            lines.append(line)
    return found


def is_wrapper(name):
    """Whether it is the wrapper that the macro makes for a replacement."""
    return "declare" in name and "wrapper" in name


def check_wrappers(code, count):
    """Return what is wrong with what the kernel calls."""
    wrappers = {name: lines for name, lines in code.items() if is_wrapper(name)}
    wrong = []
    if len(wrappers) != count:
        wrong.append(f"has {len(wrappers)} functions for {count} replacements")
    for name, lines in wrappers.items():
        # A jump within the function names it; for another one the next line has the relocation.
        jumps = [
            f"{line} {after}"
            for line, after in zip(lines, lines[1:] + [""])
            if re.search(r"\bjmp", line) and f"<{name}+" not in line
        ]
        returns = [jump for jump in jumps if "__x86_return_thunk" in jump]
        if not returns and not any(re.search(r"\bretq?\b", line) for line in lines):
            wrong.append(f"{name} does not return")
        wrong += [f"{name} ends in a jump: {jump}" for jump in jumps if jump not in returns]
    return wrong


def check_unexported(code):
    """Return what is wrong with the call of a function that is not exported."""
    jump = "\n".join(code.get("__livepatch_vmlinux_uptime_proc_show_0_jump", []))
    wrong = []
    if not re.search(r"\bjmp\b(.*\n)+?.*R_X86_64_PLT32\s+\.klp\.sym\.vmlinux\.uptime_proc_show,0", jump):
        wrong.append("there is no jump to it")
    for name, lines in code.items():
        if is_wrapper(name) or "show_uptime" in name:
            if re.search(r"\b(call|jmp)\S*\s+\*|__x86_indirect_thunk", "\n".join(lines)):
                wrong.append(f"{name} goes to an address")
    return wrong


def main():
    """Check all modules; the status is 0 if all is as it should be."""
    objdump, build = sys.argv[1], pathlib.Path(sys.argv[2])
    passed = failed = 0
    for module, count in MODULES:
        code = functions(objdump, build / module)
        wrong = check_wrappers(code, count)
        if module == UNEXPORTED:
            wrong += check_unexported(code)
        print(f"{'not ok' if wrong else 'ok'} {pathlib.Path(module).name}")
        for line in wrong:
            print(f"    {line}")
        failed += bool(wrong)
        passed += not wrong
    print(f"object-code: {passed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
