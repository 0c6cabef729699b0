# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault at every step of every kind of change, with real processes: driver unix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.faults import SCENARIOS, Fault, cases_of

SHORT_FORM = ("first deployment", "update")


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
@pytest.mark.parametrize(
    "scenario",
    [pytest.param(name, marks=[] if name in SHORT_FORM else [pytest.mark.long]) for name in SCENARIOS],
)
def test_exactly_the_old_or_the_new_release_runs_afterwards_and_nothing_else(
    scenario: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases = list(cases_of(scenario, fault, tmp_path))
    record_property("cases", len(cases))
    record_property("lost", sum(bool(case.lost) for case in cases))
    record_property("leftovers", sum(bool(case.leftovers) for case in cases))
    assert len(cases) >= 4
    assert not [str(case) for case in cases if case.lost or case.leftovers]
