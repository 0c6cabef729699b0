# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The notes of a Solo5 image: which tender it is for (``ABI1``) and which devices it wants (``MFT1``).

A tender looks at the first note of every PT_NOTE segment, and so do we. The manifest is the C structure of Solo5's
``mft_abi.h`` in the byte order of the image: it is aligned to 8 bytes within its note, 104 bytes per entry, of which
the first 68 are the name and the next 4 the type; the first entry is reserved.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Optional

from ..errors import ImageError
from ..model import Abi, Device

Solo5 = tuple[Optional[Abi], Optional[tuple[Device, ...]]]
"""ABI and devices; both None for a plain ELF file, a script or anything else."""

_REFUSED = "It was refused: the image is cut or damaged."
_HEADER_BYTES = 64
_SEGMENT_BYTES = 56
_NOTE_HEADER_BYTES = 20
"""Three words and the padded name."""
_MOST_SEGMENTS = 1024
"""Solo5's linker scripts make fewer than ten."""
_PT_NOTE = 4
_NAME = b"Solo5\0"
_ABI1 = 0x31494241
_MFT1 = 0x3154464D
_TARGETS = {1: "hvt", 2: "spt", 3: "virtio", 4: "muen", 5: "genode", 6: "xen"}
_DEVICE_TYPES = {1: "BLOCK_BASIC", 2: "NET_BASIC"}
_RESERVED_FIRST = 1 << 30
_MANIFEST_VERSION = 1
_MANIFEST_PADDING = 4
_MOST_ENTRIES = 64
_ENTRY_BYTES = 104
_NAME_BYTES = 68
_MOST_DESCRIPTOR = _MANIFEST_PADDING + 8 + _MOST_ENTRIES * _ENTRY_BYTES


def read_notes(image: BinaryIO) -> Solo5:
    """ABI and manifest of an image. ImageError when it is cut or its notes make no sense; reads less than
    100 KiB."""
    header = _bytes_at(image, 0, _HEADER_BYTES, None)
    if len(header) < _HEADER_BYTES or header[:5] != b"\x7fELF\x02" or header[5] not in (1, 2):
        return None, None
    order = "<" if header[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", header, 32)
    entry_bytes, entries = struct.unpack_from(order + "HH", header, 54)
    if entries == 0:
        return None, None
    if entry_bytes != _SEGMENT_BYTES or entries > _MOST_SEGMENTS:
        raise ImageError(f"The ELF header makes no sense: {entries} segments of {entry_bytes} bytes. {_REFUSED}")
    segments = _bytes_at(image, table, entries * _SEGMENT_BYTES, "program headers")
    abi: Optional[Abi] = None
    devices: Optional[tuple[Device, ...]] = None
    for index in range(entries):
        kind, _unused, offset, _unused, _unused, size = struct.unpack_from(
            order + "IIQQQQ", segments, index * _SEGMENT_BYTES
        )
        if kind != _PT_NOTE or size < _NOTE_HEADER_BYTES:
            continue
        note = _bytes_at(image, offset, _NOTE_HEADER_BYTES, "notes")
        name_bytes, descriptor_bytes, note_type = struct.unpack_from(order + "III", note)
        if name_bytes != len(_NAME) or note[12 : 12 + len(_NAME)] != _NAME:
            continue
        # As in a tender, the first note of a kind counts.
        if not (note_type == _ABI1 and abi is None) and not (note_type == _MFT1 and devices is None):
            continue
        if descriptor_bytes > _MOST_DESCRIPTOR or _NOTE_HEADER_BYTES + descriptor_bytes > size:
            raise ImageError(f"A Solo5 note claims {descriptor_bytes} bytes, which it cannot have. {_REFUSED}")
        descriptor = _bytes_at(image, offset + _NOTE_HEADER_BYTES, descriptor_bytes, "notes")
        if note_type == _ABI1:
            abi = _abi(descriptor, order)
        else:
            devices = _devices(descriptor, order)
    return abi, devices


def _abi(descriptor: bytes, order: str) -> Abi:
    if len(descriptor) < 8:
        raise ImageError(f"The Solo5 ABI note is too short. {_REFUSED}")
    target, version = struct.unpack_from(order + "II", descriptor)
    if target not in _TARGETS:
        raise ImageError(f"The image is for the Solo5 target number {target}, which is not known. It was refused.")
    return Abi(target=_TARGETS[target], version=version)


def _devices(descriptor: bytes, order: str) -> tuple[Device, ...]:
    if len(descriptor) < _MANIFEST_PADDING + 8:
        raise ImageError(f"The Solo5 manifest is too short. {_REFUSED}")
    version, entries = struct.unpack_from(order + "II", descriptor, _MANIFEST_PADDING)
    if version != _MANIFEST_VERSION:
        raise ImageError(f"The Solo5 manifest has version {version}; only {_MANIFEST_VERSION} is known. Refused.")
    if entries > _MOST_ENTRIES or _MANIFEST_PADDING + 8 + entries * _ENTRY_BYTES > len(descriptor):
        raise ImageError(f"The Solo5 manifest claims {entries} entries, which it cannot have. {_REFUSED}")
    devices = []
    for index in range(entries):
        start = _MANIFEST_PADDING + 8 + index * _ENTRY_BYTES
        (kind,) = struct.unpack_from(order + "I", descriptor, start + _NAME_BYTES)
        if kind == _RESERVED_FIRST:
            continue
        if kind not in _DEVICE_TYPES:
            raise ImageError(f"The Solo5 manifest names a device of type {kind}, which is not known. It was refused.")
        name, end, _unused = descriptor[start : start + _NAME_BYTES].partition(b"\0")
        if not end or not name.isalnum():
            raise ImageError(f"The Solo5 manifest has a device whose name is none: {name[:_NAME_BYTES]!r}. {_REFUSED}")
        devices.append(Device(name=name.decode("ascii"), type=_DEVICE_TYPES[kind]))
    return tuple(devices)


def _bytes_at(image: BinaryIO, offset: int, size: int, what: Optional[str]) -> bytes:
    try:
        image.seek(offset)
        data = image.read(size)
    except (OSError, OverflowError, ValueError) as error:
        raise ImageError(f"The image's {what or 'header'} cannot be read ({error}). {_REFUSED}") from error
    if what is not None and len(data) != size:
        raise ImageError(f"The image ends before its {what} do. {_REFUSED}")
    return data
