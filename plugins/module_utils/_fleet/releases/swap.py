# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The swap that a trial begins with, and what becomes of one that does not succeed."""

from __future__ import annotations

from ..errors import DriverError, Hindered, ImageError, InvalidDeclaration, StateError
from . import data, steps
from .revert import begin_revert, go_back_unrecorded
from .settling import come_to_rest
from .state import Trial
from .unikernel import Unikernel


def swap_in(unikernel: Unikernel, trial: Trial) -> None:
    """Make the candidate run instead of the current release, and go on to where it comes to rest: on trial, confirmed
    where no trial is asked for, or gone back from. The trial is written as begun."""
    try:
        _swap_or_go_back(unikernel, trial)
    except InvalidDeclaration as error:
        raise DriverError(
            f"{unikernel.name}: trial {trial.id} was begun, and then this came in its way: {error} How far it came "
            "stands in its journal: mend this, and whoever opens it next (the guard, or the next run) goes on."
        ) from error


def _swap_or_go_back(unikernel: Unikernel, trial: Trial) -> None:
    try:
        _swap(unikernel, trial)
    except (DriverError, ImageError) as error:
        begin_revert(unikernel, f"it could not be started: {error}", not isinstance(error, Hindered))
    except StateError:
        go_back_unrecorded(unikernel)
        raise
    come_to_rest(unikernel)


def _swap(unikernel: Unikernel, trial: Trial) -> None:
    node, name, current, candidate = unikernel.node, unikernel.name, unikernel.state.current, trial.candidate
    on_trial = trial.timeout_s > 0
    if trial.snapshot is not None:
        node.exchange(name, current, None)
        data.take(node, trial.snapshot)
        unikernel.write(steps.data_kept(unikernel.state))
    if candidate is not None and candidate.running and on_trial:
        node.mark_trial(name, candidate, True)
    instance = node.exchange(name, current, candidate)
    if candidate is not None and candidate.running and instance is None:
        raise DriverError(f"{name}: {candidate} was started and is not there")
    if on_trial:
        identity = instance.identity if instance else None
        unikernel.write(steps.swapped(unikernel.state, identity, node.clock.boottime_s()))
    else:
        unikernel.write(steps.committed(unikernel.state, node.clock.wall(), unikernel.holder))
