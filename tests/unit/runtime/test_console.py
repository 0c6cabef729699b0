# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.console import MAX_BYTES, last_lines


def parts(folder: Path, before: bytes, now: bytes) -> tuple[Path, Path]:
    (folder / "before").write_bytes(before)
    (folder / "now").write_bytes(now)
    return folder / "before", folder / "now"


def test_no_console_has_no_lines(tmp_path: Path) -> None:
    assert last_lines((tmp_path / "before", tmp_path / "now"), 5) == ()


def test_the_last_lines_come_in_order(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"", b"a\nb\r\nc\n"), 2) == ("b", "c")


def test_a_line_without_an_end_counts(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"", b"a\nb"), 9) == ("a", "b")


def test_the_part_before_the_rotation_is_read_when_needed(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"a\nb\nc ha", b"lf\nd\n"), 3) == ("b", "c half", "d")


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"", b"\xff\xfe ok \xe2\x9c\x93\n"), 1) == ("\ufffd\ufffd ok \u2713",)


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    (line,) = last_lines(parts(tmp_path, b"", b"x" * (3 * MAX_BYTES)), 1000)
    assert line == "x" * MAX_BYTES


def test_a_line_whose_beginning_is_out_of_reach_is_left_out(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"", b"x" * MAX_BYTES + b"\nwhole\n"), 1000) == ("whole",)


def test_no_lines_asked_are_none_given(tmp_path: Path) -> None:
    assert last_lines(parts(tmp_path, b"", b"a\n"), 0) == ()
