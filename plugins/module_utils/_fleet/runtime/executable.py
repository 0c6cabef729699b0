# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this machine could execute a file, as far as its first bytes tell."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Optional

EM_386, EM_X86_64, EM_ARM, EM_AARCH64 = 3, 62, 40, 183
ALSO_RUNS = {EM_X86_64: EM_386, EM_AARCH64: EM_ARM}
"""The 32-bit machine that a 64-bit kernel usually runs as well."""
ET_EXEC, ET_DYN = 2, 3
PT_INTERP = 3
MAX_HEADERS = 128


def why_not_executable(path: Path) -> Optional[str]:
    """What speaks against executing it, in words that follow its name; None when nothing does. OSError: unreadable."""
    with open(path, "rb") as file:
        start = file.read(256)
        if start.startswith(b"#!"):
            return _script(start)
        if not start.startswith(b"\x7fELF"):
            return "is neither an ELF program nor a script that begins with '#!'"
        reason = _elf(start, file)
    if reason is None and not os.access(path, os.X_OK):
        return "may not be executed where it lies (is its file system mounted noexec?)"
    return reason


def _script(start: bytes) -> Optional[str]:
    words = start[2:].split(b"\n", 1)[0].split()
    if not words:
        return "is a script that names no interpreter after '#!'"
    return _interpreter(words[0])


def _interpreter(name: bytes) -> Optional[str]:
    if os.access(name, os.X_OK) and os.path.isfile(name):
        return None
    return f"needs the interpreter {name.decode('utf-8', 'replace')!r}, which is not on this machine"


def _elf(start: bytes, file: BinaryIO) -> Optional[str]:
    if len(start) < 64:
        return "is an ELF file that was cut short"
    own = _own_header()
    order = "<" if start[5] == 1 else ">"
    kind, machine = struct.unpack_from(order + "HH", start, 16)
    own_machine = struct.unpack_from(("<" if own[5] == 1 else ">") + "H", own, 18)[0]
    if start[5] != own[5] or machine not in (own_machine, ALSO_RUNS.get(own_machine)):
        return f"is built for another processor (ELF machine {machine}; this one is {own_machine})"
    if kind not in (ET_EXEC, ET_DYN):
        return f"is an ELF file, but no program (type {kind})"
    wide = start[4] == 2
    offset = struct.unpack_from(order + ("Q" if wide else "I"), start, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", start, 54 if wide else 42)
    for index in range(min(count, MAX_HEADERS)):
        file.seek(offset + index * size)
        header = file.read(56 if wide else 32)
        if len(header) < (56 if wide else 32):
            return "is an ELF file that was cut short"
        if struct.unpack_from(order + "I", header)[0] != PT_INTERP:
            continue
        place = struct.unpack_from(order + ("Q" if wide else "I"), header, 8 if wide else 4)[0]
        length = struct.unpack_from(order + ("Q" if wide else "I"), header, 32 if wide else 16)[0]
        file.seek(place)
        return _interpreter(file.read(min(length, 4096)).rstrip(b"\0"))
    return None


def _own_header() -> bytes:
    with open("/proc/self/exe", "rb") as file:
        return file.read(64)
