#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check what the hot paths of the livepatch core may call, in the object code.

From each root the direct calls and jumps are followed through Rust code. A call
of a panic function or of an allocator is an error; in the ftrace handler so is a
call of a function that the tracer can hook, in Rust or C. Only where it makes no
such call the handler needs no protection from recursion: on x86, s390 and powerpc.

Usage: hotpath.py OBJDUMP VMLINUX
       hotpath.py --self-test
"""

import bisect
import re
import subprocess
import sys

# Root: (pattern of its symbol, whether it is a handler of ftrace).
ROOTS = [
    (r"^klp_update_patch_state$", False),
    (r"^__klp_sched_try_switch$", False),
    (r"^_R.*6ftrace.*4Hook.*9livepatch8redirect5Table.*callback", True),
]
PANIC = re.compile(
    r"9panicking|unwrap_failed|expect_failed|slice_index_fail|slice_(start|end)_index"
    r"|panic_(const|fmt|bounds|nounwind)|rust_begin_unwind|^panic$|rust_helper_BUG"
)
ALLOC = re.compile(
    r"^(__)?(k|kv|v)(m|z|re)?alloc|kmem_cache_alloc|^kfree|^vmalloc|krealloc|kvrealloc"
)
RUST = re.compile(r"^(_R|klp_|__klp_)")
HEAD = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
# The tracer's code at the entry of a function that it can hook, among the first
# instructions: x86, s390, powerpc (after the two that set up r2).
TRACED = re.compile(
    r"\b(0f 1f 44 00 00|nopl\s+(0x0)?\(%rax,%rax(,1)?\)|call.*<__fentry__)|\bjgnop\b"
    r"|^\s*[0-9a-f]+: 00 00 00 60 "
)
# Branch instructions, with the address as the last operand.
BRANCH = re.compile(
    r"\t(?:call|jmp|j[a-z]{1,3}|brasl|jg[a-z]*|j[a-z]*|c[lg]*[ir]+j[a-z]*|brc[lt]*|brct[g]?"
    r"|bl?|b[tf]|bd[n]?z)q?\s+(?:.*, ?)?(?:0x)?([0-9a-f]+)(?: <([^>+]+)(?:\+0x[0-9a-f]+)?>)?\s*$"
)


def parse(lines):
    """Return the functions: name -> (its first instructions, what it branches to)."""
    heads = []
    funcs = {}
    targets = {}
    name = None
    for line in lines:
        head = HEAD.match(line)
        if head:
            name = head.group(2)
            heads.append((int(head.group(1), 16), name))
            funcs[name] = ([], set())
            targets[name] = set()
            continue
        if name is None or not line.strip():
            continue
        first, callees = funcs[name]
        if len(first) < 3:
            first.append(line)
        branch = BRANCH.search(line)
        if branch and branch.group(2):
            callees.add(branch.group(2))
        elif branch:
            targets[name].add(int(branch.group(1), 16))
    # Where the disassembler names no function, take the one that contains the address.
    heads.sort()
    for name, addrs in targets.items():
        for addr in addrs:
            at = bisect.bisect_right(heads, (addr, chr(0x10FFFF))) - 1
            if at >= 0:
                funcs[name][1].add(heads[at][1])
    for name, (_, callees) in funcs.items():
        callees.discard(name)
    return funcs


def traced(func):
    """Whether the tracer can hook a function."""
    return any(TRACED.search(line) for line in func[0])


def check(funcs, roots):
    """Return the errors, and how many functions were checked."""
    errors = []
    seen_all = 0
    if not any(traced(func) for func in funcs.values()):
        errors.append("no function can be hooked: the tracer's entries are not recognised")
    for pattern, handler in roots:
        found = [name for name in funcs if re.search(pattern, name)]
        if not found:
            errors.append(f"there is no function like {pattern}")
        for root in found:
            todo, seen = [(root, (root,))], {root}
            while todo:
                name, path = todo.pop()
                seen_all += 1
                if handler and name in funcs and traced(funcs[name]):
                    errors.append(f"the handler calls what can be traced: {' -> '.join(path)}")
                # For C only the names matter, and the functions that the handler calls.
                if not RUST.match(name) or name not in funcs:
                    continue
                for callee in sorted(funcs[name][1]):
                    way = path + (callee,)
                    if PANIC.search(callee):
                        errors.append(f"may panic: {' -> '.join(way)}")
                    elif ALLOC.search(callee):
                        errors.append(f"may allocate: {' -> '.join(way)}")
                    elif callee not in seen and not (handler and callee.startswith("__SCT__")):
                        seen.add(callee)
                        todo.append((callee, way))
    return errors, seen_all


def self_test():
    """Bad code must be found."""
    good = """
