# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The beginning of a trial: its guard is armed, its candidate rehearsed where that is declared, and swapped in."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Optional

from ..checks.model import Outcome
from ..errors import DriverError
from ..model import Release
from . import data, evidence, rehearsal, steps
from .admission import admit
from .change import Arm, TrialOptions
from .guarding import why_unguarded
from .rehearsal import Inconclusive
from .settling import come_to_rest
from .state import Trial, described, open_trial
from .swap import swap_in
from .unikernel import Unikernel


def begin_trial(
    unikernel: Unikernel, candidate: Optional[Release], options: TrialOptions, arm: Optional[Arm], hold_origin: bool
) -> tuple[str, tuple[str, ...]]:
    """Try the candidate as far as its checks; the trial's id, and what the candidate's driver says of it. One that does
    not even start is gone back from before this returns."""
    node, name = unikernel.node, unikernel.name
    trial_id = _new_trial_id(node.clock.wall())
    admitted = admit(unikernel, candidate, options, trial_id)
    boot_id, begun_at = node.now().boot_id, node.clock.wall()
    guarded = arm is not None and options.timeout_s > 0
    trial = Trial(
        id=trial_id,
        candidate=candidate,
        holder=replace(unikernel.holder, since=begun_at),
        begun_at=begun_at,
        boot_id=boot_id,
        timeout_s=options.timeout_s,
        checks=options.checks,
        schedule=options.schedule,
        guarded=guarded and why_unguarded(node, name) is None,
        keep=options.keep,
        hold_origin=hold_origin,
        snapshot=admitted.snapshot,
        remove_data=options.data.remove,
    )
    if guarded and arm is not None:
        # Before anything is written: a guard without a trial ends by itself, a trial without a guard does not.
        arm(name, trial.id, trial.checks)
    if admitted.rehearses:
        if not _rehearse(unikernel, trial, options.when_inconclusive):
            come_to_rest(unikernel)
            return trial_id, admitted.remarks
        trial = open_trial(unikernel.state)
    with data.claimed(node, name, candidate):
        unikernel.write(steps.begun(unikernel.state, trial))
    swap_in(unikernel, trial)
    return trial_id, admitted.remarks


def _rehearse(unikernel: Unikernel, trial: Trial, when_inconclusive: Inconclusive) -> bool:
    """Whether the candidate may be swapped in; if not, that is written down."""
    node, name = unikernel.node, unikernel.name
    unikernel.write(steps.rehearsing(unikernel.state, trial))
    try:
        seen = rehearsal.rehearse(node, name, trial)
    except (DriverError, OSError) as error:
        rehearsal.end(node, name, trial.candidate)
        unikernel.write(steps.refused(unikernel.state, node.clock.wall(), f"it could not be rehearsed: {error}"))
        raise DriverError(
            f"{name}: {described(trial.candidate)} could not be rehearsed: {error} Nothing was swapped, and "
            "what runs was left running. Mend what the reason names, or leave rehearse out."
        ) from error
    at, outcome = node.clock.wall(), seen.verdict.outcome
    proceeds = outcome is Outcome.INCONCLUSIVE and when_inconclusive is Inconclusive.PROCEED
    if outcome is Outcome.PASS or proceeds:
        # Written together with the beginning of the swap, which follows.
        unikernel.state = steps.rehearsed(unikernel.state, seen.verdict, at)
        return True
    shown = replace(trial, reason=seen.reason, verdict=seen.verdict)
    instances = () if seen.instance is None else (seen.instance,)
    folder = evidence.keep(node.layout, name, shown, seen.console, instances, seen.core)
    unikernel.write(steps.refused(unikernel.state, at, seen.reason, folder, seen.verdict))
    return False


def _new_trial_id(wall: str) -> str:
    """Sorts by time, for people; unique by its random part."""
    stamp = "".join(c for c in wall[:19] if c.isdigit())
    return f"{stamp}-{secrets.token_hex(4)}"
