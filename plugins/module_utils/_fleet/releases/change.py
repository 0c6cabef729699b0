# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change of a unikernel, as it is asked for and as it is answered; and when none is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Optional

from ..checks.model import CheckSpec, Schedule
from ..model import Instance
from .data import DataOptions
from .fingerprint import fingerprint
from .proposal import Proposal
from .rehearsal import Inconclusive
from .state import Phase, State

KEEP_RELEASES = 3
"""Confirmed releases before the current one that can be rolled back to."""

Arm = Callable[[str, str, Sequence[CheckSpec]], None]
"""Starts the guard of a trial and returns once it is armed: name, trial id, its checks. DriverError otherwise."""


@dataclass(frozen=True)
class TrialOptions:
    """How a change is tried."""

    timeout_s: float = 60.0
    """From the end of the swap to the confirmation; 0: no trial, the change is confirmed at once."""
    checks: tuple[CheckSpec, ...] = ()
    schedule: Schedule = Schedule()
    retry_failed: bool = False
    """Try a release again that failed before."""
    takeover: bool = False
    """End an open trial of another run first, with a rollback."""
    accept_no_way_back: bool = False
    """Go on although the image of the running release is not in the store any more."""
    keep: int = KEEP_RELEASES
    rehearse: bool = False
    """Run a release on a network of its own first, and swap it in only when the checks pass there."""
    when_inconclusive: Inconclusive = Inconclusive.REFUSE
    data: DataOptions = field(default_factory=DataOptions)


@dataclass(frozen=True)
class Change:
    """What a call did, or would do."""

    changed: bool
    before: State
    after: State
    proposal: Proposal
    trial: Optional[str] = None
    """Id of the trial that was begun (and may have ended already)."""
    remarks: tuple[str, ...] = ()
    """What its driver says of the candidate though it can run."""


def is_so(state: State, proposal: Proposal, what_runs: Sequence[Instance]) -> bool:
    """What is proposed is confirmed, and is what runs."""
    candidate = proposal.candidate
    if state.phase is not Phase.STABLE:
        return False
    if fingerprint(state.salt, candidate) != fingerprint(state.salt, state.current):
        return False
    expected = state.current.number if state.current is not None and state.current.running else None
    alive = [i for i in what_runs if i.alive]
    serves = all(i.works and i.serving for i in alive)
    return serves and {i.release for i in alive} == (set() if expected is None else {expected})
