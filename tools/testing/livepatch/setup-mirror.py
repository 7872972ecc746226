#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A small Debian mirror on the loopback, for the tests of setup.sh.

Its packages have the names of those that setup.sh needs, and programs that print the
versions it expects; their shell is busybox. It is signed with a key of its own. Its
faults are in the file FOLDER/faults, a line each: drop, cut, flip, missing or slow, and
a regular expression for the path; FOLDER/requests has the paths that were requested.

Usage: setup-mirror.py FOLDER TOOLS BUSYBOX
"""

import datetime
import gzip
import hashlib
import http.server
import io
import os
import re
import subprocess
import sys
import tarfile
import time

SUITES = {"debian": ["", "-updates", "-backports"], "debian-security": ["-security"]}
ARCHES = ["amd64", "s390x"]


def ar(members):
    """An archive as dpkg-deb reads it."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data
        out += b"\n" * (len(data) % 2)
    return out


def tar(files, links=()):
    """FILES is path -> (mode, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        folders = set()
        for path in [*files, *(path for path, _ in links)]:
            parts = path.split("/")[:-1]
            folders.update("/".join(parts[:i]) for i in range(1, len(parts) + 1))
        for path in sorted(folders):
            info = tarfile.TarInfo("./" + path)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for path, (mode, data) in files.items():
            info = tarfile.TarInfo("./" + path)
            info.mode, info.size = mode, len(data)
            archive.addfile(info, io.BytesIO(data))
        for path, target in links:
            info = tarfile.TarInfo("./" + path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


class Mirror:
    def __init__(self, folder, tools, busybox):
        self.folder = folder
        self.versions = dict(
            line.strip().split("=", 1)
            for line in open(f"{tools}/versions", encoding="utf-8")
            if re.match(r"[A-Z_]+=", line)
        )
        self.tools = tools
        self.busybox = open(busybox, "rb").read()
        self.applets = subprocess.run(
            [busybox, "--list"], check=True, capture_output=True, text=True
        ).stdout.split()

    def names(self, file):
        """The packages of one of our lists, and whether they are from the backports."""
        for line in open(f"{self.tools}/{file}", encoding="utf-8"):
            for name in line.split("#")[0].split():
                yield name.split("/")[0], "/" in name

    def files(self, name):
        """The contents of a package."""
        v = self.versions
        llvm = v["LLVM_VERSION"]
        says = {
            "rustc": {"rustc": f"rustc {v['RUST_VERSION']} (made up)"},
            "rustfmt": {"rustfmt": "rustfmt 1.9.0"},
            "rust-clippy": {"clippy-driver": "clippy 0.1.97"},
            f"clang-{llvm}": {f"clang-{llvm}": f"Debian clang version {llvm}.1"},
            f"lld-{llvm}": {f"ld.lld-{llvm}": f"Debian LLD {llvm}.1"},
            "build-essential": {"gcc": "gcc (Debian) 14"},
            "make": {"make": "GNU Make 4.4"},
            "ccache": {"ccache": "ccache version 4"},
            "qemu-system-x86": {"qemu-system-x86_64": "QEMU emulator version 10"},
            "qemu-system-s390x": {"qemu-system-s390x": "QEMU emulator version 10"},
            "qemu-system-ppc": {"qemu-system-ppc64": "QEMU emulator version 10"},
        }.get(name, {name: name})
        files = {f"usr/bin/{p}": (0o755, f"#!/bin/sh\necho '{s}'\n".encode()) for p, s in says.items()}
        links = []
        if name == "busybox-static":
            files = {"bin/busybox": (0o755, self.busybox)}
            files.update({f"{folder}/.made-up": (0o644, b"") for folder in ("dev", "proc", "sys", "tmp", "etc")})
            links = [(f"bin/{a}", "busybox") for a in self.applets if a not in ("busybox", "dpkg", "dpkg-deb")]
            links += [("usr/bin/env", "../../bin/busybox")]
            files["bin/bash"] = (0o755, b'#!/bin/sh\nexec sh "$@"\n')
        elif name == f"libclang-{llvm}-dev":
            files[f"usr/lib/llvm-{llvm}/lib/libclang.so"] = (0o644, b"")
        elif name == "cargo":
            files["usr/bin/cargo"] = (0o755, CARGO.encode())
        elif name == "python3":
            files["usr/bin/python3"] = (0o755, PYTHON.encode())
        elif name == "linux-source":
            files = {}
        return files, links

    def deb(self, name, version, arch="all", content=None):
        files, links = self.files(name) if content is None else (content, [])
        control = f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: nobody\nDescription: made up\n"
        data = ar([
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", tar({"control": (0o644, control.encode())})),
            ("data.tar.gz", tar(files, links)),
        ])
        return control, data

    def source(self):
        """The base kernel, as far as setup.sh checks it."""
        v = self.versions["KERNEL_TESTED"].split(".")
        makefile = "".join(f"{n} = {x}\n" for n, x in zip(("VERSION", "PATCHLEVEL", "SUBLEVEL"), v))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:xz") as archive:
            for path, text in (("Makefile", makefile), ("kernel/livepatch/core.c", "/* */\n")):
                info = tarfile.TarInfo(f"linux-source/{path}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        series = self.versions["KERNEL_SERIES"]
        return {f"usr/src/linux-source-{series}.tar.xz": (0o644, out.getvalue())}

    def build(self):
        """Write the archive, and return what the file versions must have."""
        v = self.versions
        wheel = f"virtme_ng-{v['VIRTME_NG_VERSION']}-py3-none-any.whl"
        wheel_data = f"virtme-ng {v['VIRTME_NG_VERSION']}\n".encode()
        os.makedirs(f"{self.folder}/web/other", exist_ok=True)
        with open(f"{self.folder}/web/other/{wheel}", "wb") as out:
            out.write(wheel_data)
        with open(f"{self.folder}/web/other/bindgen", "w", encoding="utf-8") as out:
            out.write(f"#!/bin/sh\necho bindgen {v['BINDGEN_VERSION']}\n")
        changed = {"VIRTME_NG_SHA256": hashlib.sha256(wheel_data).hexdigest()}
        for archive, suffixes in SUITES.items():
            for suffix in suffixes:
                debs = []
                for file in ("packages", "guest-packages"):
                    for name, backports in self.names(file):
                        if backports == (suffix == "-backports") and suffix in ("", "-backports"):
                            debs.append(self.deb(name, "1.0"))
                if suffix == "":
                    debs.append(self.deb("base-files", "1.0"))
                    debs.append(self.deb("apt", "1.0"))
                elif suffix == "-backports":
                    source = self.deb(f"linux-source-{v['KERNEL_SERIES']}", v["KERNEL_PACKAGE"], content=self.source())
                    debs.append(source)
                    changed["KERNEL_SHA256"] = hashlib.sha256(source[1]).hexdigest()
                else:
                    # No list is empty: apt does not fetch an empty one.
                    debs.append(self.deb("made-up" + suffix, "1.0"))
                self.suite(archive, v["DEBIAN_SUITE"] + suffix, debs)
        return changed

    def suite(self, archive, suite, debs):
        web, packages = f"{self.folder}/web/{archive}", ""
        for control, data in {control: data for control, data in debs}.items():
            name = re.search(r"Package: (.*)\n", control)[1]
            path = f"pool/{suite}/{name}.deb"
            os.makedirs(f"{web}/pool/{suite}", exist_ok=True)
            with open(f"{web}/{path}", "wb") as out:
                out.write(data)
            packages += (
                f"{control}Filename: {path}\nSize: {len(data)}\n"
                f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
            )
        dist, sums = f"{web}/dists/{suite}", ""
        for arch in ARCHES:
            os.makedirs(f"{dist}/main/binary-{arch}", exist_ok=True)
            for name, data in (("Packages", packages.encode()), ("Packages.gz", gzip.compress(packages.encode(), mtime=0))):
                path = f"main/binary-{arch}/{name}"
                with open(f"{dist}/{path}", "wb") as out:
                    out.write(data)
                sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}\n"
        now = datetime.datetime.now(datetime.timezone.utc)
        for name, until in (("InRelease", 7), ("InRelease.expired", -7)):
            date = lambda days: (now + datetime.timedelta(days=days)).strftime("%a, %d %b %Y %H:%M:%S UTC")
            release = (
                f"Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\nDate: {date(-9)}\n"
                f"Valid-Until: {date(until)}\nArchitectures: {' '.join(ARCHES)}\nComponents: main\nSHA256:\n{sums}"
            )
            signed = subprocess.run(
                ["gpg", "--homedir", f"{self.folder}/gpg", "--batch", "--clearsign"],
                input=release.encode(), check=True, capture_output=True,
            ).stdout
            with open(f"{dist}/{name}", "wb") as out:
                out.write(signed)

    def key(self, name):
        home = f"{self.folder}/{name}"
        os.makedirs(home, mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet"]
        subprocess.run(
            [*gpg, "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"], check=True, capture_output=True
        )
        with open(f"{self.folder}/{name}.gpg", "wb") as out:
            out.write(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)


# Stand-ins, which fetch from the mirror what the real tools fetch from elsewhere.
CARGO = """#!/bin/sh
[ "$1" != --version ] || { echo "cargo 1.97.1"; exit; }
mkdir -p /opt/klp/bin && wget -qO /opt/klp/bin/bindgen "$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n 's,.*\\(http://127[0-9.:]*\\)/debian .*,\\1,p' | sed -n 1p)/other/bindgen" && chmod +x /opt/klp/bin/bindgen
"""
PYTHON = """#!/bin/sh
mkdir -p /opt/klp/venv/bin
cat >/opt/klp/venv/bin/pip <<'END'
#!/bin/sh
for last; do [ "$before" != -d ] || folder=$last; before=$last; done
case $1 in
download)
    f=virtme_ng-${last#*==}-py3-none-any.whl
    wget -qO "$folder/$f" "$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n 's,.*\\(http://127[0-9.:]*\\)/debian .*,\\1,p' | sed -n 1p)/other/$f";;
install)
    { echo "#!/bin/sh"; echo "echo $(cat "$last")"; } >/opt/klp/venv/bin/vng && chmod +x /opt/klp/venv/bin/vng;;
