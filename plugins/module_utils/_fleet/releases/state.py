# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of one unikernel as the journal keeps it, and the pure steps from one state to the next.

Every function here takes a state and returns the next one; nothing is read or written. The order of phases is
``stable -> swapping -> on_trial -> confirming -> stable``, and from any of the first three open phases
``reverting -> stable``, or ``stranded`` when the old release cannot be brought back. ``confirming`` is the commit
point: recovery goes back before it and forward after it. Before all that may come ``stable -> rehearsing``, from which
it goes on to ``swapping`` or back to ``stable``: nothing that runs has been touched by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Optional

from ..checks.model import CheckSpec, Outcome, Schedule, Verdict
from ..codec import encode
from ..model import Release, Snapshot
from .fingerprint import fingerprint

SCHEMA = 2
"""Version of ``state.json`` that this collection writes; older ones are migrated, newer ones are refused."""

MOST_FAILED_REVERTS = 3
"""Attempts to bring the old release back before a unikernel counts as stranded."""

MOST_HELD = 20
"""Failed releases that are remembered per unikernel; the oldest is forgotten first."""


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


def summary(release: Optional[Release]) -> Optional[dict[str, Any]]:
    """A release in the few words that history and messages need; no configuration, so no secret."""
    if release is None:
        return None
    return {
        "number": release.number,
        "build": encode(release.build),
        "sha256": release.image.sha256,
        "running": release.running,
    }


def described(release: Optional[Release]) -> str:
    return "absent" if release is None else str(release)


# --- from one state to the next -----------------------------------------------------------------


def _with_event(
    state: State,
    what: str,
    at: str,
    holder: Holder,
    origin: Optional[Release] = None,
    target: Optional[Release] = None,
    trial: Optional[Trial] = None,
    reason: str = "",
) -> State:
    checks: tuple[dict[str, Any], ...] = ()
    if trial is not None and trial.verdict is not None:
        checks = tuple(
            {"name": result.name, "outcome": result.outcome.value, "required": result.required}
            for result in trial.verdict.results
        )
    event = Event(
        seq=state.event_count + 1,
        at=at,
        what=what,
        who=holder.who,
        run=holder.run,
        trial=trial.id if trial else "",
        origin=summary(origin),
        target=summary(target),
        reason=reason,
        checks=checks,
    )
    return replace(state, events=(*state.events, event), event_count=event.seq)


def rehearsing(state: State, trial: Trial) -> State:
    """``stable -> rehearsing``: written before anything of the rehearsal is made."""
    state = replace(state, phase=Phase.REHEARSING, trial=trial, next_number=_number_after(state, trial))
    return _with_event(state, "rehearsing", trial.begun_at, trial.holder, state.current, trial.candidate, trial)


def rehearsed(state: State, verdict: Verdict, at: str) -> State:
    """The rehearsal is over, all of it is removed, and the release may be swapped in; :func:`begun` follows."""
    trial = replace(_open_trial(state), rehearsal=verdict)
    shown = replace(trial, verdict=verdict)
    reason = "" if verdict.outcome is Outcome.PASS else verdict.reason
    return _with_event(
        replace(state, trial=trial), "rehearsed", at, trial.holder, state.current, trial.candidate, shown, reason
    )


def refused(
    state: State, at: str, reason: str, evidence: Optional[str] = None, verdict: Optional[Verdict] = None
) -> State:
    """``rehearsing -> stable``: nothing was swapped. A release that the rehearsal showed to be broken is held."""
    blame = verdict is not None and verdict.outcome is Outcome.FAIL
    trial = replace(_open_trial(state), reason=reason, blame=blame, rehearsal=verdict, verdict=verdict)
    state = _with_event(state, "refused", at, trial.holder, state.current, trial.candidate, trial, reason)
    state = _hold_if_to_blame(state, trial, at)
    return replace(state, phase=Phase.STABLE, trial=None, ended=_ended(trial, "refused", at, evidence))


def begun(state: State, trial: Trial) -> State:
    """``stable -> swapping``: written before anything is touched."""
    number = _number_after(state, trial)
    if state.trial is not None and state.trial.id != trial.id:
        state = replace(state, discarded=_discarding(state, state.trial))  # one that is stranded
    state = replace(state, phase=Phase.SWAPPING, trial=trial, next_number=number, failed_reverts=0)
    return _with_event(state, "begun", trial.begun_at, trial.holder, state.current, trial.candidate, trial)


