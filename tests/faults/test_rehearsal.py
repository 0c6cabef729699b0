# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals that are cut short: each step of one fails, or its process is killed there, on a real bridge.

Whatever becomes of the rehearsal, what serves goes on serving, by the very same process; and the next one to open the
unikernel leaves no process, interface, namespace or file of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case, all_survived, cases_of
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.guest_answers import answering_version
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault, interrupted
from ansible_collections.unikernel.fleet.tests.support.network_lab import Lab, network_lab, why_not_here
from ansible_collections.unikernel.fleet.tests.support.real_node import AT_ONCE, real_node, within
from ansible_collections.unikernel.fleet.tests.support.rehearsing import declared, rehearsing, traces
from ansible_collections.unikernel.fleet.tests.support.told_history import gaps_in_history
from ansible_collections.unikernel.fleet.tests.support.unix_ground import case_folder, surplus_processes

WHY_NOT = why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]
NAME = "hello"
BEHAVIOURS = {"a good build": "well", "a broken build": "crash"}


def _deploy(node: Node) -> None:
    with locked(node, NAME, ME) as transaction:
        transaction.declare(declared(node, "v1"), AT_ONCE, None)


def _module(failing: Failing, root: Path, behaviour: str) -> None:
    """A change from its rehearsal to its confirmation."""
    failing.enabled = True
    with suppress(FleetError), locked(real_node(root, failing), NAME, ME) as transaction:
        transaction.declare(declared(real_node(root), "v2", behaviour), rehearsing(deadline_s=2.0), None)


def _interrupted(lab: Lab, root: Path, what: str, fault: Fault, number: int) -> tuple[bool, Case]:
    node = real_node(root)
    _deploy(node)
    before = {instance.release: instance.identity for instance in node.inspect(node.journal(NAME).read())}
    hit = interrupted(_module, fault, number, root, BEHAVIOURS[what])
    return hit, _judged(lab, node, root, what, fault, number, before)


def _judged(lab: Lab, node: Node, root: Path, what: str, fault: Fault, number: int, before: dict[int, object]) -> Case:
    """As the guard finds it a minute later."""
    written = node.journal(NAME).read()
    lost = []
    after = guard.sweep(real_node(root, ahead_s=60.0), NAME)
    alive = {instance.release: instance.identity for instance in node.inspect(after) if instance.alive}
    if written.phase in (Phase.REHEARSING, Phase.SWAPPING) or BEHAVIOURS[what] != "well":
        if after.current is None or after.current.number != 1:
            lost.append(f"{after.current} is current")
        # While it is rehearsed nothing is done to what serves; from the swap on it may have been started anew.
        if written.phase is not Phase.SWAPPING and after.ended is not None and after.ended.outcome != "rolled_back":
            lost += [] if alive == before else [f"{alive} runs instead of {before}"]
    if after.phase is not Phase.STABLE or after.current is None or set(alive) != {after.current.number}:
        lost.append(f"it is {after.phase.value}, and {alive} runs")
    expected = "v1" if after.current is None or after.current.number == 1 else "v2"
    if not within(3.0, lambda: answering_version() == expected):
        lost.append(f"{answering_version()!r} answers instead of {expected!r}")
    lost += gaps_in_history(node, NAME, after)
    if after.held and (fault is Fault.MODULE_KILLED and written.phase is Phase.REHEARSING):
        lost.append(f"it is held, and nobody saw why: {after.held[0].reason}")
    left = [*traces(lab, node, NAME), *surplus_processes(root)]
    return Case(f"rehearsal of {what}", fault, number, tuple(lost), tuple(left))


def _at(what: str, fault: Fault, folder: Path, number: int) -> tuple[bool, Case]:
    with network_lab() as lab, case_folder(folder, number) as root:
        lab.watch_over(real_node(root).layout.root, NAME)
        return _interrupted(lab, root, what, fault, number)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.MODULE_KILLED], ids=lambda fault: fault.value)
@pytest.mark.parametrize("what", ["a broken build", pytest.param("a good build", marks=pytest.mark.long)])
def test_a_rehearsal_that_is_cut_short_leaves_what_serves_alone_and_nothing_of_itself(
    what: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    all_survived(cases_of(functools.partial(_at, what, fault, tmp_path)), 10, record_property)
