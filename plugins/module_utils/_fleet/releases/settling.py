# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carrying out what :func:`settlement.settle` says about a unikernel, until it says nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Optional

from ..errors import DriverError, FleetError, ImageError, StateError
from ..model import Instance, Release
from . import data, evidence, rehearsal, steps
from .revert import begin_revert, count_failed_revert, restore_as_far_as_can_be
from .settlement import (
    Action,
    BeginRevert,
    EndRehearsal,
    FinishConfirm,
    FinishRevert,
    RemoveSnapshot,
    RestoreOrigin,
    StartCurrent,
    StopStray,
    Strand,
    settle,
)
from .state import Phase, open_trial
from .unikernel import Unikernel

_MOST_ROUNDS = 12


def come_to_rest(unikernel: Unikernel) -> None:
    """A current release that does not start is no error here: it would keep everybody from replacing it."""
    for _unused in range(_MOST_ROUNDS):
        what_runs = unikernel.what_runs()
        actions = settle(unikernel.state, what_runs, unikernel.node.now())
        if not actions:
            _forget_ended_instances(unikernel, what_runs)
            return
        for action in actions:
            try:
                _carry_out(unikernel, action, what_runs)
            except (DriverError, ImageError) as error:
                if isinstance(action, StartCurrent):
                    unikernel.not_started = str(error)
                    return
                if isinstance(action, RemoveSnapshot):
                    return  # it stands in the journal until it is gone; whoever opens this next tries again
                if not isinstance(action, RestoreOrigin):
                    raise
                count_failed_revert(unikernel, error)
                break
    raise StateError(
        f"{unikernel.name} does not come to rest (phase {unikernel.state.phase.value} after {_MOST_ROUNDS} rounds). "
        "What runs was left as it is. Look at its console and at its state file, then run again."
    )


def _carry_out(unikernel: Unikernel, action: Action, what_runs: Sequence[Instance]) -> None:
    node, name, state = unikernel.node, unikernel.name, unikernel.state
    boot_id, at = node.now().boot_id, node.clock.wall()
    if isinstance(action, BeginRevert):
        begin_revert(unikernel, action.reason, action.blame)
    elif isinstance(action, RestoreOrigin):
        restore_as_far_as_can_be(unikernel)
    elif isinstance(action, FinishRevert):
        candidate = open_trial(state).candidate
        started = boot_id if unikernel.not_started is None else None
        unikernel.write(steps.reverted(state, at, started, _keep_evidence(unikernel, what_runs)))
        _forget_instance_of(unikernel, candidate)
    elif isinstance(action, Strand):
        unikernel.write(steps.stranded(state, at, _keep_evidence(unikernel, what_runs)))
    elif isinstance(action, FinishConfirm):
        candidate = open_trial(state).candidate
        if candidate is not None:
            node.mark_trial(name, candidate, False)
        elif open_trial(state).remove_data:
            unikernel.remove_disks()
        unikernel.write(steps.confirmed(state, at))
    elif isinstance(action, EndRehearsal):
        rehearsal.end(node, name, open_trial(state).candidate)
        unikernel.write(steps.refused(state, at, action.reason))
    elif isinstance(action, RemoveSnapshot):
        data.remove(node, action.snapshot)
        unikernel.write(steps.discarded(state, action.snapshot))
    elif isinstance(action, StopStray):
        for driver in node.drivers_of(state):
            driver.stop(name, action.release)
    elif isinstance(action, StartCurrent):
        unikernel.ensure_image_of_current()
        node.exchange(name, None, state.current)
        unikernel.write(steps.restarted(state, boot_id))


def _keep_evidence(unikernel: Unikernel, what_runs: Sequence[Instance]) -> Optional[str]:
    return evidence.keep_of(unikernel.node, unikernel.name, open_trial(unikernel.state), what_runs)


def _forget_instance_of(unikernel: Unikernel, candidate: Optional[Release]) -> None:
    """Also one that was never started, which no driver reports any more."""
    if candidate is not None and candidate.number != _current_number(unikernel):
        with suppress(FleetError, OSError):
            unikernel.node.driver_for(candidate).discard(unikernel.name, candidate.number)


def _forget_ended_instances(unikernel: Unikernel, what_runs: Sequence[Instance]) -> None:
    if unikernel.state.phase is not Phase.STABLE:
        return
    current = _current_number(unikernel)
    for instance in what_runs:
        if not instance.alive and instance.release != current:
            with suppress(FleetError, OSError):
                for driver in unikernel.node.drivers_of(unikernel.state):
                    driver.discard(unikernel.name, instance.release)


def _current_number(unikernel: Unikernel) -> Optional[int]:
    current = unikernel.state.current
    return None if current is None else current.number
