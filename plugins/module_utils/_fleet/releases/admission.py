# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that forbids a change, before anything of it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..errors import ImageMissing
from ..model import Release, Snapshot
from . import data, rehearsal
from .change import TrialOptions
from .node import living
from .refusals import refuse_to_forget_data
from .state import Phase, State
from .unikernel import Unikernel


@dataclass(frozen=True)
class Admitted:
    """A change that may be made."""

    snapshot: Optional[Snapshot]
    """That it takes of the data; None: it takes none."""
    rehearses: bool
    """The candidate is rehearsed before it may be swapped in."""
    remarks: tuple[str, ...] = ()
    """What its driver says of the candidate though it can run."""


def admit(unikernel: Unikernel, candidate: Optional[Release], options: TrialOptions, label: str) -> Admitted:
    """The change to a candidate, None: to its absence. ``label``: what its snapshot is named by."""
    node, name, state = unikernel.node, unikernel.name, unikernel.state
    node.refuse_if_inhibited()
    if not options.accept_no_way_back:
        _make_sure_of_a_way_back(unikernel)
    refuse_to_forget_data(state)
    may_not_run = candidate is None or _is_only_stopped_by(state, candidate)
    remarks = () if candidate is None or may_not_run else unikernel.validate(candidate)
    # What is stranded may serve nobody: there is no outage to be spared.
    rehearses = options.rehearse and state.phase is not Phase.STRANDED and candidate is not None and candidate.running
    if rehearses:
        rehearsal.refuse_what_cannot_be_rehearsed(node, name, candidate, options.checks, options.when_inconclusive)
    return Admitted(data.planned(node, name, state, candidate, options.data, label), rehearses, remarks)


def make_sure_of_the_image_to_go_back_to(unikernel: Unikernel, target: Release) -> None:
    """ImageMissing where it is not to be had any more."""
    try:
        unikernel.ensure_image(target)
    except ImageMissing as error:
        raise ImageMissing(f"{unikernel.name}: {target} is kept, but it cannot be gone back to: {error}") from error


def _make_sure_of_a_way_back(unikernel: Unikernel) -> None:
    origin = unikernel.state.current
    if origin is None or not origin.running:
        return
    try:
        unikernel.ensure_image(origin)
    except ImageMissing as error:
        if living(unikernel.what_runs(), origin) is None:
            return  # It does not run anyway: there is nothing to go back to, and a repair is welcome.
        raise ImageMissing(
            f"{unikernel.name}: there would be no way back to {origin}: {error} It was left running. Bring that image "
            "into the store again (unikernel.fleet.image with its sha256), or say accept_no_way_back: true."
        ) from error


def _is_only_stopped_by(state: State, candidate: Release) -> bool:
    """What is stopped as it is need not be able to run, and may have lost its image."""
    return not candidate.running and state.current is not None and state.current.image == candidate.image
