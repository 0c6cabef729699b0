# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault at every step of every kind of change, with real processes: driver unix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.fault_cases import all_survived, cases_of
from ansible_collections.unikernel.fleet.tests.support.interrupted_changes import SCENARIOS
from ansible_collections.unikernel.fleet.tests.support.interruption import Fault
from ansible_collections.unikernel.fleet.tests.support.unix_ground import interrupted_on_unix

SHORT_FORM = ("first deployment", "update")


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
@pytest.mark.parametrize(
    "scenario",
    [pytest.param(name, marks=[] if name in SHORT_FORM else [pytest.mark.long]) for name in SCENARIOS],
)
def test_exactly_the_old_or_the_new_release_runs_afterwards_and_nothing_else(
    scenario: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    at = functools.partial(interrupted_on_unix, tmp_path, scenario, fault)
    all_survived(cases_of(at), 4, record_property)
