# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines for tests: folders in which the real klp works, with a script as the kernel."""

import os
import pathlib
import struct
import subprocess
import sys

KERNEL = pathlib.Path(__file__).with_name("kernel.sh")


def module(name, release="7.3.4"):
    """A livepatch module's file, as far as klp verify looks at it: ELF with .modinfo."""
    info = "livepatch=Y\0name={0}\0vermagic={1} SMP mod_unload \0".format(name, release)
    names = b"\0.modinfo\0.gnu.linkonce.this_module\0.shstrtab\0"
    sections = [
        (1, 1, info.encode()),
        (10, 1, bytes(64)),
        (36, 3, names),
    ]
    data, headers = bytearray(64), bytearray(64)
    for where, kind, content in sections:
        headers += struct.pack(
            "<IIQQQQIIQQ", where, kind, 0, 0, len(data), len(content), 0, 0, 1, 0
        )
        data += content
    at = len(data)
    data += headers
    data[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<HHI", data, 16, 1, 62, 1)
    struct.pack_into("<Q", data, 40, at)
    struct.pack_into("<HHHHHH", data, 52, 64, 0, 0, 64, 4, 3)
    return bytes(data)


class Machine:
    """A machine without patches, whose kernel does what it is told."""

    def __init__(self, folder, klp):
        self.folder = folder
        for path, content in {
            "sys/kernel/livepatch/.keep": "",
            "proc/sys/kernel/osrelease": "7.3.4\n",
            "proc/sys/kernel/random/boot_id": "boot-1\n",
            "proc/kallsyms": "",
            "dev/kmsg": "",
            "run/.keep": "",
        }.items():
            self.write(path, content)
        os.unlink(self.path("sys/kernel/livepatch/.keep"))
        self.write("kernel", KERNEL.read_text())
        os.chmod(self.path("kernel"), 0o755)
        self.klp = str(folder / "klp")
        self.write("klp", '#!/bin/sh\nKLP_ROOT={0} exec {1} "$@"\n'.format(folder, klp))
        os.chmod(self.klp, 0o755)

    def path(self, path):
        return self.folder / path

    def write(self, path, content):
        path = self.path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def has(self, name):
        """What klp itself says of a patch."""
        said = subprocess.run(
            [self.klp, "list"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        return [line.split()[1] for line in said.splitlines() if line.startswith(name + " ")]

    def installed(self):
        folder = self.path("var/lib/klp/7.3.4")
        return sorted(p.name for p in folder.glob("*.ko")) if folder.exists() else []

    def calls(self):
        """What the kernel was asked to do."""
        path = self.path("calls")
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def inventory(machines, canary):
    """An inventory for connections to this machine, with a klp for each host."""
    lines = ["[all:vars]", "ansible_connection=local", "ansible_python_interpreter=" + sys.executable]
    lines += ["[canary]"] + canary + ["[fleet]"]
    for name, machine in machines.items():
        lines.append(
            "{0} rollout_executable={1} rollout_state_folder={2} machine={3}".format(
                name, machine.klp, machine.path("var/lib/klp"), machine.folder
            )
        )
    return "\n".join(lines) + "\n"
