# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Solo5's notes: read where they are whole, refused where they are not, and never a crash."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import ImageError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.elf import Solo5, read_notes
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.images.inspection import check_image
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import Abi, Device
from ansible_collections.unikernel.fleet.tests.support.solo5_image import (
    BLOCK_BASIC,
    NET_BASIC,
    abi_note,
    elf,
    manifest_note,
    note,
)

DEVICES = [(b"service", NET_BASIC), (b"storage", BLOCK_BASIC)]
FOUND = (Device("service", "NET_BASIC"), Device("storage", "BLOCK_BASIC"))
OTHER_NOTE = note(1, bytes(4), name=b"OpenBSD\0")
WHOLE = elf([OTHER_NOTE, abi_note(1, 2), manifest_note(DEVICES)])


def read(content: bytes) -> Solo5:
    return read_notes(io.BytesIO(content))


@pytest.mark.parametrize("order", ["<", ">"])
def test_abi_and_devices_are_read_in_either_byte_order(order: str) -> None:
    content = elf([abi_note(2, 2, order), manifest_note(DEVICES, order)], order)
    assert read(content) == (Abi("spt", 2), FOUND)


def test_notes_of_others_are_passed_over() -> None:
    assert read(WHOLE) == (Abi("hvt", 2), FOUND)


def test_a_manifest_without_devices_is_not_the_same_as_none() -> None:
    assert read(elf([manifest_note([])])) == (None, ())


def test_the_first_note_of_a_kind_counts_as_in_a_tender() -> None:
    assert read(elf([abi_note(1, 2), abi_note(2, 9)])) == (Abi("hvt", 2), None)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), elf([])])
def test_what_is_no_solo5_image_has_neither(content: bytes) -> None:
    assert read(content) == (None, None)


def test_a_program_of_this_machine_has_neither() -> None:
    with open(sys.executable, "rb") as program:
        assert read_notes(program) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-1],
        WHOLE[:100],
        elf([abi_note(77, 1)]),
        elf([manifest_note(DEVICES, version=2)]),
        elf([manifest_note([(b"../etc", NET_BASIC)])]),
        elf([manifest_note([(b"x" * 68, NET_BASIC)])]),
        elf([manifest_note([(b"service", 9)])]),
        elf([manifest_note([(b"net", NET_BASIC)] * 64)]),
    ],
)
def test_a_cut_or_senseless_image_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"[Rr]efused"):
        read(content)


class Counted(io.BytesIO):
    """Counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def bounded(content: bytes) -> None:
    image = Counted(content)
    try:
        abi, devices = read_notes(image)
        assert abi is None or abi.target
        assert devices is None or len(devices) <= 64
    except ImageError as error:
        assert str(error)
    assert image.total < 100_000


@given(st.binary(max_size=2000))
def test_no_bytes_crash_the_reader(content: bytes) -> None:
    bounded(content)
    bounded(WHOLE[:64] + content)


@settings(max_examples=300)
@given(st.data())
def test_no_damage_to_an_image_crashes_the_reader(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _unused in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    bounded(bytes(content[: data.draw(st.integers(0, len(content)))]))
    bounded(bytes(content))


def test_a_note_that_many_segments_claim_is_read_in_bounded_work() -> None:
    bounded(elf([abi_note(1, 2), manifest_note([(b"net", NET_BASIC)] * 60)] * 500))
    with pytest.raises(ImageError):
        read(elf([abi_note(1, 2)] * 2000))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(WHOLE)
    return path


def test_an_image_is_what_its_build_says(image: Path) -> None:
    assert check_image(image) == (Abi("hvt", 2), FOUND)
    assert check_image(image, Abi("hvt", 2), tuple(reversed(FOUND))) == (Abi("hvt", 2), FOUND)


def test_an_image_for_another_tender_is_refused(image: Path) -> None:
    with pytest.raises(ImageError, match=r"built for Solo5 hvt \(ABI version 2\), and its build says Solo5 spt"):
        check_image(image, abi=Abi("spt", 2))


def test_an_image_with_other_devices_is_refused(image: Path) -> None:
    with pytest.raises(ImageError, match=r"wants service \(NET_BASIC\), storage \(BLOCK_BASIC\).*says no devices"):
        check_image(image, devices=())


def test_a_script_is_refused_where_a_solo5_image_is_declared(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"#!/bin/sh\n")
    assert check_image(script) == (None, None)
    with pytest.raises(ImageError, match="built for no Solo5 tender"):
        check_image(script, abi=Abi("hvt", 2))
    with pytest.raises(ImageError, match="cannot be inspected"):
        check_image(tmp_path / "absent")
