# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real changes of a unikernel that the double of albatross runs, carried out by a process of their own that fails or is
killed at a given step: what is asked of albatross, and what is written down of it, are steps too."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.client import Client
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.albatross.records import UnikernelInfo
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_place import Place
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.drivers.albatross_records import Created, Records
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.layout import NodeLayout
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node, local_node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration, Wanted
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import Transaction, locked
from ansible_collections.unikernel.fleet.tests.support.albatross.images import image
from ansible_collections.unikernel.fleet.tests.support.albatross_process import AlbatrossProcess
from ansible_collections.unikernel.fleet.tests.support.faults import (
    HIT,
    MOST_STEPS,
    NOT_HIT,
    PASSED,
    PROCESSES,
    Case,
    Failing,
    Fault,
    Scenario,
    wrongs,
)
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    UNGUARDED,
    LaterClock,
    answering,
    free_port,
    says,
    trial_options,
    within,
)

STEPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Client, ("create", "force_create", "destroy", "image")),
    (Records, ("begin", "put", "discard")),
)


def place_of(sockets: Path, number: int) -> Place:
    """Each case has a path of its own in one albatross."""
    return Place(path=f"case-{number}", sockets=str(sockets), timeout_s=10.0)


def albatross_node(
    root: Path, place: Place, reached: Callable[[str], None] = lambda step: None, ahead_s: float = 0.0
) -> Node:
    made = local_node(NodeLayout(root / "state"), {NAME: place})
    return Node(made.layout, made.store, made.open_driver, LaterClock(ahead_s), reached, made.places)


def declared(node: Node, version: Optional[str], port: int, word: str = "default") -> Declaration:
    given = {
        "driver": "albatross",
        "networks": [],
        "arguments": [str(port), word],
        "albatross": {"add_name": False},
    }
    octets = None if version is None else node.store.add_stream([image(answering(version), networks=())])
    return Declaration(wanted=Wanted.RUNNING, image=octets, configuration=given)


def _deploy(node: Node, version: str, port: int) -> None:
    with locked(node, NAME, ME) as transaction:
        transaction.declare(declared(node, version, port), AT_ONCE, None)


def _nothing(node: Node, port: int) -> None:
    """The unikernel is absent."""


def _one(node: Node, port: int) -> None:
    _deploy(node, "one", port)


def _two_after_one(node: Node, port: int) -> None:
    _deploy(node, "one", port)
    _deploy(node, "two", port)


def _to_two(transaction: Transaction, node: Node, port: int, options: Any) -> Optional[str]:
    return transaction.declare(declared(node, "two", port), options, None).trial


def _reconfigured(transaction: Transaction, node: Node, port: int, options: Any) -> Optional[str]:
    return transaction.declare(declared(node, None, port, "other"), options, None).trial


def _back(transaction: Transaction, node: Node, port: int, options: Any) -> Optional[str]:
    return transaction.roll_back_to(None, options, None).trial


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first deployment", None, "two default", _nothing, _to_two),
        Scenario("update", "one default", "two default", _one, _to_two),
        Scenario("reconfigure", "one default", "one other", _one, _reconfigured),
        Scenario("rollback", "two default", "one default", _two_after_one, _back),
    )
}


def interrupting(failing: Failing) -> None:
    """In this process, which is nobody else's: before and after each of the steps beside the journal's."""

    def around(what: Callable[..., Any], name: str) -> Callable[..., Any]:
        def done(*arguments: Any, **named: Any) -> Any:
            failing(f"before {name}")
            result = what(*arguments, **named)
            failing(f"after {name}")
            return result

        return done

    for owner, names in STEPS:
        for name in names:
            setattr(owner, name, around(getattr(owner, name), name))


def _module(root: Path, place: Place, scenario: str, fault: Fault, number: int, port: int) -> None:
    """A change from its beginning to its confirmation."""
    failing = Failing(fault, number)
    interrupting(failing)
    node = albatross_node(root, place, failing)
    SCENARIOS[scenario].prepare(node, port)
    failing.enabled = True
    try:
        with locked(node, NAME, ME) as transaction:
            trial = SCENARIOS[scenario].change(transaction, node, port, UNGUARDED)
            if trial is not None and transaction.state.phase is Phase.ON_TRIAL:
                transaction.judge(trial, PASSED)
                transaction.confirm(trial)
    except FleetError:
        pass
    os._exit(HIT if failing.was_hit else NOT_HIT)


