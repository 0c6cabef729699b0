# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a caller that did not guard a trial learns how it went: by reading the state, and never by guessing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ..checks.model import Outcome, Verdict
from ..errors import TrialRefused
from .node import Node
from .state import Ended, Holder, Phase, State
from .transaction import locked

_POLL_S = 0.05

_OVERDUE_S = 2.0
"""A guard acts at its deadline; when the state is still open this long after it, the guard is gone."""


class Standing(str, Enum):
    """How a trial stands."""

    PASSED = "passed"
    """The node's checks passed; it waits for its confirmation."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    STRANDED = "stranded"
    REFUSED = "refused"
    """Its rehearsal failed or showed nothing, so it was never swapped in."""
    UNDECIDED = "undecided"
    """Still being checked."""


@dataclass(frozen=True)
class TrialReport:
    standing: Standing
    reason: str
    verdict: Optional[Verdict] = None
    ended: Optional[Ended] = None


def standing(state: State, trial_id: str) -> TrialReport:
    """How the trial stands by what is written. TrialRefused when the state does not know it (any more)."""
    trial, ended = state.trial, state.ended
    if ended is not None and ended.trial == trial_id:
        return TrialReport(Standing(ended.outcome), ended.reason, ended.verdict, ended)
    if trial is None or trial.id != trial_id:
        raise TrialRefused(
            f"{state.name}: there is no trial {trial_id}, open or just ended. Another run may have begun one since; "
            "see unikernel.fleet.unikernel_info with history."
        )
    passed = trial.verdict is not None and trial.verdict.outcome is Outcome.PASS
    if state.phase is Phase.ON_TRIAL and passed and trial.verdict is not None:
        return TrialReport(Standing.PASSED, trial.verdict.reason, trial.verdict)
    return TrialReport(Standing.UNDECIDED, f"it is {state.phase.value.replace('_', ' ')}", trial.verdict)


def wait_for_verdict(node: Node, name: str, trial_id: str, holder: Holder) -> TrialReport:
    """Wait until the node has a verdict or the trial has ended. Bounded by the trial's own deadline: when its guard
    does not act on it, this settles the unikernel itself."""
    while True:
        state = node.journal(name).read()
        report = standing(state, trial_id)
        if report.standing is not Standing.UNDECIDED:
            return report
        if _nobody_guards(node, state):
            from .guard import judge_here  # with every kind of check: only who makes checks needs it

            judge_here(node, name, trial_id)
            continue
        if _overdue(node, state):
            with locked(node, name, holder) as transaction:
                return standing(transaction.state, trial_id)
        time.sleep(_POLL_S)


def _nobody_guards(node: Node, state: State) -> bool:
    """A trial whose guard was chosen off has its checks made by who waits for them."""
    trial = state.trial
    if trial is None or trial.guarded or trial.verdict is not None or state.phase is not Phase.ON_TRIAL:
        return False
    from .guard_cli import guard_lock

    lock = guard_lock(node.layout, state.name, trial.id)
    if lock is None:
        return False
    os.close(lock)
    return True


def _overdue(node: Node, state: State) -> bool:
    now = node.now()
    if state.trial is None or state.trial.boot_id != now.boot_id:
        return True
    deadline = state.trial.deadline_s
    # Without a deadline the swap is still being made, by a process that holds the lock (or died, and freed it).
    return deadline is None or now.boottime_s > deadline + _OVERDUE_S