def _number_after(state: State, trial: Trial) -> int:
    """That of the next new release: a candidate's number is its own, whatever becomes of it."""
    return max(state.next_number, trial.candidate.number + 1 if trial.candidate is not None else 0)


def data_kept(state: State) -> State:
    """The snapshot is whole, and nothing runs: from here on a rollback restores it. The phase stays."""
    return _with_snapshot(state, replace(_planned(state), taken=True))


def data_restored(state: State) -> State:
    """The disks are as they were: from here on the old release may change them, and nothing is restored again."""
    return _with_snapshot(state, replace(_planned(state), restored=True))


def discarded(state: State, snapshot: Snapshot) -> State:
    """A snapshot was removed."""
    return replace(state, discarded=tuple(other for other in state.discarded if other != snapshot))


def _planned(state: State) -> Snapshot:
    snapshot = _open_trial(state).snapshot
    if snapshot is None:
        raise AssertionError(f"{state.name}: no snapshot is planned")
    return snapshot


def _with_snapshot(state: State, snapshot: Snapshot) -> State:
    return replace(state, trial=replace(_open_trial(state), snapshot=snapshot))


def _discarding(state: State, trial: Trial) -> tuple[Snapshot, ...]:
    return state.discarded if trial.snapshot is None else (*state.discarded, trial.snapshot)


def swapped(state: State, instance: Optional[str], now_s: float) -> State:
    """``swapping -> on_trial``: the deadline begins with the end of the swap."""
    trial = _open_trial(state)
    return replace(
        state,
        phase=Phase.ON_TRIAL,
        trial=replace(trial, instance=instance, deadline_s=now_s + trial.timeout_s),
    )


def judged(state: State, verdict: Verdict) -> State:
    """The node's checks came to a verdict; the phase stays."""
    return replace(state, trial=replace(_open_trial(state), verdict=verdict))


def taken_over(state: State, holder: Holder, now_s: float) -> State:
    """Another run holds the trial from now on, and has its full time again."""
    trial = _open_trial(state)
    state = replace(state, trial=replace(trial, holder=holder, deadline_s=now_s + trial.timeout_s))
    return _with_event(state, "taken_over", holder.since, holder, state.current, trial.candidate, trial)


def committed(state: State, at: str, who: Holder) -> State:
    """``on_trial`` (or ``swapping``, for a change without a trial) ``-> confirming``: the commit point."""
    trial = _open_trial(state)
    state = replace(state, phase=Phase.CONFIRMING)
    return _with_event(state, "confirmed", at, who, state.current, trial.candidate, trial)


def confirmed(state: State, at: str) -> State:
    """``confirming -> stable``: the candidate is the current release."""
    trial = _open_trial(state)
    target = fingerprint(state.salt, trial.candidate)
    # The same release under another number (a repair, say) is no way back to anything else.
    kept: dict[str, Release] = {}
    for release in (state.current, *state.kept):
        if release is not None and fingerprint(state.salt, release) != target:
            kept.setdefault(fingerprint(state.salt, release), release)
    same_as_before = fingerprint(state.salt, state.current) == target
    if trial.hold_origin and state.current is not None and not same_as_before:
        # What is left out of a declaration is inherited from the release that was gone back to, so the image that was
        # left would come back under another configuration, with another fingerprint.
        kept_image = trial.candidate is not None and trial.candidate.image == state.current.image
        unwanted = None if kept_image else state.current.image.sha256
        state = _hold(state, state.current, trial.id, f"rolled back by {trial.holder.who}", at, unwanted)
    state = released_from_hold(state, trial.candidate)
    return replace(
        state,
        phase=Phase.STABLE,
        current=trial.candidate,
        previous=state.previous if same_as_before else state.current,
        kept=tuple(kept.values())[: max(trial.keep, 1)],
        trial=None,
        discarded=_discarding(state, trial),
        ended=Ended(
            trial=trial.id,
            outcome="confirmed",
            reason=trial.verdict.reason if trial.verdict else "no trial was asked for",
            at=at,
            release=trial.candidate.number if trial.candidate else None,
            verdict=trial.verdict,
        ),
        failed_reverts=0,
        # Not the present boot: after a power cut between commit point and here, nobody has started it yet.
        started_boot_id=trial.boot_id,
    )


