# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault at every step of every kind of change on albatross: its double, with real programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.albatross_ground import interrupted_on_albatross
from ansible_collections.unikernel.fleet.tests.support.albatross_process import albatross_process
from ansible_collections.unikernel.fleet.tests.support.fault_cases import all_survived, cases_of
from ansible_collections.unikernel.fleet.tests.support.interrupted_changes import SCENARIOS
from ansible_collections.unikernel.fleet.tests.support.interruption import Fault

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
        at = functools.partial(interrupted_on_albatross, albatross, tmp_path, scenario, fault)
        all_survived(cases_of(at), 4, record_property)
