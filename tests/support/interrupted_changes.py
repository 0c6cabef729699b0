# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a unikernel that are interrupted at a step of the module or of its guard, on whatever ground it runs; and
what must hold of it afterwards."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional, Protocol

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.proposal import Declaration
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import (
    Change,
    Transaction,
    TrialOptions,
    locked,
)
from ansible_collections.unikernel.fleet.tests.support.fault_cases import Case
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.interruption import Failing, Fault, interrupted
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    NAME,
    UNGUARDED,
    answer_of,
    says,
    trial_options,
    within,
)
from ansible_collections.unikernel.fleet.tests.support.told_history import gaps_in_history
from ansible_collections.unikernel.fleet.tests.support.trials import AT_ONCE, PASSED


class Ground(Protocol):
    """Where a unikernel runs; it can be sent to another process."""

    what: str
    """Before the names of its cases."""
    port: int
    """Where its programs answer, each with its version and a word."""

    def node(self, ahead_s: float = 0.0) -> Node: ...

    def failing_node(self, failing: Failing) -> Node: ...

    def declared(self, node: Node, version: Optional[str], word: str = "default") -> Declaration: ...

    def leftovers(self, node: Node, after: State) -> list[str]:
        """What nobody should find any more."""


Declare = Callable[..., Declaration]
"""Of a version, or None for the one that runs, and perhaps a word."""


@dataclass(frozen=True)
class Scenario:
    """A change from an old release to a new one; what answers tells which of them runs."""

    name: str
    old: Optional[str]
    new: str
    deployed: tuple[str, ...]
    """These versions, before it."""
    change: Callable[[Transaction, Declare, TrialOptions], Change]


def _to_two(transaction: Transaction, declared: Declare, options: TrialOptions) -> Change:
    return transaction.declare(declared("two"), options, None)


def _reconfigured(transaction: Transaction, declared: Declare, options: TrialOptions) -> Change:
    return transaction.declare(declared(None, "other"), options, None)


def _back(transaction: Transaction, declared: Declare, options: TrialOptions) -> Change:
    return transaction.roll_back_to(None, options, None)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first deployment", None, "two default", (), _to_two),
        Scenario("update", "one default", "two default", ("one",), _to_two),
        Scenario("reconfigure", "one default", "one other", ("one",), _reconfigured),
        Scenario("rollback", "two default", "one default", ("one", "two"), _back),
    )
}


def interrupted_change(ground: Ground, scenario: str, fault: Fault, number: int) -> tuple[bool, Case]:
    """Whether it came as far as that step, and what came of it."""
    work = _guard if fault is Fault.GUARD_KILLED else _module
    hit = interrupted(work, fault, number, ground, scenario)
    return hit, _judged(ground, SCENARIOS[scenario], fault, number)


def _module(failing: Failing, ground: Ground, scenario: str) -> None:
    """A change from its beginning to its confirmation."""
    node = ground.failing_node(failing)
    _prepare(node, ground, scenario)
    failing.enabled = True
    with suppress(FleetError), locked(node, NAME, ME) as transaction:
        trial = _changed(transaction, node, ground, scenario, UNGUARDED)
        if trial is not None and transaction.state.phase is Phase.ON_TRIAL:
            transaction.judge(trial, PASSED)
            transaction.confirm(trial)


def _guard(failing: Failing, ground: Ground, scenario: str) -> None:
    """A change whose guard finds the candidate bad: nobody answers as the check demands."""
    node = ground.failing_node(failing)
    _prepare(node, ground, scenario)
    options = trial_options(says(ground.port, "^never$", 0.05), deadline_s=0.1)
    with locked(node, NAME, ME) as transaction:
        trial = _changed(transaction, node, ground, scenario, options)
    failing.enabled = True
    guard.watch(node, NAME, str(trial))


def _prepare(node: Node, ground: Ground, scenario: str) -> None:
    for version in SCENARIOS[scenario].deployed:
        declaration = ground.declared(node, version)
        with locked(node, NAME, ME) as transaction:
            transaction.declare(declaration, AT_ONCE, None)


def _changed(
    transaction: Transaction, node: Node, ground: Ground, scenario: str, options: TrialOptions
) -> Optional[str]:
    def declared(version: Optional[str], word: str = "default") -> Declaration:
        return ground.declared(node, version, word)

    return SCENARIOS[scenario].change(transaction, declared, options).trial


def _judged(ground: Ground, scenario: Scenario, fault: Fault, number: int) -> Case:
    """Open it again as the next run does, a minute later, and look at everything."""
    what = f"{ground.what}{scenario.name}"
    node = ground.node(ahead_s=60.0)
    try:
        written = node.journal(NAME).read()
        after = guard.sweep(node, NAME)
        lost = tuple(_wrongs(scenario, fault, node, written, after, ground.port))
    except FleetError as error:
        return Case(what, fault, number, (f"it does not come to rest: {error}",), ())
    return Case(what, fault, number, lost, tuple(ground.leftovers(node, after)))


def _wrongs(scenario: Scenario, fault: Fault, node: Node, written: State, after: State, port: int) -> Iterator[str]:
    """What is not as it must be after that fault, once somebody has opened it again."""
    answers = {scenario.old, scenario.new}
    if written.phase in (Phase.SWAPPING, Phase.ON_TRIAL, Phase.REVERTING) or fault is Fault.GUARD_KILLED:
        answers = {scenario.old}
    if written.phase is Phase.CONFIRMING:
        answers = {scenario.new}
    if after.phase is not Phase.STABLE:
        yield f"it is {after.phase.value}"
    if not within(2.0, lambda: answer_of(port) in answers):
        yield f"{answer_of(port)!r} answers instead of {answers}"
    alive = [i.release for i in node.inspect(after) if i.alive]
    if alive != ([after.current.number] if after.current is not None else []):
        yield f"the instances {alive} live"
    yield from gaps_in_history(node, NAME, after)
    with open(node.layout.lock(NAME), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield "the lock is still held"
    kept = [release for release in (after.current, after.previous, *after.kept) if release is not None]
    missing = [str(release) for release in kept if not node.store.holds(release.image.sha256)]
    if missing:
        yield f"images are gone: {missing}"