def reverting(state: State, reason: str, blame: bool) -> State:
    """Any open phase before the commit point ``-> reverting``."""
    trial = _open_trial(state)
    return replace(state, phase=Phase.REVERTING, trial=replace(trial, reason=reason, blame=blame))


def revert_failed(state: State, reason: str) -> State:
    """One more attempt to bring the old release back came to nothing."""
    return replace(state, failed_reverts=state.failed_reverts + 1, trial=replace(_open_trial(state), reason=reason))


def reverted(state: State, at: str, boot_id: Optional[str], evidence: Optional[str]) -> State:
    """``reverting -> stable``: the old release is back; a candidate that is to blame is held. Without a boot id it is
    still to be started, by whoever opens the state next."""
    trial = _open_trial(state)
    state = _with_event(state, "rolled_back", at, trial.holder, trial.candidate, state.current, trial, trial.reason)
    return replace(
        _hold_if_to_blame(state, trial, at),
        phase=Phase.STABLE,
        trial=None,
        ended=_ended(trial, "rolled_back", at, evidence),
        discarded=_discarding(state, trial),
        failed_reverts=0,
        started_boot_id=boot_id,
    )


def stranded(state: State, at: str, evidence: Optional[str]) -> State:
    """``reverting -> stranded``: the old release cannot be brought back; only a person can go on from here."""
    trial = _open_trial(state)
    state = _with_event(state, "stranded", at, trial.holder, trial.candidate, state.current, trial, trial.reason)
    state = _hold_if_to_blame(state, trial, at)
    return replace(state, phase=Phase.STRANDED, ended=_ended(trial, "stranded", at, evidence))


def retried(state: State) -> State:
    """``stranded -> reverting``: a person asks for another attempt."""
    return replace(state, phase=Phase.REVERTING, failed_reverts=0)


def adopted(state: State, release: Release, at: str, boot_id: str, holder: Holder) -> State:
    """What ran without a state of ours becomes the current release."""
    state = replace(state, current=release, next_number=release.number + 1, started_boot_id=boot_id)
    return _with_event(state, "adopted", at, holder, None, release)


def restarted(state: State, boot_id: str) -> State:
    """The current release was started again under this boot."""
    return replace(state, started_boot_id=boot_id)


def released_from_hold(state: State, release: Optional[Release]) -> State:
    """``retry_failed``: forget that this release failed before."""
    return replace(state, held=tuple(hold for hold in state.held if not _applies(hold, state, release)))


def hold_on(state: State, release: Optional[Release]) -> Optional[Held]:
    """The record of an earlier failure of the same release, if there is one."""
    return next((hold for hold in state.held if _applies(hold, state, release)), None)


def _applies(hold: Held, state: State, release: Optional[Release]) -> bool:
    if hold.fingerprint == fingerprint(state.salt, release):
        return True
    return hold.sha256 is not None and release is not None and release.running and release.image.sha256 == hold.sha256


def verdict_failed(trial: Trial) -> bool:
    return trial.verdict is not None and trial.verdict.outcome is not Outcome.PASS


def _hold_if_to_blame(state: State, trial: Trial, at: str) -> State:
    return _hold(state, trial.candidate, trial.id, trial.reason, at) if trial.blame else state


def _hold(
    state: State, release: Optional[Release], trial: str, reason: str, at: str, sha256: Optional[str] = None
) -> State:
    entry = Held(fingerprint(state.salt, release), trial, reason, at, described(release), sha256)
    return replace(state, held=(*released_from_hold(state, release).held, entry)[-MOST_HELD:])


def _ended(trial: Trial, outcome: str, at: str, evidence: Optional[str]) -> Ended:
    return Ended(
        trial=trial.id,
        outcome=outcome,
        reason=trial.reason,
        at=at,
        release=trial.candidate.number if trial.candidate else None,
        evidence=evidence,
        verdict=trial.verdict,
    )


def _open_trial(state: State) -> Trial:
    if state.trial is None:
        raise AssertionError(f"{state.name}: no trial is open in phase {state.phase.value}")
    return state.trial
