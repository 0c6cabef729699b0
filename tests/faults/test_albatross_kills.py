# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault at every step of every kind of change on albatross: its double, with real programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.albatross_faults import SCENARIOS, cases_of
from ansible_collections.unikernel.fleet.tests.support.albatross_process import albatross_process
from ansible_collections.unikernel.fleet.tests.support.faults import Fault

SHORT_FORM = [("update", Fault.MODULE_KILLED)]
MATRIX = [(scenario, fault) for scenario in SCENARIOS for fault in Fault]


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        pytest.param(*case, id=f"{case[0]}-{case[1].value}", marks=[] if case in SHORT_FORM else [pytest.mark.long])
        for case in MATRIX
    ],
)
def test_exactly_the_old_or_the_new_release_runs_afterwards_and_nothing_else(
    scenario: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with albatross_process(tmp_path / "albatross") as albatross:
        cases = list(cases_of(scenario, fault, albatross, tmp_path))
    record_property("cases", len(cases))
    record_property("lost", sum(bool(case.lost) for case in cases))
    record_property("leftovers", sum(bool(case.leftovers) for case in cases))
    assert len(cases) >= 4
    assert not [str(case) for case in cases if case.lost or case.leftovers]
