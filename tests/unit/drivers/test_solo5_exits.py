# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which Solo5's tenders end, as recorded from real ones (version 0.12.1), and what each of them means."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.solo5_exits import meaning

ROWS = json.loads((Path(__file__).parents[2] / "support" / "data" / "solo5" / "exits.json").read_bytes())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['tender']}: {row['case']}")
def test_each_is_told_apart(row: dict[str, Any]) -> None:
    number = None if row["signal"] is None else int(getattr(signal, row["signal"]))
    assert meaning(row["status"], number, row["console"]) == row["meaning"]


def test_status_1_alone_says_nothing_and_no_recorded_end_is_left_unexplained() -> None:
    unexplained = {row["case"] for row in ROWS if "does not say why" in row["meaning"]}
    assert unexplained == set()
    assert len({row["meaning"] for row in ROWS if row["status"] == 1}) > 15


def test_the_last_word_counts() -> None:
    lines = ("Solo5: solo5_exit(1) called", "httpd: ready", "Solo5: solo5_abort() called")
    assert meaning(255, None, lines) == "exited with status 255: the guest aborted (solo5_abort)"


@pytest.mark.parametrize(
    ("status", "number", "lines", "words"),
    [
        (1, None, (), "exited with status 1, and its console does not say why"),
        (3, None, ("solo5-spt: something new: 42",), "exited with status 3: its tender says: something new: 42"),
        (
            255,
            None,
            (
                "solo5-hvt-debug: WARNING: This is not recommended for production use.",
                "Solo5: solo5_abort() called",
                "solo5-hvt-debug: dumpcore: dumped 22 pages of total 8192 pages",
            ),
            "exited with status 255: the guest aborted (solo5_abort)",
        ),
        (1, None, ("solo5-hvt-debug: Exiting on signal 15",), "exited with status 1: it was asked to stop"),
        (255, None, ("Solo5: ABORT: x.c:1: out of luck",), "exited with status 255: the guest gave up"),
        (None, 64, (), "killed by SIGRTMAX"),
        (None, 99, (), "killed by signal 99"),
        (None, None, (), "ended, and nobody saw how"),
    ],
)
def test_what_is_not_known_is_said_as_it_is(status: Any, number: Any, lines: tuple[str, ...], words: str) -> None:
    assert meaning(status, number, lines).startswith(words)
