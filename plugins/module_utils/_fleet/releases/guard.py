# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard of one trial: a small program on the node that needs neither Ansible nor a network.

It runs the node's checks, writes down their verdict, ends the trial at once when the verdict is bad or the candidate
ends, and ends it at its deadline when nobody confirmed it. It decides nothing by itself: it only calls
:class:`Transaction` under the lock, as everybody does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Optional

from ..checks.model import CheckSpec, Outcome, Verdict
from ..checks.protocol import Surroundings
from ..checks.registry import CHECKS
from ..checks.schedule import run_checks
from ..errors import DriverError, FleetError, InvalidDeclaration, StateTooNew, StateUnreadable
from ..model import Instance, Release
from . import evidence
from .node import Node, living
from .settlement import reason_to_revert
from .state import Holder, Phase, State, Trial
from .transaction import locked

GUARD = Holder(who="the guard")

LOCK_WAIT_S = 3600.0
"""The module that began the trial holds the lock until its swap is done; when it dies, the kernel frees the lock."""

_POLL_S = 0.1
"""How soon an ended candidate, a confirmation or a deadline is noticed."""

_MOST_FAILURES = 120
_LONGEST_PAUSE_S = 30.0
"""A guard that is hindered (a full disk, say) tries again for about an hour."""


_FOR_A_REVERT = ("..drivers.process_swaps", "..drivers.process_validation", "..drivers.process_disks")
"""Imported where they are used; in a guard, before anything depends on its speed."""


def self_test(checks: Sequence[CheckSpec]) -> None:
    """Raise what would keep this guard from judging: a check that cannot be made here, a missing library."""
    for module in _FOR_A_REVERT:
        import_module(module, __package__)
    for spec in checks:
        if spec.kind not in CHECKS:
            raise InvalidDeclaration(f"there is no check of the kind {spec.kind!r}; known: {', '.join(sorted(CHECKS))}")
        CHECKS[spec.kind].require(spec.options)
        CHECKS[spec.kind].bind(spec, Surroundings())


def test_of_drivers(node: Node, name: str) -> None:
    """Raise what would keep this guard from seeing or changing what runs: a state that cannot be read, an albatross
    that cannot be asked from here, or not with the Python that runs this."""
    state = node.journal(name).read()
    node.inspect(state)
    for driver in node.drivers_of(state):
        if driver.capabilities.shared:
            driver.discovered(name, state.next_number)


def watch(node: Node, name: str, trial_id: str, on_failure: Callable[[Exception], None] = lambda error: None) -> None:
    """Guard a trial until it has ended, in whatever way. What hinders it is told to ``on_failure`` and tried again;
    raised is only what waiting cannot mend."""
    stop = threading.Event()
    checking: Optional[_Checking] = None
    failures = 0
    try:
        while True:
            try:
                trial = _under_lock(node, name, trial_id, checking)
                if trial is None:
                    return
                if checking is None and trial.verdict is None:
                    checking = _Checking(node, name, trial, stop)
                _wait_until_something_is_due(node, name, trial, checking)
                failures = 0
            except (StateTooNew, StateUnreadable):
                raise
            except (FleetError, OSError) as error:
                failures += 1
                on_failure(error)
                if failures >= _MOST_FAILURES:
                    raise
                time.sleep(min(0.5 * 2**failures, _LONGEST_PAUSE_S))
    finally:
        stop.set()


def sweep(node: Node, name: str, wait_s: float = LOCK_WAIT_S) -> State:
    """Settle one unikernel: overdue trials, interrupted changes, what should run after a boot. DriverError when that
    does not start."""
    with locked(node, name, GUARD, wait_s) as transaction:
        if transaction.not_started is not None:
            raise DriverError(f"it should run and does not: {transaction.not_started}")
        return transaction.state


def judge_here(node: Node, name: str, trial_id: str) -> None:
    """Make the checks of a trial and hand their verdict in, as its guard would, once."""
    trial = node.journal(name).read().trial
    if trial is None or trial.id != trial_id:
        return
    verdict = run_checks(trial.checks, trial.schedule, surroundings_of(node, name, trial.candidate))
    with locked(node, name, GUARD, LOCK_WAIT_S) as transaction:
        transaction.judge(trial_id, verdict)


def _under_lock(node: Node, name: str, trial_id: str, checking: Optional[_Checking]) -> Optional[Trial]:
    """Settle, hand in the verdict if there is one, and say how the trial stands; None when it has ended."""
    with locked(node, name, GUARD, LOCK_WAIT_S) as transaction:
        if checking is not None and checking.verdict is not None:
            transaction.judge(trial_id, checking.verdict)
        trial = transaction.state.trial
        if trial is None or trial.id != trial_id or transaction.state.phase is not Phase.ON_TRIAL:
            return None
        return trial


class _Checking:
    """The node's checks of a trial, running in a thread of their own."""

    def __init__(self, node: Node, name: str, trial: Trial, stop: threading.Event) -> None:
        self.verdict: Optional[Verdict] = None
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(node, name, trial, stop), daemon=True)
        self._thread.start()

    def _run(self, node: Node, name: str, trial: Trial, stop: threading.Event) -> None:
        try:
            self.verdict = run_checks(
                trial.checks, trial.schedule, surroundings_of(node, name, trial.candidate), stop=stop
            )
        except Exception as error:  # whatever a check does, the trial needs a verdict
            self.verdict = Verdict(Outcome.INCONCLUSIVE, f"the checks could not be run: {error!r}")
        finally:
            self.done.set()


def surroundings_of(node: Node, name: str, release: Optional[Release]) -> Surroundings:
    """What checks may look at: the instance and the console of a release; nothing of one that does not run."""
    if release is None or not release.running:
        return Surroundings()
    watched: Release = release
    driver = node.driver_for(watched)

    def inspect() -> Optional[Instance]:
        return living(driver.inspect([name]).get(name, ()), watched)

    def console(lines: int) -> tuple[str, ...]:
        # What a check sees, it may quote, and its words go into the history.
        return tuple(evidence.redacted(driver.console(name, watched.number, lines), watched))

    return Surroundings(inspect=inspect, console=console)


def _wait_until_something_is_due(node: Node, name: str, trial: Trial, checking: Optional[_Checking]) -> None:
    """Return when the lock is worth taking: a new verdict, an ended candidate, a deadline, somebody else's word."""
    while True:
        state = node.journal(name).read()
        if state.trial is None or state.trial.id != trial.id or state.phase is not Phase.ON_TRIAL:
            return
        undelivered = checking is not None and state.trial.verdict is None
        if undelivered and checking is not None and checking.done.is_set():
            return
        if reason_to_revert(state.trial, node.inspect(state), node.now()) is not None:
            return
        if undelivered and checking is not None:
            checking.done.wait(_POLL_S)
        else:
            time.sleep(_POLL_S)