def _guard(root: Path, place: Place, scenario: str, fault: Fault, number: int, port: int) -> None:
    """A change whose guard finds the candidate bad: nobody answers as the check demands."""
    failing = Failing(fault, number)
    interrupting(failing)
    node = albatross_node(root, place, failing)
    SCENARIOS[scenario].prepare(node, port)
    options = trial_options(says(port, "^never$", 0.05), deadline_s=0.1)
    with locked(node, NAME, ME) as transaction:
        trial = SCENARIOS[scenario].change(transaction, node, port, options)
    failing.enabled = True
    guard.watch(node, NAME, str(trial))
    os._exit(HIT if failing.was_hit else NOT_HIT)


def cases_of(scenario: str, fault: Fault, albatross: AlbatrossProcess, folder: Path, every: int = 1) -> Iterator[Case]:
    """Interrupt the change at each step (or each ``every``-th one) until it is not interrupted any more."""
    for number in range(0, MOST_STEPS, every):
        root = folder / str(number)
        root.mkdir()
        place = place_of(albatross.folder, number)
        hit, case = _interrupted(SCENARIOS[scenario], fault, number, root, place)
        with suppress(FleetError):
            place.client().destroy(place.name(NAME))
        if not hit:
            assert not case.lost and not case.leftovers, case
            return
        yield case
    raise AssertionError(f"{scenario} has more than {MOST_STEPS} steps")


def _interrupted(scenario: Scenario, fault: Fault, number: int, root: Path, place: Place) -> tuple[bool, Case]:
    port = free_port()
    target = _guard if fault is Fault.GUARD_KILLED else _module
    process = PROCESSES.Process(target=target, args=(root, place, scenario.name, fault, number, port))
    process.start()
    process.join(60)
    expected = (-signal.SIGKILL, NOT_HIT) if fault is not Fault.ERROR else (HIT, NOT_HIT)
    assert process.exitcode in expected, f"{scenario.name} at {number} ended with {process.exitcode}"
    return process.exitcode != NOT_HIT, _judged(scenario, fault, number, root, place, port)


def _judged(scenario: Scenario, fault: Fault, number: int, root: Path, place: Place, port: int) -> Case:
    """Open it again as the next run does, a minute later, and look at everything."""
    lost = []
    node = albatross_node(root, place, ahead_s=60.0)
    name = f"albatross: {scenario.name}"
    try:
        written = node.journal(NAME).read()
        after = guard.sweep(node, NAME)
        lost += wrongs(scenario, fault, node, written, after, port)
    except FleetError as error:
        return Case(name, fault, number, (f"it does not come to rest: {error}",), ())
    wanted = 1 if after.current is not None else 0
    within(2.0, lambda: len(processes_of(place)) == wanted)
    found = processes_of(place)
    leftovers = [f"{wanted} processes expected, found {found}"] if len(found) != wanted else []
    listed = [str(entry.name) for entry in place.client().unikernels(place.name(None))]
    if listed != [str(place.name(NAME))] * wanted:
        leftovers.append(f"albatross lists {listed}")
    info = place.client().unikernel(place.name(NAME))
    # Whether a request was sent, whose asker was killed, nobody knows: as long as what it is to replace runs, it may be
    # carried out, and its record is there so that it is known for ours then.
    awaited = {one.number for one in Records(node.layout, NAME).all() if _is_awaited(one, info)}
    written_down = {int(path.parent.name) for path in node.layout.instance(NAME, 0).parent.glob("*/created.json")}
    records = written_down - awaited
    numbers = {release.number for release in (after.current, *after.kept) if release is not None}
    if len(records) > max(1, len(numbers)):
        leftovers.append(f"{len(records)} records of {sorted(numbers)}")
    return Case(name, fault, number, tuple(lost), tuple(leftovers))


def _is_awaited(record: Created, info: Optional[UnikernelInfo]) -> bool:
    return record.unanswered and record.before is not None and info is not None and info.started == record.before


def processes_of(place: Place) -> dict[int, str]:
    """All that the double started in that path, and that runs."""
    trace = f"{place.sockets}/double/images/{place.path}:{NAME}.img".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                said = (entry / "cmdline").read_bytes()
                if trace in said:
                    found[int(entry.name)] = said.replace(b"\0", b" ").decode("utf-8", "replace")
    return found
