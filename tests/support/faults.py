# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real changes of a real unikernel, carried out by a process of their own that fails or is killed at a given step."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Optional

from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.checks.model import Outcome, Verdict
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.errors import DriverError, FleetError
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases import guard
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.node import Node
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.state import Phase, State
from ansible_collections.unikernel.fleet.plugins.module_utils._fleet.releases.transaction import Transaction, locked
from ansible_collections.unikernel.fleet.tests.support import programs
from ansible_collections.unikernel.fleet.tests.support.fleet_node import ME
from ansible_collections.unikernel.fleet.tests.support.real_node import (
    AT_ONCE,
    NAME,
    UNGUARDED,
    answer_of,
    answering,
    declared,
    free_port,
    processes_of,
    real_node,
    says,
    trial_options,
    within,
)


class Fault(str, Enum):
    ERROR = "an error"
    MODULE_KILLED = "SIGKILL of the module"
    GUARD_KILLED = "SIGKILL of the guard"


HIT, NOT_HIT, MOST_STEPS = 17, 18, 60
PASSED = Verdict(Outcome.PASS, "all well")


@dataclass
class Failing:
    """Fails, or kills this very process, at the step of that number."""

    fault: Fault
    number: int
    steps: list[str] = field(default_factory=list)
    enabled: bool = False

    @property
    def was_hit(self) -> bool:
        return len(self.steps) > self.number

    def __call__(self, step: str) -> None:
        if not self.enabled:
            return
        self.steps.append(step)
        if len(self.steps) - 1 == self.number:
            if self.fault is Fault.ERROR:
                raise DriverError(f"a fault at {step!r}")
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Scenario:
    """A change from an old release to a new one; what answers tells which of them runs."""

    name: str
    old: Optional[str]
    new: str
    prepare: Callable[[Node, int], None]
    change: Callable[[Transaction, Node, int, object], Optional[str]]


def _deploy(node: Node, program: str, port: int, word: str = "default") -> None:
    declaration = declared(node, program, port, word)
    with locked(node, NAME, ME) as transaction:
        transaction.declare(declaration, AT_ONCE, None)


def _nothing(node: Node, port: int) -> None:
    """The unikernel is absent."""


def _one(node: Node, port: int) -> None:
    _deploy(node, answering("one"), port)


def _two_after_one(node: Node, port: int) -> None:
    _deploy(node, answering("one"), port)
    _deploy(node, answering("two"), port)


def _to_two(transaction: Transaction, node: Node, port: int, options: object) -> Optional[str]:
    return transaction.declare(declared(node, answering("two"), port), options, None).trial  # type: ignore[arg-type]


def _reconfigured(transaction: Transaction, node: Node, port: int, options: object) -> Optional[str]:
    return transaction.declare(declared(node, None, port, "other"), options, None).trial  # type: ignore[arg-type]


def _back(transaction: Transaction, node: Node, port: int, options: object) -> Optional[str]:
    return transaction.roll_back_to(None, options, None).trial  # type: ignore[arg-type]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first deployment", None, "two default", _nothing, _to_two),
        Scenario("update", "one default", "two default", _one, _to_two),
        Scenario("reconfigure", "one default", "one other", _one, _reconfigured),
        Scenario("rollback", "two default", "one default", _two_after_one, _back),
    )
}


def _module(root: Path, scenario: str, fault: Fault, number: int, port: int) -> None:
    """A change from its beginning to its confirmation."""
    failing = Failing(fault, number)
    node = real_node(root, failing)
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


def _guard(root: Path, scenario: str, fault: Fault, number: int, port: int) -> None:
    """A change whose guard finds the candidate bad: nobody answers as the check demands."""
    failing = Failing(fault, number)
    node = real_node(root, failing)
    SCENARIOS[scenario].prepare(node, port)
    options = trial_options(says(port, "^never$", 0.05), deadline_s=0.1)
    with locked(node, NAME, ME) as transaction:
        trial = SCENARIOS[scenario].change(transaction, node, port, options)
    failing.enabled = True
    guard.watch(node, NAME, str(trial))
    os._exit(HIT if failing.was_hit else NOT_HIT)


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Case:
    """One interruption and what came of it."""

    scenario: str
    fault: Fault
    number: int
    lost: tuple[str, ...]
    """What was wrong with the unikernel afterwards; nothing, as a rule."""
    leftovers: tuple[str, ...]
    """Processes that nobody should find any more."""

    def __str__(self) -> str:
        where = f"{self.scenario}, {self.fault.value} at step {self.number}"
        return f"{where}: {'; '.join((*self.lost, *self.leftovers)) or 'survived'}"


def cases_of(scenario: str, fault: Fault, folder: Path, every: int = 1) -> Iterator[Case]:
    """Interrupt the change at each step (or each ``every``-th one) until it is not interrupted any more."""
    for number in range(0, MOST_STEPS, every):
        root = folder / str(number)
        root.mkdir()
        try:
            hit, case = _interrupted(SCENARIOS[scenario], fault, number, root)
        finally:
            programs.end_all_instances(root)
        if not hit:
            assert not case.lost and not case.leftovers, case
            return
        yield case
    raise AssertionError(f"{scenario} has more than {MOST_STEPS} steps")


def _interrupted(scenario: Scenario, fault: Fault, number: int, root: Path) -> tuple[bool, Case]:
    port = free_port()
    target = _guard if fault is Fault.GUARD_KILLED else _module
    process = PROCESSES.Process(target=target, args=(root, scenario.name, fault, number, port))
    process.start()
    process.join(30)
    expected = (-signal.SIGKILL, NOT_HIT) if fault is not Fault.ERROR else (HIT, NOT_HIT)
    assert process.exitcode in expected, f"{scenario.name} at {number} ended with {process.exitcode}"
    hit = process.exitcode != NOT_HIT
    return hit, _judged(scenario, fault, number, root, port)


def _judged(scenario: Scenario, fault: Fault, number: int, root: Path, port: int) -> Case:
    """Open it again as the next run does, a minute later, and look at everything."""
    lost = []
    node = real_node(root, ahead_s=60.0)
    try:
        written = node.journal(NAME).read()
        after = guard.sweep(node, NAME)
        lost += wrongs(scenario, fault, node, written, after, port)
    except FleetError as error:
        lost.append(f"it does not come to rest: {error}")
        return Case(scenario.name, fault, number, tuple(lost), ())
    wanted = 2 if after.current is not None else 0
    within(2.0, lambda: len(processes_of(root)) == wanted)
    found = processes_of(root)
    leftovers = tuple(f"{wanted} processes expected, found {found}" for _unused in range(1) if len(found) != wanted)
    return Case(scenario.name, fault, number, tuple(lost), leftovers)


def wrongs(scenario: Scenario, fault: Fault, node: Node, written: State, after: State, port: int) -> Iterator[str]:
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
    lines = []
    if node.layout.history(NAME).exists():
        lines = node.layout.history(NAME).read_text(encoding="utf-8").splitlines()
    if [json.loads(line)["seq"] for line in lines] != list(range(1, after.event_count + 1)):
        yield f"the history has {len(lines)} of {after.event_count} events"
    with open(node.layout.lock(NAME), "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield "the lock is still held"
    kept = [release for release in (after.current, after.previous, *after.kept) if release is not None]
    missing = [str(release) for release in kept if not node.store.holds(release.image.sha256)]
    if missing:
        yield f"images are gone: {missing}"
