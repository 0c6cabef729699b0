# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which releases are held: what failed, or what a person went back from, is not tried again by itself.

A hold is recognised by the release's fingerprint, whatever number it gets when it is declared again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from ..model import Release
from .fingerprint import fingerprint
from .state import Held, State, described

MOST_HELD = 20
"""Failed releases that are remembered per unikernel; the oldest is forgotten first."""


def hold_on(state: State, release: Optional[Release]) -> Optional[Held]:
    """The record of an earlier failure of the same release, if there is one."""
    return next((hold for hold in state.held if _applies(hold, state, release)), None)


def with_hold(
    state: State, release: Optional[Release], trial: str, reason: str, at: str, sha256: Optional[str] = None
) -> State:
    """The release is held from now on; with ``sha256``, every release of that image."""
    entry = Held(fingerprint(state.salt, release), trial, reason, at, described(release), sha256)
    return replace(state, held=(*without_hold(state, release).held, entry)[-MOST_HELD:])


def without_hold(state: State, release: Optional[Release]) -> State:
    """``retry_failed``: forget that this release failed before."""
    return replace(state, held=tuple(hold for hold in state.held if not _applies(hold, state, release)))


def _applies(hold: Held, state: State, release: Optional[Release]) -> bool:
    if hold.fingerprint == fingerprint(state.salt, release):
        return True
    return hold.sha256 is not None and release is not None and release.running and release.image.sha256 == hold.sha256