0000 <klp_update_patch_state>:
  0: c3  \tretq
0010 <__klp_sched_try_switch>:
 10: e8 00  \tcallq\t0x40 <_RNv4walk>
0040 <_RNv4walk>:
 40: e8 00  \tcallq\t0x50 <task_call_func>
0050 <task_call_func>:
 50: 0f 1f 44 00 00  \tnopl\t(%rax,%rax)
 55: e8 00  \tcallq\t0x90 <panic>
0060 <_RNv6ftrace4Hook9livepatch8redirect5Table8callback>:
 60: f3 0f 1e fa  \tendbr64
 64: c3  \tretq
0070 <quiet>:
 70: c3  \tretq
"""
    cases = {
        "": 0,
        " 11: e8  \tcallq\t0x80 <_RNvNtCs_4core9panicking5panic>\n": 1,
        " 11: 0f 84  \tje\t0x80 <_RNvNtCs_4core9panicking18panic_bounds_check>\n": 1,
        " 11: e8  \tcallq\t0x80 <__kmalloc_noprof>\n": 1,
    }
    for extra, expected in cases.items():
        for symbol in ("klp_update_patch_state", "_RNv4walk"):
            text = good.replace(f"<{symbol}>:\n", f"<{symbol}>:\n{extra}")
            errors, _ = check(parse(text.splitlines()), ROOTS)
            assert len(errors) == expected, (extra, symbol, errors)
    # The handler: calls of traced functions, by name and by address, and of others.
    for extra, expected in (
        (" 64: e8  \tcallq\t0x50 <task_call_func>\n", 1),
        (" 64: c0 e5  \tbrasl\t%r14, 0x50\n", 1),
        (" 64: 48  \tbl 0x50 <task_call_func+0x8>\n", 1),
        (" 64: ec 3b  \tcgrje\t%r3, %r11, 0x50\n", 1),
        (" 64: c0 e5  \tbrasl\t%r14, 0x70\n", 0),
        (" 64: 48  \tbl 0x70 <quiet>\n", 0),
    ):
        text = good.replace(" 64: c3  \tretq\n", extra)
        errors, _ = check(parse(text.splitlines()), ROOTS)
        assert len(errors) == expected, (extra, errors)
    for entry in ("0f 1f 44 00 00  \tnopl\t(%rax,%rax)", "c0 04 00 00  \tjgnop\t0x60", "00 00 00 60  \tnop"):
        text = good.replace("f3 0f 1e fa  \tendbr64", entry)
        assert len(check(parse(text.splitlines()), ROOTS)[0]) == 1, entry
    assert len(check(parse([]), ROOTS)[0]) == len(ROOTS) + 1


def main():
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        return 0
    objdump, vmlinux = sys.argv[1:]
    out = subprocess.run(
        [objdump, "-d", vmlinux], check=True, capture_output=True, text=True
    ).stdout
    errors, count = check(parse(out.splitlines()), ROOTS)
    for error in errors:
        print(f"error: {error}")
    if not errors:
        print(f"{count} functions on the hot paths: no panics, no allocations, nothing traced")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
