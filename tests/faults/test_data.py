# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Updates of data that are cut short: real programs that write to real disks as soon as they run, and the process that
updates them fails or is killed at each step. Afterwards the disk is as the release that runs left it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.declaration import checks_from
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.model import SnapshotMethod
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.data import DataOptions
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import TrialOptions, locked
from ansible_collections.unikernel.fleet.tests.support import reflinking
from ansible_collections.unikernel.fleet.tests.support.disk_program import node_with_disks, writing, written
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case, all_survived, cases_of
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault, interrupted
from ansible_collections.unikernel.fleet.tests.support.real_node import NAME, within
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, FAILED, PASSED
from ansible_collections.unikernel.fleet.tests.support.unix_ground import case_folder, surplus_processes

DISK: dict[str, Any] = {"block_devices": [{"name": "data", "size_mib": 1}], "stop_grace_s": 1.0}
ENDINGS = {"confirmed": PASSED, "rolled back": FAILED}


def _options(method: SnapshotMethod) -> TrialOptions:
    return TrialOptions(30.0, checks_from([{"process": {}}], None), data=DataOptions(snapshot=method))


def _declared(node: Node, version: str) -> Declaration:
    image = node.store.add_stream([writing(version).encode("utf-8")])
    return Declaration(image=image, configuration=dict(DISK))


def _module(failing: Failing, root: Path, method: SnapshotMethod, ending: str) -> None:
    """An update from its beginning to its end, whichever that is."""
    failing.enabled = True
    with suppress(FleetError), locked(node_with_disks(root, failing), NAME, ME) as transaction:
        trial = transaction.declare(_declared(node_with_disks(root), "two"), _options(method), None).trial
        if trial is not None and transaction.state.phase is Phase.ON_TRIAL:
            disk = node_with_disks(root).layout.disk(NAME, "data")
            within(5.0, lambda: "two" in written(disk))
            transaction.judge(trial, ENDINGS[ending])
            if transaction.state.phase is Phase.ON_TRIAL:
                transaction.confirm(trial)


def _interrupted(root: Path, method: SnapshotMethod, ending: str, fault: Fault, number: int) -> tuple[bool, Case]:
    node = node_with_disks(root)
    with locked(node, NAME, ME) as transaction:
        transaction.declare(_declared(node, "one"), AT_ONCE, None)
    disk = node.layout.disk(NAME, "data")
    assert within(5.0, lambda: written(disk) == ["one"])
    hit = interrupted(_module, fault, number, root, method, ending)
    return hit, _judged(node, root, method, ending, fault, number)


def _judged(node: Node, root: Path, method: SnapshotMethod, ending: str, fault: Fault, number: int) -> Case:
    """As the guard finds it a minute later."""
    after = guard.sweep(node_with_disks(root, ahead_s=60.0), NAME)
    disk = node.layout.disk(NAME, "data")
    lost = []
    runs = {1: "one", 2: "two"}.get(after.current.number if after.current else 0, "nothing")

    def expected() -> list[str]:
        ran = written(disk.with_name("data.log"))
        return ran if runs == "two" else [version for version in ran if version != "two"]

    alive = [instance.release for instance in node.inspect(after) if instance.alive]
    if after.phase is not Phase.STABLE or after.current is None or alive != [after.current.number]:
        lost.append(f"it is {after.phase.value}, and {alive} live")
    if not within(3.0, lambda: written(disk)[-1:] == [runs] and written(disk) == expected()):
        lost.append(f"{runs} runs on {written(disk)}, after {written(disk.with_name('data.log'))}")
    left = sorted({path.name for path in disk.parent.iterdir()} - {"data", "data.log"})
    left += surplus_processes(root)
    return Case(f"update of data by {method.value}, {ending}", fault, number, tuple(lost), tuple(left))


def _at(method: SnapshotMethod, ending: str, fault: Fault, folder: Path, number: int) -> tuple[bool, Case]:
    with case_folder(folder, number) as root:
        return _interrupted(root, method, ending, fault, number)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.MODULE_KILLED], ids=lambda fault: fault.value)
@pytest.mark.parametrize("ending", ["rolled back", pytest.param("confirmed", marks=pytest.mark.long)])
def test_the_data_is_that_of_the_release_which_runs(
    ending: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    at = functools.partial(_at, SnapshotMethod.COPY, ending, fault, tmp_path)
    all_survived(cases_of(at), 15, record_property)


@pytest.mark.skipif(bool(reflinking.why_not()), reason=f"a file system with reflinks: {reflinking.why_not()}")
@pytest.mark.long
def test_the_same_by_reflink(record_property: Callable[[str, object], None]) -> None:
    with reflinking.reflinking_folder() as folder:
        at = functools.partial(_at, SnapshotMethod.REFLINK, "rolled back", Fault.MODULE_KILLED, folder)
        all_survived(cases_of(at), 15, record_property)