esac
END
chmod +x /opt/klp/venv/bin/pip
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    folder = ""

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.path
        with open(f"{self.folder}/requests", "a", encoding="utf-8") as out:
            out.write(path + "\n")
        does = ""
        with open(f"{self.folder}/faults", encoding="utf-8") as faults:
            for line in faults:
                what, pattern = line.split()
                if re.search(pattern, path):
                    does = what
        if does == "slow":
            time.sleep(60)
        if does == "drop":
            self.close_connection = True
            return
        name = self.translate_path(path)
        if does == "expired":
            name += ".expired"
        if does == "missing" or not os.path.isfile(name):
            self.send_error(404)
            return
        data = open(name, "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if does == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        if does == "flip":
            data = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        self.wfile.write(data)


def main():
    folder, tools, busybox = sys.argv[1:]
    mirror = Mirror(folder, tools, busybox)
    mirror.key("gpg")
    mirror.key("other")
    changed = mirror.build()
    open(f"{folder}/faults", "w", encoding="utf-8").close()
    Handler.folder = folder
    os.chdir(f"{folder}/web")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with open(f"{folder}/changed.new", "w", encoding="utf-8") as out:
        out.write("".join(f"{name}={value}\n" for name, value in changed.items()))
        out.write(f"MADE_UP=http://127.0.0.1:{server.server_address[1]}\n")
    os.rename(f"{folder}/changed.new", f"{folder}/changed")
    server.serve_forever()


if __name__ == "__main__":
    main()
