# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearsals that are cut short: each step of one fails, or its process is killed there, on a real bridge.

Whatever becomes of the rehearsal, what serves goes on serving, by the very same process; and the next one to open the
unikernel leaves no process, interface, namespace or file of it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import locked
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.runtime.waiter import enter_network_namespace
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.faults import HIT, NOT_HIT, Case, Failing, Fault
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.network_lab import (
    GUEST_V4,
    Holder,
    Lab,
    network_lab,
    why_not_here,
)
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    processes_of,
    real_node,
    within,
)
from ansible_collections.unikernel.fleet.tests.support.rehearsing import declared, rehearsing, traces
from ansible_collections.unikernel.fleet.tests.support.requests_without_end import Client

WHY_NOT = why_not_here()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=f"a real bridge: {WHY_NOT}")]
NAME = "hello"
MOST_STEPS = 60
BEHAVIOURS = {"a good build": "well", "a broken build": "crash"}

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def _deploy(node: Node) -> None:
    with locked(node, NAME, ME) as transaction:
        transaction.declare(declared(node, "v1"), AT_ONCE, None)


def _module(root: Path, holder: int, behaviour: str, fault: Fault, number: int) -> None:
    """A change from its rehearsal to its confirmation, in the lab's network."""
    enter_network_namespace(f"/proc/{holder}/ns/net")
    failing = Failing(fault, number, enabled=True)
    try:
        with locked(real_node(root, failing), NAME, ME) as transaction:
            transaction.declare(declared(real_node(root), "v2", behaviour), rehearsing(deadline_s=2.0), None)
    except FleetError:
        pass
    os._exit(HIT if failing.was_hit else NOT_HIT)


def _interrupted(lab: Lab, root: Path, what: str, fault: Fault, number: int) -> tuple[bool, Case]:
    node = real_node(root)
    _deploy(node)
    before = {instance.release: instance.identity for instance in node.inspect(node.journal(NAME).read())}
    holder = Holder()
    process = _PROCESSES.Process(target=_module, args=(root, holder.pid, BEHAVIOURS[what], fault, number))
    process.start()
    process.join(30)
    holder.end()
    expected = (-signal.SIGKILL, NOT_HIT) if fault is not Fault.ERROR else (HIT, NOT_HIT)
    assert process.exitcode in expected, f"{what} at {number} ended with {process.exitcode}"
    return process.exitcode != NOT_HIT, _judged(lab, node, root, what, fault, number, before)


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
    expected = b"v1" if after.current is None or after.current.number == 1 else b"v2"
    if not within(3.0, lambda: _answer() == expected):
        lost.append(f"{_answer()!r} answers instead of {expected!r}")
    events = [json.loads(line) for line in node.layout.history(NAME).read_text(encoding="utf-8").splitlines()]
    if [event["seq"] for event in events] != list(range(1, after.event_count + 1)):
        lost.append("the history has a gap")
    if after.held and (fault is Fault.MODULE_KILLED and written.phase is Phase.REHEARSING):
        lost.append(f"it is held, and nobody saw why: {after.held[0].reason}")
    left = traces(lab, node, NAME)
    within(2.0, lambda: len(processes_of(root)) == 2)
    found = processes_of(root)
    left += [] if len(found) == 2 else [f"2 processes expected, found {found}"]
    return Case(f"rehearsal of {what}", fault, number, tuple(lost), tuple(left))


def _answer() -> bytes:
    with Client(GUEST_V4, every_s=0.05, limit_s=0.5) as client:
        within(0.5, lambda: any(request.outcome for request in client.requests))
    return next((request.body for request in client.requests if request.outcome == "ok"), b"")


def cases_of(what: str, fault: Fault, folder: Path) -> Iterator[Case]:
    for number in range(MOST_STEPS):
        root = folder / str(number)
        root.mkdir()
        with network_lab() as lab:
            lab.watch_over(real_node(root).layout.root, NAME)
            try:
                hit, case = _interrupted(lab, root, what, fault, number)
            finally:
                programs.end_all_instances(root)
        yield case
        if not hit:
            return
    raise AssertionError(f"{what} has more than {MOST_STEPS} steps")


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.MODULE_KILLED], ids=lambda fault: fault.value)
@pytest.mark.parametrize("what", ["a broken build", pytest.param("a good build", marks=pytest.mark.long)])
def test_a_rehearsal_that_is_cut_short_leaves_what_serves_alone_and_nothing_of_itself(
    what: str, fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases = list(cases_of(what, fault, tmp_path))
    record_property("cases", len(cases))
    record_property("lost", sum(bool(case.lost) for case in cases))
    record_property("leftovers", sum(bool(case.leftovers) for case in cases))
    assert len(cases) >= 10
    assert not [str(case) for case in cases if case.lost or case.leftovers]
