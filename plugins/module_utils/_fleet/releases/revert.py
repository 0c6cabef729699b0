# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back to the current release, in the middle of a change. Every step of it may be repeated after a crash."""

from __future__ import annotations

from contextlib import suppress

from ..errors import DriverError, ImageError, NoBridge, StateError
from . import data, steps
from .refusals import is_to_be_restored
from .state import open_trial
from .unikernel import Unikernel


def begin_revert(unikernel: Unikernel, reason: str, blame: bool) -> None:
    """Write that it is being reverted, and why. StateError: gone back, as far as may be, without that."""
    try:
        unikernel.write(steps.reverting(unikernel.state, reason, blame))
    except StateError:
        go_back_unrecorded(unikernel)
        raise


def go_back_unrecorded(unikernel: Unikernel) -> None:
    """The journal cannot be written, as on a full disk. What stands in it leads back anyway, so go back now rather
    than leave nothing running; the next run writes it down."""
    if is_to_be_restored(unikernel.state.trial):
        return  # what is restored has to be written down before anything runs on it
    with suppress(DriverError, ImageError):
        _restore_origin(unikernel)


def restore_as_far_as_can_be(unikernel: Unikernel) -> None:
    """Without its bridge the old release serves nobody, whatever is tried; and once there is one again, whoever
    opens this next puts it there. So that is no reason to give it up as stranded."""
    unikernel.not_started = None
    try:
        _restore_origin(unikernel)
    except NoBridge as error:
        trial = open_trial(unikernel.state)
        if trial.candidate is not None:
            unikernel.node.driver_for(trial.candidate).stop(unikernel.name, trial.candidate.number)
        if str(error) not in trial.reason:
            unikernel.write(steps.reverting(unikernel.state, _with(trial.reason, error), trial.blame))
        unikernel.not_started = str(error)


def count_failed_revert(unikernel: Unikernel, error: Exception) -> None:
    """One more attempt came to nothing; after some of them it is stranded."""
    reason = _with(open_trial(unikernel.state).reason, error)
    unikernel.write(steps.revert_failed(unikernel.state, reason))


def _restore_origin(unikernel: Unikernel) -> None:
    node, name = unikernel.node, unikernel.name
    unikernel.ensure_image_of_current()
    trial = open_trial(unikernel.state)
    if trial.snapshot is not None and is_to_be_restored(trial):
        node.exchange(name, trial.candidate, None)
        data.restore(node, trial.snapshot)
        unikernel.write(steps.data_restored(unikernel.state))
    node.exchange(name, trial.candidate, unikernel.state.current)


def _with(reason: str, error: Exception) -> str:
    """What fails in the same way again and again is said once."""
    return reason if str(error) in reason else f"{reason}; {error}"
