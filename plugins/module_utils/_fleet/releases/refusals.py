# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the state of a unikernel forbids, in the words in which it is told: read from it alone, without effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..errors import Busy, DriverError, Held, InvalidDeclaration, TrialRefused
from ..model import Instance, Release
from .holds import hold_on
from .state import Phase, State, Trial, described, open_trial


def refuse_if_held(state: State, candidate: Optional[Release]) -> None:
    """Held when this release failed before, or was left by hand."""
    hold = hold_on(state, candidate)
    if hold is not None:
        raise Held(
            f"{state.name}: the declared release ({hold.build}) is held since {hold.at}: {hold.reason} (trial "
            f"{hold.trial}). {described(state.current)} was left as it is. Declare another build or configuration, or "
            "try this one again with retry_failed: true."
        )


def refuse_open_trial(state: State) -> None:
    """Busy while a trial is open."""
    trial = open_trial(state)
    raise Busy(
        f"{state.name}: a trial ({trial.id}) of {described(trial.candidate)} is open, held by {trial.holder}. "
        "Nothing was changed. Wait for its end, confirm or cancel it with unikernel.fleet.release, or say "
        "takeover: true."
    )


def refuse_stranded(state: State, what_runs: Sequence[Instance]) -> None:
    """DriverError when the old release could not be brought back."""
    if state.phase is not Phase.STRANDED:
        return
    running = [instance.release for instance in what_runs if instance.alive]
    left = f"Release {running[0]} still runs" if running else "Nothing runs under this name now"
    raise DriverError(
        f"{state.name} is stranded: {described(state.current)} could not be brought back "
        f"({open_trial(state).reason}). {left}. Mend what the reason names, then roll back again or deploy another "
        "release."
    )


def refuse_to_forget_data(state: State) -> None:
    """DriverError while data waits to be restored: another change would take the snapshot for its own."""
    trial = state.trial
    if trial is not None and trial.snapshot is not None and is_to_be_restored(trial):
        raise DriverError(
            f"{state.name} is stranded, and its data is not restored yet from {', '.join(trial.snapshot.copies)} "
            f"({trial.reason}). Nothing was changed. Mend what the reason names and roll back first."
        )


def is_to_be_restored(trial: Optional[Trial]) -> bool:
    """Whether the candidate may have changed data of which there is a snapshot."""
    return trial is not None and trial.snapshot is not None and trial.snapshot.taken and not trial.snapshot.restored


def kept_release(state: State, number: Optional[int]) -> Release:
    """The release to go back to: that number, or the newest older one. InvalidDeclaration when it is not kept."""
    current = state.current
    known = [r for r in (current, *state.kept) if r is not None]
    if number is None:
        # By number and not by time: going back twice goes back two releases, never forward again.
        limit = current.number if current else state.next_number
        older = sorted((r for r in known if r.number < limit), key=lambda r: r.number)
        if older:
            return older[-1]
    else:
        for release in known:
            if release.number == number:
                return release
    which = "an older release" if number is None else f"release {number}"
    listed = "; ".join(str(r) for r in state.kept) or "none"
    raise InvalidDeclaration(
        f"{state.name} has not kept {which}, so there is no way back to it. Kept besides the current one: "
        f"{listed}. Nothing was changed."
    )


def was_confirmed(state: State, trial_id: str) -> None:
    """TrialRefused unless this trial, which is not open, was confirmed."""
    ended = state.ended
    if ended is not None and ended.trial == trial_id and ended.outcome == "confirmed":
        return
    if ended is not None and ended.trial == trial_id:
        raise TrialRefused(
            f"{state.name}: trial {trial_id} cannot be confirmed any more: it was "
            f"{ended.outcome.replace('_', ' ')} at {ended.at}, because {ended.reason}. "
            f"{described(state.current)} is the current release."
        )
    raise TrialRefused(no_such_trial(state, trial_id))


def no_such_trial(state: State, trial_id: Optional[str]) -> str:
    trial = state.trial
    opened = f"the open one is {trial.id}, held by {trial.holder}" if trial else "none is open"
    wanted = f"trial {trial_id} is not open" if trial_id else "no trial is open"
    return f"{state.name}: {wanted}{f'; {opened}' if trial_id or trial else ''}. Nothing was changed."
