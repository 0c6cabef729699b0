# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Some of the matrix in ``tests/faults``: a real process is killed at steps of a real swap."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.fault_cases import cases_of
from ansible_collections.unikernel.fleet.tests.support.interruption import Fault
from ansible_collections.unikernel.fleet.tests.support.unix_ground import interrupted_on_unix


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [("first deployment", Fault.MODULE_KILLED), ("update", Fault.MODULE_KILLED), ("update", Fault.GUARD_KILLED)],
)
def test_a_killed_change_leaves_exactly_the_old_or_the_new_release(scenario: str, fault: Fault, tmp_path: Path) -> None:
    at = functools.partial(interrupted_on_unix, tmp_path, scenario, fault)
    for case in cases_of(at, every=4):
        assert not case.lost and not case.leftovers, case
