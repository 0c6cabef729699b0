# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.executable import why_not_executable


def written(folder: Path, content: bytes, mode: int = 0o555) -> Path:
    path = folder / "image"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def own_program() -> bytes:
    with open(os.path.realpath(sys.executable), "rb") as file:
        return file.read(65536)


def test_the_programs_of_this_machine_are_executable() -> None:
    assert why_not_executable(Path(sys.executable)) is None
    assert why_not_executable(Path("/bin/sh")) is None


def test_a_script_needs_its_interpreter(tmp_path: Path) -> None:
    assert why_not_executable(written(tmp_path, b"#!/bin/sh -e\n")) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (b"#!\n", "names no interpreter"),
        (b"#! /no/such/thing -x\n", "'/no/such/thing'"),
        (b"\x7fELF", "cut short"),
        (b"\x7fELF" + b"\0" * 100, "another processor"),
    ],
)
def test_what_cannot_be_executed_is_told_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in str(why_not_executable(written(tmp_path, content)))


def test_a_program_for_another_processor_is_told(tmp_path: Path) -> None:
    program = bytearray(own_program())
    struct.pack_into("=H", program, 18, 243)
    assert "another processor (ELF machine 243" in str(why_not_executable(written(tmp_path, bytes(program))))


def test_an_object_file_is_no_program(tmp_path: Path) -> None:
    program = bytearray(own_program())
    struct.pack_into("=H", program, 16, 1)
    assert "no program" in str(why_not_executable(written(tmp_path, bytes(program))))


def test_a_program_without_its_loader_is_told(tmp_path: Path) -> None:
    program = own_program()
    loader = program.index(b"/ld-linux") if b"/ld-linux" in program else program.index(b"/ld-musl")
    broken = program[:loader] + b"/no-" + program[loader + 4 :]
    assert "needs the interpreter" in str(why_not_executable(written(tmp_path, broken)))


def test_a_file_without_the_right_to_execute_is_told(tmp_path: Path) -> None:
    assert "may not be executed" in str(why_not_executable(written(tmp_path, own_program(), mode=0o444)))
