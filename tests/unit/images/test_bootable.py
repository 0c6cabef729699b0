# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What QEMU could boot, told from a file's headers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.bootable import (
    disk_format,
    why_no_disk,
    why_no_kernel,
)
from ansible_collections.unikernel.fleet.tests.support.solo5_image import elf, note

BOOT_SECTOR = bytes(510) + b"\x55\xaa"
BZIMAGE = BOOT_SECTOR + b"\0\0HdrS" + bytes(64)
PVH = elf([note(18, bytes(4), name=b"Xen\0")])


def multiboot(flags: int) -> bytes:
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF)


def qcow2(version: int = 3, backing_file: int = 0, features: int = 0) -> bytes:
    header = b"QFI\xfb" + struct.pack(">IQ", version, backing_file) + bytes(56) + struct.pack(">Q", features)
    return header.ljust(512, b"\0")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "image"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [BZIMAGE, PVH, b"\x7fELF\x01".ljust(64, b"\0") + multiboot(0)])
def test_kernels_are_known(tmp_path: Path, content: bytes) -> None:
    assert why_no_kernel(written(tmp_path, content)) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no kernel"),
        (b"#!/bin/sh\n", "is no kernel"),
        (BOOT_SECTOR, "is no kernel"),
        (elf([])[:60], "cut short"),
        (elf([]), "without a PVH or multiboot header"),
        (elf([note(17, bytes(4), name=b"Xen\0")]), "without a PVH or multiboot header"),
        (b"\x7fELF\x01".ljust(64, b"\0"), "no kernel for x86-64"),
        (elf([]).ljust(4096, b"\0") + multiboot(0), "only 32-bit"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in (why_no_kernel(written(tmp_path, content)) or "")


@pytest.mark.parametrize(("content", "form"), [(BOOT_SECTOR, "raw"), (qcow2(), "qcow2"), (qcow2(2), "qcow2")])
def test_disks_are_known(tmp_path: Path, content: bytes, form: str) -> None:
    path = written(tmp_path, content)
    assert why_no_disk(path) is None and disk_format(path) == form


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(512), "no disk to boot from"),
        (BOOT_SECTOR[2:], "no disk to boot from"),
        (qcow2()[:100], "cut short"),
        (qcow2(version=4), "version 4"),
        (qcow2(backing_file=512), "another file below it"),
        (qcow2(features=4), "its data in another file"),
    ],
)
def test_what_is_no_disk_to_boot_from_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in (why_no_disk(written(tmp_path, content)) or "")


@given(st.sampled_from([BZIMAGE, PVH, qcow2()]), st.data())
def test_damaged_files_are_never_more_than_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=8)) if damaged else ():
        damaged[place] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.getbasetemp(), bytes(damaged))
    why_no_kernel(path)
    why_no_disk(path)
