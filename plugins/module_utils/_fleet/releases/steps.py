# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pure steps from one state of a unikernel to the next.

Every function here takes a state and returns the next one; nothing is read or written. The order of phases is
``stable -> swapping -> on_trial -> confirming -> stable``, and from any of the first three open phases
``reverting -> stable``, or ``stranded`` when the old release cannot be brought back. ``confirming`` is the commit
point: recovery goes back before it and forward after it. Before all that may come ``stable -> rehearsing``, from which
it goes on to ``swapping`` or back to ``stable``: nothing that runs has been touched by then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from ..checks.model import Outcome, Verdict
from ..codec import encode
from ..model import Release, Snapshot
from .fingerprint import fingerprint
from .holds import with_hold, without_hold
from .state import Ended, Event, Holder, Phase, State, Trial, open_trial


def rehearsing(state: State, trial: Trial) -> State:
    """``stable -> rehearsing``: written before anything of the rehearsal is made."""
    state = replace(state, phase=Phase.REHEARSING, trial=trial, next_number=_number_after(state, trial))
    return _with_event(state, "rehearsing", trial.begun_at, trial.holder, state.current, trial.candidate, trial)


def rehearsed(state: State, verdict: Verdict, at: str) -> State:
    """The rehearsal is over, all of it is removed, and the release may be swapped in; :func:`begun` follows."""
    trial = replace(open_trial(state), rehearsal=verdict)
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
    trial = replace(open_trial(state), reason=reason, blame=blame, rehearsal=verdict, verdict=verdict)
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


def data_kept(state: State) -> State:
    """The snapshot is whole, and nothing runs: from here on a rollback restores it. The phase stays."""
    return _with_snapshot(state, replace(_planned(state), taken=True))


def data_restored(state: State) -> State:
    """The disks are as they were: from here on the old release may change them, and nothing is restored again."""
    return _with_snapshot(state, replace(_planned(state), restored=True))


def discarded(state: State, snapshot: Snapshot) -> State:
    """A snapshot was removed."""
    return replace(state, discarded=tuple(other for other in state.discarded if other != snapshot))


def swapped(state: State, instance: Optional[str], now_s: float) -> State:
    """``swapping -> on_trial``: the deadline begins with the end of the swap."""
    trial = open_trial(state)
    return replace(
        state,
        phase=Phase.ON_TRIAL,
        trial=replace(trial, instance=instance, deadline_s=now_s + trial.timeout_s),
    )


def judged(state: State, verdict: Verdict) -> State:
    """The node's checks came to a verdict; the phase stays."""
    return replace(state, trial=replace(open_trial(state), verdict=verdict))


def taken_over(state: State, holder: Holder, now_s: float) -> State:
    """Another run holds the trial from now on, and has its full time again."""
    trial = open_trial(state)
    state = replace(state, trial=replace(trial, holder=holder, deadline_s=now_s + trial.timeout_s))
    return _with_event(state, "taken_over", holder.since, holder, state.current, trial.candidate, trial)


def committed(state: State, at: str, who: Holder) -> State:
    """``on_trial`` (or ``swapping``, for a change without a trial) ``-> confirming``: the commit point."""
    trial = open_trial(state)
    state = replace(state, phase=Phase.CONFIRMING)
    return _with_event(state, "confirmed", at, who, state.current, trial.candidate, trial)


def confirmed(state: State, at: str) -> State:
    """``confirming -> stable``: the candidate is the current release."""
    trial = open_trial(state)
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
        state = with_hold(state, state.current, trial.id, f"rolled back by {trial.holder.who}", at, unwanted)
    state = without_hold(state, trial.candidate)
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
    trial = open_trial(state)
    return replace(state, phase=Phase.REVERTING, trial=replace(trial, reason=reason, blame=blame))


def revert_failed(state: State, reason: str) -> State:
    """One more attempt to bring the old release back came to nothing."""
    return replace(state, failed_reverts=state.failed_reverts + 1, trial=replace(open_trial(state), reason=reason))


def reverted(state: State, at: str, boot_id: Optional[str], evidence: Optional[str]) -> State:
    """``reverting -> stable``: the old release is back; a candidate that is to blame is held. Without a boot id it is
    still to be started, by whoever opens the state next."""
    trial = open_trial(state)
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
    trial = open_trial(state)
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


def _hold_if_to_blame(state: State, trial: Trial, at: str) -> State:
    return with_hold(state, trial.candidate, trial.id, trial.reason, at) if trial.blame else state


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


def _number_after(state: State, trial: Trial) -> int:
    """That of the next new release: a candidate's number is its own, whatever becomes of it."""
    return max(state.next_number, trial.candidate.number + 1 if trial.candidate is not None else 0)


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
        origin=_summary(origin),
        target=_summary(target),
        reason=reason,
        checks=checks,
    )
    return replace(state, events=(*state.events, event), event_count=event.seq)


def _planned(state: State) -> Snapshot:
    snapshot = open_trial(state).snapshot
    if snapshot is None:
        raise AssertionError(f"{state.name}: no snapshot is planned")
    return snapshot


def _with_snapshot(state: State, snapshot: Snapshot) -> State:
    return replace(state, trial=replace(open_trial(state), snapshot=snapshot))


def _discarding(state: State, trial: Trial) -> tuple[Snapshot, ...]:
    return state.discarded if trial.snapshot is None else (*state.discarded, trial.snapshot)


def _summary(release: Optional[Release]) -> Optional[dict[str, Any]]:
    """A release in the few words that history and messages need; no configuration, so no secret."""
    if release is None:
        return None
    return {
        "number": release.number,
        "build": encode(release.build),
        "sha256": release.image.sha256,
        "running": release.running,
    }
