# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Solo5 images made by hand: ELF files with nothing in them but the notes that a tender looks for."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ABI1 = 0x31494241
MFT1 = 0x3154464D
RESERVED_FIRST = 1 << 30
BLOCK_BASIC = 1
NET_BASIC = 2


def note(kind: int, content: bytes, order: str = "<", name: bytes = b"Solo5\0") -> bytes:
    return (
        struct.pack(order + "III", len(name), len(content), kind) + name.ljust(-(-len(name) // 4) * 4, b"\0") + content
    )


def abi_note(target: int, version: int, order: str = "<") -> bytes:
    return note(ABI1, struct.pack(order + "IIII", target, version, 0, 0), order)


def manifest_note(devices: Sequence[tuple[bytes, int]], order: str = "<", version: int = 1) -> bytes:
    """As Solo5's ``struct mft``: 8-aligned, so after 4 bytes; 104 bytes per entry; the first one reserved."""
    entries = [(b"", RESERVED_FIRST), *devices]
    body = b"".join(struct.pack(order + "68sI32x", name, kind) for name, kind in entries)
    return note(MFT1, struct.pack(order + "4xII", version, len(entries)) + body, order)


def elf(notes: Sequence[bytes], order: str = "<", rest: bytes = b"") -> bytes:
    """An ELF file with one PT_NOTE segment per note, as Solo5's linker scripts make it."""
    data = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    offset = 64 + 56 * (len(notes) + 1)
    data += struct.pack(order + "HHIQQQIHHHHHH", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, len(notes) + 1, 64, 0, 0)
    data += struct.pack(order + "IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, 64, 64, 4096)
    for content in notes:
        data += struct.pack(order + "IIQQQQQQ", 4, 4, offset, 0, 0, len(content), len(content), 4)
        offset += len(content)
    return data + b"".join(notes) + rest
