# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of one unikernel as the journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from ..checks.model import CheckSpec, Schedule, Verdict
from ..model import Release, Snapshot

SCHEMA = 2
"""Version of ``state.json`` that this collection writes; older ones are migrated, newer ones are refused."""


class Phase(str, Enum):
    STABLE = "stable"
    REHEARSING = "rehearsing"
    """The candidate runs on a network of its own; the current release runs on as before."""
    SWAPPING = "swapping"
    ON_TRIAL = "on_trial"
    CONFIRMING = "confirming"
    REVERTING = "reverting"
    STRANDED = "stranded"


@dataclass(frozen=True)
class Holder:
    """Who began a trial: for messages, and for nothing else."""

    who: str = "somebody"
    run: str = ""
    """Identifier of the playbook run, where there is one."""
    since: str = ""
    """Wall time, RFC 3339."""

    def __str__(self) -> str:
        run = f" (run {self.run})" if self.run else ""
        return f"{self.who}{run}" + (f" since {self.since}" if self.since else "")


@dataclass(frozen=True)
class Trial:
    """An open change from the current release to a candidate."""

    id: str
    candidate: Optional[Release]
    """None: it is the absence that is on trial."""
    holder: Holder
    begun_at: str
    """Wall time, RFC 3339."""
    boot_id: str
    timeout_s: float
    """0: the change is confirmed as soon as it is made, nobody is asked."""
    deadline_s: Optional[float] = None
    """On CLOCK_BOOTTIME, meaningful only under ``boot_id``; None until the swap is done."""
    checks: tuple[CheckSpec, ...] = ()
    schedule: Schedule = Schedule()
    guarded: bool = True
    keep: int = 3
    """Confirmed releases before the current one that are kept when this one is confirmed."""
    instance: Optional[str] = None
    """Identity of the candidate's instance, once it was started."""
    verdict: Optional[Verdict] = None
    """What the node's checks say; None while they run."""
    reason: str = ""
    """Why it is being reverted, or why it is stranded."""
    blame: bool = False
    """The candidate itself is to blame for the revert: it will be held."""
    snapshot: Optional[Snapshot] = None
    """Of the data that the candidate may change; None: it has none, or says that it keeps it as it is."""
    remove_data: bool = False
    """With the unikernel, the disks that are its own go too."""
    rehearsal: Optional[Verdict] = None
    """What the rehearsal before the swap showed; None when there was none."""
    hold_origin: bool = False
    """A person goes back by hand: what is left is held once this is confirmed, or the next run would bring it back."""


@dataclass(frozen=True)
class Ended:
    """How the last trial ended: what a handler that comes later reads back."""

    trial: str
    outcome: str
    """``confirmed``, ``rolled_back`` or ``stranded``; ``refused`` when its rehearsal kept it from being swapped in."""
    reason: str
    at: str
    """Wall time, RFC 3339."""
    release: Optional[int]
    """Number of the candidate; None for absent."""
    evidence: Optional[str] = None
    """Folder on the node."""
    verdict: Optional[Verdict] = None


@dataclass(frozen=True)
class Held:
    """A release that failed its trial."""

    fingerprint: str
    trial: str
    reason: str
    at: str
    build: str
    """For people."""
    sha256: Optional[str] = None
    """Set where the image itself is unwanted: then every release of it is held, however it is configured."""


@dataclass(frozen=True)
class Event:
    """One line of the history."""

    seq: int
    at: str
    what: str
    who: str
    trial: str = ""
    run: str = ""
    origin: Optional[dict[str, Any]] = None
    """Summary of the release before; None: absent."""
    target: Optional[dict[str, Any]] = None
    reason: str = ""
    checks: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class State:
    """All that the node knows of one unikernel."""

    name: str
    salt: str
    """Random, per unikernel: digests of secrets can leave the node without giving the secrets away."""
    schema: int = SCHEMA
    phase: Phase = Phase.STABLE
    current: Optional[Release] = None
    """The confirmed release; while a trial is open, the one to go back to."""
    previous: Optional[Release] = None
    """The confirmed release before the current one; its image is never pruned."""
    kept: tuple[Release, ...] = ()
    """Older confirmed releases that can be rolled back to, newest first, ``previous`` among them."""
    trial: Optional[Trial] = None
    ended: Optional[Ended] = None
    held: tuple[Held, ...] = ()
    next_number: int = 1
    failed_reverts: int = 0
    started_boot_id: Optional[str] = None
    """Boot under which the current release was last started by us; None: it is still to be started."""
    discarded: tuple[Snapshot, ...] = ()
    """Snapshots that nobody needs any more, and that are not removed yet."""
    events: tuple[Event, ...] = field(default=())
    """Written here first and then to the history; what the history lacks is added when the state is read."""
    event_count: int = 0


def described(release: Optional[Release]) -> str:
    return "absent" if release is None else str(release)


def open_trial(state: State) -> Trial:
    """The trial of a state that is in the middle of a change."""
    if state.trial is None:
        raise AssertionError(f"{state.name}: no trial is open in phase {state.phase.value}")
    return state.trial
