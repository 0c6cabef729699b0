# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits of the unified hierarchy, on a kernel that has them: in a virtual machine, since the machine that tests may
limit memory by the old one, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.tests.support.nspawn.base import why_not
from ansible_collections.unikernel.fleet.tests.support.nspawn.machine import COLLECTION
from ansible_collections.unikernel.fleet.tests.support.virtual_machine import guest
from ansible_collections.unikernel.fleet.tests.support.virtual_machine.python_guest import run_in_guest

REASON = why_not()
pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(REASON is not None, reason=f"limits on memory, on the root file system of the nodes: {REASON}"),
]


def test_the_room_for_one_more_is_what_the_limits_leave(tmp_path: Path) -> None:
    reason = guest.why_not()
    if reason is not None:
        pytest.skip(reason)
    seen = run_in_guest(COLLECTION / "tests" / "support" / "memory_groups_in_guest.py", (), tmp_path)
    assert "failed" not in seen, seen["failed"]
    machine_mib, limited_by = seen["at the top"]
    assert limited_by is None and machine_mib > 100
    free_mib, limited_by = seen["limited above"]
    assert limited_by == "/user.slice" and 30 < free_mib <= 48, "memory.high of the one above"
    for uses in ("with memory used", "with a file in memory"):
        assert seen[uses][1] == "/user.slice" and free_mib - 28 < seen[uses][0] < free_mib - 18, (uses, seen)
    assert seen["of a slice"][1] == "/fleet.slice" and 63 < seen["of a slice"][0] <= 64
    assert seen["of a slice that is not there"] == [5.0, "other.slice"]
