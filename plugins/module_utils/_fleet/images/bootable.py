# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether QEMU could boot a file, as far as its headers tell: as a kernel, or as a disk.

A kernel is what ``-kernel`` of qemu-system-x86_64 takes: a Linux bzImage, an ELF file with a PVH entry (a note of Xen,
as Linux' vmlinux and Unikraft have it), or a 32-bit one with a multiboot header.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Optional

QCOW2 = b"QFI\xfb"
_SECTOR = 512
_BOOT_SIGNATURE = b"\x55\xaa"
_MULTIBOOT_MAGIC = 0x1BADB002
_MULTIBOOT_BYTES = 8192
_MULTIBOOT_HAS_ADDRESSES = 1 << 16
_ELF_HEADER_BYTES = 64
_SEGMENT_BYTES = 56
_MOST_SEGMENTS = 128
_MOST_NOTE_BYTES = 64 * 1024
_PT_NOTE = 4
_EM_X86_64 = 62
_XEN_PHYS32_ENTRY = 18
_EXTERNAL_DATA = 1 << 2


def why_no_kernel(path: Path) -> Optional[str]:
    """What speaks against booting it as a kernel, in words that follow its name; None when nothing does.
    OSError: unreadable."""
    with open(path, "rb") as file:
        start = file.read(_MULTIBOOT_BYTES)
        if start[0x1FE:0x200] == _BOOT_SIGNATURE and start[0x202:0x206] == b"HdrS":
            return None
        wide = start[4:5] == b"\x02"
        is_elf = start.startswith(b"\x7fELF")
        flags = _multiboot_flags(start)
        if flags is not None:
            if is_elf and wide and not flags & _MULTIBOOT_HAS_ADDRESSES:
                return "is a 64-bit ELF file with a multiboot header, and QEMU boots only 32-bit ones"
            return None
        if not is_elf:
            return "is no kernel that QEMU boots (neither a Linux bzImage nor ELF with a PVH or multiboot header)"
        if len(start) < _ELF_HEADER_BYTES:
            return "is an ELF file that was cut short"
        if not wide or start[5:6] != b"\x01" or struct.unpack_from("<H", start, 18)[0] != _EM_X86_64:
            return "is an ELF file, but no kernel for x86-64"
        if not _has_pvh_entry(file, start):
            return "is an ELF file without a PVH or multiboot header, so QEMU would not know where it begins"
        return None


def _multiboot_flags(start: bytes) -> Optional[int]:
    for offset in range(0, len(start) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", start, offset)
        if magic == _MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            return int(flags)
    return None


def _has_pvh_entry(file: BinaryIO, start: bytes) -> bool:
    (table,) = struct.unpack_from("<Q", start, 32)
    size, count = struct.unpack_from("<HH", start, 54)
    if size != _SEGMENT_BYTES:
        return False
    segments = _at(file, table, min(count, _MOST_SEGMENTS) * _SEGMENT_BYTES)
    for index in range(len(segments) // _SEGMENT_BYTES):
        kind, _unused, offset, _unused, _unused, length = struct.unpack_from(
            "<IIQQQQ", segments, index * _SEGMENT_BYTES
        )
        if kind == _PT_NOTE and _names_pvh_entry(_at(file, offset, min(length, _MOST_NOTE_BYTES))):
            return True
    return False


def _names_pvh_entry(notes: bytes) -> bool:
    offset = 0
    while offset + 12 <= len(notes):
        name_bytes, descriptor_bytes, kind = struct.unpack_from("<III", notes, offset)
        name = notes[offset + 12 : offset + 12 + name_bytes]
        if kind == _XEN_PHYS32_ENTRY and name == b"Xen\0":
            return True
        offset += 12 + (name_bytes + 3) // 4 * 4 + (descriptor_bytes + 3) // 4 * 4
    return False


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    # Some file systems refuse to seek beyond their largest file, so a damaged offset is not even tried.
    if not 0 <= offset <= os.fstat(file.fileno()).st_size:
        return b""
    file.seek(offset)
    return file.read(size)


def disk_format(path: Path) -> str:
    """``qcow2`` or ``raw``. It is always named to QEMU: a guest can write what makes a raw disk look like another."""
    with open(path, "rb") as file:
        return "qcow2" if file.read(4) == QCOW2 else "raw"


def why_no_disk(path: Path) -> Optional[str]:
    """What speaks against booting it as a disk, in words that follow its name; None when nothing does.
    OSError: unreadable."""
    with open(path, "rb") as file:
        start = file.read(_SECTOR)
    if start.startswith(QCOW2):
        return _why_no_qcow2(start)
    if len(start) < _SECTOR or start[0x1FE:0x200] != _BOOT_SIGNATURE:
        return "is no disk to boot from (neither qcow2 nor a raw disk whose first sector can be booted)"
    return None


def _why_no_qcow2(header: bytes) -> Optional[str]:
    """An image is all of what it consists of: one that names another file would make QEMU read that file."""
    if len(header) < 104:
        return "is a qcow2 disk that was cut short"
    version, backing_file = struct.unpack_from(">IQ", header, 4)
    if version not in (2, 3):
        return f"is a qcow2 disk of version {version}, and only 2 and 3 are known"
    if backing_file:
        return "is a qcow2 disk that needs another file below it (qemu-img convert makes one that is whole)"
    if version == 3 and struct.unpack_from(">Q", header, 72)[0] & _EXTERNAL_DATA:
        return "is a qcow2 disk that keeps its data in another file (qemu-img convert makes one that is whole)"
    return None
