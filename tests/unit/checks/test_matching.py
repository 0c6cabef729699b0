# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns against text, within a time limit."""

from __future__ import annotations

import re
import sys
import time

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.deadline import Deadline, OutOfTime
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.matching import CannotMatch, found


@pytest.mark.parametrize("text", ["version: 2\nname: wäb\x00\u2028", "version: 2\n" * 5000])
def test_here_or_in_a_child_the_answer_is_the_same(text: str) -> None:
    patterns = ["version", r"^version:\s+\d$", "a.*b", "nothing", "(version: [0-9]+\\s*)+", "ä"]
    expected = [re.search(pattern, text, re.MULTILINE) is not None for pattern in patterns]
    assert found(patterns, text, Deadline.after(10)) == expected
    assert [found([pattern], text, Deadline.after(10))[0] for pattern in patterns] == expected


def test_a_pattern_that_would_take_for_ever_is_cut() -> None:
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        found(["(x+x+)+y"], "x" * 60, Deadline.after(0.15))
    assert time.monotonic() - began < 2


def test_a_child_that_cannot_be_run_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(CannotMatch, match="could not be run"):
        found(["(a+)+"], "a", Deadline.after(5))
