# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python program as all that runs on another kernel than this machine's: with that kernel's modules, the nodes' own
Python and iproute2, and the library. For what this machine's kernel cannot do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.emulator import basic_words
from ansible_collections.unikernel.fleet.tests.support.nspawn.base import base_root

from . import cpio
from .guest import QEMU, guest_files
from .packages import cache, output, unpack

LIBRARY = Path(__file__).resolve().parents[3] / "plugins" / "module_utils" / "_fleet"
INTERPRETER = b"#!/usr/bin/python3.11 -IB\n"
"""As Debian 12 has it."""
INIT = Path(__file__).with_name("python_guest_init.py")
RESULT = "RESULT:"
PATIENCE_S = 480.0
"""About 10 s under TCG on an idle machine."""
PYTHON = "usr/lib/python3.11"
LEFT_OUT = ("__pycache__", "config-", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "unittest")
PROGRAMS = ("/usr/bin/python3.11", "/usr/bin/ip", "/usr/sbin/bridge")


@dataclass(frozen=True)
class Tools:
    """Programs that the nodes' root file system lacks."""

    packages: tuple[str, ...]
    """Of Debian, with those that they need."""
    programs: tuple[str, ...]
    """Paths of the files in them, links included."""


def run_in_guest(program: Path, modules: Sequence[str], folder: Path, tools: Optional[Tools] = None) -> Any:
    """What the program's ``main`` returned there; ``modules`` in the order in which they can be loaded."""
    files = guest_files()
    initrd = folder / "initrd"
    with open(initrd, "wb") as archive:
        for part in _entries(program, modules, files.modules, tools):
            archive.write(part)
        archive.write(cpio.END)
    command = [
        *(QEMU, *basic_words("tcg", "max"), "-m", "384"),
        *("-kernel", str(files.kernel), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1 rdinit=/init"),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        check=True,
    )
    found = [line.partition(RESULT)[2] for line in done.stdout.splitlines() if RESULT in line]
    if not found:
        raise AssertionError(f"the guest had no result:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
    return json.loads(found[-1])


def _entries(program: Path, modules: Sequence[str], module_folder: Path, tools: Optional[Tools]) -> Iterator[bytes]:
    root = base_root()
    for name in ("dev", "proc", "sys", "run", "tmp", "modules", "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        yield cpio.entry(name, cpio.FOLDER, b"")
    for name in ("bin", "sbin", "lib", "lib64"):
        yield cpio.entry(name, cpio.LINK, f"usr/{name}".encode("ascii"))
    for number, name in enumerate(modules):
        found = sorted(module_folder.rglob(f"{name}.ko"))
        yield cpio.entry(f"modules/{number:02d}-{name}.ko", cpio.FILE, found[0].read_bytes())
    yield from _tree(root / PYTHON, PYTHON)
    yield cpio.entry("usr/lib/x86_64-linux-gnu", cpio.FOLDER, b"")
    shared = [str(path) for path in (root / PYTHON / "lib-dynload").glob("_ctypes.*.so")]
    yield from _with_libraries([root], [str(root) + path for path in PROGRAMS], shared)
    if tools is not None:
        unpacked = _unpacked(tools)
        real = [path for path in tools.programs if not (unpacked / path.lstrip("/")).is_symlink()]
        yield from _with_libraries([unpacked, root], [str(unpacked) + path for path in real], ())
        for path in sorted(set(tools.programs) - set(real)):
            target = os.readlink(unpacked / path.lstrip("/"))
            yield cpio.entry(_place(path), cpio.LINK, target.encode("ascii"))
    yield from _tree(LIBRARY, "_fleet")
    yield cpio.entry("init", cpio.PROGRAM, INTERPRETER + INIT.read_bytes())
    yield cpio.entry("program.py", cpio.FILE, program.read_bytes())


def _unpacked(tools: Tools) -> Path:
    with cache() as folder:
        unpacked = folder / f"tools-{hashlib.sha256(' '.join(tools.packages).encode()).hexdigest()[:12]}"
        if not unpacked.is_dir():
            unpack(tools.packages, unpacked)
    return unpacked


def _with_libraries(roots: Sequence[Path], programs: Sequence[str], shared: Sequence[str]) -> Iterator[bytes]:
    """Programs, and all shared objects that they and others need, of file systems of which the later ones complete the
    earlier ones."""
    needed = {library for path in (*programs, *shared) for library in _libraries(roots, path)}
    for path in (*programs, *sorted(needed)):
        yield cpio.entry(_place(_inside(roots, path)), cpio.PROGRAM, Path(path).resolve().read_bytes())


def _inside(roots: Sequence[Path], path: str) -> str:
    """The path as it is in the root that it lies in."""
    (inside,) = {path[len(str(root)) :] for root in roots if path.startswith(f"{root}/")}
    return inside


def _place(path: str) -> str:
    return path.lstrip("/") if path.startswith("/usr") else f"usr{path}"


def _tree(folder: Path, place: str) -> Iterator[bytes]:
    yield cpio.entry(place, cpio.FOLDER, b"")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(LEFT_OUT):
            continue
        if path.is_dir():
            yield from _tree(path, f"{place}/{path.name}")
        elif path.is_file():
            yield cpio.entry(f"{place}/{path.name}", cpio.FILE, path.read_bytes())


def _libraries(roots: Sequence[Path], program: str) -> list[str]:
    """Paths of the shared objects that it needs there, as the last root's own loader finds them."""
    loader = "/lib64/ld-linux-x86-64.so.2"
    folders = [f"{root}{place}" for root in roots for place in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")]
    said = output(f"{roots[-1]}{loader}", "--library-path", ":".join(folders), "--list", program)
    words = {word for line in said.splitlines() for word in line.split()}
    missing = [line.strip() for line in said.splitlines() if "not found" in line]
    if missing:
        raise RuntimeError(f"{program} lacks {', '.join(missing)}")
    inside = {word for word in words if any(word.startswith(f"{root}/") for root in roots)}
    return sorted({*inside, f"{roots[-1]}{loader}"})
