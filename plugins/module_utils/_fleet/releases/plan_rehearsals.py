# Copyright (c) 2026, the unikernel.fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan foresees of a rehearsal: what forbids it, from what the node found out. Pure.

Most drivers look for themselves, and only where the image is: in check mode, and before anything is begun. An albatross
has room or has none whatever the image is, and its quarantine bridge is declared: so that is told beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..codec import Mismatch, decode
from ..model import Configuration, Image, Release

ALBATROSS = "albatross"
_NO_IMAGE = Image("0" * 64, 0)
"""It is not looked at."""


def foreseen(
    name: str,
    path: str,
    quarantine_bridge: Optional[str],
    configuration: Mapping[str, Any],
    told: Optional[Mapping[str, Any]],
) -> tuple[list[str], Optional[str]]:
    """What forbids a rehearsal of this configuration (encoded), and why no check that needs the network can be made in
    it. ``told``: the room that the node reports; None: only what can be said without is foreseen."""
    if configuration.get("driver") != ALBATROSS:
        return [], None
    # Only who plans for an albatross needs the words of one.
    from ..drivers.albatross_place import Place
    from ..drivers.albatross_rehearsal_room import Room, refusals_of_rehearsal, unseen

    release = Release(0, _NO_IMAGE, decode(Configuration, dict(configuration)))
    place = Place(path=path, quarantine_bridge=quarantine_bridge)
    try:
        room = Room() if told is None else decode(Room, dict(told))
    except Mismatch:
        room, told = Room(), None  # of another version of this collection: the node itself will say
    reasons = refusals_of_rehearsal(name, place, release, room)
    return reasons, None if told is None else unseen(room, release.configuration.networks)
