# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do about a unikernel, given what is written, what runs and what time it is: one pure function.

The module that changes a unikernel, the guard during a trial, the guard's sweep and the guard at boot all call
:func:`settle` under the lock, with the state read after the lock was taken and the clock read after that. Whoever
calls it while a phase is open therefore knows that the process which opened it no longer works on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

from ..checks.model import Outcome
from ..clock import Now
from ..model import Instance, Release, RestartPolicy, Snapshot
from .state import Phase, State, Trial, open_trial

MOST_FAILED_REVERTS = 3
"""Attempts to bring the old release back before a unikernel counts as stranded."""


@dataclass(frozen=True)
class BeginRevert:
    """Write ``reverting`` with the reason."""

    reason: str
    blame: bool
    """The candidate itself failed (and will be held), as opposed to whoever should have confirmed it."""


@dataclass(frozen=True)
class RestoreOrigin:
    """Make the current release run and the candidate not."""


@dataclass(frozen=True)
class FinishRevert:
    """Keep the evidence, write ``stable``."""


@dataclass(frozen=True)
class Strand:
    """Write ``stranded``: enough attempts failed."""


@dataclass(frozen=True)
class FinishConfirm:
    """Write ``stable`` with the candidate as the current release."""


@dataclass(frozen=True)
class EndRehearsal:
    """Stop what is being rehearsed, remove all that it had, write ``stable``: nothing was swapped."""

    reason: str


@dataclass(frozen=True)
class RemoveSnapshot:
    """Nobody goes back to it any more."""

    snapshot: Snapshot


@dataclass(frozen=True)
class StopStray:
    """Stop an instance of a release that should not run."""

    release: int


@dataclass(frozen=True)
class StartCurrent:
    """Start the current release, because the machine was booted since it last ran; or put it, which lives, back on
    its bridge."""


Action = Union[
    BeginRevert,
    RestoreOrigin,
    FinishRevert,
    Strand,
    FinishConfirm,
    EndRehearsal,
    StopStray,
    StartCurrent,
    RemoveSnapshot,
]


def settle(state: State, what_runs: Sequence[Instance], now: Now) -> tuple[Action, ...]:
    """The actions that bring the unikernel to rest, in order; ``()`` when it is at rest or rightly on trial."""
    if state.phase is Phase.STABLE:
        return _settle_stable(state, what_runs, now)
    trial = open_trial(state)
    if state.phase is Phase.REHEARSING:
        return (EndRehearsal("the run that was rehearsing it ended in the middle of that, so nothing was swapped"),)
    if state.phase is Phase.SWAPPING:
        return _revert("the run that was making the change ended in the middle of it", blame=False)
    if state.phase is Phase.ON_TRIAL:
        why = reason_to_revert(trial, what_runs, now)
        return _revert(*why) if why else ()
    if state.phase is Phase.CONFIRMING:
        return (*_strays(trial.candidate, what_runs), FinishConfirm())
    if state.phase is Phase.REVERTING:
        if state.failed_reverts >= MOST_FAILED_REVERTS:
            return (Strand(),)
        return (RestoreOrigin(), FinishRevert())
    return ()


def reason_to_revert(trial: Trial, what_runs: Sequence[Instance], now: Now) -> Optional[tuple[str, bool]]:
    """Why a trial cannot go on, and whether the candidate is to blame; None while it can."""
    if trial.boot_id != now.boot_id:
        return "the machine was booted before the trial was confirmed", False
    if trial.verdict is not None and trial.verdict.outcome is not Outcome.PASS:
        cut_off = _cut_off(trial.candidate, what_runs)
        if cut_off is not None:
            # Whatever the build is like, checks fail then.
            return f"{trial.verdict.reason} But {cut_off}", False
        return trial.verdict.reason, True
    if trial.candidate is not None and trial.candidate.running:
        instance = _living(trial.candidate, what_runs)
        if instance is None:
            return _lost(trial.candidate, what_runs), _cut_off(trial.candidate, what_runs) is None
        if not instance.serving:
            return "it was lost during its trial: it runs, but off its bridge", False
        if trial.instance is not None and instance.identity != trial.instance:
            return "it was restarted during its trial, by somebody or something", True
    if trial.deadline_s is None or now.boottime_s >= trial.deadline_s:
        if trial.verdict is None:
            # The guard died, or was never there: that is not the candidate's fault.
            return f"no verdict was reached within {trial.timeout_s:g} s", False
        return f"nobody confirmed it within {trial.timeout_s:g} s", False
    return None


def _revert(reason: str, blame: bool) -> tuple[Action, ...]:
    return (BeginRevert(reason, blame), RestoreOrigin(), FinishRevert())


def _settle_stable(state: State, what_runs: Sequence[Instance], now: Now) -> tuple[Action, ...]:
    expected = state.current if state.current is not None and state.current.running else None
    actions = list(_strays(expected, what_runs))
    # Within one boot a unikernel that ended by itself is left to its restart policy, as long as somebody carries that
    # out; after a boot nobody but us starts it. One that is parked was left so by a change that was cut short, or its
    # bridge was taken from it.
    instance = _living(expected, what_runs) if expected is not None else None
    if instance is not None and not instance.serving:
        actions.append(StartCurrent())
    taken = any(i.alive and i.altered is not None for i in what_runs)
    left_alone = state.started_boot_id == now.boot_id and not _is_restarted_by_nobody(expected, what_runs)
    if expected is not None and instance is None and not taken and not left_alone:
        actions.append(StartCurrent())
    # Last, for it is the least that matters.
    actions += [RemoveSnapshot(snapshot) for snapshot in state.discarded]
    return tuple(actions)


def _is_restarted_by_nobody(expected: Optional[Release], what_runs: Sequence[Instance]) -> bool:
    """It was to be restarted when it ends, and whoever would have done that was killed before."""
    if expected is None or expected.configuration.restart is RestartPolicy.NEVER:
        return False
    return any(i.release == expected.number and i.exit is not None and i.exit.unseen for i in what_runs)


def _strays(expected: Optional[Release], what_runs: Sequence[Instance]) -> tuple[Action, ...]:
    number = expected.number if expected is not None and expected.running else None
    # What somebody else put there is drift: it is shown, and a deployment puts it right.
    return tuple(StopStray(i.release) for i in what_runs if i.alive and i.altered is None and i.release != number)


def _living(release: Release, what_runs: Sequence[Instance]) -> Optional[Instance]:
    return next((i for i in what_runs if i.works and i.release == release.number), None)


def _cut_off(candidate: Optional[Release], what_runs: Sequence[Instance]) -> Optional[str]:
    """Why nobody reaches a candidate that lives, in a clause, where the build is not to blame for it."""
    number = candidate.number if candidate is not None and candidate.running else None
    found = next((i for i in what_runs if i.alive and i.release == number), None)
    if found is None:
        return None
    return "it runs off its bridge" if found.works and not found.serving else found.cut_off


def _lost(release: Release, what_runs: Sequence[Instance]) -> str:
    found = next((i for i in what_runs if i.release == release.number and i.alive), None)
    if found is not None and found.unreachable is not None:
        return f"it was lost during its trial: {found.unreachable}"
    if found is not None and found.altered is not None:
        return f"it was changed during its trial: {found.altered}"
    return f"it ended during its trial: {_end_of(release, what_runs)}"


def _end_of(release: Release, what_runs: Sequence[Instance]) -> str:
    ended = next((i for i in what_runs if i.release == release.number and i.exit is not None), None)
    return ended.exit.meaning if ended is not None and ended.exit is not None else "nobody saw how"
